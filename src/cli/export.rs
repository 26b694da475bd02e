//! `offprint export`: a checkpoint becomes a bundle. The graph is written into a temporary folder, run by a child
//! process, and moved into place only if it is healthy.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use offprint::durable;
use offprint::encode::EncoderCheck;
use offprint::graph::{ExportOptions, write_bundle};
use offprint::model::{BUNDLE_FILES, Manifest, Pooling, Precision, Task};
use offprint::paper::Template;
use offprint::runtime::OnnxRuntime;

use super::hub::{self, Found, HubArgs, Wanted};
use super::say::remark;
use super::{Status, places, user_error};

/// Make a bundle (graph, tokenizer, manifest) from a Hugging Face or sentence-transformers folder
///
/// What shapes a vector is chosen here and kept in the bundle: pooling, normalization, maximum length, template. The new
/// graph is run on built-in texts before it takes its place; nothing is left behind if it fails.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Folder with config.json, tokenizer.json and weights (model.safetensors or pytorch_model.bin, also in several
    /// files), or a recipe's name, or a hub id, which is downloaded into the hub's cache (HF_HOME)
    #[arg(short, long, alias = "model-id", value_name = "MODEL")]
    model: String,

    #[command(flatten)]
    hub: HubArgs,

    /// Folder of the new bundle; an existing bundle there is replaced
    #[arg(short, long, value_name = "BUNDLE")]
    output: PathBuf,

    /// Recipe with template, pooling and the hashes of the source's files: a file, a name, or none [default: the recipe
    /// of that name or hub id; none for a folder]
    #[arg(long, value_name = "RECIPE")]
    recipe: Option<String>,

    /// How token vectors become one vector: cls or mean [default: 1_Pooling/config.json; cls for a classifier;
    /// required elsewhere]
    #[arg(long, value_name = "POOLING")]
    pooling: Option<Pooling>,

    /// Scale every vector to length 1 [default: as modules.json says, else not]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          overrides_with = "no_normalize", hide_possible_values = true)]
    normalize: Option<bool>,

    /// Keep vectors as the encoder makes them
    #[arg(long)]
    no_normalize: bool,

    /// Longest text in tokens [default: sentence_bert_config.json, else what tokenizer and position table allow]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,

    /// How title and abstract become a text: model-card, scirepeval, s2-timo, specter-script, or a pattern such as
    /// "{title}{sep}{abstract}" [default: model-card]
    #[arg(long, value_name = "TEMPLATE")]
    template: Option<String>,

    /// Number format of the graph: fp32
    #[arg(long, alias = "dtype", value_name = "PRECISION", default_value = "fp32")]
    precision: Precision,

    /// Write the graph for other runtimes: standard operators of opset 17 alone. ONNX Runtime gives the same vectors in the
    /// same time; runtimes that do not fuse operators need more memory traffic for a function that is written out
    #[arg(long)]
    plain: bool,

    /// ONNX Runtime library for the check [default: searched for; `offprint doctor` shows where]
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,

    /// Folder with lock.toml, which pins what was downloaded [default: offprint in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

pub(crate) fn run(args: &ExportArgs) -> Result<Status> {
    refuse_foreign_folder(&args.output)?;
    // The new graph will be run: better said before a download than after it.
    OnnxRuntime::find(args.ort_lib.as_deref())?;
    make_bundle(&options(args)?, &args.output, args.ort_lib.as_deref())?;
    Ok(Status::Done)
}

/// Builds the bundle, checks it, puts it in place and says what it is.
pub(crate) fn make_bundle(options: &ExportOptions, output: &Path, ort_lib: Option<&Path>) -> Result<()> {
    let parent = durable::parent(output);
    std::fs::create_dir_all(parent).with_context(|| format!("could not create `{}`", parent.display()))?;
    let workshop = tempfile::Builder::new()
        .prefix(".offprint-")
        .suffix(".tmp")
        .tempdir_in(parent)
        .with_context(|| format!("could not write into `{}`", parent.display()))?;
    let built = workshop.path().join("bundle");
    std::fs::create_dir(&built)?;
    let manifest = write_bundle(options, &built)?;
    let check = check_in_child(&built, ort_lib)?;
    durable::replace_folder(&built, output)
        .with_context(|| format!("could not put the bundle in place as `{}`", output.display()))?;
    print(output, &manifest, &check);
    Ok(())
}

/// Only an empty folder or an older bundle is replaced.
fn refuse_foreign_folder(output: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(output) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
    };
    let entries = entries.with_context(|| format!("could not look into `{}`", output.display()))?;
    if entries.iter().any(|entry| BUNDLE_FILES.iter().all(|name| entry.file_name() != *name)) {
        return Err(user_error(
            format!("`{}` holds other files than a bundle and is not replaced", output.display()),
            "give `-o` a new folder",
        ));
    }
    Ok(())
}

/// What the flags say goes before what the recipe says, and that before what the checkpoint says.
fn options(args: &ExportArgs) -> Result<ExportOptions> {
    // A template that cannot be used is found out before anything is downloaded.
    args.template.as_deref().map(str::parse::<Template>).transpose()?;
    let mut options = source(args)?;
    if let Some(template) = &args.template {
        options.template = template.clone();
    }
    // A template that cannot be used would only be found out by the first command that renders with it.
    options.template.parse::<Template>()?;
    options.pooling = args.pooling.or(options.pooling);
    options.max_length = args.max_length.or(options.max_length);
    options.precision = args.precision;
    options.plain = args.plain;
    // `--no-normalize` overrules what comes from the environment; `--normalize` behind it has overridden it already.
    let normalize = if args.no_normalize { Some(false) } else { args.normalize };
    options.normalize = normalize.or(options.normalize);
    Ok(options)
}

/// The checkpoint, downloaded where it is on the hub, with what the recipe says of it.
fn source(args: &ExportArgs) -> Result<ExportOptions> {
    let asked = args.recipe.as_deref().map(hub::recipe).transpose()?;
    match hub::find(&args.model)? {
        Found::Folder(folder) => {
            args.hub.check_folder(&args.model)?;
            let Some(recipe) = asked.flatten() else { return Ok(ExportOptions::new(&folder)) };
            recipe.verify(&folder)?;
            Ok(ExportOptions::from_recipe(&folder, &recipe))
        }
        Found::Hub { id, recipe } => {
            let mut wanted = Wanted::new(id, asked.unwrap_or(recipe), &args.hub);
            wanted.pooling_known |= args.pooling.is_some();
            hub::checkpoint(&wanted, &places::cache_dir(args.cache_dir.as_deref())?)
        }
    }
}

/// Runs the new bundle in a process of its own.
fn check_in_child(bundle: &Path, ort_lib: Option<&Path>) -> Result<EncoderCheck> {
    let program = std::env::current_exe().context("could not find this program to check the graph with")?;
    let mut command = Command::new(program);
    // What it says becomes a part of our own message, which has its own colours.
    command.arg("self-check").arg(bundle).env("NO_COLOR", "1").env_remove("CLICOLOR_FORCE");
    if let Some(library) = ort_lib {
        command.arg("--ort-lib").arg(library);
    }
    let output = command.output().context("could not start the check of the graph")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().trim_start_matches("error: ");
        if said.is_empty() {
            bail!("the check of the new graph ended with {}", output.status);
        }
        bail!("the new graph failed its check; nothing was written\n  cause: {said}");
    }
    serde_json::from_slice(&output.stdout).context("could not read the result of the graph's check")
}

/// The first labels.
fn some(labels: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = if labels.len() > SHOWN { ", .." } else { "" };
    format!("{}{more}", labels[..labels.len().min(SHOWN)].join(", "))
}

fn print(output: &Path, manifest: &Manifest, check: &EncoderCheck) {
    remark(&format!(
        "{}: {} with {:.1} M parameters, {} dimensions, max length {}, pooling {}, {}, template {}",
        output.display(),
        manifest.architecture,
        manifest.parameters as f64 / 1e6,
        manifest.dim,
        manifest.max_length,
        manifest.pooling,
        if manifest.normalize { "normalized" } else { "not normalized" },
        manifest.template,
    ));
    for head in &manifest.heads {
        let kind = match head.task {
            Task::Classification => "one label",
            Task::Multilabel => "several labels",
            Task::Regression => "numbers",
        };
        let outputs: Vec<String> = [Some(&head.logits), head.probabilities.as_ref()]
            .into_iter()
            .flatten()
            .map(|name| format!("`{name}`"))
            .collect();
        let (labels, some) = (head.labels.len(), some(&head.labels));
        remark(&format!("{}: {kind} out of {labels} ({some}), outputs {}", head.name, outputs.join(", ")));
    }
    remark(&format!(
        "checked on {} texts: norms {:.4} to {:.4}, largest change with the batch {:.1e}",
        check.texts, check.norms.0, check.norms.1, check.batch_delta
    ));
}
