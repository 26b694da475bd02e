//! What reads files that others wrote: for each such reader the file, its neighbours, whole examples, and the call.
//!
//! Shared by the mutation test and the fuzzers, so that both feed the same readers. A new format is one more line in
//! [`TARGETS`] and, to be fuzzed, one more `[[bin]]` in `fuzz/Cargo.toml`.

use std::error::Error;
use std::fs;
use std::path::Path;

use offprint::cache::{self, EmbeddingCache, Key};
use offprint::encode::Tokenizer;
use offprint::graph::{ExportOptions, ImportOptions, import_onnx, write_bundle};
use offprint::heads::Head;
use offprint::model::{Bundle, Checkpoint, Pooling, Recipe, Weights};
use offprint::output::{Answer, AnswerKind, Prediction, PredictionOptions, prediction_writer};
use offprint::paper::{Corpus, CorpusOptions};
use offprint::report::{Report, Section};

pub type Outcome = Result<(), Box<dyn Error>>;

/// One reader.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    /// The file that is not to be trusted.
    pub file: &'static str,
    /// Lays the file, whole, and what belongs beside it into a folder.
    pub prepare: fn(&Path),
    /// Reads all there is to read.
    pub read: fn(&Path) -> Outcome,
    /// Bytes that a reader may hold at once for each byte of the file, and for a file of any length.
    pub memory: (usize, usize),
}

const MIB: usize = 1 << 20;
/// A value of a parsed tree takes many times its text: `0,` is 2 bytes, a JSON value 32, and its list grows by doubling.
const TREE: (usize, usize) = (100, MIB / 8);
/// The tokenizer beside the file is parsed too.
const CHECKPOINT: (usize, usize) = (100, 4 * MIB);
/// TOML is parsed into a list of tokens first.
const TOML: (usize, usize) = (200, MIB / 8);

const PART: &str = "0123456789abcdef/8748119ddc4c0b173ead6901ccdf695f66d44a64654678b56be1eb5d3f7b090e.arrow";

#[rustfmt::skip]
pub const TARGETS: &[Target] = &[
    Target { name: "weights", file: "model.safetensors", prepare: checkpoint, read: weights, memory: TREE },
    Target { name: "torch", file: "pytorch_model.bin", prepare: torch, read: weights, memory: TREE },
    Target { name: "shards", file: "pytorch_model.bin.index.json", prepare: shards, read: weights, memory: TREE },
    Target { name: "config", file: "config.json", prepare: checkpoint, read: export, memory: (100, 2 * MIB) },
    Target { name: "tokenizer_config", file: "tokenizer_config.json", prepare: checkpoint, read: open_checkpoint, memory: CHECKPOINT },
    Target { name: "modules", file: "modules.json", prepare: sentence, read: open_checkpoint, memory: CHECKPOINT },
    Target { name: "pooling", file: "1_Pooling/config.json", prepare: sentence, read: open_checkpoint, memory: CHECKPOINT },
    Target { name: "sentence_config", file: "0_Transformer/sentence_bert_config.json", prepare: sentence, read: open_checkpoint, memory: CHECKPOINT },
    Target { name: "tokenizer", file: "tokenizer.json", prepare: checkpoint, read: tokenizer, memory: (400, MIB) },
    Target { name: "recipe", file: "recipe.toml", prepare: recipe_file, read: recipe, memory: TOML },
    Target { name: "manifest", file: "bundle.toml", prepare: bundle_folder, read: bundle, memory: TOML },
    Target { name: "graph", file: "model.onnx", prepare: bundle_folder, read: bundle, memory: TREE },
    Target { name: "onnx", file: "model.onnx", prepare: exported, read: import, memory: CHECKPOINT },
    Target { name: "head", file: "x.head", prepare: head_file, read: head, memory: TREE },
    Target { name: "part", file: PART, prepare: cache_folder, read: cache, memory: (16, MIB / 8) },
    Target { name: "space", file: "0123456789abcdef/space.json", prepare: cache_folder, read: cache, memory: TREE },
    Target { name: "jsonl", file: "papers.jsonl", prepare: jsonl_file, read: jsonl, memory: (100, MIB) },
    Target { name: "csv", file: "papers.csv", prepare: csv_file, read: csv, memory: (100, MIB) },
    Target { name: "tsv", file: "papers.tsv", prepare: tsv_file, read: tsv, memory: (100, MIB) },
    Target { name: "parquet", file: "papers.parquet", prepare: parquet_file, read: parquet, memory: (100, MIB) },
    Target { name: "report", file: "report.json", prepare: report_file, read: report, memory: TREE },
];

/// A file of the project, whose root is that of the tests, or the folder above that of the fuzzers.
fn data(path: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.ancestors().map(|folder| folder.join(path)).find(|path| path.exists()).unwrap()
}

fn copy(from: &str, into: &Path) {
    for entry in fs::read_dir(data(from)).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), into.join(entry.file_name()));
        if path.is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(path.to_str().unwrap(), &target);
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}

fn checkpoint(folder: &Path) {
    copy("tests/data/tiny-bert/cls", folder);
}

fn torch(folder: &Path) {
    copy("tests/data/tiny-architectures/roberta-a", folder);
}

fn shards(folder: &Path) {
    copy("tests/data/tiny-architectures/xlm-roberta-b", folder);
}

fn sentence(folder: &Path) {
    copy("tests/data/tiny-bert/mean", folder);
}

fn options(folder: &Path) -> ExportOptions {
    let mut options = ExportOptions::new(folder);
    options.pooling = Some(Pooling::Cls);
    options
}

fn weights(folder: &Path) -> Outcome {
    let weights = Weights::in_folder(folder)?.ok_or("no weights")?;
    let mut values = Vec::new();
    for tensor in weights.names().filter_map(|name| weights.get(name)) {
        tensor.read(0..tensor.count(), &mut values)?;
    }
    Ok(())
}

fn export(folder: &Path) -> Outcome {
    let into = folder.join("bundle");
    fs::create_dir_all(&into)?;
    Ok(write_bundle(&options(folder), &into).map(drop)?)
}

fn open_checkpoint(folder: &Path) -> Outcome {
    let checkpoint = Checkpoint::open(folder)?;
    checkpoint.pooling(Some(Pooling::Cls))?;
    Ok(checkpoint.max_length(None).map(drop)?)
}

fn tokenizer(folder: &Path) -> Outcome {
    let tokenizer = Tokenizer::open(&folder.join("tokenizer.json"), 16)?;
    let texts = [
        "",
        "a title [SEP] an abstract",
        "na\u{ef}ve \u{1f600}\u{200d} \u{0} x\u{301}",
        "word word word word word word word word",
    ];
    for text in texts {
        // A tokenizer that cannot encode a text says so when it meets the text; its file is known to the caller.
        let _ = tokenizer.encode(text, 0);
    }
    Ok(())
}

fn recipe_file(folder: &Path) {
    checkpoint(folder);
    let hash = "0d0284a42c12d1c521a4371e963cc26ab9bd0ef4183719ca46950bf84f97ccae";
    let recipe = format!(
        "# A recipe.\nname = \"x\"\nsource = \"org/x\"\nrevision = \"1\"\ntemplate = \"model-card\"\npooling = \"cls\"\n\
         normalize = true\nmax_length = 16\nverified = true\n\n[files]\n\"config.json\" = \"sha256:{hash}\"\n"
    );
    fs::write(folder.join("recipe.toml"), recipe).unwrap();
}

fn recipe(folder: &Path) -> Outcome {
    let recipe = Recipe::open(&folder.join("recipe.toml"))?;
    Ok(recipe.verify(folder)?)
}

fn bundle_folder(folder: &Path) {
    write_bundle(&options(&data("tests/data/tiny-bert/cls")), folder).unwrap();
}

fn bundle(folder: &Path) -> Outcome {
    let bundle = Bundle::open(folder)?;
    bundle.fingerprint();
    Ok(bundle.verify_graph()?)
}

fn exported(folder: &Path) {
    copy("tests/data/onnx/external-data", folder);
    fs::copy(data("tests/data/tiny-architectures/tokenizer.json"), folder.join("tokenizer.json")).unwrap();
}

fn import(folder: &Path) -> Outcome {
    let into = folder.join("bundle");
    fs::create_dir_all(&into)?;
    let options = ImportOptions { file: folder.join("model.onnx"), output: None, export: options(folder), seen: None };
    Ok(import_onnx(&options, &into).map(drop)?)
}

fn head_file(folder: &Path) {
    fs::copy(data("tests/data/heads/version-1.head"), folder.join("x.head")).unwrap();
}

fn head(folder: &Path) -> Outcome {
    Ok(Head::load(&folder.join("x.head")).map(drop)?)
}

fn cache_folder(folder: &Path) {
    copy("tests/data/cache-v1", folder);
    fs::remove_file(folder.join("README.md")).unwrap();
}

fn cache(folder: &Path) -> Outcome {
    cache::stat(folder)?;
    let mut damage = None;
    for space in cache::spaces(folder)? {
        let cache = EmbeddingCache::open(folder, &space)?;
        damage = damage.or(cache.take_warnings().pop());
        if space.dim < 1 << 16 {
            cache.copy_row(&Key::of_text("text 1"), &mut vec![0.0; space.dim]);
        }
        let mut rows = 0_u64;
        cache.for_each_row::<std::convert::Infallible>(&mut |_, row, _| {
            rows += u64::from(row.iter().all(|value| value.is_finite()));
            Ok(())
        })?;
    }
    damage.map_or(Ok(()), |damage| Err(damage.into()))
}

fn jsonl_file(folder: &Path) {
    let rows = r#"{"id": "a", "title": "Coral reefs", "abstract": "Heat waves.", "year": 2020, "authors": [{"name": "A"}]}
{"id": 7, "title": "\u00e9\ud83d\ude00", "abstract": null}
{"id": "c", "title": 3.5, "abstract": ["a"]}

{"doc_id": "d", "title": ""}
"#;
    fs::write(folder.join("papers.jsonl"), rows).unwrap();
}

fn csv_file(folder: &Path) {
    let rows = "id,title,abstract,year\na,\"Coral, reefs\",\"Heat\nwaves \"\"rise\"\"\",2020\nb,only,,\nc,three\n\"d\",x,y,z\n";
    fs::write(folder.join("papers.csv"), rows).unwrap();
}

fn tsv_file(folder: &Path) {
    fs::write(folder.join("papers.tsv"), "id\ttitle\tabstract\na\tCoral reefs\tHeat\nb\tonly\t\nc\n").unwrap();
}

/// Predictions with the fields of papers carried along are a corpus as well.
fn parquet_file(folder: &Path) {
    let names = ["title", "abstract"].map(str::to_owned).to_vec();
    let kind = AnswerKind::Label { top_k: 0 };
    let options = PredictionOptions { kept_names: names, ..PredictionOptions::of_one(kind) };
    let mut writer = prediction_writer(&folder.join("papers.parquet"), &options).unwrap();
    for paper in 0..40 {
        let kept = [format!("Paper {paper}"), "coral reefs and heat waves".repeat(paper % 5)];
        let prediction = Prediction {
            id: format!("p{paper}"),
            answers: vec![Answer::Label { label: "yes".into(), probability: 0.5, ranked: Vec::new(), set: None }],
            kept: kept.map(|text| Some(text.into())).to_vec(),
        };
        writer.write(&prediction).unwrap();
    }
    writer.finish().unwrap();
}

fn tsv(folder: &Path) -> Outcome {
    corpus(&folder.join("papers.tsv"))
}

fn parquet(folder: &Path) -> Outcome {
    corpus(&folder.join("papers.parquet"))
}

fn jsonl(folder: &Path) -> Outcome {
    corpus(&folder.join("papers.jsonl"))
}

fn csv(folder: &Path) -> Outcome {
    corpus(&folder.join("papers.csv"))
}

fn corpus(path: &Path) -> Outcome {
    let corpus = Corpus::open(&[path.to_str().unwrap().to_owned()], CorpusOptions::default())?;
    for row in corpus.rows() {
        row?;
    }
    Ok(())
}

fn report_file(folder: &Path) {
    let mut report = Report::new("A report");
    report.push(Section::facts("Facts", [("rows", 3_u64), ("seconds", 4)]));
    report.push(Section::table("A table", &["name", "value"], vec![vec!["x", "1"], vec!["y", "2"]]));
    report.push(Section::note("A note", "of some words"));
    report.write(folder).unwrap();
}

fn report(folder: &Path) -> Outcome {
    let report = Report::read(folder)?;
    Ok(report.to_html().map(drop)?)
}
