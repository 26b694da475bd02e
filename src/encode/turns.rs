//! Who computes: the sessions, or the threads of the tokenizer, never both, so that a run computes with as many threads
//! as it was given. Tokenizing is about a hundredth of the work, and the next window is ready long before it is needed.
//! Sessions on an accelerator leave the processor to the tokenizer: there nobody waits for a turn.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::runtime::ProviderChoice;

/// The right to compute, which the stages of a run hand to each other.
#[derive(Debug, Default)]
pub(super) struct Turns {
    lock: RwLock<()>,
    /// Whether the sessions compute elsewhere than on the processor.
    apart: AtomicBool,
}

impl Turns {
    /// Says which provider runs, before the first batch does.
    pub(super) fn on(&self, provider: ProviderChoice) {
        self.apart.store(provider.is_accelerator(), Ordering::Relaxed);
    }

    fn apart(&self) -> bool {
        self.apart.load(Ordering::Relaxed)
    }

    /// For one batch. Several sessions compute at a time: the threads were divided among them.
    pub(super) fn of_session(&self) -> Option<RwLockReadGuard<'_, ()>> {
        (!self.apart()).then(|| self.lock.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// For some texts: begins when the batches under way are done.
    pub(super) fn of_tokenizer(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        (!self.apart()).then(|| self.lock.write().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use crate::encode::{
        EncodeJob, EncodeOptions, Encoding, Error, OpenEncoder, OpenedEncoder, Progress, RowAdapters, StubEncoder,
        TokenBudget, Tokenize, encode_corpus,
    };
    use crate::paper::{Corpus, CorpusOptions, Template};
    use crate::runtime::{self, Batch, EmbeddingMatrix, ProviderChoice, RunBatch, Selection};

    /// Counts who is at work, and how often two of different kinds were at it together.
    #[derive(Default)]
    struct Watch {
        tokenizing: AtomicUsize,
        running: AtomicUsize,
        together: AtomicUsize,
        most_running: AtomicUsize,
    }

    impl Watch {
        fn work(&self, mine: &AtomicUsize, theirs: &AtomicUsize) {
            let now = mine.fetch_add(1, Ordering::SeqCst) + 1;
            if std::ptr::eq(mine, &raw const self.running) {
                self.most_running.fetch_max(now, Ordering::SeqCst);
            }
            std::thread::sleep(Duration::from_micros(300));
            self.together.fetch_add(theirs.load(Ordering::SeqCst), Ordering::SeqCst);
            mine.fetch_sub(1, Ordering::SeqCst);
        }
    }

    struct Watched {
        stub: StubEncoder,
        sessions: usize,
        provider: ProviderChoice,
        watch: Arc<Watch>,
    }

    struct WatchedTokenizer(Box<dyn Tokenize>, Arc<Watch>);
    struct WatchedSession(Box<dyn RunBatch>, Arc<Watch>);

    impl Tokenize for WatchedTokenizer {
        fn encode_all(&self, texts: &[(&str, usize)]) -> Vec<Result<Encoding, Error>> {
            self.1.work(&self.1.tokenizing, &self.1.running);
            self.0.encode_all(texts)
        }

        fn pad_id(&self) -> u32 {
            self.0.pad_id()
        }
    }

    impl RunBatch for WatchedSession {
        fn run(&mut self, batch: &Batch) -> Result<EmbeddingMatrix, runtime::Error> {
            self.1.work(&self.1.running, &self.1.tokenizing);
            self.0.run(batch)
        }
    }

    impl OpenEncoder for Watched {
        fn dim(&self) -> usize {
            self.stub.dim
        }

        fn open(&self) -> Result<OpenedEncoder, Error> {
            let mut opened = self.stub.open()?;
            opened.tokenizer = Box::new(WatchedTokenizer(opened.tokenizer, Arc::clone(&self.watch)));
            for _ in 1..self.sessions {
                opened.sessions.extend(self.stub.open()?.sessions);
            }
            let watched = |session| Box::new(WatchedSession(session, Arc::clone(&self.watch))) as Box<dyn RunBatch>;
            opened.sessions = opened.sessions.into_iter().map(watched).collect();
            opened.selection = Selection { provider: Some(self.provider.into()), ..Selection::default() };
            Ok(opened)
        }
    }

    #[test]
    fn sessions_and_tokenizer_compute_together_on_accelerators_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("papers.jsonl");
        let mut lines = String::new();
        for n in 0..3_000 {
            writeln!(lines, r#"{{"id": "p{n}", "title": "paper {n}", "abstract": "{}"}}"#, "ice ".repeat(n % 40))
                .unwrap();
        }
        std::fs::write(&path, lines).unwrap();
        let corpus = Corpus::open(&[path.display().to_string()], CorpusOptions::default()).unwrap();
        for (sessions, provider) in [(1, ProviderChoice::Cpu), (3, ProviderChoice::OpenVino), (1, ProviderChoice::Cuda)]
        {
            let stub = StubEncoder { dim: 4, max_length: 64 };
            let encoder = Watched { stub, sessions, provider, watch: Arc::new(Watch::default()) };
            let job = EncodeJob {
                corpus: &corpus,
                encoder: &encoder,
                caches: &[],
                options: EncodeOptions {
                    template: Template::ModelCard,
                    sep: "[SEP]".into(),
                    budget: TokenBudget::new(512, 64).unwrap(),
                    window: 500,
                    adapters: RowAdapters::default(),
                },
                rejects: folder.path().join("rejects.jsonl"),
                stop: &AtomicBool::new(false),
                progress: &Progress::default(),
            };
            assert_eq!(encode_corpus(&job, None).unwrap().embedded, 3_000);
            let together = encoder.watch.together.load(Ordering::SeqCst);
            assert_eq!(together > 0, provider == ProviderChoice::Cuda, "{together} times on {provider}");
            let most = encoder.watch.most_running.load(Ordering::SeqCst);
            assert_eq!(most > 1, sessions > 1, "{most} of {sessions} sessions ran at a time");
        }
    }
}
