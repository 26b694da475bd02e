//! What the whole pipeline keeps of a bare loop's rate: the same batches on the same sessions, once with all that is
//! around them (reading, tokenizing, planning, caching, writing) and once without.
//!
//! `OFFPRINT_PIPELINE_BUNDLE=bundle OFFPRINT_PIPELINE_CORPUS=papers.jsonl cargo bench --bench pipeline`; the corpus holds
//! its texts under `text`. Writes one JSON object to `OFFPRINT_PIPELINE_JSON`, else to stdout. `OFFPRINT_PIPELINE_THREADS`
//! and `OFFPRINT_PIPELINE_ROUNDS` choose other numbers than all cores and 5.
//!
//! A first run warms up and notes the batches that the pipeline makes. Then every round runs the loop and the pipeline in
//! turn, the order turning around: into a file without the cache, and into a new cache.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use offprint::cache::{EmbeddingCache, PartOrigin, Space};
use offprint::encode::{
    self, BundleEncoder, EncodeJob, EncodeOptions, Encoding, OpenEncoder, OpenedEncoder, Progress, RowAdapters, Sink,
    TokenBudget, Tokenize, encode_corpus,
};
use offprint::model::Bundle;
use offprint::output::{EmbeddingOutputOptions, EmbeddingSink, embedding_writer};
use offprint::paper::{Corpus, CorpusOptions, FieldMap};
use offprint::runtime::{Batch, EmbeddingMatrix, Error as RuntimeError, RunBatch, Selection, default_threads};
use serde_json::{Value, json};

/// As the program has them on the CPU.
const WINDOW: usize = 4_096;
const BATCH_TOKENS: usize = 1_024;

type Outcome<T> = Result<T, Box<dyn Error>>;
type Session = Arc<Mutex<Box<dyn RunBatch>>>;

fn main() -> Outcome<()> {
    let Some(bundle) = std::env::var_os("OFFPRINT_PIPELINE_BUNDLE") else {
        let why = "not measured: OFFPRINT_PIPELINE_BUNDLE and OFFPRINT_PIPELINE_CORPUS name no bundle and no corpus\n";
        return Ok(std::io::Write::write_all(&mut std::io::stderr(), why.as_bytes())?);
    };
    let corpus = std::env::var("OFFPRINT_PIPELINE_CORPUS")?;
    let number = |name: &str, default: usize| std::env::var(name).map_or(Ok(default), |value| value.parse());
    let threads = number("OFFPRINT_PIPELINE_THREADS", default_threads())?;
    let rounds = number("OFFPRINT_PIPELINE_ROUNDS", 5)?;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let lent = Lent::open(BundleEncoder::on_cpu(Bundle::open(Path::new(&bundle))?, threads))?;
    let folder = tempfile::tempdir()?;
    let pipeline = Pipeline { lent: &lent, corpus, folder: folder.path() };

    let (papers, tokens) = pipeline.run(Target::File)?;
    let batches = std::mem::take(&mut *lent.noted.lock().expect("no thread panicked"));
    *lent.noting.lock().expect("no thread panicked") = false;
    let mut measured = Vec::new();
    for round in 0..rounds {
        let mut order = [Side::Loop, Side::Pipeline(Target::File), Side::Pipeline(Target::Cache)];
        if round % 2 == 1 {
            order.reverse();
        }
        let mut seconds = serde_json::Map::new();
        for side in order {
            let started = Instant::now();
            match side {
                Side::Loop => bare_loop(&lent.sessions, &batches)?,
                Side::Pipeline(into) => _ = pipeline.run(into)?,
            }
            seconds.insert(side.name().to_owned(), json!(started.elapsed().as_secs_f64()));
        }
        measured.push(Value::Object(seconds));
    }
    let report = serde_json::to_string_pretty(&json!({
        "papers": papers, "tokens": tokens, "batches": batches.len(), "sessions": lent.sessions.len(),
        "threads": threads, "batch_tokens": BATCH_TOKENS, "rounds": measured,
    }))?;
    match std::env::var_os("OFFPRINT_PIPELINE_JSON") {
        Some(path) => std::fs::write(path, report + "\n")?,
        None => std::io::Write::write_all(&mut std::io::stdout(), report.as_bytes())?,
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Target {
    File,
    Cache,
}

enum Side {
    Loop,
    Pipeline(Target),
}

impl Side {
    fn name(&self) -> &'static str {
        match self {
            Self::Loop => "bare_loop",
            Self::Pipeline(Target::File) => "pipeline_to_file",
            Self::Pipeline(Target::Cache) => "pipeline_to_cache",
        }
    }
}

/// Runs all batches, each session on a thread of its own, and drops what comes out.
fn bare_loop(sessions: &[Session], batches: &[Batch]) -> Outcome<()> {
    let next = AtomicUsize::new(0);
    let work = |session: &Session| {
        let mut session = session.lock().expect("no thread panicked");
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            session.run(batch)?;
        }
        Ok::<(), RuntimeError>(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = sessions.iter().map(|session| scope.spawn(|| work(session))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no thread panicked"))
    })?;
    Ok(())
}

/// An encoder that is opened once and lent to every run.
struct Lent {
    encoder: BundleEncoder,
    tokenizer: Arc<dyn Tokenize>,
    sessions: Vec<Session>,
    origin: PartOrigin,
    selection: Selection,
    noting: Arc<Mutex<bool>>,
    noted: Arc<Mutex<Vec<Batch>>>,
}

impl Lent {
    fn open(encoder: BundleEncoder) -> Outcome<Self> {
        let OpenedEncoder { tokenizer, sessions, origin, selection, .. } = encoder.open()?;
        let sessions = sessions.into_iter().map(|session| Arc::new(Mutex::new(session))).collect();
        let (noting, noted) = (Arc::new(Mutex::new(true)), Arc::default());
        Ok(Self { encoder, tokenizer: Arc::from(tokenizer), sessions, origin, selection, noting, noted })
    }
}

impl OpenEncoder for Lent {
    fn dim(&self) -> usize {
        self.encoder.dim()
    }

    fn open(&self) -> Result<OpenedEncoder, encode::Error> {
        let session = |session: &Session| {
            let (noting, noted) = (Arc::clone(&self.noting), Arc::clone(&self.noted));
            Box::new(LentSession { session: Arc::clone(session), noting, noted }) as Box<dyn RunBatch>
        };
        Ok(OpenedEncoder {
            tokenizer: Box::new(LentTokenizer(Arc::clone(&self.tokenizer))),
            sessions: self.sessions.iter().map(session).collect(),
            origin: self.origin.clone(),
            selection: self.selection.clone(),
            engine_build_seconds: None,
        })
    }
}

struct LentTokenizer(Arc<dyn Tokenize>);

impl Tokenize for LentTokenizer {
    fn encode_all(&self, texts: &[(&str, usize)]) -> Vec<Result<Encoding, encode::Error>> {
        self.0.encode_all(texts)
    }

    fn pad_id(&self) -> u32 {
        self.0.pad_id()
    }
}

struct LentSession {
    session: Session,
    noting: Arc<Mutex<bool>>,
    noted: Arc<Mutex<Vec<Batch>>>,
}

impl RunBatch for LentSession {
    fn run(&mut self, batch: &Batch) -> Result<EmbeddingMatrix, RuntimeError> {
        if *self.noting.lock().expect("no thread panicked") {
            self.noted.lock().expect("no thread panicked").push(batch.clone());
        }
        self.session.lock().expect("no thread panicked").run(batch)
    }
}

/// Runs of the whole pipeline over one corpus.
struct Pipeline<'a> {
    lent: &'a Lent,
    corpus: String,
    folder: &'a Path,
}

impl Pipeline<'_> {
    /// One run; its papers and their tokens.
    fn run(&self, into: Target) -> Outcome<(u64, u64)> {
        let fields = FieldMap { text: Some("text".into()), ..FieldMap::default() };
        let corpus =
            Corpus::open(std::slice::from_ref(&self.corpus), CorpusOptions { fields, ..CorpusOptions::default() })?;
        let own = tempfile::tempdir_in(self.folder)?;
        let manifest = &self.lent.encoder.bundle.manifest;
        let cache = match into {
            Target::File => None,
            Target::Cache => Some(self.cache(own.path())?),
        };
        let job = EncodeJob {
            corpus: &corpus,
            encoder: self.lent,
            caches: cache.as_slice(),
            options: EncodeOptions {
                template: manifest.template.parse()?,
                sep: manifest.sep_token.clone(),
                budget: TokenBudget::new(BATCH_TOKENS.max(manifest.max_length), manifest.max_length)?,
                window: WINDOW,
                adapters: RowAdapters::default(),
            },
            rejects: own.path().join("rejects.jsonl"),
            stop: &AtomicBool::new(false),
            progress: &Progress::default(),
        };
        let mut writer = match into {
            Target::File => Some(self.writer(&own.path().join("vectors.npy"))?),
            Target::Cache => None,
        };
        let account = encode_corpus(&job, writer.as_mut().map(|sink| sink as &mut dyn Sink))?;
        if let Some(writer) = writer {
            writer.finish()?;
        }
        if account.embedded != account.rows {
            return Err(
                format!("{} of {} rows were computed; texts must differ", account.embedded, account.rows).into()
            );
        }
        Ok((account.rows, account.tokens))
    }

    fn cache(&self, folder: &Path) -> Outcome<EmbeddingCache> {
        let fingerprint = self.lent.encoder.fingerprint();
        let (hash, fields) = (fingerprint.hash(), fingerprint.fields().clone());
        let space = Space { fingerprint: hash, dim: self.lent.dim(), fields };
        Ok(EmbeddingCache::open(&folder.join("cache"), &space)?)
    }

    fn writer(&self, path: &Path) -> Outcome<EmbeddingSink> {
        let options = EmbeddingOutputOptions::default();
        Ok(EmbeddingSink::new(embedding_writer(path, self.lent.dim(), &options)?))
    }
}
