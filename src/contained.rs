//! Panics of libraries on damaged files, as errors. Some libraries give up on data that contradicts itself where they
//! should refuse it; a corpus or a model of others' making must not end the program.
//!
//! Knows no library. Invariant: what was being worked on is dropped with the panic, never looked at again.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; the first line of what it said if it panicked. `work` must own what it changes.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let outer = CONTAINED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(outer);
    outcome.map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        said.lines().next().unwrap_or_default().to_owned()
    })
}

/// Keeps the process from telling about panics that become errors; all others are reported as before. For programs, at
/// their start: it wraps the panic hook, which is the process's own.
pub fn hide_contained_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = take_hook();
        set_hook(Box::new(move |panic| {
            if !CONTAINED.get() {
                report(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_first_line() {
        hide_contained_panics();
        assert_eq!(contained(|| 1), Ok(1));
        let formatted = contained(|| -> u8 { panic!("row {}\nof many", 3) });
        assert_eq!(formatted, Err("row 3".to_owned()));
        assert_eq!(contained(|| -> u8 { panic!("plain") }), Err("plain".to_owned()));
        assert!(!CONTAINED.get(), "a later panic of the same thread is told again");
    }
}
