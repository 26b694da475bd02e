use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::encode::{OpenEncoder, StubEncoder};
use crate::paper::CorpusOptions;
use crate::runtime::{self, EmbeddingMatrix};

const MAX_LENGTH: usize = 32;
const DEFAULT: Setting = Setting { sessions: 1, batch_tokens: 64 };

/// A session that takes a time by the size of the batch, and writes down what it ran.
struct Timed {
    inner: Box<dyn RunBatch>,
    cost: fn(usize) -> Duration,
    seen: Arc<Mutex<Vec<Batch>>>,
}

impl RunBatch for Timed {
    fn run(&mut self, batch: &Batch) -> Result<EmbeddingMatrix, runtime::Error> {
        std::thread::sleep((self.cost)(batch.rows * batch.columns));
        self.seen.lock().unwrap().push(batch.clone());
        self.inner.run(batch)
    }
}

fn texts(count: usize) -> TextSample {
    let texts: Vec<String> = (0..count).map(|n| "ice ".repeat(5 + n % 20)).collect();
    TextSample { texts, adapters: Vec::new(), rows: count as u64, rejected: 0 }
}

/// Tunes sessions of this cost; what won, and what was run.
fn tuned(cost: fn(usize) -> Duration, threads: usize, stop: bool) -> (Option<Tuned>, Vec<Batch>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let stub = StubEncoder { dim: 4, max_length: MAX_LENGTH };
    let open = |counts: &[usize]| {
        let opened = counts.iter().map(|&count| {
            let mut opened = stub.open()?;
            for _ in 1..count {
                opened.sessions.extend(stub.open()?.sessions);
            }
            let timed = |inner| Box::new(Timed { inner, cost, seen: Arc::clone(&seen) }) as Box<dyn RunBatch>;
            opened.sessions = opened.sessions.into_iter().map(timed).collect();
            Ok(opened)
        });
        opened.collect()
    };
    let job = TuneJob {
        open: &open,
        texts: &texts(60),
        default: DEFAULT,
        threads,
        max_length: MAX_LENGTH,
        seconds: 0.4,
        stop: &AtomicBool::new(stop),
    };
    let mut steps = 0;
    let found = tune(&job, &mut |step| {
        assert!((0.0..=1.0).contains(&step.share) && step.settings >= 1);
        steps += 1;
    });
    let found = found.unwrap();
    let turns = |tuned: &Tuned| tuned.measured.iter().map(|one| one.speeds.len()).sum::<usize>() + 2 * tuned.duel.len();
    assert_eq!(steps, found.as_ref().map_or(0, turns));
    let seen = seen.lock().unwrap().clone();
    (found, seen)
}

#[test]
fn a_cost_of_each_batch_makes_large_ones_win() {
    let (found, _) = tuned(|_| Duration::from_millis(2), 1, false);
    let found = found.unwrap();
    assert_eq!(found.default, DEFAULT);
    assert!(found.setting.batch_tokens > DEFAULT.batch_tokens && found.times_as_fast > 1.3, "{found:?}");
}

#[test]
fn sessions_that_do_not_disturb_each_other_win_by_their_number() {
    let (found, _) = tuned(|tokens| Duration::from_micros(20 * tokens as u64), 4, false);
    let found = found.unwrap();
    assert_eq!(found.setting.sessions, 4, "{found:?}");
    assert!(found.times_as_fast > 2.0, "{found:?}");
}

#[test]
fn every_setting_runs_the_same_texts_and_no_batch_above_its_budget() {
    let (found, seen) = tuned(|tokens| Duration::from_micros(tokens as u64), 2, false);
    let largest = found.unwrap().measured.iter().map(|one| one.setting.batch_tokens).max().unwrap();
    assert!(seen.iter().all(|batch| batch.rows * batch.columns <= largest), "{largest}");
    assert!(seen.iter().all(|batch| batch.rows > 0 && batch.columns <= MAX_LENGTH));
}

#[test]
fn a_stopped_measurement_finds_nothing() {
    let (found, seen) = tuned(|_| Duration::ZERO, 2, true);
    assert_eq!((found, seen.len()), (None, 0));
}

#[test]
fn first_texts_are_those_of_the_first_rows_that_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("papers.jsonl");
    let row = |n: usize| format!("{{\"id\": \"p{n}\", \"title\": \"paper {n}\", \"abstract\": \"x\"}}\n");
    std::fs::write(&path, format!("{}{{\"id\": 9, \"title\": 4}}\n{}{}", row(0), row(1), row(2))).unwrap();
    let corpus = Corpus::open(&[path.display().to_string()], CorpusOptions::default()).unwrap();
    let take = |most| first_texts(&corpus, (&Template::ModelCard, "[SEP]"), &RowAdapters::default(), most).unwrap();
    assert_eq!(take(2).texts, ["paper 0[SEP]x", "paper 1[SEP]x"]);
    assert_eq!((take(10).rows, take(10).rejected, take(10).adapters.len()), (3, 1, 0));
    std::fs::write(&path, "").unwrap();
    let corpus = Corpus::open(&[path.display().to_string()], CorpusOptions::default()).unwrap();
    let nothing = first_texts(&corpus, (&Template::ModelCard, "[SEP]"), &RowAdapters::default(), 2);
    assert!(matches!(nothing, Err(Error::EmptyCorpus { files: 1 })));
}
