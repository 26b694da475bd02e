//! Plots: numbers against numbers as series of points with their intervals, and how they become coordinates of an SVG
//! picture. The template draws what it is given. Invariant: every number in the picture stands in the table below it, too.

use serde::{Deserialize, Serialize};

use super::page::number_text;

/// Size of the picture, in its own units, of which a letter is 14 high.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 300.0;
/// The frame's distance from the edges: left, right, top, bottom.
const EDGES: [f64; 4] = [58.0, 14.0, 26.0, 44.0];
/// Styles of series; a ninth looks like the first.
const STYLES: usize = 8;
/// Values that are marked on an axis one by one; with more, round numbers are.
const MOST_TICKS: usize = 8;
/// Points that are marked one by one; with more, the line alone is drawn.
const MOST_MARKS: usize = 24;
/// Half the size of a mark.
const MARK: f64 = 4.5;
/// The same on a map, which has many.
const SMALL_MARK: f64 = 2.6;

/// An axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// What is measured, with its unit.
    pub name: String,
    /// Whether equal distances are equal ratios; the numbers then have to be above 0. Else the axis begins at 0, or at the
    /// least number below it.
    pub logarithmic: bool,
}

impl Axis {
    /// An axis on which equal distances are equal differences.
    pub fn linear(name: &str) -> Self {
        Self { name: name.to_owned(), logarithmic: false }
    }

    /// One on which they are equal ratios.
    pub fn logarithmic(name: &str) -> Self {
        Self { name: name.to_owned(), logarithmic: true }
    }

    /// Whether the axis has a place for a number.
    pub(super) fn holds(&self, value: f64) -> bool {
        value.is_finite() && (!self.logarithmic || value > 0.0)
    }
}

/// A point, with its interval where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Along the lower axis.
    pub x: f64,
    /// Along the left axis.
    pub y: f64,
    /// The lower and upper end of the interval of `y`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
}

impl Point {
    /// The numbers along the left axis.
    pub(super) fn heights(&self) -> impl Iterator<Item = f64> {
        let ends = self.interval.into_iter().flat_map(|(low, high)| [low, high]);
        std::iter::once(self.y).chain(ends)
    }
}

/// Points that belong together, joined by a line in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// What they are of.
    pub name: String,
    /// The points, from left to right.
    pub points: Vec<Point>,
}

/// How points are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drawn {
    /// Joined, and marked where they are few.
    Lines,
    /// Marked alone.
    Points,
}

/// What the template draws.
#[derive(Serialize)]
pub(super) struct PlotView<'a> {
    size: [f64; 2],
    /// Left, right, top and bottom of the frame.
    frame: [f64; 4],
    x_name: &'a str,
    y_name: &'a str,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    series: Vec<SeriesView<'a>>,
    rows: Vec<Row<'a>>,
    with_intervals: bool,
}

#[derive(Serialize)]
struct Tick {
    at: String,
    text: String,
}

#[derive(Serialize)]
struct SeriesView<'a> {
    style: usize,
    name: &'a str,
    line: String,
    marks: String,
    /// The mark alone, for the legend.
    legend: String,
    /// Whether a line joins the points.
    joined: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    x: String,
    y: String,
    low: String,
    high: String,
}

/// Lays a plot out. Its numbers have been checked.
pub(super) fn view<'a>(axes: [&'a Axis; 2], series: &'a [Series], drawn: Drawn) -> PlotView<'a> {
    let [left, right, top, bottom] = EDGES;
    let frame = [left, WIDTH - right, top, HEIGHT - bottom];
    let points = || series.iter().flat_map(|series| &series.points);
    let x = Scale::of(axes[0], points().map(|point| point.x), [frame[0], frame[1]]);
    let y = Scale::of(axes[1], points().flat_map(Point::heights), [frame[3], frame[2]]);
    let rows = series.iter().flat_map(|series| series.points.iter().map(|point| row(&series.name, point)));
    let tick = |scale: &Scale, value: f64| Tick { at: place(scale.at(value)), text: short(value) };
    PlotView {
        size: [WIDTH, HEIGHT],
        frame,
        x_name: &axes[0].name,
        y_name: &axes[1].name,
        x_ticks: x.ticks(&points().map(|point| point.x).collect::<Vec<_>>()).map(|value| tick(&x, value)).collect(),
        y_ticks: y.ticks(&[]).map(|value| tick(&y, value)).collect(),
        series: series
            .iter()
            .enumerate()
            .map(|(at, series)| series_view((at % STYLES, drawn), series, [&x, &y]))
            .collect(),
        rows: rows.collect(),
        with_intervals: points().any(|point| point.interval.is_some()),
    }
}

fn row<'a>(name: &'a str, point: &Point) -> Row<'a> {
    let end = |value: Option<f64>| value.map_or_else(String::new, number_text);
    let (low, high) = (point.interval.map(|(low, _)| low), point.interval.map(|(_, high)| high));
    Row { name, x: short(point.x), y: number_text(point.y), low: end(low), high: end(high) }
}

fn series_view<'a>((style, drawn): (usize, Drawn), series: &'a Series, [x, y]: [&Scale; 2]) -> SeriesView<'a> {
    let mut line = String::new();
    let mut marks = String::new();
    let joined = drawn == Drawn::Lines;
    let size = if joined { MARK } else { SMALL_MARK };
    for (at, point) in series.points.iter().enumerate() {
        let (across, up) = (x.at(point.x), y.at(point.y));
        if joined {
            line.push_str(&format!("{}{} {} ", if at == 0 { "M" } else { "L" }, place(across), place(up)));
        }
        if let Some((low, high)) = point.interval {
            let [low, high] = [low, high].map(|end| place(y.at(end)));
            marks.push_str(&format!("M{0} {low} L{0} {high} ", place(across)));
        }
        if !joined || series.points.len() <= MOST_MARKS {
            marks.push_str(&mark((style, size), across, up));
        }
    }
    SeriesView { style, name: &series.name, line, marks, legend: mark((style, MARK), 14.0, 7.0), joined }
}

/// A mark of that style: colours alone tell series apart for some eyes only.
fn mark((style, size): (usize, f64), x: f64, y: f64) -> String {
    let corners: &[(f64, f64)] = match style % 4 {
        0 => &[(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)],
        1 => &[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
        2 => &[(-1.2, 1.0), (0.0, -1.2), (1.2, 1.0)],
        _ => &[(-1.2, -1.0), (0.0, 1.2), (1.2, -1.0)],
    };
    let corner = |(dx, dy): &(f64, f64)| format!("{} {}", place(x + dx * size), place(y + dy * size));
    format!("M{}Z ", corners.iter().map(corner).collect::<Vec<_>>().join(" L"))
}

/// From numbers to places along an axis.
struct Scale {
    logarithmic: bool,
    /// The numbers at both ends; their logarithms on a logarithmic axis.
    ends: [f64; 2],
    places: [f64; 2],
}

impl Scale {
    fn of(axis: &Axis, values: impl Iterator<Item = f64>, places: [f64; 2]) -> Self {
        let (least, most) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most): (f64, f64), v| (least.min(v), most.max(v)));
        let logarithmic = axis.logarithmic;
        let (least, most) = match (least.is_finite(), logarithmic) {
            (false, _) => (0.0, 1.0),
            (true, true) => (least.ln(), most.ln()),
            // Room above the highest point, and an axis that does not make small differences look large.
            (true, false) => (least.min(0.0), most.max(0.0) * 1.06),
        };
        let span = most - least;
        let ends = if span > 0.0 { [least, most] } else { [least - 1.0, most + 1.0] };
        // A logarithmic axis keeps its points off the frame.
        let room = if logarithmic && span > 0.0 { 0.04 * span } else { 0.0 };
        Self { logarithmic, ends: [ends[0] - room, ends[1] + room], places }
    }

    fn at(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.ln() } else { value };
        let share = (value - self.ends[0]) / (self.ends[1] - self.ends[0]);
        self.places[0] + share * (self.places[1] - self.places[0])
    }

    /// The numbers that are marked: `values` themselves where they are few, else round ones.
    fn ticks(&self, values: &[f64]) -> impl Iterator<Item = f64> {
        let mut values = values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        values.dedup();
        let few = !values.is_empty() && values.len() <= MOST_TICKS;
        if few { values.into_iter() } else { self.round_numbers().into_iter() }
    }

    fn round_numbers(&self) -> Vec<f64> {
        let [low, high] = self.ends;
        if self.logarithmic {
            let decades =
                (low / std::f64::consts::LN_10).floor() as i32..=(high / std::f64::consts::LN_10).ceil() as i32;
            let steps: &[f64] = if decades.clone().count() > 4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let numbers = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
            return numbers.filter(|number| (low..=high).contains(&number.ln())).collect();
        }
        // Steps of 1, 2 or 5 times a power of ten, about five of them.
        let rough = (high - low) / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(rough);
        let first = (low / step).ceil() as i64;
        (first..).map(|n| n as f64 * step).take_while(|number| *number <= high).take(20).collect()
    }
}

/// A coordinate; a tenth of a unit is less than anybody sees.
fn place(value: f64) -> String {
    format!("{value:.1}")
}

/// A number on an axis: whole where it is whole.
fn short(value: f64) -> String {
    let rounded = format!("{value:.3}").parse::<f64>().unwrap_or(value);
    match rounded == value || value.abs() >= 1.0 {
        true if value.abs() < 1e6 => format!("{rounded}"),
        _ => number_text(value),
    }
}

#[cfg(test)]
#[path = "plot_tests.rs"]
mod tests;
