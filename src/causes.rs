//! An error in words: itself and what caused it, on one line. Knows no error of ours.

use std::error::Error;

/// `error` and its causes, outermost first, parted by colons. Line breaks and runs of blanks within become one blank.
pub fn on_one_line(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer\n  line")]
    struct Outer(#[source] std::fmt::Error);

    #[test]
    fn causes_follow_and_lines_are_joined() {
        let inner = std::fmt::Error;
        assert_eq!(on_one_line(&Outer(inner)), format!("outer line: {inner}"));
        assert_eq!(on_one_line(&inner), inner.to_string());
    }
}
