//! What `offprint export` asks of a new bundle's numbers: what they are compared with, on which texts, and how much worse
//! than the original they may be. Measures nothing itself. Invariant: what was asked is done or refused, never ignored.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Args;
use indicatif::HumanCount;
use offprint::encode::comparison_texts;
use offprint::evaluate::LabelledText;
use offprint::graph;
use offprint::heads::Head;
use offprint::model::{Bundle, Manifest, Quality, Task};
use offprint::paper::{self, Corpus, LABEL_SEPARATOR, Label, LabelKind, Rejection, Row, Template};

use super::super::corpus_args::{CorpusArgs, names_of};
use super::super::say::remark;
use super::super::self_check::common_heads;
use super::super::train::text_source_of;
use super::super::user_error;

/// What the texts are called where no corpus is given.
pub(super) const BUILT_IN: &str = "built-in texts";

/// F1 values are quotients of whole numbers: differences below this are rounding, not loss.
const ROUNDING: f64 = 1e-12;

/// How long the end of a comparison may go unnoticed while the next row of the corpus is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Few, for a row may be large.
const ROWS_AHEAD: usize = 4;

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

    /// Field of the corpus with the right label, or with the list of right labels
    #[arg(long, value_name = "FIELD")]
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
    corpus_args: Option<&'a CorpusArgs>,
    pub(super) corpus: Option<Corpus>,
    head: Option<Head>,
    pub against: Option<Bundle>,
}

/// The texts of a comparison.
pub(crate) struct Texts<'a> {
    /// Whose template renders them.
    pub new: &'a Manifest,
    /// What the corpus is to say of them, if it is asked.
    pub kind: Option<LabelKind>,
    pub read: &'a Read,
}

/// What was read of a corpus while it was fed to the comparison.
#[derive(Default)]
pub(crate) struct Read {
    bytes: AtomicU64,
    texts: AtomicU64,
    rejected: AtomicU64,
    first_rejected: Mutex<Option<Rejection>>,
}

impl Read {
    fn reject(&self, rejection: Rejection) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        self.first_rejected.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(rejection);
    }
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
        let needs = [
            ("--max-f1-drop", args.max_f1_drop.is_some(), "--label", args.label.is_some()),
            ("--head", args.head.is_some(), "--label", args.label.is_some()),
            ("--label", args.label.is_some(), "--check", has_corpus),
            ("--label-separator", args.label_separator.is_some(), "--label", args.label.is_some()),
        ];
        for (flag, given, other, other_given) in needs {
            if given && !other_given {
                let what = format!("`{flag}` is given without `{other}`");
                return Err(user_error(what, "macro-F1 is measured with `--check CORPUS --label FIELD`"));
            }
        }
        if !calibrates {
            corpus_args.refuse_without_corpus("`--check` names one")?;
        }
        let head = args.head.as_deref().map(Head::load).transpose()?;
        if let Some(head) = &head {
            label_kind(args, head.task, "the head")?;
        }
        let corpus = has_corpus.then(|| corpus_args.open(args.label.as_deref(), &[])).transpose()?;
        let against = args.against.as_deref().map(Bundle::open).transpose()?;
        if let Some(against) = &against {
            check_against(args, head.as_ref(), &against.manifest)?;
        }
        let corpus_args = has_corpus.then_some(corpus_args);
        Ok(Self { args: args.clone(), corpus_args, corpus, head, against })
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
        match flags.iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(user_error(
                format!("`{flag}` is given, but {what}"),
                "name a bundle to compare it with by `--against`",
            )),
            None => Ok(()),
        }
    }

    /// What the corpus is to say of a text, where heads are to be measured by it. A head serves the encoder that it was
    /// trained on: the original. Without one, labels are those of the one head that both graphs have.
    pub(crate) fn check_heads(&self, original: &Manifest, new: &Manifest) -> Result<Option<LabelKind>> {
        let (Some(corpus), Some(label)) = (self.corpus_args, &self.args.label) else { return Ok(None) };
        let Some(head) = &self.head else {
            let common = common_heads(original, new);
            if common.len() != 1 {
                return Err(no_one_head(label, common.len()));
            }
            return label_kind(&self.args, common[0].1.task, "the graph's head").map(Some);
        };
        head.check_dim(original.dim)?;
        head.check_identity(original.identity().fields())?;
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
        if let Some(label) = &self.args.label {
            flags.extend(["--label".into(), label.into()]);
        }
        flags
    }

    /// Writes the texts as the child reads them, until all are written or it is `over`.
    pub(crate) fn feed(&self, texts: &Texts<'_>, over: &dyn Fn() -> bool, into: &mut dyn Write) -> Result<()> {
        let Texts { new, read, .. } = texts;
        let mut put = |text: String, labels: Option<Vec<String>>| -> Result<()> {
            serde_json::to_writer(&mut *into, &LabelledText { text, labels }).map_err(std::io::Error::from)?;
            into.write_all(b"\n")?;
            read.texts.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let Some(corpus) = &self.corpus else {
            return comparison_texts(new.max_length).into_iter().try_for_each(|text| put(text, None));
        };
        let template: Template = new.template.parse()?;
        let (rows, reader) = read_ahead(corpus.clone().with_label_kinds(texts.kind.iter().cloned().collect()));
        while !over() {
            let (row, bytes) = match rows.recv_timeout(LOOK_EVERY) {
                Ok(next) => next,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    reader.join().map_err(|_| anyhow!("the reading of the corpus ended in a panic"))?;
                    break;
                }
            };
            match row? {
                Row::Paper(paper) => {
                    let text = template.render(&paper.text, &new.sep_token).text;
                    put(text, paper.labels.into_iter().next().flatten().and_then(texts_of))?;
                }
                Row::Rejected(rejection) => read.reject(rejection),
            }
            read.bytes.store(bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The share of the comparison that is done, 0 to 1, when `compared` texts are: the share of the corpus that was read,
    /// less what was read ahead. 0 where its size is not known.
    pub(crate) fn share(&self, read: &Read, compared: u64) -> f64 {
        let part = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let Some(corpus) = &self.corpus else { return 0.0 };
        let texts = read.texts.load(Ordering::Relaxed);
        let by_rows = part(texts, self.corpus_args.and_then(|args| args.limit).unwrap_or(0));
        let read = part(read.bytes.load(Ordering::Relaxed), corpus.total_bytes()).max(by_rows);
        (read * part(compared, texts)).min(1.0)
    }

    /// Says what the reading of the corpus left to say.
    pub(crate) fn warn(&self, read: &Read) {
        for warning in self.corpus.iter().flat_map(Corpus::take_warnings) {
            remark(&format!("warning: {warning}"));
        }
        let rejected = read.rejected.load(Ordering::Relaxed);
        let first = read.first_rejected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Rejection { origin, reason, .. }) = &*first {
            let rows = HumanCount(rejected);
            remark(&format!(
                "warning: {rows} rows cannot be used and were passed over, the first of them {origin}: {reason}"
            ));
        }
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

/// What the bundle to compare with says of the flags before there is a new one.
fn check_against(args: &QualityArgs, head: Option<&Head>, original: &Manifest) -> Result<()> {
    match (head, &args.label) {
        (Some(head), _) => Ok(head.check_identity(original.identity().fields())?),
        (None, Some(label)) if original.heads.is_empty() => Err(no_one_head(label, 0)),
        (None, _) => Ok(()),
    }
}

fn no_one_head(label: &str, common: usize) -> anyhow::Error {
    let what = format!("`--label {label}` is given, and the graphs have {common} heads in common");
    user_error(what, "give the head by `--head`")
}

/// A row, and the bytes that were read up to it.
type RowRead = (Result<Row, paper::Error>, u64);

/// The rows. A thread reads them that nobody waits for: a pipe may stay open for ever without another row.
fn read_ahead(corpus: Corpus) -> (Receiver<RowRead>, JoinHandle<()>) {
    let (give, rows) = sync_channel(ROWS_AHEAD);
    let reader = thread::spawn(move || {
        let rows = corpus.rows();
        let bytes = rows.progress();
        for row in rows {
            if give.send((row, bytes.load(Ordering::Relaxed))).is_err() {
                return;
            }
        }
    });
    (rows, reader)
}

/// The label or labels; numbers are none.
pub(super) fn texts_of(label: Label) -> Option<Vec<String>> {
    match label {
        Label::One(label) => Some(vec![label]),
        Label::Several(labels) => Some(labels),
        Label::Numbers(_) => None,
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
