//! Texts to token ids. The only file that names `tokenizers`.
//!
//! Owns truncation: what `tokenizer.json` itself says about truncation and padding is ignored. Knows nothing of
//! templates beyond the place where the title ends. Invariant: the ids are those that transformers gives for the text
//! alone with `truncation=True, max_length=N`, and what was cut off is counted.

use std::path::Path;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use tokenizers::Token;

use super::error::Error;

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
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(unreadable)?;
        let pad_id = pad_id(&inner);
        inner.with_padding(None);
        inner.with_truncation(None).map_err(unreadable)?;
        let frame = frame(&inner).map_err(unreadable)?;
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

    /// The ids of a text without special tokens around it.
    fn pieces(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = self.inner.encode_fast(text, false);
        let encoding = encoding.map_err(|source| Error::Tokenize { bytes: text.len(), source })?;
        Ok(encoding.get_ids().to_vec())
    }
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
fn frame(inner: &tokenizers::Tokenizer) -> Result<Vec<Vec<u32>>, Box<dyn std::error::Error + Send + Sync>> {
    /// No vocabulary has this id.
    const TEXT: u32 = u32::MAX;
    let text = tokenizers::Encoding::from_tokens(vec![Token::new(TEXT, String::new(), (0, 0))], 0);
    let framed = inner.post_process(text, None, true)?;
    Ok(framed.get_ids().split(|&id| id == TEXT).map(<[u32]>::to_vec).collect())
}
