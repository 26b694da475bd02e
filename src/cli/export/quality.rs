//! What `offprint export` asks of a new bundle's numbers: what they are compared with, on which texts, and how much worse
//! than the original they may be. Measures nothing itself. Invariant: what was asked is done or refused, never ignored.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use offprint::graph;
use offprint::heads::Head;
use offprint::model::{Bundle, Manifest, Quality, Task};
use offprint::paper::{Corpus, LABEL_SEPARATOR, LabelKind};

use super::super::classify_heads::{Truth, unknown_head};
use super::super::corpus_args::{CorpusArgs, names_of};
use super::super::environment::is_typed;
use super::super::head_fit::check_any_adapter;
use super::super::say::remark;
use super::super::self_check::common_heads;
use super::super::train::text_source_of;
use super::super::user_error;

/// What the texts are called where no corpus is given.
pub(super) const BUILT_IN: &str = "built-in texts";

/// F1 values are quotients of whole numbers: differences below this are rounding, not loss.
const ROUNDING: f64 = 1e-12;

/// The corpus, which other commands take without a flag.
pub(crate) fn as_flag(corpus: clap::Arg) -> clap::Arg {
    const HELP: &str = "Papers to compare the new graph with its original on: files, folders, globs, or - for standard \
                        input [default: built-in texts, 128 to 138 of them]";
    corpus.long("check").required(false).num_args(1..).help(HELP).long_help(HELP).help_heading("Quality")
}

/// How a bundle whose numbers are not the original's is measured.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Quality")]
pub(crate) struct QualityArgs {
    /// Bundle that the new one is compared with [default: the fp32 graph of the same checkpoint, where the new one is
    /// another]
    #[arg(long, value_name = "BUNDLE")]
    pub against: Option<PathBuf>,

    /// Head that was trained on the original: its macro-F1 is measured on both [default: the one in the graph, if any]
    #[arg(long, value_name = "HEAD")]
    pub head: Option<PathBuf>,

    /// Field of the corpus with the right label, or with the list of right labels; where the graphs have several heads
    /// in common as HEAD=FIELD
    #[arg(long, value_name = "[HEAD=]FIELD")]
    pub label: Option<String>,

    /// What stands between labels in a text that has several; a blank is any run of blanks [default: ;]
    #[arg(long, value_name = "TEXT")]
    pub label_separator: Option<String>,

    /// Exit with status 1 and write nothing if the cosine between a text's two vectors is below X for any text
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub min_cosine: Option<f64>,

    /// Exit with status 1 and write nothing if the head's macro-F1 falls by more than X (0.01 is one point)
    ///
    /// It is the mean over the labels that are right for some text of the corpus, the same ones for both bundles.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub max_f1_drop: Option<f64>,
}

/// Writes a bundle into an existing empty folder.
pub(crate) type Make<'a> = Box<dyn Fn(&Path) -> Result<Manifest> + 'a>;

/// Writes what belongs to a bundle that is there already into an existing empty folder.
pub(crate) type MakeFor<'a> = Box<dyn Fn(&Path, &Manifest) -> Result<Manifest, graph::Error> + 'a>;

/// What a new bundle is compared with.
pub(crate) enum Original<'a> {
    /// Nothing: its numbers are those that others are compared with.
    Itself,
    /// Nothing is known that its numbers could be compared with.
    Unknown,
    /// The fp32 graph of the same checkpoint, written for the comparison.
    Made(Make<'a>),
    /// The fp32 graph of weights that lie beside the new graph, if they can be read and fit it.
    IfExportable(MakeFor<'a>),
}

/// What was asked, checked as far as that goes before anything is downloaded or built; by default nothing.
#[derive(Default)]
pub(crate) struct Asked<'a> {
    pub(super) args: QualityArgs,
    pub(super) corpus_args: Option<&'a CorpusArgs>,
    pub(super) corpus: Option<Corpus>,
    head: Option<Head>,
    /// What the corpus says is right, and of which head.
    truth: Option<Truth>,
    pub against: Option<Bundle>,
}

impl<'a> Asked<'a> {
    /// Opens corpus, head and bundle; flags that need another one are refused without it.
    /// `calibrates` says that another corpus has the flags of one.
    pub(crate) fn new(args: &QualityArgs, corpus_args: &'a CorpusArgs, calibrates: bool) -> Result<Self> {
        let bounds = [
            ("--min-cosine", args.min_cosine, -1.0, "vectors of equal direction have the cosine 1"),
            ("--max-f1-drop", args.max_f1_drop, 0.0, "0.01 is one point of F1"),
        ];
        for (flag, value, least, hint) in bounds {
            if let Some(value) = value.filter(|value| !(least..=1.0).contains(value)) {
                return Err(user_error(format!("`{flag}` is {value}, expected {least} to 1"), hint));
            }
        }
        let has_corpus = !corpus_args.corpus.is_empty();
        if !calibrates {
            corpus_args.refuse_without_corpus("`--check` names one")?;
        }
        let args = applicable(args.clone(), has_corpus)?;
        let truth = args.label.as_deref().map(Truth::parse).transpose()?;
        let head = args.head.as_deref().map(Head::load).transpose()?;
        if let Some(head) = &head {
            label_kind(&args, head.task, "the head")?;
        }
        if let (Some(file), Some(truth)) = (&args.head, &truth) {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            if let Some(name) = truth.head.as_deref().filter(|name| *name != stem) {
                return Err(unknown_head(name, &truth.field, [&*stem]));
            }
        }
        let field = truth.as_ref().map(|truth| truth.field.as_str());
        let corpus = has_corpus.then(|| corpus_args.open(field, &[])).transpose()?;
        let against = args.against.as_deref().map(Bundle::open).transpose()?;
        if let Some(against) = &against {
            check_against(&args, head.as_ref(), &against.manifest)?;
        }
        let corpus_args = has_corpus.then_some(corpus_args);
        Ok(Self { args, corpus_args, corpus, head, truth, against })
    }

    /// An error where something is asked that only a comparison answers, and there is nothing to compare with.
    pub(crate) fn check_comparable(&self, original: &Original<'_>) -> Result<()> {
        let what = match original {
            _ if self.against.is_some() => return Ok(()),
            Original::Made(_) | Original::IfExportable(_) => return Ok(()),
            Original::Itself => "an fp32 graph is itself what others are compared with",
            Original::Unknown => "nothing is known that the new graph could be compared with",
        };
        let flags = [
            ("--check", self.corpus.is_some()),
            ("--head", self.args.head.is_some()),
            ("--min-cosine", self.args.min_cosine.is_some()),
        ];
        match flags.iter().find(|(flag, given)| *given && is_typed(flag)) {
            Some((flag, _)) => Err(user_error(
                format!("`{flag}` is given, but {what}"),
                "name a bundle to compare it with by `--against`",
            )),
            None => Ok(()),
        }
    }

    /// What the corpus is to say of a text, where heads are to be measured by it. A head serves the encoder that it was
    /// trained on: the original. Without one, labels are those of the head that is named, or of the one that both graphs
    /// have.
    pub(crate) fn check_heads(&self, original: &Manifest, new: &Manifest) -> Result<Option<LabelKind>> {
        let (Some(corpus), Some(truth)) = (self.corpus_args, &self.truth) else { return Ok(None) };
        let Some(head) = &self.head else {
            let common = common_heads(original, new);
            let names = || common.iter().map(|(_, new)| new.name.as_str());
            let task = match (&truth.head, common.as_slice()) {
                (None, [(_, only)]) => only.task,
                (None, _) => return Err(no_one_head(&truth.field, names())),
                (Some(name), _) => match common.iter().find(|(_, new)| new.name == *name) {
                    Some((_, named)) => named.task,
                    None => return Err(unknown_head(name, &truth.field, names())),
                },
            };
            return label_kind(&self.args, task, "the graph's head").map(Some);
        };
        head.check_dim(original.dim)?;
        check_any_adapter(head, original)?;
        let source = text_source_of(corpus, &new.template);
        if source != head.template_or_field {
            let file = self.args.head.as_deref().unwrap_or(Path::new("")).display();
            remark(&format!("warning: head `{file}` was trained with {}, now {source}", head.template_or_field));
        }
        label_kind(&self.args, head.task, "the head").map(Some)
    }

    /// An error where the corpus would be rendered for the new bundle in another way than for the original: both get the
    /// same texts, so that the loss would not show.
    pub(crate) fn check_rendering(&self, original: &Bundle, (template, sep): (&str, Option<&str>)) -> Result<()> {
        if self.corpus_args.is_none_or(|corpus| corpus.text_field.is_some()) {
            return Ok(());
        }
        let theirs = &original.manifest;
        let (what, old, new) = match sep {
            _ if theirs.template != template => ("template", theirs.template.as_str(), template),
            Some(sep) if theirs.sep_token != sep => ("separator", theirs.sep_token.as_str(), sep),
            _ => return Ok(()),
        };
        let what = format!(
            "`{}` has the {what} `{old}`, the new bundle `{new}`, and a corpus is rendered in one way",
            original.dir.display()
        );
        Err(user_error(what, "compare bundles of the same template, or texts as they are by `--text-field`"))
    }

    /// The flags of the child's command that say what it compares on.
    pub(crate) fn flags(&self) -> Vec<OsString> {
        let name = self.corpus_args.map_or_else(|| BUILT_IN.to_owned(), |args| names_of(&args.corpus));
        [vec!["--corpus".into(), name.into()], self.head_flags()].concat()
    }

    /// Those that say which head is compared, and by which labels.
    pub(super) fn head_flags(&self) -> Vec<OsString> {
        let mut flags = Vec::new();
        if let Some(head) = &self.args.head {
            flags.extend(["--head".into(), head.into()]);
        }
        if let Some(Truth { head, field }) = &self.truth {
            flags.extend(["--label".into(), field.into()]);
            flags.extend(head.iter().flat_map(|head| ["--labelled-head".into(), head.into()]));
        }
        flags
    }

    /// In which of the ways that were asked for the bundle is worse than it may be.
    pub(crate) fn failures(&self, quality: &Quality) -> Vec<String> {
        let mut failures = Vec::new();
        if let (Some(least), Some(measured)) = (self.args.min_cosine, &quality.measured)
            && measured.cosine_min < least
        {
            let got = measured.cosine_min;
            failures.push(format!(
                "the least cosine with the original is {got:.6}, expected {least} or more (`--min-cosine`)"
            ));
        }
        let measured = quality.heads.iter().filter_map(|head| Some((&head.name, head.f1.as_ref()?)));
        for (name, f1) in measured {
            if let Some(most) = self.args.max_f1_drop.filter(|most| f1.macro_drop > most + ROUNDING) {
                failures.push(format!(
                    "macro-F1 of head `{name}` falls by {:.6} ({:.6} to {:.6}), expected {most} or less (`--max-f1-drop`)",
                    f1.macro_drop, f1.macro_original, f1.macro_new
                ));
            }
        }
        failures
    }
}

/// The flags that mean something here. One that needs another which is not given is refused where it was typed, and passed
/// over where the environment says it once for many commands.
fn applicable(mut args: QualityArgs, has_corpus: bool) -> Result<QualityArgs> {
    let refuse = |flag: &str, other: &str| {
        let what = format!("`{flag}` is given without `{other}`");
        user_error(what, "macro-F1 is measured with `--check CORPUS --label FIELD`")
    };
    let has_label = args.label.is_some();
    let needs = [
        ("--max-f1-drop", args.max_f1_drop.is_some(), "--label", has_label),
        ("--head", args.head.is_some(), "--label", has_label),
        ("--label", has_label, "--check", has_corpus),
        ("--label-separator", args.label_separator.is_some(), "--label", has_label),
    ];
    if let Some((flag, _, other, _)) = needs.iter().find(|(flag, given, _, other)| *given && !other && is_typed(flag)) {
        return Err(refuse(flag, other));
    }
    args.label = args.label.filter(|_| has_corpus);
    if args.label.is_none() {
        args = QualityArgs { head: None, max_f1_drop: None, label_separator: None, ..args };
    }
    Ok(args)
}

/// What the bundle to compare with says of the flags before there is a new one.
fn check_against(args: &QualityArgs, head: Option<&Head>, original: &Manifest) -> Result<()> {
    match (head, &args.label) {
        (Some(head), _) => Ok(check_any_adapter(head, original)?),
        (None, Some(label)) if original.heads.is_empty() => Err(no_one_head(label, [])),
        (None, _) => Ok(()),
    }
}

fn no_one_head<'n>(field: &str, common: impl IntoIterator<Item = &'n str>) -> anyhow::Error {
    let common: Vec<&str> = common.into_iter().collect();
    let what = format!("`--label {field}` is given, and the graphs have {} heads in common", common.len());
    match common.first() {
        None => user_error(what, "give the head by `--head`"),
        Some(first) => user_error(what, format!("say which is meant: `--label {first}={field}`")),
    }
}

/// What the corpus is expected to say of a text for such a head; numbers have no F1.
fn label_kind(args: &QualityArgs, task: Task, head: &str) -> Result<LabelKind> {
    let refuse = |what: String, hint: &str| Err(user_error(what, hint));
    match (task, &args.label_separator) {
        (Task::Regression, _) => refuse(
            format!("{head} gives numbers, expected labels, whose macro-F1 can be measured"),
            "leave `--label` out to compare vectors and numbers alone",
        ),
        (Task::Classification, Some(_)) => {
            refuse(format!("`--label-separator` is about several labels, and {head} gives one"), "leave it out")
        }
        (Task::Classification, None) => Ok(LabelKind::One),
        (Task::Multilabel, separator) => {
            Ok(LabelKind::Several { separator: separator.as_deref().unwrap_or(LABEL_SEPARATOR).to_owned() })
        }
    }
}
