//! The file of a run: every round of every cell with the figures that follow from them, and what they hold for. Owns the
//! formats of `bench.json` and `bench.csv`. Invariant: both are whole at any time, and say the same.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Error;
use super::accuracy::Accuracy;
use super::cell::Round;
use super::figures::Figures;
use super::grid::{Batching, Setting};
use super::peak::Peak;
use super::statistics::{Interval, Ratio};
use crate::durable;
use crate::model::Precision;
use crate::runtime::Provider;

/// Version of `bench.json`. Raised when a reader of the old form would misread the new one.
pub const BENCH_FORMAT: u32 = 1;
/// The file with everything.
pub const BENCH_JSON: &str = "bench.json";
/// The file with a row for each cell.
pub const BENCH_CSV: &str = "bench.csv";

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Version of the file.
    pub format: u32,
    /// What the figures hold for: program, machine, system, load.
    pub environment: BTreeMap<String, String>,
    /// The texts.
    pub texts: TextsRecord,
    /// Rounds that were asked for.
    pub repeats: usize,
    /// Seconds that warming up may take.
    pub warm_up: f64,
    /// The fastest products that were seen, by provider and threads.
    pub peaks: Vec<Peak>,
    /// What the user should know, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// One for each setting of the grid.
    pub cells: Vec<CellRecord>,
}

/// The texts of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextsRecord {
    /// Names of the files they are from.
    pub corpus: String,
    /// How many there are.
    pub texts: usize,
    /// Rows that they were chosen from.
    pub rows: u64,
    /// BLAKE3 of the texts, of each rendering of them.
    pub hashes: Vec<String>,
}

/// A cell of the grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellRecord {
    /// What is measured.
    #[serde(flatten)]
    pub setting: Setting,
    /// How far it is.
    pub state: State,
    /// Why it was not run, or not to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How far its vectors lie from those of fp32 on the CPU provider, where there are any of the same encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Accuracy>,
    /// What the rounds say together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
    /// Papers a second beside the first cell that was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside_first: Option<Ratio>,
    /// What was measured.
    pub rounds: Vec<Round>,
}

/// How far a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Rounds are missing.
    Waiting,
    /// All rounds were run.
    Done,
    /// It cannot be run here.
    NotRun,
    /// It was run and then failed, or the run was stopped.
    CutShort,
}

impl State {
    /// The words for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::NotRun => "not run",
            Self::CutShort => "cut short",
        }
    }
}

impl CellRecord {
    /// A cell that waits for its rounds.
    pub fn new(setting: Setting) -> Self {
        let (accuracy, figures, beside_first) = (None, None, None);
        Self { setting, state: State::Waiting, reason: None, accuracy, figures, beside_first, rounds: Vec::new() }
    }

    /// It failed, for this reason: never run, or cut short where rounds were run before.
    pub fn fail(&mut self, reason: String) {
        self.state = if self.rounds.is_empty() { State::NotRun } else { State::CutShort };
        self.reason = Some(reason);
    }

    /// Whether the peak of a cell like this is to be measured in fp16.
    pub fn wants_half(&self) -> bool {
        let provider: Result<Provider, _> = self.setting.provider.parse();
        self.setting.precision == Precision::Fp16 && provider.is_ok_and(|provider| provider.choice.is_accelerator())
    }
}

impl Record {
    /// Takes a round into a cell.
    pub fn take(&mut self, cell: usize, round: Round) {
        self.cells[cell].rounds.push(round);
        if self.cells[cell].rounds.len() >= self.repeats {
            self.cells[cell].state = State::Done;
        }
        self.refresh();
    }

    /// Computes all figures anew, after a round or a peak was taken in.
    pub(super) fn refresh(&mut self) {
        for cell in 0..self.cells.len() {
            let peak = self.peak_of(&self.cells[cell]).cloned();
            self.cells[cell].figures = Figures::of(&self.cells[cell].rounds, peak.as_ref());
        }
        let first = self.cells.iter().find_map(|cell| cell.figures.as_ref()).map(|figures| figures.papers_per_second);
        for cell in &mut self.cells {
            let own = cell.figures.as_ref().map(|figures| figures.papers_per_second);
            cell.beside_first = own.zip(first).and_then(|(own, first)| Ratio::of(&own, &first));
        }
    }

    /// Cells that were run.
    pub fn run(&self) -> impl Iterator<Item = (&CellRecord, &Figures)> {
        self.cells.iter().filter_map(|cell| Some((cell, cell.figures.as_ref()?)))
    }

    fn peak_of(&self, cell: &CellRecord) -> Option<&Peak> {
        let fits = |peak: &&Peak| {
            (&*peak.provider, peak.threads, peak.half)
                == (&*cell.setting.provider, cell.setting.threads, cell.wants_half())
        };
        self.peaks.iter().find(fits)
    }

    /// Writes both files into `folder`, each whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(BENCH_JSON);
        let failed = |source| Error::Write { path: path.clone(), source };
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        durable::replace_file(&path, &text).map_err(failed)?;
        let path = folder.join(BENCH_CSV);
        let table = self.table().map_err(|source| Error::Table { path: path.clone(), source })?;
        durable::replace_file(&path, &table).map_err(|source| Error::Write { path, source })
    }

    /// Reads `bench.json`, or that of the folder `path`.
    ///
    /// # Errors
    /// A file that can't be read, that is no record, or of another format.
    pub fn read(path: &Path) -> Result<Self, Error> {
        /// Looked at first, so that a newer file is called newer and not broken.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let path = if path.is_dir() { path.join(BENCH_JSON) } else { path.to_owned() };
        let text = std::fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        let parse = |source| Error::Parse { path: path.clone(), source };
        let head: Head = serde_json::from_slice(&text).map_err(parse)?;
        if head.format != BENCH_FORMAT {
            return Err(Error::Format { path, got: head.format, expected: BENCH_FORMAT });
        }
        serde_json::from_slice(&text).map_err(parse)
    }

    /// A row for each cell; an interval is three columns. What the figures hold for stands in each row, so that rows of
    /// several runs can be laid together.
    fn table(&self) -> Result<Vec<u8>, csv::Error> {
        let mut table = csv::Writer::from_writer(Vec::new());
        let intervals = INTERVALS.iter().flat_map(|(name, _)| ["", "_low", "_high"].map(|end| format!("{name}{end}")));
        let named = |names: &'static [&'static str]| names.iter().map(|&name| name.to_owned());
        table.write_record(named(&COLUMNS).chain(intervals).chain(named(&ENVIRONMENT)))?;
        let environment = ENVIRONMENT.map(|name| self.environment.get(name).cloned().unwrap_or_default());
        for cell in &self.cells {
            table.write_record(row(cell).iter().chain(&environment))?;
        }
        table.into_inner().map_err(|error| error.into_error().into())
    }
}

/// The columns before the intervals.
const COLUMNS: [&str; 24] = [
    "model",
    "precision",
    "provider",
    "provider_options",
    "max_batch_tokens",
    "fixed_shape",
    "sessions",
    "threads",
    "state",
    "reason",
    "rounds",
    "onnxruntime",
    "nodes",
    "texts",
    "batches",
    "padded_tokens",
    "useful_tokens",
    "padding_share",
    "cosine_min",
    "max_delta",
    "engine_build_seconds",
    "beside_first",
    "beside_first_low",
    "beside_first_high",
];

/// The facts of the environment behind the intervals.
const ENVIRONMENT: [&str; 4] = ["offprint", "processor", "cores", "system"];

type Get = fn(&Figures) -> Option<Interval>;

/// The figures with an interval, by the names of their columns.
const INTERVALS: [(&str, Get); 20] = [
    ("papers_per_second", |figures| Some(figures.papers_per_second)),
    ("pipeline_papers_per_second", |figures| figures.pipeline_papers_per_second),
    ("pipeline_share", |figures| figures.pipeline_share),
    ("tokenize_papers_per_second", |figures| figures.tokenize_papers_per_second),
    ("tokenize_tokens_per_second", |figures| figures.tokenize_tokens_per_second),
    ("tokenize_tokens_per_core", |figures| figures.tokenize_tokens_per_core),
    ("tokens_per_second", |figures| Some(figures.tokens_per_second)),
    ("useful_tokens_per_second", |figures| Some(figures.useful_tokens_per_second)),
    ("flops_per_second", |figures| figures.flops_per_second),
    ("useful_flops_per_second", |figures| figures.useful_flops_per_second),
    ("peak_share", |figures| figures.peak_share),
    ("latency_p50_ms", |figures| Some(figures.latency_p50)),
    ("latency_p90_ms", |figures| Some(figures.latency_p90)),
    ("latency_p99_ms", |figures| Some(figures.latency_p99)),
    ("open_seconds", |figures| Some(figures.open_seconds)),
    ("first_batch_seconds", |figures| Some(figures.first_batch_seconds)),
    ("busy_cores", |figures| Some(figures.busy_cores)),
    ("peak_memory_bytes", |figures| figures.peak_memory),
    ("gpu_memory_bytes", |figures| figures.gpu_memory),
    ("gpu_watts", |figures| figures.gpu_watts),
];

/// What was not measured is an empty field.
fn row(cell: &CellRecord) -> Vec<String> {
    fn text<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(String::new, |value| value.to_string())
    }
    let setting = &cell.setting;
    let (tokens, shape) = match setting.batches {
        Batching::Tokens(tokens) => (Some(tokens), None),
        Batching::Fixed(shape) => (None, Some(shape)),
    };
    let first = cell.rounds.first();
    let work = first.map(|round| &round.work);
    let mut row = vec![
        setting.model.clone(),
        setting.precision.to_string(),
        setting.provider.clone(),
        setting.provider_options.join(" "),
        text(tokens),
        text(shape),
        setting.sessions.to_string(),
        setting.threads.to_string(),
        cell.state.name().to_owned(),
        text(cell.reason.as_ref()),
        cell.rounds.len().to_string(),
        text(first.map(|round| &round.runtime_version)),
        text(first.map(|round| &round.nodes)),
        text(work.map(|work| work.texts)),
        text(work.map(|work| work.batches)),
        text(work.map(|work| work.padded_tokens)),
        text(work.map(|work| work.useful_tokens)),
        text(work.map(super::ready::Work::padding_share)),
        text(cell.accuracy.as_ref().map(|accuracy| accuracy.cosine_min)),
        text(cell.accuracy.as_ref().map(|accuracy| accuracy.max_delta)),
        text(cell.figures.as_ref().and_then(|figures| figures.engine_build_seconds)),
        text(cell.beside_first.map(|beside| beside.ratio)),
        text(cell.beside_first.map(|beside| beside.low)),
        text(cell.beside_first.map(|beside| beside.high)),
    ];
    for (_, get) in INTERVALS {
        let interval = cell.figures.as_ref().and_then(get);
        row.extend([
            text(interval.map(|interval| interval.median)),
            text(interval.map(|interval| interval.low)),
            text(interval.map(|interval| interval.high)),
        ]);
    }
    row
}

#[cfg(test)]
#[path = "record_tests.rs"]
pub(super) mod tests;
