//! Finds the fastest way to run an encoder on this machine, by a short measurement on texts of the corpus: how many
//! sessions share the threads, and how many padded tokens a batch has. Knows no terminal. Invariant: what is chosen here
//! changes no bit of any vector, only the time that it takes.

mod choice;
mod kept;
mod measure;

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::runtime::divide_threads;

pub use choice::{Measured, Race};
pub use kept::{TuneKey, keep_tuned, kept_tuned, tuned_before};
pub use measure::{OpenSessions, TuneJob, TuneStep, Tuned, first_texts, tune};

/// Numbers of sessions that are tried, at most: 1, 2, 4 ... and as many as there are threads.
const MOST_COUNTS: usize = 5;

/// A way to run an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Setting {
    /// Sessions side by side.
    pub sessions: usize,
    /// Padded tokens of a batch.
    pub batch_tokens: usize,
}

impl Setting {
    /// In words, such as `2 sessions × 1 thread, 512 tokens a batch`.
    ///
    /// # Errors
    /// Fewer threads than sessions.
    pub fn describe(&self, threads: usize) -> Result<String, Error> {
        let shares = divide_threads(threads, self.sessions)?;
        let (most, least) = (shares[0], shares[self.sessions - 1]);
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let each = if most == least { most.to_string() } else { format!("{least} to {most}") };
        Ok(format!(
            "{} session{} × {each} thread{}, {} tokens a batch",
            self.sessions,
            plural(self.sessions),
            plural(most),
            self.batch_tokens
        ))
    }
}

/// Numbers of sessions that are tried, the `default` among them; no session has less than a thread.
fn session_counts(default: usize, threads: usize) -> Vec<usize> {
    let mut counts: Vec<usize> = std::iter::successors(Some(1_usize), |count| count.checked_mul(2))
        .take_while(|&count| count < threads)
        .take(MOST_COUNTS - 1)
        .chain([threads])
        .collect();
    if !counts.contains(&default) {
        counts.push(default);
    }
    counts
}

/// What is tried: each of these numbers of sessions with each budget from a quarter of the default's to four times as much
/// that lies in `tokens`. The default comes first, then the others by how often one of both numbers has to be doubled or
/// halved on the way from it.
fn candidates(default: Setting, counts: &[usize], tokens: RangeInclusive<usize>) -> Vec<Setting> {
    let mut budgets: Vec<usize> =
        [1_usize, 2, 4, 8, 16].map(|quarters| default.batch_tokens.saturating_mul(quarters) / 4).to_vec();
    budgets.retain(|budget| tokens.contains(budget));
    let grid = counts.iter().flat_map(|&sessions| budgets.iter().map(move |&tokens| (sessions, tokens)));
    let others = grid.map(|(sessions, batch_tokens)| Setting { sessions, batch_tokens });
    let mut settings: Vec<Setting> = others.filter(|setting| *setting != default).collect();
    let octaves = |one: usize, other: usize| (one as f64 / other as f64).log2().abs();
    let way = |setting: &Setting| {
        octaves(setting.sessions, default.sessions) + octaves(setting.batch_tokens, default.batch_tokens)
    };
    settings.sort_by(|one, other| way(one).total_cmp(&way(other)));
    settings.insert(0, default);
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(sessions: usize, batch_tokens: usize) -> Setting {
        Setting { sessions, batch_tokens }
    }

    #[test]
    fn every_number_of_sessions_meets_every_budget_and_the_default_comes_first() {
        let default = setting(1, 1_024);
        let two = candidates(default, &session_counts(1, 2), 256..=usize::MAX);
        assert_eq!(
            two[..4],
            [default, setting(1, 512), setting(1, 2_048), setting(2, 1_024)],
            "the nearest come first"
        );
        let mut sorted = two.clone();
        sorted.sort_unstable();
        let grid = [1, 2].iter().flat_map(|&n| [256, 512, 1_024, 2_048, 4_096].map(|tokens| setting(n, tokens)));
        assert_eq!(sorted, grid.collect::<Vec<_>>());
        let within = candidates(default, &[1, 2], 512..=1_024);
        assert_eq!(within, [default, setting(1, 512), setting(2, 1_024), setting(2, 512)]);
        let counts = |threads| session_counts(1, threads);
        assert_eq!((counts(1), counts(3), counts(6)), (vec![1], vec![1, 2, 3], vec![1, 2, 4, 6]));
        assert_eq!((counts(64), session_counts(3, 4)), (vec![1, 2, 4, 8, 64], vec![1, 2, 4, 3]));
    }

    #[test]
    fn a_setting_is_said_in_words() {
        assert_eq!(setting(2, 512).describe(2).unwrap(), "2 sessions × 1 thread, 512 tokens a batch");
        assert_eq!(setting(1, 1_024).describe(2).unwrap(), "1 session × 2 threads, 1024 tokens a batch");
        assert_eq!(setting(2, 256).describe(3).unwrap(), "2 sessions × 1 to 2 threads, 256 tokens a batch");
        assert!(setting(3, 256).describe(2).is_err());
    }
}
