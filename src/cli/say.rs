//! The program's words: results on stdout, everything for people on stderr. Colours only for a person: on stderr, on a
//! terminal, unless `NO_COLOR` or `TERM=dumb` say otherwise (`CLICOLOR_FORCE` asks for them anyway); stdout has none.

use std::io::{self, ErrorKind, Write};

use anstyle::{AnsiColor, Style};
use anyhow::{Context, Result};
use indicatif::HumanCount;

/// Writes a line to stdout.
///
/// A reader who went away (`offprint doctor | head -1`) is no failure: what is left of the work is done, and its status
/// stays. Unlike `println!` it gives any other error back.
pub(crate) fn say(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("could not write to standard output"),
    }
}

/// Writes lines to stderr. A stderr that is closed leaves nobody to be told.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{}", styled(text));
}

/// A number of things in words: `1 row`, `2,000 rows`, `3 classes`.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    let ending = match (count, thing.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {thing}{ending}", HumanCount(count))
}

/// [`counted`] with the verb behind it: `1 row was rejected`, `2 rows were rejected`.
pub(crate) fn counted_that(count: u64, thing: &str, (one, several): (&str, &str)) -> String {
    format!("{} {}", counted(count, thing), if count == 1 { one } else { several })
}

/// The words that open a line, and how they look.
const OPENINGS: [(&str, Style); 5] = [
    ("error:", AnsiColor::Red.on_default().bold()),
    ("warning:", AnsiColor::Yellow.on_default().bold()),
    ("cause:", AnsiColor::Red.on_default()),
    ("hint:", AnsiColor::Cyan.on_default()),
    ("note:", AnsiColor::Cyan.on_default()),
];

/// The text with its opening words in colour.
fn styled(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words = line.trim_start();
        let indent = &line[..line.len() - words.len()];
        match OPENINGS.iter().find_map(|(word, style)| Some((word, style, words.strip_prefix(word)?))) {
            Some((word, style, rest)) => format!("{indent}{style}{word}{style:#}{rest}"),
            None => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{counted, counted_that, styled};

    #[test]
    fn one_thing_is_one_and_others_are_several() {
        let words = [0, 1, 2, 1_000].map(|count| counted(count, "row"));
        assert_eq!(words, ["0 rows", "1 row", "2 rows", "1,000 rows"]);
        assert_eq!([counted(1, "class"), counted(2, "class")], ["1 class", "2 classes"]);
        let said = [1, 2].map(|count| counted_that(count, "row", ("was", "were")));
        assert_eq!(said, ["1 row was", "2 rows were"]);
    }

    #[test]
    fn only_the_words_that_open_a_line_are_coloured() {
        let text = "error: no error: here\n  hint: try again\nrows: 3 warning:";
        let plain = anstream::adapter::strip_str(&styled(text)).to_string();
        assert_eq!(plain, text);
        let red = styled("error: x");
        assert!(red.starts_with("\u{1b}[1m\u{1b}[31merror:\u{1b}[0m") || red.contains("error:\u{1b}[0m x"), "{red:?}");
        assert_eq!(styled("12 rows, error: none"), "12 rows, error: none");
        assert_eq!(styled(""), "");
    }
}
