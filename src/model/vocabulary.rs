//! The tokenizer of a checkpoint: `tokenizer.json` as it is, or the one that a BERT checkpoint from before that file
//! means by its `vocab.txt` (one word piece a line, its number is its id). Owns that translation, which is the one that
//! transformers' fast BERT tokenizer makes; a vocabulary that says too little is refused and never guessed at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Error, files};

const TOKENIZER: &str = "tokenizer.json";
const VOCABULARY: &str = "vocab.txt";
/// Padding, unknown, begin, end, mask: in the order of their usual ids.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

#[derive(Deserialize)]
struct BertTokenizerConfig {
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
}

/// The file that the tokenizer comes from, and the bytes of its `tokenizer.json`.
pub(super) fn tokenizer(encoder: &Path) -> Result<(PathBuf, Vec<u8>), Error> {
    let path = encoder.join(TOKENIZER);
    if let Some(bytes) = files::read_if_present(&path)? {
        return Ok((path, bytes));
    }
    let vocabulary = encoder.join(VOCABULARY);
    let Some(bytes) = files::read_if_present(&vocabulary)? else {
        return Err(Error::NoFile { folder: encoder.to_owned(), file: TOKENIZER, instead: None });
    };
    let config = encoder.join("tokenizer_config.json");
    let config: Option<BertTokenizerConfig> = files::json_if_present(&config)?;
    let none = BertTokenizerConfig { do_lower_case: None, strip_accents: None, tokenize_chinese_chars: None };
    let json = from_vocabulary(&vocabulary, &bytes, &config.unwrap_or(none))?;
    Ok((vocabulary, json))
}

fn from_vocabulary(path: &Path, bytes: &[u8], config: &BertTokenizerConfig) -> Result<Vec<u8>, Error> {
    let wrong = |field: &str, got: String, expected: &str| Error::Field {
        path: path.to_owned(),
        field: field.to_owned(),
        got,
        expected: expected.to_owned(),
    };
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

    const PIECES: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\n##s\n";

    fn made(vocabulary: &str, config: Option<&str>) -> Result<Value, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(VOCABULARY), vocabulary).unwrap();
        if let Some(config) = config {
            fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        }
        match tokenizer(folder.path()) {
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
        let (path, bytes) = tokenizer(folder.path()).unwrap();
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
}
