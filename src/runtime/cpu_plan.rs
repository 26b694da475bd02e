//! How the threads of a run are divided among sessions side by side.
//!
//! Owns the arithmetic; opens nothing. Invariant: every thread goes to one session, and every session has one or more.

use super::error::Error;

/// Threads of each session, as even as they can be, the larger shares first.
///
/// # Errors
/// No threads, no sessions, or more sessions than threads.
pub fn divide_threads(threads: usize, sessions: usize) -> Result<Vec<usize>, Error> {
    match (threads, sessions) {
        (0, _) => Err(Error::Threads { threads }),
        (_, 0) => Err(Error::NoSessions),
        _ if threads < sessions => Err(Error::FewThreads { threads, sessions }),
        _ => Ok((0..sessions).map(|session| threads / sessions + usize::from(session < threads % sessions)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_goes_to_one_session() {
        for threads in 1..20 {
            for sessions in 1..=threads {
                let shares = divide_threads(threads, sessions).unwrap();
                assert_eq!((shares.len(), shares.iter().sum::<usize>()), (sessions, threads));
                assert!(shares[0] - shares[sessions - 1] <= 1, "{shares:?}");
            }
        }
        assert_eq!(divide_threads(5, 3).unwrap(), [2, 2, 1]);
    }

    #[test]
    fn what_cannot_be_divided_is_refused_with_both_numbers() {
        let error = divide_threads(2, 3).unwrap_err();
        assert_eq!(error.to_string(), "`--sessions 3` needs 3 threads or more, got 2");
        assert_eq!(error.hint().unwrap(), "`--threads 3` or more, or at most `--sessions 2`");
        assert_eq!(divide_threads(2, 0).unwrap_err().to_string(), "an encoder needs at least 1 session, got 0");
        assert!(matches!(divide_threads(0, 1), Err(Error::Threads { threads: 0 })));
    }
}
