//! Light heads on embeddings: trainers, paths over strengths, the head file, and labels out of rows of floats.
//!
//! Owns everything that turns rows and labels into a head and back; the only room that names linfa. Knows no tokenizer,
//! no graph and no metric: what a strength is worth is for who takes a path's decision values to say. Of the cache, only
//! `training_set` knows that rows can be read there.
//! Invariant: a fit that is handed out has been measured against scikit-learn's objective, whatever solver made it.

mod arithmetic;
mod calibration;
mod cholesky;
mod class_weights;
mod decisions;
mod elastic_net;
mod error;
#[cfg(test)]
mod fixture;
mod fold_sums;
mod folded;
mod folds;
mod head;
mod head_file;
mod kernel;
mod kind;
mod lanes;
mod linear;
mod linfa_traits;
mod logistic;
mod moments;
mod neighbours;
mod random;
mod reading;
mod ridge;
mod rows;
mod sample;
mod svm;
mod trainer;
mod training_set;
mod tridiagonal;

pub(crate) use arithmetic::{argmax, decided, sigmoid};
pub use calibration::{
    Answered, Calibration, CalibrationMethod, ChosenThreshold, Decided, Steps, ThresholdRule, choose_abstention,
    choose_thresholds,
};
pub use class_weights::{ClassWeights, class_weights};
pub use elastic_net::ElasticNetTrainer;
pub use error::{CalibrationError, Error, FileProblem, FitError, FoldError, IdentityChange, SetError};
pub use folded::FoldedHead;
pub use folds::{Fold, FoldPlan, MissingClass, folds, group_folds, missing_classes, named_folds, stratified_folds};
pub use head::{Head, HeadDescription, TargetScaling, most_probable};
pub use head_file::FORMAT_VERSION;
pub use kind::HeadKind;
pub use linfa_traits::{
    CheckOptions, FittedClassifier, FittedRegressor, ForClasses, ForNumbers, TrainerParams, TrainerValidParams,
};
pub use logistic::{
    Convergence, LogisticFit, LogisticOptions, LogisticParams, LogisticSolver, LogisticTrainer, LogisticValidParams,
    fit_logistic,
};
pub use neighbours::{Metric, NeighbourTrainer, Neighbours, Weighting};
pub(crate) use random::Random;
pub use reading::{Meaning, Reading};
pub use ridge::RidgeTrainer;
pub use rows::{Matrix, RowMajor, Rows, Selection};
pub use svm::{SvmLoss, SvmTrainer};
pub use trainer::{
    Fitted, LabelledRows, LinearModel, Model, Optimality, Simplest, StrengthName, TakeDecisions, Targets, Trainer,
};
pub use training_set::{
    Classes, DEV, HELD_OUT, LookAlike, SplitBy, SplitPlan, TRAIN, TaskReason, TrainingFields, TrainingOptions,
    TrainingRows, TrainingSet, TrainingSink,
};
