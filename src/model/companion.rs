//! The files beside a graph that another program exported: config, tokenizer and sentence-transformers modules, without
//! weights. Says less than a `Checkpoint`: the config need not be one that a graph can be built from, only what the
//! graph can't tell is read from it.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::architectures::{self, Architecture, Padding, Positions};
use super::checkpoint::{LEAST_LENGTH, check_vocabulary};
use super::sentence::{SentenceConfig, SentenceModules};
use super::tokenizer_config::TokenizerConfig;
use super::{Classification, Error, FOREIGN_ARCHITECTURE, Pooling, files, license, vocabulary};

/// What stands in the folder of an exported graph, or of the checkpoint that it was made from.
#[derive(Debug)]
pub struct Companion {
    folder: PathBuf,
    config: PathBuf,
    fields: Map<String, Value>,
    architecture: Option<&'static Architecture>,
    tokenizer: Vec<u8>,
    tokenizer_config: TokenizerConfig,
    modules: SentenceModules,
    max_seq_length: Option<usize>,
}

impl Companion {
    /// Opens `config.json`, the tokenizer and the modules of `folder`; weights need not be there.
    ///
    /// # Errors
    /// A file that is missing or broken, a module that changes vectors and is not supported, a tokenizer that gives
    /// ids beyond `vocab_size`.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let modules = SentenceModules::open(folder)?;
        let encoder = &modules.encoder;
        let config = encoder.join("config.json");
        if !config.is_file() {
            return Err(Error::NoFile { folder: encoder.clone(), file: "config.json", instead: None });
        }
        let fields: Map<String, Value> = files::json(&config, &files::read(&config)?)?;
        let architecture = fields.get("model_type").and_then(Value::as_str).and_then(architectures::find);
        let tokenizer_config = TokenizerConfig::open(encoder)?;
        let (path, tokenizer) = match architecture {
            Some(architecture) => vocabulary::tokenizer(encoder, architecture, &tokenizer_config)?,
            None => vocabulary::tokenizer_json(encoder)?,
        };
        if let Some(size) = fields.get("vocab_size").and_then(Value::as_u64) {
            check_vocabulary(&path, &tokenizer, usize::try_from(size).unwrap_or(usize::MAX))?;
        }
        if let Some(architecture) = architecture {
            tokenizer_config.check(architecture, &path, &tokenizer)?;
        }
        let max_seq_length = SentenceConfig::open(encoder, &path, &tokenizer)?.max_seq_length;
        let folder = folder.to_owned();
        Ok(Self { folder, config, fields, architecture, tokenizer, tokenizer_config, modules, max_seq_length })
    }

    /// The family, where it is one that is known, else [`FOREIGN_ARCHITECTURE`].
    pub fn architecture(&self) -> &'static str {
        self.architecture.map_or(FOREIGN_ARCHITECTURE, |architecture| architecture.name)
    }

    /// The bytes of `tokenizer.json`, or of the one that `vocab.txt` stands for.
    pub fn tokenizer(&self) -> &[u8] {
        &self.tokenizer
    }

    /// The separator token's text; `[SEP]` where the tokenizer's config has none.
    pub fn sep_token(&self) -> String {
        self.tokenizer_config.sep_token()
    }

    /// Width of a token state, where the config says so under one of the usual names.
    pub fn hidden_size(&self) -> Option<usize> {
        let usual = self.architecture.map_or("hidden_size", |architecture| architecture.fields.hidden_size);
        let size = [usual, "hidden_size", "dim"].iter().find_map(|name| self.fields.get(*name)?.as_u64());
        size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0)
    }

    /// The pooling asked for, else that of the modules; an error if there is neither: it is never guessed.
    pub fn pooling(&self, asked: Option<Pooling>) -> Result<Pooling, Error> {
        asked.or(self.modules.pooling).ok_or_else(|| Error::NoPooling { folder: self.folder.clone() })
    }

    /// What was asked for, else whether there is a Normalize module.
    pub fn normalize(&self, asked: Option<bool>) -> bool {
        asked.unwrap_or(self.modules.normalize)
    }

    /// An error if sentence-transformers would put a prompt before every text and `template` doesn't begin with it.
    pub fn check_template(&self, template: &str) -> Result<(), Error> {
        self.modules.prompt.as_ref().map_or(Ok(()), |prompt| prompt.check_template(template))
    }

    /// The licence that was asked for, else the one that the folder's README.md names.
    ///
    /// # Errors
    /// A README.md that cannot be read.
    pub fn license(&self, asked: Option<&str>) -> Result<Option<String>, Error> {
        match asked {
            Some(asked) => Ok(Some(asked.to_owned())),
            None => license::license_in(&self.folder),
        }
    }

    /// The labels and the task of a classifier, as config.json has them.
    pub fn classification(&self) -> Result<Classification, Error> {
        Classification::of_fields(&self.config, &self.fields)
    }

    /// The longest input in tokens: what was asked for, else `sentence_bert_config.json`, else the smaller of the
    /// tokenizer's `model_max_length` and the config's position table. Below 3 or beyond the table it is an error, and
    /// so is a folder that says none of them.
    pub fn max_length(&self, asked: Option<usize>) -> Result<usize, Error> {
        let most = self.longest_input();
        let told = [self.tokenizer_config.model_max_length().filter(|length| *length < 1 << 30), most];
        let got = asked.or(self.max_seq_length).or_else(|| told.into_iter().flatten().min());
        let folder = self.folder.clone();
        let Some(got) = got else { return Err(Error::NoMaxLength { folder }) };
        let most = most.unwrap_or(usize::MAX);
        if (LEAST_LENGTH..=most).contains(&got) {
            return Ok(got);
        }
        Err(Error::MaxLength { folder, got, least: LEAST_LENGTH, most })
    }

    /// What is added to a token's place to get its position, for families whose way of counting is known: the first
    /// token's position.
    pub fn first_position(&self) -> Option<usize> {
        Some(match self.architecture?.positions {
            Positions::FromZero | Positions::Rotary => 0,
            Positions::AfterPadding(Padding::Id(id)) => id + 1,
            Positions::AfterPadding(Padding::Field(name)) => {
                let id = self.fields.get(name).map_or(Some(1), Value::as_u64)?;
                usize::try_from(id).ok()?.checked_add(1)?
            }
        })
    }

    fn longest_input(&self) -> Option<usize> {
        let table = self.fields.get("max_position_embeddings")?.as_u64()?;
        let table = usize::try_from(table).ok().filter(|rows| *rows <= i32::MAX as usize)?;
        table.checked_sub(self.first_position().unwrap_or(0))
    }
}
