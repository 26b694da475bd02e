//! TensorRT without surprises: the ranges of batch shapes that engines are built for, where engines are kept, and a
//! guard before them.
//!
//! Owns the planner, the provider's options, the names of folders with engines and what is in them. Knows nothing of
//! texts and opens no session itself. Invariants: every batch that a run can make within its token budget lies in
//! exactly one profile, and no batch outside of them reaches TensorRT, which would build an engine anew for minutes or
//! fail.
//!
//! One engine has one profile here, and a session of its own: ONNX Runtime's TensorRT provider takes several profiles
//! for one engine, but its execution context stays on the first, so that a batch of another one fails.

mod build;
mod device;
mod error;
mod guard;
mod histogram;
mod name;
mod options;
mod planner;
mod prune;
mod record;
mod shape;
mod store;

pub use build::{BuildStep, build_engines};
pub use device::{Gpu, TENSORRT_LIBRARY, TENSORRT_MAJOR, tensorrt_version};
pub use error::Error;
pub use guard::{ProfiledSessions, ShapeGuard};
pub use histogram::ShapeHistogram;
pub use name::{EngineSetting, EngineTarget};
pub use options::TrtOptions;
pub use planner::{EnginePlan, MAX_PROFILES, PlanLimits, plan_profiles};
pub use prune::{EnginePruneOptions, EnginePruneReport, KeptEngine, PrunedEngine, prune_engines};
pub use record::{BuiltProfile, EngineRecord};
pub use shape::{BatchShape, ShapeProfile};
pub use store::{BuildingEngine, EngineStore, StoredEngine, UsedEngine};
