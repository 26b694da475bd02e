//! Plots by hand: places, ticks, marks, colours, and what is refused.

use super::super::{Report, Section};
use super::*;

fn point(x: f64, y: f64) -> Point {
    Point { x, y, interval: None }
}

fn series(name: &str, points: &[(f64, f64)]) -> Series {
    Series { name: name.into(), points: points.iter().map(|&(x, y)| point(x, y)).collect() }
}

fn page(axes: [Axis; 2], series: Vec<Series>) -> Result<String, String> {
    let mut report = Report::new("t");
    report.push(Section::plot("Plot", axes, series));
    report.to_html().map_err(|error| error.to_string())
}

fn linear() -> [Axis; 2] {
    [Axis::linear("threads"), Axis::linear("papers a second")]
}

#[test]
fn points_lie_where_their_numbers_say() {
    let axis = Axis::linear("x");
    let scale = Scale::of(&axis, [0.0, 100.0].into_iter(), [0.0, 106.0]);
    assert_eq!((scale.at(0.0), scale.at(100.0).round()), (0.0, 100.0));
    let scale = Scale::of(&axis, [90.0, 100.0].into_iter(), [300.0, 0.0]);
    assert_eq!(scale.at(0.0), 300.0, "a linear axis begins at 0, and up is up");
    let scale = Scale::of(&Axis::logarithmic("x"), [256.0, 4_096.0].into_iter(), [0.0, 100.0]);
    let [left, middle, right] = [256.0, 1_024.0, 4_096.0].map(|value| scale.at(value));
    assert!(left > 0.0 && right < 100.0 && (middle - 50.0).abs() < 1e-9, "{left} {middle} {right}");
}

#[test]
fn few_values_are_marked_themselves_and_many_by_round_numbers() {
    let ticks = |axis: &Axis, values: &[f64]| {
        let scale = Scale::of(axis, values.iter().copied(), [0.0, 100.0]);
        scale.ticks(values).collect::<Vec<_>>()
    };
    let axis = Axis::linear("x");
    assert_eq!(ticks(&axis, &[4.0, 1.0, 2.0, 1.0]), [1.0, 2.0, 4.0]);
    let many: Vec<f64> = (0..100).map(|n| f64::from(n) * 1.7).collect();
    assert_eq!(ticks(&axis, &many), [0.0, 50.0, 100.0, 150.0]);
    let axis = Axis::logarithmic("x");
    assert_eq!(ticks(&axis, &many[1..]), [2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0]);
    assert!(!Scale::of(&Axis::linear("x"), std::iter::empty(), [0.0, 1.0]).round_numbers().is_empty());
}

#[test]
fn numbers_on_an_axis_are_short() {
    let shown = [1.0, 1_024.0, 0.25, 12.345_678, 2e6, 1e-7].map(short);
    assert_eq!(shown, ["1", "1024", "0.25", "12.346", "2,000,000", "1.0e\u{2212}7"]);
}

#[test]
fn a_plot_is_a_picture_with_its_numbers_below() {
    let mut first = series("cpu <1>", &[(1.0, 20.0), (2.0, 30.0)]);
    first.points[1].interval = Some((28.0, 33.0));
    let html = page(linear(), vec![first, series("openvino", &[(1.0, 25.0)])]).unwrap();
    for part in
        ["<svg ", "cpu &lt;1&gt;", "<title>", "papers a second", "class=\"s0\"", "class=\"s1\"", "33.00", "<details"]
    {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    for forbidden in ["http:", "https:", "//", "src=", "url(", "<script", "cpu <1>", "NaN", "inf"] {
        assert!(!html.contains(forbidden), "`{forbidden}` is in the page");
    }
    assert!(page(linear(), Vec::new()).unwrap().contains("<svg "), "an empty plot has axes");
    let marks = |points: usize| {
        let many = Series { name: "x".into(), points: (0..points).map(|n| point(n as f64, 1.0)).collect() };
        let [x, y] = [0, 1].map(|_| Scale::of(&Axis::linear("x"), [0.0, 99.0].into_iter(), [0.0, 1.0]));
        series_view((0, Drawn::Lines), &many, [&x, &y]).marks.matches('Z').count()
    };
    assert_eq!((marks(24), marks(25)), (24, 0));
}

#[test]
fn json_keeps_a_plot() {
    let folder = tempfile::tempdir().unwrap();
    let mut report = Report::new("t");
    let mut one = series("a", &[(1.0, 0.5)]);
    one.points[0].interval = Some((0.25, 0.75));
    report.push(Section::plot("Plot", [Axis::logarithmic("x"), Axis::linear("y")], vec![one]));
    report.write(folder.path()).unwrap();
    assert_eq!(Report::read(folder.path()).unwrap(), report);
}

#[test]
fn numbers_without_a_place_are_refused() {
    let refused = |axes, value: f64| page(axes, vec![series("a", &[(1.0, 1.0), (value, 1.0)])]).unwrap_err();
    let expected = "report section `plot` has NaN on the axis `threads` in series `a`, expected a finite number";
    assert_eq!(refused(linear(), f64::NAN), expected);
    let axes = [Axis::logarithmic("tokens"), Axis::linear("y")];
    let expected = "report section `plot` has 0 on the axis `tokens` in series `a`, expected a finite number above 0";
    assert_eq!(refused(axes, 0.0), expected);
    let mut bad = series("a", &[(1.0, 1.0)]);
    bad.points[0].interval = Some((0.0, f64::INFINITY));
    assert!(page(linear(), vec![bad]).unwrap_err().contains("has inf on the axis `papers a second`"));
}

/// The relative luminance of a colour, by the Web Content Accessibility Guidelines 2.
fn luminance(colour: &str) -> f64 {
    let digits = colour.trim().trim_start_matches('#');
    let wide: String = if digits.len() == 3 { digits.chars().flat_map(|c| [c, c]).collect() } else { digits.into() };
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&wide[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
}

#[test]
fn lines_and_words_can_be_told_from_their_ground_in_both_colour_schemes() {
    let template = include_str!("page.html");
    let schemes: Vec<&str> = template.split("--ground:").skip(1).map(|part| part.split('}').next().unwrap()).collect();
    assert_eq!(schemes.len(), 2);
    for scheme in schemes {
        let colour = |name: &str| {
            let (_, rest) = scheme.split_once(&format!("--{name}: ")).unwrap_or_else(|| panic!("--{name}: {scheme}"));
            luminance(rest.split(';').next().unwrap())
        };
        let panel = colour("panel");
        let contrast = |other: f64| (panel.max(other) + 0.05) / (panel.min(other) + 0.05);
        assert!(contrast(colour("ink")) >= 7.0 && contrast(colour("faint")) >= 4.5, "{scheme}");
        for style in 0..STYLES {
            assert!(contrast(colour(&format!("s{style}"))) >= 3.0, "s{style} in {scheme}");
        }
    }
}

#[test]
fn points_of_a_map_are_marked_each_and_not_joined() {
    let many: Vec<(f64, f64)> = (0..100).map(|n| (f64::from(n), f64::from(n % 7) - 3.0)).collect();
    let series = [series("a", &many), series("b", &many[..3])];
    let axes = [Axis::linear("first"), Axis::linear("second")];
    let drawn = view([&axes[0], &axes[1]], &series, Drawn::Points);
    assert_eq!(drawn.series[0].marks.matches('Z').count(), 100);
    assert_eq!(drawn.rows.len(), 103);
    let mut report = Report::new("t");
    report.push(Section::scatter("Map", axes, series.to_vec()));
    let html = report.to_html().unwrap();
    assert!(html.contains("class=\"marks\"") && !html.contains("class=\"line\""));
    let back: Report = serde_json::from_str(&report.to_json().unwrap()).unwrap();
    assert_eq!(back, report);
    let bad = Section::scatter("Map", linear(), vec![Series { name: "x".into(), points: vec![point(f64::NAN, 0.0)] }]);
    assert!(bad.check().is_err());
}
