//! Promise: what a run holds in anonymous memory beside its session is a window and at most 96 bytes for each row.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use offprint::cache::{EmbeddingCache, Space};
use offprint::encode::{EncodeJob, EncodeOptions, Progress, StubEncoder, TokenBudget, encode_corpus};
use offprint::output::{EmbeddingOutputOptions, EmbeddingSink, embedding_writer};
use offprint::paper::{Corpus, CorpusOptions, Template};
use offprint::runtime::memory_in_use;

const DIM: usize = 384;
const WINDOW: usize = 4_096;
/// What the allocator may keep of freed windows, and what the buffers of files and threads take.
const SLACK: u64 = 24 << 20;

/// Encodes `rows` short papers to a file and gives the growth of anonymous memory at its end.
fn grown(folder: &Path, rows: u64) -> u64 {
    let mut text = String::new();
    for n in 0..rows {
        writeln!(text, r#"{{"id": "p{n}", "title": "paper number {n}"}}"#).unwrap();
    }
    let papers = folder.join(format!("{rows}.jsonl"));
    std::fs::write(&papers, text).unwrap();
    let corpus = Corpus::open(&[papers.to_str().unwrap().to_owned()], CorpusOptions::default()).unwrap();
    let space = Space { fingerprint: format!("{rows:064}"), dim: DIM, fields: [("kind".into(), "stub".into())].into() };
    let before = memory_in_use().unwrap().anonymous;
    let cache = EmbeddingCache::open(&folder.join("cache"), &space).unwrap();
    let job = EncodeJob {
        corpus: &corpus,
        encoder: &StubEncoder { dim: DIM, max_length: 64 },
        cache: Some(&cache),
        options: EncodeOptions {
            template: Template::ModelCard,
            sep: "[SEP]".into(),
            budget: TokenBudget::new(1_024, 64).unwrap(),
            window: WINDOW,
        },
        rejects: folder.join("rejects.jsonl"),
        stop: &AtomicBool::new(false),
        progress: &Progress::default(),
    };
    let options = EmbeddingOutputOptions { jsonl_id_key: "doc_id".into(), fingerprint: "stub".into() };
    let mut sink = EmbeddingSink::new(embedding_writer(&folder.join("x.npy"), DIM, &options).unwrap());
    let watch = Peak::start();
    let account = encode_corpus(&job, Some(&mut sink)).unwrap();
    let peak = watch.stop();
    sink.finish().unwrap();
    assert_eq!(account.embedded, rows);
    peak.saturating_sub(before)
}

/// The largest anonymous memory while it runs.
struct Peak {
    stop: std::sync::Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Peak {
    fn start() -> Self {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let seen = std::sync::Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while !seen.load(std::sync::atomic::Ordering::Relaxed) {
                peak = peak.max(memory_in_use().unwrap().anonymous);
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            peak
        });
        Self { stop, thread }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn memory_grows_by_at_most_96_bytes_a_row() {
    let folder = tempfile::tempdir().unwrap();
    // Rows of vectors, papers and texts of the windows under way, and the open part of the cache.
    let windows = 3 * (WINDOW * (DIM * 4 + 600)) as u64 + (64 << 20);
    let small = grown(folder.path(), 10_000);
    let large = grown(folder.path(), 100_000);
    println!("10,000 rows: {} KiB, 100,000 rows: {} KiB", small >> 10, large >> 10);
    assert!(small <= windows + SLACK + 96 * 10_000, "{small} bytes for 10,000 rows");
    assert!(large <= windows + SLACK + 96 * 100_000, "{large} bytes for 100,000 rows");
}
