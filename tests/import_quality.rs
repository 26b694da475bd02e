//! Promise: what is imported from an ONNX file is compared with the weights beside it, where there are any that can be
//! exported, and a file whose numbers are others is not left behind where that was asked; what no figure can say, a
//! sentence does.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
mod wire;

use std::fs;

use common::{Said, Workplace, onnx_source, root};
use offprint::model::{Bundle, Quality};
use offprint::runtime::OnnxRuntime;
use serde_json::Value;
use wire::{Graph, Size, encoder, field, model, node, number, tensor, value};

/// A layout with the weights that its file was exported from.
fn with_weights(layout: &str, weights: &str) -> Workplace {
    let work = onnx_source(layout);
    let weights = root().join("tests/data/onnx/weights").join(weights);
    fs::copy(weights, work.path("source/model.safetensors")).unwrap();
    work
}

fn import(work: &Workplace, file: &str, args: &[&str], status: i32) -> Said {
    let file = format!("source/{file}");
    let said = work.run(&[&["export", "--from-onnx", &file, "-o", "bundle"], args].concat(), status);
    let left: Vec<String> = fs::read_dir(work.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains(".offprint"))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    assert_eq!(work.path("bundle").exists(), status == 0, "{}", said.stderr);
    said
}

fn quality(work: &Workplace) -> Quality {
    Bundle::open(&work.path("bundle")).unwrap().manifest.quality.unwrap()
}

fn no_runtime() -> bool {
    OnnxRuntime::load(None).inspect_err(|error| println!("skipped: {error}")).is_err()
}

/// Makes every number of the file's weights another by about the share `by`.
fn move_numbers(work: &Workplace, file: &str, (start, by): (usize, f32)) {
    let path = work.path(file);
    let mut bytes = fs::read(&path).unwrap();
    for (number, value) in bytes[start..].chunks_exact_mut(4).enumerate() {
        let old = f32::from_le_bytes(value.try_into().unwrap());
        value.copy_from_slice(&(old * (1.0 + by * (number as f32).sin())).to_le_bytes());
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn an_import_is_compared_with_the_export_of_the_weights_with_the_same_choices() {
    if no_runtime() {
        return;
    }
    let layouts: [(&str, &[&str]); 3] = [
        ("optimum-states", &["--pooling", "mean"]),
        ("optimum-states", &["--pooling", "cls", "--normalize", "--max-length", "12", "--template", "{title}"]),
        // What modules and sentence_bert_config.json say.
        ("optimum-sentence", &[]),
    ];
    for (layout, args) in layouts {
        let work = with_weights(layout, "states.safetensors");
        let said = import(&work, "model.onnx", &[args, &["--min-cosine", "0.999999"]].concat(), 0);
        said.expect(&["compared with the fp32 graph of the same checkpoint on 1", " texts (built-in texts)"]);
        let quality = quality(&work);
        let measured = quality.measured.unwrap();
        assert!(measured.cosine_min > 0.999_999 && measured.max_delta < 1e-4, "{layout}: {measured:?}");
        work.run(&[&["export", "--model", "source", "-o", "own"], args].concat(), 0);
        let own = Bundle::open(&work.path("own")).unwrap();
        assert_eq!(quality.original_fingerprint, Some(own.fingerprint().hash()), "{layout}");
    }
}

#[test]
fn half_numbers_have_other_figures_and_the_bound_is_kept() {
    if no_runtime() {
        return;
    }
    let work = with_weights("half", "states.safetensors");
    import(&work, "encoder.onnx", &["--pooling", "mean", "--min-cosine", "0.99"], 0);
    let measured = quality(&work).measured.unwrap();
    assert!(measured.cosine_min < 1.0 - 1e-9 && measured.max_delta > 1e-5, "{measured:?}");
    fs::remove_dir_all(work.path("bundle")).unwrap();
    import(&work, "encoder.onnx", &["--pooling", "mean", "--min-cosine", "1"], 1)
        .expect(&["error: the new bundle is worse than was asked; nothing was written\n  cause: the least cosine"]);
}

#[test]
fn a_file_whose_weights_were_changed_is_status_1_and_leaves_nothing() {
    if no_runtime() {
        return;
    }
    let work = with_weights("external-data", "states.safetensors");
    let args = ["--pooling", "mean", "--min-cosine", "0.9999"];
    import(&work, "model.onnx", &args, 0);
    fs::remove_dir_all(work.path("bundle")).unwrap();
    move_numbers(&work, "source/model.onnx_data", (0, 0.3));
    import(&work, "model.onnx", &args, 1).expect(&["  cause: the least cosine with the original is 0."]);
    import(&work, "model.onnx", &args[..2], 0).expect(&["cosine: least 0."]);
    assert!(quality(&work).measured.unwrap().cosine_min < 0.9999);
}

#[test]
fn answers_of_a_classifier_are_compared_and_their_loss_is_bounded() {
    if no_runtime() {
        return;
    }
    let work = with_weights("optimum-classifier", "classifier.safetensors");
    work.run(&["export", "--model", "source", "-o", "own"], 0);
    let words = ["coral", "steel", "syntax", "ocean", "lattice"];
    let paper = |n: usize| {
        let title = format!("{} {} {}", words[n % 5], words[n / 5 % 5], words[n / 3 % 5]);
        serde_json::json!({"id": n.to_string(), "title": title, "abstract": words[n % 2]}).to_string() + "\n"
    };
    work.write("papers.jsonl", (0..60).map(paper).collect::<String>());
    // What the weights say is right.
    work.run(&["classify", "--model", "own", "papers.jsonl", "-o", "said.jsonl", "--keep", "title,abstract"], 0);
    let right = |line: &str| -> String {
        let row: Value = serde_json::from_str(line).unwrap();
        let row = serde_json::json!({"id": row["id"], "title": row["title"], "abstract": row["abstract"],
            "right": row["labels"]});
        format!("{row}\n")
    };
    work.write("right.jsonl", work.read("said.jsonl").lines().map(right).collect::<String>());

    let args = [
        "--pooling",
        "cls",
        "--check",
        "right.jsonl",
        "--label",
        "right",
        "--max-f1-drop",
        "0",
        "--min-cosine",
        "0.9999",
    ];
    let said = import(&work, "model.onnx", &args, 0);
    let head = quality(&work).heads.remove(0);
    assert_eq!((head.name.as_str(), head.answers_changed), ("classifier", Some(0)), "{}", said.stderr);
    let f1 = head.f1.unwrap();
    assert!(head.max_delta < 1e-5 && f1.macro_drop == 0.0 && f1.macro_new == 1.0, "{f1:?}");
    fs::remove_dir_all(work.path("bundle")).unwrap();

    let header = fs::read(work.path("source/model.safetensors")).unwrap();
    let start = 8 + u64::from_le_bytes(header[..8].try_into().unwrap()) as usize;
    move_numbers(&work, "source/model.safetensors", (start, 1.5));
    let args = [&args[..6], &["--label-separator", ";"]].concat();
    import(&work, "model.onnx", &args, 0);
    let head = quality(&work).heads.remove(0);
    assert!(head.answers_changed.unwrap() > 0 && head.max_delta > 0.01, "{head:?}");
}

#[test]
fn without_weights_there_are_no_figures_and_none_can_be_asked_for() {
    let work = onnx_source("optimum-states");
    let args = ["--pooling", "mean"];
    let asked = [&args[..], &["--min-cosine", "0.9"]].concat();
    import(&work, "model.onnx", &asked, 2).expect(&[
        "error: `--min-cosine` is given, but nothing is known that the new graph could be compared with",
        "hint: name a bundle to compare it with by `--against`",
    ]);
    if no_runtime() {
        return;
    }
    let said = import(&work, "model.onnx", &args, 0);
    said.expect(&["no original to compare with: nothing is known of the quality of its numbers"]);
    assert!(!said.stderr.contains("warning"), "{}", said.stderr);
    assert_eq!(quality(&work), Quality::without_original());
    fs::rename(work.path("bundle"), work.path("old")).unwrap();
    import(&work, "model.onnx", &[&asked[..], &["--against", "old"]].concat(), 0)
        .expect(&["compared with the bundle old on "]);
}

#[test]
fn weights_that_are_no_original_are_named() {
    if no_runtime() {
        return;
    }
    let refuse = |work: &Workplace, args: &[&str], cause: &str| {
        const WARNING: &str = "warning: the weights beside the config are no original to compare with\n  cause: ";
        let asked = [args, &["--min-cosine", "0.5"]].concat();
        import(work, "model.onnx", &asked, 2).expect(&[
            WARNING,
            cause,
            "error: `--min-cosine` is given, but nothing is",
        ]);
        import(work, "model.onnx", args, 0).expect(&[WARNING, cause, "no original to compare with: "]);
        assert_eq!(quality(work), Quality::without_original());
    };
    let mean = ["--pooling", "mean"];
    let work = with_weights("optimum-states", "states.safetensors");
    let config = work.read("source/config.json");
    work.write("source/config.json", config.replace("\"bert\"", "\"unheard-of\""));
    refuse(&work, &mean, "config.json` asks for the architecture `unheard-of`, supported are: ");

    let work = with_weights("optimum-states", "states.safetensors");
    work.write("source/config.json", config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"));
    refuse(&work, &mean, "source/model.safetensors` holds 2 layers, config.json asks for 3");

    let work = with_weights("optimum-states", "states.safetensors");
    let whole = fs::read(work.path("source/model.safetensors")).unwrap();
    work.write("source/model.safetensors", &whole[..whole.len() / 2]);
    refuse(&work, &mean, "source/model.safetensors` ");

    let work = with_weights("optimum-states", "states.safetensors");
    let mut bytes = fs::read(work.path("source/model.safetensors")).unwrap();
    let places: Vec<usize> = (0..bytes.len() - 5).filter(|&at| bytes[at..].starts_with(b"\"F32\"")).collect();
    places.into_iter().for_each(|at| bytes[at + 1] = b'I');
    work.write("source/model.safetensors", bytes);
    refuse(&work, &mean, "I32");

    let work = onnx_source("optimum-states");
    work.write("source/tf_model.h5", "weights of another program");
    refuse(&work, &mean, "tf_model.h5");

    let work = with_weights("optimum-classifier", "classifier.safetensors");
    let scores = ["--pooling", "cls", "--onnx-output", "logits"];
    refuse(&work, &scores, "they give vectors of 16 numbers, the new graph of 3");
}

/// The attribute `axes` of a node.
fn axes(axis: i64) -> Vec<u8> {
    field(5, [field(1, "axes"), number(8, axis), number(20, 7)].concat())
}

#[test]
fn vectors_that_depend_on_their_batch_are_told_of() {
    if no_runtime() {
        return;
    }
    let mut graph = encoder();
    let last = graph.nodes.len() - 1;
    graph.nodes[last] = node("MatMul", &["column", "table"], &["own"]);
    graph.nodes.push([node("ReduceMax", &["own"], &["most"]), axes(0)].concat());
    graph.nodes.push(node("Add", &["own", "most"], &["states"]));
    let work = onnx_source("optimum-states");
    work.write("source/model.onnx", model(&graph.bytes(), 17));
    import(&work, "model.onnx", &["--pooling", "mean"], 0).expect(&[
        "warning: 6 texts of 6 changed with their batch, by up to ",
        "and bundle.toml promises nothing (`batch_invariant = false`)",
    ]);
    assert!(work.read("bundle/bundle.toml").contains("\nbatch_invariant = false\n"));
    const PROMISE: &str =
        "bundle.toml promises nothing (`batch_invariant = false`): the graph is that of another program";
    let said = work.run(&["check", "--model", "bundle", "--threads", "1"], 1);
    assert!(said.stdout.contains("failed: up to ") && said.stdout.contains(PROMISE), "{}", said.stdout);

    fs::remove_dir_all(work.path("bundle")).unwrap();
    work.write("source/model.onnx", model(&encoder().bytes(), 17));
    let said = import(&work, "model.onnx", &["--pooling", "mean"], 0);
    said.expect(&["note: the graph is that of another program, and bundle.toml promises nothing"]);
    assert!(work.read("bundle/bundle.toml").contains("\nbatch_invariant = false\n"));
    let said = work.run(&["check", "--model", "bundle", "--threads", "1"], 0);
    assert!(said.stdout.contains(PROMISE), "{}", said.stdout);
}

/// An encoder with the scores of three labels, made of the pooled states by this operator.
fn classifier(operator: &str) -> Graph {
    let mut graph = encoder();
    let numbers: Vec<u8> = (0..48_i8).flat_map(|n| (-1e-3 * f32::from(n % 7 + 1)).to_le_bytes()).collect();
    graph.tensors.push(tensor("scores", &[16, 3], &numbers));
    graph.nodes.push(
        [
            node("ReduceMax", &["states"], &["pooled"]),
            axes(1),
            field(5, [field(1, "keepdims"), number(3, 0), number(20, 2)].concat()),
        ]
        .concat(),
    );
    graph.nodes.push(node("MatMul", &["pooled", "scores"], &["raw"]));
    graph.nodes.push(node(operator, &["raw"], &["logits"]));
    graph.outputs.push(value("logits", 1, &[Size::Named("batch"), Size::Fixed(3)]));
    graph
}

#[test]
fn scores_are_looked_at_by_the_check_of_a_new_graph() {
    if no_runtime() {
        return;
    }
    let work = onnx_source("optimum-classifier");
    let config = work.read("source/config.json");
    let outputs = ["probabilities", "probabilities", "logits"];
    for (problem, output) in
        ["multi_label_classification", "single_label_classification", "regression"].into_iter().zip(outputs)
    {
        work.write("source/config.json", config.replace("multi_label_classification", problem));
        work.write("source/model.onnx", model(&classifier("Neg").bytes(), 17));
        import(&work, "model.onnx", &["--pooling", "mean"], 0);
        let said = work.run(&["self-check", "bundle"], 0);
        assert_eq!(said.json()["checked"]["heads"], 1, "{problem}");
        fs::remove_dir_all(work.path("bundle")).unwrap();
        // Roots of numbers below 0.
        work.write("source/model.onnx", model(&classifier("Sqrt").bytes(), 17));
        import(&work, "model.onnx", &["--pooling", "mean"], 2).expect(&[
            "error: the new graph failed its check; nothing was written\n  cause: ",
            &format!("output `{output}` holds NaN at row 0, column 0"),
        ]);
    }
}
