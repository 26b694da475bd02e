//! Guesses masked words: a text with masks goes through a masked-LM graph, and the most probable word pieces of each
//! mask are named. Knows neither checkpoints nor where the graph came from.

use serde::Serialize;

use super::tokenizer::{MASKS, Tokenizer};
use super::{Error, WordPiece};
use crate::runtime::MaskedLmSession;

/// A word piece that may stand in a mask's place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Filling {
    /// What it is.
    #[serde(flatten)]
    pub piece: WordPiece,
    /// Its probability among all pieces of the vocabulary.
    pub probability: f64,
}

/// A mask of the text with its most probable fillings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FilledMask {
    /// Where it stands among the text's tokens, special ones included.
    pub place: usize,
    /// The most probable pieces, best first.
    pub fillings: Vec<Filling>,
}

/// The `top` most probable fillings of every mask in the text, in the order of the masks; each is guessed with the others
/// still masked. The mask may be written `[MASK]` or `<mask>`, whichever the tokenizer has.
///
/// # Errors
/// The tokenizer has no mask, the text has none, the text is longer than the encoder reads, or the run failed.
pub fn fill_masks(
    session: &mut MaskedLmSession,
    tokenizer: &Tokenizer,
    text: &str,
    top: usize,
) -> Result<Vec<FilledMask>, Error> {
    let (mask, name) = tokenizer.mask().ok_or(Error::NoMaskToken { known: MASKS.join("` nor `") })?;
    let text = MASKS.iter().fold(text.to_owned(), |text, written| text.replace(written, name));
    let encoding = tokenizer.encode(&text, 0)?;
    if encoding.n_dropped > 0 {
        let max_length = encoding.ids.len();
        return Err(Error::TextTooLong { tokens: max_length + encoding.n_dropped as usize, max_length });
    }
    let places: Vec<usize> = (0..encoding.ids.len()).filter(|&place| encoding.ids[place] == mask).collect();
    if places.is_empty() {
        return Err(Error::NoMask { mask: name.to_owned() });
    }
    let ids: Vec<i64> = encoding.ids.iter().map(|&id| id.into()).collect();
    let asked: Vec<i64> = places.iter().map(|&place| place as i64).collect();
    let logits = session.logits(&ids, &asked)?;
    let filled = places.into_iter().enumerate();
    Ok(filled
        .map(|(row, place)| FilledMask { place, fillings: most_probable(logits.row(row), tokenizer, top) })
        .collect())
}

/// Softmax in f64; equal logits stand in the order of their ids.
fn most_probable(logits: &[f32], tokenizer: &Tokenizer, top: usize) -> Vec<Filling> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: f32| (f64::from(logit) - f64::from(largest)).exp();
    let sum: f64 = logits.iter().map(|&logit| weight(logit)).sum();
    let best = best_first(logits, top).into_iter();
    best.map(|id| Filling { piece: tokenizer.word_piece(id as u32), probability: weight(logits[id]) / sum }).collect()
}

/// The places of the `top` largest values, largest first; equal ones in the order of their places.
pub(super) fn best_first(values: &[f32], top: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let better = |a: &usize, b: &usize| values[*b].total_cmp(&values[*a]).then(a.cmp(b));
    if top > 0 && top < order.len() {
        order.select_nth_unstable_by(top - 1, better);
    }
    order.truncate(top);
    order.sort_unstable_by(better);
    order
}

#[cfg(test)]
mod tests {
    use super::best_first;

    #[test]
    fn the_best_come_first_and_equal_ones_in_their_order() {
        let values = [0.5, 2.0, -1.0, 2.0, 0.0];
        assert_eq!(best_first(&values, 3), [1, 3, 0]);
        assert_eq!(best_first(&values, 9), [1, 3, 0, 4, 2]);
        assert!(best_first(&values, 0).is_empty() && best_first(&[], 3).is_empty());
    }
}
