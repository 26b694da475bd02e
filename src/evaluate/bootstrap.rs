//! How far a figure may be off because these rows were measured and not others: percentile bootstrap (Efron and
//! Tibshirani, "An introduction to the bootstrap", 1993).
//!
//! Knows figures of rows that are drawn several times or not. Invariant: the same rows and seed give the same interval
//! on any number of threads.

use rayon::prelude::*;
use serde::Serialize;

use super::error::Error;
use super::objective::Scorer;
use crate::heads::Random;

/// Numbers that the draws of one interval look at, as far as [`FEWEST`] draws allow: some seconds on one core.
const MOST_WORK: usize = 2_000_000_000;

/// Draws that are made however long one takes: their outer fortieths, the ends at a level of 95 %, are five draws each.
const FEWEST: usize = 200;

/// How an interval is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// Draws at most, each of as many rows as there are. Where a draw looks at more than a million numbers (rows ×
    /// columns), there are fewer, but not below 200.
    pub resamples: usize,
    /// What decides who is drawn.
    pub seed: u64,
    /// Share of the draws within the interval.
    pub level: f64,
}

impl Default for Bootstrap {
    /// 2,000 draws, 95 %.
    fn default() -> Self {
        Self { resamples: 2000, seed: 42, level: 0.95 }
    }
}

/// A figure with the range that the draws put it in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The figure of the rows as they are.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Share of the draws between them.
    pub level: f64,
    /// Draws that had a figure; the others are left out.
    pub resamples: usize,
}

/// The figure of all rows with its interval.
///
/// # Errors
/// A figure that is not defined, fewer than two draws or a level that is no share.
pub fn bootstrap_interval(scorer: &Scorer, options: &Bootstrap) -> Result<Interval, Error> {
    let value = scorer.score()?;
    let drawn = draw(options, (&[scorer.rows()], scorer.work()), |times| scorer.score_drawn(&times[0]))?;
    Ok(interval(value, drawn, options.level))
}

/// How much larger the figure of the first is than that of the second. `paired`: both are of the same rows, which are
/// drawn together, so that what is hard for both does not widen the interval.
///
/// # Errors
/// As for [`bootstrap_interval`], and pairs of different numbers of rows.
pub fn difference_interval(
    (first, second): (&Scorer, &Scorer),
    paired: bool,
    options: &Bootstrap,
) -> Result<Interval, Error> {
    let value = first.score()? - second.score()?;
    if paired && first.rows() != second.rows() {
        return Err(Error::NotPaired { first: first.rows(), second: second.rows() });
    }
    let sides = [first.rows(), second.rows()];
    let sides = if paired { &sides[..1] } else { &sides };
    let drawn = draw(options, (sides, first.work().saturating_add(second.work())), |times| {
        Some(first.score_drawn(&times[0])? - second.score_drawn(&times[sides.len() - 1])?)
    })?;
    Ok(interval(value, drawn, options.level))
}

/// Draws to make, if one looks at so many numbers.
fn affordable(resamples: usize, work: usize) -> usize {
    resamples.min((MOST_WORK / work.max(1)).max(FEWEST))
}

/// The defined figures of all draws; `figure` is told how often each row of each side was drawn, and looks at `work`
/// numbers.
fn draw(
    options: &Bootstrap,
    (sides, work): (&[usize], usize),
    figure: impl Fn(&[Vec<u32>]) -> Option<f64> + Sync,
) -> Result<Vec<f64>, Error> {
    let Bootstrap { resamples, seed, level } = *options;
    if resamples < 2 || !(level > 0.0 && level < 1.0) {
        return Err(Error::Bootstrap { resamples, level });
    }
    let one = |draw: usize| {
        let mut random = Random::of_draw(seed, draw as u64);
        let mut times: Vec<Vec<u32>> = sides.iter().map(|&rows| vec![0; rows]).collect();
        for side in &mut times {
            let rows = side.len();
            (0..rows).for_each(|_| side[random.below(rows)] += 1);
        }
        figure(&times)
    };
    let drawn: Vec<Option<f64>> = (0..affordable(resamples, work)).into_par_iter().map(one).collect();
    Ok(drawn.into_iter().flatten().collect())
}

fn interval(value: f64, mut drawn: Vec<f64>, level: f64) -> Interval {
    drawn.sort_by(f64::total_cmp);
    let [low, high] = [(1.0 - level) / 2.0, f64::midpoint(1.0, level)].map(|share| quantile(&drawn, share));
    Interval { value, low: low.unwrap_or(value), high: high.unwrap_or(value), level, resamples: drawn.len() }
}

/// Between the two nearest of sorted values, as numpy's default; none of none.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(low + (high - low) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::super::objective::{Given, Objective, Scale};
    use super::*;
    use crate::heads::Targets;

    /// `wrong` of 400 rows are wrong, spread by `step`.
    fn accuracy(wrong: usize, step: usize) -> Scorer {
        let truth = Targets::Classes { of: vec![0; 400], classes: 2 };
        let mut given = vec![0; 400];
        (0..wrong).for_each(|n| given[n * step % 400] = 1);
        Scorer::new(Objective::Accuracy, &truth, Given::Classes(&given)).unwrap()
    }

    /// The interval of a share is that of the binomial distribution: ± 1.96 √(p (1 - p) / n).
    #[test]
    fn the_interval_of_a_share_is_the_binomial_one() {
        let got = bootstrap_interval(&accuracy(100, 1), &Bootstrap::default()).unwrap();
        assert_eq!((got.value, got.resamples, got.level), (0.75, 2000, 0.95));
        let half = 1.96 * (0.75_f64 * 0.25 / 400.0).sqrt();
        assert!((got.low - (0.75 - half)).abs() < 0.006 && (got.high - (0.75 + half)).abs() < 0.006, "{got:?}");
        let narrow = bootstrap_interval(&accuracy(100, 1), &Bootstrap { level: 0.5, ..Bootstrap::default() }).unwrap();
        assert!(narrow.low > got.low && narrow.high < got.high);
        let other = bootstrap_interval(&accuracy(100, 1), &Bootstrap { seed: 1, ..Bootstrap::default() }).unwrap();
        assert_ne!((other.low, other.high), (got.low, got.high));
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(one_thread.install(|| bootstrap_interval(&accuracy(100, 1), &Bootstrap::default()).unwrap()), got);
    }

    #[test]
    fn pairs_that_err_together_differ_by_little() {
        let (first, second) = (accuracy(100, 1), accuracy(104, 1));
        let paired = difference_interval((&first, &second), true, &Bootstrap::default()).unwrap();
        let apart = difference_interval((&first, &second), false, &Bootstrap::default()).unwrap();
        assert!((paired.value - 0.01).abs() < 1e-12 && paired.value == apart.value);
        assert!(paired.low >= 0.0 && paired.high < 0.025, "{paired:?}");
        assert!(apart.low < -0.03 && apart.high > 0.05, "{apart:?}");
    }

    #[test]
    fn draws_without_a_figure_are_left_out() {
        let truth = Targets::Classes { of: vec![1, 0, 0, 0], classes: 2 };
        let values = ndarray::array![[0.5], [0.1], [0.7], [0.2]];
        let scorer = Scorer::new(Objective::RocAuc, &truth, Given::Decisions(values.view(), Scale::Plain)).unwrap();
        let got = bootstrap_interval(&scorer, &Bootstrap::default()).unwrap();
        // (3/4)⁴ of the draws lack the one right row, (1/4)⁴ have nothing else.
        assert!(got.resamples.abs_diff(1359) < 80 && got.value > 0.6, "{got:?}");
        let odd = Bootstrap { resamples: 1, ..Bootstrap::default() };
        let error = bootstrap_interval(&scorer, &odd).unwrap_err();
        let expected = "1 resamples at a level of 0.95, expected at least 2 and a level between 0 and 1";
        assert_eq!(error.to_string(), expected);
        let error = bootstrap_interval(&scorer, &Bootstrap { level: 1.0, ..Bootstrap::default() }).unwrap_err();
        assert!(matches!(error, Error::Bootstrap { .. }));
        let error = difference_interval((&scorer, &accuracy(1, 1)), true, &Bootstrap::default()).unwrap_err();
        assert_eq!(error.to_string(), "got 4 and 400 rows, a difference row by row needs as many");
    }

    #[test]
    fn long_draws_are_fewer() {
        let million = 1_000_000;
        let draws = [1, million, 2 * million, 5 * million, 100 * million].map(|work| affordable(2000, work));
        assert_eq!(draws, [2000, 2000, 1000, 400, 200]);
        assert_eq!((affordable(50, usize::MAX), affordable(3000, 0)), (50, 3000));
        // 50,000 rows of 50 columns.
        let truth = Targets::Labels { of: (0..50_000).map(|row| vec![row % 50]).collect(), labels: 50 };
        let values = ndarray::Array2::from_shape_fn((50_000, 50), |(row, column)| ((row * 7 + column) % 11) as f64);
        let of = |objective| Scorer::new(objective, &truth, Given::Decisions(values.view(), Scale::Plain)).unwrap();
        assert_eq!(affordable(2000, of(Objective::RocAuc).work()), 800);
        assert_eq!(accuracy(100, 1).work(), 400 + 400 + 400 + 300 + 2);
    }

    #[test]
    fn quantiles_lie_between_the_nearest() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
        assert_eq!((quantile(&[1.0], 0.3), quantile(&[], 0.3)), (Some(1.0), None));
    }
}
