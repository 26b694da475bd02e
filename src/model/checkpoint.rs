//! A Hugging Face or sentence-transformers folder: config, weights, tokenizer, and what they say about the vectors.
//! Owns the rules by which the files answer questions (which pooling, which length); knows no operators.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::sentence::{SentenceConfig, SentenceModules};
use super::tokenizer_config::TokenizerConfig;
use super::{EncoderConfig, Error, Pooling, WEIGHTS_FILES, Weights, files, license, vocabulary};

/// Weights in formats that are not read.
const OTHER_WEIGHTS: [&str; 3] = ["tf_model.h5", "flax_model.msgpack", "model.ckpt.index"];

/// The shortest max length: one word piece between the two special tokens.
pub(super) const LEAST_LENGTH: usize = 3;

/// An opened checkpoint: all its files are there, parse, and agree where this can be seen without reading weights.
#[derive(Debug)]
pub struct Checkpoint {
    small: SmallFiles,
    weights: Weights,
}

/// What all files but the weights say.
#[derive(Debug)]
struct SmallFiles {
    folder: PathBuf,
    config: EncoderConfig,
    tokenizer: Vec<u8>,
    modules: SentenceModules,
    sep_token: String,
    model_max_length: Option<usize>,
    max_seq_length: Option<usize>,
}

impl Checkpoint {
    /// Opens a folder. Weights are mapped and their header is checked; their numbers are read later.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let small = SmallFiles::open(folder)?;
        let encoder = &small.modules.encoder;
        let weights = Weights::in_folder(encoder)?;
        let weights = weights.ok_or_else(|| absent(encoder, "model.safetensors", &OTHER_WEIGHTS))?;
        Ok(Self { small, weights })
    }

    /// Whether [`Checkpoint::open`] would take all files of a folder but the weights, which need not be there yet.
    pub fn check_without_weights(folder: &Path) -> Result<(), Error> {
        SmallFiles::open(folder).map(|_| ())
    }

    /// Whether there are weights in a folder, in a format that is read or not.
    pub fn has_weights(folder: &Path) -> Result<bool, Error> {
        let encoder = SentenceModules::open(folder)?.encoder;
        Ok(WEIGHTS_FILES.iter().chain(&OTHER_WEIGHTS).any(|name| encoder.join(name).is_file()))
    }

    /// The folder that was opened.
    pub fn folder(&self) -> &Path {
        &self.small.folder
    }

    /// The encoder's sizes and constants.
    pub fn config(&self) -> &EncoderConfig {
        &self.small.config
    }

    /// The weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The bytes of `tokenizer.json`, or of the one that `vocab.txt` stands for.
    pub fn tokenizer(&self) -> &[u8] {
        &self.small.tokenizer
    }

    /// The separator token's text; `[SEP]` where the tokenizer's config has none.
    pub fn sep_token(&self) -> &str {
        &self.small.sep_token
    }

    /// The licence that was asked for, else the one that README.md names, in the folder or beside the encoder.
    ///
    /// # Errors
    /// A README.md that cannot be read.
    pub fn license(&self, asked: Option<&str>) -> Result<Option<String>, Error> {
        let SmallFiles { folder, modules, .. } = &self.small;
        match asked {
            Some(asked) => Ok(Some(asked.to_owned())),
            None => Ok(license::license_in(folder)?.or(license::license_in(&modules.encoder)?)),
        }
    }

    /// The pooling asked for, else the checkpoint's own, else for a classifier the one that its head reads; an error if
    /// none of these is there: it is never guessed.
    pub fn pooling(&self, asked: Option<Pooling>) -> Result<Pooling, Error> {
        let SmallFiles { folder, config, modules, .. } = &self.small;
        let head = config.classification.as_ref().map(|_| config.head_pooling);
        asked.or(modules.pooling).or(head).ok_or_else(|| Error::NoPooling { folder: folder.clone() })
    }

    /// An error if sentence-transformers would put a prompt before every text and `template` doesn't begin with it.
    pub fn check_template(&self, template: &str) -> Result<(), Error> {
        self.small.modules.prompt.as_ref().map_or(Ok(()), |prompt| prompt.check_template(template))
    }

    /// What was asked for, else whether the checkpoint has a Normalize module.
    pub fn normalize(&self, asked: Option<bool>) -> bool {
        asked.unwrap_or(self.small.modules.normalize)
    }

    /// The longest input in tokens, special ones included: what was asked for, else `sentence_bert_config.json`, else
    /// the smaller of the tokenizer's `model_max_length` and the position table. A length that the position table
    /// can't serve, or below 3, is an error.
    pub fn max_length(&self, asked: Option<usize>) -> Result<usize, Error> {
        let SmallFiles { folder, config, model_max_length, max_seq_length, .. } = &self.small;
        let most = config.longest_input();
        let fallback = || model_max_length.map_or(most, |length| length.min(most));
        let got = asked.or(*max_seq_length).unwrap_or_else(fallback);
        if (LEAST_LENGTH..=most).contains(&got) {
            return Ok(got);
        }
        Err(Error::MaxLength { folder: folder.clone(), got, least: LEAST_LENGTH, most })
    }
}

impl SmallFiles {
    fn open(folder: &Path) -> Result<Self, Error> {
        let modules = SentenceModules::open(folder)?;
        let encoder = &modules.encoder;
        let config = EncoderConfig::open(&present(encoder, "config.json", &[])?)?;
        let tokenizer_config = TokenizerConfig::open(encoder)?;
        let (tokenizer_path, tokenizer) = vocabulary::tokenizer(encoder, config.architecture, &tokenizer_config)?;
        check_vocabulary(&tokenizer_path, &tokenizer, config.vocab_size)?;
        tokenizer_config.check(config.architecture, &tokenizer_path, &tokenizer)?;
        let max_seq_length = SentenceConfig::open(encoder, &tokenizer_path, &tokenizer)?.max_seq_length;
        Ok(Self {
            folder: folder.to_owned(),
            config,
            tokenizer,
            sep_token: tokenizer_config.sep_token(),
            model_max_length: tokenizer_config.model_max_length(),
            max_seq_length,
            modules,
        })
    }
}

fn present(folder: &Path, file: &'static str, instead: &[&'static str]) -> Result<PathBuf, Error> {
    let path = folder.join(file);
    if path.is_file() { Ok(path) } else { Err(absent(folder, file, instead)) }
}

fn absent(folder: &Path, file: &'static str, instead: &[&'static str]) -> Error {
    let instead = instead.iter().copied().find(|name| folder.join(name).is_file());
    Error::NoFile { folder: folder.to_owned(), file, instead }
}

/// Every id that the tokenizer can give must be a row of the embedding table.
pub(super) fn check_vocabulary(path: &Path, bytes: &[u8], vocab_size: usize) -> Result<(), Error> {
    let tokenizer: Value = files::json(path, bytes)?;
    let listed = match &tokenizer["model"]["vocab"] {
        Value::Object(vocabulary) => vocabulary.values().filter_map(Value::as_u64).max(),
        Value::Array(vocabulary) => (vocabulary.len() as u64).checked_sub(1),
        _ => None,
    };
    let added = tokenizer["added_tokens"].as_array().into_iter().flatten().filter_map(|token| token["id"].as_u64());
    match added.chain(listed).max() {
        Some(max_id) if max_id >= vocab_size as u64 => {
            Err(Error::VocabularyTooLarge { path: path.to_owned(), max_id, vocab_size })
        }
        _ => Ok(()),
    }
}
