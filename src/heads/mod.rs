//! Light heads on embeddings: trainers, the choice of C, the head file, and labels out of rows of floats.
//!
//! Owns everything that turns rows and labels into a head and back; the only room that names linfa. Knows no tokenizer,
//! no graph, no cache and no metric: the score that the choice of C maximizes comes in as a closure.
//! Invariant: a fit that is handed out has been measured against scikit-learn's objective, whatever solver made it.

mod error;
mod file_problem;
mod folded;
mod folds;
mod head;
mod head_file;
mod logistic;
mod rows;
mod trainer;
mod training_set;

pub use error::{Error, IdentityChange};
pub use file_problem::FileProblem;
pub use folded::FoldedHead;
pub use folds::{Fold, stratified_folds};
pub use head::{Head, HeadDescription, HeadKind, TargetScaling, most_probable};
pub use head_file::FORMAT_VERSION;
pub use logistic::{
    Convergence, LogisticFit, LogisticOptions, LogisticParams, LogisticSolver, LogisticTrainer, LogisticValidParams,
    PathOverC, ScoreAtC, choose_c, fit_logistic,
};
pub use rows::{Matrix, Parts, Rows, Selection};
pub use trainer::{
    Fitted, LabelledRows, LinearModel, Model, Optimality, Simplest, StrengthName, TakeDecisions, Targets, Trainer,
};
pub use training_set::{Classes, DEV, HELD_OUT, TRAIN, TrainingSet, TrainingSink};
