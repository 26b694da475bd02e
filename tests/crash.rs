//! Promise: a run that is killed at any moment loses at most its open part, and goes on to the same bytes.
//!
//! The killed process is this test program itself, started again as a child that fills a cache with a slow session.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::Duration;

use offprint::cache::{EmbeddingCache, Space, verify};
use offprint::encode::{
    Account, EncodeJob, EncodeOptions, Error, OpenEncoder, OpenedEncoder, Progress, StubEncoder, TokenBudget,
    encode_corpus,
};
use offprint::output::{EmbeddingOutputOptions, EmbeddingSink, embedding_writer};
use offprint::paper::{Corpus, CorpusOptions, Template};
use offprint::runtime::{Batch, EmbeddingMatrix, RunBatch};

const KILLS: u32 = 30;
const PAPERS: usize = 6_000;
const DIM: usize = 16;
const BUDGET: usize = 512;
const PART: Duration = Duration::from_millis(60);
/// A batch takes at least this long, which bounds how many fit into a part.
const BATCH: Duration = Duration::from_millis(2);

#[test]
fn killed_runs_go_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    write_corpus(&folder.path().join("papers.jsonl"));
    let undisturbed = tempfile::tempdir().unwrap();
    fs::copy(folder.path().join("papers.jsonl"), undisturbed.path().join("papers.jsonl")).unwrap();
    let whole = fill(undisturbed.path());
    assert_eq!((whole.embedded, whole.cached), (PAPERS as u64, 0));

    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..KILLS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut child = child(folder.path());
        sleep(Duration::from_millis(20 + random % 180));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = fill(folder.path());
    assert!(last.cached > 0, "the killed runs left nothing: {last:?}");
    assert_eq!(last.rows, PAPERS as u64);
    let bytes = |folder: &Path| fs::read(folder.join("out.parquet")).unwrap();
    assert_eq!(bytes(folder.path()), bytes(undisturbed.path()));

    let computed = fs::metadata(folder.path().join("computed.log")).unwrap().len() as usize;
    let batches_of_a_part = (PART.as_millis() / BATCH.as_millis()) as usize + 1;
    let lost = KILLS as usize * batches_of_a_part * largest_batch();
    assert!(computed <= PAPERS + lost, "{computed} papers computed, allowed {PAPERS} + {lost}");

    let report = verify(&folder.path().join("cache")).unwrap();
    assert!(report.damaged.is_empty(), "{report:?}");
    assert_eq!(report.rows, PAPERS as u64, "the last run merges what the killed ones left");
}

/// Does nothing unless it is started by the test above.
#[test]
fn child_that_gets_killed() {
    if let Some(folder) = std::env::var_os("OFFPRINT_TEST_CHILD") {
        fill(Path::new(&folder));
    }
}

fn child(folder: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_gets_killed"])
        .env("OFFPRINT_TEST_CHILD", folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The shortest text has three tokens.
fn largest_batch() -> usize {
    BUDGET / 3
}

fn write_corpus(path: &Path) {
    let mut file = File::create(path).unwrap();
    for n in 0..PAPERS {
        let words = 1 + (n * 7_919) % 60;
        let title: Vec<String> = (0..words).map(|word| format!("w{}", (n * 31 + word * 17) % 9_973)).collect();
        writeln!(file, r#"{{"id": "p{n}", "title": "p{n} {}"}}"#, title.join(" ")).unwrap();
    }
}

fn fill(folder: &Path) -> Account {
    let corpus =
        Corpus::open(&[folder.join("papers.jsonl").to_str().unwrap().to_owned()], CorpusOptions::default()).unwrap();
    let space = Space { fingerprint: "f".repeat(64), dim: DIM, fields: [("kind".into(), "stub".into())].into() };
    let cache = EmbeddingCache::open(&folder.join("cache"), &space).unwrap().with_part_age(PART);
    let encoder = Slow { inner: StubEncoder { dim: DIM, max_length: 64 }, log: folder.join("computed.log") };
    let job = EncodeJob {
        corpus: &corpus,
        encoder: &encoder,
        cache: Some(&cache),
        options: EncodeOptions {
            template: Template::ModelCard,
            sep: "[SEP]".into(),
            budget: TokenBudget::new(BUDGET, 64).unwrap(),
            window: 1_000,
        },
        rejects: folder.join("rejects.jsonl"),
        stop: &AtomicBool::new(false),
        progress: &Progress::default(),
    };
    let options = EmbeddingOutputOptions { jsonl_id_key: "doc_id".into(), fingerprint: "stub".into() };
    let mut sink = EmbeddingSink::new(embedding_writer(&folder.join("out.parquet"), DIM, &options).unwrap());
    let account = encode_corpus(&job, Some(&mut sink)).unwrap();
    sink.finish().unwrap();
    account
}

/// A stub whose batches take their time and leave a byte for every row in a log that outlives a kill.
struct Slow {
    inner: StubEncoder,
    log: std::path::PathBuf,
}

impl OpenEncoder for Slow {
    fn dim(&self) -> usize {
        self.inner.dim()
    }

    fn open(&self) -> Result<OpenedEncoder, Error> {
        let mut opened = self.inner.open()?;
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let session = opened.sessions.remove(0);
        opened.sessions.push(Box::new(SlowSession { session, log }));
        Ok(opened)
    }
}

struct SlowSession {
    session: Box<dyn RunBatch>,
    log: File,
}

impl RunBatch for SlowSession {
    fn run(&mut self, batch: &Batch) -> Result<EmbeddingMatrix, offprint::runtime::Error> {
        sleep(BATCH);
        self.log.write_all(&vec![b'.'; batch.rows]).unwrap();
        self.session.run(batch)
    }
}
