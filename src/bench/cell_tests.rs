//! Rounds of a stub: what is measured, what is refused, and which options a provider gets.

use super::*;
use crate::bench::grid::Shape;
use crate::bench::texts::{read_vectors, write_texts};
use crate::encode::{OpenedEncoder, StubEncoder};
use crate::model::Precision;
use crate::runtime::{StubFault, StubSession};

const STUB: StubEncoder = StubEncoder { dim: 4, max_length: 32 };

fn job(folder: &Path, batches: Batching) -> CellJob {
    let texts: Vec<String> = (0..100).map(|n| format!("paper {n} {}", "ice ".repeat(n % 40))).collect();
    let path = folder.join("texts.jsonl");
    write_texts(&path, &texts).unwrap();
    let setting = Setting {
        model: "stub".into(),
        precision: Precision::Fp32,
        provider: "cpu".into(),
        provider_options: Vec::new(),
        batches,
        sessions: 1,
        threads: 1,
    };
    CellJob {
        setting,
        bundle: folder.to_owned(),
        cache_dir: None,
        ort_lib: None,
        provider_options: Vec::new(),
        texts: path,
        law: None,
        warm_up: 0.01,
        pipeline_first: false,
        vectors: Some(folder.join("vectors")),
        profile: false,
    }
}

#[test]
fn a_round_measures_all_texts_apart_and_together() {
    let folder = tempfile::tempdir().unwrap();
    let job = job(folder.path(), Batching::Tokens(64));
    for pipeline_first in [false, true] {
        let round = measure(&STUB, 32, &CellJob { pipeline_first, ..job.clone() }).unwrap();
        assert_eq!((round.provider.as_str(), round.work.texts), ("stub", 100));
        assert_eq!(round.latencies.len() as u64, round.work.batches);
        assert!(round.first_batch_seconds >= round.open_seconds);
        for timing in [round.inference, round.tokenize.unwrap(), round.pipeline.unwrap()] {
            assert!(timing.seconds > 0.0, "{round:?}");
        }
        let json = serde_json::to_string(&round).unwrap();
        assert_eq!(serde_json::from_str::<Round>(&json).unwrap(), round);
    }
    let vectors = read_vectors(&folder.path().join("vectors")).unwrap();
    assert_eq!((vectors.rows, vectors.dim), (100, 4));
    assert!(!folder.path().join("texts.rejects.jsonl").exists());
}

/// The stub on engines that took so many seconds to build.
struct Built(f64);

impl OpenEncoder for Built {
    fn dim(&self) -> usize {
        STUB.dim
    }

    fn open(&self) -> Result<OpenedEncoder, crate::encode::Error> {
        Ok(OpenedEncoder { engine_build_seconds: Some(self.0), ..STUB.open()? })
    }
}

#[test]
fn a_round_says_what_its_engines_took_where_it_has_some() {
    let folder = tempfile::tempdir().unwrap();
    let job = job(folder.path(), Batching::Tokens(64));
    let round = measure(&Built(93.5), 32, &job).unwrap();
    assert_eq!(round.engine_build_seconds, Some(93.5));
    let json = serde_json::to_value(&round).unwrap();
    assert_eq!((&json["engine_build_seconds"], serde_json::from_value(json.clone()).ok()), (&93.5.into(), Some(round)));
    let json = serde_json::to_value(measure(&STUB, 32, &job).unwrap()).unwrap();
    assert!(json.get("engine_build_seconds").is_none(), "{json}");
}

#[test]
fn batches_of_one_shape_know_no_pipeline() {
    let folder = tempfile::tempdir().unwrap();
    let job = job(folder.path(), Batching::Fixed(Shape { rows: 4, tokens: 16 }));
    let round = measure(&STUB, 32, &job).unwrap();
    assert_eq!((round.tokenize, round.pipeline), (None, None));
    assert_eq!(round.work.padded_tokens, round.work.useful_tokens);
    assert_eq!(read_vectors(&folder.path().join("vectors")).unwrap().rows, 64, "of the first rows");
}

/// The stub with a session that fails on a token.
struct Faulty(i64);

impl OpenEncoder for Faulty {
    fn dim(&self) -> usize {
        STUB.dim
    }

    fn open(&self) -> Result<OpenedEncoder, crate::encode::Error> {
        let session = StubSession::new(STUB.dim).failing(StubFault::Token(self.0));
        Ok(OpenedEncoder { sessions: vec![Box::new(session)], ..STUB.open()? })
    }
}

#[test]
fn a_pipeline_that_leaves_texts_out_has_no_rate() {
    let folder = tempfile::tempdir().unwrap();
    let job = job(folder.path(), Batching::Tokens(64));
    let number = Machine::open(&STUB).unwrap().encode(&["77".to_owned()]).unwrap()[0].ids[1];
    let machine = Machine::open(&Faulty(number.into())).unwrap();
    let error = pipeline(&machine, 32, &job).unwrap_err();
    assert_eq!(error.to_string(), "1 of 100 texts were rejected: the session fails on them");
    assert!(measure(&Faulty(number.into()), 32, &job).is_err(), "the bare loop fails on them, too");
}

#[test]
fn a_provider_gets_the_options_that_are_for_it() {
    let options = ["cuda.use_tf32=1", "gpu_mem_limit=9"].map(str::to_owned);
    let told = |name: &str, options: &[String]| {
        let list = provider_with(name, options).unwrap();
        list.named()[0].options.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(told("cuda:1", &options), "use_tf32=1 gpu_mem_limit=9");
    assert_eq!((told("tensorrt", &options), told("cpu", &options)), ("gpu_mem_limit=9".into(), String::new()));
    assert!(provider_with("toaster", &[]).is_err());
    assert!(provider_with("cuda", &["tf32".to_owned()]).is_err(), "no `key=value`");
}

#[test]
fn few_latencies_stand_for_many() {
    let many: Vec<f64> = (0..1_000).map(f64::from).collect();
    let few = evenly(&many, 200);
    assert_eq!((few.len(), few[0], few[199]), (200, 0.0, 999.0));
    assert!(few.is_sorted());
    assert_eq!(evenly(&many[..3], 200), [0.0, 1.0, 2.0]);
}
