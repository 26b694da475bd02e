//! What can go wrong with a training set: rows without labels, fields that do not say what they have to, splits that leave
//! nothing on one side, vectors that are not where they should be.
//!
//! Knows papers by their ids, no fit. Invariant: a row that is to blame is named by its id.

use thiserror::Error as ThisError;

/// Why labelled rows make no set.
#[derive(Debug, ThisError)]
pub enum SetError {
    /// No row has a label.
    #[error("no row has a label (rows read: {rows})")]
    NoLabels {
        /// Rows without one.
        rows: u64,
    },
    /// The corpus has a split, but no part of it to fit on.
    #[error("no labelled row is in the split `train`; the corpus has {}", splits.join(", "))]
    NoTrainRows {
        /// Names of the parts that labelled rows are in.
        splits: Vec<String>,
    },
    /// All rows to fit on have the same label.
    #[error("all {rows} train rows have the label `{label}`, a classifier needs two labels")]
    OneLabel {
        /// The label.
        label: String,
        /// Rows with it.
        rows: usize,
    },
    /// A field of a labelled row that does not say what it has to.
    #[error("paper `{id}` has {got} as its {what}, expected {expected}")]
    RowField {
        /// The paper's id.
        id: String,
        /// What the field is for: `group`, `weight`, ...
        what: &'static str,
        /// What is there, shortened.
        got: String,
        /// What has to be there.
        expected: &'static str,
    },
    /// A share that leaves nothing to fit on, or nothing to measure on.
    #[error("the share of held-out rows is {share}, expected a number above 0 and below 1")]
    SplitShare {
        /// The share.
        share: f64,
    },
    /// Nothing can be told apart by groups or years of which there is one.
    #[error("all rows have the {what} `{name}`, and a split by {what} needs two")]
    OneGroup {
        /// `group` or `year`.
        what: &'static str,
        /// The only one; empty where there is none.
        name: String,
    },
    /// Too few rows of each class, or rows of one id, so that a share of them is none.
    #[error("a share of {share} of {rows} rows holds none out, expected a split with at least one")]
    NothingHeldOut {
        /// The share.
        share: f64,
        /// Rows with a label.
        rows: usize,
    },
    /// Several labels may be right, and no row to fit on has any.
    #[error("none of the {rows} train rows has a label")]
    NoLabelsInTrain {
        /// Rows to fit on.
        rows: usize,
    },
    /// Rows of several adapters, which are vectors of several encoders.
    #[error("the rows of the set go through {adapters} adapters, expected one")]
    SeveralAdapters {
        /// Adapters that they go through.
        adapters: usize,
    },
    /// Fewer caches than a run has adapters.
    #[error("no cache for the adapter at place {place}, which the rows of the set go through (caches given: {caches})")]
    AdapterWithoutCache {
        /// 0-based place of the adapter.
        place: usize,
        /// Caches given, one for each adapter.
        caches: usize,
    },
    /// The rows of a set are not where a cache was to have them.
    #[error("the vectors of the set cannot be read in the cache")]
    CachedRows {
        /// Why.
        #[source]
        source: crate::cache::Error,
    },
}

impl SetError {
    /// The way out, where it is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoLabels { .. } => Some("name the field with `--label`".to_owned()),
            Self::CachedRows { source } => source.hint(),
            Self::RowField { what: "label", .. } => Some("name what it is with `--task`".to_owned()),
            Self::NoTrainRows { .. } => Some("name the field that says `train` with `--split-field`".to_owned()),
            Self::OneGroup { what: "group", .. } => {
                Some("name a field that parts the rows, or hold any rows out with `--split random`".to_owned())
            }
            Self::NothingHeldOut { .. } => {
                Some("hold more out with `--split-share`, or leave `--split` out".to_owned())
            }
            _ => None,
        }
    }
}
