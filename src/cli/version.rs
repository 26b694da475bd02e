//! `--version`: the program's version and, at length, the ONNX Runtime that it would load. Only asked for at length is
//! the library looked for, and nothing that goes wrong there keeps the version from being told.

use std::path::PathBuf;

use offprint::runtime::{Error, OnnxRuntime};

/// Whether the program's own `--version` stands on the command line; `-V` is short.
pub(crate) fn is_asked_at_length() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == "--version")
}

/// The version, and below it the library's version and file.
pub(crate) fn at_length() -> String {
    let named = std::env::var_os("OFFPRINT_ORT_LIB").filter(|name| !name.is_empty()).map(PathBuf::from);
    let library = match OnnxRuntime::find(named.as_deref()) {
        Ok((path, version, place)) => format!("{version} at {} ({place})", path.display()),
        Err(Error::LibraryNotFound { .. }) => "not found (`offprint doctor` shows where it was looked for)".to_owned(),
        Err(error) => format!("not found ({error})"),
    };
    format!("{}\nONNX Runtime: {library}", env!("CARGO_PKG_VERSION"))
}
