//! The runs that the fault tests disturb. Each writes what its command writes, without a model.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::cache::{EmbeddingCache, Space};
use crate::durable::replace_folder;
use crate::encode::{EncodeJob, EncodeOptions, Progress, RowAdapters, Sink, StubEncoder, TokenBudget, encode_corpus};
use crate::graph::{ExportOptions, rewrite_manifest, write_bundle};
use crate::heads::{Fitted, Head, HeadDescription, HeadKind, LinearModel, Model};
use crate::model::{Bundle, Pooling, Quality, Task};
use crate::output::{
    AnswerKind, AnswerRules, EmbeddingOutputOptions, EmbeddingSink, HeadReader, PredictedHead, PredictionOptions,
    PredictionSink, embedding_writer, ids_path, prediction_writer,
};
use crate::paper::{Corpus, CorpusOptions, FieldMap, Template};
use crate::report::{Report, Section};

/// Places in the folder of a work.
pub(super) const CACHE: &str = "cache";
pub(super) const CORPUS: &str = "papers.jsonl";
pub(super) const REJECTS: &str = "rejects.jsonl";
/// The ids of any matrix.
pub(super) const IDS: &str = "out.ids.txt";
/// Where a bundle is built; of no worth to anybody.
pub(super) const WORKSHOP: &str = "work";
/// Where a child reads which work it has to do.
pub(super) const NAME: &str = "work.txt";

const DIM: usize = 16;
const TOKENS: usize = 12;
const PAPERS: usize = 40;
const ROWS_OF_A_BATCH: usize = 8;

/// One run, and the file that it writes where that is not always the same.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    Embed(&'static str),
    Classify(&'static str),
    SaveHead,
    WriteReport,
    Export,
    /// With the weights beside the graph.
    ExportLarge,
}

pub(super) const ALL: [Work; 14] = [
    Work::Embed("out.parquet"),
    Work::Embed("out.npy"),
    Work::Embed("out.safetensors"),
    Work::Embed("out.fbin"),
    Work::Embed("out.jsonl"),
    Work::Embed("out.jsonl.gz"),
    Work::Embed("out.jsonl.zst"),
    Work::Classify("out.jsonl"),
    Work::Classify("out.csv"),
    Work::Classify("out.parquet"),
    Work::SaveHead,
    Work::WriteReport,
    Work::Export,
    Work::ExportLarge,
];

type Outcome = Result<Vec<String>, Box<dyn Error>>;

impl Work {
    /// Lays inputs and older results into an empty folder.
    pub fn prepare(self, folder: &Path) {
        let old = |name: &str| fs::write(folder.join(name), "of an earlier run\n").unwrap();
        match self {
            Self::Embed(out) | Self::Classify(out) => {
                write_corpus(&folder.join(CORPUS));
                old(out);
                if ids_path(Path::new(out)).is_some() {
                    old(IDS);
                }
            }
            Self::SaveHead => old("x.head"),
            Self::WriteReport => {}
            Self::Export | Self::ExportLarge => {
                fs::create_dir(folder.join("bundle")).unwrap();
                old("bundle/bundle.toml");
            }
        }
    }

    /// The run, with its warnings.
    pub fn run(self, folder: &Path) -> Outcome {
        match self {
            Self::Embed(out) => embed(folder, out),
            Self::Classify(out) => classify(folder, out),
            Self::SaveHead => Ok(head()?.save(&folder.join("x.head")).map(|()| Vec::new())?),
            Self::WriteReport => write_report(&folder.join("report")),
            Self::Export => export(folder, ExportOptions::new("").largest_graph),
            Self::ExportLarge => export(folder, 0),
        }
    }
}

/// Papers of equally long texts, of which some cannot be used.
fn write_corpus(path: &Path) {
    let mut lines = String::new();
    for paper in 0..PAPERS {
        let words: Vec<String> = (0..TOKENS - 2).map(|word| format!("w{}", paper * 31 + word)).collect();
        let text = words.join(" ");
        lines.push_str(&match paper % 9 {
            4 => format!("{{\"id\": \"p{paper}\", \"text\": {paper}}}\n"),
            7 => format!("{{\"id\": \"p{paper}\", \"text\": \"cut sh\n"),
            _ => format!("{{\"id\": \"p{paper}\", \"text\": \"{text}\"}}\n"),
        });
    }
    fs::write(path, lines).unwrap();
}

pub(super) fn space() -> Space {
    Space { fingerprint: "f00d".into(), dim: DIM, fields: [("kind".to_owned(), "stub".to_owned())].into() }
}

/// Encodes the corpus of `folder` through its cache, where each batch becomes a part; the cache's warnings.
pub(super) fn encode(folder: &Path, cache: &Path, rejects: &Path, sink: &mut dyn Sink) -> Outcome {
    let fields = FieldMap { text: Some("text".into()), ..FieldMap::default() };
    let options = CorpusOptions { fields, ..CorpusOptions::default() };
    let corpus = Corpus::open(&[folder.join(CORPUS).to_str().expect("a plain path").to_owned()], options)?;
    let cache = EmbeddingCache::open(cache, &space())?.with_part_age(Duration::ZERO);
    let job = EncodeJob {
        corpus: &corpus,
        encoder: &StubEncoder { dim: DIM, max_length: TOKENS },
        caches: std::slice::from_ref(&cache),
        options: EncodeOptions {
            template: Template::ModelCard,
            sep: "[SEP]".into(),
            budget: TokenBudget::new(ROWS_OF_A_BATCH * TOKENS, TOKENS)?,
            window: 2 * ROWS_OF_A_BATCH,
            adapters: RowAdapters::default(),
        },
        rejects: rejects.to_owned(),
        stop: &AtomicBool::new(false),
        progress: &Progress::default(),
    };
    encode_corpus(&job, Some(sink))?;
    Ok(cache.take_warnings().iter().map(|warning| super::words(warning)).collect())
}

fn embed(folder: &Path, out: &str) -> Outcome {
    let writer = embedding_writer(&folder.join(out), DIM, &EmbeddingOutputOptions::default())?;
    let mut sink = EmbeddingSink::new(writer);
    let warnings = encode(folder, &folder.join(CACHE), &folder.join(REJECTS), &mut sink)?;
    sink.finish()?;
    Ok(warnings)
}

fn classify(folder: &Path, out: &str) -> Outcome {
    let (head, top_k) = (head()?, 2);
    let writer = prediction_writer(&folder.join(out), &PredictionOptions::of_one(AnswerKind::Label { top_k }))?;
    let reader = HeadReader::of_file("head", &head, AnswerRules { top_k, min_probability: None });
    let mut sink = PredictionSink::of_file(head, PredictedHead { reader, truth: None }, Some(writer));
    let warnings = encode(folder, &folder.join(CACHE), &folder.join(REJECTS), &mut sink)?;
    sink.finish()?;
    Ok(warnings)
}

fn head() -> Result<Head, Box<dyn Error>> {
    let coefficients = ndarray::Array2::from_shape_fn((1, DIM), |(_, column)| column as f64 - 7.5);
    let model = Model::Linear(LinearModel { coefficients, intercepts: vec![0.25] });
    let fitted = Fitted { model, strength: 1.0, optimality: None };
    let description = HeadDescription {
        labels: vec!["no".to_owned(), "yes".to_owned()],
        identity: [("kind".to_owned(), "stub".to_owned())].into(),
        template_or_field: "text".to_owned(),
        metrics: serde_json::Value::Null,
    };
    Ok(Head::new((Task::Classification, HeadKind::Logistic), fitted, description)?)
}

fn write_report(folder: &Path) -> Outcome {
    let mut report = Report::new("A report");
    report.push(Section::note("A note", "of some words"));
    report.write(folder)?;
    Ok(Vec::new())
}

fn export(folder: &Path, largest_graph: u64) -> Outcome {
    let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny-bert/cls");
    let mut options = ExportOptions::new(&checkpoint);
    options.pooling = Some(Pooling::Cls);
    options.largest_graph = largest_graph;
    let workshop = folder.join(WORKSHOP);
    let (built, target) = (workshop.join("bundle"), folder.join("bundle"));
    fs::create_dir_all(&built)?;
    let written = write_bundle(&options, &built).and_then(|mut manifest| {
        manifest.quality = Some(Quality::without_original());
        rewrite_manifest(&manifest, &built)
    });
    let outcome = written.map_err(Box::<dyn Error>::from).and_then(|()| {
        Bundle::open(&built)?;
        replace_folder(&built, &target)
            .map_err(|error| format!("`{}` from `{}`: {error}", target.display(), built.display()).into())
    });
    fs::remove_dir_all(workshop)?;
    outcome.map(|()| Vec::new())
}
