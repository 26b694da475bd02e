//! Promise: a run that is killed at any moment loses at most its open part, and goes on to the same bytes.
//!
//! The killed process is this test program itself, started again as a child that fills a cache with a slow session.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
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
use offprint::paper::{Corpus, CorpusOptions, FieldMap, Template};
use offprint::runtime::{Batch, EmbeddingMatrix, RunBatch};

const KILLS: usize = 30;
const PAPERS: usize = 8_000;
const DIM: usize = 16;
/// Tokens of every text: its words, which are all of one number, and the two special ones.
const TOKENS: usize = 12;
/// Rows of a batch, at most: all texts are equally long.
const ROWS: usize = 8;
const BUDGET: usize = ROWS * TOKENS;
const PART: Duration = Duration::from_millis(20);
/// A batch takes at least this long, which bounds how many fit into a part.
const BATCH: Duration = Duration::from_millis(2);
/// A run is killed when it has computed fewer rows than this, chosen at random. Their mean is nearly twice
/// what a kill may lose, so that a run which kept nothing would be found out, however slow the machine is.
const ROWS_OF_A_RUN: usize = 400;
/// The kill itself comes up to this much later, so that it hits any moment of a batch and of closing a part.
const LATER: Duration = Duration::from_millis(30);

#[test]
fn killed_runs_go_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    write_corpus(&folder.path().join("papers.jsonl"));
    let undisturbed = tempfile::tempdir().unwrap();
    fs::copy(folder.path().join("papers.jsonl"), undisturbed.path().join("papers.jsonl")).unwrap();
    let whole = fill(undisturbed.path());
    assert_eq!((whole.embedded, whole.cached), (PAPERS as u64, 0));

    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let log = folder.path().join("computed.log");
    for _ in 0..KILLS {
        let enough = computed(&log) + random.below(ROWS_OF_A_RUN);
        let mut child = child(folder.path());
        while computed(&log) < enough && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(1));
        }
        sleep(Duration::from_micros(random.below(LATER.as_micros() as usize) as u64));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(status.code().is_none_or(|code| code == 0), "a run failed before it was killed: {status}");
    }
    let killed = computed(&log);
    let last = fill(folder.path());
    assert!(last.cached > 0, "the killed runs left nothing: {last:?}");
    assert_eq!(last.rows, PAPERS as u64);
    let bytes = |folder: &Path| fs::read(folder.join("out.parquet")).unwrap();
    assert_eq!(bytes(folder.path()), bytes(undisturbed.path()));
    assert_eq!(orphans(folder.path()), Vec::<PathBuf>::new(), "the next run removes what killed ones left");

    // The part under way, the batch that made it old enough, the one before its clock started and the one that is
    // computed but not kept yet. Nothing is computed while a part is written.
    let batches_of_a_kill = (PART.as_millis() / BATCH.as_millis()) as usize + 3;
    let allowed = KILLS * batches_of_a_kill * ROWS;
    let lost = computed(&log).saturating_sub(PAPERS);
    println!("{killed} papers computed by {KILLS} killed runs, {} by the last; {lost} lost", last.embedded);
    assert!(lost <= allowed, "{lost} papers computed more than once, allowed {allowed}");
    assert!(2 * killed > 3 * allowed, "{killed} papers computed by killed runs are too few to tell");

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

/// Rows computed so far, by all runs.
fn computed(log: &Path) -> usize {
    fs::metadata(log).map_or(0, |metadata| metadata.len() as usize)
}

/// Temporary files in the folder and below it: of outputs, and of parts of the cache.
fn orphans(folder: &Path) -> Vec<PathBuf> {
    let is_temporary = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(".offprint-") || name.ends_with(".tmp")
    };
    let pattern = folder.join("**").join(".*");
    glob::glob(pattern.to_str().unwrap()).unwrap().map(Result::unwrap).filter(is_temporary).collect()
}

/// Marsaglia's xorshift: the same numbers in every run of the test.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn write_corpus(path: &Path) {
    let mut file = File::create(path).unwrap();
    for n in 0..PAPERS {
        let words: Vec<String> = (0..TOKENS - 3).map(|word| format!("w{}", (n * 31 + word * 17) % 9_973)).collect();
        writeln!(file, r#"{{"id": "p{n}", "text": "p{n} {}"}}"#, words.join(" ")).unwrap();
    }
}

fn fill(folder: &Path) -> Account {
    let options = CorpusOptions {
        fields: FieldMap { text: Some("text".into()), ..FieldMap::default() },
        ..CorpusOptions::default()
    };
    let corpus = Corpus::open(&[folder.join("papers.jsonl").to_str().unwrap().to_owned()], options).unwrap();
    let space = Space { fingerprint: "f".repeat(64), dim: DIM, fields: [("kind".into(), "stub".into())].into() };
    let cache = EmbeddingCache::open(&folder.join("cache"), &space).unwrap().with_part_age(PART);
    let encoder = Slow { inner: StubEncoder { dim: DIM, max_length: TOKENS }, log: folder.join("computed.log") };
    let job = EncodeJob {
        corpus: &corpus,
        encoder: &encoder,
        cache: Some(&cache),
        options: EncodeOptions {
            template: Template::ModelCard,
            sep: "[SEP]".into(),
            budget: TokenBudget::new(BUDGET, TOKENS).unwrap(),
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
    log: PathBuf,
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
        assert_eq!(batch.columns, TOKENS, "the bound above counts on texts of one length");
        assert!(batch.rows <= ROWS, "a batch of {} rows", batch.rows);
        sleep(BATCH);
        self.log.write_all(&vec![b'.'; batch.rows]).unwrap();
        self.session.run(batch)
    }
}
