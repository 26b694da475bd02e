//! Promise: a bundle that was exported with several adapters gives each text what the bundle with that adapter alone
//! gives, within 1e-6 of its norm; caches keep all of them apart, and a head fits an adapter wherever it sits.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
#[path = "common/several.rs"]
mod several;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use common::{Workplace, root};
use offprint::model::Bundle;
use several::{spaces, vectors};

/// What the adapters are called, and the folders of `tests/data/adapters` that they are; all of one base.
const ADAPTERS: [(&str, &str); 3] =
    [("proximity", "bert-seq"), ("adhoc_query", "bert-double"), ("classification", "bert-parallel")];

/// As a share of a row's norm.
const TOLERANCE: f64 = 1e-6;

fn folder(adapter: &str) -> String {
    root().join("tests/data/adapters").join(adapter).display().to_string()
}

/// Exports `several`, and each adapter by itself under its name.
fn export(place: &Workplace) {
    let tiny = root().join("tests/data/tiny-architectures");
    let bases: BTreeSet<String> =
        ADAPTERS.iter().map(|(_, of)| fs::read_to_string(Path::new(&folder(of)).join("base.txt")).unwrap()).collect();
    assert_eq!(bases.len(), 1);
    let base = tiny.join(bases.first().unwrap().trim());
    fs::create_dir(place.path("checkpoint")).unwrap();
    for entry in fs::read_dir(base).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), place.path("checkpoint").join(entry.file_name())).unwrap();
    }
    fs::copy(tiny.join("tokenizer.json"), place.path("checkpoint/tokenizer.json")).unwrap();
    let export = ["export", "--model", "checkpoint", "--pooling", "cls"];
    let all = ADAPTERS.map(|(name, of)| format!("{name}={}", folder(of))).join(",");
    let said = place.run(&[&export[..], &["--adapters", &all, "-o", "several"]].concat(), 0);
    said.expect(&["adapter proximity (bottleneck", "adapter adhoc_query (bottleneck", "for texts that ask for it"]);
    for (name, of) in ADAPTERS {
        let said = place.run(&[&export[..], &["--adapter", &folder(of), "-o", name]].concat(), 0);
        said.expect(&["every text goes through it"]);
    }
}

fn corpus(place: &Workplace) {
    let mut text = String::new();
    for n in 0..90 {
        let words = ["coral reef heat ", "steel wave ", "the cell of a protein "][n % 3].repeat(n % 11);
        let (task, label) = (ADAPTERS[n / 2 % 3].0, if n % 3 == 0 { "sea" } else { "other" });
        writeln!(
            text,
            r#"{{"id": "p{n}", "title": "paper {n}", "abstract": "{words}", "task": "{task}", "label": "{label}"}}"#
        )
        .unwrap();
    }
    place.write("papers.jsonl", text);
}

/// Largest difference of a component, as a share of the row's norm.
fn difference(got: &[f32], expected: &[f32]) -> f64 {
    let norm = expected.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let largest = got.iter().zip(expected).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).fold(0.0, f64::max);
    largest / norm
}

#[test]
fn each_text_gets_what_its_adapter_gives_alone() {
    let place = Workplace::new();
    export(&place);
    corpus(&place);
    let embed = |model: &str, output: &str, more: &[&str]| {
        let args = ["embed", "papers.jsonl", "--json", "--model", model, "-o", output];
        place.run(&[&args, more].concat(), 0).json()
    };
    let account = embed("several", "mixed.jsonl", &["--adapter-field", "task"]);
    assert_eq!(account["adapters"], serde_json::json!({"proximity": 30, "adhoc_query": 30, "classification": 30}));
    let mixed = vectors(&place, "mixed.jsonl");
    let mut worst: f64 = 0.0;
    let mut closest = f64::INFINITY;
    for (name, _) in ADAPTERS {
        let account = embed(name, "alone.jsonl", &[]);
        assert_eq!(account["embedded"].as_u64(), Some(90), "the mixture is no hit for the adapter alone: {account}");
        for (row, expected) in vectors(&place, "alone.jsonl").iter().enumerate() {
            let differ = difference(&mixed[row], expected);
            if ADAPTERS[row / 2 % 3].0 == name {
                worst = worst.max(differ);
            } else {
                closest = closest.min(differ);
            }
        }
    }
    println!("largest difference {worst:.1e} of a norm; of other adapters at least {closest:.1e}");
    assert!(worst <= TOLERANCE, "{worst:e}");
    assert!(closest > 1e-3, "adapters that hardly differ would prove nothing: {closest:e}");

    // Six spaces: each adapter chosen, and each alone, which differ in nothing but the graph.
    let open = |name: &str| Bundle::open(&place.path(name)).unwrap().manifest;
    let several = open("several");
    let mut expected = Vec::new();
    for (at, (name, _)) in ADAPTERS.iter().enumerate() {
        let hash = &several.adapters[at].hash;
        expected.extend([(hash.clone(), 30), (hash.clone(), 90)]);
        let changes = open(name).fingerprint().differences(&several.fingerprint_of(Some(at)));
        assert_eq!(changes.iter().map(|change| change.name.as_str()).collect::<Vec<_>>(), ["graph"], "{name}");
    }
    expected.sort();
    assert_eq!(spaces(&place.path("cache")), expected);
    let again = embed("several", "again.jsonl", &["--adapter-field", "task"]);
    assert_eq!(again["cached"].as_u64(), Some(90));
    assert_eq!(place.read("again.jsonl"), place.read("mixed.jsonl"));
    place.run(&["check", "--model", "several", "papers.jsonl", "--adapter-field", "task", "--threads", "2"], 0);
}

#[test]
fn a_head_fits_its_adapter_wherever_it_sits() {
    let place = Workplace::new();
    export(&place);
    corpus(&place);
    place.run(&["train", "--model", "adhoc_query", "papers.jsonl", "--label", "label", "-o", "sea.head"], 0);
    let classify = ["classify", "--model", "several", "papers.jsonl", "--head", "sea.head", "-o", "x.jsonl"];
    place.run(&[&classify[..], &["--adapter", "adhoc_query"]].concat(), 0);
    let hint = "hint: it fits `--adapter adhoc_query`";
    place.run(&[&classify[..], &["--adapter", "proximity"]].concat(), 2).expect(&["adapter: ", hint]);

    // A bundle is compared with another through the adapter that both have, whichever of them carries several.
    let export = ["export", "--model", "checkpoint", "--pooling", "cls", "--adapter"];
    let double = folder("bert-double");
    let against = [&export[..], &[&double, "-o", "again", "--against", "several", "--min-cosine", "0.999999"]].concat();
    place.run(&against, 0).expect(&["compared with the bundle several"]);
    let all = ADAPTERS.map(|(name, of)| format!("{name}={}", folder(of))).join(",");
    let same = ["--adapters", &all, "-o", "same", "--against", "several", "--min-cosine", "1"];
    place.run(&[&export[..5], &same].concat(), 0).expect(&["compared with the bundle several"]);
    let left_out = folder("bert-left-out");
    let strange = [&export[..], &[&left_out, "-o", "strange", "--against", "several"]].concat();
    let nothing = "one of the bundles carries several adapters, and the other none of them: nothing to compare";
    place.run(&strange, 2).expect(&[nothing]);
}
