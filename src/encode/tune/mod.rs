//! Finds the fastest way to run an encoder on this machine, by a short measurement on texts of the corpus: how many
//! sessions share the threads, and how many padded tokens a batch has. Knows no terminal. Invariant: what is chosen here
//! changes no bit of any vector, only the time that it takes.

mod choice;
mod kept;
mod measure;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::runtime::divide_threads;

pub use choice::{Measured, Tuned};
pub use kept::{TuneKey, keep_tuned, kept_tuned, tuned_before};
pub use measure::{OpenSessions, TuneJob, TuneStep, first_texts, tune};

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

/// What is tried beside `default`, which comes first: each number of sessions with each budget from a quarter of the
/// default's to four times as much. No budget is below `max_length` tokens, and no session has less than a thread.
pub(crate) fn candidates(default: Setting, threads: usize, max_length: usize) -> Vec<Setting> {
    let mut counts: Vec<usize> = std::iter::successors(Some(1_usize), |count| count.checked_mul(2))
        .take_while(|&count| count < threads)
        .take(MOST_COUNTS - 1)
        .chain([threads])
        .collect();
    if !counts.contains(&default.sessions) {
        counts.push(default.sessions);
    }
    let mut budgets: Vec<usize> =
        [1_usize, 2, 4, 8, 16].map(|quarters| default.batch_tokens.saturating_mul(quarters) / 4).to_vec();
    budgets.retain(|&tokens| tokens >= max_length);
    let mut settings = vec![default];
    for &sessions in &counts {
        settings.extend(budgets.iter().map(|&batch_tokens| Setting { sessions, batch_tokens }));
    }
    let mut met = std::collections::HashSet::new();
    settings.retain(|setting| met.insert(*setting));
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
        let two = candidates(default, 2, 256);
        assert_eq!(two[0], default);
        let mut sorted = two.clone();
        sorted.sort_unstable();
        let grid = [1, 2].iter().flat_map(|&n| [256, 512, 1_024, 2_048, 4_096].map(|tokens| setting(n, tokens)));
        assert_eq!(sorted, grid.collect::<Vec<_>>());
        assert!(candidates(default, 2, 512).iter().all(|setting| setting.batch_tokens >= 512));
        let counts = |threads| {
            let mut counts: Vec<usize> =
                candidates(default, threads, 1_024).iter().map(|setting| setting.sessions).collect();
            counts.sort_unstable();
            counts.dedup();
            counts
        };
        assert_eq!((counts(1), counts(3), counts(6)), (vec![1], vec![1, 2, 3], vec![1, 2, 4, 6]));
        assert_eq!(counts(64), [1, 2, 4, 8, 64]);
        assert_eq!(candidates(setting(1, 512), 1, 512).len(), 3);
    }

    #[test]
    fn a_setting_is_said_in_words() {
        assert_eq!(setting(2, 512).describe(2).unwrap(), "2 sessions × 1 thread, 512 tokens a batch");
        assert_eq!(setting(1, 1_024).describe(2).unwrap(), "1 session × 2 threads, 1024 tokens a batch");
        assert_eq!(setting(2, 256).describe(3).unwrap(), "2 sessions × 1 to 2 threads, 256 tokens a batch");
        assert!(setting(3, 256).describe(2).is_err());
    }
}
