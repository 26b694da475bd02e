//! Promise: each architecture gives the vectors, logits and probabilities of transformers, within 1e-5 of a row's norm,
//! alone and padded, with CLS and mean pooling; to the bit the same in any batch. Weights come in any of their formats.
//!
//! Checkpoints and references are made by `export/oracle/make_tiny_architectures.py`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
mod tiny_rows;

use std::fs;
use std::path::Path;

use common::Workplace;
use offprint::graph::{ExportOptions, write_bundle};
use offprint::model::{Bundle, LOGITS, PROBABILITIES, Pooling, SENTENCE_EMBEDDING, Task};
use offprint::runtime::{EncoderSession, OnnxRuntime, ProviderChoice, SessionOptions};
use safetensors::tensor::{SafeTensors, TensorView};
use tiny_rows::{Reference, batch, checkpoints, copy, largest_share, reference_of, run, runtime};

/// As a share of a row's norm; up to 4e-7 is measured for embeddings and 2e-6 for a single logit: both sides round f32 in other orders.
const TOLERANCE: f64 = 1e-5;

fn export(checkpoint: &Path, bundle: &Path, pooling: Pooling) -> Bundle {
    fs::create_dir_all(bundle).unwrap();
    let options = ExportOptions { pooling: Some(pooling), normalize: Some(false), ..ExportOptions::new(checkpoint) };
    write_bundle(&options, bundle).unwrap();
    Bundle::open(bundle).unwrap()
}

fn session(runtime: &OnnxRuntime, bundle: &Bundle, output: &'static str) -> EncoderSession {
    let options = SessionOptions { graph: bundle.graph_path(), provider: ProviderChoice::Cpu.into(), threads: 2 };
    EncoderSession::open_outputs(runtime, &options, &[output]).unwrap()
}

/// One output of one graph: parity of rows alone and padded together, and the bits of every row in several batches.
fn check_output(session: &mut EncoderSession, reference: &Reference, (want, pad_id): (&[Vec<f32>], i64), what: &str) {
    let rows: Vec<&Vec<i64>> = reference.rows.iter().collect();
    let alone: Vec<Vec<f32>> = rows.iter().map(|row| run(session, &batch(&[row], 0, pad_id)).remove(0)).collect();
    let share = largest_share(&alone, want);
    assert!(share <= TOLERANCE, "{what} alone: {share:e}");
    let share = largest_share(&run(session, &batch(&rows, 5, pad_id)), want);
    assert!(share <= TOLERANCE, "{what} padded: {share:e}");

    // A row of one token takes a kernel of its own when it is alone; every text has two.
    let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for (start, end, padding) in [(1, 5, 0), (1, 5, 3), (1, 3, 1), (2, 4, 0), (3, 5, 4), (1, 2, 2)] {
        let together = run(session, &batch(&rows[start..end], padding, pad_id));
        for (row, values) in together.iter().enumerate() {
            assert_eq!(bits(values), bits(&alone[start + row]), "{what}: row {} of {start}..{end}", start + row);
        }
    }
}

#[test]
fn every_architecture_gives_the_values_of_transformers_in_any_batch() {
    let Some(runtime) = runtime() else { return };
    let names = checkpoints();
    assert_eq!(names.len(), 16);
    for name in &names {
        let place = Workplace::new();
        copy(name, &place.path("checkpoint"));
        let reference = reference_of(name);
        for pooling in Pooling::ALL {
            let bundle = export(&place.path("checkpoint"), &place.path(pooling.name()), pooling);
            // Other than the padding id of most families: what stands under the mask must not matter.
            let pad_id = 4;
            for (output, values) in [
                (SENTENCE_EMBEDDING, reference.values(pooling.name())),
                (LOGITS, reference.values("logits")),
                (PROBABILITIES, reference.values("probabilities")),
            ] {
                let Some(want) = values else { continue };
                let what = format!("{output} of {name} with {pooling}");
                check_output(&mut session(&runtime, &bundle, output), &reference, (&want, pad_id), &what);
            }
        }
    }
}

#[test]
fn a_classifier_says_its_task_and_labels() {
    let place = Workplace::new();
    for (name, task, labels) in [
        ("bert-a", Task::Classification, "no yes maybe"),
        ("bert-b", Task::Multilabel, "a b c d e"),
        ("xlm-roberta-a", Task::Regression, "LABEL_0"),
        ("albert-a", Task::Regression, "LABEL_0 LABEL_1"),
    ] {
        copy(name, &place.path(name));
        let bundle = place.path(&format!("{name}-bundle"));
        export(&place.path(name), &bundle, Pooling::Cls);
        let classifier = Bundle::open(&bundle).unwrap().manifest.heads.remove(0);
        assert_eq!((classifier.task, classifier.labels.join(" ")), (task, labels.to_owned()));
    }
    copy("electra-b", &place.path("electra-b"));
    let plain = export(&place.path("electra-b"), &place.path("plain"), Pooling::Cls);
    assert_eq!(plain.manifest.heads, []);
    assert!(!place.read("plain/bundle.toml").contains("head"));
}

#[test]
fn positions_without_a_table_end_where_the_config_says_and_a_head_pools_as_it_reads() {
    let place = Workplace::new();
    copy("modernbert-a", &place.path("a"));
    fs::create_dir_all(place.path("bundle")).unwrap();
    let manifest = |name: &str, max_length| {
        let options = ExportOptions { max_length, ..ExportOptions::new(place.path(name)) };
        write_bundle(&options, &place.path("bundle"))
    };
    let found = manifest("a", None).unwrap();
    assert_eq!((found.architecture.as_str(), found.max_length, found.pooling), ("modernbert", 64, Pooling::Cls));
    assert_eq!(manifest("a", Some(64)).unwrap().max_length, 64);
    let text = manifest("a", Some(65)).unwrap_err().to_string();
    assert!(text.contains("65") && text.contains("64"), "{text}");
    place.write("a/tokenizer_config.json", "{\"model_max_length\": 8192}");
    assert_eq!(manifest("a", None).unwrap().max_length, 64);
    place.write("a/tokenizer_config.json", "{\"model_max_length\": 40}");
    assert_eq!(manifest("a", None).unwrap().max_length, 40);
    copy("modernbert-b", &place.path("b"));
    assert_eq!(manifest("b", None).unwrap().pooling, Pooling::Mean);
}

/// The new name of a tensor; `None` leaves it out.
type Rename = fn(&str) -> Option<String>;

/// Saves the weights of `bert-a` anew, each under another name.
fn rename(folder: &Path, rename: impl Fn(&str) -> Option<String>) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let tensors: Vec<(String, TensorView<'_>)> =
        stored.tensors().into_iter().filter_map(|(name, tensor)| Some((rename(&name)?, tensor))).collect();
    safetensors::serialize_to_file(tensors, None, &path).unwrap();
}

#[test]
fn what_stands_before_the_names_does_not_matter() {
    let place = Workplace::new();
    copy("bert-a", &place.path("plain"));
    let expected = export(&place.path("plain"), &place.path("plain-bundle"), Pooling::Cls).manifest.parameters;
    fn bare(name: &str) -> Option<String> {
        name.strip_prefix("bert.").map(str::to_owned)
    }
    let renames: [(&str, Rename, bool); 4] = [
        ("module", |name| Some(format!("module.{name}")), true),
        ("model", |name| Some(format!("model.{name}")), true),
        ("bare", |name| Some(bare(name).unwrap_or(name.to_owned())), true),
        ("model-only", |name| Some(format!("model.{}", bare(name)?)), false),
    ];
    for (name, change, has_head) in renames {
        let folder = place.path(name);
        copy("bert-a", &folder);
        rename(&folder, change);
        if !has_head {
            let path = folder.join("config.json");
            let config = fs::read_to_string(&path).unwrap().replace("BertForSequenceClassification", "BertModel");
            fs::write(path, config).unwrap();
        }
        let bundle = export(&folder, &place.path(&format!("{name}-bundle")), Pooling::Cls);
        assert_eq!(bundle.manifest.parameters == expected, has_head, "{name}");
    }
}

#[test]
fn missing_tensors_are_all_named() {
    let place = Workplace::new();
    let refuse = |folder: &str, part: &str| {
        copy("bert-a", &place.path(folder));
        rename(&place.path(folder), |name| (!name.contains(part)).then(|| name.to_owned()));
        let options = ExportOptions { pooling: Some(Pooling::Cls), ..ExportOptions::new(place.path(folder)) };
        fs::create_dir_all(place.path("bundle")).unwrap();
        let text = write_bundle(&options, &place.path("bundle")).unwrap_err().to_string();
        text.replace(&place.path(folder).display().to_string(), "DIR")
    };
    assert_eq!(
        refuse("one", "classifier.weight"),
        "`DIR/model.safetensors` has no tensor `classifier.weight`, which config.json asks for"
    );
    assert_eq!(
        refuse("two", "classifier"),
        "`DIR/model.safetensors` has no tensors `classifier.weight`, `classifier.bias`, which config.json asks for"
    );
    let layer = "bert.encoder.layer.0.attention.";
    assert_eq!(
        refuse("many", "attention"),
        format!(
            "`DIR/model.safetensors` has no tensors `{layer}self.query.weight`, `{layer}self.query.bias`, \
             `{layer}self.key.weight`, `{layer}self.key.bias` and 6 more, which config.json asks for"
        )
    );
}

#[test]
fn export_and_classify_run_a_classifier_directly() {
    let place = Workplace::new();
    copy("bert-a", &place.path("checkpoint"));
    let said = place.run(&["export", "--model", "checkpoint", "-o", "bundle"], 0);
    said.expect(&["pooling cls", "classifier: one label out of 3 (no, yes, maybe), outputs `logits`, `probabilities`"]);
    let corpus = "{\"id\": \"1\", \"title\": \"graph\", \"abstract\": \"neural papers\"}\n\
                  {\"id\": \"2\", \"title\": \"star\", \"abstract\": \"\"}\n";
    place.write("papers.jsonl", corpus);
    place.run(&["classify", "papers.jsonl", "--model", "bundle", "--top-k", "3", "-o", "labels.jsonl"], 0);
    let text = place.read("labels.jsonl");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        let total: f64 = line["probabilities"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).sum();
        assert!((total - 1.0).abs() < 1e-6, "{line}");
        assert_eq!(line["label"], line["labels"][0]);
        assert!(["no", "yes", "maybe"].contains(&line["label"].as_str().unwrap()));
    }
    assert!(!place.path("cache").exists(), "labels are not cached, so no cache is opened");
    // The same bundle still embeds, and labels must not have gone into the cache of its embeddings.
    place.run(&["embed", "papers.jsonl", "--model", "bundle", "-o", "vectors.jsonl"], 0);
    assert!(place.read("vectors.jsonl").lines().all(|line| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        row["embedding"].as_array().unwrap().len() == 21
    }));
}

#[test]
fn a_pickle_that_would_run_code_ends_an_export_and_runs_nothing() {
    let place = Workplace::new();
    copy("bert-b", &place.path("checkpoint"));
    let marker = common::root().join("tests/data/hostile-weights/marker.bin");
    fs::copy(marker, place.path("checkpoint/pytorch_model.bin")).unwrap();
    let said = place.run(&["export", "--model", "checkpoint", "-o", "bundle"], 2);
    said.expect(&[
        "asks for `posix.system`, which is no part of a file of weights",
        "nothing in the file was executed",
    ]);
    assert!(!place.path("executed").exists() && !place.path("bundle").exists());
}
