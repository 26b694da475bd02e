//! Which field of a row is what, and the rules that make a row a paper or a rejection.
//!
//! Formats hand over values by position in [`FieldPlan::names`]; only this file knows what they mean. A row never ends
//! here without a verdict, and each reason names the field, what it holds and what was expected.

use serde_json::Value;

use super::labels::{Label, LabelKind, any, numbers, several, short_text};
use super::names::NameTree;
use super::schema::{LabelRule, Mapping, Schema, TextFields, TextRule, label, text};
use super::{Origin, Paper, PaperText, Rejection, Row};

/// Names tried, in this order, where [`FieldMap::id`] is `None`.
const AUTO_IDS: [&str; 5] = ["doc_id", "paper_id", "corpus_id", "corpusid", "id"];

const TITLE: &str = "title";
const ABSTRACT: &str = "abstract";
const SPLIT: &str = "split";

/// Which field of a row is what. A name with points, `paper.title`, is the field `title` in the object or struct
/// `paper`, unless a field is called `paper.title`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldMap {
    /// The id; `None` tries doc_id, paper_id, corpus_id, corpusid and id, and falls back to `row:<n>`, where n counts
    /// all rows of the corpus from 1.
    pub id: Option<String>,
    /// The title; `None` is `title`.
    pub title: Option<String>,
    /// The abstract; `None` is `abstract`.
    pub abstract_text: Option<String>,
    /// A text that is used as it is, in place of title and abstract.
    pub text: Option<String>,
    /// The fields with labels, each of the kind [`super::Corpus::with_label_kinds`] says: one label unless it is called.
    /// A name that the schema offers is what the schema says.
    pub labels: Vec<String>,
    /// The split; a row may lack it. `None` is `split`.
    pub split: Option<String>,
    /// The name of the encoder's adapter that a row goes through; a row may lack it. Rows have none without it.
    pub adapter: Option<String>,
    /// Fields carried along unchanged.
    pub keep: Vec<String>,
}

/// Positions in [`FieldPlan::names`].
#[derive(Debug, Clone)]
struct IdPlan {
    places: Vec<usize>,
    /// Whether a row without an id is numbered; else it is rejected.
    numbered: bool,
}

#[derive(Debug, Clone)]
struct TextPlace {
    /// The first that has a text counts.
    places: Vec<usize>,
    rule: TextRule,
}

#[derive(Debug, Clone)]
enum TextPlan {
    Plain(usize),
    TitleAbstract(TextPlace, TextPlace),
}

#[derive(Debug, Clone)]
struct LabelPlan {
    places: Vec<usize>,
    rule: LabelRule,
    kind: LabelKind,
}

/// A [`FieldMap`] as a list of distinct names, so that a reader looks each field up once.
#[derive(Debug, Clone)]
pub(super) struct FieldPlan {
    names: Vec<String>,
    tree: NameTree,
    /// Whether a list or an object is wanted with its content, or only to be refused.
    whole: Vec<bool>,
    /// Fields that the user or the schema named; of each group some row must have one.
    asked: Vec<Vec<usize>>,
    id: IdPlan,
    text: TextPlan,
    labels: Vec<LabelPlan>,
    split: usize,
    adapter: Option<usize>,
    keep: Vec<usize>,
}

/// The distinct names that are met while a plan is made.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    fn place(&mut self, name: &str) -> usize {
        self.0.iter().position(|known| known == name).unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        })
    }

    fn places(&mut self, names: &[&str]) -> Vec<usize> {
        names.iter().map(|name| self.place(name)).collect()
    }

    fn id(&mut self, given: Option<&str>, mapping: Option<&Mapping>) -> IdPlan {
        match (given, mapping) {
            (Some(name), _) => IdPlan { places: vec![self.place(name)], numbered: false },
            (None, Some(mapping)) => IdPlan { places: self.places(mapping.ids), numbered: false },
            (None, None) => IdPlan { places: self.places(&AUTO_IDS), numbered: true },
        }
    }

    fn text(&mut self, given: Option<&str>, fields: Option<&TextFields>, default: &str) -> TextPlace {
        match (given, fields) {
            (None, Some(fields)) => TextPlace { places: self.places(fields.names), rule: fields.rule },
            (name, _) => TextPlace { places: vec![self.place(name.unwrap_or(default))], rule: TextRule::AsIs },
        }
    }

    fn label(&mut self, name: &str, mapping: Option<&Mapping>) -> LabelPlan {
        let (places, rule) = match mapping.and_then(|mapping| mapping.labels.iter().find(|label| label.name == name)) {
            Some(label) => (self.places(label.names), label.rule),
            None => (vec![self.place(name)], LabelRule::Value),
        };
        LabelPlan { places, rule, kind: LabelKind::One }
    }
}

impl FieldPlan {
    pub(super) fn new(fields: &FieldMap, schema: Option<Schema>) -> Self {
        let mapping = schema.map(Schema::mapping);
        let mut names = Names::default();
        let id = names.id(fields.id.as_deref(), mapping);
        let text = match &fields.text {
            Some(name) => TextPlan::Plain(names.place(name)),
            None => TextPlan::TitleAbstract(
                names.text(fields.title.as_deref(), mapping.map(|mapping| &mapping.title), TITLE),
                names.text(fields.abstract_text.as_deref(), mapping.map(|mapping| &mapping.abstract_text), ABSTRACT),
            ),
        };
        let labels = fields.labels.iter().map(|name| names.label(name, mapping)).collect();
        let split = names.place(fields.split.as_deref().unwrap_or(SPLIT));
        let adapter = fields.adapter.as_deref().map(|name| names.place(name));
        let keep: Vec<usize> = fields.keep.iter().map(|name| names.place(name)).collect();
        let Names(names) = names;
        let tree = NameTree::new(&names);
        let whole = vec![false; names.len()];
        let mut plan = Self { names, tree, whole, asked: Vec::new(), id, text, labels, split, adapter, keep };
        plan.mark_whole();
        plan.asked = plan.asked_by(fields);
        plan
    }

    /// The same with these kinds of labels, one for each.
    pub(super) fn with_label_kinds(&self, kinds: Vec<LabelKind>) -> Self {
        let mut plan = self.clone();
        for (label, kind) in plan.labels.iter_mut().zip(kinds) {
            label.kind = kind;
        }
        plan.mark_whole();
        plan
    }

    fn mark_whole(&mut self) {
        let mut whole = self.keep.clone();
        if let TextPlan::TitleAbstract(title, abstract_text) = &self.text {
            for text in [title, abstract_text].into_iter().filter(|text| text.rule.is_whole()) {
                whole.extend(&text.places);
            }
        }
        let is_whole = |label: &&LabelPlan| label.rule.is_whole() || label.kind != LabelKind::One;
        whole.extend(self.labels.iter().filter(is_whole).flat_map(|label| &label.places));
        whole.into_iter().for_each(|at| self.whole[at] = true);
    }

    /// Positions of the names that somebody asked for.
    fn asked_by(&self, fields: &FieldMap) -> Vec<Vec<usize>> {
        let mut asked: Vec<Vec<usize>> = self.keep.iter().map(|&at| vec![at]).collect();
        asked.extend(self.labels.iter().map(|label| label.places.clone()));
        match &self.text {
            TextPlan::Plain(at) => asked.push(vec![*at]),
            TextPlan::TitleAbstract(title, abstract_text) => {
                let named = |name: &Option<String>, default| name.as_deref().is_some_and(|name| name != default);
                asked.extend(named(&fields.title, TITLE).then(|| title.places.clone()));
                asked.extend(named(&fields.abstract_text, ABSTRACT).then(|| abstract_text.places.clone()));
            }
        }
        if !self.id.numbered {
            asked.push(self.id.places.clone());
        }
        asked.extend(self.adapter.map(|at| vec![at]));
        asked.extend(fields.split.as_deref().is_some_and(|name| name != SPLIT).then(|| vec![self.split]));
        asked.sort_unstable();
        asked.dedup();
        asked
    }

    /// The distinct names to read, in the order in which [`FieldPlan::row`] takes their values.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The same as a tree of keys.
    pub(super) fn tree(&self) -> &NameTree {
        &self.tree
    }

    /// Whether the content of a list or an object at `at` is wanted.
    pub(super) fn whole(&self, at: usize) -> bool {
        self.whole[at]
    }

    /// Positions of the fields that were named; one of each group must be there.
    pub(super) fn asked(&self) -> &[Vec<usize>] {
        &self.asked
    }

    /// Positions of title and abstract, where they are the text.
    pub(super) fn title_and_abstract(&self) -> Option<(&[usize], &[usize])> {
        match &self.text {
            TextPlan::Plain(_) => None,
            TextPlan::TitleAbstract(title, abstract_text) => Some((&title.places, &abstract_text.places)),
        }
    }

    /// Names at these positions, as a message has them between its backticks.
    pub(super) fn named(&self, places: &[usize]) -> String {
        places.iter().map(|&at| self.names[at].as_str()).collect::<Vec<_>>().join("` or `")
    }

    /// The verdict on one row: `cells` has one value per name, `number` counts the rows of the corpus from 1.
    pub(super) fn row(&self, mut cells: Vec<Option<Value>>, origin: Origin, number: u64) -> Row {
        let kept = self.keep.iter().map(|&at| cells[at].clone()).collect();
        let id = match self.id_of(&cells, number) {
            Ok(id) => id,
            Err(reason) => return Row::Rejected(Rejection { origin, id: None, reason }),
        };
        let labels = self.labels.iter().map(|plan| self.label_of(plan, &cells)).collect::<Result<_, _>>();
        let split = self.short_value(self.split, &cells[self.split]);
        let adapter = self.adapter.map_or(Ok(None), |at| self.short_value(at, &cells[at]));
        let verdict = labels.and_then(|labels| Ok((labels, split?, adapter?, self.text_of(&mut cells)?)));
        match verdict {
            Ok((labels, split, adapter, text)) => Row::Paper(Paper { id, origin, text, labels, split, adapter, kept }),
            Err(reason) => Row::Rejected(Rejection { origin, id: Some(id), reason }),
        }
    }

    fn id_of(&self, cells: &[Option<Value>], number: u64) -> Result<String, String> {
        for &at in &self.id.places {
            if let Some(id) = self.id_at(at, &cells[at])? {
                return Ok(id);
            }
        }
        match &self.id.places[..] {
            _ if self.id.numbered => Ok(format!("row:{number}")),
            [at] => Err(self.refusal(*at, &cells[*at], "an id")),
            places => Err(format!("`{}` is missing, expected an id", self.named(places))),
        }
    }

    /// `None` where the field is absent, null or empty.
    fn id_at(&self, at: usize, cell: &Option<Value>) -> Result<Option<String>, String> {
        match cell {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok((!text.is_empty()).then(|| text.clone())),
            Some(Value::Number(number)) if !number.is_f64() => Ok(Some(number.to_string())),
            _ => Err(self.refusal(at, cell, "text or an integer")),
        }
    }

    fn label_of(&self, plan: &LabelPlan, cells: &[Option<Value>]) -> Result<Option<Label>, String> {
        let Some((at, value)) = first_of(&plan.places, cells) else { return Ok(None) };
        let named = |wrong: String| format!("`{}` {wrong}", self.names[at]);
        match &plan.kind {
            LabelKind::Several { separator } => several(plan.rule, value, separator).map_err(named),
            LabelKind::Numbers { count } => numbers(value, *count).map_err(named),
            LabelKind::Any if plan.rule == LabelRule::Value => any(value).map_err(named),
            LabelKind::One | LabelKind::Any => match label(plan.rule, value) {
                Ok(value) => Ok(self.short_value(at, &Some(value))?.map(Label::One)),
                Err(expected) => Err(self.refusal(at, &cells[at], expected)),
            },
        }
    }

    /// Label, split or adapter: what takes one of a few values.
    fn short_value(&self, at: usize, cell: &Option<Value>) -> Result<Option<String>, String> {
        let Some(value) = cell else { return Ok(None) };
        short_text(value).ok_or_else(|| self.refusal(at, cell, "text, an integer or a boolean"))
    }

    fn text_of(&self, cells: &mut [Option<Value>]) -> Result<PaperText, String> {
        match &self.text {
            TextPlan::Plain(at) => match cells[*at].take() {
                Some(Value::String(text)) => Ok(PaperText::Plain(text)),
                other => Err(self.refusal(*at, &other, "text")),
            },
            TextPlan::TitleAbstract(title, abstract_text) => {
                let is_there = |text: &TextPlace| first_of(&text.places, cells).is_some();
                if !is_there(title) && !is_there(abstract_text) {
                    let (title, abstract_text) = (self.named(&title.places), self.named(&abstract_text.places));
                    return Err(format!("the row has neither `{title}` nor `{abstract_text}`, expected one of them"));
                }
                // Title and abstract may be one field, so the first must not take what the second reads.
                let same = title.places.iter().any(|at| abstract_text.places.contains(at));
                Ok(PaperText::TitleAbstract {
                    title: self.text_at(title, cells, same)?,
                    abstract_text: self.text_at(abstract_text, cells, false)?,
                })
            }
        }
    }

    fn text_at(&self, plan: &TextPlace, cells: &mut [Option<Value>], stays: bool) -> Result<Option<String>, String> {
        let Some((at, _)) = first_of(&plan.places, cells) else { return Ok(None) };
        let cell = if stays { cells[at].clone() } else { cells[at].take() };
        text(plan.rule, cell.unwrap_or_default()).map_err(|(met, expected)| self.refusal(at, &Some(met), expected))
    }

    fn refusal(&self, at: usize, cell: &Option<Value>, expected: &str) -> String {
        format!("`{}` is {}, expected {expected}", self.names[at], kind_of(cell.as_ref()))
    }
}

/// The first of these fields that is there and not null.
fn first_of<'a>(places: &[usize], cells: &'a [Option<Value>]) -> Option<(usize, &'a Value)> {
    places.iter().find_map(|&at| cells[at].as_ref().filter(|value| !value.is_null()).map(|value| (at, value)))
}

/// What a value is, in words.
pub(super) fn kind_of(cell: Option<&Value>) -> &'static str {
    match cell {
        None => "missing",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Number(number)) if number.is_f64() => "a fraction",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(text)) if text.is_empty() => "empty",
        Some(Value::String(_)) => "text",
        Some(Value::Array(_)) => "a list",
        Some(Value::Object(_)) => "an object",
    }
}
