//! From a checkpoint's folder to a bundle and back: what export writes is what opening finds, and every contradiction
//! between the files is an error that names the file, the field or the tensor, with both values.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

use offprint::graph::{Error, ExportOptions, write_bundle};
use offprint::model::{self, Bundle, Manifest, Pooling, Recipe};
use serde_json::{Value, json};
use tempfile::TempDir;

fn tiny(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny-bert").join(name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A copy of a tiny checkpoint that a test may damage.
fn checkpoint(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&tiny(name), folder.path());
    folder
}

fn edit_json(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

fn export(options: &ExportOptions) -> Result<(TempDir, Manifest), Error> {
    let bundle = tempfile::tempdir().unwrap();
    let manifest = write_bundle(options, bundle.path())?;
    Ok((bundle, manifest))
}

fn cls_options(folder: &Path) -> ExportOptions {
    ExportOptions { pooling: Some(Pooling::Cls), ..ExportOptions::new(folder) }
}

/// The error of exporting `folder`, with the folder's own path shown as `DIR`.
fn refusal(folder: &Path) -> (String, Option<String>) {
    let error = export(&cls_options(folder)).map(|(_, manifest)| manifest).unwrap_err();
    (error.to_string().replace(&folder.display().to_string(), "DIR"), error.hint())
}

/// Damages one file of a bundle and gives the error of opening it, with the bundle's path shown as `DIR`.
fn open_refusal(damage: impl FnOnce(&Path)) -> (String, Option<String>) {
    let (bundle, _) = export(&cls_options(&tiny("cls"))).unwrap();
    damage(bundle.path());
    let error = Bundle::open(bundle.path()).unwrap_err();
    (error.to_string().replace(&bundle.path().display().to_string(), "DIR"), error.hint())
}

#[test]
fn a_sentence_transformers_folder_answers_for_itself() {
    let (folder, written) = export(&ExportOptions::new(tiny("mean"))).unwrap();
    let bundle = Bundle::open(folder.path()).unwrap();
    assert_eq!(bundle.manifest, written);
    assert_eq!((written.pooling, written.normalize, written.max_length, written.dim), (Pooling::Mean, true, 32, 20));
    assert_eq!((written.sep_token.as_str(), written.source.name.as_str()), ("[SEP]", "mean"));
    assert_eq!(written.parameters, (102 + 50 + 2) * 20 + 40 + 3 * (4 * 420 + 36 * 20 * 2 + 36 + 20 + 80));
    bundle.verify_graph().unwrap();
    let files: Vec<String> = {
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    assert_eq!(files, ["bundle.toml", "model.onnx", "tokenizer.json"]);
}

#[test]
fn the_same_export_gives_the_same_bytes() {
    let options = cls_options(&tiny("cls"));
    let [(first, _), (second, _)] = [export(&options).unwrap(), export(&options).unwrap()];
    for name in ["model.onnx", "tokenizer.json", "bundle.toml"] {
        assert_eq!(fs::read(first.path().join(name)).unwrap(), fs::read(second.path().join(name)).unwrap(), "{name}");
    }
}

#[test]
fn a_fingerprint_says_what_changed_and_leaves_out_what_does_not_matter() {
    let (_, base) = export(&cls_options(&tiny("cls"))).unwrap();
    let renamed =
        ExportOptions { name: Some("other".into()), template: "scirepeval".into(), ..cls_options(&tiny("cls")) };
    let (_, renamed) = export(&renamed).unwrap();
    assert_eq!(base.fingerprint().hash(), renamed.fingerprint().hash());

    let (_, shorter) = export(&ExportOptions { max_length: Some(16), ..cls_options(&tiny("cls")) }).unwrap();
    let changes = base.fingerprint().differences(&shorter.fingerprint());
    assert_eq!(changes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["max_length: 37 -> 16"]);

    let mean = ExportOptions { pooling: Some(Pooling::Mean), ..cls_options(&tiny("cls")) };
    let (_, mean) = export(&mean).unwrap();
    let names: Vec<String> =
        base.fingerprint().differences(&mean.fingerprint()).into_iter().map(|change| change.name).collect();
    assert_eq!(names, ["graph", "pooling"]);
    let identity: Vec<String> = base.identity().differences(&mean.identity()).iter().map(ToString::to_string).collect();
    assert_eq!(identity, ["pooling: cls -> mean"]);
}

#[test]
fn pooling_is_never_guessed() {
    let error = export(&ExportOptions::new(tiny("cls"))).map(|(_, manifest)| manifest).unwrap_err();
    assert!(error.to_string().contains("does not say how its token states become one vector"), "{error}");
    assert_eq!(
        error.hint().unwrap(),
        "name the pooling that the model was trained with: `--pooling cls` or `--pooling mean`"
    );
}

#[test]
fn max_length_follows_its_rule_and_its_borders() {
    let length = |name: &str, asked| {
        let options = ExportOptions { max_length: asked, ..cls_options(&tiny(name)) };
        export(&options).map(|(_, manifest)| manifest.max_length)
    };
    assert_eq!(length("cls", None).unwrap(), 37);
    assert_eq!(length("mean", None).unwrap(), 32);
    assert_eq!(length("mean", Some(50)).unwrap(), 50);
    assert_eq!(length("cls", Some(3)).unwrap(), 3);
    let message = |asked| length("cls", Some(asked)).unwrap_err().to_string();
    assert!(message(38).starts_with("max length 38 is out of range for"));
    assert!(message(2).ends_with("at least 3, at most 37 (its position table)"));
    let folder = checkpoint("cls");
    fs::write(folder.path().join("tokenizer_config.json"), r#"{"model_max_length": 20}"#).unwrap();
    assert_eq!(export(&cls_options(folder.path())).unwrap().1.max_length, 20);
}

#[test]
fn weights_that_do_not_fit_the_config_are_refused() {
    let with_config = |field: &str, value: usize| {
        let folder = checkpoint("cls");
        edit_json(&folder.path().join("config.json"), |config| config[field] = json!(value));
        refusal(folder.path())
    };
    let hint = Some("weights and config.json look like different models".to_owned());
    assert_eq!(
        with_config("intermediate_size", 41),
        (
            "tensor `bert.encoder.layer.0.intermediate.dense.weight` in `DIR/model.safetensors` has shape [40, 24], \
             config.json asks for [41, 24]"
                .to_owned(),
            hint.clone()
        )
    );
    assert_eq!(
        with_config("num_hidden_layers", 1),
        ("`DIR/model.safetensors` holds 2 layers, config.json asks for 1".to_owned(), hint)
    );
    assert_eq!(
        with_config("vocab_size", 101),
        (
            "`DIR/tokenizer.json` has token ids up to 101, config.json gives a table of 101 rows".to_owned(),
            Some("tokenizer.json and config.json look like different models".to_owned())
        )
    );
}

#[test]
fn a_nan_in_the_weights_is_named_and_leaves_no_graph() {
    let folder = checkpoint("cls");
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[data + 4..data + 8].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let bundle = tempfile::tempdir().unwrap();
    let error = write_bundle(&cls_options(folder.path()), bundle.path()).unwrap_err().to_string();
    assert!(error.starts_with("tensor `bert.embeddings.LayerNorm.bias` in "), "{error}");
    assert!(error.ends_with("model.safetensors` holds NaN at element 1 of 24"), "{error}");
    assert_eq!(fs::read_dir(bundle.path()).unwrap().count(), 0);
}

#[test]
fn damaged_or_missing_checkpoint_files_are_named() {
    let folder = checkpoint("cls");
    let weights = folder.path().join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() - 1]).unwrap();
    assert!(refusal(folder.path()).0.contains("the file's data has"), "{}", refusal(folder.path()).0);
    fs::remove_file(&weights).unwrap();
    assert_eq!(refusal(folder.path()), ("checkpoint `DIR` has no `model.safetensors`".to_owned(), None));
    fs::write(folder.path().join("tf_model.h5"), "").unwrap();
    assert!(refusal(folder.path()).1.unwrap().starts_with("save `tf_model.h5` as `model.safetensors` once"));

    let folder = checkpoint("cls");
    fs::write(folder.path().join("config.json"), "{").unwrap();
    assert_eq!(refusal(folder.path()).0, "`DIR/config.json` could not be understood");
    edit_json(&folder.path().join("tokenizer_config.json"), |config| config["truncation_side"] = json!("left"));
    fs::copy(tiny("cls").join("config.json"), folder.path().join("config.json")).unwrap();
    assert_eq!(refusal(folder.path()).0, "`DIR/tokenizer_config.json`: `truncation_side` is `left`, expected `right`");
}

#[test]
fn a_bundle_whose_files_disagree_is_refused() {
    let set = |line: &'static str, by: &'static str| {
        move |dir: &Path| {
            let path = dir.join("bundle.toml");
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(line), "{text}");
            fs::write(path, text.replace(line, by)).unwrap();
        }
    };
    let (message, hint) = open_refusal(set("normalize = false", "normalize = true"));
    assert_eq!(
        message,
        "`DIR/model.onnx` and `bundle.toml` disagree on `normalize`: false in the graph, true in bundle.toml"
    );
    assert_eq!(hint.unwrap(), "export the bundle again");
    let (message, hint) = open_refusal(set("format = 2", "format = 5\nnews = true"));
    assert_eq!(message, "`DIR/bundle.toml` has format 5, this version of offprint reads formats 2 to 4");
    assert_eq!(hint.unwrap(), "use a newer offprint, or export the bundle again");
    let (message, _) = open_refusal(set("format = 2", "format = 3"));
    assert_eq!(message, "`DIR/bundle.toml`: `format` is 3, expected 2 for a bundle without adapters");
    let (message, _) = open_refusal(set("pooling = \"cls\"", "pooling = \"max\""));
    assert_eq!(message, "`DIR/bundle.toml` could not be understood");
    let (message, _) = open_refusal(set("dim = 24", "dim = 0"));
    assert_eq!(message, "`DIR/bundle.toml`: `dim` is 0, expected at least 1");
    let (message, _) = open_refusal(set("dim = 24", "dim = 9223372036854775808"));
    assert_eq!(message, "`DIR/bundle.toml`: `dim` is 9223372036854775808, expected at most 9223372036854775807");
    let (message, _) = open_refusal(set("output = \"sentence_embedding\"", "output = \"logits\""));
    assert_eq!(message, "`DIR/bundle.toml`: `output` is `logits`, expected `sentence_embedding`");

    let (message, hint) = open_refusal(|dir| fs::write(dir.join("tokenizer.json"), "{}").unwrap());
    assert!(message.starts_with("`DIR/tokenizer.json` has BLAKE3 "), "{message}");
    assert_eq!(hint.unwrap(), "the bundle was changed after its export: export it again");
    let (message, hint) = open_refusal(|dir| fs::remove_file(dir.join("bundle.toml")).unwrap());
    assert_eq!(message, "`DIR` is not a bundle: it has no `bundle.toml`");
    assert_eq!(hint.unwrap(), "make one with `offprint export --model DIR -o BUNDLE`");
}

#[test]
fn a_cut_or_changed_graph_is_found() {
    let (message, _) = open_refusal(|dir| {
        let path = dir.join("model.onnx");
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    });
    assert!(message.starts_with("`DIR/model.onnx` is not a whole ONNX model: a field ends at byte"), "{message}");

    let (folder, _) = export(&cls_options(&tiny("cls"))).unwrap();
    let path = folder.path().join("model.onnx");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    let error = Bundle::open(folder.path()).unwrap().verify_graph().unwrap_err();
    assert!(matches!(error, model::Error::Hash { .. }), "{error}");
}

#[test]
fn a_recipe_makes_the_choices() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.toml");
    let text = "name = \"tiny\"\nsource = \"org/tiny\"\nrevision = \"abc\"\ntemplate = \"scirepeval\"\npooling = \"cls\"\n\
                normalize = true\nmax_length = 12\nverified = false\n";
    // Without hashes nothing says that the folder holds the recipe's source.
    fs::write(&path, text).unwrap();
    let (_, manifest) = export(&ExportOptions::from_recipe(tiny("cls"), &Recipe::open(&path).unwrap())).unwrap();
    assert_eq!((manifest.source.name.as_str(), manifest.source.revision), ("cls", None));
    fs::write(&path, format!("{text}[files]\n\"config.json\" = \"sha256:{}\"\n", "0".repeat(64))).unwrap();
    let options = ExportOptions::from_recipe(tiny("cls"), &Recipe::open(&path).unwrap());
    let (_, manifest) = export(&options).unwrap();
    assert_eq!((manifest.pooling, manifest.normalize, manifest.max_length), (Pooling::Cls, true, 12));
    assert_eq!((manifest.template.as_str(), manifest.source.name.as_str()), ("scirepeval", "org/tiny"));
    assert_eq!(manifest.source.revision.as_deref(), Some("abc"));
}

#[test]
fn a_folder_that_can_not_be_written_is_named() {
    let into = tempfile::tempdir().unwrap();
    let missing = into.path().join("missing");
    let error = write_bundle(&cls_options(&tiny("cls")), &missing).unwrap_err();
    assert_eq!(error.to_string(), format!("could not write `{}`", missing.join("model.onnx").display()));
    assert!(std::error::Error::source(&error).is_some());
}
