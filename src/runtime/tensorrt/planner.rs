//! Cuts the lengths that batches can have into a few ranges, one engine for each.
//!
//! Pure: what batches a corpus makes comes in, profiles go out. Invariants: the ranges follow each other without a gap
//! from the narrowest batch to the longest input, so that every batch within the budget lies in exactly one of them,
//! whatever the texts; the same input gives the same profiles.
//!
//! A range from `a` to `b` tokens must take as many texts of `b` tokens as the budget allows of `a` tokens: memory is
//! set aside for about b/a times the budget. That factor is bounded, which alone asks for some cuts. Where more cuts
//! bring batches clearly nearer to the shape that their engine is tuned for, there are more: a shortest path over the
//! cuts, for each number of ranges.

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::histogram::ShapeHistogram;
use super::shape::{BatchShape, ShapeProfile};

/// The most profiles of a plan: each is an engine that takes minutes to build, and a copy of the weights on the GPU.
pub const MAX_PROFILES: usize = 8;

/// An engine sets memory aside for at most so many times the token budget, if `MAX_PROFILES` engines allow it.
const RESERVE: usize = 4;

/// One more engine must bring a batch nearer to a tuned shape by this many octaves, on average over the tokens.
const WORTH_AN_ENGINE: f64 = 0.05;

/// The longest input that profiles are planned for, in tokens: far beyond what encoders read.
const LONGEST: usize = 1 << 20;

/// Share of the work below which a range says nothing of how full batches are.
const LITTLE_WORK: f64 = 0.01;

/// Places for a cut in each octave.
const CUTS_AN_OCTAVE: usize = 8;

/// What batches a run can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLimits {
    /// The longest input in tokens; at least 1.
    pub max_length: usize,
    /// Padded tokens of a batch; at least `max_length`.
    pub batch_tokens: usize,
    /// Texts of a batch, however short they are: those of a window.
    pub batch_rows: usize,
    /// Widths of batches are multiples of it, or the longest input; at least 1.
    pub step: usize,
    /// Profiles of the plan; at least 1, at most [`MAX_PROFILES`].
    pub profiles: usize,
}

impl PlanLimits {
    /// The most texts of a batch of this length.
    pub fn rows_at(&self, length: usize) -> usize {
        (self.batch_tokens / length.max(1)).min(self.batch_rows).max(1)
    }

    /// Whether a run of these limits makes no batch that one of `other` would not.
    pub fn fits_in(&self, other: &Self) -> bool {
        let longest_is_a_width = self.max_length == other.max_length || self.max_length.is_multiple_of(other.step);
        self.max_length <= other.max_length
            && longest_is_a_width
            && self.step.is_multiple_of(other.step)
            && self.batch_tokens <= other.batch_tokens
            && self.batch_rows <= other.batch_rows
    }

    /// The width of a batch whose longest text has so many tokens.
    fn width(&self, length: usize) -> usize {
        length.next_multiple_of(self.step).min(self.max_length)
    }

    /// Memory of a range, in padded tokens.
    fn reserve(&self, first: usize, last: usize) -> usize {
        self.rows_at(self.width(first)).saturating_mul(last)
    }
}

/// Profiles, shortest texts first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnginePlan {
    /// What they were made for.
    pub limits: PlanLimits,
    /// The profiles; at least one.
    pub profiles: Vec<ShapeProfile>,
    /// How far the batches are from the length that their engine is tuned for, in octaves, on average over the padded
    /// tokens: 0 if all are of that length, 1 if all are half or twice as long.
    pub distance: f64,
    /// The most memory that an engine sets aside, in multiples of the token budget.
    pub reserve: f64,
}

/// Plans the profiles for runs within `limits`, tuned for the batches in `histogram`. Takes time in proportion to the
/// longest input, and to the square of its octaves.
///
/// # Errors
/// A longest input of no token or of more than a million, or a budget below it.
pub fn plan_profiles(histogram: &ShapeHistogram, limits: PlanLimits) -> Result<EnginePlan, Error> {
    if !(1..=LONGEST).contains(&limits.max_length) {
        return Err(Error::LongestInput { got: limits.max_length, most: LONGEST });
    }
    if limits.batch_tokens < limits.max_length {
        return Err(Error::BudgetTooSmall { budget: limits.batch_tokens, max_length: limits.max_length });
    }
    let limits = PlanLimits { profiles: limits.profiles.clamp(1, MAX_PROFILES), step: limits.step.max(1), ..limits };
    let lengths = Lengths::new(histogram, limits.max_length);
    let ends = ends_of_ranges(&limits);
    let mut reserve = RESERVE;
    let (distance, ranges) = loop {
        let allowed = limits.batch_tokens.saturating_mul(reserve);
        if let Some(best) = best_ranges(&lengths, &ends, (limits, allowed)) {
            break best;
        }
        // With one range for all lengths nothing is left to bound.
        reserve = reserve.saturating_mul(2);
    };
    let profile = |&(first, last): &(usize, usize)| {
        let length = limits.width(lengths.tuned(first, last));
        let most = limits.rows_at(length);
        let rows = (fill(histogram, (first, last), &limits) * most as f64).round() as usize;
        ShapeProfile {
            min: BatchShape::new(1, first.max(limits.width(1))),
            opt: BatchShape::new(rows.clamp(1, most), length),
            max: BatchShape::new(limits.rows_at(limits.width(first)), last),
        }
    };
    let profiles: Vec<ShapeProfile> = ranges.iter().map(profile).collect();
    let largest = profiles.iter().map(|profile| profile.max.tokens()).max().unwrap_or(0);
    Ok(EnginePlan { limits, profiles, distance, reserve: largest as f64 / limits.batch_tokens as f64 })
}

/// How full the batches of a range are, 0 to 1, on average over their tokens. Where there is hardly any work they are taken
/// for full: a handful of texts says nothing of other corpora.
fn fill(histogram: &ShapeHistogram, (first, last): (usize, usize), limits: &PlanLimits) -> f64 {
    let tokens = histogram.tokens_between(first, last);
    if tokens == 0 || (tokens as f64) < LITTLE_WORK * histogram.tokens() as f64 {
        return 1.0;
    }
    let full = |length: usize| {
        let rows = histogram.mean_rows(length).unwrap_or(0);
        histogram.tokens_at(length) as f64 * (rows as f64 / limits.rows_at(length) as f64).min(1.0)
    };
    (first..=last).map(full).sum::<f64>() / tokens as f64
}

/// The widths that a range may end at, the longest input among them.
fn ends_of_ranges(limits: &PlanLimits) -> Vec<usize> {
    let longest = limits.max_length;
    let mut ends: Vec<usize> = Vec::new();
    let mut octave = 1_usize;
    while octave < longest {
        let step = |part: usize| octave + octave * part / CUTS_AN_OCTAVE;
        ends.extend((0..CUTS_AN_OCTAVE).map(step).filter(|&end| end < longest && limits.width(end) == end));
        octave = octave.saturating_mul(2);
    }
    ends.push(longest);
    ends.dedup();
    ends
}

type Ranges = Vec<(usize, usize)>;

/// The ranges at the least distance, as few as are worth it; none where they would be too many.
fn best_ranges(lengths: &Lengths, ends: &[usize], (limits, allowed): (PlanLimits, usize)) -> Option<(f64, Ranges)> {
    let first = |place: usize| if place == 0 { 1 } else { ends[place - 1] + 1 };
    // best[place] = (distance of all lengths before that place's range, where the range before it begins)
    let mut best: Vec<Option<(f64, usize)>> = vec![None; ends.len() + 1];
    best[0] = Some((0.0, 0));
    let mut steps = vec![best];
    let mut chosen: Option<(f64, usize)> = None;
    for count in 1..=limits.profiles {
        let before = &steps[count - 1];
        let mut best = vec![None; ends.len() + 1];
        for (end, slot) in best.iter_mut().enumerate().skip(1) {
            for (start, known) in before.iter().enumerate().take(end) {
                let (Some((distance, _)), true) = (known, limits.reserve(first(start), ends[end - 1]) <= allowed)
                else {
                    continue;
                };
                let distance = distance + lengths.distance(first(start), ends[end - 1]);
                if slot.is_none_or(|(least, _)| distance < least) {
                    *slot = Some((distance, start));
                }
            }
        }
        let worth =
            |(least, fewer): (f64, usize), distance: f64| least - distance >= WORTH_AN_ENGINE * (count - fewer) as f64;
        if let Some((distance, _)) = best[ends.len()]
            && chosen.is_none_or(|fewer| worth(fewer, distance))
        {
            chosen = Some((distance, count));
        }
        steps.push(best);
    }
    let (distance, count) = chosen?;
    let mut ranges = Vec::with_capacity(count);
    let mut end = ends.len();
    for step in steps[1..=count].iter().rev() {
        let (_, start) = step[end]?;
        ranges.push((first(start), ends[end - 1]));
        end = start;
    }
    ranges.reverse();
    Some((distance, ranges))
}

/// Sums over lengths, so that a range is weighed in the time of a search for its middle.
struct Lengths {
    /// Share of the padded tokens in batches of at most this many tokens; by length, from 0.
    share: Vec<f64>,
    /// The same, each share times the logarithm of its length, to base 2.
    octaves: Vec<f64>,
}

impl Lengths {
    fn new(histogram: &ShapeHistogram, longest: usize) -> Self {
        let all = histogram.tokens_between(1, longest).max(1) as f64;
        let (mut share, mut octaves) = (vec![0.0], vec![0.0]);
        for length in 1..=longest {
            let part = histogram.tokens_at(length) as f64 / all;
            share.push(share[length - 1] + part);
            octaves.push(octaves[length - 1] + part * (length as f64).log2());
        }
        Self { share, octaves }
    }

    /// The length that half of the range's tokens are in batches of at most; where there are none, the middle octave.
    fn tuned(&self, first: usize, last: usize) -> usize {
        let (before, until) = (self.share[first - 1], self.share[last]);
        if until <= before {
            let middle = (first as f64 * last as f64).sqrt() as usize;
            return middle.clamp(first, last);
        }
        let half = f64::midpoint(before, until);
        let within = &self.share[first..=last];
        (first + within.partition_point(|&share| share < half)).min(last)
    }

    /// Octaves between the batches of the range and its tuned length, summed over the shares of their tokens.
    fn distance(&self, first: usize, last: usize) -> f64 {
        let middle = self.tuned(first, last);
        let log = (middle as f64).log2();
        let part = |sums: &[f64], from: usize, to: usize| sums[to] - sums[from - 1];
        let below = log * part(&self.share, first, middle) - part(&self.octaves, first, middle);
        let above = part(&self.octaves, middle, last) - log * part(&self.share, middle, last);
        (below + above).max(0.0)
    }
}

#[cfg(test)]
#[path = "planner_tests.rs"]
mod tests;
