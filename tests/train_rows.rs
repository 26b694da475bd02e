//! Promise: with a cache, a head is fitted on vectors where the cache has them, none is copied, and its file has the same
//! bytes as without one: from a cold cache and a warm one, in several parts, with texts that come twice and rows that are
//! rejected.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
#[path = "common/several.rs"]
mod several;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use common::{Workplace, tiny_bundle};
use offprint::cache::{EmbeddingCache, Key, Space};
use offprint::encode::{
    Account, EncodeJob, EncodeOptions, OpenEncoder, OpenedEncoder, Progress, RowAdapters, StubEncoder, TokenBudget,
    encode_corpus,
};
use offprint::heads::{TrainingOptions, TrainingSet, TrainingSink};
use offprint::paper::{Corpus, CorpusOptions, FieldMap, Template};
use offprint::runtime::{RunBatch, StubFault, StubSession};

const STUB: StubEncoder = StubEncoder { dim: 12, max_length: 48 };

/// 120 papers of three fields. Every fifth text comes twice under two ids, one row has no label, one has no id that is
/// new and another text, one has a title that is no text.
fn corpus() -> String {
    let words = [["coral", "ocean"], ["steel", "copper"], ["grammar", "syntax"]];
    let mut lines = Vec::new();
    for n in 0..100 {
        let (field, words) = (["reef", "alloy", "parser"][n % 3], words[n % 3]);
        let title = format!("{} {} {n}", words[n % 2], words[(n / 3) % 2]);
        let row = |id: String| format!("{{\"id\": \"{id}\", \"title\": \"{title}\", \"field\": \"{field}\"}}");
        lines.push(row(format!("p{n}")));
        if n % 5 == 0 {
            lines.push(row(format!("q{n}")));
        }
    }
    lines.push("{\"id\": \"r\", \"title\": \"no label\"}".to_owned());
    lines.push("{\"id\": \"p7\", \"title\": \"another text\", \"field\": \"reef\"}".to_owned());
    lines.push("{\"id\": \"s\", \"title\": 7, \"field\": \"reef\"}".to_owned());
    lines.join("\n")
}

/// The bytes of the head that `train` makes.
fn head(place: &Workplace, model: &str, more: &[&str]) -> Vec<u8> {
    let args = ["train", "--model", model, "papers.jsonl", "--label", "field", "-o", "field.head", "--allow-rejects"];
    place.run(&[&args[..], more].concat(), 0);
    let bytes = fs::read(place.path("field.head")).unwrap();
    fs::remove_file(place.path("field.head")).unwrap();
    bytes
}

#[test]
fn a_head_is_the_same_to_the_byte_with_and_without_a_cache() {
    let place = Workplace::new();
    place.write("papers.jsonl", corpus());
    for kind in [&["--c-grid"][..], &["--kind", "ridge"], &["--kind", "svm"], &["--kind", "knn", "--folds", "3"]] {
        let held = head(&place, tiny_bundle(), &[kind, &["--no-cache"]].concat());
        assert!(held == head(&place, tiny_bundle(), kind), "cold, or warm after the first kind: {kind:?}");
        assert!(held == head(&place, tiny_bundle(), kind), "warm: {kind:?}");
    }
}

#[test]
fn a_head_of_an_adapter_is_the_same_with_and_without_a_cache() {
    let place = Workplace::new();
    place.write("papers.jsonl", corpus());
    several::several(&place);
    let of = |adapter: &str, more: &[&str]| head(&place, "several", &[&["--adapter", adapter], more].concat());
    let held = several::NAMES.map(|adapter| of(adapter, &["--no-cache"]));
    // Every adapter's rows have the same keys, each in a cache of its own.
    for _ in ["cold", "warm"] {
        for (adapter, held) in several::NAMES.iter().zip(&held) {
            assert!(of(adapter, &[]) == *held, "{adapter}");
        }
    }
    assert!(held[0] != held[1] && held[1] != held[2], "each has vectors of its own");
}

/// A stub that fails on one word.
struct Faulty;

impl OpenEncoder for Faulty {
    fn dim(&self) -> usize {
        STUB.dim
    }

    fn open(&self) -> Result<OpenedEncoder, offprint::encode::Error> {
        let opened = STUB.open()?;
        let token = opened.tokenizer.encode_all(&[("poison", 0)]).remove(0)?.ids[1].into();
        let session = StubSession::new(STUB.dim).failing(StubFault::Token(token));
        Ok(OpenedEncoder { sessions: vec![Box::new(session) as Box<dyn RunBatch>], ..opened })
    }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new(lines: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::write(place.path("papers.jsonl"), lines).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn cache(&self, name: &str) -> EmbeddingCache {
        let space = Space { fingerprint: name.into(), dim: STUB.dim, fields: [("name".into(), name.into())].into() };
        EmbeddingCache::open(&self.path("cache"), &space).unwrap().with_part_age(Duration::ZERO)
    }

    /// Encodes in windows of 16 papers, so that parts of age 0 are many.
    fn run(&self, caches: &[EmbeddingCache], adapters: RowAdapters, sink: &mut TrainingSink<'_>) -> Account {
        let adapter = (!adapters.names.is_empty()).then(|| "task".to_owned());
        let fields = FieldMap { labels: vec!["field".into()], adapter, ..FieldMap::default() };
        let options = CorpusOptions { fields, ..CorpusOptions::default() };
        let job = EncodeJob {
            corpus: &Corpus::open(&[self.path("papers.jsonl").display().to_string()], options).unwrap(),
            encoder: &Faulty,
            caches,
            options: EncodeOptions {
                template: Template::ModelCard,
                sep: "[SEP]".into(),
                budget: TokenBudget::new(256, STUB.max_length).unwrap(),
                window: 16,
                adapters,
            },
            rejects: self.path("rejects.jsonl"),
            stop: &AtomicBool::new(false),
            progress: &Progress::default(),
        };
        encode_corpus(&job, Some(sink)).unwrap()
    }

    fn set(&self, caches: &[EmbeddingCache]) -> (Account, TrainingSet) {
        let mut sink = TrainingSink::new(TrainingOptions::new(STUB.dim, "field"), caches);
        let account = self.run(caches, RowAdapters::default(), &mut sink);
        (account, sink.finish().unwrap())
    }
}

fn bits(set: &TrainingSet) -> Vec<Vec<u32>> {
    let row = |row: usize| set.rows().row(row).iter().map(|value| value.to_bits()).collect();
    (0..set.rows().count()).map(row).collect()
}

/// While it lives, parts stay as many as they were written: nobody else can merge them.
fn unmerged(folder: &Path) -> File {
    let lock = File::create(folder.join(".merge.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

#[test]
fn rows_are_read_in_the_parts_of_the_cache() {
    let poison = "\n{\"id\": \"x\", \"title\": \"poison 1\", \"field\": \"reef\"}";
    let place = Place::new(&(corpus() + poison));
    let (account, held) = place.set(&[]);
    assert_eq!((account.rejected, held.unlabelled, held.ids.len()), (3, 1, 120));
    assert!(!held.vectors.are_mapped());
    let cache = [place.cache("stub")];
    let lock = unmerged(&place.path("cache/stub"));
    let (cold, first) = place.set(&cache);
    let (warm, second) = place.set(&cache);
    assert!(cache[0].parts() > 3, "{} parts", cache[0].parts());
    drop(lock);
    assert_eq!((cold.rejected, warm.rejected, warm.embedded), (3, 3, 0));
    for set in [&first, &second] {
        assert!(set.vectors.are_mapped());
        assert_eq!((bits(set), &set.ids), (bits(&held), &held.ids));
        // Two rows with one text have one vector, which would lie twice if it were copied.
        let of = |id: &str| set.rows().row(set.ids.iter().position(|other| other == id).unwrap()).as_ptr();
        assert_eq!(of("p5"), of("q5"));
        assert_ne!(of("p5"), of("p6"));
    }
    // Merged away and let go by the cache, the parts are still there for the sets.
    cache[0].finish().unwrap();
    assert_eq!(cache[0].parts(), 1);
    drop(cache);
    fs::remove_dir_all(place.path("cache")).unwrap();
    assert_eq!((bits(&first), bits(&second)), (bits(&held), bits(&held)));
    assert_eq!(held.copied(&[3, 3, 0]), first.copied(&[3, 3, 0]));
}

#[test]
fn rows_that_are_not_on_disk_or_of_several_encoders_are_refused() {
    let place = Place::new(&corpus());
    let (used, other) = ([place.cache("used")], [place.cache("other")]);
    let mut sink = TrainingSink::new(TrainingOptions::new(STUB.dim, "field"), &other);
    place.run(&used, RowAdapters::default(), &mut sink);
    let error = sink.finish().unwrap_err();
    assert_eq!(error.to_string(), "the vectors of the set cannot be read in the cache");
    assert!(error.hint().unwrap().contains("--no-cache"));
    let source = std::error::Error::source(&error).unwrap().to_string();
    let folder = place.path("cache/other");
    assert_eq!(source, format!("120 of 120 rows are in no part of cache folder `{}`", folder.display()));
    // In memory only: found by a look-up, but not where a part would have it.
    let key = Key::of_text("in memory");
    other[0].append(key, &[0.0; STUB.dim], Default::default()).unwrap();
    assert!(other[0].contains(&key) && other[0].map_rows(&[key]).is_err());
    other[0].close_part().unwrap();
    assert_eq!(other[0].map_rows(&[key, key]).unwrap().len(), 2);

    let row = |n: usize, task: &str| {
        let field = ["reef", "alloy"][n % 2];
        format!("{{\"id\": \"p{n}\", \"title\": \"paper {n}\", \"field\": \"{field}\", \"task\": \"{task}\"}}\n")
    };
    let names = ["prox", "query"];
    let adapters = || RowAdapters { names: names.map(str::to_owned).to_vec(), field: "task".into(), default: None };
    let finish = |tasks: [&str; 2], held: bool| {
        let place = Place::new(&(0..8).map(|n| row(n, tasks[n / 4])).collect::<String>());
        let caches = names.map(|name| place.cache(name));
        let in_caches: &[EmbeddingCache] = if held { &[] } else { &caches };
        let mut sink = TrainingSink::new(TrainingOptions::new(STUB.dim, "field"), in_caches);
        place.run(&caches, adapters(), &mut sink);
        sink.finish().map(|set| set.ids.len())
    };
    for held in [false, true] {
        assert_eq!(finish(["query", "query"], held).unwrap(), 8, "all go through the second");
        let error = finish(["prox", "query"], held).unwrap_err().to_string();
        assert_eq!(error, "the rows of the set go through 2 adapters, expected one");
    }
    let first = [place.cache("first")];
    let caches = names.map(|name| place.cache(name));
    let place = Place::new(&(0..8).map(|n| row(n, "query")).collect::<String>());
    let mut sink = TrainingSink::new(TrainingOptions::new(STUB.dim, "field"), &first);
    place.run(&caches, adapters(), &mut sink);
    let error = sink.finish().unwrap_err().to_string();
    assert_eq!(error, "no cache for the adapter at place 1, which the rows of the set go through (caches given: 1)");
}
