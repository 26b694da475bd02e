//! The hidden command behind `offprint export --precision int8`: a child process runs the graphs that it is asked about, so
//! that a graph that brings ONNX Runtime down ends an export with an error and not the program. Questions come in on
//! stdin, answers go to stdout, a line of JSON each. Invariant: every question gets one answer, or the command ends.

use std::io::{self, BufRead};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use offprint::encode::calibrate::{CandidateEncoder, Cosines, Seen, Trial, Watched, observe};
use offprint::encode::{BundleEncoder, Threaded, TokenBudget};
use offprint::evaluate::{LabelledText, head_quality};
use offprint::heads::Head;
use offprint::model::{Bundle, HeadQuality};
use offprint::runtime::{EmbeddingMatrix, default_threads};
use serde::{Deserialize, Serialize};

use super::Status;
use super::say::say;

/// Run graphs in the place of a bundle's own and print what was measured as JSON
#[derive(Debug, Args)]
pub(crate) struct CalibrateArgs {
    /// Folder of the bundle that rules
    bundle: PathBuf,

    /// ONNX Runtime library to load
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,

    /// Head whose answers are compared
    #[arg(long, value_name = "HEAD")]
    head: Option<PathBuf>,

    /// Field that the texts' labels come from
    #[arg(long, value_name = "FIELD")]
    label: Option<String>,
}

/// A question. The texts come first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// The texts that are observed, and those on which candidates are compared.
    Texts { observed: Vec<String>, held_out: Vec<LabelledText> },
    /// What is seen before matrices on the observed texts.
    Observe { graph: PathBuf, watched: Vec<Watched> },
    /// What a graph's vectors lose on the first so many texts.
    Compare { graph: PathBuf, texts: usize },
    /// What its answers lose, too, on all texts.
    CompareAll { graph: PathBuf },
    /// How many times as fast a graph is on the first so many texts, by so many rounds.
    Speed { graph: PathBuf, texts: usize, rounds: usize },
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The original has been run on the texts.
    Ready { provider: String, onnxruntime: String, cpu: String },
    /// For each matrix.
    Observed(Vec<Seen>),
    /// The cosines, and what the head loses, if there is one and it was asked for.
    Compared(Cosines, Option<HeadQuality>),
    /// Papers a second as a multiple of the original's.
    Speed(f64),
}

/// What questions are answered with.
struct Bench {
    original: BundleEncoder,
    budget: TokenBudget,
    head: Option<Head>,
    label: Option<String>,
    observed: Vec<String>,
    truths: Vec<Option<Vec<String>>>,
    trial: Option<Trial>,
}

pub(crate) fn run(args: &CalibrateArgs) -> Result<Status> {
    let threads = default_threads();
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("could not start the threads")?;
    let bundle = Bundle::open(&args.bundle)?;
    let longest = bundle.manifest.max_length;
    let mut bench = Bench {
        original: BundleEncoder { ort_lib: args.ort_lib.clone(), ..BundleEncoder::on_cpu(bundle, threads) },
        budget: TokenBudget::of_provider(longest),
        head: args.head.as_deref().map(Head::load).transpose()?,
        label: args.label.clone(),
        observed: Vec::new(),
        truths: Vec::new(),
        trial: None,
    };
    for line in io::stdin().lock().lines() {
        let ask = serde_json::from_str(&line?).context("could not read what is to be measured")?;
        say(&serde_json::to_string(&bench.answer(ask)?)?)?;
    }
    Ok(Status::Done)
}

impl Bench {
    fn answer(&mut self, ask: Ask) -> Result<Answer> {
        match ask {
            Ask::Texts { observed, held_out } => self.take(observed, held_out),
            Ask::Observe { graph, watched } => {
                let texts: Vec<&str> = self.observed.iter().map(String::as_str).collect();
                Ok(Answer::Observed(observe(&self.original, &graph, &watched, &texts)?))
            }
            Ask::Compare { graph, texts } => {
                let trial = self.trial()?;
                Ok(Answer::Compared(trial.cosines(&self.vectors(trial, graph, texts)?), None))
            }
            Ask::CompareAll { graph } => {
                let trial = self.trial()?;
                let vectors = self.vectors(trial, graph, self.truths.len())?;
                Ok(Answer::Compared(trial.cosines(&vectors), self.head_loss(trial, &vectors)?))
            }
            Ask::Speed { graph, texts, rounds } => {
                let candidate = CandidateEncoder { bundle: &self.original, graph };
                let threads = self.original.threads;
                let original = Threaded { threads, encoder: &self.original };
                let candidate = Threaded { threads, encoder: &candidate };
                Ok(Answer::Speed(self.trial()?.speed(original, candidate, (texts, rounds))?))
            }
        }
    }

    fn take(&mut self, observed: Vec<String>, held_out: Vec<LabelledText>) -> Result<Answer> {
        let (texts, truths) = held_out.into_iter().map(|held_out| (held_out.text, held_out.labels)).unzip();
        let original = Threaded { threads: self.original.threads, encoder: &self.original };
        let trial = Trial::open(original, texts, self.budget)?;
        let origin = trial.origin().clone();
        (self.observed, self.truths, self.trial) = (observed, truths, Some(trial));
        Ok(Answer::Ready { provider: origin.provider, onnxruntime: origin.runtime_version, cpu: origin.cpu })
    }

    fn trial(&self) -> Result<&Trial> {
        match &self.trial {
            Some(trial) => Ok(trial),
            None => bail!("a graph was to be measured before there were texts"),
        }
    }

    fn vectors(&self, trial: &Trial, graph: PathBuf, texts: usize) -> Result<EmbeddingMatrix> {
        let candidate = CandidateEncoder { bundle: &self.original, graph };
        Ok(trial.run(Threaded { threads: self.original.threads, encoder: &candidate }, texts)?)
    }

    fn head_loss(&self, trial: &Trial, vectors: &EmbeddingMatrix) -> Result<Option<HeadQuality>> {
        let Some(head) = &self.head else { return Ok(None) };
        let truths: Vec<Option<&[String]>> = self.truths.iter().map(Option::as_deref).collect();
        Ok(Some(head_quality((head, self.label.as_deref()), (trial.original(), vectors), &truths)?))
    }
}
