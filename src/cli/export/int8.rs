//! The way to an int8 bundle: the fp32 graph is observed on the texts of a calibration, each group of matrices is tried
//! alone, points are searched on the way from few groups to all, and the one that was asked for is written. Owns the order
//! of these steps; what is measured is measured in a child process, what is chosen is chosen by `encode::calibrate`.
//! Invariant: a bundle of a point that does not reach what was asked is not written.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;
use offprint::encode::calibrate::{
    CalibrationText, CalibrationTexts, Choice, Cosines, OrderedGroup, Point, PointName, Seen, Wanted, Watched, choose,
};
use offprint::evaluate::LabelledText;
use offprint::graph::quantize::{InputStatistics, Matrix, MatrixPlan, WeightReach, write_calibration};
use offprint::graph::{ExportOptions, write_bundle};
use offprint::model::{Calibration, HeadQuality, Int8, Int8Group, Int8Point, Manifest, Precision};
use offprint::paper::{Corpus, Template};
use offprint::runtime::adds_exactly;

use super::super::calibrate::{Answer, Ask};
use super::super::corpus_args::{CorpusArgs, names_of};
use super::super::environment::is_typed;
use super::super::say::remark;
use super::super::signals::Stop;
use super::super::user_error;
use super::child::this_program;
use super::dialog::Dialog;
use super::judge::{Candidates, Counts, GraphJudge, Group};
use super::quality::{Asked, BUILT_IN};
use super::texts::texts_of;

/// The least cosine of the default point where nothing else is asked.
const LEAST_COSINE: f64 = 0.998;

/// Tokens of a text by and large: a matrix that multiplies one row for each text does so much less.
const TOKENS: f64 = 128.0;

/// How an int8 graph is made.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Int8")]
pub(crate) struct Int8Args {
    /// Papers that the ranges of an int8 graph are taken from, and, without --check, others of them that show what it
    /// loses: a few hundred are enough, of more a sample is taken [default: built-in texts]
    #[arg(long, value_name = "CORPUS", num_args = 1..)]
    pub calibrate: Vec<String>,

    /// Which point between exact and fast the int8 graph is to be: careful, default, fast or all
    ///
    /// The default is the fastest with a least cosine of 0.998 and a mean of 0.999, or with the least cosine that
    /// --min-cosine asks for; careful may lose half as much, fast twice as much. All is every matrix, whatever it loses.
    #[arg(long, value_name = "POINT")]
    pub int8_point: Option<PointName>,
}

impl Int8Args {
    /// An error where a flag is given that says something of an int8 graph, and the graph is another; or where an int8 graph
    /// is asked for and `plain` ones as well.
    pub(super) fn check(&self, precision: Precision, plain: bool, several: bool) -> Result<()> {
        if precision == Precision::Int8 {
            if several {
                return Err(user_error(
                    "`--adapters` is given with `--precision int8`, and the ranges of int8 are measured for one adapter",
                    "make an int8 bundle of each adapter with `--adapter`",
                ));
            }
            return match plain {
                true => Err(user_error(
                    "`--plain` is given with `--precision int8`, and int8 graphs are for ONNX Runtime's CPU provider alone",
                    "leave one of the two out",
                )),
                false => Ok(()),
            };
        }
        let flags = [("--calibrate", !self.calibrate.is_empty()), ("--int8-point", self.int8_point.is_some())];
        match flags.iter().find(|(flag, given)| *given && is_typed(flag)) {
            Some((flag, _)) => Err(user_error(
                format!("`{flag}` is given, and the graph is {precision}"),
                "`--precision int8` makes an int8 graph",
            )),
            None => Ok(()),
        }
    }
}

/// No point of the curve reaches what was asked.
#[derive(Debug, thiserror::Error)]
#[error("no choice of matrices for int8 loses as little as was asked")]
pub(super) struct NotReached {
    /// In which ways.
    pub failures: Vec<String>,
    /// What was measured.
    pub report: Box<Int8>,
}

/// An int8 bundle to be made.
pub(super) struct Int8Export<'a> {
    options: &'a ExportOptions,
    asked: &'a Asked<'a>,
    corpus: Option<Corpus>,
    corpus_name: String,
    wanted: Wanted,
    ort_lib: Option<&'a Path>,
    stop: &'a Stop,
}

impl<'a> Int8Export<'a> {
    /// Opens the corpus of the calibration.
    pub(super) fn new(
        options: &'a ExportOptions,
        (args, corpus_args): (&Int8Args, &CorpusArgs),
        asked: &'a Asked<'a>,
        (ort_lib, stop): (Option<&'a Path>, &'a Stop),
    ) -> Result<Self> {
        let given = !args.calibrate.is_empty();
        let corpus = given.then(|| corpus_args.open_inputs(&args.calibrate, [], (&[], None))).transpose()?;
        let wanted = Wanted {
            point: args.int8_point.unwrap_or(PointName::Default),
            least: asked.args.min_cosine.filter(|_| args.int8_point.is_none()).unwrap_or(LEAST_COSINE),
        };
        let corpus_name = match (given, &asked.corpus) {
            (false, _) => BUILT_IN.to_owned(),
            (true, None) => format!("{} and {BUILT_IN}", names_of(&args.calibrate)),
            (true, Some(_)) => names_of(&args.calibrate),
        };
        Ok(Self { options, asked, corpus, corpus_name, wanted, ort_lib, stop })
    }

    /// Writes the bundle into the existing empty folder `into`; what is needed on the way lies beside it until then.
    pub(super) fn make(&self, into: &Path) -> Result<Manifest> {
        let place = into.with_file_name("calibration");
        let fp32 = place.join("fp32");
        std::fs::create_dir_all(&fp32).with_context(|| format!("could not create `{}`", fp32.display()))?;
        let original = write_bundle(&self.fp32(), &fp32)?;
        let observed_graph = place.join("observed.onnx");
        let matrices = write_calibration(&self.fp32(), &observed_graph)?;
        let multiplications = matrices.iter().map(|matrix| (matrix.inputs * matrix.outputs) as f64).sum();
        let (texts, counts) = self.texts(&original, multiplications)?;
        let mut command = this_program("calibrate", self.ort_lib)?;
        command.arg(&fp32).args(self.asked.head_flags());
        let stopped = || self.stop.signal().is_some();
        let mut dialog = Dialog::start(command, &stopped)?;
        let mut report = self.begin(&mut dialog, texts)?;
        let candidates = observe(&mut dialog, matrices, &observed_graph)?;
        report.weights = candidates.reach.name().to_owned();

        let works: Vec<f64> = candidates.groups.iter().map(|group| group.work).collect();
        let mut judge = GraphJudge::new(&mut dialog, &candidates, (self.options, &place), counts);
        let choice = choose(&works, self.wanted, &mut judge)?;
        describe(&choice, &candidates, &judge.into_heads(), &mut report);
        drop(dialog);
        std::fs::remove_dir_all(&place).with_context(|| format!("could not remove `{}`", place.display()))?;
        let Some(chosen) = choice.chosen else { return Err(self.not_reached(&choice, report).into()) };
        let groups: Vec<usize> = choice.order[..choice.curve[chosen].groups].iter().map(|of| of.group).collect();
        let quantize = Some(candidates.plan(&groups));
        let made = write_bundle(&ExportOptions { quantize, ..self.options.clone() }, into)?;
        Ok(Manifest { int8: Some(report), ..made })
    }

    /// The same export in fp32.
    fn fp32(&self) -> ExportOptions {
        ExportOptions { precision: Precision::Fp32, quantize: None, ..self.options.clone() }
    }

    /// The texts, and how many of them are run at a time.
    fn texts(&self, original: &Manifest, multiplications: f64) -> Result<(CalibrationTexts, Counts)> {
        let template: Template = original.template.parse()?;
        let kind = self.asked.check_heads(original, original)?;
        // A pipe is read once, and that is by the comparison with the original.
        let again = self.asked.corpus.clone().filter(|corpus| corpus.files().iter().all(|file| file.is_file()));
        let again = again.map(|corpus| corpus.with_label_kinds(kind.into_iter().collect()));
        let rendered = (&template, original.sep_token.as_str());
        let corpora = (self.corpus.as_ref(), again.as_ref());
        let mut texts = CalibrationTexts::gather(corpora, rendered, original.max_length)?;
        for corpus in self.corpus.iter().chain(&again) {
            for warning in corpus.take_warnings() {
                remark(&format!("warning: {warning}"));
            }
        }
        let counts = Counts::of(multiplications, texts.held_out.len());
        texts.held_out.truncate(counts.together);
        Ok((texts, counts))
    }

    /// Has the original run on the texts; what is then known of the report.
    fn begin(&self, dialog: &mut Dialog<'_>, texts: CalibrationTexts) -> Result<Int8> {
        let calibration = Calibration {
            corpus: self.corpus_name.clone(),
            hash: texts.hash(),
            texts: texts.observed.len() as u64,
            held_out: texts.held_out.len() as u64,
        };
        let labelled =
            |held_out: CalibrationText| LabelledText { text: held_out.text, labels: held_out.label.and_then(texts_of) };
        let held_out = texts.held_out.into_iter().map(labelled).collect();
        let Answer::Ready { provider, onnxruntime, cpu } =
            dialog.ask(&Ask::Texts { observed: texts.observed, held_out })?
        else {
            bail!("the calibration answered another question");
        };
        let point = self.wanted.point.name().to_owned();
        Ok(Int8 {
            point,
            weights: String::new(),
            sums: if adds_exactly() { "processor" } else { "u8" }.to_owned(),
            calibration,
            provider,
            onnxruntime,
            cpu,
            curve: Vec::new(),
            groups: Vec::new(),
        })
    }

    /// Why there is no bundle.
    fn not_reached(&self, choice: &Choice, report: Int8) -> NotReached {
        let target = self.wanted.point.target(self.wanted.least);
        let best =
            choice.curve.iter().map(|point| point.cosines).fold(Cosines { min: -1.0, mean: -1.0 }, |best, cosines| {
                Cosines { min: best.min.max(cosines.min), mean: best.mean.max(cosines.mean) }
            });
        let failure = format!(
            "the int8 point `{}` has to have a least cosine of {} and a mean of {} on the held-out texts, with a reserve; \
             the best that was measured are {:.6} and {:.6}",
            self.wanted.point.name(),
            short(target.min),
            short(target.mean),
            best.min,
            best.mean
        );
        NotReached { failures: vec![failure], report: Box::new(report) }
    }
}

/// A bound as it was asked for, without what rounding adds.
fn short(bound: f64) -> f64 {
    (bound * 1e9).round() / 1e9
}

/// Has the graph's matrices observed, and makes a plan for each.
fn observe(dialog: &mut Dialog<'_>, matrices: Vec<Matrix>, graph: &Path) -> Result<Candidates> {
    let watched = |matrix: &Matrix| Watched {
        lowest: matrix.lowest.clone(),
        highest: matrix.highest.clone(),
        mean: matrix.mean.clone(),
        per_token: matrix.per_token,
    };
    let watched = matrices.iter().map(watched).collect();
    let Answer::Observed(seen) = dialog.ask(&Ask::Observe { graph: graph.to_owned(), watched })? else {
        bail!("the calibration answered another question");
    };
    let plan = |(matrix, Seen { lowest, highest, mean }): (&Matrix, Seen)| {
        MatrixPlan::from_statistics(matrix, &InputStatistics { lowest, highest, mean })
    };
    let plans = matrices.iter().zip(seen).map(plan).collect();
    Ok(Candidates { groups: grouped(&matrices), matrices, plans, reach: WeightReach::of_this_machine() })
}

/// The matrices that share an input are one group: their rows become integers once for all of them.
fn grouped(matrices: &[Matrix]) -> Vec<Group> {
    let mut groups: Vec<(&str, Group)> = Vec::new();
    for (number, matrix) in matrices.iter().enumerate() {
        let rows = if matrix.per_token { 1.0 } else { 1.0 / TOKENS };
        let work = (matrix.inputs * matrix.outputs) as f64 * rows;
        match groups.iter_mut().find(|(input, _)| *input == matrix.input) {
            Some((_, group)) => {
                group.matrices.push(number);
                group.work += work;
            }
            None => groups.push((&matrix.input, Group { matrices: vec![number], work })),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// Puts order and curve into the report.
fn describe(choice: &Choice, candidates: &Candidates, heads: &BTreeMap<usize, HeadQuality>, report: &mut Int8) {
    let all = candidates.work();
    let share = |groups: &[usize]| groups.iter().map(|&group| candidates.groups[group].work).sum::<f64>() / all;
    let order: Vec<usize> = choice.order.iter().map(|of| of.group).collect();
    let int8 = choice.chosen.map_or(0, |chosen| choice.curve[chosen].groups);
    let point = |point: &Point| Int8Point {
        names: point.names.iter().map(|name| name.name().to_owned()).collect(),
        groups: point.groups as u64,
        share: share(&order[..point.groups]).min(1.0),
        cosine_min: point.cosines.min,
        cosine_mean: point.cosines.mean,
        speed: point.speed,
        head: heads.get(&point.groups).cloned(),
    };
    report.curve = choice.curve.iter().map(point).collect();
    let group = |(place, of): (usize, &OrderedGroup)| Int8Group {
        matrices: {
            let numbers = &candidates.groups[of.group].matrices;
            numbers.iter().map(|&number| candidates.matrices[number].name.clone()).collect()
        },
        precision: if place < int8 { Precision::Int8 } else { Precision::Fp32 }.to_string(),
        share: share(&[of.group]).min(1.0),
        cosine_min: of.alone.min,
        cosine_mean: of.alone.mean,
    };
    report.groups = choice.order.iter().enumerate().map(group).collect();
}
