//! The ways in which texts are put together to see whether a vector depends on it. Owns their names and which text
//! stands in which batch; runs nothing. Invariant: every text stands in exactly one batch of a composition.

use std::fmt;
use std::mem::discriminant;

use super::{TokenBudget, plan};

/// Padding that is put behind a single text, in columns, one text after the other.
const MORE_COLUMNS: [usize; 6] = [1, 3, 7, 16, 33, 64];

/// A way of putting texts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Composition {
    /// Every text by itself: what the others are compared with.
    Alone,
    /// Every text by itself, with padding behind it.
    Padded,
    /// So many texts at a time, in their order.
    Batches(usize),
    /// So many texts at a time, in another order.
    Shuffled(usize),
    /// As a run plans them: sorted by length and cut by a budget of padded tokens.
    Planned(TokenBudget),
}

impl fmt::Display for Composition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone => write!(formatter, "alone"),
            Self::Padded => write!(formatter, "alone, padded"),
            Self::Batches(rows) => write!(formatter, "batches of {rows}"),
            Self::Shuffled(rows) => write!(formatter, "batches of {rows}, shuffled"),
            Self::Planned(budget) => write!(formatter, "planned, {} tokens", budget.tokens()),
        }
    }
}

impl Composition {
    /// All of them, the reference first.
    pub(super) fn all(budget: TokenBudget) -> Vec<Self> {
        let batches = [Self::Batches(8), Self::Batches(64), Self::Planned(budget)];
        [&[Self::Alone], &batches[..], &[Self::Padded, Self::Shuffled(8)]].concat()
    }

    /// The largest and the smallest batches, and those of a run.
    pub(super) fn furthest_apart(budget: TokenBudget) -> Vec<Self> {
        vec![Self::Alone, Self::Batches(64), Self::Planned(budget)]
    }

    /// Lays texts out in each way of a list, and leaves out those that come to the batches of another of their kind: few
    /// texts are one batch, whatever its wanted size.
    pub(super) fn lay_all(list: &[Self], lengths: &[usize], widest: usize) -> Vec<Laid> {
        let mut laid: Vec<Laid> = Vec::new();
        for composition in list {
            let next = composition.lay(lengths, widest);
            let same = |other: &Laid| {
                discriminant(&other.composition) == discriminant(composition) && other.batches == next.batches
            };
            if !laid.iter().any(same) {
                laid.push(next);
            }
        }
        laid
    }

    /// Lays texts of these lengths (in tokens) out; no batch is widened beyond `widest` columns.
    pub(super) fn lay(self, lengths: &[usize], widest: usize) -> Laid {
        let in_order: Vec<usize> = (0..lengths.len()).collect();
        let chunks = |order: &[usize], rows: usize| order.chunks(rows).map(<[usize]>::to_vec).collect::<Vec<_>>();
        let groups = match self {
            Self::Alone | Self::Padded => chunks(&in_order, 1),
            Self::Batches(rows) => chunks(&in_order, rows.max(1)),
            Self::Shuffled(rows) => chunks(&shuffled(lengths.len()), rows.max(1)),
            Self::Planned(budget) => plan(lengths, budget).batches,
        };
        let mut padding = MORE_COLUMNS.iter().cycle();
        let batches = groups.into_iter().map(|positions| {
            let longest = positions.iter().map(|&position| lengths[position].max(1)).max().unwrap_or(1);
            let longest = if let Self::Planned(budget) = self { budget.columns(longest) } else { longest };
            let more = if self == Self::Padded { padding.next().copied().unwrap_or(0) } else { 0 };
            let columns = (longest + more).min(widest).max(longest);
            (positions, columns)
        });
        let batches: Vec<(Vec<usize>, usize)> = batches.collect();
        let padded_tokens = batches.iter().map(|(positions, columns)| (positions.len() * columns) as u64).sum();
        Laid { composition: self, batches, padded_tokens }
    }
}

/// The batches of a composition.
#[derive(Debug)]
pub(super) struct Laid {
    /// How they came about.
    pub composition: Composition,
    /// Positions of the texts, and the columns that the batch has.
    pub batches: Vec<(Vec<usize>, usize)>,
    /// Places in all batches.
    pub padded_tokens: u64,
}

impl Laid {
    /// What it is called; too few texts for a batch of the wanted size are one batch.
    pub(super) fn name(&self) -> String {
        match (self.composition, self.batches.as_slice()) {
            (Composition::Batches(rows), [(only, _)]) if only.len() < rows => format!("one batch of {}", only.len()),
            (Composition::Shuffled(rows), [(only, _)]) if only.len() < rows => {
                format!("one batch of {}, shuffled", only.len())
            }
            (composition, _) => composition.to_string(),
        }
    }
}

/// The positions in an order that looks random and is always the same (Fisher and Yates, on a linear congruential
/// generator with Knuth's constants for 64 bits).
fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = 1_u64;
    for last in (1..count).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(last, (state >> 33) as usize % (last + 1));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_stands_in_one_batch_that_it_fits() {
        let lengths: Vec<usize> = (0..150).map(|n| n * 7 % 40).collect();
        let budget = TokenBudget::new(128, 40).unwrap();
        for composition in Composition::all(budget) {
            let laid = composition.lay(&lengths, 40);
            let mut seen: Vec<usize> = laid.batches.iter().flat_map(|(positions, _)| positions.clone()).collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..150), "{composition}");
            for (positions, columns) in &laid.batches {
                let longest = positions.iter().map(|&position| lengths[position]).max().unwrap();
                assert!(*columns >= longest && (1..=40).contains(columns), "{composition}: {columns} for {longest}");
            }
            let widened = laid.batches.iter().filter(|(p, columns)| p.len() == 1 && *columns > lengths[p[0]].max(1));
            assert_eq!(widened.count() > 100, composition == Composition::Padded, "{composition}");
        }
    }

    #[test]
    fn shuffling_moves_nearly_all_and_is_always_the_same() {
        let order = shuffled(100);
        assert_eq!(order, shuffled(100));
        assert!(order.iter().enumerate().filter(|(at, position)| at != *position).count() > 90);
        assert!(shuffled(0).is_empty());
    }

    #[test]
    fn names_say_what_is_put_together() {
        let names: Vec<String> =
            Composition::all(TokenBudget::new(1_024, 512).unwrap()).iter().map(ToString::to_string).collect();
        let expected = [
            "alone",
            "batches of 8",
            "batches of 64",
            "planned, 1024 tokens",
            "alone, padded",
            "batches of 8, shuffled",
        ];
        assert_eq!(names, expected);
        let name = |texts: usize| Composition::Batches(64).lay(&vec![3; texts], 8).name();
        assert_eq!([63, 64, 65].map(name), ["one batch of 63", "batches of 64", "batches of 64"]);
    }

    #[test]
    fn what_comes_to_the_same_batches_is_laid_once() {
        let all = Composition::all(TokenBudget::new(1_024, 512).unwrap());
        let names = |texts: usize| -> Vec<String> {
            Composition::lay_all(&all, &vec![3; texts], 8).iter().map(Laid::name).collect()
        };
        let planned = "planned, 1024 tokens";
        assert_eq!(names(3), ["alone", "one batch of 3", planned, "alone, padded", "one batch of 3, shuffled"]);
        let eight = ["alone", "batches of 8", planned, "alone, padded", "batches of 8, shuffled"];
        assert_eq!(names(8), eight.map(str::to_owned));
    }
}
