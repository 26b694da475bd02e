//! Promise: the report page of `train` shows what was measured, can be read on a phone, by a keyboard and with weak eyes, and
//! loads nothing.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

#[path = "common/browser.rs"]
mod browser;
mod common;

use common::{Workplace, tiny_bundle};
use serde_json::{Value, json};

/// Papers of nine sources whose labels hang on words, but not always.
fn place() -> Workplace {
    let place = Workplace::new();
    let words = ["coral ocean", "steel copper", "grammar syntax", "planet orbit"];
    let mut text = String::new();
    for n in 0..160_usize {
        let topic = n % 4;
        let wrong = if n % 11 == 0 { (topic + 1) % 4 } else { topic };
        let row = json!({
            "id": format!("p{n}"), "title": format!("{} <b>{n}</b>", words[topic]), "field": format!("topic {wrong}"),
            "labels": [format!("topic {wrong}"), format!("third {}", n % 3)], "value": topic as f64 * 1.5 + (n % 7) as f64 * 0.1,
            "source": format!("s{}", n % 9),
        });
        text.push_str(&format!("{row}\n"));
    }
    place.write("papers.jsonl", text);
    place
}

fn page(place: &Workplace, label: &str, more: &[&str]) -> (String, Value) {
    let args =
        ["train", "--model", tiny_bundle(), "--label", label, "papers.jsonl", "-o", "x.head", "--report", "report"];
    place.run(&[&args[..], more].concat(), 0);
    let page = place.read("report/report.html");
    for forbidden in ["http:", "https:", "src=", "@import", "url(", "<link", "<script", "javascript:", "NaN", "<b>"] {
        assert!(!page.contains(forbidden), "`{forbidden}` is in the page");
    }
    browser::assert_readable(place.path("").as_path(), "report/report.html");
    (page, serde_json::from_str(&place.read("report/report.json")).unwrap())
}

fn section<'r>(report: &'r Value, title: &str) -> &'r Value {
    let all = report["sections"].as_array().unwrap();
    let titles: Vec<&Value> = all.iter().map(|section| &section["title"]).collect();
    all.iter().find(|section| section["title"] == title).unwrap_or_else(|| panic!("no {title} in {titles:?}"))
}

#[test]
fn one_label_has_every_section() {
    let place = place();
    let more = ["--c-grid=0.1,1,10", "--learning-curve", "--nested", "--group-field", "source", "--conformal", "0.2"];
    let (page, report) = page(&place, "field", &more);
    assert_eq!(section(&report, "f1_macro by C, on 5 folds of whole groups of train")["kind"], "plot");
    let curve = section(&report, "Learning curve");
    assert_eq!(curve["series"][0]["points"].as_array().unwrap().len(), 6);
    assert!(curve["series"][0]["points"][0]["interval"].is_array());
    assert_eq!(section(&report, "Confusion in held_out")["counts"].as_array().unwrap().len(), 4);
    let curves = section(&report, "Precision and recall in held_out")["series"].as_array().unwrap();
    assert_eq!(curves.len(), 5, "all together and four classes");
    assert_eq!(section(&report, "Reliability in held_out")["series"][1]["name"], "as claimed");
    let worst = section(&report, "Worst mistakes in held_out")["rows"].as_array().unwrap();
    assert!(worst.iter().all(|row| row[2] != row[3]) && !worst.is_empty());
    assert!(worst[0][1].as_str().unwrap().contains("<b>"), "titles are carried: {}", worst[0]);
    let map = section(&report, "Map of the embeddings");
    let points: usize =
        map["series"].as_array().unwrap().iter().map(|series| series["points"].as_array().unwrap().len()).sum();
    assert_eq!((map["kind"].as_str().unwrap(), points), ("scatter", 160));
    let figures = &section(&report, "Figures of held_out")["facts"];
    for name in ["expected calibration error", "Brier score", "labels in a set", "f1_macro", "accuracy"] {
        assert!(figures.get(name).is_some(), "{name}: {figures}");
    }
    assert!(section(&report, "Beyond these rows")["facts"].get("lost on unseen groups").is_some());
    assert_eq!(section(&report, "Leaks between parts")["rows"][0][0], "held_out in train");
    assert_eq!(page.matches("<figure>").count(), 5);
}

#[test]
fn several_labels_and_numbers_have_their_own() {
    let place = place();
    let (_, report) = page(&place, "labels", &["--thresholds", "f1"]);
    assert_eq!(section(&report, "Labels in held_out")["rows"].as_array().unwrap().len(), 7);
    assert_eq!(section(&report, "Thresholds, on rows that were left out")["rows"].as_array().unwrap().len(), 7);
    let (_, report) = page(&place, "value", &["--alpha-grid"]);
    assert_eq!(section(&report, "r2 by alpha, on 5-fold on train")["kind"], "plot");
    let numbers = section(&report, "Predicted and right in held_out");
    assert_eq!(
        (numbers["kind"].as_str().unwrap(), numbers["series"][0]["points"].as_array().unwrap().len()),
        ("scatter", 32)
    );
}
