//! A Hugging Face or sentence-transformers folder: config, weights, tokenizer, and what they say about the vectors.
//! Owns the rules by which the files answer questions (which pooling, which length); knows no operators.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::sentence::{SentenceConfig, SentenceModules};
use super::{EncoderConfig, Error, Pooling, Weights, files, vocabulary};

/// Weights in formats that are not read.
const OTHER_WEIGHTS: [&str; 3] = ["tf_model.h5", "flax_model.msgpack", "model.ckpt.index"];
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// The shortest max length: one word piece between the two special tokens.
const LEAST_LENGTH: usize = 3;

/// An opened checkpoint: all its files are there, parse, and agree where this can be seen without reading weights.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    config: EncoderConfig,
    weights: Weights,
    tokenizer: Vec<u8>,
    modules: SentenceModules,
    sep_token: String,
    model_max_length: Option<usize>,
    max_seq_length: Option<usize>,
}

#[derive(Deserialize, Default)]
struct TokenizerConfig {
    sep_token: Option<Value>,
    model_max_length: Option<f64>,
    truncation_side: Option<String>,
}

impl Checkpoint {
    /// Opens a folder. Weights are mapped and their header is checked; their numbers are read later.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let modules = SentenceModules::open(folder)?;
        let encoder = &modules.encoder;
        let config = EncoderConfig::open(&present(encoder, "config.json", &[])?)?;
        let weights = Weights::in_folder(encoder)?;
        let weights = weights.ok_or_else(|| absent(encoder, "model.safetensors", &OTHER_WEIGHTS))?;
        let (tokenizer_path, tokenizer) = vocabulary::tokenizer(encoder)?;
        check_vocabulary(&tokenizer_path, &tokenizer, config.vocab_size)?;
        let path = encoder.join(TOKENIZER_CONFIG);
        let tokenizer_config: TokenizerConfig = files::json_if_present(&path)?.unwrap_or_default();
        tokenizer_config.check(&path)?;
        let max_seq_length = SentenceConfig::open(encoder, &tokenizer_path, &tokenizer)?.max_seq_length;
        Ok(Self {
            folder: folder.to_owned(),
            weights,
            config,
            tokenizer,
            sep_token: tokenizer_config.sep_token(),
            model_max_length: tokenizer_config.model_max_length(),
            max_seq_length,
            modules,
        })
    }

    /// The folder that was opened.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The encoder's sizes and constants.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The bytes of `tokenizer.json`, or of the one that `vocab.txt` stands for.
    pub fn tokenizer(&self) -> &[u8] {
        &self.tokenizer
    }

    /// The separator token's text; `[SEP]` where the tokenizer's config has none.
    pub fn sep_token(&self) -> &str {
        &self.sep_token
    }

    /// The pooling asked for, else the checkpoint's own, else for a classifier the first token, whose state its head
    /// reads; an error if none of these is there: it is never guessed.
    pub fn pooling(&self, asked: Option<Pooling>) -> Result<Pooling, Error> {
        let head = self.config.classification.as_ref().map(|_| Pooling::Cls);
        asked.or(self.modules.pooling).or(head).ok_or_else(|| Error::NoPooling { folder: self.folder.clone() })
    }

    /// An error if sentence-transformers would put a prompt before every text and `template` doesn't begin with it.
    pub fn check_template(&self, template: &str) -> Result<(), Error> {
        self.modules.prompt.as_ref().map_or(Ok(()), |prompt| prompt.check_template(template))
    }

    /// What was asked for, else whether the checkpoint has a Normalize module.
    pub fn normalize(&self, asked: Option<bool>) -> bool {
        asked.unwrap_or(self.modules.normalize)
    }

    /// The longest input in tokens, special ones included: what was asked for, else `sentence_bert_config.json`, else
    /// the smaller of the tokenizer's `model_max_length` and the position table. A length that the position table
    /// can't serve, or below 3, is an error.
    pub fn max_length(&self, asked: Option<usize>) -> Result<usize, Error> {
        let most = self.config.longest_input();
        let fallback = || self.model_max_length.map_or(most, |length| length.min(most));
        let got = asked.or(self.max_seq_length).unwrap_or_else(fallback);
        if (LEAST_LENGTH..=most).contains(&got) {
            return Ok(got);
        }
        Err(Error::MaxLength { folder: self.folder.clone(), got, least: LEAST_LENGTH, most })
    }
}

impl TokenizerConfig {
    fn check(&self, path: &Path) -> Result<(), Error> {
        match self.truncation_side.as_deref() {
            None | Some("right") => Ok(()),
            Some(other) => Err(Error::Field {
                path: path.to_owned(),
                field: "truncation_side".to_owned(),
                got: format!("`{other}`"),
                expected: "`right`".to_owned(),
            }),
        }
    }

    /// A token is written as a string or as an object with its `content`.
    fn sep_token(&self) -> String {
        let token = self.sep_token.as_ref();
        let text = token.and_then(|token| token.as_str().or_else(|| token.get("content")?.as_str()));
        text.unwrap_or("[SEP]").to_owned()
    }

    /// "No limit" is written as a number near 10^30; the conversion saturates.
    fn model_max_length(&self) -> Option<usize> {
        self.model_max_length.filter(|length| *length > 0.0).map(|length| length as usize)
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
fn check_vocabulary(path: &Path, bytes: &[u8], vocab_size: usize) -> Result<(), Error> {
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
