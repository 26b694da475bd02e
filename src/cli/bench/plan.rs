//! From flags to a run: bundles, texts on the disk, an empty record and the jobs behind its cells. Measures nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chrono::Utc;
use indicatif::HumanBytes;
use offprint::bench::{
    BENCH_FORMAT, Batching, CellPlan, CellRecord, Record, ReferenceJob, RunPlan, Setting, Shape, TextsRecord,
    write_texts,
};
use offprint::encode::{RowAdapters, sample_texts};
use offprint::graph::foreign::OnnxFile;
use offprint::graph::{CostLaw, InspectOptions, inspect};
use offprint::model::{Bundle, Precision};
use offprint::paper::Template;
use offprint::runtime::{Machine, default_threads};

use super::super::corpus_args::names_of;
use super::super::say::{counted_that, remark};
use super::super::{places, user_error};
use super::args::{Libraries, RunArgs};

/// A run that can begin.
pub(super) struct Prepared {
    pub record: Record,
    pub plan: RunPlan,
    /// Holds what goes between processes; removed at the end.
    _scratch: tempfile::TempDir,
}

/// Opens bundles and corpus and lays out the run.
pub(super) fn prepare(args: &RunArgs) -> Result<Prepared> {
    let libraries = Libraries::parse(&args.grid.ort_lib)?;
    let warm_up = args.warm_up()?;
    let bundles = args.grid.bundles(args.cache_dir.as_deref(), &libraries)?;
    let settings = args.grid.grid(&bundles)?.settings();
    let bundles = bundles.bundles;
    let scratch = tempfile::tempdir().context("could not make a folder for what goes between processes")?;
    let texts = Texts::write(args, &bundles, scratch.path())?;
    let laws: Vec<Option<CostLaw>> = bundles.iter().map(law).collect::<Result<_>>()?;
    let references = References::of((&bundles, &settings), &texts, (&libraries, scratch.path()));
    let cache_dir = places::cache_dir(args.cache_dir.as_deref()).ok();
    let cell = |((place, setting), reference): (&(usize, Setting), &Option<usize>)| CellPlan {
        bundle: bundles[*place].dir.clone(),
        cache_dir: cache_dir.clone(),
        max_length: bundles[*place].manifest.max_length,
        ort_lib: libraries.of(&setting.provider),
        provider_options: args.grid.provider_option.clone(),
        texts: texts.files[texts.of_bundle[*place]].clone(),
        law: laws[*place].clone(),
        reference: *reference,
    };
    let plan = RunPlan {
        cells: settings.iter().zip(&references.of_cell).map(cell).collect(),
        references: references.jobs,
        scratch: scratch.path().to_owned(),
        profile: args.profile,
    };
    let record = Record {
        format: BENCH_FORMAT,
        environment: environment(),
        texts: texts.record,
        repeats: args.repeats.into(),
        warm_up,
        peaks: Vec::new(),
        notes: Vec::new(),
        cells: settings.into_iter().map(|(_, setting)| CellRecord::new(setting)).collect(),
    };
    Ok(Prepared { record, plan, _scratch: scratch })
}

/// What a text costs by the structure of the bundle's graph; none where some of it could not be counted.
fn law(bundle: &Bundle) -> Result<Option<CostLaw>> {
    let file = OnnxFile::open(&bundle.graph_path())?;
    let cost = inspect(&file, &InspectOptions::default()).cost;
    Ok(cost.law.filter(|_| cost.not_counted.is_empty()))
}

/// The sample of the corpus, once for each way in which bundles render papers.
struct Texts {
    files: Vec<PathBuf>,
    /// Which of the files each bundle reads.
    of_bundle: Vec<usize>,
    record: TextsRecord,
}

impl Texts {
    fn write(args: &RunArgs, bundles: &[Bundle], scratch: &Path) -> Result<Self> {
        let mut ways: Vec<(&str, &str)> = Vec::new();
        let mut of_bundle = Vec::new();
        for bundle in bundles {
            let way = (&*bundle.manifest.template, &*bundle.manifest.sep_token);
            let known = ways.iter().position(|known| *known == way);
            of_bundle.push(known.unwrap_or(ways.len()));
            if known.is_none() {
                ways.push(way);
            }
        }
        if ways.len() > 1 && args.corpus.corpus.iter().any(|input| input == "-") {
            let what = "standard input can be read once, and these bundles render papers in several ways";
            return Err(user_error(what, "name a file, or measure the bundles one by one"));
        }
        let mut record = TextsRecord { corpus: names_of(&args.corpus.corpus), texts: 0, rows: 0, hashes: Vec::new() };
        let mut files = Vec::new();
        for (number, (template, sep)) in ways.into_iter().enumerate() {
            let corpus = args.corpus.open(None, &[])?;
            let template: Template = template.parse()?;
            let sample = sample_texts(&corpus, (&template, sep), &RowAdapters::default(), args.sample as usize)?;
            if sample.rejected > 0 && number == 0 {
                let verbs = ("cannot be used and was passed over", "cannot be used and were passed over");
                remark(&format!("warning: {}", counted_that(sample.rejected, "row", verbs)));
            }
            let file = scratch.join(format!("texts-{number}.jsonl"));
            write_texts(&file, &sample.texts)?;
            let bytes = std::fs::read(&file).with_context(|| format!("could not read `{}`", file.display()))?;
            record.hashes.push(blake3::hash(&bytes).to_hex().to_string());
            (record.texts, record.rows) = (sample.texts.len(), sample.rows);
            files.push(file);
        }
        Ok(Self { files, of_bundle, record })
    }
}

/// The vectors of fp32 bundles that others are compared with.
struct References {
    jobs: Vec<ReferenceJob>,
    /// Which of them each setting is compared with.
    of_cell: Vec<Option<usize>>,
}

impl References {
    /// For each setting that can be run those of the first fp32 bundle that computes the same function of the same texts,
    /// for batches of one shape of that shape.
    fn of(
        (bundles, settings): (&[Bundle], &[(usize, Setting)]),
        texts: &Texts,
        (libraries, scratch): (&Libraries, &Path),
    ) -> Self {
        let serving = |place: usize| {
            (0..bundles.len()).find(|&other| {
                bundles[other].manifest.precision == Precision::Fp32
                    && texts.of_bundle[other] == texts.of_bundle[place]
                    && bundles[other].identity() == bundles[place].identity()
            })
        };
        let of_bundle: Vec<Option<usize>> = (0..bundles.len()).map(serving).collect();
        let mut chosen: Vec<(usize, Option<Shape>)> = Vec::new();
        let mut of_cell = |(place, setting): &(usize, Setting)| {
            let runs = setting.refusal(bundles[*place].manifest.max_length).is_none();
            let shape = match setting.batches {
                Batching::Tokens(_) => None,
                Batching::Fixed(shape) => Some(shape),
            };
            let reference = (of_bundle[*place].filter(|_| runs)?, shape);
            Some(chosen.iter().position(|known| *known == reference).unwrap_or_else(|| {
                chosen.push(reference);
                chosen.len() - 1
            }))
        };
        let of_cell = settings.iter().map(&mut of_cell).collect();
        let job = |(number, &(place, shape)): (usize, &(usize, Option<Shape>))| ReferenceJob {
            bundle: bundles[place].dir.clone(),
            ort_lib: libraries.of("cpu"),
            texts: texts.files[texts.of_bundle[place]].clone(),
            shape,
            threads: default_threads(),
            vectors: scratch.join(format!("reference-{number}")),
        };
        Self { jobs: chosen.iter().enumerate().map(job).collect(), of_cell }
    }
}

/// What figures hold for. No folder of this machine is in it.
fn environment() -> BTreeMap<String, String> {
    let machine = Machine::read();
    let mut facts = vec![
        ("offprint", env!("CARGO_PKG_VERSION").to_owned()),
        ("command", command()),
        ("processor", machine.cpu_summary()),
        ("cores", machine.logical_cores.to_string()),
        ("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
    ];
    facts.extend(machine.core_quota.map(|quota| ("core quota", quota.to_string())));
    facts.extend(machine.memory.map(|bytes| ("memory", HumanBytes(bytes).to_string())));
    facts.extend(machine.memory_limit.map(|bytes| ("memory limit", HumanBytes(bytes).to_string())));
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    let load = load.and_then(|text| text.split(' ').next().map(str::to_owned));
    facts.extend(load.map(|load| ("load at start", load)));
    facts.push(("started", Utc::now().format("%Y-%m-%d %H:%M UTC").to_string()));
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The command line without folders: of each path the last part.
fn command() -> String {
    let words = std::env::args().skip(1).map(|word| without_folders(&word));
    std::iter::once("offprint".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// A word of the command line, or an option, with the last part of each path.
pub(super) fn without_folders(word: &str) -> String {
    let part = |part: &str| part.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
    let after_equals = |item: &str| item.split('=').map(part).collect::<Vec<_>>().join("=");
    word.split(',').map(after_equals).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_without_folders() {
        assert_eq!(without_folders("/home/me/minilm/,../b,c"), "minilm,b,c");
        assert_eq!(without_folders("openvino=/opt/x/lib.so"), "openvino=lib.so");
        assert_eq!(without_folders("--ort-lib=/a/b.so"), "--ort-lib=b.so");
        assert_eq!(without_folders("8x128"), "8x128");
    }

    #[test]
    fn the_environment_names_the_machine_and_the_program() {
        let facts = environment();
        for name in ["offprint", "command", "processor", "cores", "system", "started"] {
            assert!(!facts[name].is_empty(), "{name}");
        }
    }
}
