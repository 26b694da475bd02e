//! Rows that choose their adapter, through the whole pipeline with a stub for the model.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use crate::cache::{EmbeddingCache, Key, RowMeta, Space};
use crate::encode::{
    Account, EmbeddedWindow, EncodeJob, EncodeOptions, Progress, RowAdapters, Sink, SinkError, StubEncoder,
    TokenBudget, encode_corpus,
};
use crate::paper::{Corpus, CorpusOptions, FieldMap, Template};

const DIM: usize = 8;

/// Ids and vectors of rows, in their order.
#[derive(Default)]
struct Kept(Mutex<Vec<(String, Vec<f32>)>>);

impl Sink for Kept {
    fn window(&mut self, window: EmbeddedWindow) -> Result<(), SinkError> {
        let rows = window.papers.into_iter().map(|paper| paper.id).zip(window.embeddings.rows());
        self.0.get_mut().unwrap().extend(rows.map(|(id, row)| (id, row.to_vec())));
        Ok(())
    }
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("papers.jsonl"), lines).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn caches(&self, names: &[&str]) -> Vec<EmbeddingCache> {
        let space = |name: &&str| Space {
            fingerprint: format!("space-{name}"),
            dim: DIM,
            fields: [("adapter".to_owned(), (*name).to_owned())].into(),
        };
        let open = |name| EmbeddingCache::open(&self.path("cache"), &space(name)).unwrap();
        names.iter().map(open).map(|cache| cache.sharing_memory_among(names.len())).collect()
    }

    /// Vectors in the order of the corpus, and the account.
    fn run(&self, caches: &[EmbeddingCache], default: Option<usize>) -> (Vec<(String, Vec<f32>)>, Account) {
        let fields = FieldMap { text: Some("text".into()), adapter: Some("task".into()), ..FieldMap::default() };
        let options = CorpusOptions { fields, ..CorpusOptions::default() };
        let corpus = Corpus::open(&[self.path("papers.jsonl").display().to_string()], options).unwrap();
        let names = vec!["prox".to_owned(), "query".to_owned()];
        let job = EncodeJob {
            corpus: &corpus,
            encoder: &StubEncoder { dim: DIM, max_length: 32 },
            caches,
            options: EncodeOptions {
                template: Template::ModelCard,
                sep: "[SEP]".into(),
                budget: TokenBudget::new(256, 32).unwrap(),
                window: 700,
                adapters: RowAdapters { names, field: "task".into(), default },
            },
            rejects: self.path("rejects.jsonl"),
            stop: &AtomicBool::new(false),
            progress: &Progress::default(),
        };
        let mut kept = Kept::default();
        let account = encode_corpus(&job, Some(&mut kept)).unwrap();
        (kept.0.into_inner().unwrap(), account)
    }

    fn rejects(&self) -> String {
        std::fs::read_to_string(self.path("rejects.jsonl")).unwrap()
    }
}

/// Every text comes twice for each adapter, the second time in another window.
fn lines() -> String {
    let row = |round: usize, n: usize, task: &str| {
        format!("{{\"id\": \"{round}-{n}-{task}\", \"text\": \"paper {n} of ice\", \"task\": \"{task}\"}}\n")
    };
    let round = |round: usize| (0..500).flat_map(move |n| [row(round, n, "prox"), row(round, n, "query")]);
    (0..2).flat_map(round).collect()
}

fn counts(account: &Account) -> (u64, u64, u64) {
    (account.embedded, account.cached, account.rejected)
}

fn by_adapter(account: &Account) -> Vec<(&str, u64)> {
    account.adapters.iter().map(|(name, rows)| (name.as_str(), *rows)).collect()
}

#[test]
fn two_adapters_never_share_a_row_and_a_second_run_finds_all() {
    let place = Place::new(&lines());
    let names = ["prox", "query"];
    let (rows, account) = place.run(&place.caches(&names), None);
    assert_eq!(counts(&account), (1_000, 1_000, 0), "each text is computed once for each adapter");
    assert_eq!(by_adapter(&account), [("prox", 1_000), ("query", 1_000)]);
    assert_eq!(rows.len(), 2_000);
    for pair in rows.chunks(2) {
        assert_ne!(pair[0].1, pair[1].1, "{}", pair[0].0);
    }
    for (first, second) in rows[..1_000].iter().zip(&rows[1_000..]) {
        assert_eq!(first.1, second.1, "{}", first.0);
    }
    for (cache, offset) in place.caches(&names).iter().zip([0, 1]) {
        assert_eq!(cache.len(), 500, "no row stands in the other's space");
        let mut vector = [0.0; DIM];
        for (at, (id, expected)) in rows[..1_000].iter().skip(offset).step_by(2).enumerate() {
            let key = Key::of_text(&format!("paper {at} of ice"));
            assert!(cache.copy_row(&key, &mut vector).is_some(), "{id}");
            assert_eq!(vector.to_vec(), *expected, "{id}");
        }
    }
    let (again, account) = place.run(&place.caches(&names), None);
    assert_eq!(counts(&account), (0, 2_000, 0));
    assert_eq!(by_adapter(&account), [("prox", 1_000), ("query", 1_000)]);
    assert_eq!(account.provider, None, "nothing was opened");
    assert_eq!(again, rows);
}

#[test]
fn a_space_that_holds_a_text_serves_its_own_adapter_alone() {
    let place = Place::new(&lines());
    let (without, account) = place.run(&[], None);
    // Within a window equal texts are computed once; without a cache, the next window computes them again.
    assert_eq!(counts(&account).0 + counts(&account).1, 2_000);
    let caches = place.caches(&["prox", "query"]);
    let vector = [0.5; DIM];
    for n in 0..500 {
        let key = Key::of_text(&format!("paper {n} of ice"));
        caches[1].append(key, &vector, RowMeta::default()).unwrap();
    }
    let (rows, account) = place.run(&caches, None);
    assert_eq!(counts(&account), (500, 1_500, 0));
    for (row, plain) in rows.iter().zip(&without) {
        let expected = if row.0.ends_with("query") { vector.to_vec() } else { plain.1.clone() };
        assert_eq!(row.1, expected, "{}", row.0);
    }
}

#[test]
fn an_id_counts_within_its_adapter() {
    let row = |text: &str, task: &str| format!("{{\"id\": \"a\", \"text\": \"{text}\", \"task\": \"{task}\"}}\n");
    let rows = [("ice", "prox"), ("ice", "query"), ("ice", "prox"), ("fire", "query"), ("fire", "prox")];
    let place = Place::new(&rows.map(|(text, task)| row(text, task)).concat());
    let (rows, account) = place.run(&[], None);
    assert_eq!(counts(&account), (2, 1, 2));
    assert_eq!((account.repeated, by_adapter(&account)), (1, vec![("prox", 2), ("query", 1)]));
    assert_eq!(rows[0], rows[2]);
    assert_ne!(rows[0].1, rows[1].1);
    assert_eq!(place.rejects().matches("id `a` came before with another text").count(), 2);
}

#[test]
fn a_row_without_an_adapter_of_the_bundle_is_rejected_unless_there_is_a_default() {
    let lines = [
        r#"{"id": "a", "text": "ice", "task": "prox"}"#,
        r#"{"id": "b", "text": "ice", "task": "Prox"}"#,
        r#"{"id": "c", "text": "ice"}"#,
        r#"{"id": "d", "text": "ice", "task": null}"#,
        r#"{"id": "e", "text": "ice", "task": ""}"#,
        r#"{"id": "f", "text": "ice", "task": ["prox"]}"#,
    ];
    let place = Place::new(&lines.join("\n"));
    let (rows, account) = place.run(&[], None);
    assert_eq!((rows.len(), counts(&account)), (1, (1, 0, 5)));
    let rejects = place.rejects();
    let reason = |line: u64| {
        let rejects = rejects.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let found = rejects.into_iter().find(|reject| reject["line"] == line).unwrap();
        assert!(found["file"].as_str().unwrap().ends_with("papers.jsonl"), "{found}");
        found["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(2), "`task` is `Prox`, expected an adapter of the bundle: `prox`, `query`");
    for missing in [3, 4, 5] {
        assert_eq!(reason(missing), "`task` is missing, expected an adapter of the bundle: `prox`, `query`");
    }
    assert_eq!(reason(6), "`task` is a list, expected text, an integer or a boolean");
    let (rows, account) = place.run(&[], Some(1));
    assert_eq!((counts(&account), by_adapter(&account)), ((2, 2, 2), vec![("prox", 1), ("query", 3)]));
    assert_eq!(rows.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a", "c", "d", "e"]);
    assert_eq!(rows[1].1, rows[3].1);
    assert_ne!(rows[0].1, rows[1].1);
}

#[test]
fn there_is_a_cache_for_each_adapter_or_none() {
    let check = |names: usize, caches: usize| {
        let names = vec!["x".to_owned(); names];
        RowAdapters { names, ..RowAdapters::default() }.check(caches).map_err(|error| error.to_string())
    };
    for (names, caches) in [(0, 0), (0, 1), (3, 0), (3, 3)] {
        assert_eq!(check(names, caches), Ok(()));
    }
    let message = "1 caches were given for 3 adapters, expected one for each, or none at all";
    assert_eq!(check(3, 1).unwrap_err(), message);
    assert!(check(0, 2).is_err());
}

#[test]
fn handles_that_share_memory_close_their_parts_earlier() {
    let folder = tempfile::tempdir().unwrap();
    let parts = |handles: usize| {
        let space = Space { fingerprint: format!("s{handles}"), dim: 4_096, fields: Default::default() };
        let cache = EmbeddingCache::open(folder.path(), &space).unwrap().sharing_memory_among(handles);
        for n in 0..300_u32 {
            let key = Key::of_text(&n.to_string());
            cache.append(key, &[n as f32; 4_096], RowMeta::default()).unwrap();
        }
        Path::read_dir(&folder.path().join(&space.fingerprint)).unwrap().count()
    };
    // 300 rows of 16 KiB are 4.7 MiB: more than a sixteenth of the 64 MiB of an open part.
    assert!(parts(16) > parts(1), "a part was closed before the run asked for it");
}
