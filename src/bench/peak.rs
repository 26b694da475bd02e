//! What a machine computes at most: products of matrices through the same library, on the same provider and threads, so
//! that an encoder's share of it can be told. Invariant: a peak is the fastest run that was seen, never an estimate.

use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::graph::GemmChain;
use crate::runtime::{GemmSession, OnnxRuntime, Provider, SessionOptions};

/// Sizes that are tried on a processor, and on a device that starts its kernels one by one.
const SIZES: [&[usize]; 2] = [&[512, 1_024], &[4_096, 8_192]];
/// Products one after the other.
const DEPTH: usize = 2;
/// Runs of a size, at least.
const LEAST_RUNS: usize = 3;
/// Seconds for a size, where there is time.
const SECONDS: f64 = 0.5;

/// What is to be measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeakJob {
    /// The provider, as `--providers` names it.
    pub provider: String,
    /// The ONNX Runtime library, where one was named.
    pub ort_lib: Option<PathBuf>,
    /// Threads of the session.
    pub threads: usize,
    /// In fp16 instead of fp32.
    pub half: bool,
    /// Seconds that a size may take, once each was run a few times.
    pub seconds: f64,
    /// A folder for the graphs.
    pub folder: PathBuf,
}

/// The fastest product that was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// The provider, as `--providers` names it.
    pub provider: String,
    /// Version of ONNX Runtime.
    pub runtime_version: String,
    /// Threads of the session.
    pub threads: usize,
    /// In fp16 instead of fp32.
    pub half: bool,
    /// Rows and columns of the matrices that were fastest.
    pub size: usize,
    /// Floating-point operations a second, on the first of several devices.
    pub flops_per_second: f64,
    /// Runs of all sizes.
    pub runs: usize,
}

impl Peak {
    /// Floating-point operations a second of all its devices together, each taken for as fast as the first.
    pub fn of_all_devices(&self) -> f64 {
        let devices = self.provider.parse().map_or(1, |provider: Provider| provider.least_sessions());
        self.flops_per_second * devices as f64
    }
}

/// Measures the peak.
///
/// # Errors
/// A library or provider that is not there, or a run that failed.
pub fn run_peak(job: &PeakJob) -> Result<Peak, Error> {
    let provider: Provider = job.provider.parse()?;
    let runtime = OnnxRuntime::load(job.ort_lib.as_deref())?;
    let mut peak = Peak {
        provider: job.provider.clone(),
        runtime_version: runtime.version().to_owned(),
        threads: job.threads,
        half: job.half,
        size: 0,
        flops_per_second: 0.0,
        runs: 0,
    };
    for &size in SIZES[usize::from(provider.choice.is_accelerator())] {
        let chain = GemmChain { size, depth: DEPTH, half: job.half };
        let graph = job.folder.join("gemm.onnx");
        chain.write(&graph)?;
        let mut session =
            GemmSession::open(&runtime, &SessionOptions { graph, provider: provider.clone(), threads: job.threads })?;
        // The first run makes what later ones use again.
        session.run()?;
        let (fastest, runs) = fastest(job.seconds.min(SECONDS), &mut || session.run())?;
        peak.runs += runs;
        let flops_per_second = chain.flops() / fastest;
        if flops_per_second > peak.flops_per_second {
            (peak.size, peak.flops_per_second) = (size, flops_per_second);
        }
    }
    Ok(peak)
}

/// Seconds of the fastest run, and how many there were.
fn fastest(limit: f64, run: &mut dyn FnMut() -> Result<(), crate::runtime::Error>) -> Result<(f64, usize), Error> {
    let (started, mut fastest, mut runs) = (Instant::now(), f64::INFINITY, 0);
    while runs < LEAST_RUNS || started.elapsed().as_secs_f64() < limit {
        let one = Instant::now();
        run()?;
        fastest = fastest.min(one.elapsed().as_secs_f64().max(f64::MIN_POSITIVE));
        runs += 1;
    }
    Ok((fastest, runs))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runtime;

    #[test]
    fn the_fastest_run_counts() {
        let mut pauses = [60, 2, 60].into_iter();
        let mut run = || {
            std::thread::sleep(Duration::from_millis(pauses.next().unwrap()));
            Ok(())
        };
        let (seconds, runs) = fastest(0.0, &mut run).unwrap();
        assert_eq!(runs, 3);
        assert!((0.002..0.06).contains(&seconds), "{seconds}");
        assert!(fastest(0.0, &mut || Err(runtime::Error::Threads { threads: 0 })).is_err());
    }

    #[test]
    fn products_run_through_the_library() {
        match OnnxRuntime::load(None) {
            Ok(_) => {}
            Err(error @ runtime::Error::LibraryNotFound { .. }) => return eprintln!("skipped: {error}"),
            Err(error) => panic!("{error}"),
        }
        let folder = tempfile::tempdir().unwrap();
        let job = PeakJob {
            provider: "cpu".into(),
            ort_lib: None,
            threads: 1,
            half: false,
            seconds: 0.0,
            folder: folder.path().to_owned(),
        };
        let peak = run_peak(&job).unwrap();
        assert!(peak.flops_per_second > 1e9, "{peak:?}");
        assert!(SIZES[0].contains(&peak.size) && peak.runs == LEAST_RUNS * SIZES[0].len(), "{peak:?}");
        assert!(run_peak(&PeakJob { provider: "toaster".into(), ..job }).is_err());
    }
}
