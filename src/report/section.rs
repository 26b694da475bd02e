//! The building blocks of a report: sections, their parts, and the cells in them.
//!
//! Names are what machines look up and people read (`f1_macro`), so there is one word per thing. Numbers stay numbers
//! until the page is rendered.

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::ordered;

/// One value. In JSON it is `null`, a number or a string.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// Not measured, or not a number.
    Missing,
    /// A whole number, shown with thousands separators.
    Count(i64),
    /// A finite number, shown with about four significant digits.
    Number(f64),
    /// Text, shown as it is.
    Text(String),
}

impl From<f64> for Cell {
    /// Infinities and NaN are [`Cell::Missing`]: JSON has no word for them.
    fn from(value: f64) -> Self {
        if value.is_finite() { Self::Number(value) } else { Self::Missing }
    }
}

impl From<u64> for Cell {
    /// Counts beyond the range of a signed integer become the nearest float.
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Number(value as f64), Self::Count)
    }
}

impl From<usize> for Cell {
    fn from(value: usize) -> Self {
        Self::from(value as u64)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}

/// One line of a bar list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bar {
    /// What is measured.
    pub label: String,
    /// How much, in the unit of the list; a negative bar is drawn in the other colour.
    pub value: Cell,
}

/// A piece of a section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Part {
    /// Names and values, one pair a line.
    Facts {
        /// In reading order; a name occurs once.
        #[serde(with = "ordered")]
        facts: Vec<(String, Cell)>,
    },
    /// Rows under named columns.
    Table {
        /// Column names.
        columns: Vec<String>,
        /// Each as long as `columns`.
        rows: Vec<Vec<Cell>>,
    },
    /// How often a paper of one class (row) was given a label (column).
    Confusion {
        /// Class names, in the order of rows and of columns.
        labels: Vec<String>,
        /// One row per true class, one value per predicted class.
        counts: Vec<Vec<u64>>,
    },
    /// Bars to compare at a glance.
    Bars {
        /// Shown after each value; may be empty.
        unit: String,
        /// In reading order.
        bars: Vec<Bar>,
    },
    /// A paragraph of plain text.
    Note {
        /// Shown as it is.
        text: String,
    },
}

/// A titled stretch of the page, made of parts in reading order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// What machines look it up by, unique within a report.
    pub name: String,
    /// Its heading.
    pub title: String,
    /// What it shows.
    pub parts: Vec<Part>,
}

impl Section {
    /// A section without parts.
    pub fn new(name: impl Into<String>, title: impl Into<String>) -> Self {
        Self { name: name.into(), title: title.into(), parts: Vec::new() }
    }

    /// Adds names and values.
    #[must_use]
    pub fn facts<N: Into<String>>(self, facts: impl IntoIterator<Item = (N, Cell)>) -> Self {
        let facts = facts.into_iter().map(|(name, value)| (name.into(), value)).collect();
        self.part(Part::Facts { facts })
    }

    /// Adds a table; every row has one cell per column.
    #[must_use]
    pub fn table<N: Into<String>>(self, columns: impl IntoIterator<Item = N>, rows: Vec<Vec<Cell>>) -> Self {
        self.part(Part::Table { columns: columns.into_iter().map(Into::into).collect(), rows })
    }

    /// Adds a confusion matrix; `counts[truth][predicted]`, square, in the order of `labels`.
    #[must_use]
    pub fn confusion(self, labels: Vec<String>, counts: Vec<Vec<u64>>) -> Self {
        self.part(Part::Confusion { labels, counts })
    }

    /// Adds bars that share a unit.
    #[must_use]
    pub fn bars<N: Into<String>>(self, unit: impl Into<String>, bars: impl IntoIterator<Item = (N, f64)>) -> Self {
        let bars = bars.into_iter().map(|(label, value)| Bar { label: label.into(), value: value.into() }).collect();
        self.part(Part::Bars { unit: unit.into(), bars })
    }

    /// Adds a paragraph.
    #[must_use]
    pub fn note(self, text: impl Into<String>) -> Self {
        self.part(Part::Note { text: text.into() })
    }

    fn part(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    /// Refuses tables and matrices whose rows differ in length, and matrices that are not square.
    pub(super) fn check(&self) -> Result<(), Error> {
        for part in &self.parts {
            match part {
                Part::Table { columns, rows } => self.same_length("table", rows, columns.len())?,
                Part::Confusion { labels, counts } => {
                    self.same_length("matrix", counts, labels.len())?;
                    if counts.len() != labels.len() {
                        return Err(self.shape("matrix rows".to_owned(), counts.len(), labels.len()));
                    }
                }
                Part::Facts { .. } | Part::Bars { .. } | Part::Note { .. } => {}
            }
        }
        Ok(())
    }

    fn same_length<T>(&self, what: &str, rows: &[Vec<T>], expected: usize) -> Result<(), Error> {
        match rows.iter().position(|row| row.len() != expected) {
            Some(at) => Err(self.shape(format!("values in {what} row {}", at + 1), rows[at].len(), expected)),
            None => Ok(()),
        }
    }

    fn shape(&self, what: String, got: usize, expected: usize) -> Error {
        Error::Shape { section: self.name.clone(), what, got, expected }
    }
}
