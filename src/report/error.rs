//! What can go wrong with a report: its files, their format, and tables whose rows differ in length.

use std::io;
use std::path::PathBuf;

/// Failure to build, write or read a report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A report's file or folder could not be written.
    #[error("report `{}` could not be written", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `report.json` could not be read.
    #[error("report `{}` could not be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no report.
    #[error("`{}` is not a report of offprint", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected there.
        source: serde_json::Error,
    },
    /// The file was written in another format.
    #[error("report `{}` has format {got}, expected {expected}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Format of the file.
        got: u32,
        /// Format that this program reads.
        expected: u32,
    },
    /// A table is not rectangular, or a matrix is not square.
    #[error("report section `{section}` has {got} {what}, expected {expected}")]
    Shape {
        /// Name of the section.
        section: String,
        /// What was counted: `values in table row 3`, `matrix rows`.
        what: String,
        /// How many there are.
        got: usize,
        /// Number of columns, or of labels.
        expected: usize,
    },
    /// A number in a plot that has no place on its axis.
    #[error(
        "report section `{section}` has {value} on the axis `{axis}` in series `{series}`, expected a finite number{more}"
    )]
    Plot {
        /// Name of the section.
        section: String,
        /// Name of the series.
        series: String,
        /// Name of the axis.
        axis: String,
        /// The number.
        value: f64,
        /// What else the axis asks for.
        more: &'static str,
    },
    /// A value could not be turned into JSON.
    #[error("a report could not be turned into JSON")]
    Serialize(#[source] serde_json::Error),
    /// The page template did not accept the report.
    #[error(
        "the page of a report could not be rendered; this is a bug in offprint; please report it with the lines above"
    )]
    Render(#[source] minijinja::Error),
}

impl Error {
    /// The way out, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Write { .. } => Some("name a folder that can be written with `--report`".to_owned()),
            Self::Format { got, expected, .. } if got > expected => {
                Some("read it with the newer offprint that wrote it, or run the command again".to_owned())
            }
            Self::Format { .. } => Some("run the command again to write the report anew".to_owned()),
            _ => None,
        }
    }
}
