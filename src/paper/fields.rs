//! Which field of a row is what, and the rules that make a row a paper or a rejection.
//!
//! Formats hand over values by position in [`FieldPlan::names`]; only this file knows what they mean. A row never ends
//! here without a verdict, and each reason names the field, what it holds and what was expected.

use serde_json::Value;

use super::{Origin, Paper, PaperText, Rejection, Row};

/// Names tried, in this order, where [`FieldMap::id`] is `None`.
const AUTO_IDS: [&str; 5] = ["doc_id", "paper_id", "corpus_id", "corpusid", "id"];

/// Which field of a row is what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldMap {
    /// The id; `None` tries doc_id, paper_id, corpus_id, corpusid and id, and falls back to `row:<n>`, where n counts
    /// all rows of the corpus from 1.
    pub id: Option<String>,
    /// The title.
    pub title: String,
    /// The abstract.
    pub abstract_text: String,
    /// A text that is used as it is, in place of title and abstract.
    pub text: Option<String>,
    /// The label: text, integer or boolean; null and the empty text are no label.
    pub label: Option<String>,
    /// The split; a row may lack it.
    pub split: String,
    /// Fields carried along unchanged.
    pub keep: Vec<String>,
}

impl Default for FieldMap {
    fn default() -> Self {
        Self {
            id: None,
            title: "title".to_owned(),
            abstract_text: "abstract".to_owned(),
            text: None,
            label: None,
            split: "split".to_owned(),
            keep: Vec::new(),
        }
    }
}

/// Positions in [`FieldPlan::names`].
#[derive(Debug)]
enum IdPlan {
    Named(usize),
    FirstOf(Vec<usize>),
}

#[derive(Debug)]
enum TextPlan {
    Plain(usize),
    TitleAbstract(usize, usize),
}

/// A [`FieldMap`] as a list of distinct names, so that a reader looks each field up once.
#[derive(Debug)]
pub(super) struct FieldPlan {
    names: Vec<String>,
    /// Whether a list or an object is wanted with its content (kept fields), or only to be refused.
    whole: Vec<bool>,
    /// Fields that the user named, which some row must therefore have.
    asked: Vec<usize>,
    id: IdPlan,
    text: TextPlan,
    label: Option<usize>,
    split: usize,
    keep: Vec<usize>,
}

impl FieldPlan {
    pub(super) fn new(fields: &FieldMap) -> Self {
        let mut names = Vec::new();
        let mut place = |name: &str| position_or_push(&mut names, name);
        let id = match &fields.id {
            Some(name) => IdPlan::Named(place(name)),
            None => IdPlan::FirstOf(AUTO_IDS.iter().map(|name| place(name)).collect()),
        };
        let text = match &fields.text {
            Some(name) => TextPlan::Plain(place(name)),
            None => TextPlan::TitleAbstract(place(&fields.title), place(&fields.abstract_text)),
        };
        let label = fields.label.as_deref().map(&mut place);
        let split = place(&fields.split);
        let keep: Vec<usize> = fields.keep.iter().map(|name| place(name)).collect();
        let mut whole = vec![false; names.len()];
        keep.iter().for_each(|&at| whole[at] = true);
        let mut plan = Self { names, whole, asked: Vec::new(), id, text, label, split, keep };
        plan.asked = plan.asked_by(fields);
        plan
    }

    /// Positions of the names that differ from the defaults.
    fn asked_by(&self, fields: &FieldMap) -> Vec<usize> {
        let defaults = FieldMap::default();
        let mut asked = self.keep.clone();
        asked.extend(self.label);
        match self.text {
            TextPlan::Plain(at) => asked.push(at),
            TextPlan::TitleAbstract(title, abstract_text) => {
                asked.extend((fields.title != defaults.title).then_some(title));
                asked.extend((fields.abstract_text != defaults.abstract_text).then_some(abstract_text));
            }
        }
        if let IdPlan::Named(at) = self.id {
            asked.push(at);
        }
        asked.extend((fields.split != defaults.split).then_some(self.split));
        asked.sort_unstable();
        asked.dedup();
        asked
    }

    /// The distinct names to read, in the order in which [`FieldPlan::row`] takes their values.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether the content of a list or an object at `at` is carried along.
    pub(super) fn whole(&self, at: usize) -> bool {
        self.whole[at]
    }

    /// Positions of the fields that the user named.
    pub(super) fn asked(&self) -> &[usize] {
        &self.asked
    }

    /// Positions of title and abstract, where they are the text.
    pub(super) fn title_and_abstract(&self) -> Option<(usize, usize)> {
        match self.text {
            TextPlan::Plain(_) => None,
            TextPlan::TitleAbstract(title, abstract_text) => Some((title, abstract_text)),
        }
    }

    /// The verdict on one row: `cells` has one value per name, `number` counts the rows of the corpus from 1.
    pub(super) fn row(&self, mut cells: Vec<Option<Value>>, origin: Origin, number: u64) -> Row {
        let kept = self.keep.iter().map(|&at| cells[at].clone()).collect();
        let id = match self.id_of(&cells, number) {
            Ok(id) => id,
            Err(reason) => return Row::Rejected(Rejection { origin, id: None, reason }),
        };
        let label = self.label.map_or(Ok(None), |at| self.label_of(at, &cells[at]));
        let split = self.label_of(self.split, &cells[self.split]);
        let verdict = label.and_then(|label| Ok((label, split?, self.text_of(&mut cells)?)));
        match verdict {
            Ok((label, split, text)) => Row::Paper(Paper { id, origin, text, label, split, kept }),
            Err(reason) => Row::Rejected(Rejection { origin, id: Some(id), reason }),
        }
    }

    fn id_of(&self, cells: &[Option<Value>], number: u64) -> Result<String, String> {
        match &self.id {
            IdPlan::Named(at) => match self.id_at(*at, &cells[*at])? {
                Some(id) => Ok(id),
                None => Err(self.refusal(*at, &cells[*at], "an id")),
            },
            IdPlan::FirstOf(places) => {
                for &at in places {
                    if let Some(id) = self.id_at(at, &cells[at])? {
                        return Ok(id);
                    }
                }
                Ok(format!("row:{number}"))
            }
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

    /// Label or split: what takes one of a few values.
    fn label_of(&self, at: usize, cell: &Option<Value>) -> Result<Option<String>, String> {
        match cell {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok((!text.is_empty()).then(|| text.clone())),
            Some(Value::Bool(truth)) => Ok(Some(truth.to_string())),
            Some(Value::Number(number)) if !number.is_f64() => Ok(Some(number.to_string())),
            _ => Err(self.refusal(at, cell, "text, an integer or a boolean")),
        }
    }

    fn text_of(&self, cells: &mut [Option<Value>]) -> Result<PaperText, String> {
        match self.text {
            TextPlan::Plain(at) => match cells[at].take() {
                Some(Value::String(text)) => Ok(PaperText::Plain(text)),
                other => Err(self.refusal(at, &other, "text")),
            },
            TextPlan::TitleAbstract(title, abstract_text) => {
                if cells[title].is_none() && cells[abstract_text].is_none() {
                    let (title, abstract_text) = (&self.names[title], &self.names[abstract_text]);
                    return Err(format!("the row has neither `{title}` nor `{abstract_text}`, expected one of them"));
                }
                // Title and abstract may be one field, so the first must not take what the second reads.
                let same = title == abstract_text;
                let first = if same { cells[title].clone() } else { cells[title].take() };
                let second = cells[abstract_text].take();
                Ok(PaperText::TitleAbstract {
                    title: self.text_or_missing(title, first)?,
                    abstract_text: self.text_or_missing(abstract_text, second)?,
                })
            }
        }
    }

    fn text_or_missing(&self, at: usize, cell: Option<Value>) -> Result<Option<String>, String> {
        match cell {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            other => Err(self.refusal(at, &other, "text")),
        }
    }

    fn refusal(&self, at: usize, cell: &Option<Value>, expected: &str) -> String {
        format!("`{}` is {}, expected {expected}", self.names[at], kind_of(cell))
    }
}

fn position_or_push(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

fn kind_of(cell: &Option<Value>) -> &'static str {
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
