//! The word pieces that lie nearest to a word's own in a table of word embeddings. Reads each row of the table once and
//! holds no more than one, and a number for each piece of the vocabulary.

use std::collections::HashSet;

use serde::Serialize;

use super::fill::best_first;
use super::{Error, Tokenizer, WordPiece};
use crate::graph::WordTable;

/// How the token is written that stands for what the vocabulary lacks.
const UNKNOWN: [&str; 2] = ["[UNK]", "<unk>"];

/// A piece of a word, with those that lie nearest to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NearestWords {
    /// The piece.
    #[serde(flatten)]
    pub piece: WordPiece,
    /// The nearest others, nearest first.
    pub nearest: Vec<NearWord>,
}

/// A piece and how near it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NearWord {
    /// The piece.
    #[serde(flatten)]
    pub piece: WordPiece,
    /// Cosine of the two rows.
    pub similarity: f64,
}

/// For each piece of the word, once, the `top` others whose rows have the largest cosine with its own. Rows of zeros are near
/// to nothing.
///
/// # Errors
/// The tokenizer fails or gives no piece, the one for what its vocabulary lacks, or one that the table has no row for; a row can't be read.
pub fn nearest_words(
    table: &WordTable<'_>,
    tokenizer: &Tokenizer,
    word: &str,
    top: usize,
) -> Result<Vec<NearestWords>, Error> {
    let pieces = tokenizer.pieces(word)?;
    if pieces.is_empty() {
        return Err(Error::NoPieces { word: word.to_owned() });
    }
    let spelled = || pieces.iter().map(|&id| tokenizer.word_piece(id).piece);
    if spelled().any(|piece| UNKNOWN.contains(&piece.as_str()) && piece != word.trim()) {
        return Err(Error::NotInVocabulary { word: word.to_owned(), pieces: spelled().collect::<Vec<_>>().join(" ") });
    }
    let nearest = |&id: &u32| {
        let place = id as usize;
        if place >= table.rows() {
            return Err(Error::NoRow { piece: tokenizer.word_piece(id).piece, id, rows: table.rows() });
        }
        let similarities = cosines(table, place)?;
        // The piece itself comes first, or another with the very same row.
        let others = best_first(&similarities, top.saturating_add(1)).into_iter().filter(|other| *other != place);
        let near = |other: usize| NearWord {
            piece: tokenizer.word_piece(other as u32),
            similarity: similarities[other].into(),
        };
        Ok(NearestWords { piece: tokenizer.word_piece(id), nearest: others.take(top).map(near).collect() })
    };
    let mut met = HashSet::new();
    pieces.iter().filter(|id| met.insert(**id)).map(nearest).collect()
}

/// The cosine of one row with every row; sums run in f64.
fn cosines(table: &WordTable<'_>, place: usize) -> Result<Vec<f32>, Error> {
    let (mut asked, mut row) = (Vec::new(), Vec::new());
    table.row(place, &mut asked)?;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let own = dot(&asked, &asked).sqrt();
    let mut similarities = Vec::with_capacity(table.rows());
    for index in 0..table.rows() {
        table.row(index, &mut row)?;
        let lengths = own * dot(&row, &row).sqrt();
        let cosine = dot(&asked, &row) / lengths;
        similarities.push(if cosine.is_finite() { cosine as f32 } else { 0.0 });
    }
    Ok(similarities)
}
