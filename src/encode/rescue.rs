//! What is known while batches fail: how large they may still be, whether the sessions work at all, and which texts
//! failed of late.
//!
//! Runs nothing and knows no file. Invariant: once a budget was halved no session gets a larger batch, and a session
//! that fails at everything ends the run instead of rejecting a corpus.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::adapters::RowKey;
use super::prepare::{WINDOWS_UNDER_WAY, Window};
use super::{Error, TokenBudget};
use crate::causes::on_one_line;
use crate::runtime::{self, ProviderChoice};

/// Whole batches in a row of which no text could be run, after which it is no longer put down to the texts.
const FAILED_BATCHES: usize = 3;

/// What a batch of a run may cost: as it was asked for, and less once memory ran out.
#[derive(Debug)]
pub(super) struct RunBudget {
    options: TokenBudget,
    /// The same on the provider that runs, once that is known.
    provided: OnceLock<TokenBudget>,
    tokens: AtomicUsize,
    ran_out: AtomicU64,
}

impl RunBudget {
    pub fn new(options: TokenBudget) -> Self {
        let tokens = AtomicUsize::new(options.tokens());
        Self { options, provided: OnceLock::new(), tokens, ran_out: AtomicU64::new(0) }
    }

    /// Says which provider runs, before the first batch does.
    pub fn on(&self, provider: ProviderChoice) {
        let budget = self.provided.get_or_init(|| self.options.on(provider));
        self.tokens.store(budget.tokens(), Ordering::Relaxed);
    }

    fn asked(&self) -> TokenBudget {
        self.provided.get().copied().unwrap_or(self.options)
    }

    pub fn now(&self) -> TokenBudget {
        self.asked().of(self.tokens.load(Ordering::Relaxed))
    }

    /// Halves it after memory ran out at a batch that was cut by `used`: once, where sessions side by side run out.
    pub fn halve(&self, used: TokenBudget) {
        self.ran_out.fetch_add(1, Ordering::Relaxed);
        let half = used.halved().tokens();
        // Another session that was faster has halved it already.
        let _ = self.tokens.compare_exchange(used.tokens(), half, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// What the user should know of it.
    pub fn warning(&self) -> Option<String> {
        let times = match self.ran_out.load(Ordering::Relaxed) {
            0 => return None,
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        let mut warning = format!("memory ran out {times} and the batch was halved");
        let (asked, now) = (self.asked().tokens(), self.now().tokens());
        if now < asked {
            warning.push_str(&format!(
                "; later batches had at most {now} padded tokens instead of {asked} (`--max-batch-tokens {now}` begins \
                 there)"
            ));
        }
        Some(warning)
    }
}

/// Whether the sessions of a run work.
#[derive(Debug, Default)]
pub(super) struct Health {
    worked: AtomicBool,
    batches_in_a_row: AtomicUsize,
    texts_in_a_row: AtomicUsize,
}

impl Health {
    /// Something could be run, or was by an earlier run: the encoder is no stranger to such texts.
    pub fn works(&self) {
        self.worked.store(true, Ordering::Relaxed);
        self.batches_in_a_row.store(0, Ordering::Relaxed);
        self.texts_in_a_row.store(0, Ordering::Relaxed);
    }

    /// Of a batch with so many texts none could be run. `last` is given back as the end of the run after some of these
    /// in a row, unless texts could be run before and it is not for want of memory, which a text is never to blame for.
    pub fn batch_failed(&self, texts: usize, last: runtime::Error) -> Result<(), Error> {
        let batches = self.batches_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        let texts = self.texts_in_a_row.fetch_add(texts, Ordering::Relaxed) + texts;
        let excused = self.worked.load(Ordering::Relaxed) && !last.is_out_of_memory();
        if batches < FAILED_BATCHES || excused {
            return Ok(());
        }
        Err(Error::NothingRuns { batches, texts, source: last })
    }
}

/// Texts that could not be run in the last windows, with their reasons: rows of later windows were told that the cache
/// will have them.
#[derive(Debug, Default)]
pub(super) struct Refusals(VecDeque<HashMap<RowKey, String>>);

impl Refusals {
    /// Adds those of a finished window, and forgets those of the oldest.
    pub fn push(&mut self, window: &Window, refused: BTreeMap<usize, String>) {
        let keyed = refused.into_iter().map(|(text, reason)| (window.compute_keys[text], reason));
        self.0.push_back(keyed.collect());
        if self.0.len() > WINDOWS_UNDER_WAY {
            self.0.pop_front();
        }
    }

    pub fn reason(&self, key: RowKey) -> Option<&str> {
        self.0.iter().find_map(|refused| refused.get(&key)).map(String::as_str)
    }
}

/// Why the row of a text is rejected, on one line.
pub(super) fn reason(error: &runtime::Error) -> String {
    format!("the encoder fails on this text: {}", on_one_line(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(tokens: usize) -> TokenBudget {
        TokenBudget::new(tokens, 64).unwrap()
    }

    #[test]
    fn a_budget_is_halved_once_however_many_sessions_ran_out_by_it() {
        let run = RunBudget::new(budget(1_024));
        assert_eq!(run.warning(), None);
        let used = run.now();
        run.halve(used);
        assert_eq!(
            run.warning().unwrap(),
            "memory ran out once and the batch was halved; later batches had at most 512 padded tokens instead of 1024 \
             (`--max-batch-tokens 512` begins there)"
        );
        run.halve(used);
        assert_eq!(run.now(), budget(512));
        for _ in 0..5 {
            run.halve(run.now());
        }
        assert_eq!(run.now(), budget(64), "a text of max length still fits");
        assert!(run.warning().unwrap().starts_with("memory ran out 7 times and the batch was halved; later"));
        let chosen = RunBudget::new(TokenBudget::of_provider(64));
        chosen.on(ProviderChoice::Cuda);
        assert_eq!(chosen.now().tokens(), ProviderChoice::Cuda.batch_tokens());
        assert_eq!((chosen.now().columns(9), run.now().columns(9)), (16, 9), "widths are the provider's, too");
        chosen.halve(chosen.now());
        assert_eq!(chosen.now().tokens(), ProviderChoice::Cuda.batch_tokens() / 2);
        let least = RunBudget::new(budget(64));
        least.halve(least.now());
        assert_eq!(least.warning().unwrap(), "memory ran out once and the batch was halved");
    }

    #[test]
    fn three_whole_batches_in_a_row_are_not_put_down_to_their_texts() {
        let token = || runtime::Error::StubToken { id: 7 };
        let memory = || runtime::Error::StubMemory { tokens: 9, room: 8 };
        let health = Health::default();
        assert!(health.batch_failed(4, token()).is_ok() && health.batch_failed(1, token()).is_ok());
        let error = health.batch_failed(2, token()).unwrap_err();
        assert_eq!(error.to_string(), "none of 7 texts in 3 batches in a row could be run");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), token().to_string());
        health.works();
        for _ in 0..2 {
            assert!(health.batch_failed(1, memory()).is_ok());
        }
        assert!(health.batch_failed(1, token()).is_ok(), "the encoder has run other texts");
        assert!(health.batch_failed(1, memory()).is_err(), "no text is to blame for want of memory");
        health.works();
        assert!(health.batch_failed(1, memory()).is_ok());
    }
}
