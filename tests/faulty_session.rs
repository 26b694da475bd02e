//! Promise: a session that fails on one paper loses that paper only: it is rejected with its reason, and every other row
//! has the bits that it has without the failure. Where memory runs out the batches become smaller and nothing is lost. A
//! session that fails at everything ends the run.
//!
//! Most of it goes through the seam, with stub sessions that fail where they are told to; the end is the program itself.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use offprint::cache::{EmbeddingCache, Space};
use offprint::encode::{
    Account, EmbeddedWindow, EncodeJob, EncodeOptions, Error, OpenEncoder, OpenedEncoder, Progress, RowAdapters, Sink,
    SinkError, StubEncoder, TokenBudget, encode_corpus,
};
use offprint::paper::{Corpus, CorpusOptions, Template};
use offprint::runtime::{RunBatch, StubFault, StubSession};
use proptest::prelude::*;

const STUB: StubEncoder = StubEncoder { dim: 12, max_length: 48 };
const WORD: &str = "poison";

/// A stub with some sessions, each with faults of its own.
struct Faulty(Vec<Vec<StubFault>>);

impl OpenEncoder for Faulty {
    fn dim(&self) -> usize {
        STUB.dim
    }

    fn open(&self) -> Result<OpenedEncoder, Error> {
        let session = |faults: &Vec<StubFault>| {
            let stub = faults.iter().fold(StubSession::new(STUB.dim), |stub, fault| stub.failing(*fault));
            Box::new(stub) as Box<dyn RunBatch>
        };
        Ok(OpenedEncoder { sessions: self.0.iter().map(session).collect(), ..STUB.open()? })
    }
}

/// The same faults in each of some sessions.
fn sessions(count: usize, faults: &[StubFault]) -> Faulty {
    Faulty(vec![faults.to_vec(); count])
}

/// The token that the stub makes of a word.
fn token(word: &str) -> i64 {
    STUB.open().unwrap().tokenizer.encode_all(&[(word, 0)]).remove(0).unwrap().ids[1].into()
}

/// Vectors by id, as bits.
type Rows = BTreeMap<String, Vec<u32>>;

#[derive(Debug, Default)]
struct Kept {
    order: Vec<String>,
    rows: Rows,
}

impl Sink for Kept {
    fn window(&mut self, window: EmbeddedWindow) -> Result<(), SinkError> {
        assert_eq!(window.papers.len(), window.metas.len());
        assert_eq!(window.papers.len(), window.embeddings.nrows());
        for ((paper, row), meta) in window.papers.into_iter().zip(window.embeddings.rows()).zip(window.metas) {
            assert_eq!(meta.n_tokens as usize, paper.text.short().split(' ').count() + 2, "{}", paper.id);
            self.order.push(paper.id.clone());
            self.rows.insert(paper.id, row.iter().map(|value| value.to_bits()).collect());
        }
        Ok(())
    }
}

/// A corpus in a folder of its own.
struct Place(tempfile::TempDir);

impl Place {
    /// Papers by number and title.
    fn new(titles: &[String]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let line = |(n, title): (usize, &String)| format!("{{\"id\": \"p{n}\", \"title\": \"{title}\"}}\n");
        let lines: String = titles.iter().enumerate().map(line).collect();
        std::fs::write(place.path("papers.jsonl"), lines).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn cache(&self) -> EmbeddingCache {
        let space =
            Space { fingerprint: "f".repeat(64), dim: STUB.dim, fields: [("kind".into(), "stub".into())].into() };
        EmbeddingCache::open(&self.path("cache"), &space).unwrap()
    }

    /// A run with windows of 64 papers and batches of 256 padded tokens; with a cache where one is given.
    fn run(&self, encoder: &dyn OpenEncoder, cache: Option<&EmbeddingCache>) -> Result<(Account, Kept), Error> {
        let mut kept = Kept::default();
        let account = self.run_into(encoder, cache, Some(&mut kept))?;
        Ok((account, kept))
    }

    fn run_into(
        &self,
        encoder: &dyn OpenEncoder,
        cache: Option<&EmbeddingCache>,
        sink: Option<&mut dyn Sink>,
    ) -> Result<Account, Error> {
        let corpus =
            Corpus::open(&[self.path("papers.jsonl").display().to_string()], CorpusOptions::default()).unwrap();
        let job = EncodeJob {
            corpus: &corpus,
            encoder,
            caches: cache.map_or(&[], std::slice::from_ref),
            options: EncodeOptions {
                template: Template::ModelCard,
                sep: "[SEP]".into(),
                budget: TokenBudget::new(256, STUB.max_length).unwrap(),
                window: 64,
                adapters: RowAdapters::default(),
            },
            rejects: self.path("rejects.jsonl"),
            stop: &AtomicBool::new(false),
            progress: &Progress::default(),
        };
        encode_corpus(&job, sink)
    }

    /// The rejects by id: line and reason.
    fn rejects(&self) -> BTreeMap<String, (u64, String)> {
        let Ok(text) = std::fs::read_to_string(self.path("rejects.jsonl")) else { return BTreeMap::new() };
        let row = |line: &str| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(row["file"].as_str().unwrap().ends_with("papers.jsonl"), "{row}");
            let field = |name: &str| row[name].as_str().unwrap().to_owned();
            (field("id"), (row["line"].as_u64().unwrap(), field("reason")))
        };
        text.lines().map(row).collect()
    }
}

/// So many titles of very different lengths, no two alike.
fn titles(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("paper {n} {}", "ice ".repeat(n * 7 % 43)).trim_end().to_owned()).collect()
}

/// The same, with the word that sessions fail at in some of them.
fn poisoned(count: usize, at: &[usize]) -> Vec<String> {
    let mut titles = titles(count);
    for &n in at {
        titles[n] = format!("{WORD} {n}");
    }
    titles
}

fn counts(account: &Account) -> (u64, u64, u64, u64) {
    assert_eq!(account.rows, account.embedded + account.cached + account.rejected);
    (account.rows, account.embedded, account.cached, account.rejected)
}

fn ids(numbers: &[usize]) -> BTreeSet<String> {
    numbers.iter().map(|n| format!("p{n}")).collect()
}

/// Rows that stay are those of a sound run, in the order of the corpus and with its bits; the others are rejected.
fn expect(sound: &Rows, kept: &Kept, rejects: &BTreeMap<String, (u64, String)>) {
    let rejected: BTreeSet<&String> = rejects.keys().collect();
    let numbers: Vec<usize> = kept.order.iter().map(|id| id[1..].parse().unwrap()).collect();
    assert!(numbers.is_sorted());
    for (id, row) in sound {
        assert_ne!(kept.rows.contains_key(id), rejected.contains(id), "{id} is either kept or rejected");
        assert!(kept.rows.get(id).is_none_or(|kept| kept == row), "{id} has other bits");
        assert!(rejects.get(id).is_none_or(|(line, _)| id[1..].parse::<u64>().unwrap() + 1 == *line));
    }
}

#[test]
fn one_paper_that_fails_is_rejected_and_the_rest_keeps_its_bits() {
    let bad = [5, 70, 71, 199];
    let place = Place::new(&poisoned(300, &bad));
    let (account, sound) = place.run(&STUB, None).unwrap();
    assert_eq!(counts(&account), (300, 300, 0, 0));
    for (fault, reason) in [
        (StubFault::Token(token(WORD)), format!("the stub session fails on token {}, as asked", token(WORD))),
        (
            StubFault::NanToken(token(WORD)),
            "output `stub` holds NaN at row 0, column 0 of a batch of 1: expected finite numbers".to_owned(),
        ),
    ] {
        for count in [1, 3] {
            let (account, kept) = place.run(&sessions(count, &[fault]), None).unwrap();
            assert_eq!(counts(&account), (300, 296, 0, 4));
            assert!(account.warnings.is_empty(), "{:?}", account.warnings);
            let rejects = place.rejects();
            assert_eq!(rejects.keys().cloned().collect::<BTreeSet<_>>(), ids(&bad));
            assert!(rejects.values().all(|(_, why)| *why == format!("the encoder fails on this text: {reason}")));
            expect(&sound.rows, &kept, &rejects);
        }
    }
}

#[test]
fn what_was_computed_is_in_the_cache_and_what_failed_is_tried_again() {
    let bad = [3, 90];
    let place = Place::new(&poisoned(200, &bad));
    let sound = place.run(&STUB, None).unwrap().1;
    let faulty = sessions(2, &[StubFault::Token(token(WORD))]);
    let account = place.run_into(&faulty, Some(&place.cache()), None).unwrap();
    assert_eq!(counts(&account), (200, 198, 0, 2));

    let (account, kept) = place.run(&faulty, Some(&place.cache())).unwrap();
    assert_eq!(counts(&account), (200, 0, 198, 2), "alone among texts that the cache has they are still the two");
    expect(&sound.rows, &kept, &place.rejects());

    let (account, kept) = place.run(&STUB, Some(&place.cache())).unwrap();
    assert_eq!(counts(&account), (200, 2, 198, 0));
    assert_eq!(kept.rows, sound.rows);
    assert!(place.rejects().is_empty(), "the file of the run before is gone");
}

#[test]
fn rows_with_the_text_of_a_rejected_one_are_rejected_too_wherever_they_stand() {
    // In the same window, in each of those that are read before it is finished, and in one long after.
    let bad = [3, 7, 66, 130, 200, 270, 500];
    let mut titles = titles(600);
    for n in bad {
        titles[n] = format!("{WORD} and nothing else");
    }
    let place = Place::new(&titles);
    let sound = place.run(&STUB, None).unwrap().1;
    for with_cache in [false, true] {
        let cache = with_cache.then(|| place.cache());
        for count in [1, 2] {
            let (_, kept) = place.run(&sessions(count, &[StubFault::Token(token(WORD))]), cache.as_ref()).unwrap();
            let rejects = place.rejects();
            assert_eq!(rejects.keys().cloned().collect::<BTreeSet<_>>(), ids(&bad), "cache: {with_cache}");
            expect(&sound.rows, &kept, &rejects);
        }
        let account = place.run_into(&sessions(1, &[StubFault::Token(token(WORD))]), cache.as_ref(), None).unwrap();
        assert_eq!(account.rejected, 7, "also where nobody wants vectors");
        counts(&account);
    }
}

#[test]
fn repeated_rows_that_are_rejected_are_not_counted_as_kept() {
    let place = Place::new(&[]);
    let row = |id: &str, title: &str| format!("{{\"id\": \"{id}\", \"title\": \"{title}\"}}\n");
    let rows =
        [row("p0", "ice"), row("p0", "ice"), row("p2", "poison ivy"), row("p2", "poison ivy"), row("p4", "snow")];
    std::fs::write(place.path("papers.jsonl"), rows.concat()).unwrap();
    let account = place.run_into(&sessions(1, &[StubFault::Token(token(WORD))]), None, None).unwrap();
    assert_eq!(counts(&account), (5, 2, 1, 2));
    assert_eq!(account.repeated, 1);
}

#[test]
fn a_failure_that_does_not_come_again_loses_nothing() {
    let place = Place::new(&titles(300));
    let sound = place.run(&STUB, None).unwrap().1;
    let (account, kept) = place.run(&sessions(1, &[StubFault::Batch(0), StubFault::Batch(9)]), None).unwrap();
    assert_eq!(counts(&account), (300, 300, 0, 0));
    assert_eq!(kept.rows, sound.rows);
}

/// The chain of an error, outermost first.
fn chain(error: &Error) -> Vec<String> {
    let links = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    links.map(ToString::to_string).collect()
}

#[test]
fn a_session_that_fails_at_everything_ends_the_run_and_what_it_did_before_is_kept() {
    let place = Place::new(&titles(300));
    let sound = place.run(&STUB, None).unwrap().1;
    for first in [0, 20] {
        let error = place.run(&sessions(1, &[StubFault::From(first)]), Some(&place.cache())).unwrap_err();
        let cause = format!("the stub session fails at batch {first}, as asked");
        assert_eq!(chain(&error), ["no batch can be run, not even one of a single letter", &cause]);
        assert!(place.rejects().is_empty(), "no text is to blame");
    }
    let (account, kept) = place.run(&STUB, Some(&place.cache())).unwrap();
    assert!(account.cached >= 20, "{account:?}");
    assert_eq!(kept.rows, sound.rows);
}

#[test]
fn an_encoder_that_runs_none_of_the_papers_ends_the_run_after_three_batches() {
    let place = Place::new(&titles(300));
    let faults = [StubFault::Token(token("paper"))];
    let error = place.run(&sessions(1, &faults), None).unwrap_err();
    let [what, cause] = chain(&error).try_into().unwrap();
    assert!(what.starts_with("none of ") && what.ends_with(" texts in 3 batches in a row could be run"), "{what}");
    assert_eq!(cause, format!("the stub session fails on token {}, as asked", token("paper")));

    let few = Place::new(&titles(4));
    let (account, kept) = few.run(&sessions(1, &faults), None).unwrap();
    assert_eq!((counts(&account), kept.order.len()), ((4, 0, 0, 4), 0), "fewer are rejected one by one");

    // Papers of which an earlier run has computed the others: here the encoder is known to work.
    let mixed = Place::new(&[titles(300), vec!["snow".into(), "steel".into()]].concat());
    let lines = std::fs::read_to_string(mixed.path("papers.jsonl")).unwrap();
    let tail: Vec<&str> = lines.lines().skip(300).collect();
    std::fs::write(mixed.path("papers.jsonl"), tail.join("\n")).unwrap();
    mixed.run_into(&sessions(1, &faults), Some(&mixed.cache()), None).unwrap();
    std::fs::write(mixed.path("papers.jsonl"), [tail.join("\n"), lines].join("\n")).unwrap();
    let account = mixed.run_into(&sessions(1, &faults), Some(&mixed.cache()), None).unwrap();
    assert_eq!(counts(&account), (304, 0, 4, 300));
}

#[test]
fn memory_that_runs_out_makes_batches_smaller_and_loses_nothing() {
    let place = Place::new(&titles(400));
    let sound = place.run(&STUB, None).unwrap().1;
    for count in [1, 3] {
        let (account, kept) = place.run(&sessions(count, &[StubFault::Memory(100)]), None).unwrap();
        assert_eq!(counts(&account), (400, 400, 0, 0));
        assert_eq!(kept.rows, sound.rows);
        let [warning] = account.warnings.try_into().unwrap();
        assert!(warning.starts_with("memory ran out "), "{warning}");
        let end = "and the batch was halved; later batches had at most 64 padded tokens instead of 256 \
                   (`--max-batch-tokens 64` begins there)";
        assert!(warning.ends_with(end), "{warning}");
    }
    let (account, _) = place.run(&sessions(1, &[StubFault::Memory(128)]), None).unwrap();
    let expected = "memory ran out once and the batch was halved; later batches had at most 128 padded tokens instead \
                    of 256 (`--max-batch-tokens 128` begins there)";
    assert_eq!(account.warnings, [expected]);
    let (account, _) = place.run(&sessions(1, &[StubFault::Memory(256)]), None).unwrap();
    assert!(account.warnings.is_empty());
}

#[test]
fn a_text_for_which_alone_there_is_no_memory_is_rejected_and_many_of_them_end_the_run() {
    let mut some = titles(200).into_iter().filter(|title| title.split(' ').count() <= 30).collect::<Vec<_>>();
    some[60] = "steel ".repeat(44).trim_end().to_owned();
    let place = Place::new(&some);
    let sound = place.run(&STUB, None).unwrap().1;
    let faults = [StubFault::Memory(40)];
    let (account, kept) = place.run(&sessions(1, &faults), None).unwrap();
    assert_eq!(account.rejected, 1);
    let reason = "the encoder fails on this text: the stub session has memory for 40 padded tokens, got 46";
    assert_eq!(place.rejects()["p60"].1, reason);
    expect(&sound.rows, &kept, &place.rejects());

    let long: Vec<String> = (0..100).map(|n| format!("paper {n} {}", "ice ".repeat(40).trim_end())).collect();
    let place = Place::new(&long);
    let error = place.run(&sessions(1, &faults), None).unwrap_err();
    let [what, cause] = chain(&error).try_into().unwrap();
    assert!(what.starts_with("none of ") && what.ends_with(" texts in 3 batches in a row could be run"), "{what}");
    assert!(cause.starts_with("the stub session has memory for 40 padded tokens, got "), "{cause}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn whatever_fails_every_other_row_has_its_bits(
        bad in prop::collection::btree_set(0_usize..150, 0..40),
        count in 1_usize..4,
        room in 50_usize..300,
        with_cache: bool,
    ) {
        let bad: Vec<usize> = bad.into_iter().collect();
        let place = Place::new(&poisoned(150, &bad));
        let sound = place.run(&STUB, None).unwrap().1;
        let cache = with_cache.then(|| place.cache());
        let faults = [StubFault::Token(token(WORD)), StubFault::Memory(room)];
        let (account, kept) = place.run(&sessions(count, &faults), cache.as_ref()).unwrap();
        prop_assert_eq!(counts(&account), (150, 150 - bad.len() as u64, 0, bad.len() as u64));
        let rejects = place.rejects();
        prop_assert_eq!(rejects.keys().cloned().collect::<BTreeSet<_>>(), ids(&bad));
        expect(&sound.rows, &kept, &rejects);
    }
}
