//! Promise: a bundle whose numbers are not its original's is compared with it; the figures are those of the vectors and
//! stand in the bundle, and one that is worse than was asked is not left behind.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
mod quality_place;

use std::fs;
use std::path::Path;

use common::{Workplace, tiny_checkpoint};
use offprint::heads::Head;
use offprint::model::{Bundle, Quality};
use quality_place::{export, papers, place};

/// Changes every number of weights in 16 bits by about an eighth.
fn flip_half_weights(path: &Path) {
    const AN_EIGHTH: u8 = 0x80;
    let mut bytes = fs::read(path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[header..].chunks_exact_mut(2).for_each(|number| number[0] ^= AN_EIGHTH);
    fs::write(path, bytes).unwrap();
}

fn quality(place: &Workplace) -> Quality {
    Bundle::open(&place.path("new")).unwrap().manifest.quality.unwrap()
}

/// The vectors of `papers.jsonl`.
fn vectors(place: &Workplace, bundle: &str) -> Vec<Vec<f64>> {
    let output = format!("{bundle}.jsonl");
    place.run(&["embed", "--model", bundle, "papers.jsonl", "-o", &output], 0);
    let numbers = |line: &str| -> Vec<f64> {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let numbers = row["embedding"].as_array().unwrap().iter();
        numbers.map(|number| f64::from(number.as_f64().unwrap() as f32)).collect()
    };
    place.read(&output).lines().map(numbers).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The ten nearest others of each vector, the nearest first.
fn neighbours(vectors: &[Vec<f64>]) -> Vec<Vec<usize>> {
    let nearest = |row: usize| {
        let mut others: Vec<usize> = (0..vectors.len()).filter(|&other| other != row).collect();
        let near = |other: &usize| cosine(&vectors[row], &vectors[*other]);
        others.sort_by(|a, b| near(b).total_cmp(&near(a)));
        others.truncate(10);
        others
    };
    (0..vectors.len()).map(nearest).collect()
}

#[test]
fn figures_are_those_of_the_vectors_and_stand_in_the_bundle() {
    let place = place(0.02);
    let said = export(&place, &["--check", "papers.jsonl", "--min-cosine", "0.5"], 0);
    said.expect(&["compared with the bundle old on 90 texts (papers.jsonl), ONNX Runtime 1.", "cosine: least 0."]);
    said.expect(&["neighbours: ", " of the nearest 10 kept, ", "among 90 texts"]);

    let quality = quality(&place);
    let measured = quality.measured.as_ref().unwrap();
    let (old, new) = (vectors(&place, "old"), vectors(&place, "new"));
    let mut cosines: Vec<f64> = old.iter().zip(&new).map(|(old, new)| cosine(old, new)).collect();
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    cosines.sort_by(f64::total_cmp);
    let close = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-12, "{got}, expected {expected}");
    close(measured.cosine_min, cosines[0]);
    close(measured.cosine_1_percent, cosines[0] + 0.89 * (cosines[1] - cosines[0]));
    close(measured.cosine_median, (cosines[44] + cosines[45]) / 2.0);
    close(measured.cosine_mean, mean);
    assert!(measured.cosine_min < measured.cosine_median && measured.cosine_median < 1.0);
    let pairs = old.iter().flatten().zip(new.iter().flatten());
    close(measured.max_delta, pairs.map(|(old, new)| (old - new).abs()).fold(0.0, f64::max));
    let (near_old, near_new) = (neighbours(&old), neighbours(&new));
    let kept = |(old, new): (&Vec<usize>, &Vec<usize>)| old.iter().filter(|row| new.contains(row)).count();
    close(measured.neighbours_kept, near_old.iter().zip(&near_new).map(kept).sum::<usize>() as f64 / 900.0);
    let first = near_old.iter().zip(&near_new).filter(|(old, new)| old[0] == new[0]).count();
    close(measured.first_neighbour_kept, first as f64 / 90.0);

    let toml = place.read("new/bundle.toml");
    for part in [
        "[quality]\noriginal = \"bundle old\"\n",
        "corpus = \"papers.jsonl\"\ntexts = 90\n",
        "\ncpu = \"",
        "\nonnxruntime = \"1.",
    ] {
        assert!(toml.contains(part), "{part} is not in:\n{toml}");
    }
    let old = Bundle::open(&place.path("old")).unwrap();
    assert_eq!(quality.original_fingerprint, Some(old.fingerprint().hash()));
    assert_eq!(old.manifest.quality, None);
}

#[test]
fn figures_in_the_graph_are_a_copy_and_the_graph_itself_stays() {
    let place = place(0.02);
    export(&place, &["--check", "papers.jsonl"], 0);
    place.run(&["export", "--model", "moved", "-o", "plain", "--pooling", "mean"], 0);
    let [new, plain] = ["new", "plain"].map(|name| Bundle::open(&place.path(name)).unwrap());
    new.verify_graph().unwrap();
    // Figures are no part of what a bundle computes: its vectors are found in the cache under the same name.
    assert_eq!(new.fingerprint().hash(), plain.fingerprint().hash());
    let toml = place.read("new/bundle.toml");
    let edited = toml.replace("neighbour_texts = 90", "neighbour_texts = 91");
    assert_ne!(edited, toml);
    fs::write(place.path("new/bundle.toml"), edited).unwrap();
    let error = Bundle::open(&place.path("new")).unwrap_err().to_string();
    assert!(error.contains("quality.measured.neighbour_texts"), "{error}");
}

#[test]
fn a_bundle_that_is_worse_than_asked_is_status_1_and_leaves_nothing() {
    let place = place(0.02);
    let said = export(&place, &["--check", "papers.jsonl", "--min-cosine", "0.9999999"], 1);
    said.expect(&["error: the new bundle is worse than was asked; nothing was written\n  cause: the least cosine"]);
    said.expect(&[" is 0.", ", expected 0.9999999 or more (`--min-cosine`)", "compared with the bundle old"]);
    // What was there before stays.
    place.run(
        &["export", "--model", "moved", "-o", "old", "--pooling", "mean", "--against", "old", "--min-cosine", "1"],
        1,
    );
    let kept = Bundle::open(&place.path("old")).unwrap();
    assert_eq!(kept.manifest.source.name, "original");
    // The bound itself is good enough.
    let said = place.run(
        &["export", "--model", "original", "-o", "same", "--pooling", "mean", "--against", "old", "--min-cosine", "1"],
        0,
    );
    said.expect(&["cosine: least 1, 1st percentile 1, median 1, mean 1; largest change of a number 0"]);
    said.expect(&["neighbours: 100.00 % of the nearest 10 kept, 100.00 % of the first"]);
    assert!(place.read("same/bundle.toml").contains("corpus = \"built-in texts\"\ntexts = 1"));
}

#[test]
fn a_heads_loss_is_measured_and_bounded() {
    let place = place(0.6);
    place.run(&["train", "--model", "old", "--label", "field", "papers.jsonl", "-o", "field.head"], 0);
    let head = ["--check", "papers.jsonl", "--head", "field.head", "--label", "field"];
    let said = export(&place, &[&head[..], &["--max-f1-drop", "1"]].concat(), 0);
    said.expect(&["  head field.head: ", " texts get another answer, largest change of a probability 0."]);
    said.expect(&["    on `field` of 90 texts: macro-F1 "]);
    let head_figures = quality(&place).heads.remove(0);
    let found = head_figures.f1.unwrap();
    // The same figures as those of a run of each bundle.
    for (bundle, f1) in [("old", found.macro_original), ("new", found.macro_new)] {
        let allow = ["--allow-encoder-change"];
        let args = ["classify", "--model", bundle, "--head", "field.head", "papers.jsonl", "--label", "field"];
        place.run(&[&args[..], &allow].concat(), 0).expect(&[&format!("macro-F1 {f1:.4}")]);
    }
    assert!(found.macro_drop > 0.05 && head_figures.answers_changed.unwrap() > 0, "{found:?}");
    assert_eq!(found.macro_drop, found.macro_original - found.macro_new);
    fs::remove_dir_all(place.path("new")).unwrap();

    let bound = format!("{}", found.macro_drop - 0.001);
    let said = export(&place, &[&head[..], &["--max-f1-drop", &bound]].concat(), 1);
    said.expect(&[
        "cause: macro-F1 of head `field.head` falls by 0.",
        &format!("expected {bound} or less (`--max-f1-drop`)"),
    ]);
    let said = export(&place, &[&head[..], &["--max-f1-drop", "0", "--min-cosine", "1"]].concat(), 1);
    said.expect(&["  cause: the least cosine", "  cause: macro-F1 of head"]);
    let exact = found.macro_drop.to_string();
    export(&place, &[&head[..], &["--max-f1-drop", &exact]].concat(), 0);
}

#[test]
fn the_loss_of_a_head_for_several_labels_is_that_of_classify() {
    let place = place(0.6);
    let mut head = Head::load(&common::root().join("tests/data/heads/tags.head")).unwrap();
    head.identity = Bundle::open(&place.path("old")).unwrap().identity().fields().clone();
    head.thresholds = None;
    head.save(&place.path("tags.head")).unwrap();
    // Labels in a text: the first for even papers, the second for every third, none for some. Each is right somewhere: a
    // run counts labels that are only given, too.
    let row = |n: usize| {
        let labels =
            [(n.is_multiple_of(2), &head.labels[0]), (n.is_multiple_of(3), &head.labels[1]), (n == 3, &head.labels[2])];
        let labels: Vec<&str> = labels.iter().filter(|(given, _)| *given).map(|(_, label)| label.as_str()).collect();
        format!(
            "{}\n",
            serde_json::json!({"id": n.to_string(), "title": format!("reef {n} steel"), "tags": labels.join(" | ")})
        )
    };
    place.write("tagged.jsonl", (0..60).map(row).collect::<String>());
    let flags = ["--check", "tagged.jsonl", "--head", "tags.head", "--label", "tags", "--label-separator", "|"];
    let said = export(&place, &flags, 0);
    let found = quality(&place).heads.remove(0).f1.unwrap();
    // A text without labels says nothing.
    assert_eq!((found.texts, found.unlabelled, found.unknown_labels), (40, 20, 0));
    said.expect(&["on `tags` of 40 texts: macro-F1 "]);
    for (bundle, f1_micro, f1_macro) in
        [("old", found.micro_original, found.macro_original), ("new", found.micro, found.macro_new)]
    {
        let args = ["classify", "--model", bundle, "--head", "tags.head", "tagged.jsonl", "--label", "tags"];
        let said = place.run(&[&args[..], &["--label-separator", "|", "--allow-encoder-change"]].concat(), 0);
        said.expect(&[&format!("micro-F1 {:.4}", f1_micro.unwrap()), &format!("macro-F1 {f1_macro:.4}")]);
    }
}

/// The tiny architectures' classifiers bring heads in their graphs.
#[test]
fn heads_in_the_graph_are_compared_with_those_of_the_original() {
    let place = Workplace::new();
    let tiny = common::root().join("tests/data/tiny-architectures");
    for name in ["checkpoint", "moved"] {
        fs::create_dir(place.path(name)).unwrap();
        for file in ["bert-a/config.json", "bert-a/model.safetensors", "bert-a/tokenizer_config.json", "tokenizer.json"]
        {
            let file = tiny.join(file);
            fs::copy(&file, place.path(name).join(file.file_name().unwrap())).unwrap();
        }
    }
    flip_half_weights(&place.path("moved/model.safetensors"));
    place.run(&["export", "--model", "checkpoint", "-o", "old"], 0);
    place.write("papers.jsonl", papers());
    // What the original says is right.
    place.run(&["classify", "--model", "old", "papers.jsonl", "-o", "right.jsonl", "--keep", "title,abstract"], 0);
    let args = ["export", "--model", "moved", "-o", "new", "--against", "old", "--check", "right.jsonl"];
    let said = place.run(&[&args[..], &["--label", "label"]].concat(), 0);
    let found = quality(&place).heads.remove(0);
    assert_eq!(found.name, "classifier");
    let given = |bundle: &str| -> Vec<(String, f64)> {
        let output = format!("{bundle}-said.jsonl");
        place.run(&["classify", "--model", bundle, "right.jsonl", "-o", &output], 0);
        let row = |line: &str| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            (row["label"].as_str().unwrap().to_owned(), row["probability"].as_f64().unwrap())
        };
        place.read(&output).lines().map(row).collect()
    };
    let (old, new) = (given("old"), given("new"));
    let changed = old.iter().zip(&new).filter(|(old, new)| old.0 != new.0).count();
    assert_eq!(found.answers_changed, Some(changed as u64));
    assert!(found.max_delta > 0.0, "{found:?}");
    let f1 = found.f1.unwrap();
    assert_eq!((f1.macro_original, f1.texts, f1.label.as_str()), (1.0, 90, "label"));
    said.expect(&["  head classifier: ", "    on `label` of 90 texts: macro-F1 1.0000 on the original"]);
    let measured = place.run(&["classify", "--model", "new", "right.jsonl", "--label", "label"], 0);
    measured.expect(&[&format!("macro-F1 {:.4}", f1.macro_new)]);
    // The head may be named, as `classify` asks where there are several.
    place.run(&[&args[..], &["--label", "classifier=label"]].concat(), 0);
    assert_eq!(quality(&place).heads.remove(0).f1.unwrap(), f1);
    let other = place.run(&[&args[..], &["--label", "topic=label"]].concat(), 2);
    other.expect(&["error: `--label topic=label` names no head in use", "hint: there is `classifier`"]);
}

#[test]
fn a_graph_for_other_runtimes_is_compared_with_the_fp32_graph_by_itself() {
    let place = Workplace::new();
    let model = tiny_checkpoint();
    let export = ["export", "--model", model.to_str().unwrap(), "-o", "new", "--pooling", "cls", "--plain"];
    let said = place.run(&[&export[..], &["--min-cosine", "0.99999"]].concat(), 0);
    said.expect(&["compared with the fp32 graph of the same checkpoint on 1", " texts (built-in texts)"]);
    let quality = quality(&place);
    let measured = quality.measured.unwrap();
    assert!((128..=140).contains(&measured.texts) && measured.neighbours == 10, "{measured:?}");
    assert!(measured.cosine_min > 0.99999 && measured.max_delta < 1e-4, "{measured:?}");
    place.run(&["export", "--model", model.to_str().unwrap(), "-o", "fp32", "--pooling", "cls"], 0);
    let fp32 = Bundle::open(&place.path("fp32")).unwrap();
    assert_eq!(quality.original_fingerprint, Some(fp32.fingerprint().hash()));
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 2, "the original made for the comparison is left behind");
}
