//! Promise: `export --precision int8` measures which matrices may be int8, writes a point of a curve that reaches what was
//! asked or nothing at all, and says in the bundle how it was chosen. An int8 vector is a function of its text alone, lies
//! apart from the fp32 one in the cache, serves a head that was trained in fp32, and runs on the CPU provider alone.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
mod quality_place;

use std::fs;

use common::{Said, Workplace, minilm_checkpoint, root, tiny_checkpoint};
use offprint::model::{Bundle, Int8, Precision};
use quality_place::papers;

/// Names in the work folder, but for the cache.
fn left(place: &Workplace) -> Vec<String> {
    let entries = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| name != "cache");
    names.sort();
    names
}

fn export(place: &Workplace, output: &str, more: &[&str], status: i32) -> Said {
    let model = tiny_checkpoint();
    let args = ["export", "--model", model.to_str().unwrap(), "--pooling", "mean", "-o", output];
    place.run(&[&args[..], more].concat(), status)
}

fn int8(place: &Workplace, output: &str) -> Int8 {
    Bundle::open(&place.path(output)).unwrap().manifest.int8.unwrap()
}

/// What holds of every record.
fn check_record(record: &Int8) {
    assert!(record.curve.len() >= 3, "{:?}", record.curve);
    for (fewer, more) in record.curve.iter().zip(&record.curve[1..]) {
        assert!(fewer.share < more.share && fewer.groups < more.groups, "{:?}", record.curve);
    }
    assert!(record.curve.iter().all(|point| point.speed > 0.0 && point.cosine_min <= point.cosine_mean));
    assert!(record.curve.last().unwrap().names.contains(&"all".to_owned()));
    assert_eq!(record.curve.last().unwrap().groups as usize, record.groups.len());
    let shares: f64 = record.groups.iter().map(|group| group.share).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
    assert!(["full", "half"].contains(&record.weights.as_str()));
    assert!(["processor", "u8"].contains(&record.sums.as_str()));
    assert_eq!(record.calibration.hash.len(), 64);
}

#[test]
fn the_bundle_says_how_it_was_chosen_and_inspect_shows_it() {
    let place = Workplace::new();
    place.write("papers.jsonl", papers());
    let flags = ["--precision", "int8", "--calibrate", "papers.jsonl", "--int8-point", "all"];
    let said = export(&place, "int8", &flags, 0);
    said.expect(&[
        "int8: ranges from ",
        " texts (papers.jsonl and built-in texts), figures from ",
        " others; ONNX Runtime 1.",
    ]);
    said.expect(&["  integers of weights: full; "]);
    said.expect(&["all: 100 % of the products int8, ", " x the papers/s of fp32, cosine least 0."]);
    said.expect(&["compared with the fp32 graph of the same checkpoint on "]);
    assert_eq!(left(&place), ["int8", "papers.jsonl"]);

    let bundle = Bundle::open(&place.path("int8")).unwrap();
    bundle.verify_graph().unwrap();
    let record = bundle.manifest.int8.clone().unwrap();
    check_record(&record);
    assert_eq!((record.point.as_str(), record.calibration.corpus.as_str()), ("all", "papers.jsonl and built-in texts"));
    assert!(record.calibration.texts > 45 && record.calibration.held_out > 45, "{:?}", record.calibration);
    assert!(record.groups.iter().all(|group| group.precision == "int8"));
    let query = |group: &&offprint::model::Int8Group| group.matrices.iter().any(|name| name.contains("query"));
    let together = record.groups.iter().find(query).unwrap();
    assert!(together.matrices.iter().any(|name| name.contains("value")), "{:?}", together.matrices);
    assert_eq!((bundle.manifest.precision, bundle.manifest.batch_invariant), (Precision::Int8, true));
    let quality = bundle.manifest.quality.unwrap();
    assert!(quality.measured.unwrap().cosine_min > 0.9);

    let shown = place.run(&["inspect", "int8"], 0).stdout;
    for part in ["int8: ranges from ", "products by precision", "cosine least 0.", "attention"] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
    let json = place.run(&["inspect", "int8", "--json"], 0).json();
    assert_eq!(json["manifest"]["int8"]["point"], "all");
}

#[test]
fn an_int8_vector_depends_on_its_text_alone_and_lies_apart_from_the_fp32_one() {
    let place = Workplace::new();
    place.write("papers.jsonl", papers());
    export(&place, "fp32", &[], 0);
    export(&place, "int8", &["--precision", "int8", "--int8-point", "all"], 0);
    let said = place.run(&["check", "--model", "int8", "papers.jsonl", "--json"], 0).json();
    let compositions = said["compositions"].as_array().unwrap();
    assert_eq!(said["invariant"], true);
    assert!(compositions.len() >= 5 && compositions.iter().all(|compared| compared["rows_differ"] == 0), "{said}");

    let [fp32, int8] = ["fp32", "int8"].map(|name| Bundle::open(&place.path(name)).unwrap());
    assert_eq!(fp32.identity(), int8.identity());
    assert_ne!(fp32.fingerprint().hash(), int8.fingerprint().hash());
    let embed = |model: &str, output: &str| {
        place.run(&["embed", "--model", model, "papers.jsonl", "-o", output, "--json"], 0).json()
    };
    assert_eq!(embed("fp32", "fp32.jsonl")["cached"], 0);
    assert_eq!(embed("int8", "int8.jsonl")["cached"], 0);
    assert_eq!(embed("int8", "again.jsonl")["cached"], 90);
    assert_eq!(place.read("int8.jsonl"), place.read("again.jsonl"));
    assert_ne!(place.read("int8.jsonl"), place.read("fp32.jsonl"));
}

#[test]
fn a_head_of_the_fp32_bundle_serves_int8_and_the_account_says_what_is_lost() {
    let place = Workplace::new();
    place.write("papers.jsonl", papers());
    export(&place, "fp32", &[], 0);
    place.run(&["train", "--model", "fp32", "--label", "field", "papers.jsonl", "-o", "field.head"], 0);
    let flags = ["--precision", "int8", "--int8-point", "all", "--check", "papers.jsonl"];
    let head = ["--head", "field.head", "--label", "field", "--max-f1-drop", "0.2"];
    let said = export(&place, "int8", &[&flags[..], &head].concat(), 0);
    said.expect(&[", macro-F1 ", " (fp32 ", "    on `field` of 90 texts: macro-F1 "]);
    let record = int8(&place, "int8");
    assert!(record.calibration.held_out <= 90 && record.calibration.corpus == "built-in texts");
    for point in &record.curve {
        let f1 = point.head.as_ref().unwrap().f1.as_ref().unwrap();
        assert_eq!((f1.texts, f1.label.as_str()), (record.calibration.held_out, "field"));
    }
    let args = ["classify", "--model", "int8", "--head", "field.head", "papers.jsonl", "--label", "field"];
    place.run(&args, 0).expect(&["int8: vectors as measured at export against the fp32 graph", "macro-F1 "]);
}

#[test]
fn a_point_that_is_not_good_enough_is_status_1_and_leaves_nothing() {
    let place = Workplace::new();
    place.write("papers.jsonl", papers());
    // No point of the curve reaches it.
    let said = export(&place, "int8", &["--precision", "int8", "--min-cosine", "1"], 1);
    said.expect(&[
        "error: the new bundle is worse than was asked; nothing was written\n  cause: the int8 point `default`",
    ]);
    said.expect(&["has to have a least cosine of 1 and a mean of 1", "the best that was measured are 0."]);
    assert_eq!(left(&place), ["papers.jsonl"]);
    // A point was named, and the comparison with the original finds it too bad.
    let flags =
        ["--precision", "int8", "--int8-point", "all", "--check", "papers.jsonl", "--min-cosine", "1", "--json"];
    let said = export(&place, "int8", &flags, 1);
    said.expect(&["cause: the least cosine with the original is 0.", "expected 1 or more (`--min-cosine`)"]);
    let json = said.json();
    assert_eq!((&json["written"], json["failures"].as_array().unwrap().len()), (&false.into(), 1));
    assert!(json["manifest"]["int8"]["curve"].as_array().unwrap().len() >= 3);
    assert_eq!(left(&place), ["papers.jsonl"]);
}

#[test]
fn the_account_is_json_for_programs() {
    let place = Workplace::new();
    let json = export(&place, "fp32", &["--json"], 0).json();
    assert_eq!((&json["written"], &json["manifest"]["precision"]), (&true.into(), &"fp32".into()));
    assert_eq!(json["manifest"].get("int8"), None);
    let json = export(&place, "int8", &["--precision", "int8", "--int8-point", "all", "--json"], 0).json();
    assert_eq!((&json["bundle"], &json["manifest"]["precision"]), (&"int8".into(), &"int8".into()));
    assert_eq!(json["manifest"]["int8"]["point"], "all");
    assert!(json["manifest"]["quality"]["measured"]["cosine_min"].as_f64().unwrap() > 0.9);
    assert_eq!(json["check"]["batch_rows"], 0);
}

#[test]
fn a_corpus_that_cannot_be_calibrated_on_is_named_and_nothing_is_left() {
    let place = Workplace::new();
    place.write("empty.jsonl", "");
    place.write("one.jsonl", "{\"id\": \"a\", \"title\": \"one\", \"abstract\": \"text\"}\n");
    let same = |n: usize| format!("{{\"id\": \"{n}\", \"title\": \"the same\"}}\n");
    place.write("same.jsonl", (0..40).map(same).collect::<String>());
    let files = left(&place);
    let refused = |corpus: &str, parts: &[&str]| {
        let said = export(&place, "int8", &["--precision", "int8", "--calibrate", corpus], 2);
        said.expect(parts);
        assert_eq!(left(&place), files, "{corpus}");
    };
    refused("empty.jsonl", &["error: the corpus holds no rows"]);
    let hint = "hint: take a larger corpus: a few hundred papers are enough";
    for corpus in ["one.jsonl", "same.jsonl"] {
        refused(corpus, &["error: `--calibrate` names 1 different texts, a calibration needs 16 or more", hint]);
    }
    refused("nowhere.jsonl", &["nowhere.jsonl"]);
    let flags = ["--precision", "int8", "--check", "one.jsonl"];
    export(&place, "int8", &flags, 2).expect(&["error: `--check` names 1 different texts, a calibration needs 16"]);
    assert_eq!(left(&place), files);
}

#[test]
fn flags_that_mean_nothing_are_refused() {
    let place = Workplace::new();
    place.write("papers.jsonl", papers());
    for (flags, parts) in [
        (
            &["--calibrate", "papers.jsonl"][..],
            ["error: `--calibrate` is given, and the graph is fp32", "hint: `--precision int8`"],
        ),
        (
            &["--int8-point", "fast"],
            ["error: `--int8-point` is given, and the graph is fp32", "hint: `--precision int8`"],
        ),
        (
            &["--precision", "int8", "--int8-point", "slow"],
            ["unknown int8 point `slow`", "careful, default, fast, all"],
        ),
        (&["--precision", "int8", "--plain"], ["error: `--plain` is given with `--precision int8`", "hint: leave one"]),
    ] {
        export(&place, "int8", flags, 2).expect(&parts);
    }
    assert_eq!(left(&place), ["papers.jsonl"]);
}

#[test]
fn another_provider_refuses_an_int8_bundle() {
    let place = Workplace::new();
    place.write("papers.jsonl", papers());
    export(&place, "int8", &["--precision", "int8", "--int8-point", "all"], 0);
    for fallback in ["error", "warn"] {
        let args = ["embed", "--model", "int8", "papers.jsonl", "--provider", "openvino", "--fallback", fallback];
        let said = place.run(&args, 2);
        said.expect(&[
            "error: the bundle computes in int8, which is made for `CPUExecutionProvider`; `--provider openvino`",
        ]);
        said.expect(&["hint: `--provider cpu`, or export it with `--precision fp32` for this provider"]);
    }
}

/// Real weights: ranges of some papers give what the default promises on others, and ranges of what is no text don't.
#[test]
fn the_default_of_minilm_reaches_its_bounds_and_a_bad_calibration_does_not() {
    let Some(checkpoint) = minilm_checkpoint() else { return };
    let place = Workplace::new();
    let papers = fs::read_to_string(root().join("examples/papers.jsonl")).unwrap();
    let (mut here, mut there) = (String::new(), String::new());
    for (at, line) in papers.lines().enumerate() {
        let part = if at % 2 == 0 { &mut here } else { &mut there };
        part.push_str(&format!("{line}\n"));
    }
    place.write("here.jsonl", here);
    place.write("there.jsonl", there);
    let recipe = root().join("models/all-minilm-l6-v2.toml");
    let model = ["export", "--model", checkpoint.to_str().unwrap(), "--recipe", recipe.to_str().unwrap()];
    let limits = ["--limit", "40", "--max-length", "128", "--precision", "int8"];
    let flags = ["-o", "int8", "--calibrate", "here.jsonl", "--check", "there.jsonl"];
    place.run(&[&model[..], &limits, &flags].concat(), 0);
    let manifest = Bundle::open(&place.path("int8")).unwrap().manifest;
    let record = manifest.int8.unwrap();
    check_record(&record);
    let chosen = record.chosen().unwrap();
    assert!(chosen.cosine_min >= 0.998 && chosen.cosine_mean >= 0.999, "{chosen:?}");
    assert!(record.curve.last().unwrap().cosine_min <= record.curve[0].cosine_min, "{:?}", record.curve);
    let measured = manifest.quality.unwrap().measured.unwrap();
    assert!(measured.cosine_min >= 0.998 && measured.cosine_mean >= 0.999, "{measured:?}");

    let nonsense = |n: usize| format!("{{\"id\": \"{n}\", \"title\": \"{}\"}}\n", "a ".repeat(n + 1));
    place.write("nonsense.jsonl", (0..40).map(nonsense).collect::<String>());
    let flags = ["-o", "bad", "--calibrate", "nonsense.jsonl", "--check", "there.jsonl", "--int8-point", "all"];
    let said = place.run(&[&model[..], &limits, &flags, &["--min-cosine", "0.998"]].concat(), 1);
    said.expect(&["error: the new bundle is worse than was asked; nothing was written"]);
    assert!(!left(&place).contains(&"bad".to_owned()), "{:?}", left(&place));
}
