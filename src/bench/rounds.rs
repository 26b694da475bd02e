//! The order of a run: references, a first round of all cells, peaks, and the other rounds, cells in turns, so that a
//! machine that slows down slows all of them. Knows not how processes are started: whoever runs a job says what came of
//! it. Invariant: a cell that failed is not tried again, and the record is handed out after every job.

use std::path::PathBuf;

use super::accuracy::Accuracy;
use super::cell::{CellJob, Round};
use super::peak::PeakJob;
use super::record::{CellRecord, Record, State};
use super::reference::ReferenceJob;
use super::texts::read_vectors;
use super::{Answer, Error, Job};
use crate::graph::CostLaw;
use crate::runtime::EmbeddingMatrix;

/// What a cell of the record is run with.
#[derive(Debug, Clone)]
pub struct CellPlan {
    /// Folder of the bundle.
    pub bundle: PathBuf,
    /// The cache folder, where engines for TensorRT are.
    pub cache_dir: Option<PathBuf>,
    /// Its longest input in tokens.
    pub max_length: usize,
    /// The ONNX Runtime library, where one was named.
    pub ort_lib: Option<PathBuf>,
    /// What the provider is told, `key=value` each.
    pub provider_options: Vec<String>,
    /// The texts, as the bundle renders them.
    pub texts: PathBuf,
    /// What a text costs, where the graph tells.
    pub law: Option<CostLaw>,
    /// Which of the references its vectors are compared with.
    pub reference: Option<usize>,
}

/// What is run.
#[derive(Debug, Clone, Default)]
pub struct RunPlan {
    /// One for each cell of the record.
    pub cells: Vec<CellPlan>,
    /// The vectors to compare with.
    pub references: Vec<ReferenceJob>,
    /// A folder for what goes between processes.
    pub scratch: PathBuf,
    /// Whether the first round of each cell tells what the operators took.
    pub profile: bool,
}

/// What came of a job.
#[derive(Debug)]
pub enum Outcome {
    /// Its answer.
    Done(Answer),
    /// Why there is none.
    Failed(String),
    /// The user wants the run to end.
    Stopped,
}

/// What a run needs of the world around it.
pub trait Runner {
    /// Runs a job in a process of its own and waits for its end.
    fn run(&mut self, job: &Job) -> Outcome;

    /// Keeps the record, of which the share `done` (0 to 1) is there; `what` was run last.
    ///
    /// # Errors
    /// It could not be kept; the run ends with that.
    fn keep(&mut self, record: &Record, done: f64, what: &str) -> Result<(), Error>;
}

/// Runs all rounds of all cells. Gives whether it went to its end.
///
/// # Errors
/// A record that could not be kept, or vectors that could not be read back.
pub fn run_rounds(record: &mut Record, plan: &RunPlan, runner: &mut dyn Runner) -> Result<bool, Error> {
    for (cell, planned) in record.cells.iter_mut().zip(&plan.cells) {
        if let Some(reason) = cell.setting.refusal(planned.max_length) {
            cell.fail(reason);
        }
    }
    let ended = Run { record, plan, runner, jobs: 0 }.all()?;
    for cell in record.cells.iter_mut().filter(|cell| cell.state == State::Waiting) {
        cell.fail("the run was stopped".to_owned());
    }
    runner.keep(record, 1.0, "done")?;
    Ok(ended)
}

struct Run<'r> {
    record: &'r mut Record,
    plan: &'r RunPlan,
    runner: &'r mut dyn Runner,
    jobs: usize,
}

/// The user wants the run to end.
struct Stopped;

impl Run<'_> {
    fn all(mut self) -> Result<bool, Error> {
        let Ok(references) = self.references()? else { return Ok(false) };
        for number in 0..self.record.repeats {
            if self.round(number, &references)?.is_err() || number == 0 && self.peaks()?.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Hands out the record after a job.
    fn keep(&mut self, what: &str) -> Result<(), Error> {
        self.jobs += 1;
        let waiting = self.record.cells.iter().filter(|cell| cell.state == State::Waiting);
        let left: usize = waiting.map(|cell| self.record.repeats - cell.rounds.len()).sum();
        self.runner.keep(self.record, self.jobs as f64 / (self.jobs + left).max(1) as f64, what)
    }

    fn references(&mut self) -> Result<Result<Vec<Option<EmbeddingMatrix>>, Stopped>, Error> {
        let mut references = Vec::new();
        for job in &self.plan.references {
            references.push(match self.runner.run(&Job::Reference(job.clone())) {
                Outcome::Stopped => return Ok(Err(Stopped)),
                Outcome::Done(_) => Some(read_vectors(&job.vectors)?),
                Outcome::Failed(reason) => {
                    self.record.notes.push(format!("no accuracy: the reference could not be run: {reason}"));
                    None
                }
            });
            self.keep("reference")?;
        }
        Ok(Ok(references))
    }

    /// Every cell that waits, once; every other round from the last one to the first.
    fn round(&mut self, number: usize, references: &[Option<EmbeddingMatrix>]) -> Result<Result<(), Stopped>, Error> {
        let mut order: Vec<usize> = (0..self.record.cells.len()).collect();
        if number % 2 == 1 {
            order.reverse();
        }
        for at in order {
            if self.record.cells[at].state != State::Waiting {
                continue;
            }
            let reference = self.plan.cells[at].reference.and_then(|place| references[place].as_ref());
            let job = self.cell_job(at, number, reference.is_some());
            let what = job.setting.to_string();
            let vectors = job.vectors.clone();
            match self.runner.run(&Job::Cell(job)) {
                Outcome::Stopped => return Ok(Err(Stopped)),
                Outcome::Failed(reason) => self.record.cells[at].fail(reason),
                Outcome::Done(answer) => self.take(at, answer, reference.zip(vectors))?,
            }
            self.keep(&what)?;
        }
        Ok(Ok(()))
    }

    fn cell_job(&self, at: usize, number: usize, compared: bool) -> CellJob {
        let planned = &self.plan.cells[at];
        CellJob {
            setting: self.record.cells[at].setting.clone(),
            bundle: planned.bundle.clone(),
            cache_dir: planned.cache_dir.clone(),
            ort_lib: planned.ort_lib.clone(),
            provider_options: planned.provider_options.clone(),
            texts: planned.texts.clone(),
            law: planned.law.clone(),
            warm_up: self.record.warm_up,
            pipeline_first: number % 2 == 1,
            vectors: (compared && number == 0).then(|| self.plan.scratch.join("vectors")),
            profile: self.plan.profile && number == 0,
        }
    }

    fn take(&mut self, at: usize, answer: Answer, compared: Option<(&EmbeddingMatrix, PathBuf)>) -> Result<(), Error> {
        let Answer::Cell(round) = answer else {
            self.record.cells[at].fail("its process answered another question".to_owned());
            return Ok(());
        };
        if let Some((reference, path)) = compared
            && path.is_file()
        {
            self.record.cells[at].accuracy = Accuracy::of(&read_vectors(&path)?, reference);
            std::fs::remove_file(&path).map_err(|source| Error::Write { path, source })?;
        }
        let round: Round = *round;
        self.record.take(at, round);
        Ok(())
    }

    /// The peak of each provider and number of threads that some cell was run with.
    fn peaks(&mut self) -> Result<Result<(), Stopped>, Error> {
        let jobs: Vec<PeakJob> =
            self.record.cells.iter().zip(&self.plan.cells).filter_map(|cell| self.peak_job(cell)).collect();
        let mut seen: Vec<PeakJob> = Vec::new();
        for job in jobs {
            if seen.contains(&job) {
                continue;
            }
            match self.runner.run(&Job::Peak(job.clone())) {
                Outcome::Stopped => return Ok(Err(Stopped)),
                Outcome::Done(Answer::Peak(peak)) => self.record.peaks.push(peak),
                Outcome::Done(_) => self.record.notes.push("no peak: its process answered another question".to_owned()),
                Outcome::Failed(reason) => self.record.notes.push(format!("no peak on `{}`: {reason}", job.provider)),
            }
            seen.push(job);
            self.record.refresh();
            self.keep("products of matrices")?;
        }
        Ok(Ok(()))
    }

    fn peak_job(&self, (cell, planned): (&CellRecord, &CellPlan)) -> Option<PeakJob> {
        let run = !cell.rounds.is_empty() && planned.law.is_some();
        run.then(|| PeakJob {
            provider: cell.setting.provider.clone(),
            ort_lib: planned.ort_lib.clone(),
            threads: cell.setting.threads,
            half: cell.wants_half(),
            seconds: self.record.warm_up,
            folder: self.plan.scratch.clone(),
        })
    }
}

#[cfg(test)]
#[path = "rounds_tests.rs"]
mod tests;
