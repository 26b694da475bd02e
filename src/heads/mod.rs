//! Light heads on embeddings: trainers, the choice of C, the head file, and labels out of rows of floats.
//!
//! Owns everything that turns rows and labels into a head and back; the only room that names linfa. Knows no tokenizer,
//! no graph, no cache and no metric: the score that the choice of C maximizes comes in as a closure.
//! Invariant: a fit that is handed out has been measured against scikit-learn's objective, whatever solver made it.

mod decisions;
mod elastic_net;
mod error;
mod file_problem;
#[cfg(test)]
mod fixture;
mod fold_sums;
mod folded;
mod folds;
mod head;
mod head_file;
mod logistic;
mod moments;
mod neighbours;
mod newton;
mod objective;
mod path_over_c;
mod ridge;
mod rough_fit;
mod rows;
mod sample;
mod svm;
mod trainer;
mod training_set;
mod tridiagonal;

pub use elastic_net::ElasticNetTrainer;
pub use error::{Error, IdentityChange};
pub use file_problem::FileProblem;
pub use folded::FoldedHead;
pub use folds::{Fold, stratified_folds};
pub use head::{Head, HeadDescription, HeadKind, TargetScaling, most_probable};
pub use head_file::FORMAT_VERSION;
pub use logistic::{Convergence, LogisticFit, LogisticOptions, fit_logistic};
pub use neighbours::{Metric, NeighbourTrainer, Neighbours, Weighting};
pub use path_over_c::{PathOverC, ScoreAtC, choose_c};
pub use ridge::RidgeTrainer;
pub use rows::{Matrix, Parts, Rows, Selection};
pub use svm::{LinearSvm, LinearSvr, SvmLoss, SvmParams, SvmTrainer, SvmValidParams};
pub use trainer::{
    Fitted, LabelledRows, LinearModel, Model, Optimality, Simplest, StrengthName, TakeDecisions, Targets, Trainer,
};
pub use training_set::{Classes, DEV, HELD_OUT, TRAIN, TrainingSet, TrainingSink};
