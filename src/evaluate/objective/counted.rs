//! Figures that counts of right and given labels make up: of rows, each once or several times. Knows label numbers.
//! Invariant: counts are whole numbers, so that a figure does not depend on the order of rows.

use super::super::metrics::{ClassFigures, share};
use super::Objective;

/// Label numbers of many rows, one row after another.
#[derive(Debug, Default)]
struct Lists {
    ends: Vec<usize>,
    items: Vec<usize>,
}

impl Lists {
    fn of<'a>(rows: impl Iterator<Item = &'a [usize]>) -> Self {
        let mut lists = Self::default();
        rows.for_each(|row| lists.push(row.iter().copied()));
        lists
    }

    fn push(&mut self, row: impl Iterator<Item = usize>) {
        self.items.extend(row);
        self.ends.push(self.items.len());
    }

    fn row(&self, row: usize) -> &[usize] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.items[start..self.ends[row]]
    }

    /// How often each label occurs if row i is there `times[i]` times.
    fn count(&self, labels: usize, times: &[u32]) -> Vec<u64> {
        let mut counts = vec![0; labels];
        for (row, &times) in times.iter().enumerate().filter(|(_, times)| **times > 0) {
            self.row(row).iter().for_each(|&label| counts[label] += u64::from(times));
        }
        counts
    }
}

/// Right and given labels of rows.
#[derive(Debug)]
pub(super) struct Counted {
    truth: Lists,
    given: Lists,
    /// Those that are right and given.
    hits: Lists,
    /// Whether a row is given exactly what is right.
    exact: Vec<bool>,
    labels: usize,
}

impl Counted {
    /// Label numbers of each row, ascending and below `labels`.
    pub(super) fn new<'a>(
        truth: impl Iterator<Item = &'a [usize]>,
        given: impl Iterator<Item = &'a [usize]>,
        labels: usize,
    ) -> Self {
        let (truth, given) = (Lists::of(truth), Lists::of(given));
        let mut hits = Lists::default();
        let mut exact = Vec::with_capacity(truth.ends.len());
        for row in 0..truth.ends.len() {
            let (truth, given) = (truth.row(row), given.row(row));
            hits.push(given.iter().copied().filter(|label| truth.binary_search(label).is_ok()));
            exact.push(truth == given);
        }
        Self { truth, given, hits, exact, labels }
    }

    /// Numbers that a figure looks at.
    pub(super) fn work(&self) -> usize {
        let lists = [&self.truth, &self.given, &self.hits].map(|lists| lists.items.len());
        self.exact.len() + lists.iter().sum::<usize>() + self.labels
    }

    /// The figure if row i is there `times[i]` times; none of no rows, or where no label is right or given.
    pub(super) fn score(&self, objective: Objective, times: &[u32]) -> Option<f64> {
        let rows: u64 = times.iter().map(|&times| u64::from(times)).sum();
        if rows == 0 {
            return None;
        }
        if objective == Objective::Accuracy {
            let exact = self.exact.iter().zip(times).map(|(&exact, &times)| u64::from(exact) * u64::from(times));
            return Some(share(exact.sum(), rows));
        }
        let [truth, given, hits] = [&self.truth, &self.given, &self.hits].map(|lists| lists.count(self.labels, times));
        let figures = |label: usize| ClassFigures::of(hits[label], truth[label], given[label]);
        let of = |labels: &mut dyn Iterator<Item = usize>, figure: fn(ClassFigures) -> f64| {
            let (sum, count) =
                labels.fold((0.0, 0_u64), |(sum, count), label| (sum + figure(figures(label)), count + 1));
            (count > 0).then(|| sum / count as f64)
        };
        let mut right = (0..self.labels).filter(|&label| truth[label] > 0);
        match objective {
            Objective::BalancedAccuracy => of(&mut right, |figures| figures.recall),
            Objective::F1Macro => {
                of(&mut (0..self.labels).filter(|&label| truth[label] + given[label] > 0), |figures| figures.f1)
            }
            Objective::F1Weighted => {
                let all: u64 = truth.iter().sum();
                let sum: f64 = right.map(|label| figures(label).f1 * truth[label] as f64).sum();
                (all > 0).then(|| sum / all as f64)
            }
            Objective::Matthews => Some(matthews(&truth, &given, hits.iter().sum())),
            _ => {
                let [truth, given, hits] = [truth, given, hits].map(|counts| counts.iter().sum::<u64>());
                (truth + given > 0).then(|| share(2 * hits, truth + given))
            }
        }
    }
}

/// The correlation of several classes (Gorodkin, "Comparing two K-category assignments by a K-category correlation
/// coefficient", 2004).
fn matthews(truth: &[u64], given: &[u64], hits: u64) -> f64 {
    let product = |a: &[u64], b: &[u64]| a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum::<f64>();
    let rows = truth.iter().sum::<u64>() as f64;
    let together = hits as f64 * rows - product(truth, given);
    let spread = |counts: &[u64]| rows * rows - product(counts, counts);
    let apart = spread(truth) * spread(given);
    if apart == 0.0 { 0.0 } else { together / apart.sqrt() }
}
