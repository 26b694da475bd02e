//! Promise: a fused bundle answers as the bundle and the heads do, for every task, with several heads in one run, and as
//! scikit-learn on torch's vectors; it embeds with the same bits, and finds them in the cache.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
#[path = "common/fused.rs"]
mod fused;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::{Workplace, root};
use fused::{Graph, HEADS, bits, bundle, head_for, save, save_heads};
use ndarray::{Array2, s};
use offprint::heads::most_probable;
use offprint::model::{Bundle, GraphMetadata, Task};
use safetensors::SafeTensors;

/// The encoder's vectors are within 2e-6 of torch's, as a share of the largest entry (tests/reference.rs); heads of this
/// size make up to five times that of it.
const LARGEST_DIFFERENCE: f64 = 2e-5;

/// All heads in one graph, each named as its file.
fn fuse_all(place: &Workplace) -> PathBuf {
    save_heads(place);
    let files = HEADS.map(|name| format!("{name}.head"));
    let mut args = vec!["fuse".to_owned(), "--model".to_owned(), bundle(), "-o".to_owned(), "fused".to_owned()];
    args.extend(files.iter().flat_map(|file| ["--head".to_owned(), file.clone()]));
    let said = place.run(&args.iter().map(String::as_str).collect::<Vec<_>>(), 0);
    said.expect(&[
        "and 5 heads in one graph",
        "topic: one label out of 5 (biology, chemistry, mathematics, medicine, physics), outputs `topic_logits`, \
         `topic_probabilities`",
        "tags: several labels out of 3 (survey, theory, code), outputs `tags_logits`, `tags_probabilities`",
        "numbers: numbers out of 2 (year, readers), outputs `numbers_logits`",
        "same embeddings and labels as bundle and heads, answers within ",
    ]);
    place.path("fused")
}

/// The texts whose vectors torch computed.
fn reference_texts() -> Vec<String> {
    let path = root().join("tests/data/tiny-bert/cls/reference.json");
    let reference: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    reference["rows"].as_array().unwrap().iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect()
}

/// Some hundred texts of the words that the tiny tokenizer knows.
fn many_texts() -> Vec<String> {
    let words = "graph neural paper learning protein cell star galaxy model show naive 12 of the in and".split(' ');
    let words: Vec<&str> = words.collect();
    let text = |n: usize| {
        let length = 1 + n * 7 % 23;
        (0..length).map(|at| words[(n * 31 + at * (n % 5 + 3)) % words.len()]).collect::<Vec<_>>().join(" ")
    };
    (0..400).map(text).collect()
}

fn views(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

#[test]
fn answers_are_those_of_scikit_learn_on_torchs_vectors() {
    let place = Workplace::new();
    let fused = fuse_all(&place);
    let texts = reference_texts();
    let bytes = fs::read(root().join("tests/data/heads/tasks.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for name in HEADS {
        let head = head_for(&bundle(), name);
        let kind = if head.task == Task::Regression { "logits" } else { "probabilities" };
        let output = format!("{name}_{kind}");
        let got = Graph::open(&fused, &[(&output, head.labels.len())]).rows(&views(&texts), 4);
        let want = tensors.tensor(name).unwrap();
        let want = want.data().chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()));
        let want: Vec<f64> = want.collect();
        let last = &want[want.len() - got.len()..];
        for (at, (&got, want)) in got.iter().zip(last).enumerate() {
            let scale = head.scaling.as_ref().map_or(1.0, |scaling| scaling.scale[at % head.labels.len()]);
            let scale = if name == "year" { 10.0 } else { scale };
            let difference = (f64::from(got) - want).abs() / scale;
            // A year is rounded to a four thousandth, whatever its scale.
            let rounding = want.abs() * f64::from(f32::EPSILON) / scale;
            assert!(difference <= LARGEST_DIFFERENCE + rounding, "{name} {at}: {got} for {want}, {difference:e}");
        }
    }
}

#[test]
fn every_head_agrees_with_encoder_and_head_on_a_corpus() {
    let place = Workplace::new();
    let fused = fuse_all(&place);
    let texts = many_texts();
    let rows = Graph::open(bundle().as_ref(), &[("sentence_embedding", 24)]).rows(&views(&texts), 16);
    for name in HEADS {
        let head = head_for(&bundle(), name);
        let kind = if head.task == Task::Regression { "logits" } else { "probabilities" };
        let answers = format!("{name}_{kind}");
        let mut graph = Graph::open(&fused, &[("sentence_embedding", 24), (&answers, head.labels.len())]);
        let got = graph.rows(&views(&texts), 16);
        assert_eq!(bits(&got.slice(s![.., ..24]).to_owned()), bits(&rows), "{name}: another embedding");
        let answers = got.slice(s![.., 24..]).to_owned();
        let want = head.predict(rows.view()).unwrap();
        let tolerance = |column: usize, want: f32| match &head.scaling {
            _ if head.task != Task::Regression => 1e-6,
            Some(scaling) => 1e-6 * scaling.scale[column] + f64::from(want.abs() * f32::EPSILON),
            None => 1e-6 * 2000.0,
        };
        for ((row, column), &want) in want.indexed_iter() {
            let got = answers[[row, column]];
            assert!((f64::from(got) - f64::from(want)).abs() <= tolerance(column, want), "{name}: {got} for {want}");
        }
        match head.task {
            Task::Classification => {
                assert_eq!(most_probable(answers.view()), most_probable(want.view()), "{name}");
                let first = most_probable(want.view());
                assert!(first.iter().any(|&label| label != first[0]), "{name}: all texts have one label");
            }
            Task::Multilabel => {
                let thresholds = head.thresholds.as_ref().unwrap();
                let given = |rows: &Array2<f32>| -> Vec<bool> {
                    rows.indexed_iter().map(|((_, column), &p)| f64::from(p) >= thresholds[column]).collect()
                };
                assert_eq!(given(&answers), given(&want));
                assert!(given(&want).contains(&true) && given(&want).contains(&false));
            }
            Task::Regression => {}
        }
        for size in [1, 5, 64] {
            assert_eq!(bits(&graph.rows(&views(&texts), size)), bits(&got), "{name}: batches of {size} change bits");
        }
    }
}

#[test]
fn one_head_has_the_plain_names_and_everything_is_in_the_metadata() {
    let place = Workplace::new();
    save_heads(&place);
    place.run(&["fuse", "--model", &bundle(), "--head", "tags.head", "-o", "fused"], 0);
    let fused = Bundle::open(&place.path("fused")).unwrap();
    fused.verify_graph().unwrap();
    let plain = Bundle::open(bundle().as_ref()).unwrap();
    let head = &fused.manifest.heads[0];
    assert_eq!((head.name.as_str(), head.logits.as_str(), head.answer()), ("tags", "logits", "probabilities"));
    assert_eq!((head.thresholds.as_deref(), head.license.as_deref()), (Some(&[0.35, 0.5, 0.8][..]), Some("CC0-1.0")));
    let hash = blake3::hash(&fs::read(place.path("tags.head")).unwrap()).to_hex().to_string();
    assert_eq!((head.file_hash.as_ref(), head.trained_with.as_deref()), (Some(&hash), Some("template model-card")));
    assert_eq!(fused.manifest.parameters, plain.manifest.parameters + 3 * 24 + 3);
    assert_eq!(fused.manifest.encoder_graph_hash.as_ref(), Some(&plain.manifest.graph_hash));
    assert_ne!(fused.manifest.graph_hash, plain.manifest.graph_hash);
    let metadata = GraphMetadata::read(&fused.graph_path()).unwrap().entries;
    for (key, value) in [
        ("head.0.labels", r#"["survey","theory","code"]"#),
        ("head.0.thresholds", "[0.35,0.5,0.8]"),
        ("head.0.task", "multilabel"),
        ("head.0.license", "CC0-1.0"),
        ("head.0.file_hash", &hash),
        ("template", "model-card"),
        ("encoder_graph_hash", &plain.manifest.graph_hash),
    ] {
        assert_eq!(metadata[&format!("offprint.{key}")], value, "{key}");
    }
}

#[test]
fn heads_are_added_to_heads_and_a_checkpoints_classifier_keeps_its_outputs() {
    let place = Workplace::new();
    let checkpoint = root().join("tests/data/tiny-architectures/bert-a");
    let checkpoint = checkpoint.to_str().unwrap();
    // The checkpoints of one family share a tokenizer.
    fs::create_dir(place.path("checkpoint")).unwrap();
    for entry in fs::read_dir(checkpoint).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), place.path("checkpoint").join(entry.file_name())).unwrap();
    }
    let tokenizer = root().join("tests/data/tiny-architectures/tokenizer.json");
    fs::copy(tokenizer, place.path("checkpoint/tokenizer.json")).unwrap();
    place.run(&["export", "--model", "checkpoint", "-o", "plain"], 0);
    let plain = place.path("plain");
    let dim = Bundle::open(&plain).unwrap().manifest.dim;
    for name in ["topic", "year"] {
        let mut head = head_for(plain.to_str().unwrap(), name);
        let linear = head.linear_mut().unwrap();
        linear.coefficients = linear.coefficients.slice(s![.., ..dim]).to_owned();
        save(&place, &head, name);
    }
    place.run(&["fuse", "--model", "plain", "--head", "topic.head", "-o", "one"], 0);
    place.run(&["fuse", "--model", "one", "--head", "when=year.head", "-o", "two"], 0);
    let (one, two) = (Bundle::open(&place.path("one")).unwrap(), Bundle::open(&place.path("two")).unwrap());
    let outputs: Vec<(&str, &str)> =
        two.manifest.heads.iter().map(|head| (head.name.as_str(), head.answer())).collect();
    assert_eq!(outputs, [("classifier", "probabilities"), ("topic", "topic_probabilities"), ("when", "when_logits")]);
    assert_eq!(one.manifest.encoder_graph_hash, two.manifest.encoder_graph_hash);
    assert_eq!(one.fingerprint(), two.fingerprint());
    let texts = reference_texts();
    let answers = |bundle: &str, outputs: &[(&str, usize)]| {
        bits(&Graph::open(&place.path(bundle), outputs).rows(&views(&texts), 3))
    };
    let own = ("probabilities", 3);
    assert_eq!(answers("plain", &[own]), answers("two", &[own]));
    let outputs = [own, ("topic_probabilities", 5)];
    assert_eq!(answers("one", &outputs), answers("two", &outputs));
    let taken = place.run(&["fuse", "--model", "two", "--head", "when=topic.head", "-o", "three"], 2);
    taken.expect(&["error: two heads of the bundle would be called `when`", "hint: give the head a name of its own"]);
    assert!(!place.path("three").exists());
}

#[test]
fn vectors_that_the_encoder_computed_are_found_by_the_fused_bundle() {
    let place = Workplace::new();
    save_heads(&place);
    place.run(&["fuse", "--model", &bundle(), "--head", "topic.head", "-o", "fused"], 0);
    let rows: Vec<String> = many_texts()[..50]
        .iter()
        .enumerate()
        .map(|(n, text)| serde_json::json!({"id": n.to_string(), "title": text}).to_string())
        .collect();
    place.write("papers.jsonl", rows.join("\n"));
    let embed = |model: &str, cache: &str| {
        place.run(&["embed", "--model", model, "--cache-dir", cache, "papers.jsonl", "-o", "x.npy", "--json"], 0);
        let args = ["embed", "--model", model, "--cache-dir", cache, "papers.jsonl", "-o", "x.npy", "--json"];
        let again = place.run(&args, 0).json();
        assert_eq!((&again["embedded"], &again["cached"]), (&0.into(), &50.into()));
        fs::read(place.path("x.npy")).unwrap()
    };
    let plain = embed(&bundle(), "one");
    let args = ["embed", "--model", "fused", "--cache-dir", "one", "papers.jsonl", "-o", "y.npy", "--json"];
    let account = place.run(&args, 0).json();
    assert_eq!((&account["embedded"], &account["cached"]), (&0.into(), &50.into()));
    // What the fused bundle computes itself has the same bits.
    assert!(embed("fused", "two") == plain && fs::read(place.path("y.npy")).unwrap() == plain);
}

#[test]
fn a_head_that_f32_is_too_coarse_for_computes_in_f64() {
    let place = Workplace::new();
    // Large coefficients, and a text for which they cancel: the labels stay about equally probable.
    let row = Graph::open(bundle().as_ref(), &[("sentence_embedding", 24)]).rows(&["Offprints"], 1);
    let mut head = head_for(&bundle(), "topic");
    let linear = head.linear_mut().unwrap();
    linear.coefficients *= 500.0;
    linear.intercepts = linear.coefficients.dot(&row.row(0).mapv(f64::from)).mapv(|logit| 0.1 - logit).to_vec();
    save(&place, &head, "steep");
    let said = place.run(&["fuse", "--model", &bundle(), "--head", "steep.head", "-o", "fused"], 0);
    said.expect(&["steep: computes in f64, since in f32 its answers would be off by ", "answers within "]);
    let texts = many_texts();
    let mut graph = Graph::open(&place.path("fused"), &[("sentence_embedding", 24), ("probabilities", 5)]);
    let rows = graph.rows(&views(&texts), 8);
    let want = head.predict(rows.slice(s![.., ..24])).unwrap();
    let worst = rows.slice(s![.., 24..]).iter().zip(&want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
    assert!(worst <= 1e-7, "{worst:e}");
    assert_eq!(bits(&graph.rows(&views(&texts), 1)), bits(&rows));
}

#[test]
fn a_bundle_whose_bits_depend_on_the_batch_can_be_fused() {
    let place = Workplace::new();
    let source = root().join("tests/data/onnx/half");
    fs::create_dir(place.path("half")).unwrap();
    for entry in fs::read_dir(source).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), place.path("half").join(entry.file_name())).unwrap();
    }
    fs::copy(root().join("tests/data/tiny-architectures/tokenizer.json"), place.path("half/tokenizer.json")).unwrap();
    let file = ["export", "--from-onnx", "half/encoder.onnx", "--pooling", "mean", "-o", "plain"];
    place.run(&file, 0);
    let plain = place.path("plain");
    let mut head = head_for(plain.to_str().unwrap(), "topic");
    let linear = head.linear_mut().unwrap();
    linear.coefficients = linear.coefficients.slice(s![.., ..16]).to_owned();
    save(&place, &head, "topic");
    place.run(&["fuse", "--model", "plain", "--head", "topic.head", "-o", "fused"], 0);
    Bundle::open(&place.path("fused")).unwrap().verify_graph().unwrap();
}

#[test]
fn the_same_heads_make_the_same_bytes() {
    let place = Workplace::new();
    save_heads(&place);
    for output in ["one", "two"] {
        let args = ["fuse", "--model", &bundle(), "--head", "topic.head", "--head", "o=open.head", "-o", output];
        place.run(&args, 0);
    }
    for file in ["bundle.toml", "model.onnx", "tokenizer.json"] {
        let bytes = |folder: &str| fs::read(place.path(folder).join(file)).unwrap();
        assert!(bytes("one") == bytes("two"), "{file} differs");
    }
}

#[test]
fn onnx_finds_nothing_wrong_with_a_fused_graph() {
    let named = std::env::var_os("OFFPRINT_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| root().join(".venv-oracle/bin/python"));
    if !Command::new(&python).args(["-c", "import onnx"]).output().is_ok_and(|output| output.status.success()) {
        println!("skipped: {} has no onnx; OFFPRINT_PYTHON names a Python that has", python.display());
        return;
    }
    let place = Workplace::new();
    let graph = fuse_all(&place).join("model.onnx");
    let script = "import onnx, sys\n\
                  onnx.checker.check_model(sys.argv[1], full_check=True)\n\
                  model = onnx.load(sys.argv[1])\n\
                  onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)\n\
                  print(*[output.name for output in model.graph.output])\n";
    let output = Command::new(&python).args(["-c", script]).arg(graph).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let outputs = String::from_utf8(output.stdout).unwrap();
    assert_eq!(outputs.split_whitespace().count(), 9, "{outputs}");
    assert!(outputs.starts_with("sentence_embedding topic_logits topic_probabilities open_logits"), "{outputs}");
}
