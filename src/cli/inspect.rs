//! `offprint inspect`: what a bundle, an ONNX file or a checkpoint consists of, and what it knows about words. Owns the
//! flags and the decision what the argument is; the pages and tables stand in the files beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use offprint::causes::on_one_line;
use offprint::graph::foreign::OnnxFile;
use offprint::graph::{CheckpointInspection, InspectOptions, Inspection, inspect, inspect_checkpoint};
use offprint::model::{Bundle, BundleAdapter, Checkpoint, GRAPH_FILE, MANIFEST_FILE, Manifest, WEIGHTS_FILES};
use serde::Serialize;

use super::hub::{self, HubArgs, Wanted};
use super::say::{remark, say};
use super::{Status, inspect_page, inspect_words, places, user_error};

/// Show what a bundle, an ONNX file or a checkpoint consists of: inputs, operators, parameters, cost, labels, origin
///
/// Reads the file's structure and no weights, so it takes no time and no ONNX Runtime. Any ONNX file can be inspected, not
/// only encoders.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct InspectArgs {
    /// Folder of a bundle, an ONNX file, folder of a checkpoint, a recipe's name or a hub id (whose checkpoint is downloaded)
    #[arg(value_name = "BUNDLE|FILE.onnx|CHECKPOINT")]
    pub model: String,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,

    /// List every node, too: name, operator, what it reads and gives
    #[arg(long, conflicts_with_all = ["word", "fill"])]
    pub nodes: bool,

    /// Read the whole graph and compare its hash with bundle.toml; exit status 1 if they differ
    #[arg(long, conflicts_with_all = ["word", "fill"])]
    pub verify: bool,

    /// Show the word pieces that lie nearest to this word's in the table of word embeddings (cosine); may be repeated
    #[arg(long, value_name = "WORD", help_heading = "Words")]
    pub word: Vec<String>,

    /// Show the most probable words in the place of each [MASK] of a text: "the [MASK] of a protein"; needs ONNX Runtime
    /// and a checkpoint as it was pre-trained
    #[arg(long, value_name = "TEXT", help_heading = "Words", conflicts_with = "word")]
    pub fill: Option<String>,

    /// How many words are shown
    #[arg(short = 'k', long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..), help_heading = "Words")]
    pub top: u16,

    /// The tokenizer of an ONNX file [default: tokenizer.json beside it, or in the folder above]
    #[arg(long, value_name = "FILE", help_heading = "Words")]
    pub tokenizer: Option<PathBuf>,

    /// ONNX Runtime library for `--fill` [default: searched for; `offprint doctor` shows where]
    #[arg(long, value_name = "FILE", help_heading = "Words")]
    pub ort_lib: Option<PathBuf>,

    #[command(flatten)]
    pub hub: HubArgs,

    /// Folder with lock.toml, which pins what was downloaded [default: offprint in the user's cache folder]
    #[arg(long, value_name = "DIR", help_heading = "Hub")]
    pub cache_dir: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  offprint inspect models/specter2                       what the bundle is, what it costs, where it comes from
  offprint inspect model.onnx --json                     the same of any ONNX file, for a script
  offprint inspect models/specter2 --word protein        which pieces the model holds to be like `protein`
  offprint inspect allenai/scibert_scivocab_uncased --fill \"the [MASK] of a protein\"
  offprint inspect models/specter2 --verify              is the graph still the one that was exported?

Exit status 1 if a bundle is damaged; what can be read of it is shown all the same.

What the cost counts: a multiplication and an addition are 2 FLOPs; products of matrices (and convolutions) count, the
rest is a few per cent beside them. What could not be counted is listed.";

/// What the argument turned out to be.
pub(crate) enum Subject {
    /// The folder of a bundle, whole or not.
    Bundle(PathBuf),
    /// An ONNX file.
    Graph(PathBuf),
    /// The folder of a checkpoint.
    Checkpoint(PathBuf),
}

/// What was found, as it is printed with `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Found {
    /// `bundle`, `onnx` or `checkpoint`.
    pub kind: &'static str,
    /// The folder or file.
    pub path: PathBuf,
    /// What is wrong with it, if anything.
    pub problems: Vec<String>,
    /// The fields of bundle.toml.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
    /// Under which name its vectors are cached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The same for each adapter, by its name, where texts choose from several.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub adapter_fingerprints: BTreeMap<String, String>,
    /// Whether the graph's bytes are those that were exported; nothing unless `--verify` asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph_verified: Option<bool>,
    /// Bytes of the ONNX file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// What the graph consists of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph: Option<Inspection>,
    /// What the checkpoint consists of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointInspection>,
}

pub(crate) fn run(args: &InspectArgs) -> Result<Status> {
    let subject = subject(args)?;
    if let Some(text) = &args.fill {
        return inspect_words::fill(args, &subject, text);
    }
    if !args.word.is_empty() {
        return inspect_words::nearest(args, &subject);
    }
    let found = match &subject {
        Subject::Bundle(folder) => look_at_bundle(args, folder),
        Subject::Graph(path) => look_at_graph(args, path)?,
        Subject::Checkpoint(folder) => look_at_checkpoint(args, folder)?,
    };
    if args.json {
        say(&serde_json::to_string_pretty(&found)?)?;
    } else {
        say(inspect_page::page(&found).trim_end())?;
    }
    for problem in &found.problems {
        remark(&format!("error: {problem}"));
    }
    Ok(if found.problems.is_empty() { Status::Done } else { Status::CheckFailed })
}

impl Found {
    fn new(kind: &'static str, path: &Path) -> Self {
        Self {
            kind,
            path: path.to_owned(),
            problems: Vec::new(),
            manifest: None,
            fingerprint: None,
            adapter_fingerprints: BTreeMap::new(),
            graph_verified: None,
            file_bytes: None,
            graph: None,
            checkpoint: None,
        }
    }
}

/// Whatever of a bundle can be read, and what is wrong with the rest.
fn look_at_bundle(args: &InspectArgs, folder: &Path) -> Found {
    let mut found = Found::new("bundle", folder);
    let manifest_path = folder.join(MANIFEST_FILE);
    let manifest = std::fs::read_to_string(&manifest_path).ok();
    let manifest = manifest.and_then(|text| Manifest::parse(&manifest_path, &text).ok());
    if let Some(manifest) = &manifest {
        let of_adapter = |(place, adapter): (usize, &BundleAdapter)| {
            (adapter.name.clone(), manifest.fingerprint_of(Some(place)).hash())
        };
        found.adapter_fingerprints = manifest.adapters.iter().enumerate().map(of_adapter).collect();
        found.fingerprint = manifest.adapters.is_empty().then(|| manifest.fingerprint().hash());
    }
    found.manifest = manifest;
    // Opening compares the tokenizer's hash and the graph's copy of the fields.
    match Bundle::open(folder) {
        Err(error) => found.problems.push(on_one_line(&error)),
        Ok(bundle) if args.verify => {
            let result = bundle.verify_graph();
            found.graph_verified = Some(result.is_ok());
            found.problems.extend(result.err().map(|error| on_one_line(&error)));
        }
        Ok(_) => {}
    }
    let graph = folder.join(GRAPH_FILE);
    let max_length = found.manifest.as_ref().map(|manifest| manifest.max_length as u64);
    match OnnxFile::open(&graph) {
        Ok(file) => {
            found.graph = Some(inspect(&file, &options(args, max_length)));
            found.file_bytes = std::fs::metadata(&graph).ok().map(|file| file.len());
        }
        Err(error) => {
            let problem = on_one_line(&error);
            let known = format!("`{}` is not a whole ONNX model", graph.display());
            if !found.problems.iter().any(|problem| problem.contains(&known)) {
                found.problems.push(problem);
            }
        }
    }
    found
}

fn look_at_graph(args: &InspectArgs, path: &Path) -> Result<Found> {
    if args.verify {
        return Err(user_error(
            format!("`--verify` compares a bundle's graph with its bundle.toml, and `{}` is a file", path.display()),
            "give the bundle's folder",
        ));
    }
    let file = OnnxFile::open(path)?;
    let graph = Some(inspect(&file, &options(args, None)));
    let file_bytes = std::fs::metadata(path).ok().map(|file| file.len());
    Ok(Found { graph, file_bytes, ..Found::new("onnx", path) })
}

fn look_at_checkpoint(args: &InspectArgs, folder: &Path) -> Result<Found> {
    if args.verify {
        return Err(user_error(
            format!(
                "`--verify` compares a bundle's graph with its bundle.toml, and `{}` is a checkpoint",
                folder.display()
            ),
            "leave `--verify` out; `offprint export --recipe` compares a checkpoint with a recipe's hashes",
        ));
    }
    let checkpoint = Checkpoint::open(folder)?;
    let longest = checkpoint.max_length(None)? as u64;
    let inspection = inspect_checkpoint(&checkpoint, &options(args, Some(longest)))?;
    Ok(Found { checkpoint: Some(inspection), ..Found::new("checkpoint", folder) })
}

/// The usual lengths as far as the encoder reads them, and the longest that it reads.
fn options(args: &InspectArgs, longest: Option<u64>) -> InspectOptions {
    let mut lengths = InspectOptions::default().lengths;
    if let Some(longest) = longest {
        lengths.retain(|length| *length < longest);
        lengths.push(longest);
    }
    InspectOptions { lengths, nodes: args.nodes }
}

/// A file is a graph; a folder is a bundle if it has a manifest or only a graph, else a checkpoint.
fn subject(args: &InspectArgs) -> Result<Subject> {
    let path = match hub::find(&args.model)? {
        hub::Found::Folder(path) => {
            args.hub.check_folder(&args.model)?;
            path
        }
        hub::Found::Hub { id, recipe } => {
            let mut wanted = Wanted::new(id, recipe.map(|recipe| *recipe), &args.hub);
            // Nothing is exported, so nobody has to say how.
            wanted.pooling_known = true;
            let folder = hub::checkpoint(&wanted, &places::cache_dir(args.cache_dir.as_deref())?)?.checkpoint;
            return Ok(Subject::Checkpoint(folder));
        }
    };
    if path.is_file() {
        return Ok(Subject::Graph(path));
    }
    let has = |name: &str| path.join(name).is_file();
    if has(MANIFEST_FILE) {
        return Ok(Subject::Bundle(path));
    }
    let modules = path.join("modules.json").is_file();
    if modules || has("config.json") && WEIGHTS_FILES.iter().any(|name| has(name)) {
        return Ok(Subject::Checkpoint(path));
    }
    if has(GRAPH_FILE) {
        return Ok(Subject::Bundle(path));
    }
    if has("config.json") {
        return Ok(Subject::Checkpoint(path));
    }
    Err(nothing_in(&path))
}

fn nothing_in(folder: &Path) -> anyhow::Error {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut graphs: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "onnx")).collect();
    graphs.sort();
    let hint = match graphs.first() {
        Some(graph) => format!("name the file: `offprint inspect {}`", graph.display()),
        None => {
            "give a bundle's folder, an ONNX file, or a checkpoint's folder with config.json and weights".to_owned()
        }
    };
    user_error(format!("`{}` holds neither {MANIFEST_FILE} nor {GRAPH_FILE} nor a checkpoint", folder.display()), hint)
}
