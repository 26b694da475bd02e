//! Which rows are held out: as the corpus says, or a share of them, chosen by the hashes of ids or groups, or by year.
//! Knows no labels' meaning. Invariant: the choice depends on ids, labels, groups and years alone, not on the rows' order.

use std::collections::{BTreeMap, HashMap};

use super::labels::Truths;
use super::sink::{Collected, TrainingOptions};
use super::{HELD_OUT, TRAIN};
use crate::heads::error::Error;
use crate::paper::held_out;

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
    /// How; where nobody says it, the corpus' own split rules, and a stratified one where it has none.
    pub by: Option<SplitBy>,
    /// How much, above 0 and below 1.
    pub share: f64,
}

impl Default for SplitPlan {
    /// The corpus' own split, else a stratified fifth.
    fn default() -> Self {
        Self { by: None, share: SHARE }
    }
}

/// The part of each row.
///
/// # Errors
/// A share out of range, or a split by groups or years of which there are fewer than two.
pub(super) fn assign(
    options: &TrainingOptions,
    rows: &Collected,
    truths: &Truths,
) -> Result<Vec<Option<String>>, Error> {
    let SplitPlan { by, share } = options.split;
    if by.is_none() && rows.splits.iter().any(Option::is_some) {
        return Ok(rows.splits.clone());
    }
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::SplitShare { share });
    }
    let one = || vec![0; rows.ids.len()];
    let held = match (by.unwrap_or(SplitBy::Stratified), truths) {
        (SplitBy::Stratified, Truths::Texts(labels)) => hold_out(&rows.ids, &strata(labels), share),
        (SplitBy::Random | SplitBy::Stratified, _) => hold_out(&rows.ids, &one(), share),
        (SplitBy::Group, _) => {
            let by_itself = |row: usize| format!("row {}", rows.ids[row]);
            let named = |(row, name): (usize, &Option<String>)| {
                name.as_ref().map_or_else(|| by_itself(row), |name| format!("group {name}"))
            };
            let groups: Vec<String> = rows.groups.iter().enumerate().map(named).collect();
            if groups.windows(2).all(|pair| pair[0] == pair[1]) {
                let name = rows.groups.first().cloned().flatten().unwrap_or_default();
                return Err(Error::OneGroup { what: "group", name });
            }
            hold_out(&groups, &one(), share)
        }
        (SplitBy::Year, _) => return by_year(&rows.years, share),
    };
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

/// Whole years from the latest back, until they are nearest to the share of the rows that have one; the first year stays.
fn by_year(years: &[Option<i64>], share: f64) -> Result<Vec<Option<String>>, Error> {
    let mut rows_of: BTreeMap<i64, usize> = BTreeMap::new();
    years.iter().flatten().for_each(|&year| *rows_of.entry(year).or_default() += 1);
    if rows_of.len() < 2 {
        let name = rows_of.keys().next().map_or_else(String::new, ToString::to_string);
        return Err(Error::OneGroup { what: "year", name });
    }
    let wanted = share * rows_of.values().sum::<usize>() as f64;
    let mut first_held = *rows_of.keys().next_back().expect("there are two years");
    let (mut held, mut nearest) = (0.0, f64::INFINITY);
    for (&year, &rows) in rows_of.iter().rev().take(rows_of.len() - 1) {
        held += rows as f64;
        let distance: f64 = (held - wanted).abs();
        if distance < nearest {
            (nearest, first_held) = (distance, year);
        }
    }
    let part = |year: i64| if year >= first_held { HELD_OUT } else { TRAIN }.to_owned();
    Ok(years.iter().map(|year| year.map(part)).collect())
}
