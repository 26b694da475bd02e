//! How much worse a head is on groups (sources, journals, authors) that it has not seen. Knows names of groups and
//! figures. Invariant: the gap is the seen rows' figure less the unseen ones', turned so that above 0 is a loss.

use serde::Serialize;

use super::bootstrap::{Bootstrap, Interval, bootstrap_interval, difference_interval};
use super::error::Error;
use super::objective::Scorer;

/// Figures of rows of seen and of unseen groups.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupGap {
    /// Of rows whose group was fitted on.
    pub seen: Interval,
    /// Of rows whose group was not.
    pub unseen: Interval,
    /// What is lost on unseen groups: above 0 where they are harder.
    pub gap: Interval,
}

/// Compares decisions on seen groups with those on unseen ones. `paired`: both are about the same rows, as where one
/// cross-validation parted groups and another did not.
///
/// # Errors
/// As for [`bootstrap_interval`]; sides of different objectives.
pub fn group_gap(seen: &Scorer, unseen: &Scorer, paired: bool, options: &Bootstrap) -> Result<GroupGap, Error> {
    let objective = seen.objective();
    if objective != unseen.objective() {
        return Err(Error::DifferentObjectives { first: objective, second: unseen.objective() });
    }
    Ok(GroupGap {
        seen: bootstrap_interval(seen, options)?,
        unseen: bootstrap_interval(unseen, options)?,
        gap: lost(seen, unseen, paired, options)?,
    })
}

/// What is lost from the first to the second, which are of one objective: above 0 where the second is worse.
///
/// # Errors
/// As for [`difference_interval`].
pub(super) fn lost(seen: &Scorer, unseen: &Scorer, paired: bool, options: &Bootstrap) -> Result<Interval, Error> {
    let sides = if seen.objective().larger_is_better() { (seen, unseen) } else { (unseen, seen) };
    difference_interval(sides, paired, options)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::super::objective::{Given, Objective, Scale};
    use super::*;
    use crate::heads::Targets;

    fn scorer(objective: Objective, error: f64) -> Scorer {
        let truth = Array2::from_shape_fn((60, 1), |(row, _)| row as f64);
        let given = Array2::from_shape_fn((60, 1), |(row, _)| row as f64 + error * ((row * 7 % 10) as f64 - 4.5));
        let targets = Targets::Numbers(truth);
        Scorer::new(objective, &targets, Given::Decisions(given.view(), Scale::Plain)).unwrap()
    }

    #[test]
    fn a_gap_above_0_is_a_loss_whichever_way_the_objective_goes() {
        for objective in [Objective::Mae, Objective::R2] {
            let (near, far) = (scorer(objective, 0.5), scorer(objective, 2.0));
            let got = group_gap(&near, &far, true, &Bootstrap::default()).unwrap();
            assert!(got.gap.low > 0.0 && got.gap.value == objective.gain(got.seen.value - got.unseen.value), "{got:?}");
            assert!(group_gap(&far, &near, false, &Bootstrap::default()).unwrap().gap.high < 0.0);
        }
        let error = group_gap(&scorer(Objective::Mae, 1.0), &scorer(Objective::R2, 1.0), true, &Bootstrap::default());
        let expected = "`mae` and `r2` cannot be compared, expected one objective on both sides";
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
}
