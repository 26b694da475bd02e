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

fn of_default() -> TokenBudget {
    TokenBudget::new(DEFAULT.batch_tokens, MAX_LENGTH).unwrap()
}

/// Tunes sessions of this cost; what won, and what was run.
fn tuned(cost: fn(usize) -> Duration, threads: usize, stop: bool) -> (Option<Race>, Vec<Batch>) {
    let (found, seen) = tuned_on((ProviderChoice::Cpu, of_default()), cost, (threads, stop));
    (found.map(|found| found.race), seen)
}

/// The same on a provider with a budget.
fn tuned_on(
    (provider, budget): (ProviderChoice, TokenBudget),
    cost: fn(usize) -> Duration,
    (threads, stop): (usize, bool),
) -> (Option<Tuned>, Vec<Batch>) {
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
            opened.selection.provider = Some(provider.into());
            Ok(opened)
        });
        opened.collect()
    };
    let job = TuneJob {
        open: &open,
        texts: &texts(60),
        sessions: DEFAULT.sessions,
        budget,
        threads,
        seconds: 0.4,
        stop: &AtomicBool::new(stop),
    };
    let mut steps = 0;
    let found = tune(&job, &mut |step| match step {
        TuneStep::Begins { settings, seconds } => assert!(settings >= 1 && seconds >= 0.4, "{step:?}"),
        TuneStep::Ran { share, .. } => {
            assert!((0.0..=1.0).contains(&share));
            steps += 1;
        }
    });
    let found = found.unwrap();
    let turns = |Tuned { race, .. }: &Tuned| {
        race.measured.iter().map(|one| one.speeds.len()).sum::<usize>() + 2 * race.duel.len()
    };
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
fn the_provider_that_runs_is_noted_and_engines_get_no_larger_batch_than_they_are_built_for() {
    let quick = |tokens| Duration::from_micros(5 * tokens as u64);
    for (provider, most) in [(ProviderChoice::TensorRt, 64), (ProviderChoice::Cuda, 256)] {
        let (found, seen) = tuned_on((provider, of_default()), quick, (1, false));
        let found = found.unwrap();
        let largest = found.race.measured.iter().map(|one| one.setting.batch_tokens).max();
        assert_eq!((found.provider, largest), (provider, Some(most)), "{found:?}");
        assert!(seen.iter().all(|batch| batch.columns % 8 == 0 && batch.rows * batch.columns <= most));
    }
}

#[test]
fn the_default_is_the_budget_of_the_provider_that_runs() {
    for provider in [ProviderChoice::Cpu, ProviderChoice::Cuda] {
        let (found, _) = tuned_on((provider, TokenBudget::of_provider(MAX_LENGTH)), |_| Duration::ZERO, (1, false));
        let found = found.unwrap();
        assert_eq!((found.provider, found.race.default.batch_tokens), (provider, provider.batch_tokens()));
    }
}

#[test]
fn settings_are_left_out_where_the_time_is_too_short_for_all_and_it_is_said_how_long_the_others_take() {
    let settings = || candidates(Setting { sessions: 1, batch_tokens: 1_024 }, &[1, 2], 256..=usize::MAX);
    let all = settings().len();
    // Ten settings of three rounds and ten turns of a duel, 8,192 tokens in each, so that two sessions have two batches.
    let plenty = Course::of(settings(), 16_384.0, 40.0 * 1.01);
    assert_eq!((plenty.settings.len(), plenty.seconds), (all, 40.4));
    assert!((16_384..17_000).contains(&plenty.tokens), "{plenty:?}");
    let short = Course::of(settings(), 2_000.0, 25.0);
    assert_eq!((short.settings.clone(), short.tokens), (settings()[..2].to_vec(), 2_272), "{short:?}");
    assert_eq!(short.seconds, 25.0);
    assert!((short.duel - 11.36).abs() < 1e-9, "{short:?}");
    let hopeless = Course::of(settings(), 100.0, 1.0);
    assert_eq!((hopeless.settings.len(), hopeless.tokens), (2, 2_048));
    assert!((hopeless.seconds - 16.0 * 20.48).abs() < 1e-9, "{hopeless:?}");
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
