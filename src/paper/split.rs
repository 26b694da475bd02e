//! Which rows are held out where a corpus brings no split: a share of all rows, of each label, of whole groups, or the
//! latest years.
//!
//! Knows ids, numbers of labels, names of groups and years. Invariant: the choice depends on these alone, not on the
//! order of the rows, so that the same corpus always gives the same split and a row added later moves few others.

use std::collections::BTreeMap;

/// Separates these hashes from every other use of an id's hash.
const CONTEXT: &str = "offprint 2025 held-out rows by id";
/// The same for names of groups.
const GROUP_CONTEXT: &str = "offprint 2026 held-out groups by name";

/// For each row whether it is held out: of each label the `share` (0 to 1, rounded to whole rows) with the smallest
/// hashes. At least one row of a label stays; rows of one id stay together, which may hold out a few more than `share`.
///
/// `ids` and `labels` run in parallel; labels are numbers from 0 in any order. With one label for all rows the share is
/// one of all rows at random.
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

/// For each row whether its group is held out as a whole: groups in the order of the hashes of their names, each if it
/// brings the share of the rows held out nearer to `share` (0 to 1); where none does, the smallest. Of two groups or more
/// at least one stays and, of a share above 0, at least one is held out. A row without a group stands for itself, by its
/// id; `ids` and `groups` run in parallel.
pub fn held_out_groups(ids: &[&str], groups: &[Option<&str>], share: f64) -> Vec<bool> {
    let hash = |(id, group): (&&str, &Option<&str>)| match group {
        Some(group) => blake3::derive_key(GROUP_CONTEXT, group.as_bytes()),
        None => blake3::derive_key(CONTEXT, id.as_bytes()),
    };
    let mut rows_of: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
    for (row, named) in ids.iter().zip(groups).enumerate() {
        rows_of.entry(hash(named)).or_default().push(row);
    }
    hold_nearest(ids.len(), &rows_of.into_values().collect::<Vec<_>>(), share)
}

/// For each row whether it is of the latest years: whole years from the last one back, each if it brings the share of the
/// rows held out nearer to `share` (0 to 1), up to the first that does not. Of two years or more at least one stays and,
/// of a share above 0, the last is held out. A row without a year stays: it may be of any time, and counts for nothing
/// here.
pub fn held_out_years(years: &[Option<i64>], share: f64) -> Vec<bool> {
    let mut rows_of: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (row, year) in years.iter().enumerate() {
        if let Some(year) = year {
            rows_of.entry(*year).or_default().push(row);
        }
    }
    let dated: usize = rows_of.values().map(Vec::len).sum();
    let wanted = share.clamp(0.0, 1.0) * dated as f64;
    let mut held = vec![false; years.len()];
    let (mut count, mut stay) = (0, rows_of.len());
    for rows in rows_of.into_values().rev() {
        stay -= 1;
        // A year with most of the rows may bring nothing nearer, but without it nothing would be measured.
        let is_first = count == 0 && wanted > 0.0;
        if stay == 0 || !(is_first || nearer(count, rows.len(), wanted)) {
            break;
        }
        rows.iter().for_each(|&row| held[row] = true);
        count += rows.len();
    }
    held
}

/// Whether as many more rows are nearer to what is wanted than none more.
fn nearer(count: usize, more: usize, wanted: f64) -> bool {
    ((count + more) as f64 - wanted).abs() < (count as f64 - wanted).abs()
}

/// Takes the groups that bring the count nearer to the share, all but one; the smallest where none does, or nothing would
/// be measured.
fn hold_nearest(rows: usize, groups: &[Vec<usize>], share: f64) -> Vec<bool> {
    let wanted = share.clamp(0.0, 1.0) * rows as f64;
    let mut held = vec![false; rows];
    let (mut count, mut stay) = (0, groups.len());
    for group in groups {
        if stay > 1 && nearer(count, group.len(), wanted) {
            group.iter().for_each(|&row| held[row] = true);
            count += group.len();
            stay -= 1;
        }
    }
    let smallest = groups.iter().min_by_key(|group| group.len());
    if let Some(smallest) = smallest.filter(|_| count == 0 && stay > 1 && wanted > 0.0) {
        smallest.iter().for_each(|&row| held[row] = true);
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

    #[test]
    fn groups_are_held_out_whole() {
        let ids = ids(300);
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let names: Vec<String> = (0..300).map(|row: usize| format!("source {}", row.isqrt())).collect();
        let groups: Vec<Option<&str>> = names.iter().map(|name| Some(name.as_str())).collect();
        let held = held_out_groups(&ids, &groups, 0.2);
        let count = held.iter().filter(|held| **held).count();
        assert!(count.abs_diff(60) <= 6, "{count}");
        for (row, name) in names.iter().enumerate() {
            assert!((0..300).all(|other| names[other] != *name || held[other] == held[row]));
        }
        // The order does not matter, and one more group moves no other but by its size.
        let turned: Vec<Option<&str>> = groups.iter().rev().copied().collect();
        let turned_ids: Vec<&str> = ids.iter().rev().copied().collect();
        let mut again = held_out_groups(&turned_ids, &turned, 0.2);
        again.reverse();
        assert_eq!(again, held);
    }

    #[test]
    fn one_group_stays_and_rows_without_one_stand_for_themselves() {
        assert_eq!(held_out_groups(&["a", "b"], &[Some("x"), Some("x")], 1.0), [false, false]);
        assert_eq!(held_out_groups(&["a", "b"], &[Some("x"), Some("y")], 1.0).iter().filter(|held| **held).count(), 1);
        assert!(held_out_groups(&["a", "b"], &[Some("x"), Some("y")], 0.0).iter().all(|held| !held));
        let ids = ids(50);
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let held = held_out_groups(&ids, &[None; 50], 0.3);
        assert_eq!(held.iter().filter(|held| **held).count(), 15);
    }

    #[test]
    fn the_latest_years_are_held_out() {
        let years: Vec<Option<i64>> =
            [1999, 2001, 2001, 2003, 2003, 2003, 2004, 2004, 2005, 2000].map(Some).into_iter().chain([None]).collect();
        let held = |share| {
            let held = held_out_years(&years, share);
            (0..years.len()).filter(|&row| held[row]).map(|row| years[row].unwrap()).collect::<Vec<i64>>()
        };
        assert_eq!(held(0.1), [2005]);
        assert_eq!(held(0.3), [2004, 2004, 2005]);
        // Six rows are nearer to 4.6 than three.
        assert_eq!(held(0.46), [2003, 2003, 2003, 2004, 2004, 2005]);
        assert_eq!(held(0.44), [2004, 2004, 2005]);
        assert_eq!(held(1.0).len(), 9);
        assert!(held(0.0).is_empty() && held_out_years(&[Some(2000), Some(2000)], 1.0) == [false, false]);
    }

    #[test]
    fn groups_and_years_with_too_many_rows_are_held_out_too() {
        let held = |groups: [&str; 6]| {
            let groups: Vec<Option<&str>> = groups.into_iter().map(Some).collect();
            held_out_groups(&["0", "1", "2", "3", "4", "5"], &groups, 0.2)
        };
        assert_eq!(held(["x", "x", "x", "y", "y", "y"]).iter().filter(|held| **held).count(), 3);
        assert_eq!(held(["x", "x", "x", "x", "y", "y"]), [false, false, false, false, true, true]);
        let years = [2000, 2000, 2001, 2001].map(Some);
        assert_eq!(held_out_years(&years, 0.2), [false, false, true, true]);
        assert_eq!(held_out_years(&years, 0.0), [false; 4]);
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
