//! The program's words: results on stdout, everything for people on stderr.

use std::io::{self, Write};

/// Writes a line to stdout. Unlike `println!` it gives the error back, so that a reader who went away ends the program
/// quietly.
pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Writes a line to stderr. A stderr that is closed leaves nobody to be told.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
