//! What the labels of all rows mean together: the task, the numbers of classes and labels, and labels that look alike.
//! Knows texts, no vectors. Invariant: names that `train` rows have come first, in their order, so that a head's columns
//! don't depend on what else is measured.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ndarray::Array2;

use super::Classes;
use super::sink::TrainingOptions;
use crate::heads::error::{Error, SetError};
use crate::heads::trainer::Targets;
use crate::model::Task;
use crate::paper::{Label, labels_in};

/// What decided about the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskReason {
    /// The user.
    Asked,
    /// Some row has a list: several labels.
    Lists,
    /// All labels are numbers, some of them fractions: a regression.
    Fractions,
    /// Neither: one label of several.
    Texts,
}

impl fmt::Display for TaskReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "as asked for",
            Self::Lists => "the field has lists",
            Self::Fractions => "the field has numbers, with fractions",
            Self::Texts => "the field has one label a row",
        })
    }
}

/// Two labels that differ by case or blanks alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookAlike {
    /// Both, each with the number of its `train` rows; the second may have none.
    pub labels: [(String, usize); 2],
}

/// What is right for each row, as text or numbers.
#[derive(Debug)]
pub(super) enum Truths {
    Texts(Vec<String>),
    Lists(Vec<Vec<String>>),
    Numbers(Vec<f64>),
}

/// Labels with their numbers.
pub(super) struct Numbered {
    pub targets: Targets,
    pub classes: Classes,
    pub look_alikes: Vec<LookAlike>,
}

/// Decides what the labels are, where nobody has, and reads them so.
///
/// # Errors
/// Labels that are none for the task that was asked for.
pub(super) fn read(
    options: &TrainingOptions,
    labels: Vec<Label>,
    ids: &[String],
) -> Result<(Truths, TaskReason), SetError> {
    let (task, reason) = options.task.map_or_else(|| decide(&labels), |task| (task, TaskReason::Asked));
    let pairs = labels.into_iter().zip(ids);
    let unfit = |id: &str, expected| SetError::RowField {
        id: id.to_owned(),
        what: "label",
        got: "others".to_owned(),
        expected,
    };
    let truths = match task {
        Task::Classification => Truths::Texts(
            pairs
                .map(|(label, id)| match label {
                    Label::One(text) => Ok(text),
                    _ => Err(unfit(id, "one label")),
                })
                .collect::<Result<_, SetError>>()?,
        ),
        Task::Multilabel => Truths::Lists(
            pairs
                .map(|(label, id)| match label {
                    Label::Several(labels) => Ok(labels),
                    Label::One(text) => labels_in(&text, &options.separator).map_err(|_| unfit(id, "fewer labels")),
                    Label::Numbers(_) => Err(unfit(id, "labels")),
                })
                .collect::<Result<_, SetError>>()?,
        ),
        Task::Regression => Truths::Numbers(
            pairs
                .map(|(label, id)| match &label {
                    Label::Numbers(numbers) if numbers.len() == 1 => Ok(numbers[0]),
                    Label::One(text) => number(text).ok_or_else(|| unfit(id, "a number")),
                    _ => Err(unfit(id, "one number")),
                })
                .collect::<Result<_, SetError>>()?,
        ),
    };
    Ok((truths, reason))
}

fn decide(labels: &[Label]) -> (Task, TaskReason) {
    if labels.iter().any(|label| matches!(label, Label::Several(_))) {
        return (Task::Multilabel, TaskReason::Lists);
    }
    let numbers: Option<Vec<f64>> = labels
        .iter()
        .map(|label| match label {
            Label::One(text) => number(text),
            Label::Numbers(numbers) => numbers.first().copied(),
            Label::Several(_) => None,
        })
        .collect();
    match numbers {
        Some(numbers) if numbers.iter().any(|number| number.fract() != 0.0) => {
            (Task::Regression, TaskReason::Fractions)
        }
        _ => (Task::Classification, TaskReason::Texts),
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// Gives classes and labels their numbers; `trains` says which rows are to be fitted on.
///
/// # Errors
/// `train` rows that all have the same class or number, or no label at all.
pub(super) fn numbered(options: &TrainingOptions, truths: Truths, trains: &[bool]) -> Result<Numbered, Error> {
    let rows = trains.iter().filter(|&&trains| trains).count();
    match truths {
        Truths::Texts(texts) => {
            let (classes, numbers, look_alikes) = number_names(&texts, trains, |text| std::slice::from_ref(text));
            if let [label] = &classes.names[..classes.trained] {
                return Err(SetError::OneLabel { label: label.clone(), rows }.into());
            }
            let of = texts.iter().map(|text| numbers[text]).collect();
            let targets = Targets::Classes { of, classes: classes.names.len() };
            Ok(Numbered { targets, classes, look_alikes })
        }
        Truths::Lists(lists) => {
            let (classes, numbers, look_alikes) = number_names(&lists, trains, Vec::as_slice);
            if classes.trained == 0 {
                return Err(SetError::NoLabelsInTrain { rows }.into());
            }
            let of_row = |list: &Vec<String>| {
                let numbers: BTreeSet<usize> = list.iter().map(|label| numbers[label]).collect();
                numbers.into_iter().collect()
            };
            let targets = Targets::Labels { of: lists.iter().map(of_row).collect(), labels: classes.names.len() };
            Ok(Numbered { targets, classes, look_alikes })
        }
        Truths::Numbers(values) => {
            let mut train = values.iter().zip(trains).filter(|(_, trains)| **trains).map(|(value, _)| *value);
            let first = train.next();
            if let Some(value) = first.filter(|first| train.all(|value| value == *first)) {
                return Err(Error::ConstantTarget { target: 0, value, rows });
            }
            let shape = (values.len(), 1);
            let targets = Targets::Numbers(Array2::from_shape_vec(shape, values).expect("one number a row"));
            let classes = Classes { names: vec![options.field.clone()], trained: 1 };
            Ok(Numbered { targets, classes, look_alikes: Vec::new() })
        }
    }
}

/// All names, those of `train` rows first, with their numbers.
fn number_names<T>(
    rows: &[T],
    trains: &[bool],
    names_of: impl Fn(&T) -> &[String],
) -> (Classes, BTreeMap<String, usize>, Vec<LookAlike>) {
    let mut trained: BTreeMap<&String, usize> = BTreeMap::new();
    for (row, _) in rows.iter().zip(trains).filter(|(_, trains)| **trains) {
        names_of(row).iter().for_each(|name| *trained.entry(name).or_default() += 1);
    }
    let others: BTreeSet<&String> =
        rows.iter().flat_map(&names_of).filter(|name| !trained.contains_key(name)).collect();
    let look_alikes = look_alikes(&trained, &others);
    let names: Vec<String> = trained.keys().copied().chain(others).cloned().collect();
    let numbers = names.iter().enumerate().map(|(number, name)| (name.clone(), number)).collect();
    (Classes { trained: trained.len(), names }, numbers, look_alikes)
}

/// Labels that are the same without case and blanks: of `train` rows, then of others and such. Of two that no `train` row
/// has nothing is lost, as neither can be given.
fn look_alikes(rows_of: &BTreeMap<&String, usize>, others: &BTreeSet<&String>) -> Vec<LookAlike> {
    let plain = |name: &str| name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let mut first_of: BTreeMap<String, (&String, usize)> = BTreeMap::new();
    let mut found = Vec::new();
    for (&name, &rows) in rows_of {
        match first_of.entry(plain(name)) {
            std::collections::btree_map::Entry::Vacant(place) => _ = place.insert((name, rows)),
            std::collections::btree_map::Entry::Occupied(place) => {
                let &(first, of_first) = place.get();
                found.push(LookAlike { labels: [(first.clone(), of_first), (name.clone(), rows)] });
            }
        }
    }
    for &name in others {
        if let Some(&(first, of_first)) = first_of.get(&plain(name)) {
            found.push(LookAlike { labels: [(first.clone(), of_first), (name.clone(), 0)] });
        }
    }
    found
}
