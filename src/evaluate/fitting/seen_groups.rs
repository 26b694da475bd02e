//! What a head is worth on rows whose group (source, journal, author) the `train` rows have, and on rows of other groups.
//!
//! Knows names of groups and parts with their answers, no folds. Invariant: a row without a group is one by itself, and so
//! of an unseen one; each side's figure is of its rows alone, as that of a part is.

use std::collections::HashSet;

use serde::Serialize;

use super::super::error::Error;
use super::super::group_gap::lost;
use super::super::{Interval, Scorer, bootstrap_interval};
use super::measure::Part;
use super::{FitPlan, draws};
use crate::heads::TRAIN;

/// Figures of rows by whether `train` has their group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeenGroups {
    /// Names of the parts that the rows are from.
    pub parts: Vec<String>,
    /// What is measured.
    pub objective: &'static str,
    /// Rows of groups that `train` has.
    pub seen_rows: usize,
    /// Rows of others.
    pub unseen_rows: usize,
    /// The figure of the seen ones; none where there is no such row, or it is not defined on them.
    pub seen: Option<Interval>,
    /// That of the others, likewise.
    pub unseen: Option<Interval>,
    /// What is lost on unseen groups: above 0 where they are harder. Its interval is about other rows of these groups.
    pub lost: Option<Interval>,
}

/// Of one part, or of several together; none where nothing names groups.
pub(super) fn seen_groups(part: &Part<'_>, parts: &[&str], plan: &FitPlan<'_>) -> Result<Option<SeenGroups>, Error> {
    let Some(groups) = &part.set.groups else { return Ok(None) };
    let group = |row: usize| groups[row].as_deref();
    let trained: HashSet<&str> = part.set.rows_of(TRAIN).into_iter().filter_map(group).collect();
    let is_seen = |place: &usize| group(part.rows[*place]).is_some_and(|group| trained.contains(group));
    let (seen, unseen): (Vec<usize>, Vec<usize>) = (0..part.rows.len()).partition(is_seen);
    let options = draws(plan.seed);
    let scorer = |places: &[usize]| match places {
        [] => Ok(None),
        places => defined(part.select(places).scorer(plan.objective)),
    };
    let interval = |scorer: &Option<Scorer>| match scorer {
        None => Ok(None),
        Some(scorer) => defined(bootstrap_interval(scorer, &options)),
    };
    let sides = (scorer(&seen)?, scorer(&unseen)?);
    Ok(Some(SeenGroups {
        parts: parts.iter().map(|&name| name.to_owned()).collect(),
        objective: plan.objective.name(),
        seen_rows: seen.len(),
        unseen_rows: unseen.len(),
        seen: interval(&sides.0)?,
        unseen: interval(&sides.1)?,
        lost: match &sides {
            (Some(seen), Some(unseen)) => defined(lost(seen, unseen, false, &options))?,
            _ => None,
        },
    }))
}

/// A part without rows of both sorts has no area under a curve, one with a single row no spread, and one without a known
/// label nothing that goes by decision values.
pub(super) fn defined<T>(figure: Result<T, Error>) -> Result<Option<T>, Error> {
    match figure {
        Ok(figure) => Ok(Some(figure)),
        Err(Error::Undefined { .. } | Error::Empty) => Ok(None),
        Err(error) => Err(error),
    }
}
