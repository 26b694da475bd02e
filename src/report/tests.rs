use std::fs;

use super::page::{count_text, number_text};
use super::*;

/// A page with every kind of section, and texts that would break it if they were not escaped.
fn hostile() -> Report {
    let labels = ["<b>bold</b>".to_owned(), "a \"quoted\" & 'long' label".to_owned()];
    let mut report = Report::new("</title><script>alert(1)</script>");
    report.push_environment("command", "offprint train --label \"<x>\" {{ 7 * 7 }}");
    report.push_environment("provider", "cpu");
    let facts = [("papers", Cell::from(1_234_567_u64)), ("f1_macro", 0.9124.into()), ("nothing", f64::NAN.into())];
    report.push(Section::facts("Test <split>", facts));
    let rows = vec![vec!["<img src=x onerror=y>".into(), 0.5.into()], vec!["b".into(), Cell::Missing]];
    report.push(Section::table("Classes in test", &["label", "f1"], rows));
    report.push(Section::confusion("Confusion in test", &labels, &[vec![30, 2], vec![0, 0]]));
    report.push(Section::bars("Seconds", [("tokenize", 1.5), ("saved", -3.0), ("empty", 0.0)]));
    report.push(Section::note("Note", "{% raw %} & <i>plain</i> https://example.org/"));
    report
}

/// A page with one section.
fn with(section: Section) -> Report {
    let mut report = Report::new("t");
    report.push(section);
    report
}

#[test]
fn hostile_texts_are_shown_and_not_obeyed() {
    let html = hostile().to_html().unwrap();
    for forbidden in ["<script", "<b>bold", "<img", "<i>plain", "49", "\"<x>\"", "label=\"a \"quoted"] {
        assert!(!html.contains(forbidden), "`{forbidden}` reached the page");
    }
    for shown in ["&lt;script&gt;", "&lt;b&gt;bold", "{{ 7 * 7 }}", "{% raw %}", "1,234,567", "0.9124"] {
        assert!(html.contains(shown), "`{shown}` is missing from the page");
    }
}

#[test]
fn the_page_loads_nothing_and_runs_nothing() {
    let html = with(Section::note("A", "text")).to_html().unwrap();
    for forbidden in ["http:", "https:", "//", "src=", "@import", "url(", "<link", "<script", "javascript:"] {
        assert!(!html.contains(forbidden), "`{forbidden}` is in the page");
    }
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn shares_become_shades_and_widths() {
    let html = hostile().to_html().unwrap();
    assert!(html.contains("class=\"right\" style=\"--shade: 0.697\">30<"), "root of 30/32, of the strongest shade");
    assert!(html.contains("class=\"wrong\" style=\"--shade: 0.180\">2<"));
    assert!(html.contains("class=\"right zero\" style=\"--shade: 0.000\">0<"), "a class without papers has no shade");
    assert!(html.contains("--width: 50.00%\"></i>1.5000<"));
    assert!(html.contains("--width: 100.00%\" class=\"negative\"></i>\u{2212}3.0000<"));
}

#[test]
fn json_comes_back_as_it_went() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/report");
    let report = hostile();
    report.write(&path).unwrap();
    assert_eq!(Report::read(&path).unwrap(), report);
    assert_eq!(fs::read_to_string(path.join(HTML_FILE)).unwrap(), report.to_html().unwrap());
    assert_eq!(fs::read_dir(&path).unwrap().count(), 2);

    let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(path.join(JSON_FILE)).unwrap()).unwrap();
    assert_eq!(json["format"], 1);
    assert_eq!(json["environment"]["provider"], "cpu");
    let facts = &json["sections"][0];
    assert_eq!((&facts["name"], &facts["kind"]), (&"test_split".into(), &"facts".into()));
    assert_eq!(facts["facts"]["papers"], 1_234_567);
    assert!(facts["facts"]["nothing"].is_null());
    assert_eq!(report.find("classes_in_test").unwrap().title, "Classes in test");
    assert!(report.find("classes").is_none());
}

#[test]
fn whole_floats_stay_floats_and_order_is_kept() {
    let report = with(Section::facts("S", [("z", Cell::from(1.0)), ("a", Cell::from(1_u64))]));
    let json = report.to_json().unwrap();
    assert!(json.find("\"z\": 1.0").unwrap() < json.find("\"a\": 1").unwrap());
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}

#[test]
fn columns_that_read_as_numbers_are_set_to_the_right() {
    let rows = vec![vec!["7".to_owned(), "x".to_owned()], vec!["0.25".to_owned(), "1".to_owned()]];
    let html = with(Section::table("S", &["n", "t"], rows)).to_html().unwrap();
    assert!(html.contains("<th scope=\"col\" class=\"number\">n</th><th scope=\"col\">t</th>"));
}

#[test]
fn a_second_report_replaces_the_first() {
    let folder = tempfile::tempdir().unwrap();
    Report::new("first").write(folder.path()).unwrap();
    Report::new("second").write(folder.path()).unwrap();
    assert_eq!(Report::read(folder.path()).unwrap().title, "second");
    assert!(!fs::read_to_string(folder.path().join(HTML_FILE)).unwrap().contains("first"));
}

#[test]
fn uneven_tables_and_matrices_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("report");
    let refused = |section: Section| {
        let error = with(section).write(&target).unwrap_err();
        assert!(!target.exists());
        error.to_string()
    };
    let table = vec![vec![Cell::from("x"), 1_u64.into()], vec!["y".into()]];
    assert_eq!(
        refused(Section::table("S", &["a", "b"], table)),
        "report section `s` has 1 values in table row 2, expected 2"
    );
    let labels = ["a".to_owned(), "b".to_owned()];
    assert_eq!(
        refused(Section::confusion("M", &labels, &[vec![1, 2]])),
        "report section `m` has 1 matrix rows, expected 2"
    );
    assert_eq!(
        refused(Section::confusion("M", &labels, &[vec![1, 2], vec![3, 4, 5]])),
        "report section `m` has 3 values in matrix row 2, expected 2"
    );
    let square = Section::confusion("M", &labels, &[vec![1, 2], vec![3, 4]]);
    with(square).write(&target).unwrap();
}

#[test]
fn files_that_are_no_report_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(JSON_FILE);
    let shown = path.display().to_string();
    let refused = || Report::read(folder.path()).unwrap_err();
    assert_eq!(refused().to_string(), format!("report `{shown}` could not be read"));
    fs::write(&path, "{\"title\": 1}").unwrap();
    assert_eq!(refused().to_string(), format!("`{shown}` is not a report of offprint"));
    fs::write(&path, "{\"format\": 2, \"anything\": []}").unwrap();
    assert_eq!(refused().to_string(), format!("report `{shown}` has format 2, expected 1"));
    assert!(refused().hint().unwrap().contains("newer offprint"));
    fs::write(&path, "{\"format\": 0}").unwrap();
    assert!(refused().hint().unwrap().starts_with("run the command again"));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Report::new("t").write(&file.join("report")).unwrap_err();
    assert_eq!(error.to_string(), format!("report `{}` could not be written", file.join("report").display()));
    assert!(error.hint().unwrap().contains("--report"));
}

#[test]
fn numbers_keep_about_four_digits() {
    let cases = [
        (0.0, "0"),
        (0.912_44, "0.9124"),
        (-0.5, "\u{2212}0.5000"),
        (9.999_96, "10.00"),
        (37.119, "37.12"),
        (999.96, "1,000"),
        (1_204.4, "1,204"),
        (2.1e-7, "2.1e\u{2212}7"),
        (3e20, "3.0e20"),
    ];
    for (number, text) in cases {
        assert_eq!(number_text(number), text, "{number}");
    }
    assert_eq!([0, 999, 1_000, -12_345_678].map(count_text), ["0", "999", "1,000", "\u{2212}12,345,678"]);
}
