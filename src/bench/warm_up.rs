//! Running until the speed settles, so that what is measured is not the start. Owns the rule: three windows in a row that
//! agree. Knows nothing of what is run; the clock is given. Invariant: it ends, at the latest with the window in which
//! the limit passes.

use serde::{Deserialize, Serialize};

use super::Error;

/// Windows in a row that have to agree.
const WINDOWS: usize = 3;
/// How far apart they may be, as a share of the middle one.
const AGREEMENT: f64 = 0.10;
/// A window is at least this share of the limit long.
const WINDOW_SHARE: f64 = 0.05;

/// How a warm-up went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WarmUp {
    /// Padded tokens a second of each window.
    pub windows: Vec<f64>,
    /// Whether the last three agree within a tenth.
    pub settled: bool,
    /// How long it took.
    pub seconds: f64,
}

/// Calls `run`, which says how many tokens it computed, until three windows in a row agree or `limit` seconds are over.
pub(super) fn warm_up(
    limit: f64,
    clock: &dyn Fn() -> f64,
    run: &mut dyn FnMut() -> Result<u64, Error>,
) -> Result<WarmUp, Error> {
    let started = clock();
    let mut windows = Vec::new();
    loop {
        let (window, mut tokens) = (clock(), 0);
        let seconds = loop {
            tokens += run()?;
            let seconds = clock() - window;
            if seconds >= limit * WINDOW_SHARE {
                break seconds;
            }
        };
        windows.push(tokens as f64 / seconds.max(1e-9));
        let settled = settled(&windows);
        let seconds = clock() - started;
        if settled || seconds >= limit {
            return Ok(WarmUp { windows, settled, seconds });
        }
    }
}

/// Whether the last windows agree.
fn settled(windows: &[f64]) -> bool {
    let Some(last) = windows.last_chunk::<WINDOWS>() else { return false };
    let mut last = *last;
    last.sort_unstable_by(f64::total_cmp);
    last[WINDOWS - 1] - last[0] <= AGREEMENT * last[WINDOWS / 2]
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A warm-up whose passes of 100 tokens take these times; the last one again and again.
    fn with(limit: f64, passes: &[f64]) -> WarmUp {
        let (time, at) = (Cell::new(5.0), Cell::new(0));
        let mut run = || {
            time.set(time.get() + passes[at.get().min(passes.len() - 1)]);
            at.set(at.get() + 1);
            Ok(100)
        };
        warm_up(limit, &|| time.get(), &mut run).unwrap()
    }

    #[test]
    fn three_windows_that_agree_end_it() {
        // Windows of 0.5 s: the slow ones are one pass each, then two and more.
        let found = with(10.0, &[2.0, 1.0, 0.5, 0.5, 0.52]);
        assert_eq!(found.windows.len(), 5);
        assert_eq!(found.windows[..2], [50.0, 100.0]);
        assert!(found.settled && (found.seconds - 4.52).abs() < 1e-9, "{found:?}");
        assert!((with(10.0, &[0.1]).windows[0] - 1_000.0).abs() < 1e-6, "five passes make a window");
    }

    #[test]
    fn a_series_that_does_not_settle_ends_at_the_limit_and_says_so() {
        let passes: Vec<f64> = (0..100).map(|n| 0.5 * 1.3_f64.powi(n)).collect();
        let found = with(10.0, &passes);
        assert!(!found.settled && found.seconds >= 10.0, "{found:?}");
        assert!(found.seconds < 20.0 && found.windows.len() > 3);
    }

    #[test]
    fn agreement_is_within_a_tenth_of_the_middle_one() {
        assert!(settled(&[1.0, 95.0, 100.0, 105.0]));
        assert!(!settled(&[94.9, 100.0, 105.0]));
        assert!(!settled(&[100.0, 100.0]));
    }

    #[test]
    fn a_failing_run_is_the_error_of_the_warm_up() {
        assert!(matches!(warm_up(1.0, &|| 0.0, &mut || Err(Error::NoTexts)), Err(Error::NoTexts)));
    }
}
