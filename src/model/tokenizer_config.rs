//! `tokenizer_config.json`: what a checkpoint says about its tokenizer beside the tokenizer itself. Owns its reading and
//! the comparison with the normalizer of `tokenizer.json`: where transformers would make other tokens than that file
//! alone, the checkpoint is refused.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::architectures::Architecture;
use super::config::wrong;
use super::{Error, files, sentence};

const FILE: &str = "tokenizer_config.json";
/// Families whose tokenizer in transformers sets the fields below in a normalizer that says otherwise: how the names of
/// their classes begin, and the architectures that have them where no class is named.
const SETS_NORMALIZER: [(&str, &str); 4] =
    [("Bert", "bert"), ("DistilBert", "distilbert"), ("Electra", "electra"), ("MPNet", "mpnet")];

/// The fields that decide about tokens.
#[derive(Debug, Deserialize, Default)]
pub(super) struct TokenizerConfig {
    #[serde(skip)]
    path: PathBuf,
    tokenizer_class: Option<String>,
    /// Whether letters are made small.
    pub do_lower_case: Option<bool>,
    /// Whether accents are taken off; as letters are made small if `None`.
    pub strip_accents: Option<bool>,
    /// Whether every Chinese character is a word.
    pub tokenize_chinese_chars: Option<bool>,
    pad_token: Option<Value>,
    unk_token: Option<Value>,
    cls_token: Option<Value>,
    sep_token: Option<Value>,
    mask_token: Option<Value>,
    added_tokens_decoder: Option<Map<String, Value>>,
    model_max_length: Option<f64>,
    truncation_side: Option<String>,
}

impl TokenizerConfig {
    /// Reads the file in `folder`; without one, it says nothing.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE);
        let config: Self = files::json_if_present(&path)?.unwrap_or_default();
        match config.truncation_side.as_deref() {
            None | Some("right") => Ok(Self { path, ..config }),
            Some(other) => Err(wrong(&path, "truncation_side", &format!("`{other}`"), "`right`")),
        }
    }

    /// Refuses a tokenizer whose normalizer does something else than this file says, if transformers would follow this
    /// file. `tokenizer` is the file that `bytes` come from.
    pub fn check(&self, architecture: &Architecture, tokenizer: &Path, bytes: &[u8]) -> Result<(), Error> {
        let follows = |(class, name): &(&str, &str)| match &self.tokenizer_class {
            Some(found) => found.starts_with(class),
            None => architecture.name == *name,
        };
        if !SETS_NORMALIZER.iter().any(follows) {
            return Ok(());
        }
        let parsed: Value = files::json(tokenizer, bytes)?;
        let normalizer = &parsed["normalizer"];
        if self.do_lower_case == Some(true) && !sentence::lower_cases(normalizer) {
            return Err(Error::KeepsCapitals { path: self.path.clone(), tokenizer: tokenizer.to_owned() });
        }
        if normalizer["type"] != "BertNormalizer" {
            return Ok(());
        }
        let lowercase = normalizer["lowercase"].as_bool();
        for (field, asked, done) in [
            ("do_lower_case", self.do_lower_case, lowercase),
            ("strip_accents", self.strip_accents, normalizer["strip_accents"].as_bool().or(lowercase)),
            ("tokenize_chinese_chars", self.tokenize_chinese_chars, normalizer["handle_chinese_chars"].as_bool()),
        ] {
            if let (Some(asked), Some(done)) = (asked, done)
                && asked != done
            {
                let expected = format!("{done}, as in the normalizer of `{}`", tokenizer.display());
                return Err(wrong(&self.path, field, &asked.to_string(), &expected));
            }
        }
        Ok(())
    }

    /// Refuses special tokens that are not BERT's, and others that are added to its vocabulary.
    pub fn check_special(&self, special: [&str; 5]) -> Result<(), Error> {
        let named = [&self.pad_token, &self.unk_token, &self.cls_token, &self.sep_token, &self.mask_token];
        let fields = ["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"];
        for ((field, token), expected) in fields.into_iter().zip(named).zip(special) {
            if let Some(got) = token.as_ref().and_then(text).filter(|got| *got != expected) {
                return Err(wrong(&self.path, field, &format!("`{got}`"), &format!("`{expected}` beside vocab.txt")));
            }
        }
        let added = self.added_tokens_decoder.iter().flatten().filter_map(|(_, token)| text(token));
        match added.into_iter().find(|token| !special.contains(token)) {
            Some(token) => {
                let expected = format!("only {} beside vocab.txt", special.join(", "));
                Err(wrong(&self.path, "added_tokens_decoder", &format!("a list with `{token}`"), &expected))
            }
            None => Ok(()),
        }
    }

    /// The separator token's text; `[SEP]` where there is none.
    pub fn sep_token(&self) -> String {
        self.sep_token.as_ref().and_then(text).unwrap_or("[SEP]").to_owned()
    }

    /// "No limit" is written as a number near 10^30; the conversion saturates.
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length.filter(|length| *length > 0.0).map(|length| length as usize)
    }
}

/// A token is written as a string or as an object with its `content`.
fn text(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::architectures;

    fn refusal(config: &str, normalizer: &str, architecture: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), config).unwrap();
        let tokenizer = folder.path().join("tokenizer.json");
        let bytes = format!(r#"{{"normalizer": {normalizer}}}"#);
        let config = TokenizerConfig::open(folder.path()).unwrap();
        let error = config.check(architectures::find(architecture).unwrap(), &tokenizer, bytes.as_bytes()).err()?;
        Some(error.to_string().replace(&folder.path().display().to_string(), "DIR"))
    }

    const CASED: &str =
        r#"{"type": "BertNormalizer", "handle_chinese_chars": true, "strip_accents": null, "lowercase": false}"#;
    const UNCASED: &str =
        r#"{"type": "BertNormalizer", "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}"#;

    #[test]
    fn lower_case_that_the_normalizer_does_not_make_is_refused() {
        let capitals =
            "`DIR/tokenizer_config.json` asks for lower case (`do_lower_case`), `DIR/tokenizer.json` keeps capitals";
        for class in ["BertTokenizer", "DistilBertTokenizerFast", "ElectraTokenizer", "MPNetTokenizer"] {
            let config = format!(r#"{{"tokenizer_class": "{class}", "do_lower_case": true}}"#);
            assert_eq!(refusal(&config, CASED, "roberta").unwrap(), capitals);
            assert_eq!(refusal(&config, "null", "roberta").unwrap(), capitals);
            assert_eq!(refusal(&config, UNCASED, "roberta"), None);
        }
        // Without a class it is the architecture's.
        assert_eq!(refusal(r#"{"do_lower_case": true}"#, CASED, "bert").unwrap(), capitals);
        assert_eq!(refusal(r#"{"do_lower_case": true}"#, CASED, "roberta"), None);
        let other = r#"{"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": true}"#;
        assert_eq!(refusal(other, CASED, "bert"), None);
    }

    #[test]
    fn whatever_the_normalizer_does_otherwise_is_refused() {
        let file = "`DIR/tokenizer_config.json`";
        let as_in = "as in the normalizer of `DIR/tokenizer.json`";
        for (config, normalizer, field, got, done) in [
            (r#"{"do_lower_case": false}"#, UNCASED, "do_lower_case", false, true),
            (r#"{"strip_accents": false}"#, UNCASED, "strip_accents", false, true),
            (r#"{"strip_accents": true}"#, CASED, "strip_accents", true, false),
            (r#"{"tokenize_chinese_chars": false}"#, CASED, "tokenize_chinese_chars", false, true),
        ] {
            let expected = format!("{file}: `{field}` is {got}, expected {done}, {as_in}");
            assert_eq!(refusal(config, normalizer, "bert").unwrap(), expected);
        }
        for agreed in [
            r#"{"do_lower_case": true, "strip_accents": true, "tokenize_chinese_chars": true}"#,
            r#"{"do_lower_case": true, "strip_accents": null}"#,
            "{}",
        ] {
            assert_eq!(refusal(agreed, UNCASED, "bert"), None, "{agreed}");
        }
    }

    #[test]
    fn texts_are_cut_on_the_right_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), r#"{"truncation_side": "left"}"#).unwrap();
        let text = TokenizerConfig::open(folder.path()).unwrap_err().to_string();
        assert!(text.ends_with("tokenizer_config.json`: `truncation_side` is `left`, expected `right`"), "{text}");
    }
}
