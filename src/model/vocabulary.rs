//! The tokenizer of a checkpoint: `tokenizer.json` as it is, or the one that a BERT checkpoint from before that file
//! means by its `vocab.txt` (one word piece a line, its number is its id). Owns that translation, which is the one that
//! transformers' fast BERT tokenizer makes; a vocabulary that says too little is refused and never guessed at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::architectures::Architecture;
use super::config::wrong;
use super::tokenizer_config::TokenizerConfig;
use super::{Error, files};

const TOKENIZER: &str = "tokenizer.json";
const VOCABULARY: &str = "vocab.txt";
/// Tokens beside those of `vocab.txt`, with their ids.
const ADDED: &str = "added_tokens.json";
/// The architectures whose `vocab.txt` is one of BERT's.
const OF_BERT: [&str; 3] = ["bert", "distilbert", "electra"];
/// Padding, unknown, begin, end, mask: in the order of their usual ids.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// `tokenizer.json` of a folder, and nothing in its place.
pub(super) fn tokenizer_json(encoder: &Path) -> Result<(PathBuf, Vec<u8>), Error> {
    let path = encoder.join(TOKENIZER);
    let bytes = files::read_if_present(&path)?;
    let absent = || Error::NoFile { folder: encoder.to_owned(), file: TOKENIZER, instead: None };
    Ok((path, bytes.ok_or_else(absent)?))
}

/// The file that the tokenizer comes from, and the bytes of its `tokenizer.json`. `config` is the tokenizer's beside it.
pub(super) fn tokenizer(
    encoder: &Path,
    architecture: &Architecture,
    config: &TokenizerConfig,
) -> Result<(PathBuf, Vec<u8>), Error> {
    let path = encoder.join(TOKENIZER);
    if let Some(bytes) = files::read_if_present(&path)? {
        return Ok((path, bytes));
    }
    let vocabulary = encoder.join(VOCABULARY);
    let absent = |instead| Error::NoFile { folder: encoder.to_owned(), file: TOKENIZER, instead };
    let Some(bytes) = files::read_if_present(&vocabulary)? else { return Err(absent(None)) };
    if !OF_BERT.contains(&architecture.name) {
        return Err(absent(Some(VOCABULARY)));
    }
    let path = encoder.join(ADDED);
    let added: Map<String, Value> = files::json_if_present(&path)?.unwrap_or_default();
    if let Some(token) = added.keys().next() {
        return Err(wrong(&path, token, "an added token", "none beside vocab.txt; tokenizer.json can hold them"));
    }
    config.check_special(SPECIAL)?;
    let json = from_vocabulary(&vocabulary, &bytes, config)?;
    Ok((vocabulary, json))
}

fn from_vocabulary(path: &Path, bytes: &[u8], config: &TokenizerConfig) -> Result<Vec<u8>, Error> {
    let wrong = |field: &str, got: String, expected: &str| wrong(path, field, &got, expected);
    let text = std::str::from_utf8(bytes).map_err(|error| wrong("encoding", error.to_string(), "UTF-8"))?;
    let pieces: BTreeMap<&str, usize> =
        text.strip_suffix('\n').unwrap_or(text).split('\n').enumerate().map(|(id, piece)| (piece, id)).collect();
    if let Some(missing) = SPECIAL.iter().find(|special| !pieces.contains_key(**special)) {
        return Err(wrong(missing, "missing".to_owned(), "a line of its own, as in BERT's vocabularies"));
    }
    let lower_case = match config.do_lower_case {
        Some(lower_case) => lower_case,
        None => {
            // Transformers would lower-case; for a cased model that is the wrong text.
            let cased = pieces.keys().filter(|piece| !piece.starts_with('[') && piece.bytes().any(is_upper)).count();
            if cased * 100 > pieces.len() {
                let got = format!("not said, and {cased} of {} pieces have upper case", pieces.len());
                return Err(wrong("do_lower_case", got, "true or false in tokenizer_config.json"));
            }
            true
        }
    };
    let special = |token: &str| json!({"id": token, "ids": [pieces[token]], "tokens": [token]});
    let added = SPECIAL.map(|token| {
        json!({"id": pieces[token], "content": token, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    });
    let place = |token: &str, kind: u8| json!({"SpecialToken": {"id": token, "type_id": kind}});
    let sequence = |name: &str, kind: u8| json!({"Sequence": {"id": name, "type_id": kind}});
    let tokenizer: Value = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true,
            "handle_chinese_chars": config.tokenize_chinese_chars.unwrap_or(true),
            "strip_accents": config.strip_accents, "lowercase": lower_case},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [place("[CLS]", 0), sequence("A", 0), place("[SEP]", 0)],
            "pair": [place("[CLS]", 0), sequence("A", 0), place("[SEP]", 0), sequence("B", 1), place("[SEP]", 1)],
            "special_tokens": {"[CLS]": special("[CLS]"), "[SEP]": special("[SEP]")}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": pieces},
    });
    Ok(tokenizer.to_string().into_bytes())
}

fn is_upper(byte: u8) -> bool {
    byte.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::architectures;

    const PIECES: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\n##s\n";

    fn open(folder: &Path, architecture: &str) -> Result<(PathBuf, Vec<u8>), Error> {
        tokenizer(folder, architectures::find(architecture).unwrap(), &TokenizerConfig::open(folder)?)
    }

    fn made(vocabulary: &str, config: Option<&str>) -> Result<Value, String> {
        let files = config.map(|config| ("tokenizer_config.json", config));
        made_beside(vocabulary, files.as_slice(), "bert")
    }

    fn made_beside(vocabulary: &str, files: &[(&str, &str)], architecture: &str) -> Result<Value, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(VOCABULARY), vocabulary).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        match open(folder.path(), architecture) {
            Ok((path, bytes)) => {
                assert!(path.ends_with(VOCABULARY));
                Ok(serde_json::from_slice(&bytes).unwrap())
            }
            Err(error) => Err(error.to_string().replace(&folder.path().display().to_string(), "DIR")),
        }
    }

    #[test]
    fn a_vocabulary_says_what_the_config_leaves_open() {
        let plain = made(PIECES, None).unwrap();
        assert_eq!(plain["model"]["vocab"]["##s"], 6);
        assert_eq!(plain["model"]["vocab"].as_object().unwrap().len(), 7);
        assert_eq!(
            (&plain["normalizer"]["lowercase"], &plain["normalizer"]["strip_accents"]),
            (&json!(true), &Value::Null)
        );
        let config = r#"{"do_lower_case": false, "tokenize_chinese_chars": false, "strip_accents": true}"#;
        let cased = made(PIECES, Some(config)).unwrap();
        let expected = json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": false,
            "strip_accents": true, "lowercase": false});
        assert_eq!(cased["normalizer"], expected);
    }

    #[test]
    fn tokenizer_json_goes_before_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(TOKENIZER), "{}").unwrap();
        fs::write(folder.path().join(VOCABULARY), PIECES).unwrap();
        let (path, bytes) = open(folder.path(), "mpnet").unwrap();
        assert!(path.ends_with(TOKENIZER) && bytes == b"{}");
    }

    #[test]
    fn a_vocabulary_that_says_too_little_is_refused() {
        assert_eq!(
            made("<pad>\ncat\n", None).unwrap_err(),
            "`DIR/vocab.txt`: `[PAD]` is missing, expected a line of its own, as in BERT's vocabularies"
        );
        assert_eq!(
            made(&format!("{PIECES}Cat\n"), None).unwrap_err(),
            "`DIR/vocab.txt`: `do_lower_case` is not said, and 1 of 8 pieces have upper case, expected true or false in \
             tokenizer_config.json"
        );
        assert!(made(&format!("{PIECES}Cat\n"), Some(r#"{"do_lower_case": false}"#)).is_ok());
    }
    #[test]
    fn only_the_families_with_berts_vocabulary_have_one() {
        for name in ["bert", "distilbert", "electra"] {
            assert!(made_beside(PIECES, &[], name).is_ok(), "{name}");
        }
        for name in ["mpnet", "roberta", "xlm-roberta", "albert"] {
            assert_eq!(
                made_beside(PIECES, &[], name).unwrap_err(),
                "checkpoint `DIR` has no `tokenizer.json`",
                "{name}"
            );
        }
    }

    #[test]
    fn tokens_that_vocab_txt_does_not_tell_of_are_refused() {
        let beside = |name: &str, text: &str| made_beside(PIECES, &[(name, text)], "bert");
        assert_eq!(
            beside("added_tokens.json", r#"{"[ABSTRACT]": 7}"#).unwrap_err(),
            "`DIR/added_tokens.json`: `[ABSTRACT]` is an added token, expected none beside vocab.txt; tokenizer.json can \
             hold them"
        );
        assert!(beside("added_tokens.json", "{}").is_ok());
        let config = "tokenizer_config.json";
        assert_eq!(
            beside(config, r#"{"cls_token": "<s>"}"#).unwrap_err(),
            "`DIR/tokenizer_config.json`: `cls_token` is `<s>`, expected `[CLS]` beside vocab.txt"
        );
        assert_eq!(
            beside(config, r#"{"sep_token": {"content": "</s>"}}"#).unwrap_err(),
            "`DIR/tokenizer_config.json`: `sep_token` is `</s>`, expected `[SEP]` beside vocab.txt"
        );
        assert_eq!(
            beside(config, r#"{"added_tokens_decoder": {"3": {"content": "[SEP]"}, "7": {"content": "[X]"}}}"#)
                .unwrap_err(),
            "`DIR/tokenizer_config.json`: `added_tokens_decoder` is a list with `[X]`, expected only [PAD], [UNK], [CLS], \
             [SEP], [MASK] beside vocab.txt"
        );
        assert!(beside(config, r#"{"cls_token": "[CLS]", "sep_token": {"content": "[SEP]"}}"#).is_ok());
    }
}
