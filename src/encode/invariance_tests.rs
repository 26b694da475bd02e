//! The check itself: an encoder that keeps the promise passes in every composition, one that breaks it in any way is
//! caught, and the numbers are those of the difference that was put in.

use super::*;
use crate::encode::{StubEncoder, built_in_texts};
use crate::runtime::{self, RunBatch};

/// A stub whose vectors are moved by something other than the text.
struct Broken {
    stub: StubEncoder,
    by: fn(&Batch, usize) -> f32,
}

struct BrokenSession {
    inner: Box<dyn RunBatch>,
    by: fn(&Batch, usize) -> f32,
}

impl RunBatch for BrokenSession {
    fn run(&mut self, batch: &Batch) -> Result<EmbeddingMatrix, runtime::Error> {
        let mut matrix = self.inner.run(batch)?;
        for row in 0..matrix.rows {
            matrix.data[row * matrix.dim] += (self.by)(batch, row);
        }
        Ok(matrix)
    }
}

impl OpenEncoder for Broken {
    fn dim(&self) -> usize {
        self.stub.dim
    }

    fn open(&self) -> Result<OpenedEncoder, Error> {
        let mut opened = self.stub.open()?;
        let wrap = |inner| Box::new(BrokenSession { inner, by: self.by }) as Box<dyn RunBatch>;
        opened.sessions = opened.sessions.into_iter().map(wrap).collect();
        Ok(opened)
    }
}

const STUB: StubEncoder = StubEncoder { dim: 16, max_length: 64 };

fn options() -> InvarianceOptions {
    InvarianceOptions {
        budget: TokenBudget::new(256, 64).unwrap(),
        max_length: 64,
        normalized: false,
        precision: Precision::Fp32,
        adapters: vec![],
    }
}

fn check(encoders: &[&dyn OpenEncoder]) -> InvarianceReport {
    let encoders: Vec<Threaded<'_>> =
        encoders.iter().zip(1..).map(|(&encoder, threads)| Threaded { threads, encoder }).collect();
    check_invariance(&encoders, &built_in_texts(64), &options(), &mut |_| ()).unwrap()
}

/// The compositions in which vectors differ, with their threads.
fn caught(by: fn(&Batch, usize) -> f32) -> Vec<String> {
    let broken = Broken { stub: STUB, by };
    let report = check(&[&broken, &broken]);
    assert_eq!(report.is_invariant(), report.compositions.iter().all(|compared| compared.rows_differ == 0));
    let differs = report.compositions.iter().filter(|compared| compared.rows_differ > 0);
    differs.map(|compared| format!("{} on {}", compared.composition, compared.threads)).collect()
}

#[test]
fn an_encoder_that_keeps_the_promise_passes_everywhere() {
    let report = check(&[&STUB, &STUB]);
    assert!(report.is_invariant(), "{report:?}");
    let names: Vec<(&str, usize)> = report.compositions.iter().map(|c| (c.composition.as_str(), c.threads)).collect();
    let expected = [
        ("batches of 8", 1),
        ("one batch of 34", 1),
        ("planned, 256 tokens", 1),
        ("alone, padded", 1),
        ("batches of 8, shuffled", 1),
        ("alone", 2),
        ("one batch of 34", 2),
        ("planned, 256 tokens", 2),
    ];
    assert_eq!(names, expected);
    for compared in &report.compositions {
        assert_eq!((compared.max_delta, compared.worst_cosine, compared.neighbours_changed), (0.0, 1.0, 0));
    }
    assert_eq!((report.texts, report.dim, report.neighbours), (built_in_texts(64).len(), 16, 10));
    assert_eq!(report.tokens, (2, 64));
    assert!(report.truncated >= 2);
}

#[test]
fn whatever_a_vector_depends_on_is_caught() {
    let everything_but_alone = caught(|batch, _| if batch.rows > 1 { 1e-7 } else { 0.0 });
    assert!(everything_but_alone.contains(&"batches of 8 on 1".to_owned()), "{everything_but_alone:?}");
    assert!(!everything_but_alone.contains(&"alone, padded on 1".to_owned()), "{everything_but_alone:?}");

    let padding = caught(|batch, row| {
        let tokens = batch.mask[row * batch.columns..(row + 1) * batch.columns].iter().sum::<i64>();
        if tokens < batch.columns as i64 { 1e-6 } else { 0.0 }
    });
    assert!(padding.contains(&"alone, padded on 1".to_owned()), "{padding:?}");

    let mates = caught(|batch, row| if row > 0 { batch.ids[0] as f32 * 1e-7 } else { 0.0 });
    assert!(mates.contains(&"one batch of 34 on 1".to_owned()), "{mates:?}");

    let place = caught(|_, row| row as f32 * 1e-5);
    assert!(place.contains(&"batches of 8, shuffled on 1".to_owned()), "{place:?}");
    assert!(caught(|_, _| 0.0).is_empty());
}

#[test]
fn a_difference_that_only_another_number_of_threads_makes_is_caught() {
    let other = Broken { stub: STUB, by: |_, _| 0.25 };
    let report = check(&[&STUB, &other]);
    assert!(!report.is_invariant());
    for compared in &report.compositions {
        let differs = compared.threads == 2;
        assert_eq!(compared.rows_differ == report.texts, differs, "{compared:?}");
        assert_eq!(compared.neighbours_changed > 0, differs, "{compared:?}");
        if differs {
            assert!((compared.max_delta - 0.25).abs() < 1e-6, "{compared:?}");
            assert!(compared.worst_cosine < 0.999, "{compared:?}");
        }
    }
}

#[test]
fn a_single_bit_counts() {
    let report = check(&[&Broken { stub: STUB, by: |batch, _| if batch.rows == 8 { f32::EPSILON } else { 0.0 } }]);
    assert!(!report.is_invariant());
    let worst = report.compositions.iter().find(|compared| compared.composition == "batches of 8").unwrap();
    assert!(worst.rows_differ > 0 && worst.max_delta > 0.0 && worst.max_delta < 1e-6, "{worst:?}");
}

#[test]
fn what_is_watched_adds_up() {
    let mut last = (0, 0);
    let threaded = [Threaded { threads: 1, encoder: &STUB }, Threaded { threads: 2, encoder: &STUB }];
    let report = check_invariance(&threaded, &built_in_texts(64), &options(), &mut |step: CheckStep| {
        assert!(step.tokens.0 > last.0 && step.tokens.0 <= step.tokens.1, "{step:?}");
        last = step.tokens;
    });
    assert_eq!(last.0, last.1);
    assert_eq!(report.unwrap().compositions.len(), 8);
}

#[test]
fn norms_that_the_bundle_forbids_are_an_error() {
    let broken = Broken { stub: STUB, by: |_, _| 0.5 };
    let encoders = [Threaded { threads: 1, encoder: &broken }];
    let options = InvarianceOptions { normalized: true, ..options() };
    let error = check_invariance(&encoders, &built_in_texts(64), &options, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("expected 1 (the bundle normalizes)"), "{error}");
}
