//! What can go wrong with engines, with the facts that a message needs and the way out where it is known.

use std::io;
use std::path::PathBuf;

use super::name::EngineTarget;
use super::shape::{BatchShape, ShapeProfile};

/// The version of `engine.json` that is written and read.
pub(super) const ENGINE_FORMAT: u32 = 1;

/// An error of planning, keeping or guarding engines.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Lengths that no engine could be planned for.
    #[error("engines are planned for inputs of 1 to {most} tokens, the bundle's longest has {got}")]
    LongestInput {
        /// The bundle's max length.
        got: usize,
        /// The longest that is planned for.
        most: usize,
    },
    /// A budget that the longest possible text does not fit.
    #[error(
        "`--max-batch-tokens {budget}` is below the longest input (max length {max_length}), so such a paper would fit in no batch"
    )]
    BudgetTooSmall {
        /// As asked, in padded tokens.
        budget: usize,
        /// The bundle's max length, in tokens.
        max_length: usize,
    },
    /// A batch outside of every profile: TensorRT would fail on it, or build an engine anew.
    #[error("a batch of {shape} tokens lies in none of the {} engines ({})", profiles.len(), list(profiles))]
    Unplanned {
        /// Texts × tokens.
        shape: BatchShape,
        /// What the engines take.
        profiles: Vec<ShapeProfile>,
    },
    /// Sessions that do not go with the profiles.
    #[error(
        "{sessions} sessions were opened for {profiles} engines; this is a bug in offprint, please report it with the lines above"
    )]
    SessionCount {
        /// As given.
        sessions: usize,
        /// Engines of the plan.
        profiles: usize,
    },
    /// The system refused to read or write; the source says why.
    #[error("could not {action} `{}`", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// `engine.json` is no JSON of the expected form.
    #[error("`{}` does not describe engines", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Where it stops making sense.
        #[source]
        source: serde_json::Error,
    },
    /// The folder was written by another format version.
    #[error("`{}` has engine format {got}, this version reads format {ENGINE_FORMAT}", path.display())]
    Format {
        /// The file that says so.
        path: PathBuf,
        /// Its version.
        got: u32,
    },
    /// TensorRT ended a build without an engine.
    #[error("TensorRT left no engine in `{}`: it did not take the whole graph", path.display())]
    NoEngine {
        /// The folder of the profile.
        path: PathBuf,
    },
    /// The folder is in use by another process.
    #[error("the engines in `{}` are being built or used by another process", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A folder whose name ONNX Runtime's options cannot say.
    #[error("`{}` is no Unicode, and the TensorRT provider takes no other paths", path.display())]
    NotUnicode {
        /// The folder.
        path: PathBuf,
    },
    /// What a folder's name needs could not be found out.
    #[error("{} could not be read, and engines are kept by it", missing.join(" and "))]
    UnknownTarget {
        /// What is missing.
        missing: Vec<&'static str>,
    },
    /// No engines for this bundle, machine and budget.
    #[error("there are no engines for this bundle with up to {tokens} tokens a batch on {target}")]
    NoneBuilt {
        /// Padded tokens of a batch.
        tokens: usize,
        /// Libraries and GPU.
        target: EngineTarget,
    },
    /// A run that does not say which batches it makes, or of another graph than the bundle's.
    #[error("this command has no engines for TensorRT, which would build one anew for batches of other lengths")]
    NotForEngines,
    /// A prune that was not told what may go.
    #[error("nothing was chosen to be removed")]
    NothingSelected,
    /// A beginning of a name that is that of no folder.
    #[error("no engines in `{}` have a name that begins with `{prefix}`", root.display())]
    NoSuchEngine {
        /// As typed.
        prefix: String,
        /// The folder of all engines.
        root: PathBuf,
    },
}

impl Error {
    /// For `map_err`: the system's refusal of `action` on `path`.
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// The way out, where one is known to apply.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::BudgetTooSmall { max_length, .. } => Some(format!(
                "raise `--max-batch-tokens` to {max_length} or more, or export the bundle with a shorter `--max-length`"
            )),
            Self::Unplanned { .. } => {
                Some("build engines for larger batches: `offprint engine build --max-batch-tokens N`".to_owned())
            }
            Self::InUse { .. } => Some("wait for it to end".to_owned()),
            Self::NotUnicode { .. } => Some("give another `--cache-dir`".to_owned()),
            Self::NoneBuilt { .. } => Some("`offprint engine build --model BUNDLE CORPUS` builds them once".to_owned()),
            Self::NotForEngines => Some("`--provider cuda` runs the bundle on the same GPU without engines".to_owned()),
            Self::NothingSelected => Some(
                "name engines with `--engine`, or what may go with `--unused-for 90d`, `--keep-size 20GB` or `--unfinished`"
                    .to_owned(),
            ),
            Self::NoSuchEngine { .. } => Some("`offprint engine list` shows the names".to_owned()),
            Self::Record { .. } | Self::Format { .. } => {
                Some("remove the folder; the next `offprint engine build` makes it anew".to_owned())
            }
            _ => None,
        }
    }
}

fn list(profiles: &[ShapeProfile]) -> String {
    let ranges = profiles.iter().map(|profile| format!("{} to {}", profile.min, profile.max));
    ranges.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_what_was_got_and_what_was_expected() {
        let format = Error::Format { path: "e/engine.json".into(), got: 9 };
        assert_eq!(format.to_string(), "`e/engine.json` has engine format 9, this version reads format 1");
        assert!(format.hint().unwrap().starts_with("remove the folder"));
        let unknown = Error::UnknownTarget { missing: vec!["the version of TensorRT", "the GPU's architecture"] };
        assert_eq!(
            unknown.to_string(),
            "the version of TensorRT and the GPU's architecture could not be read, and engines are kept by it"
        );
        let none = Error::NoEngine { path: "e/p0".into() };
        assert_eq!(none.to_string(), "TensorRT left no engine in `e/p0`: it did not take the whole graph");
        assert!(none.hint().is_none());
        let used = Error::InUse { path: "e".into() };
        assert_eq!(used.to_string(), "the engines in `e` are being built or used by another process");
        assert_eq!(used.hint().unwrap(), "wait for it to end");
        assert_eq!(Error::NothingSelected.to_string(), "nothing was chosen to be removed");
        assert!(Error::NothingSelected.hint().unwrap().contains("--unused-for 90d"));
        let sessions = Error::SessionCount { sessions: 1, profiles: 2 }.to_string();
        assert!(sessions.starts_with("1 sessions were opened for 2 engines; this is a bug in offprint"), "{sessions}");
    }
}
