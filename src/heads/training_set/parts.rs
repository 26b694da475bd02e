//! Which rows are held out: as the corpus says, or a share of them, chosen by the hashes of ids or groups, or by year.
//! Knows no labels' meaning. Invariant: the choice depends on ids, labels, groups and years alone, not on the rows' order.

use std::collections::HashMap;

use super::labels::Truths;
use super::sink::{Collected, TrainingOptions};
use super::{HELD_OUT, TRAIN};
use crate::heads::error::SetError;
use crate::paper::{held_out, held_out_groups, held_out_years};

/// Share that is set aside where nobody says another.
const SHARE: f64 = 0.2;

/// How rows are held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitBy {
    /// Any rows.
    Random,
    /// The same share of each class; of several labels and of numbers, any rows.
    Stratified,
    /// Whole groups; a row without one is a group by itself.
    Group,
    /// The latest years; rows without a year are in no part.
    Year,
}

/// What is held out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SplitPlan {
    /// How; where nobody says it, the corpus' own split rules, and where it has none, one by group if rows name groups,
    /// else a stratified one.
    pub by: Option<SplitBy>,
    /// How much, above 0 and below 1.
    pub share: f64,
}

impl Default for SplitPlan {
    /// The corpus' own split, else a fifth, of whole groups or stratified.
    fn default() -> Self {
        Self { by: None, share: SHARE }
    }
}

/// The part of each row.
///
/// # Errors
/// A share out of range, a split by groups or years of which there are fewer than two, or one that was asked for and holds
/// nothing out.
pub(super) fn assign(
    options: &TrainingOptions,
    rows: &Collected,
    truths: &Truths,
) -> Result<Vec<Option<String>>, SetError> {
    let SplitPlan { by, share } = options.split;
    if by.is_none() && rows.splits.iter().any(Option::is_some) {
        return Ok(rows.splits.clone());
    }
    if !(share > 0.0 && share < 1.0) {
        return Err(SetError::SplitShare { share });
    }
    let one = || vec![0; rows.ids.len()];
    // Groups are named because their rows are alike: to measure on rows of groups that were fitted on would flatter.
    let default = if options.fields.group.is_some() { SplitBy::Group } else { SplitBy::Stratified };
    let held = match (by.unwrap_or(default), truths) {
        (SplitBy::Stratified, Truths::Texts(labels)) => hold_out(&rows.ids, &strata(labels), share),
        (SplitBy::Random | SplitBy::Stratified, _) => hold_out(&rows.ids, &one(), share),
        (SplitBy::Group, _) => {
            if rows.groups.windows(2).all(|pair| pair[0].is_some() && pair[0] == pair[1]) {
                let name = rows.groups.first().cloned().flatten().unwrap_or_default();
                return Err(SetError::OneGroup { what: "group", name });
            }
            let ids: Vec<&str> = rows.ids.iter().map(String::as_str).collect();
            let groups: Vec<Option<&str>> = rows.groups.iter().map(Option::as_deref).collect();
            held_out_groups(&ids, &groups, share)
        }
        (SplitBy::Year, _) => return by_year(&rows.years, share),
    };
    if by.is_some() && !held.contains(&true) {
        return Err(SetError::NothingHeldOut { share, rows: rows.ids.len() });
    }
    let part = |out: bool| Some(if out { HELD_OUT } else { TRAIN }.to_owned());
    Ok(held.into_iter().map(part).collect())
}

fn hold_out(ids: &[String], strata: &[usize], share: f64) -> Vec<bool> {
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    held_out(&ids, strata, share)
}

/// The number of each row's class.
fn strata(labels: &[String]) -> Vec<usize> {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let number = |label| {
        let next = numbers.len();
        *numbers.entry(label).or_insert(next)
    };
    labels.iter().map(String::as_str).map(number).collect()
}

/// A row without a year may be of any time, so it is in no part.
fn by_year(years: &[Option<i64>], share: f64) -> Result<Vec<Option<String>>, SetError> {
    let mut known = years.iter().flatten();
    let first = known.next();
    if known.all(|year| Some(year) == first) {
        return Err(SetError::OneGroup { what: "year", name: first.map_or_else(String::new, ToString::to_string) });
    }
    let part = |(held, year): (bool, &Option<i64>)| year.map(|_| if held { HELD_OUT } else { TRAIN }.to_owned());
    Ok(held_out_years(years, share).into_iter().zip(years).map(part).collect())
}
