//! Which rows are held out where a corpus brings no split: a share of each label, chosen by the hash of the id.
//!
//! The choice depends on ids and labels alone, not on the order of the rows, so that the same corpus always gives the
//! same split and a row added later moves few others.

use std::collections::BTreeMap;

/// Separates these hashes from every other use of an id's hash.
const CONTEXT: &str = "offprint 2025 held-out rows by id";

/// For each row whether it is held out: of each label the `share` (0 to 1, rounded to whole rows) with the smallest
/// hashes. At least one row of a label stays; rows of one id stay together, which may hold out a few more than `share`.
///
/// `ids` and `labels` run in parallel; labels are numbers from 0 in any order.
pub fn held_out(ids: &[&str], labels: &[usize], share: f64) -> Vec<bool> {
    let mut of_label: BTreeMap<usize, Vec<([u8; 32], usize)>> = BTreeMap::new();
    for (row, (id, &label)) in ids.iter().zip(labels).enumerate() {
        of_label.entry(label).or_default().push((blake3::derive_key(CONTEXT, id.as_bytes()), row));
    }
    let mut held = vec![false; ids.len()];
    for mut rows in of_label.into_values() {
        rows.sort_unstable();
        let wanted = (share.clamp(0.0, 1.0) * rows.len() as f64).round() as usize;
        let mut chosen = 0;
        for same_id in rows.chunk_by(|one, other| one.0 == other.0) {
            if chosen >= wanted || chosen + same_id.len() >= rows.len() {
                break;
            }
            same_id.iter().for_each(|&(_, row)| held[row] = true);
            chosen += same_id.len();
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn ids(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("paper-{number}")).collect()
    }

    fn held_by_id<'a>(ids: &'a [String], labels: &[usize], share: f64) -> HashMap<&'a str, bool> {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        ids.iter().copied().zip(held_out(&ids, labels, share)).collect()
    }

    #[test]
    fn each_label_gives_its_share_and_keeps_a_row() {
        let ids = ids(113);
        let labels: Vec<usize> = (0..113)
            .map(|row| {
                if row < 100 {
                    row % 2
                } else if row < 112 {
                    2
                } else {
                    3
                }
            })
            .collect();
        let held = held_by_id(&ids, &labels, 0.2);
        let count = |label| ids.iter().zip(&labels).filter(|(id, of)| **of == label && held[id.as_str()]).count();
        assert_eq!([count(0), count(1), count(2), count(3)], [10, 10, 2, 0]);
        assert!(held_by_id(&ids, &labels, 0.0).values().all(|held| !held));
        assert_eq!(held_by_id(&ids, &labels, 1.0).values().filter(|held| !**held).count(), 4);
        assert!(held_out(&[], &[], 0.2).is_empty());
    }

    #[test]
    fn one_more_row_moves_at_most_one_other() {
        let all = ids(401);
        let labels = vec![0; 401];
        let before = held_by_id(&all[..400], &labels[..400], 0.2);
        let after = held_by_id(&all, &labels, 0.2);
        let moved = before.iter().filter(|(id, held)| after[*id] != **held).count();
        assert!(moved <= 1, "{moved} rows moved");
    }

    #[test]
    fn rows_of_one_id_stay_together() {
        let same = ["a"; 5];
        assert_eq!(held_out(&same, &[0; 5], 0.5), [false; 5]);
        let twice: Vec<String> = ids(50).into_iter().flat_map(|id| [id.clone(), id]).collect();
        let twice: Vec<&str> = twice.iter().map(String::as_str).collect();
        let held = held_out(&twice, &[0; 100], 0.25);
        assert!(held.chunks(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(held.iter().filter(|held| **held).count(), 26);
    }

    proptest! {
        #[test]
        fn the_order_of_the_rows_does_not_matter(
            labels in proptest::collection::vec(0usize..4, 0..80), share in 0.0..1.0f64, turn in 0usize..80,
        ) {
            let mut ids = ids(labels.len());
            let before: HashMap<String, bool> =
                held_by_id(&ids, &labels, share).into_iter().map(|(id, held)| (id.to_owned(), held)).collect();
            let mut labels = labels.clone();
            let turn = turn.min(labels.len());
            ids.rotate_left(turn);
            labels.rotate_left(turn);
            let after = held_by_id(&ids, &labels, share);
            prop_assert!(before.iter().all(|(id, held)| after[id.as_str()] == *held));
        }
    }
}
