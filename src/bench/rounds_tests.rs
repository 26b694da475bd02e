//! The order of jobs, and what becomes of cells, with a runner that starts no process.

use super::*;
use crate::bench::figures::tests::round;
use crate::bench::peak::Peak;
use crate::bench::record::tests::record;
use crate::bench::texts::write_vectors;

/// Answers jobs from a list of failures, and writes down what it was asked.
struct Fake {
    asked: Vec<String>,
    kept: Vec<(usize, f64)>,
    /// Jobs that fail, as they are written down.
    failing: Vec<&'static str>,
    /// The number of the job at which the user has had enough.
    stop_at: usize,
}

impl Fake {
    fn new() -> Self {
        Self { asked: Vec::new(), kept: Vec::new(), failing: Vec::new(), stop_at: usize::MAX }
    }

    fn name(job: &Job) -> String {
        match job {
            Job::Cell(job) => {
                let [turned, profiled] =
                    [(job.pipeline_first, "'"), (job.profile, "+")].map(|(is, mark)| if is { mark } else { "" });
                format!("{}{turned}{profiled}", job.setting.model)
            }
            Job::Reference(_) => "reference".into(),
            Job::Peak(job) => format!("peak {}", job.threads),
        }
    }
}

fn vectors(first: f32) -> EmbeddingMatrix {
    EmbeddingMatrix { rows: 1, dim: 2, data: vec![first, 1.0] }
}

impl Runner for Fake {
    fn run(&mut self, job: &Job) -> Outcome {
        if self.asked.len() >= self.stop_at {
            return Outcome::Stopped;
        }
        let name = Self::name(job);
        self.asked.push(name.clone());
        if self.failing.contains(&&*name) {
            return Outcome::Failed(format!("{name} is broken"));
        }
        Outcome::Done(match job {
            Job::Cell(job) => {
                if let Some(path) = &job.vectors {
                    write_vectors(path, &vectors(if job.setting.model == "a" { 1.0 } else { 0.5 })).unwrap();
                }
                Answer::Cell(Box::new(round(4.0, Some(5.0))))
            }
            Job::Reference(job) => {
                write_vectors(&job.vectors, &vectors(1.0)).unwrap();
                Answer::Reference
            }
            Job::Peak(job) => Answer::Peak(Peak {
                provider: job.provider.clone(),
                runtime_version: "1.31.1".into(),
                threads: job.threads,
                half: job.half,
                size: 512,
                flops_per_second: 2e9,
                runs: 3,
            }),
        })
    }

    fn keep(&mut self, record: &Record, done: f64, _: &str) -> Result<(), Error> {
        self.kept.push((record.cells.iter().map(|cell| cell.rounds.len()).sum(), done));
        Ok(())
    }
}

fn plan(folder: &std::path::Path, cells: usize) -> RunPlan {
    let law = CostLaw {
        linear_per_token: 1,
        linear_per_text: 0,
        attention_per_pair: 0,
        attention_per_token: 0,
        attention_per_text: 0,
    };
    let cell = CellPlan {
        bundle: folder.to_owned(),
        cache_dir: None,
        max_length: 256,
        ort_lib: None,
        provider_options: Vec::new(),
        texts: folder.join("texts"),
        law: Some(law),
        reference: Some(0),
    };
    let reference = ReferenceJob {
        bundle: folder.to_owned(),
        ort_lib: None,
        texts: folder.join("texts"),
        shape: None,
        threads: 2,
        vectors: folder.join("reference"),
    };
    RunPlan { cells: vec![cell; cells], references: vec![reference], scratch: folder.to_owned(), profile: false }
}

#[test]
fn operators_are_timed_in_the_first_round_of_each_cell() {
    let folder = tempfile::tempdir().unwrap();
    let mut record = record(&[("a", &[]), ("b", &[])]);
    record.repeats = 2;
    let mut fake = Fake::new();
    let plan = RunPlan { profile: true, ..plan(folder.path(), 2) };
    assert!(run_rounds(&mut record, &plan, &mut fake).unwrap());
    assert_eq!(fake.asked, ["reference", "a+", "b+", "peak 2", "b'", "a'"]);
}

#[test]
fn cells_take_turns_and_peaks_come_after_the_first_round() {
    let folder = tempfile::tempdir().unwrap();
    let mut record = record(&[("a", &[]), ("b", &[]), ("c", &[])]);
    record.repeats = 3;
    record.cells[2].setting.threads = 1;
    let mut fake = Fake::new();
    assert!(run_rounds(&mut record, &plan(folder.path(), 3), &mut fake).unwrap());
    assert_eq!(fake.asked.join(" "), "reference a b c peak 2 peak 1 c' b' a' a b c");
    assert!(record.cells.iter().all(|cell| cell.state == State::Done && cell.rounds.len() == 3));
    let shares: Vec<f64> = record.run().map(|(_, figures)| figures.peak_share.unwrap().median).collect();
    assert_eq!(shares, [0.5; 3]);
    let accuracies: Vec<usize> = record.cells.iter().map(|cell| cell.accuracy.as_ref().unwrap().rows_differ).collect();
    assert_eq!(accuracies, [0, 1, 1]);
    assert!(!folder.path().join("vectors").exists());
    assert!(fake.kept.is_sorted_by(|(_, a), (_, b)| a <= b), "{:?}", fake.kept);
    assert_eq!(fake.kept.last(), Some(&(9, 1.0)));
}

#[test]
fn what_fails_is_not_tried_again_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut record = record(&[("a", &[]), ("b", &[]), ("c", &[])]);
    record.repeats = 2;
    record.cells[0].setting.sessions = 3;
    let mut fake = Fake { failing: vec!["b", "c'", "reference", "peak 2"], ..Fake::new() };
    assert!(run_rounds(&mut record, &plan(folder.path(), 3), &mut fake).unwrap());
    assert_eq!(fake.asked.join(" "), "reference b c peak 2 c'");
    let states: Vec<State> = record.cells.iter().map(|cell| cell.state).collect();
    assert_eq!(states, [State::NotRun, State::NotRun, State::CutShort]);
    assert_eq!(record.cells[1].reason.as_deref(), Some("b is broken"));
    assert!(record.cells[0].reason.as_ref().unwrap().contains('3'), "{:?}", record.cells[0].reason);
    assert!(record.cells[2].figures.is_some() && record.cells[2].accuracy.is_none());
    assert_eq!(record.notes.len(), 2, "{:?}", record.notes);
}

#[test]
fn a_run_that_is_stopped_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    for (stop_at, states) in [
        (0, [State::NotRun, State::NotRun]),
        (2, [State::CutShort, State::NotRun]),
        (3, [State::CutShort, State::CutShort]),
        (5, [State::CutShort, State::Done]),
    ] {
        let mut record = record(&[("a", &[]), ("b", &[])]);
        record.repeats = 2;
        let mut fake = Fake { stop_at, ..Fake::new() };
        assert!(!run_rounds(&mut record, &plan(folder.path(), 2), &mut fake).unwrap());
        let found: Vec<State> = record.cells.iter().map(|cell| cell.state).collect();
        assert_eq!(found, states, "{stop_at}");
        assert_eq!(fake.kept.last().unwrap().0, stop_at.saturating_sub(1).min(2) + usize::from(stop_at == 5));
    }
}
