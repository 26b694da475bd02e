//! What an int8 graph is chosen by: what stands before its matrices on some texts of a calibration, what it loses and
//! saves on the others, and the choice itself. Runs graphs and measures; writes none. Invariant: no text whose ranges a
//! graph was made with is among those that its loss is measured on.

mod choice;
mod observe;
mod texts;
mod trial;

pub use choice::{Choice, Cosines, Judge, OrderedGroup, Point, PointName, Wanted, choose};
pub use observe::{Seen, Watched, observe};
pub use texts::{CalibrationText, CalibrationTexts, LEAST_TEXTS};
pub use trial::{CandidateEncoder, Trial};

use super::Error;
