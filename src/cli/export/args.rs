//! The flags of `offprint export`, and what they come to: the checkpoint, downloaded where it is on the hub, with the
//! choices of flags, recipe and checkpoint in this order. Builds nothing.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use offprint::graph::ExportOptions;
use offprint::model::{Error, Pooling, Precision, Recipe};
use offprint::paper::Template;
use offprint::runtime::Machine;

use super::super::corpus_args::CorpusArgs;
use super::super::export_onnx::FromOnnxArgs;
use super::super::hub::{self, Found, HubArgs, Wanted};
use super::super::places;
use super::super::user_error;
use super::adapter_args::{AdapterArgs, Sources};
use super::int8::Int8Args;
use super::quality::QualityArgs;

/// Make a bundle (graph, tokenizer, manifest) from a checkpoint (a folder or a hub id) or an ONNX file
///
/// What shapes a vector is chosen here and kept in the bundle: pooling, normalization, maximum length, template. The new
/// graph is run on built-in texts before it takes its place; nothing is left behind if it fails.
///
/// A graph whose numbers are not those of the fp32 original is compared with it, on --check CORPUS or on built-in texts:
/// cosines, neighbours kept, and with --head and --label the head's macro-F1. The figures go into bundle.toml.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Folder with config.json, tokenizer.json and weights (model.safetensors or pytorch_model.bin, also in several
    /// files), or a recipe's name, or a hub id, which is downloaded into the hub's cache (HF_HOME)
    #[arg(short, long, alias = "model-id", value_name = "MODEL", required_unless_present = "from_onnx")]
    pub model: Option<String>,

    #[command(flatten)]
    pub onnx: FromOnnxArgs,

    #[command(flatten)]
    pub hub: HubArgs,

    #[command(flatten)]
    pub adapters: AdapterArgs,

    /// Folder of the new bundle; an existing bundle there is replaced
    #[arg(short, long, value_name = "BUNDLE")]
    pub output: PathBuf,

    /// Recipe with template, pooling and the hashes of the source's files: a file, a name, or none [default: the recipe
    /// of that name or hub id; none for a folder]
    #[arg(long, value_name = "RECIPE")]
    pub recipe: Option<String>,

    /// How token vectors become one vector: cls or mean [default: 1_Pooling/config.json; cls for a classifier;
    /// required elsewhere]
    #[arg(long, value_name = "POOLING")]
    pub pooling: Option<Pooling>,

    /// Scale every vector to length 1 [default: as modules.json says, else not]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          overrides_with = "no_normalize", hide_possible_values = true)]
    pub normalize: Option<bool>,

    /// Keep vectors as the encoder makes them
    #[arg(long)]
    pub no_normalize: bool,

    /// Longest text in tokens [default: sentence_bert_config.json, else what tokenizer and position table allow]
    #[arg(long, value_name = "N")]
    pub max_length: Option<usize>,

    /// How title and abstract become a text: model-card, scirepeval, s2-timo, specter-script, or a pattern such as
    /// "{title}{sep}{abstract}" [default: model-card]
    #[arg(long, value_name = "TEMPLATE")]
    pub template: Option<String>,

    /// Number format of the graph: fp32, int8 for ONNX Runtime's CPU provider, or fp16 for GPU providers; bf16 runs on no
    /// processor
    ///
    /// An int8 graph multiplies with weights in 8-bit integers, scaled row by row, so that a text's vector stays the same
    /// in any batch. Which matrices are int8 is measured: see --int8-point. What it loses stands in bundle.toml. In fp16,
    /// weights and products are in half precision, sums over a text or a row in fp32; half the size. On a processor it is
    /// fp32 that rounds in between.
    #[arg(long, alias = "dtype", value_name = "PRECISION", default_value = "fp32", value_parser = precision)]
    pub precision: Precision,

    /// Write the graph for other runtimes: standard operators of opset 17 alone. ONNX Runtime gives the same vectors in
    /// about the same time
    #[arg(long, conflicts_with = "from_onnx")]
    pub plain: bool,

    /// Licence of the weights, kept in the bundle [default: what the recipe or the checkpoint's README.md says]
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub license: Option<String>,

    /// ONNX Runtime library for the check [default: searched for; `offprint doctor` shows where]
    #[arg(long, value_name = "FILE")]
    pub ort_lib: Option<PathBuf>,

    #[command(flatten)]
    pub quality: QualityArgs,

    #[command(flatten)]
    pub int8: Int8Args,

    #[command(flatten)]
    pub corpus: CorpusArgs,

    /// Print what was made and measured as one JSON object on stdout; everything else goes to stderr
    #[arg(long)]
    pub json: bool,

    /// Folder with lock.toml, which pins what was downloaded [default: offprint in the user's cache folder]
    #[arg(long, value_name = "DIR", help_heading = "Hub")]
    pub cache_dir: Option<PathBuf>,
}

impl ExportArgs {
    /// An error where the graph of another program is to be in other numbers than it is.
    pub(super) fn check_precision(&self) -> Result<()> {
        if !self.onnx.is_given() || self.precision == Precision::Fp32 {
            return Ok(());
        }
        Err(user_error(
            format!(
                "`--precision {}` is about weights, and `--from-onnx` takes a graph with its numbers",
                self.precision
            ),
            "leave it out, or export the checkpoint behind the graph",
        ))
    }

    /// What the flags say of the graph's numbers, whatever the checkpoint is.
    pub(super) fn numbers(&self) -> ExportOptions {
        ExportOptions { precision: self.precision, plain: self.plain, ..ExportOptions::new("") }
    }
}

/// A number format by its word. That of bf16 says why there is no such graph: ONNX Runtime's CPU provider has no kernel
/// for `MatMul`, `Gemm` or `Add` in it, and its bf16 option for fp32 products is for AArch64 alone.
fn precision(word: &str) -> Result<Precision, String> {
    if word != "bf16" {
        return word.parse().map_err(|error: Error| error.to_string());
    }
    let machine = Machine::read();
    let amx = machine.instruction_sets.iter().any(|set| set == "amx_bf16");
    let found = if amx { "has AMX for it, which ONNX Runtime leaves unused" } else { "has no AMX for it either" };
    Err(format!(
        "ONNX Runtime's CPU provider has no kernels for products of bf16 matrices, and {} {found}; use fp32 on \
         processors and fp16 on GPU providers",
        machine.cpu_summary()
    ))
}

/// What the flags say goes before what the recipe says, and that before what the checkpoint says.
pub(super) fn options(args: &ExportArgs) -> Result<ExportOptions> {
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
    options.license = args.license.clone().or(options.license);
    // `--no-normalize` overrules what comes from the environment; `--normalize` behind it has overridden it already.
    let normalize = if args.no_normalize { Some(false) } else { args.normalize };
    options.normalize = normalize.or(options.normalize);
    Ok(options)
}

/// The checkpoint, downloaded where it is on the hub, with what the recipe says of it.
fn source(args: &ExportArgs) -> Result<ExportOptions> {
    let asked = args.recipe.as_deref().map(hub::recipe).transpose()?;
    let model = args.onnx.model(args.model.as_deref())?;
    match hub::find(&model)? {
        Found::Folder(folder) => {
            args.hub.check_folder(&model)?;
            let recipe = asked.flatten();
            let mut options = match &recipe {
                Some(recipe) => {
                    recipe.verify(&folder)?;
                    ExportOptions::from_recipe(&folder, recipe)
                }
                None => ExportOptions::new(&folder),
            };
            // Whether the folder holds the recipe's source is not known, so its adapter is not taken unasked.
            let recipe = recipe.map(|recipe| Recipe { adapter: None, ..recipe });
            args.adapters.add_to(&mut options, &sources(args, recipe.as_ref())?)?;
            Ok(options)
        }
        Found::Hub { id, recipe } => {
            let recipe = asked.unwrap_or_else(|| recipe.map(|recipe| *recipe));
            let mut wanted = Wanted::new(id.clone(), recipe.clone(), &args.hub);
            wanted.pooling_known |= args.pooling.is_some();
            // The adapter belongs to the recipe's own model, and to its weights.
            let own = |recipe: &Recipe| recipe.source == id.as_str() && !args.onnx.is_given();
            let recipe = recipe.map(|recipe| match own(&recipe) {
                true => recipe,
                false => Recipe { adapter: None, ..recipe },
            });
            let sources = sources(args, recipe.as_ref())?;
            let mut options = hub::checkpoint(&wanted, &sources.cache_dir)?;
            args.adapters.add_to(&mut options, &sources)?;
            Ok(options)
        }
    }
}

fn sources<'s>(args: &'s ExportArgs, recipe: Option<&'s Recipe>) -> Result<Sources<'s>> {
    let cache_dir = places::cache_dir(args.cache_dir.as_deref())?;
    Ok(Sources { recipe, hub: &args.hub, cache_dir })
}
