//! Groups texts of like length into batches that stay within a budget of padded tokens.
//!
//! Owns the cut and the padding. Knows nothing of texts: lengths go in, positions in the window come out. Invariant:
//! every position of the window stands in exactly one batch, and no batch costs more than the budget.
//!
//! On an accelerator batches are widened to a step of [`columns`](TokenBudget::columns), so that few shapes come up again and
//! again: memory that is bound to a shape is used again, and kernels are chosen once. Nothing is widened elsewhere.

use std::cmp::Reverse;

use super::error::Error;
use super::tokenizer::Encoding;
use crate::runtime::tensorrt::PlanLimits;
use crate::runtime::{Batch, ProviderChoice};

/// What starting one more batch costs, in padded tokens: the plan pads this much rather than start another.
const BATCH_COST: u64 = 16;

/// Steps of the width of a batch, in tokens: this one up to [`SHORT`] tokens, [`LONG_STEP`] beyond, a multiple of it.
const SHORT_STEP: usize = 8;
/// The widest batch whose width goes by the short step.
const SHORT: usize = 64;
/// The step beyond. 6,191 abstracts of computer science, cut at 512 tokens, in windows of 4,096 and batches of 16,384 tokens
/// make 69 shapes with 2.6 % padding; 40 with 5.2 % by a step of 32, 127 with 1.2 % by one of 8, 333 with 0.1 % by none.
const LONG_STEP: usize = 16;

/// The most that a batch may cost: length of its longest text × texts, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBudget {
    tokens: usize,
    max_length: usize,
    by: DecidedBy,
    /// Whether widths go by steps.
    stepped: bool,
}

/// Who decides a budget, once it is known which provider runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DecidedBy {
    /// The user, for all of them.
    User,
    /// The provider.
    Provider,
    /// A measurement on this provider; any other decides itself.
    Tuning(ProviderChoice),
}

impl TokenBudget {
    /// A budget of `tokens`, for texts of at most `max_length` tokens.
    ///
    /// # Errors
    /// A text of max length would fit in no batch.
    pub fn new(tokens: usize, max_length: usize) -> Result<Self, Error> {
        if tokens < max_length {
            return Err(Error::BudgetTooSmall { budget: tokens, max_length });
        }
        Ok(Self { tokens, max_length, by: DecidedBy::User, stepped: false })
    }

    /// A budget for texts of at most `max_length` tokens that suits the provider which will run; until that is known, the one
    /// for the CPU provider.
    pub fn of_provider(max_length: usize) -> Self {
        let tokens = ProviderChoice::Cpu.batch_tokens().max(max_length);
        Self { tokens, max_length, by: DecidedBy::Provider, stepped: false }
    }

    /// The same, but of `tokens` on that provider, where these were found to be fastest; no fewer than a text of max length
    /// has.
    pub fn tuned(self, tokens: usize, provider: ProviderChoice) -> Self {
        Self { by: DecidedBy::Tuning(provider), ..self.of(tokens) }
    }

    /// The budget on that provider: of as many tokens, unless these were to suit the provider, and with widths by steps on an
    /// accelerator.
    pub fn on(self, provider: ProviderChoice) -> Self {
        let budget = match self.by {
            DecidedBy::User => self,
            DecidedBy::Tuning(tuned) if tuned == provider => self,
            DecidedBy::Provider | DecidedBy::Tuning(_) => self.of(provider.batch_tokens()),
        };
        Self { stepped: provider.is_accelerator(), ..budget }
    }

    /// Columns of a batch whose longest text has so many tokens: as many, or the next step, which never passes the max
    /// length. A text without tokens still takes a place.
    pub fn columns(self, longest: usize) -> usize {
        let exact = longest.max(1);
        if !self.stepped {
            return exact;
        }
        let step = if exact <= SHORT { SHORT_STEP } else { LONG_STEP };
        exact.next_multiple_of(step).min(self.max_length).max(exact)
    }

    /// Padded tokens of a batch of texts of these lengths.
    pub(super) fn cost(self, lengths: impl ExactSizeIterator<Item = usize>) -> usize {
        lengths.len() * self.columns(lengths.max().unwrap_or(0))
    }

    /// What batches a run within this budget can make, of at most so many texts each; for engines of so many profiles.
    pub fn limits(self, batch_rows: usize, profiles: usize) -> PlanLimits {
        let step = if self.stepped { SHORT_STEP } else { 1 };
        PlanLimits { max_length: self.max_length, batch_tokens: self.tokens, batch_rows, step, profiles }
    }

    /// The longest text that it is for, in tokens.
    pub(super) fn max_length(self) -> usize {
        self.max_length
    }

    /// The budget in padded tokens.
    pub fn tokens(self) -> usize {
        self.tokens
    }

    /// The same for batches of half as many tokens, but no fewer than a text of max length has.
    pub(super) fn halved(self) -> Self {
        self.of(self.tokens / 2)
    }

    /// The same for batches of so many tokens, but no fewer than a text of max length has.
    pub(super) fn of(self, tokens: usize) -> Self {
        Self { tokens: tokens.max(self.max_length), ..self }
    }
}

/// The batches of one window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchPlan {
    /// Positions in the window, batch by batch; the longest texts first.
    pub batches: Vec<Vec<usize>>,
    /// Tokens that are computed, padding included.
    pub padded_tokens: u64,
    /// Tokens that belong to texts.
    pub useful_tokens: u64,
}

impl BatchPlan {
    /// The share of the computed tokens that is padding, 0 to 1; 0 for an empty plan.
    pub fn padding_share(&self) -> f64 {
        padding_share(self.padded_tokens, self.useful_tokens)
    }
}

/// The share of `padded` tokens that are not `useful`, 0 to 1; 0 where there are none.
pub(crate) fn padding_share(padded: u64, useful: u64) -> f64 {
    match padded {
        0 => 0.0,
        padded => (padded - useful) as f64 / padded as f64,
    }
}

/// Plans a window of texts, given their lengths in tokens.
///
/// The texts are sorted by length, longest first and in their order where lengths are equal, and the sorted row is cut
/// where the sum of padded tokens, plus a constant for each batch, is least (a shortest path over the cuts). Takes
/// time in proportion to the window × the texts that fit in a batch. A text longer than the budget, which
/// [`TokenBudget::new`] excludes for texts within the max length, gets a batch of its own.
pub fn plan(lengths: &[usize], budget: TokenBudget) -> BatchPlan {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&position| Reverse(lengths[position]));
    let sorted: Vec<usize> = order.iter().map(|&position| lengths[position]).collect();
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut padded_tokens = 0;
    let mut end = order.len();
    for start in cuts(&sorted, budget) {
        padded_tokens += budget.columns(sorted[start]) as u64 * (end - start) as u64;
        batches.push(order[start..end].to_vec());
        end = start;
    }
    batches.reverse();
    let useful_tokens = lengths.iter().map(|&length| length as u64).sum();
    BatchPlan { batches, padded_tokens, useful_tokens }
}

/// Where batches start in a row of falling lengths, last start first, at the least cost.
fn cuts(sorted: &[usize], budget: TokenBudget) -> Vec<usize> {
    // best[end] = (cost of the first `end` texts, start of their last batch)
    let mut best = vec![(u64::MAX, 0); sorted.len() + 1];
    best[0] = (0, 0);
    for start in 0..sorted.len() {
        let length = budget.columns(sorted[start]);
        let rows = (budget.tokens() / length).max(1).min(sorted.len() - start);
        let before = best[start].0 + BATCH_COST;
        for (slot, rows) in best[start + 1..=start + rows].iter_mut().zip(1_u64..) {
            let cost = before + length as u64 * rows;
            // Of equal costs the earlier start wins: fewer batches.
            if cost < slot.0 {
                *slot = (cost, start);
            }
        }
    }
    let previous = |&end: &usize| (end > 0).then(|| best[end].1);
    std::iter::successors(previous(&sorted.len()), previous).collect()
}

/// Pads the encodings on the right to the length of the longest. Row-major, one row per encoding, in their order. None has an adapter.
pub fn assemble(encodings: &[&Encoding], pad_id: u32) -> Batch {
    padded(encodings, pad_id, |longest| longest.max(1))
}

/// The same, padded to the width that the budget gives such a batch.
pub fn assemble_within(budget: TokenBudget, encodings: &[&Encoding], pad_id: u32) -> Batch {
    padded(encodings, pad_id, |longest| budget.columns(longest))
}

fn padded(encodings: &[&Encoding], pad_id: u32, width: impl Fn(usize) -> usize) -> Batch {
    let rows = encodings.len();
    let columns = encodings.iter().map(|encoding| encoding.ids.len()).max().map_or(0, width);
    let mut ids = Vec::with_capacity(rows * columns);
    let mut mask = Vec::with_capacity(rows * columns);
    for (row, encoding) in (1..).zip(encodings) {
        ids.extend(encoding.ids.iter().map(|&id| i64::from(id)));
        mask.resize(ids.len(), 1);
        ids.resize(row * columns, i64::from(pad_id));
        mask.resize(row * columns, 0);
    }
    Batch { ids, mask, rows, columns, adapters: Vec::new() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budget(tokens: usize) -> TokenBudget {
        TokenBudget::new(tokens, 1).unwrap()
    }

    #[test]
    fn a_budget_below_the_max_length_is_refused_with_both_numbers() {
        let error = TokenBudget::new(511, 512).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`--max-batch-tokens 511` is below the longest input (max length 512), so such a paper would fit in no batch"
        );
        assert_eq!(
            error.hint().unwrap(),
            "raise `--max-batch-tokens` to 512 or more, or export the bundle with a shorter `--max-length`"
        );
        assert_eq!(TokenBudget::new(512, 512).unwrap().tokens(), 512);
    }

    #[test]
    fn a_halved_budget_still_holds_a_text_of_max_length() {
        let budget = TokenBudget::new(1_200, 512).unwrap();
        assert_eq!(budget.halved(), TokenBudget::new(600, 512).unwrap());
        assert_eq!(budget.halved().halved(), TokenBudget::new(512, 512).unwrap());
        assert_eq!((budget.of(900).tokens(), budget.of(9).tokens()), (900, 512));
    }

    #[test]
    fn longest_first_and_stable_among_equals() {
        let plan = plan(&[3, 9, 3, 9, 3], budget(18));
        assert_eq!(plan.batches, [vec![1, 3], vec![0, 2, 4]]);
        assert_eq!((plan.padded_tokens, plan.useful_tokens), (27, 27));
        assert_eq!(plan.padding_share(), 0.0);
    }

    #[test]
    fn nothing_gives_no_batch_and_an_overlong_text_a_batch_of_its_own() {
        let empty = plan(&[], budget(8));
        assert_eq!((empty.batches.len(), empty.padding_share()), (0, 0.0));
        assert_eq!(plan(&[20, 4, 4], budget(8)).batches, [vec![0], vec![1, 2]]);
        assert_eq!(plan(&[0, 0], budget(8)).batches, [vec![0, 1]]);
    }

    #[test]
    fn a_little_padding_is_cheaper_than_another_batch_and_much_is_not() {
        assert_eq!(plan(&[40, 39], budget(1000)).batches.len(), 1);
        assert_eq!(plan(&[90, 10], budget(1000)).batches.len(), 2);
    }

    #[test]
    fn abstracts_pad_less_than_three_percent() {
        // Lengths as in a window of abstracts: 20 to 512 tokens, half of them around 230.
        let spread = |state: usize| (state.wrapping_mul(2_654_435_761) >> 7) % 211;
        let lengths: Vec<usize> = (0..4096).map(|row| (20 + spread(row) + spread(row * 31 + 7)).min(512)).collect();
        let plan = plan(&lengths, budget(1024));
        assert!(plan.padding_share() < 0.01, "{}", plan.padding_share());
        let rows = plan.batches.iter().map(Vec::len).sum::<usize>() as f64 / plan.batches.len() as f64;
        assert!(rows > 3.0, "{rows} rows a batch");
    }

    #[test]
    fn widths_go_by_steps_on_accelerators_alone() {
        let exact = TokenBudget::new(1_024, 500).unwrap();
        let widths =
            |budget: TokenBudget| [0, 1, 8, 9, 64, 65, 80, 81, 490, 500].map(|longest| budget.columns(longest));
        for provider in [ProviderChoice::Cpu, ProviderChoice::OpenVino] {
            assert_eq!(widths(exact.on(provider)), [1, 1, 8, 9, 64, 65, 80, 81, 490, 500]);
        }
        for provider in [ProviderChoice::Cuda, ProviderChoice::TensorRt] {
            assert_eq!(
                widths(exact.on(provider)),
                [8, 8, 8, 16, 64, 80, 80, 96, 496, 500],
                "never past the max length"
            );
        }
        let stepped = exact.on(ProviderChoice::Cuda);
        assert_eq!((stepped.tokens(), stepped.halved().columns(9)), (1_024, 16), "half of it goes by the same steps");
        assert_eq!(stepped.columns(501), 501, "a text that should not be there still gets its place");
        assert_eq!((stepped.cost([9, 3].into_iter()), exact.cost([9, 3].into_iter())), (32, 18));
        let encoding = Encoding { ids: vec![7; 9], n_dropped: 0, title_cut: false };
        let wide = assemble_within(stepped, &[&encoding], 3);
        assert_eq!((wide.columns, &wide.mask[8..], &wide.ids[8..10]), (16, &[1, 0, 0, 0, 0, 0, 0, 0][..], &[7, 3][..]));
    }

    #[test]
    fn steps_leave_few_shapes_and_little_more_padding() {
        // Lengths as in a window of abstracts: 20 to 512 tokens, half of them around 230.
        let spread = |state: usize| (state.wrapping_mul(2_654_435_761) >> 7) % 211;
        let lengths: Vec<usize> = (0..4096).map(|row| (20 + spread(row) + spread(row * 31 + 7)).min(512)).collect();
        let shapes = |budget: TokenBudget| {
            let plan = plan(&lengths, budget);
            let widest = |batch: &Vec<usize>| batch.iter().map(|&text| lengths[text]).max().unwrap();
            let shapes: std::collections::HashSet<(usize, usize)> =
                plan.batches.iter().map(|batch| (batch.len(), budget.columns(widest(batch)))).collect();
            (shapes.len(), plan.padding_share(), plan.batches.len())
        };
        let exact = shapes(TokenBudget::new(16_384, 512).unwrap());
        let stepped = shapes(TokenBudget::new(16_384, 512).unwrap().on(ProviderChoice::Cuda));
        assert!(
            stepped.0 * 4 < exact.0 && stepped.2 < exact.2,
            "shapes, padding, batches: {exact:?}, by steps {stepped:?}"
        );
        assert!(stepped.1 < 0.04, "{stepped:?}");
    }

    #[test]
    fn rows_are_padded_on_the_right_and_masked() {
        let encoding = |ids: &[u32]| Encoding { ids: ids.to_vec(), n_dropped: 0, title_cut: false };
        let (long, short) = (encoding(&[101, 7, 102]), encoding(&[101, 102]));
        let batch = assemble(&[&short, &long], 9);
        assert_eq!((batch.rows, batch.columns), (2, 3));
        assert_eq!(batch.ids, [101, 102, 9, 101, 7, 102]);
        assert_eq!(batch.mask, [1, 1, 0, 1, 1, 1]);
        let hollow = assemble(&[&encoding(&[])], 9);
        assert_eq!((hollow.ids, hollow.mask, hollow.columns), (vec![9], vec![0], 1));
        assert_eq!(assemble(&[], 9).rows, 0);
    }

    /// The least cost by trying every set of cuts.
    fn least_cost(sorted: &[usize], budget: usize) -> u64 {
        let fits = |rows: usize| rows == 1 || sorted[0] * rows <= budget;
        let tail = |rows: usize| sorted[0] as u64 * rows as u64 + BATCH_COST + least_cost(&sorted[rows..], budget);
        (1..=sorted.len()).filter(|&rows| fits(rows)).map(tail).min().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn every_text_once_and_no_batch_over_budget(lengths in prop::collection::vec(0_usize..=90, 0..300), extra in 0_usize..500, provider in 0..6_usize) {
            let budget = TokenBudget::new(90 + extra, 90).unwrap().on(ProviderChoice::ALL[provider]);
            let plan = plan(&lengths, budget);
            let mut seen = plan.batches.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            let mut padded = 0;
            for batch in &plan.batches {
                let longest = batch.iter().map(|&position| lengths[position]).max().unwrap();
                let columns = budget.columns(longest);
                prop_assert!(columns * batch.len() <= budget.tokens());
                prop_assert!((longest.max(1)..=90).contains(&columns));
                prop_assert_eq!(columns * batch.len(), budget.cost(batch.iter().map(|&position| lengths[position])));
                let ids = |&position: &usize| Encoding { ids: vec![1; lengths[position]], n_dropped: 0, title_cut: false };
                let texts: Vec<Encoding> = batch.iter().map(ids).collect();
                let made = assemble_within(budget, &texts.iter().collect::<Vec<_>>(), 0);
                prop_assert_eq!((made.rows, made.columns), (batch.len(), columns));
                padded += (columns * batch.len()) as u64;
            }
            prop_assert_eq!(padded, plan.padded_tokens);
            let firsts: Vec<usize> = plan.batches.iter().map(|batch| lengths[batch[0]]).collect();
            prop_assert!(firsts.is_sorted_by(|a, b| a >= b));
        }

        #[test]
        fn no_other_cut_is_cheaper(lengths in prop::collection::vec(1_usize..=40, 1..11), budget in 40_usize..120) {
            let plan = plan(&lengths, TokenBudget::new(budget, 40).unwrap());
            let mut sorted = lengths.clone();
            sorted.sort_unstable_by_key(|&length| Reverse(length));
            let cost = plan.padded_tokens + BATCH_COST * plan.batches.len() as u64;
            prop_assert_eq!(cost, least_cost(&sorted, budget));
        }
    }
}
