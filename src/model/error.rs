//! What can be wrong with a checkpoint, a recipe or a bundle. Each message names the user's file or tensor and gives
//! both values; what another library said stays in the source chain.

use std::io;
use std::path::PathBuf;

/// Errors of this room; [`Error::hint`] gives the way out where one is known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read.
    #[error("could not read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A JSON file does not parse, or a field in it has another type.
    #[error("`{path}` could not be understood")]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        #[source]
        source: serde_json::Error,
    },
    /// A TOML file does not parse, has an unknown field or lacks one.
    #[error("`{path}` could not be understood")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A flag or field holds a word that is none of the known choices.
    #[error("unknown {what} `{word}`, known are: {known}")]
    UnknownChoice {
        /// What was to be chosen.
        what: &'static str,
        /// The word found.
        word: String,
        /// The words that would do.
        known: String,
    },
    /// The folder lacks a file that a checkpoint needs.
    #[error("checkpoint `{folder}` has no `{file}`")]
    NoFile {
        /// The checkpoint.
        folder: PathBuf,
        /// The missing file.
        file: &'static str,
        /// A file that is there in its place and that could be turned into it.
        instead: Option<&'static str>,
    },
    /// The checkpoint's architecture is not among those that graphs can be built for.
    #[error("`{path}` asks for the architecture `{name}`, supported are: {supported}")]
    UnknownArchitecture {
        /// The config file.
        path: PathBuf,
        /// `model_type` of the config.
        name: String,
        /// The supported names.
        supported: String,
    },
    /// A field has a value that is legal elsewhere but not supported here.
    #[error("`{path}`: `{field}` is {got}, expected {expected}")]
    Field {
        /// The file.
        path: PathBuf,
        /// The field's name.
        field: String,
        /// Its value.
        got: String,
        /// What would do.
        expected: String,
    },
    /// Neither the checkpoint nor the caller says how to pool.
    #[error("checkpoint `{folder}` does not say how its token states become one vector (no `1_Pooling/config.json`)")]
    NoPooling {
        /// The checkpoint.
        folder: PathBuf,
    },
    /// A masked word is to be guessed and the checkpoint has no head for it.
    #[error("`{path}` has no masked-LM head (no tensor `{expected}`)")]
    NoMaskedLm {
        /// The weights.
        path: PathBuf,
        /// A tensor that such a head has.
        expected: String,
    },
    /// A sentence-transformers module that would change the vectors and is not supported.
    #[error("`{path}` applies the module `{module}` to its vectors, supported are: Transformer, Pooling, Normalize")]
    UnsupportedModule {
        /// `modules.json`.
        path: PathBuf,
        /// The last part of the module's type.
        module: String,
    },
    /// A safetensors file whose header is broken.
    #[error("`{path}` is not a valid safetensors file: {problem}")]
    WeightsHeader {
        /// The file.
        path: PathBuf,
        /// What is wrong, with both numbers.
        problem: String,
    },
    /// A safetensors header that is no JSON of the expected form.
    #[error("`{path}` is not a valid safetensors file: its header could not be understood")]
    WeightsHeaderJson {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        #[source]
        source: serde_json::Error,
    },
    /// A tensor whose entry in the header contradicts itself or the file.
    #[error("tensor `{tensor}` in `{path}` {problem}")]
    TensorEntry {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong, with both numbers.
        problem: String,
    },
    /// The weights lack tensors that the config asks for.
    #[error("`{path}` has no {}, which config.json asks for", listed(tensors))]
    NoTensors {
        /// The weights.
        path: PathBuf,
        /// All that are missing, at least one.
        tensors: Vec<String>,
    },
    /// A file of `torch.save` that is broken or holds something else than weights.
    #[error("`{path}` is not a file of weights that `torch.save` wrote: {problem}")]
    TorchFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, with both numbers.
        problem: String,
    },
    /// A file of `torch.save` whose zip archive is broken.
    #[error("`{path}` is not a file of weights that `torch.save` wrote: its archive could not be read")]
    TorchArchive {
        /// The file.
        path: PathBuf,
        /// What the reader of zip archives said.
        #[source]
        source: zip::result::ZipError,
    },
    /// A pickle that asks for a name that weights don't need; loading it in Python would run code.
    #[error("`{path}` asks for `{name}`, which is no part of a file of weights")]
    PickleGlobal {
        /// The file.
        path: PathBuf,
        /// Module and name.
        name: String,
    },
    /// A file of `torch.save` from before torch 1.6.
    #[error("`{path}` has the format of torch before 1.6")]
    LegacyTorch {
        /// The file.
        path: PathBuf,
    },
    /// A tensor has another shape than the config asks for.
    #[error("tensor `{tensor}` in `{path}` has shape {got:?}, config.json asks for {expected:?}")]
    TensorShape {
        /// The weights.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape.
        got: Vec<usize>,
        /// The shape that follows from the config.
        expected: Vec<usize>,
    },
    /// A tensor holds numbers of a type that weights can't be read from.
    #[error("tensor `{tensor}` in `{path}` has type {got}, supported are: F32, F16, BF16")]
    TensorType {
        /// The weights.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        got: String,
    },
    /// A weight is no number.
    #[error("tensor `{tensor}` in `{path}` holds {value} at element {index} of {count}")]
    NotFinite {
        /// The weights.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// `NaN`, `inf` or `-inf`.
        value: f32,
        /// Where, counted from 0 in storage order.
        index: usize,
        /// How many elements the tensor has.
        count: usize,
    },
    /// The weights hold more or fewer layers than the config says.
    #[error("`{path}` holds {got} layers, config.json asks for {expected}")]
    LayerCount {
        /// The weights.
        path: PathBuf,
        /// Layers found.
        got: usize,
        /// `num_hidden_layers`.
        expected: usize,
    },
    /// The tokenizer knows ids that the embedding table does not have.
    #[error("`{path}` has token ids up to {max_id}, config.json gives a table of {vocab_size} rows")]
    VocabularyTooLarge {
        /// `tokenizer.json`.
        path: PathBuf,
        /// The largest id.
        max_id: u64,
        /// `vocab_size` of the config.
        vocab_size: usize,
    },
    /// A prompt that sentence-transformers would put before every text, and the template doesn't.
    #[error(
        "`{path}` puts the prompt `{prompt}` before every text (`default_prompt_name` is `{name}`), the template does not"
    )]
    DefaultPrompt {
        /// `config_sentence_transformers.json`.
        path: PathBuf,
        /// The prompt's name.
        name: String,
        /// Its text.
        prompt: String,
        /// Its text as a template has it.
        written: String,
    },
    /// Lower case is asked for, and the tokenizer doesn't make it.
    #[error("`{path}` asks for lower case (`do_lower_case`), `{tokenizer}` keeps capitals")]
    KeepsCapitals {
        /// The file that asks.
        path: PathBuf,
        /// `tokenizer.json`.
        tokenizer: PathBuf,
    },
    /// Nothing says how long an input may be.
    #[error("no file in `{folder}` says how many tokens an input may have")]
    NoMaxLength {
        /// The folder beside an ONNX file.
        folder: PathBuf,
    },
    /// A max length that the position table can't serve, or that leaves no room for text.
    #[error("max length {got} is out of range for `{folder}`: at least {least}, at most {most} (its position table)")]
    MaxLength {
        /// The checkpoint.
        folder: PathBuf,
        /// The length asked for.
        got: usize,
        /// The smallest length that holds one word piece between the two special tokens.
        least: usize,
        /// Rows of the position table.
        most: usize,
    },
    /// A folder that is no bundle.
    #[error("`{dir}` is not a bundle: it has no `bundle.toml`")]
    NoBundle {
        /// The folder.
        dir: PathBuf,
    },
    /// A bundle or recipe of another format version.
    #[error("`{path}` has format {got}, this version of offprint reads formats {oldest} to {newest}")]
    Format {
        /// `bundle.toml`.
        path: PathBuf,
        /// The format found.
        got: u32,
        /// The oldest format read.
        oldest: u32,
        /// The newest format read.
        newest: u32,
    },
    /// A file's bytes are not those that were written down.
    #[error("`{path}` has {algorithm} {got}, expected {expected}")]
    Hash {
        /// The file.
        path: PathBuf,
        /// Name of the hash.
        algorithm: &'static str,
        /// Hash of the bytes found.
        got: String,
        /// Hash written down.
        expected: String,
    },
    /// The weights beside a graph are not whole, or not its own.
    #[error("`{path}` has {got} bytes, expected {expected}")]
    DataSize {
        /// The data file.
        path: PathBuf,
        /// Its size.
        got: u64,
        /// The size in bundle.toml.
        expected: u64,
    },
    /// The graph file can't be an ONNX model.
    #[error("`{path}` is not a whole ONNX model: {problem}")]
    NotOnnx {
        /// The graph.
        path: PathBuf,
        /// What is wrong, with both numbers.
        problem: String,
    },
    /// The graph's own copy of the bundle's fields says something else.
    #[error("`{graph}` and `bundle.toml` disagree on `{field}`: {got} in the graph, {expected} in bundle.toml")]
    MetadataDiffers {
        /// The graph.
        graph: PathBuf,
        /// The field.
        field: String,
        /// Value in the graph's metadata, `none` where it is missing.
        got: String,
        /// Value in `bundle.toml`, `none` where it is missing.
        expected: String,
    },
    /// What is wrong with an adapter.
    #[error(transparent)]
    Adapter(#[from] super::AdapterError),
    /// A recipe that promises checked files but lists none, or that points outside the checkpoint.
    #[error("recipe `{path}`: {problem}")]
    Recipe {
        /// The recipe.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// How many missing tensors a message names.
const LISTED: usize = 4;

/// "tensor `a`", or "3 tensors: `a`, `b`, `c`", or the first few and how many more.
fn listed(names: &[String]) -> String {
    let first: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    match names.len() {
        1 => format!("tensor {}", first[0]),
        count if count <= LISTED => format!("tensors {}", first.join(", ")),
        count => format!("tensors {} and {} more", first.join(", "), count - LISTED),
    }
}

impl Error {
    /// The way out, where one is known to apply.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Adapter(error) => return error.hint(),
            Self::NoFile { file, instead: Some(instead), .. } => {
                return Some(format!(
                    "save `{instead}` as `{file}` once with transformers (`save_pretrained` of the model and its fast tokenizer)"
                ));
            }
            Self::DefaultPrompt { written, .. } => {
                return Some(format!(
                    "`--template \"{written}{{title}}{{sep}}{{abstract}}\"` does so too; to go without a prompt, set \
                     `default_prompt_name` to null in that file"
                ));
            }
            Self::KeepsCapitals { .. } => {
                "give tokenizer.json a `Lowercase` normalizer, or set `do_lower_case` to false if capitals are wanted"
            }
            Self::MaxLength { most, .. } => return Some(format!("`--max-length {most}` is the longest that fits")),
            Self::NoMaxLength { .. } => "name the longest input that the model was made for: `--max-length N`",
            Self::NoPooling { .. } => {
                "name the pooling that the model was trained with: `--pooling cls` or `--pooling mean`"
            }
            Self::NoMaskedLm { .. } => {
                "only a checkpoint as it was pre-trained has one (of ELECTRA, the generator): fine-tuning drops it"
            }
            Self::TensorShape { .. } | Self::LayerCount { .. } | Self::NoTensors { .. } => {
                "weights and config.json look like different models"
            }
            Self::PickleGlobal { .. } | Self::TorchFile { .. } => {
                "nothing in the file was executed; if you trust it, load it with transformers and save it as safetensors (`save_pretrained`)"
            }
            Self::LegacyTorch { .. } => {
                "write it anew: python -c \"import torch; w = torch.load('pytorch_model.bin', weights_only=True); torch.save(w, 'pytorch_model.bin')\""
            }
            Self::VocabularyTooLarge { .. } => "tokenizer.json and config.json look like different models",
            Self::NoBundle { .. } => "make one with `offprint export --model DIR -o BUNDLE`",
            Self::Format { got, newest, .. } if got > newest => "use a newer offprint, or export the bundle again",
            Self::Format { .. } | Self::MetadataDiffers { .. } => "export the bundle again",
            Self::DataSize { .. } => "copy the bundle again, or export it again",
            Self::Hash { algorithm: "BLAKE3", .. } => "the bundle was changed after its export: export it again",
            Self::Hash { .. } => {
                "these are not the files that the recipe was verified with: export with `--recipe none` and say \
                 yourself what it said"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}
