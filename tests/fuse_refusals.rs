//! Promise: what can't be fused is an error that says why, with nothing left behind; what is doubtful is a warning.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
#[path = "common/fused.rs"]
mod fused;

use std::fs;

use common::{Said, Workplace, root, tiny_checkpoint};
use fused::{bundle, head_for, save, save_heads};
use offprint::model::{Bundle, GraphMetadata, Manifest};

/// Fuses with these flags; ends with `status` and leaves nothing.
fn refuse(place: &Workplace, more: &[&str], status: i32) -> Said {
    let before = names(place);
    let model = bundle();
    let mut args = vec!["fuse", "-o", "fused"];
    if !more.contains(&"--model") {
        args.extend(["--model", &model]);
    }
    args.extend(more);
    let said = place.run(&args, status);
    assert_eq!(names(place), before, "left behind");
    said
}

fn names(place: &Workplace) -> Vec<String> {
    let entries = fs::read_dir(place.path("")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_head_of_another_encoder_is_refused_with_the_fields_that_differ() {
    let place = Workplace::new();
    let mut head = head_for(&bundle(), "topic");
    head.identity.insert("pooling".into(), "mean".into());
    save(&place, &head, "topic");
    let said = refuse(&place, &["--head", "topic.head"], 2);
    said.expect(&[
        "error: head `topic.head` was trained on another encoder",
        "cause: pooling: mean -> cls",
        "hint: train it again on this bundle, or `--allow-encoder-change`",
    ]);
    let args = ["fuse", "--model", &bundle(), "--head", "topic.head", "--allow-encoder-change", "-o", "fused"];
    place.run(&args, 0).expect(&["warning: head `topic.head` was trained on another encoder: pooling: mean -> cls"]);
    assert!(Bundle::open(&place.path("fused")).unwrap().manifest.heads[0].encoder_changed);
    let metadata = GraphMetadata::read(&place.path("fused/model.onnx")).unwrap().entries;
    assert_eq!(metadata["offprint.head.0.encoder_changed"], "true");
    place.write("papers.jsonl", "{\"id\": \"a\", \"title\": \"graph\"}\n");
    let classify = ["classify", "--model", "fused", "papers.jsonl", "--no-cache", "--part-seconds", "9"];
    place.run(&classify, 0).expect(&[
        "warning: head `topic` was trained on another encoder than the bundle's",
        "note: `--no-cache` changes nothing: heads in the bundle's graph answer without the cache",
        "note: `--part-seconds` changes nothing",
    ]);
    place
        .run(&[&classify[..], &["--allow-encoder-change"]].concat(), 2)
        .expect(&["error: `--allow-encoder-change` is given without `--head`"]);
}

#[test]
fn vectors_of_another_length_fit_no_head() {
    let place = Workplace::new();
    let mut head = head_for(&bundle(), "topic");
    let linear = head.linear_mut().unwrap();
    linear.coefficients = linear.coefficients.slice(ndarray::s![.., ..20]).to_owned();
    save(&place, &head, "same");
    let said = refuse(&place, &["--head", "same.head"], 2);
    said.expect(&["error: head `same.head` is for vectors of 20 numbers, the encoder gives 24"]);
    head.identity.insert("pooling".into(), "mean".into());
    save(&place, &head, "other");
    let said = refuse(&place, &["--head", "other.head", "--allow-encoder-change"], 2);
    said.expect(&["error: head `other.head` is for vectors of 20 numbers, the encoder gives 24"]);
}

#[test]
fn another_way_of_making_texts_is_a_warning() {
    let place = Workplace::new();
    let mut head = head_for(&bundle(), "topic");
    head.template_or_field = "text-field body".into();
    save(&place, &head, "topic");
    place
        .run(&["fuse", "--model", &bundle(), "--head", "topic.head", "-o", "fused"], 0)
        .expect(&["warning: head `topic.head` was trained with text-field body, now template model-card"]);
    assert_eq!(
        Bundle::open(&place.path("fused")).unwrap().manifest.heads[0].trained_with.as_deref(),
        Some("text-field body")
    );
    place.write("papers.jsonl", "{\"id\": \"a\", \"title\": \"graph\"}\n");
    let said = place.run(&["classify", "--model", "fused", "papers.jsonl"], 0);
    said.expect(&["warning: head `topic` was trained with text-field body, now template model-card"]);
}

#[test]
fn heads_need_names_of_their_own() {
    let place = Workplace::new();
    save_heads(&place);
    let said = refuse(&place, &["--head", "topic.head", "--head", "topic=open.head"], 2);
    said.expect(&["error: two heads of the bundle would be called `topic`", "`--head NAME=FILE`"]);
    save(&place, &head_for(&bundle(), "topic"), "my head");
    let said = refuse(&place, &["--head", "my head.head"], 2);
    said.expect(&[
        "error: head `my head.head` has no name that an output could have, expected letters, digits, `-` and `_`",
        "hint: name it with `--head NAME=my head.head`",
    ]);
    place.run(&["fuse", "--model", &bundle(), "--head", "topic=my head.head", "-o", "fused"], 0);
}

#[test]
fn files_that_are_no_heads_and_folders_that_are_no_bundles() {
    let place = Workplace::new();
    save_heads(&place);
    place.write("no.head", "no head");
    refuse(&place, &["--head", "no.head"], 2).expect(&["error: head `no.head` cannot be used"]);
    refuse(&place, &["--head", "missing.head"], 2).expect(&["error: head `missing.head` could not be read"]);
    refuse(&place, &["--head", "topic.head", "--model", "nowhere/at/all"], 2).expect(&["error: model"]);
    let usage = place.run(&["fuse", "--model", &bundle(), "-o", "fused"], 2);
    usage.expect(&["--head"]);
    fs::create_dir(place.path("thesis")).unwrap();
    place.write("thesis/chapter1.tex", "years of work");
    let said = place.run(&["fuse", "--model", &bundle(), "--head", "topic.head", "-o", "thesis"], 2);
    said.expect(&["error: `thesis` holds other files than a bundle and is not replaced"]);
    assert_eq!(place.read("thesis/chapter1.tex"), "years of work");
}

/// A copy of the bundle under this name.
fn copied(place: &Workplace, name: &str) {
    fs::create_dir(place.path(name)).unwrap();
    for entry in fs::read_dir(bundle()).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), place.path(name).join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_damaged_bundle_is_not_built_upon() {
    let place = Workplace::new();
    save_heads(&place);
    copied(&place, "damaged");
    let path = place.path("damaged/model.onnx");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let said = refuse(&place, &["--head", "topic.head", "--model", "damaged"], 2);
    said.expect(&["model.onnx` has BLAKE3 "]);
}

#[test]
fn a_bundle_can_be_replaced_by_itself_with_heads() {
    let place = Workplace::new();
    save_heads(&place);
    copied(&place, "bundle");
    place.run(&["fuse", "--model", "bundle", "--head", "open.head", "-o", "bundle"], 0);
    place.run(&["fuse", "--model", "bundle", "--head", "tags.head", "-o", "bundle"], 0);
    let fused = Bundle::open(&place.path("bundle")).unwrap();
    fused.verify_graph().unwrap();
    let outputs: Vec<&str> = fused.manifest.heads.iter().map(|head| head.answer()).collect();
    assert_eq!(outputs, ["probabilities", "tags_probabilities"]);
    assert_eq!(names(&place).iter().filter(|name| name.starts_with('.')).count(), 0);
}

#[test]
fn coefficients_beyond_f32_are_refused() {
    let place = Workplace::new();
    let mut head = head_for(&bundle(), "numbers");
    head.linear_mut().unwrap().coefficients[[1, 3]] = 1e37;
    save(&place, &head, "numbers");
    let said = refuse(&place, &["--head", "numbers.head"], 2);
    said.expect(&["error: head `numbers` has the coefficient ", "in the units of its target, expected finite numbers"]);
}

/// A bundle whose vectors depend on what else is in their batch, as `tests/data/tiny-graph/make.py` describes them.
fn unsteady(place: &Workplace, name: &str) {
    copied(place, name);
    let graph = root().join("tests/data/tiny-graph/per_tensor.onnx");
    let end = GraphMetadata::read(&graph).unwrap().graph_end as usize;
    let graph = fs::read(graph).unwrap();
    let old = Bundle::open(&place.path(name)).unwrap().manifest.graph_hash;
    let toml = place.read(&format!("{name}/bundle.toml"));
    let toml = toml.replace(&old, &blake3::hash(&graph[..end]).to_hex());
    place.write(&format!("{name}/bundle.toml"), &toml);
    let manifest = Manifest::parse("bundle.toml".as_ref(), &toml).unwrap();
    let entry =
        |(key, value): (String, String)| field(14, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat());
    let metadata: Vec<u8> = manifest.metadata().into_iter().flat_map(entry).collect();
    fs::write(place.path(name).join("model.onnx"), [graph, metadata].concat()).unwrap();
}

/// A field of a protobuf message, with its length.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 128 {
        bytes.push(length as u8 & 127 | 128);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}

#[test]
fn a_bundle_that_does_not_keep_its_promise_is_not_fused() {
    let place = Workplace::new();
    save_heads(&place);
    unsteady(&place, "unsteady");
    let said = refuse(&place, &["--head", "topic.head", "--model", "unsteady"], 2);
    said.expect(&["error: the new graph failed its check; nothing was written", " with their batch, allowed 0"]);
}

#[test]
fn the_licences_of_weights_and_head_stay_apart() {
    let place = Workplace::new();
    fs::create_dir(place.path("checkpoint")).unwrap();
    for entry in fs::read_dir(tiny_checkpoint()).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), place.path("checkpoint").join(entry.file_name())).unwrap();
    }
    let export = |more: &[&str]| {
        let args = ["export", "--model", "checkpoint", "-o", "bundle", "--pooling", "cls", "--no-normalize"];
        place.run(&[&args[..], more].concat(), 0);
        Bundle::open(&place.path("bundle")).unwrap().manifest.license
    };
    assert_eq!(export(&[]), None);
    place.write("checkpoint/README.md", "---\nlanguage: en\nlicense: mit\n---\n# Tiny\n");
    assert_eq!(export(&["--license", "CC-BY-4.0"]).as_deref(), Some("CC-BY-4.0"));
    assert_eq!(export(&[]).as_deref(), Some("mit"));
    save(&place, &head_for(place.path("bundle").to_str().unwrap(), "tags"), "tags");
    place.run(&["fuse", "--model", "bundle", "--head", "tags.head", "-o", "fused"], 0);
    let fused = Bundle::open(&place.path("fused")).unwrap();
    assert_eq!(fused.manifest.license.as_deref(), Some("mit"));
    assert_eq!(fused.manifest.heads[0].license.as_deref(), Some("CC0-1.0"));
    let metadata = GraphMetadata::read(&fused.graph_path()).unwrap().entries;
    assert_eq!(
        (&metadata["offprint.license"], &metadata["offprint.head.0.license"]),
        (&"mit".into(), &"CC0-1.0".into())
    );
}
