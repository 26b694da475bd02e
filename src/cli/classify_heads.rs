//! Which heads `classify` runs, and what the flags mean for each: settled before anything is computed, so that a flag
//! that means nothing is an error and not a surprise.

use anyhow::Result;
use offprint::heads::{Head, Meaning};
use offprint::model::{GraphHead, Manifest, Task};
use offprint::output::{AnswerColumns, AnswerKind, AnswerRules, HeadReader};
use offprint::paper::{LABEL_SEPARATOR, LabelKind};

use super::adapter_args::{AdapterArgs, Adapters};
use super::classify::ClassifyArgs;
use super::encode_args::PART_SECONDS;
use super::environment::is_typed;
use super::head_fit::{check_encoder, warn_of_fused, warn_of_texts};
use super::run::Run;
use super::say::remark;
use super::train::text_source_of;
use super::user_error;

/// Where answers come from.
pub(super) enum Source {
    /// A head file, which works on embeddings; its name is the file's without the ending.
    File { name: String, head: Box<Head> },
    /// These heads in the bundle's graph.
    Graph(Vec<GraphHead>),
}

impl Source {
    /// The head file if there is one and it fits the bundle, else the heads of the bundle that the flags ask for.
    pub(super) fn choose(args: &ClassifyArgs, head: Option<Head>, run: &Run<'_>) -> Result<Self> {
        let source = text_source_of(&args.corpus, &run.bundle().manifest.template);
        let (Some(head), Some(file)) = (head, args.head.as_deref()) else {
            let heads = heads_of(args, &run.bundle().manifest)?;
            warn_of_fused(&heads, &source);
            say_unused(args);
            return Ok(Self::Graph(heads));
        };
        check_encoder(&head, (&run.bundle().manifest, &run.identity()?), args.allow_encoder_change)?;
        warn_of_texts(&file.display().to_string(), &head.template_or_field, &source);
        let own = names(run.bundle().manifest.heads.iter().map(|head| head.name.as_str()));
        if !own.is_empty() {
            remark(&format!("note: `{}` is used; what the bundle has itself ({own}) is not", file.display()));
        }
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self::File { name, head: Box::new(head) })
    }

    /// Readers of all heads, in the order of their numbers.
    pub(super) fn readers(&self, rules: AnswerRules) -> Vec<HeadReader> {
        match self {
            Self::File { name, head } => vec![HeadReader::of_file(name, head, rules)],
            Self::Graph(heads) => heads.iter().map(|head| HeadReader::of_graph(head, rules)).collect(),
        }
    }
}

/// The heads in the bundle's graph: all of them, or the one that is named.
fn heads_of(args: &ClassifyArgs, manifest: &Manifest) -> Result<Vec<GraphHead>> {
    let (model, heads) = (&args.encode.model, &manifest.heads);
    if heads.is_empty() {
        return Err(user_error(
            format!("bundle `{model}` has no classifier"),
            "give `--head FILE`, put a head into the graph by `offprint fuse`, or export a checkpoint of a sequence classifier",
        ));
    }
    let Some(name) = &args.head_name else { return Ok(heads.clone()) };
    let named = heads.iter().find(|head| head.name == *name).cloned();
    named.map(|head| vec![head]).ok_or_else(|| {
        let known = names(heads.iter().map(|head| head.name.as_str()));
        user_error(format!("bundle `{model}` has no head `{name}`"), format!("its heads are {known}"))
    })
}

/// The adapters that the flags choose. Heads in the graph that were fused for one of several adapters choose it themselves.
pub(super) fn adapters(args: &ClassifyArgs, manifest: &Manifest) -> Result<Adapters> {
    let (model, flags) = (&args.encode.model, &args.encode.adapter);
    if args.head.is_some() || manifest.adapters.is_empty() {
        return flags.choose(model, manifest);
    }
    let heads = heads_of(args, manifest)?;
    let mut bound = heads.iter().filter_map(|head| Some((&head.name, head.adapter.as_ref()?)));
    let Some((head, adapter)) = bound.next() else { return flags.choose(model, manifest) };
    if let Some((other, another)) = bound.find(|(_, another)| *another != adapter) {
        return Err(user_error(
            format!("head `{head}` answers for adapter `{adapter}`, head `{other}` for adapter `{another}`"),
            "use one of them: `--head-name NAME`",
        ));
    }
    let asked = match (&flags.adapter, &flags.adapter_field) {
        (_, Some(field)) if is_typed("--adapter-field") => format!("--adapter-field {field}"),
        (Some(name), _) if name != adapter && is_typed("--adapter") => format!("--adapter {name}"),
        _ => {
            let flags = AdapterArgs { adapter: Some(adapter.clone()), adapter_field: None };
            return flags.choose(model, manifest);
        }
    };
    Err(user_error(
        format!("`{asked}` is given, and head `{head}` answers for adapter `{adapter}` alone"),
        "leave it out: the head's own adapter is taken",
    ))
}

/// Says which flags change nothing where all answers come from the bundle's graph.
fn say_unused(args: &ClassifyArgs) {
    let encode = &args.encode;
    let flags = [(encode.no_cache, "--no-cache"), (encode.part_seconds != PART_SECONDS, "--part-seconds")];
    for (_, flag) in flags.iter().filter(|(given, _)| *given) {
        remark(&format!("note: `{flag}` changes nothing: heads in the bundle's graph answer without the cache"));
    }
}

/// What the flags ask of answers.
pub(super) fn rules(args: &ClassifyArgs) -> AnswerRules {
    AnswerRules { top_k: args.top_k, min_probability: args.min_probability }
}

/// Refuses flags that mean nothing for any of the heads.
pub(super) fn check_rules(args: &ClassifyArgs, readers: &[HeadReader]) -> Result<()> {
    let named = || names(readers.iter().map(|reader| reader.name.as_str()));
    let (heads, give) = if readers.len() == 1 { ("head", "gives") } else { ("heads", "give") };
    let has_probabilities = readers.iter().any(|reader| reader.meaning == Meaning::Probability);
    if readers.iter().any(|reader| reader.task != Task::Regression) {
        if has_probabilities || args.min_probability.is_none() || !is_typed("--min-probability") {
            return Ok(());
        }
        return Err(user_error(
            format!("`--min-probability` is about probabilities, and {heads} {} {give} scores", named()),
            "train with `--calibration platt`, or leave it out",
        ));
    }
    let flags = [("--min-probability", args.min_probability.is_some()), ("--top-k", args.top_k > 0)];
    let Some((flag, _)) = flags.iter().find(|(flag, given)| *given && is_typed(flag)) else { return Ok(()) };
    Err(user_error(
        format!("`{flag}` is about labels and their probabilities, and {heads} {} {give} numbers", named()),
        "leave it out",
    ))
}

/// The columns of each head; with several they begin with its name.
pub(super) fn columns(readers: &[HeadReader], top_k: usize) -> Vec<AnswerColumns> {
    let of_one = |reader: &HeadReader| {
        let labels = reader.labels.len();
        let kind = match reader.task {
            Task::Classification => AnswerKind::Label { top_k: top_k.min(labels) },
            Task::Multilabel => AnswerKind::Labels { most: if top_k == 0 { labels } else { top_k.min(labels) } },
            Task::Regression => {
                AnswerKind::Values { names: reader.labels.iter().map(|name| name.to_string()).collect() }
            }
        };
        let prefix = if readers.len() == 1 { String::new() } else { format!("{}_", reader.name) };
        AnswerColumns { prefix, kind, scores: reader.meaning == Meaning::Score, sets: reader.gives_sets() }
    };
    readers.iter().map(of_one).collect()
}

/// A field that says what is right, as `--label` names it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Truth {
    /// The head that is measured by it, if one is named.
    pub(super) head: Option<String>,
    /// The field.
    pub(super) field: String,
}

impl Truth {
    /// `FIELD` or `HEAD=FIELD`.
    pub(super) fn parse(label: &str) -> Result<Self> {
        let (head, field) = label.split_once('=').map_or((None, label), |(head, field)| (Some(head), field));
        if field.is_empty() || head == Some("") {
            return Err(user_error(format!("`--label` is `{label}`, expected `FIELD` or `HEAD=FIELD`"), "name both"));
        }
        Ok(Self { head: head.map(str::to_owned), field: field.to_owned() })
    }
}

/// Which label of a paper is for which head.
#[derive(Debug)]
pub(super) struct Matched {
    /// For each head the number of its `--label`.
    pub(super) of_heads: Vec<Option<usize>>,
    /// What each `--label` must hold.
    pub(super) kinds: Vec<LabelKind>,
}

/// Finds the head of each `--label`.
pub(super) fn match_truths(args: &ClassifyArgs, truths: &[Truth], readers: &[HeadReader]) -> Result<Matched> {
    let names_of = || readers.iter().map(|reader| reader.name.as_str());
    let separator = args.label_separator.as_deref().unwrap_or(LABEL_SEPARATOR);
    let mut matched = Matched { of_heads: vec![None; readers.len()], kinds: Vec::new() };
    for (at, Truth { head, field }) in truths.iter().enumerate() {
        let found = match head {
            Some(name) => {
                let found = readers.iter().position(|reader| reader.name == *name);
                found.ok_or_else(|| unknown_head(name, field, names_of()))?
            }
            None if readers.len() == 1 => 0,
            None => {
                let first = &readers[0].name;
                return Err(user_error(
                    format!("`--label {field}` does not say which of the heads {} it is for", names(names_of())),
                    format!("`--label {first}={field}`, one for each head that is to be measured"),
                ));
            }
        };
        let reader = &readers[found];
        if matched.of_heads[found].replace(at).is_some() {
            return Err(user_error(format!("`--label` is given twice for head `{}`", reader.name), "leave one out"));
        }
        matched.kinds.push(match reader.task {
            Task::Classification => LabelKind::One,
            Task::Multilabel => LabelKind::Several { separator: separator.to_owned() },
            Task::Regression => LabelKind::Numbers { count: reader.labels.len() },
        });
    }
    let several = matched.kinds.iter().any(|kind| matches!(kind, LabelKind::Several { .. }));
    if args.label_separator.is_some() && !several && is_typed("--label-separator") {
        return Err(user_error(
            "`--label-separator` is about a `--label` with several labels, and there is none",
            "leave it out",
        ));
    }
    Ok(matched)
}

/// A `--label HEAD=FIELD` whose head is none of those `known`.
pub(super) fn unknown_head<'n>(head: &str, field: &str, known: impl IntoIterator<Item = &'n str>) -> anyhow::Error {
    let known = names(known.into_iter());
    let hint = if known.is_empty() { "there is none".to_owned() } else { format!("there is {known}") };
    user_error(format!("`--label {head}={field}` names no head in use"), hint)
}

/// Names in backticks.
fn names<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_names_a_field_and_maybe_a_head() {
        let truth = |head: Option<&str>, field: &str| Truth { head: head.map(str::to_owned), field: field.to_owned() };
        assert_eq!(Truth::parse("paper.topic").unwrap(), truth(None, "paper.topic"));
        assert_eq!(Truth::parse("topic=a=b").unwrap(), truth(Some("topic"), "a=b"));
        for wrong in ["", "=field", "topic=", "="] {
            let error = Truth::parse(wrong).unwrap_err().to_string();
            assert_eq!(error, format!("`--label` is `{wrong}`, expected `FIELD` or `HEAD=FIELD`"));
        }
    }
}
