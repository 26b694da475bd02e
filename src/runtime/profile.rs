//! How long each operator of a graph took, by the profile that ONNX Runtime writes of a session.
//!
//! Owns the form of that file. Measures nothing. Invariant: every node is counted once for each measured run, under its
//! operator and the provider that ran it, and what no node accounts for is told, too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What ONNX Runtime calls the time of a whole run, and how it ends the name of a node's.
const RUN: &str = "model_run";
const NODE: &str = "_kernel_time";

/// What the measured runs of a session took. On a device that works beside the processor a node's time is that of handing
/// its work over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Measured runs.
    pub runs: u64,
    /// Seconds that they took together.
    pub seconds: f64,
    /// The operators, those that took longest first.
    pub operators: Vec<OperatorTime>,
}

/// What the nodes of one operator took on one provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorTime {
    /// The operator, such as `MatMul`, or what a provider calls a piece of the graph that it runs as one.
    pub operator: String,
    /// ONNX Runtime's name of the provider.
    pub provider: String,
    /// Nodes that were run, those of each run counted.
    pub calls: u64,
    /// Seconds that they took together.
    pub seconds: f64,
}

/// A profile that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A session that writes none, or does not end it.
    #[error("the profile of a session could not be ended")]
    Unended {
        /// What ONNX Runtime said.
        #[source]
        source: ort::Error,
    },
    /// A file that is not where it was said to be.
    #[error("the profile at `{}` could not be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file in another form than the one that is known.
    #[error("`{}` is not a profile as ONNX Runtime writes one", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where it differs.
        #[source]
        source: serde_json::Error,
    },
}

impl Profile {
    /// The share of the runs' time that one operator took, 0 to 1.
    pub fn share(&self, operator: &OperatorTime) -> f64 {
        if self.seconds > 0.0 { operator.seconds / self.seconds } else { 0.0 }
    }

    /// The share that no node accounts for, 0 to 1: the way between nodes, and into and out of the graph.
    pub fn between(&self) -> f64 {
        (1.0 - self.operators.iter().map(|operator| self.share(operator)).sum::<f64>()).max(0.0)
    }

    /// Reads the file that ONNX Runtime wrote, without the first `unmeasured` runs.
    pub(super) fn read(path: &Path, unmeasured: usize) -> Result<Self, ProfileError> {
        let bytes = std::fs::read(path).map_err(|source| ProfileError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&bytes, unmeasured).map_err(|source| ProfileError::Form { path: path.to_owned(), source })
    }

    fn parse(bytes: &[u8], unmeasured: usize) -> Result<Self, serde_json::Error> {
        let events: Vec<Event> = serde_json::from_slice(bytes)?;
        let mut runs: Vec<&Event> = events.iter().filter(|event| event.name == RUN).collect();
        runs.sort_unstable_by_key(|event| event.ts);
        let Some(first) = runs.get(unmeasured) else { return Ok(Self::default()) };
        let measured = || events.iter().filter(|event| event.ts >= first.ts);
        let mut operators: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
        for event in measured().filter(|event| event.cat == "Node" && event.name.ends_with(NODE)) {
            let (calls, micros) = operators.entry((&event.args.op_name, &event.args.provider)).or_default();
            *calls += 1;
            *micros += event.dur;
        }
        let time = |((operator, provider), (calls, micros)): ((&str, &str), (u64, u64))| OperatorTime {
            operator: operator.to_owned(),
            provider: provider.to_owned(),
            calls,
            seconds: seconds(micros),
        };
        let mut operators: Vec<OperatorTime> = operators.into_iter().map(time).collect();
        operators.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let runs = &runs[unmeasured..];
        let all = seconds(runs.iter().map(|run| run.dur).sum());
        Ok(Self { runs: runs.len() as u64, seconds: all, operators })
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// An entry of the file; times are in microseconds.
#[derive(Deserialize)]
struct Event {
    cat: String,
    name: String,
    ts: u64,
    dur: u64,
    #[serde(default)]
    args: Named,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    op_name: String,
    provider: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two runs, the first of which warms up: 40 and 10 µs, of which 9 are in nodes.
    const WRITTEN: &str = r#"[
        {"cat": "Session", "pid": 1, "tid": 1, "dur": 500, "ts": 3, "ph": "X", "name": "session_initialization", "args": {}},
        {"cat": "Node", "dur": 30, "ts": 12, "name": "a_kernel_time", "args": {"op_name": "MatMul", "provider": "P"}},
        {"cat": "Session", "dur": 40, "ts": 10, "name": "model_run", "args": {}},
        {"cat": "Node", "dur": 9, "ts": 61, "name": "a_fence_before", "args": {"op_name": "MatMul"}},
        {"cat": "Node", "dur": 4, "ts": 62, "name": "a_kernel_time", "args": {"op_name": "MatMul", "provider": "P"}},
        {"cat": "Node", "dur": 2, "ts": 67, "name": "b_kernel_time", "args": {"op_name": "MatMul", "provider": "P"}},
        {"cat": "Node", "dur": 3, "ts": 69, "name": "c_kernel_time", "args": {"op_name": "Add", "provider": "Q", "x": [1]}},
        {"cat": "Session", "dur": 10, "ts": 60, "name": "model_run", "args": {}}
    ]"#;

    #[test]
    fn times_are_summed_by_operator_and_provider_without_the_first_runs() {
        let profile = Profile::parse(WRITTEN.as_bytes(), 1).unwrap();
        assert_eq!((profile.runs, profile.seconds), (1, 1e-5));
        let time = |operator: &str, provider: &str, calls, seconds| OperatorTime {
            operator: operator.into(),
            provider: provider.into(),
            calls,
            seconds,
        };
        assert_eq!(profile.operators, [time("MatMul", "P", 2, 6e-6), time("Add", "Q", 1, 3e-6)]);
        assert!((profile.share(&profile.operators[0]) - 0.6).abs() < 1e-12 && (profile.between() - 0.1).abs() < 1e-12);
        let both = Profile::parse(WRITTEN.as_bytes(), 0).unwrap();
        assert_eq!((both.runs, both.operators[0].calls, both.seconds), (2, 3, 5e-5));
        let none = Profile::parse(WRITTEN.as_bytes(), 2).unwrap();
        assert_eq!((none.clone(), none.between()), (Profile::default(), 1.0));
        let json = serde_json::to_string(&profile).unwrap();
        assert_eq!(serde_json::from_str::<Profile>(&json).unwrap(), profile);
    }

    #[test]
    fn a_file_that_is_no_profile_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.json");
        let error = Profile::read(&path, 0).unwrap_err().to_string();
        assert_eq!(error, format!("the profile at `{}` could not be read", path.display()));
        std::fs::write(&path, "{}").unwrap();
        let error = Profile::read(&path, 0).unwrap_err();
        assert_eq!(error.to_string(), format!("`{}` is not a profile as ONNX Runtime writes one", path.display()));
        assert!(std::error::Error::source(&error).is_some());
    }
}
