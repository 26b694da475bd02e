//! Promise: a run that is killed at any moment loses at most its open part, and goes on to the same bytes.
//!
//! The killed process is this test program itself, started again as a child that fills a cache with a slow session.
//! `OFFPRINT_TEST_KILLS` asks for more kills than the usual few, `OFFPRINT_TEST_KILLS_REPORT` for their outcome in a file.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::{Duration, Instant};

use offprint::cache::{EmbeddingCache, MergeScope, Space, verify};
use offprint::encode::{
    Account, EncodeJob, EncodeOptions, Error, OpenEncoder, OpenedEncoder, Progress, RowAdapters, StubEncoder,
    TokenBudget, encode_corpus,
};
use offprint::output::{EmbeddingOutputOptions, EmbeddingSink, embedding_writer};
use offprint::paper::{Corpus, CorpusOptions, FieldMap, Template};
use offprint::runtime::{Batch, EmbeddingMatrix, RunBatch};
use serde_json::json;

/// Kills of a round; then a last run ends in peace. The next round has a cache of its own.
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
    let started = Instant::now();
    let kills = std::env::var("OFFPRINT_TEST_KILLS").map_or(KILLS, |number| number.parse().unwrap());
    let corpus = tempfile::tempdir().unwrap();
    let expected = undisturbed(corpus.path(), PAPERS);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut killed, mut lost, mut most_lost, mut done) = (0, 0, 0, 0);
    while done < kills {
        let round = Round { kills: KILLS.min(kills - done), corpus: corpus.path(), expected: &expected };
        let (computed_by_killed, lost_by_killed) = round.run(&mut random);
        killed += computed_by_killed;
        lost += lost_by_killed;
        most_lost = most_lost.max(lost_by_killed.div_ceil(round.kills));
        done += round.kills;
    }

    // The part under way, the batch that made it old enough, the one before its clock started and the one that is
    // computed but not kept yet. Nothing is computed while a part is written.
    let batches_of_a_kill = (PART.as_millis() / BATCH.as_millis()) as usize + 3;
    let allowed = kills * batches_of_a_kill * ROWS;
    println!("{killed} papers computed by {kills} killed runs; {lost} lost");
    assert!(lost <= allowed, "{lost} papers computed more than once, allowed {allowed}");
    assert!(2 * killed > 3 * allowed, "{killed} papers computed by killed runs are too few to tell");
    if let Some(path) = std::env::var_os("OFFPRINT_TEST_KILLS_REPORT") {
        let outcome = json!({
            "what": "runs over one cache, killed by SIGKILL at random moments; after every round a last run ends in peace",
            "kills": kills, "rounds": kills.div_ceil(KILLS), "papers_of_a_round": PAPERS,
            "batch_ms": BATCH.as_millis(), "rows_of_a_batch": ROWS, "part_ms": PART.as_millis(),
            "rows_computed_by_killed_runs": killed, "rows_lost": lost,
            "rows_lost_per_kill": lost as f64 / kills as f64, "rows_lost_per_kill_in_the_worst_round": most_lost,
            "rows_allowed_per_kill": batches_of_a_kill * ROWS,
            "every_output_identical": true, "damaged_parts": 0, "orphaned_files": 0,
            "seconds": started.elapsed().as_secs_f64(),
        });
        fs::write(path, format!("{outcome:#}\n")).unwrap();
    }
}

/// Some killed runs over one cache, and one that ends.
struct Round<'a> {
    kills: usize,
    corpus: &'a Path,
    expected: &'a [u8],
}

impl Round<'_> {
    /// Fails unless the last run gives the expected bytes and leaves a sound cache and nothing else. How many papers
    /// the killed runs computed, and how many of those had to be computed again.
    fn run(&self, random: &mut Random) -> (usize, usize) {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(self.corpus.join("papers.jsonl"), folder.path().join("papers.jsonl")).unwrap();
        let log = folder.path().join("computed.log");
        for _ in 0..self.kills {
            let enough = computed(&log) + random.below(ROWS_OF_A_RUN);
            let mut child = child(folder.path(), "out");
            while computed(&log) < enough && child.try_wait().unwrap().is_none() {
                sleep(Duration::from_millis(1));
            }
            sleep(Duration::from_micros(random.below(LATER.as_micros() as usize) as u64));
            kill(&mut child);
        }
        let killed = computed(&log);
        let last = fill(folder.path(), "out");
        assert!(last.cached > 0, "the killed runs left nothing: {last:?}");
        assert_eq!(last.rows, PAPERS as u64);
        let output = fs::read(folder.path().join("out.parquet")).unwrap();
        assert!(output == self.expected, "other bytes than an undisturbed run");
        assert_eq!(orphans(folder.path()), Vec::<PathBuf>::new(), "the next run removes what killed ones left");
        let report = verify(&folder.path().join("cache")).unwrap();
        assert!(report.damaged.is_empty(), "{report:?}");
        assert_eq!(report.rows, PAPERS as u64, "the last run merges what the killed ones left");
        (killed, computed(&log).saturating_sub(PAPERS))
    }
}

/// Runs of several processes over one cache, of which every other one is killed and started again.
#[test]
fn two_and_ten_runs_share_a_cache_and_all_end_with_the_same_bytes() {
    const PAPERS: usize = 1_500;
    let mut random = Random(0x0123_4567_89ab_cdef);
    for writers in [2, 10] {
        let folder = tempfile::tempdir().unwrap();
        let expected = undisturbed(folder.path(), PAPERS);
        let names: Vec<String> = (0..writers).map(|writer| format!("out-{writer}")).collect();
        let mut children: Vec<Child> = names.iter().map(|name| child(folder.path(), name)).collect();
        let mut killed = 0;
        for (writer, name) in names.iter().enumerate().skip(1).step_by(2) {
            for _ in 0..3 {
                sleep(Duration::from_micros(random.below(LATER.as_micros() as usize) as u64));
                killed += usize::from(kill(&mut children[writer]));
                children[writer] = child(folder.path(), name);
            }
        }
        for child in &mut children {
            assert!(child.wait().unwrap().success());
        }
        for name in &names {
            let output = fs::read(folder.path().join(format!("{name}.parquet"))).unwrap();
            assert!(output == expected, "{name} of {writers} differs from an undisturbed run");
        }
        assert!(killed > writers / 2, "only {killed} runs were alive to be killed");
        println!("{writers} runs over one cache, {killed} of them killed on the way");
        assert_eq!(orphans(folder.path()), Vec::<PathBuf>::new());
        let cache = EmbeddingCache::open(&folder.path().join("cache"), &space()).unwrap();
        cache.merge(MergeScope::All).unwrap();
        assert!(cache.take_warnings().is_empty());
        let report = verify(&folder.path().join("cache")).unwrap();
        assert_eq!((report.damaged.len(), report.parts, report.rows), (0, 1, PAPERS as u64));
    }
}

/// Writes a corpus into `folder`; the output that a run over it has when nobody disturbs it.
fn undisturbed(folder: &Path, papers: usize) -> Vec<u8> {
    write_corpus(&folder.join("papers.jsonl"), papers);
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(folder.join("papers.jsonl"), elsewhere.path().join("papers.jsonl")).unwrap();
    let whole = fill(elsewhere.path(), "out");
    assert_eq!((whole.embedded, whole.cached), (papers as u64, 0));
    fs::read(elsewhere.path().join("out.parquet")).unwrap()
}

/// Does nothing unless it is started by the tests above.
#[test]
fn child_that_gets_killed() {
    if let Some(folder) = std::env::var_os("OFFPRINT_TEST_CHILD") {
        fill(Path::new(&folder), &std::env::var("OFFPRINT_TEST_OUTPUT").unwrap());
    }
}

fn child(folder: &Path, output: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_gets_killed"])
        .env("OFFPRINT_TEST_CHILD", folder)
        .env("OFFPRINT_TEST_OUTPUT", output)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whether it was still at work.
fn kill(child: &mut Child) -> bool {
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(status.code().is_none_or(|code| code == 0), "a run failed before it was killed: {status}");
    status.code().is_none()
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

fn write_corpus(path: &Path, papers: usize) {
    let mut file = std::io::BufWriter::new(File::create(path).unwrap());
    for n in 0..papers {
        let words: Vec<String> = (0..TOKENS - 3).map(|word| format!("w{}", (n * 31 + word * 17) % 9_973)).collect();
        writeln!(file, r#"{{"id": "p{n}", "text": "p{n} {}"}}"#, words.join(" ")).unwrap();
    }
}

fn space() -> Space {
    Space { fingerprint: "f".repeat(64), dim: DIM, fields: [("kind".into(), "stub".into())].into() }
}

/// A run over the corpus of `folder` through its cache, into `<output>.parquet`.
fn fill(folder: &Path, output: &str) -> Account {
    let fields = FieldMap { text: Some("text".into()), ..FieldMap::default() };
    let options = CorpusOptions { fields, ..CorpusOptions::default() };
    let corpus = Corpus::open(&[folder.join("papers.jsonl").to_str().unwrap().to_owned()], options).unwrap();
    let cache = EmbeddingCache::open(&folder.join("cache"), &space()).unwrap().with_part_age(PART);
    let encoder = Slow { inner: StubEncoder { dim: DIM, max_length: TOKENS }, log: folder.join("computed.log") };
    let job = EncodeJob {
        corpus: &corpus,
        encoder: &encoder,
        caches: std::slice::from_ref(&cache),
        options: EncodeOptions {
            template: Template::ModelCard,
            sep: "[SEP]".into(),
            budget: TokenBudget::new(BUDGET, TOKENS).unwrap(),
            window: 1_000,
            adapters: RowAdapters::default(),
        },
        rejects: folder.join(format!("{output}.rejects.jsonl")),
        stop: &AtomicBool::new(false),
        progress: &Progress::default(),
    };
    let options = EmbeddingOutputOptions { fingerprint: "stub".into(), ..Default::default() };
    let mut sink =
        EmbeddingSink::new(embedding_writer(&folder.join(format!("{output}.parquet")), DIM, &options).unwrap());
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
