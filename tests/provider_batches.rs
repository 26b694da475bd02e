//! Promise: the batches of a run suit the provider that runs it: as large as is good there unless the user said how large, and
//! on an accelerator of few widths, whose padding the account tells.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::Workplace;
use offprint::encode::{
    Account, EncodeJob, EncodeOptions, Error, OpenEncoder, OpenedEncoder, Progress, RowAdapters, StubEncoder,
    TokenBudget, encode_corpus,
};
use offprint::paper::{Corpus, CorpusOptions, Template};
use offprint::runtime::{self, Batch, EmbeddingMatrix, ProviderChoice, RunBatch, Selection};

/// A stub that claims to run on a provider and notes the largest batch that it is given, and the widths of all.
struct Claiming {
    provider: Option<ProviderChoice>,
    noted: Arc<Noted>,
}

#[derive(Default)]
struct Noted {
    largest: AtomicUsize,
    widths: Mutex<BTreeSet<usize>>,
}

struct Noting(Box<dyn RunBatch>, Arc<Noted>);

impl RunBatch for Noting {
    fn run(&mut self, batch: &Batch) -> Result<EmbeddingMatrix, runtime::Error> {
        self.1.largest.fetch_max(batch.rows * batch.columns, Ordering::Relaxed);
        self.1.widths.lock().unwrap().insert(batch.columns);
        self.0.run(batch)
    }
}

impl OpenEncoder for Claiming {
    fn dim(&self) -> usize {
        8
    }

    fn open(&self) -> Result<OpenedEncoder, Error> {
        let mut opened = StubEncoder { dim: 8, max_length: 64 }.open()?;
        let note = |session| Box::new(Noting(session, Arc::clone(&self.noted))) as Box<dyn RunBatch>;
        opened.sessions = opened.sessions.into_iter().map(note).collect();
        opened.selection = Selection { provider: self.provider.map(Into::into), ..Selection::default() };
        Ok(opened)
    }
}

#[test]
fn the_budget_of_a_batch_is_that_of_the_provider_which_runs_unless_it_was_named() {
    let place = Workplace::new();
    let words = "word ".repeat(30);
    let row = |id: usize| format!("{{\"id\": \"{id}\", \"title\": \"{words}{id}\"}}\n");
    let papers = place.write("papers.jsonl", (0..2_000).map(row).collect::<String>());
    let largest = |provider, budget| {
        let noted = Arc::new(Noted::default());
        let encoder = Claiming { provider, noted: Arc::clone(&noted) };
        run_stub(&place, &papers, &encoder, budget);
        noted.largest.load(Ordering::Relaxed)
    };
    let own = TokenBudget::of_provider(64);
    let (cpu, cuda) = (largest(Some(ProviderChoice::Cpu), own), largest(Some(ProviderChoice::Cuda), own));
    assert!((512..=1_024).contains(&cpu) && (8_192..=16_384).contains(&cuda), "{cpu}, {cuda}");
    let named = largest(Some(ProviderChoice::Cuda), TokenBudget::new(256, 64).unwrap());
    assert!(named <= 256, "{named}");
}

#[test]
fn batches_on_an_accelerator_have_few_widths_and_the_account_tells_their_padding() {
    let place = Workplace::new();
    let row = |id: usize| format!("{{\"id\": \"{id}\", \"title\": \"{}{id}\"}}\n", "word ".repeat(id % 59));
    let papers = place.write("papers.jsonl", (0..2_000).map(row).collect::<String>());
    let run = |provider| {
        let noted = Arc::new(Noted::default());
        let encoder = Claiming { provider: Some(provider), noted: Arc::clone(&noted) };
        let account = run_stub(&place, &papers, &encoder, TokenBudget::new(512, 61).unwrap());
        let widths: Vec<usize> = noted.widths.lock().unwrap().iter().copied().collect();
        (widths, account)
    };
    let (widths, account) = run(ProviderChoice::Cuda);
    assert_eq!(widths, [8, 16, 24, 32, 40, 48, 56, 61], "the last one is the max length");
    let (exact, on_cpu) = run(ProviderChoice::Cpu);
    assert!(exact.len() > 20, "{exact:?}");
    assert_eq!(account.tokens, on_cpu.tokens);
    assert!(account.padded_tokens > on_cpu.padded_tokens && account.padding_share < 0.15, "{}", account.padding_share);
}

fn run_stub(place: &Workplace, papers: &Path, encoder: &dyn OpenEncoder, budget: TokenBudget) -> Account {
    let corpus = Corpus::open(&[papers.to_str().unwrap().to_owned()], CorpusOptions::default()).unwrap();
    let job = EncodeJob {
        corpus: &corpus,
        encoder,
        caches: &[],
        options: EncodeOptions {
            template: Template::ModelCard,
            sep: "[SEP]".to_owned(),
            budget,
            window: 4_096,
            adapters: RowAdapters::default(),
        },
        rejects: place.path("rejects.jsonl"),
        stop: &AtomicBool::new(false),
        progress: &Progress::default(),
    };
    let account = encode_corpus(&job, None).unwrap();
    assert_eq!(account.embedded, 2_000);
    account
}
