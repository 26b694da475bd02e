//! What the flags of `train` mean together. Knows flags, no rows. Invariant: what cannot be is said before a bundle is
//! opened, as far as it does not hang on what the field holds.

use anyhow::Result;
use offprint::evaluate::{AnswerPlan, LeakOptions, Objective, UnknownRule};
use offprint::heads::{CalibrationMethod, SplitBy, SplitPlan, ThresholdRule, TrainingFields, TrainingOptions};
use offprint::model::Task;
use offprint::paper::{self, LABEL_SEPARATOR, LabelKind};

use super::super::environment::is_typed;
use super::super::error::with_hint;
use super::super::user_error;
use super::args::{CalibrationName, SplitName, TrainArgs, UnknownLabels};
use super::kinds;

/// Field with the year where nobody names one.
const YEAR: &str = "year";

/// What is settled before anything is opened.
pub(super) struct Plan {
    /// Fields that the corpus carries along.
    pub keep: Vec<String>,
    pub fields: TrainingFields,
    pub split: SplitPlan,
    pub label_kind: LabelKind,
    pub objective: Option<Objective>,
    pub answers: AnswerPlan,
    pub unknown: UnknownRule,
    pub leaks: LeakOptions,
}

impl Plan {
    pub(super) fn new(args: &TrainArgs) -> Result<Self> {
        let task = args.kind.task.task();
        kinds::check_flags(&kinds::possible(args), task)?;
        if let (Some(kind), Some(task)) = (args.kind.kind, task) {
            kinds::check_task(kind, task)?;
        }
        for kind in kinds::possible(args) {
            kinds::strengths(&args.kind, kind)?;
        }
        kinds::check_tolerance(&args.kind)?;
        check_choice(args)?;
        let objective = objective(args, task)?;
        let (keep, fields) = fields(args);
        Ok(Self {
            keep,
            fields,
            split: split(args)?,
            label_kind: label_kind(args)?,
            objective,
            answers: answers(args, task)?,
            unknown: match args.labels.unknown_labels {
                UnknownLabels::Missed => UnknownRule::Missed,
                UnknownLabels::LeaveOut => UnknownRule::LeaveOut,
                UnknownLabels::Refuse => UnknownRule::Refuse,
            },
            leaks: leaks(args)?,
        })
    }

    /// How the set is made.
    pub(super) fn set(&self, args: &TrainArgs, dim: usize) -> TrainingOptions {
        TrainingOptions {
            task: args.kind.task.task(),
            separator: separator(args),
            fields: self.fields,
            split: self.split,
            ..TrainingOptions::new(dim, &args.labels.label)
        }
    }
}

/// A grid that stands behind a blank is a corpus to the command line.
pub(super) fn grid_taken_for_corpus(error: paper::Error) -> anyhow::Error {
    let paper::Error::NotFound { input } = &error else { return error.into() };
    let text = input.to_string_lossy().into_owned();
    let is_grid = text.split(',').all(|number| number.parse::<f64>().is_ok_and(f64::is_finite));
    match ["--c-grid", "--alpha-grid", "--neighbours-grid"].into_iter().find(|flag| is_typed(flag)) {
        Some(flag) if is_grid => with_hint(error, format!("a grid follows `=`, as in `{flag}={text}`")),
        _ => error.into(),
    }
}

fn fields(args: &TrainArgs) -> (Vec<String>, TrainingFields) {
    let mut keep: Vec<String> = Vec::new();
    let mut place = |field: Option<&str>| {
        field.map(|field| {
            keep.push(field.to_owned());
            keep.len() - 1
        })
    };
    let labels = &args.labels;
    let by_year = labels.split == Some(SplitName::Year);
    let fields = TrainingFields {
        group: place(labels.group_field.as_deref()),
        fold: place(labels.fold_field.as_deref()),
        weight: place(labels.weight_field.as_deref()),
        year: place(by_year.then_some(labels.year_field.as_deref().unwrap_or(YEAR))),
    };
    (keep, fields)
}

fn split(args: &TrainArgs) -> Result<SplitPlan> {
    let labels = &args.labels;
    let by = labels.split.map(|split| match split {
        SplitName::Random => SplitBy::Random,
        SplitName::Stratified => SplitBy::Stratified,
        SplitName::Group => SplitBy::Group,
        SplitName::Year => SplitBy::Year,
    });
    if by == Some(SplitBy::Group) && labels.group_field.is_none() {
        return Err(user_error("`--split group` is given without `--group-field`", "name the field with the groups"));
    }
    if by != Some(SplitBy::Year) && labels.year_field.is_some() && is_typed("--year-field") {
        return Err(user_error("`--year-field` is given without `--split year`", "leave it out, or split by year"));
    }
    let share = labels.split_share;
    if !(share > 0.0 && share < 1.0) {
        return Err(user_error(
            format!("`--split-share` is {share}, expected a number above 0 and below 1"),
            "0.2 holds a fifth out",
        ));
    }
    Ok(SplitPlan { by, share })
}

/// From which cosine on a row is in two parts.
fn leaks(args: &TrainArgs) -> Result<LeakOptions> {
    let text = args.labels.near_duplicates.as_str();
    let cosine = || text.parse::<f64>().ok().filter(|cosine| *cosine > 0.0 && *cosine <= 1.0);
    let threshold = match text {
        "off" => None,
        _ => Some(cosine().ok_or_else(|| {
            user_error(
                format!("`--near-duplicates` is `{text}`, expected a cosine above 0 and at most 1, or `off`"),
                "0.98 finds texts that differ by a few words",
            )
        })?),
    };
    Ok(LeakOptions { threshold, ..LeakOptions::default() })
}

fn separator(args: &TrainArgs) -> String {
    args.labels.label_separator.clone().unwrap_or_else(|| LABEL_SEPARATOR.to_owned())
}

/// A field that may be anything is read as it is; a separator says that there are several labels.
fn label_kind(args: &TrainArgs) -> Result<LabelKind> {
    let several = || LabelKind::Several { separator: separator(args) };
    match args.kind.task.task() {
        Some(Task::Multilabel) => Ok(several()),
        None if args.labels.label_separator.is_some() && is_typed("--label-separator") => Ok(several()),
        None => Ok(LabelKind::Any),
        Some(_) if args.labels.label_separator.is_some() && is_typed("--label-separator") => Err(user_error(
            "`--label-separator` is about several labels a row, and `--task` says otherwise",
            "leave it out, or `--task multilabel`",
        )),
        Some(Task::Classification) => Ok(LabelKind::One),
        Some(Task::Regression) => Ok(LabelKind::Numbers { count: 1 }),
    }
}

/// Refuses a rule of choosing where there is nothing to choose among.
fn check_choice(args: &TrainArgs) -> Result<()> {
    let kind = &args.kind;
    let has_grid = kind.c_grid.is_some() || kind.alpha_grid.is_some() || kind.neighbours_grid.is_some();
    if args.selection.one_standard_error && !has_grid && is_typed("--one-standard-error") {
        return Err(user_error(
            "`--one-standard-error` chooses among heads, and there is one",
            "add `--c-grid`, `--alpha-grid` or `--neighbours-grid`, or leave it out",
        ));
    }
    Ok(())
}

fn objective(args: &TrainArgs, task: Option<Task>) -> Result<Option<Objective>> {
    let objective: Option<Objective> = args.selection.objective.as_deref().map(str::parse).transpose()?;
    match (objective, task) {
        (Some(objective), Some(task)) if !objective.serves(task) => {
            Err(user_error(format!("`--objective {objective}` says nothing about {task}"), of_task(task)))
        }
        _ => Ok(objective),
    }
}

/// What a choice can go by.
pub(super) fn of_task(task: Task) -> String {
    let names: Vec<&str> =
        Objective::ALL.into_iter().filter(|objective| objective.serves(task)).map(Objective::name).collect();
    format!("objectives for {task} are {}", names.join(", "))
}

fn answers(args: &TrainArgs, task: Option<Task>) -> Result<AnswerPlan> {
    let flags = &args.answers;
    let given = [
        ("--calibration", flags.calibration.is_some()),
        ("--thresholds", flags.thresholds.is_some()),
        ("--conformal", flags.conformal.is_some()),
        ("--abstain", flags.abstain.is_some()),
    ];
    if let (Some(Task::Regression), Some((flag, _))) = (task, given.iter().find(|(_, given)| *given)) {
        return Err(user_error(format!("`{flag}` is about labels, and a regression gives numbers"), "leave it out"));
    }
    for (flag, share) in [("--conformal", flags.conformal), ("--abstain", flags.abstain)] {
        if let Some(share) = share.filter(|share| !(*share > 0.0 && *share < 1.0)) {
            return Err(user_error(
                format!("`{flag}` is {share}, expected a number above 0 and below 1"),
                "0.1 is a common choice",
            ));
        }
    }
    let thresholds: Option<ThresholdRule> = flags.thresholds.as_deref().map(str::parse).transpose()?;
    Ok(AnswerPlan {
        calibrate: flags.calibration.map(|name| match name {
            CalibrationName::Temperature => CalibrationMethod::Temperature,
            CalibrationName::Platt => CalibrationMethod::Platt,
            CalibrationName::Isotonic => CalibrationMethod::Isotonic,
        }),
        thresholds,
        conformal: flags.conformal,
        abstain: flags.abstain,
    })
}
