//! Promise: what a run holds in anonymous memory beside its session is a window and at most 96 bytes for each row; a set to
//! fit a head on holds names and labels, and leaves vectors where the cache has them.
//!
//! Each corpus is encoded in a process of its own, this test program started again as a child, so that no run is
//! flattered by memory that an earlier one left with the allocator.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use offprint::cache::{EmbeddingCache, Space};
use offprint::encode::{EncodeJob, EncodeOptions, Progress, RowAdapters, StubEncoder, TokenBudget, encode_corpus};
use offprint::heads::{TrainingOptions, TrainingSink};
use offprint::output::{EmbeddingOutputOptions, EmbeddingSink, embedding_writer};
use offprint::paper::{Corpus, CorpusOptions, FieldMap, Template};
use offprint::runtime::memory_in_use;

const CHILD_FOLDER: &str = "OFFPRINT_TEST_CHILD";
const CHILD_ROWS: &str = "OFFPRINT_TEST_ROWS";
const CHILD_TRAINS: &str = "OFFPRINT_TEST_TRAINS";
const DIM: usize = 384;
/// So small that the smallest corpus fills several of them: what is left to grow then grows with the rows.
const WINDOW: usize = 1_024;
/// So short that the open part stays far below its 64 MiB, which the smallest corpus would not reach.
const PART: Duration = Duration::from_millis(20);
/// Bytes that a row may take.
const ROW: u64 = 96;
/// Bytes that a row of a set may take for its id, title, label, part and place, with what finding them takes: less than
/// half of its vector.
const SET_ROW: u64 = (DIM * 4 / 2) as u64;
/// How far the peaks of two runs may differ for other reasons: memory that the allocator keeps, and how many rows fell
/// into a part. Over 90,000 rows it is 93 bytes a row, so that a leak of 200 bytes a row is found out.
const NOISE: u64 = 8 << 20;
/// Windows under way, with texts and ids; and two open parts, a record batch of a merge, buffers of files and threads.
const FIXED: u64 = 3 * (WINDOW * (DIM * 4 + 600)) as u64 + (40 << 20);

#[test]
fn memory_grows_by_at_most_96_bytes_a_row() {
    let (small, large) = (peak_of(10_000, false), peak_of(100_000, false));
    println!("10,000 rows: {} KiB, 100,000 rows: {} KiB", small >> 10, large >> 10);
    check(small, (100_000, large));
    // So many millions of rows: 1 takes a minute and 3 GB of disk, 10 take ten of each.
    if let Ok(millions) = std::env::var("OFFPRINT_TEST_MILLION") {
        let rows = 1_000_000 * millions.parse::<u64>().expect("OFFPRINT_TEST_MILLION is a number");
        let largest = peak_of(rows, false);
        println!("{rows} rows: {} KiB", largest >> 10);
        check(small, (rows, largest));
    }
}

#[test]
fn a_set_to_fit_on_holds_no_vectors() {
    let (small, large) = (peak_of(10_000, true), peak_of(100_000, true));
    println!("10,000 rows: {} KiB, 100,000 rows: {} KiB", small >> 10, large >> 10);
    let (growth, allowed) = (large.saturating_sub(small), SET_ROW * 90_000 + NOISE);
    assert!(growth <= allowed, "{growth} bytes more for 100,000 rows than for 10,000, allowed {allowed}");
}

fn check(small: u64, (rows, large): (u64, u64)) {
    let (growth, allowed) = (large.saturating_sub(small), ROW * (rows - 10_000) + NOISE);
    assert!(growth <= allowed, "{growth} bytes more for {rows} rows than for 10,000, allowed {allowed}");
    let allowed = FIXED + ROW * rows;
    assert!(large <= allowed, "{large} bytes for {rows} rows, allowed {allowed}");
}

/// The growth of anonymous memory, in bytes, that a process of its own saw while it encoded `rows` papers, to a file or to
/// a set to fit on.
fn peak_of(rows: u64, trains: bool) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_is_measured", "--nocapture"])
        .env(CHILD_FOLDER, folder.path())
        .env(CHILD_ROWS, rows.to_string())
        .env(CHILD_TRAINS, trains.to_string())
        // glibc then returns a freed block of this size or more at once, instead of raising the limit with each one.
        .env("MALLOC_MMAP_THRESHOLD_", "131072")
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    let (_, after) = stdout.split_once("peak bytes: ").unwrap();
    after.lines().next().unwrap().parse().unwrap()
}

/// Does nothing unless it is started by the test above.
#[test]
fn child_that_is_measured() {
    if let (Some(folder), Ok(rows)) = (std::env::var_os(CHILD_FOLDER), std::env::var(CHILD_ROWS)) {
        println!("peak bytes: {}", grown(Path::new(&folder), rows.parse().unwrap()));
    }
}

/// Rows are looked for in one part after the other: the million gets longer parts, so that it has hundreds of them and
/// not thousands.
fn part_age(rows: u64) -> Duration {
    if rows <= 100_000 { PART } else { 5 * PART }
}

/// Encodes `rows` short papers to a file, or to a set to fit on, and gives the largest growth of anonymous memory meanwhile.
fn grown(folder: &Path, rows: u64) -> u64 {
    let papers = folder.join("papers.jsonl");
    let mut file = BufWriter::new(File::create(&papers).unwrap());
    for n in 0..rows {
        writeln!(file, r#"{{"id": "p{n}", "title": "paper number {n}", "label": "{}"}}"#, n % 7).unwrap();
    }
    file.into_inner().unwrap();
    let before = memory_in_use().unwrap().anonymous;
    let watch = Peak::start();
    let trains = std::env::var(CHILD_TRAINS).is_ok_and(|trains| trains == "true");
    let labels = if trains { vec!["label".to_owned()] } else { Vec::new() };
    let options = CorpusOptions { fields: FieldMap { labels, ..FieldMap::default() }, ..CorpusOptions::default() };
    let corpus = Corpus::open(&[papers.to_str().unwrap().to_owned()], options).unwrap();
    let space = Space { fingerprint: "f".repeat(64), dim: DIM, fields: [("kind".into(), "stub".into())].into() };
    let cache = EmbeddingCache::open(&folder.join("cache"), &space).unwrap().with_part_age(part_age(rows));
    let job = EncodeJob {
        corpus: &corpus,
        encoder: &StubEncoder { dim: DIM, max_length: 64 },
        caches: std::slice::from_ref(&cache),
        options: EncodeOptions {
            template: Template::ModelCard,
            sep: "[SEP]".into(),
            budget: TokenBudget::new(1_024, 64).unwrap(),
            window: WINDOW,
            adapters: RowAdapters::default(),
        },
        rejects: folder.join("rejects.jsonl"),
        stop: &AtomicBool::new(false),
        progress: &Progress::default(),
    };
    if trains {
        let mut sink = TrainingSink::new(TrainingOptions::new(DIM, "label"), job.caches);
        assert_eq!(encode_corpus(&job, Some(&mut sink)).unwrap().embedded, rows);
        assert_eq!(sink.finish().unwrap().ids.len() as u64, rows);
        return watch.stop().saturating_sub(before);
    }
    let options = EmbeddingOutputOptions { fingerprint: "stub".into(), ..Default::default() };
    let mut sink = EmbeddingSink::new(embedding_writer(&folder.join("x.npy"), DIM, &options).unwrap());
    let account = encode_corpus(&job, Some(&mut sink)).unwrap();
    sink.finish().unwrap();
    assert_eq!(account.embedded, rows);
    watch.stop().saturating_sub(before)
}

/// The largest anonymous memory while it runs, looked at every millisecond.
struct Peak {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Peak {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while !seen.load(Ordering::Relaxed) {
                peak = peak.max(memory_in_use().unwrap().anonymous);
                std::thread::sleep(Duration::from_millis(1));
            }
            peak
        });
        Self { stop, thread }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
