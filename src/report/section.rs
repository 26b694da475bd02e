//! The building blocks of a report: sections, what they show, and the cells in them.
//!
//! Names are what machines look up and people read (`f1_macro`), so there is one word per thing. Numbers that come as
//! numbers stay numbers until the page is rendered.

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::ordered;
use super::plot::{Axis, Series};

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
    /// How much; a negative bar is drawn in the other colour.
    pub value: Cell,
}

/// What a section shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Body {
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
        /// In reading order.
        bars: Vec<Bar>,
    },
    /// Numbers against numbers.
    Plot {
        /// The lower axis.
        x: Axis,
        /// The left axis.
        y: Axis,
        /// In the order of the legend.
        series: Vec<Series>,
    },
    /// Points that are not joined: a map, on which only what lies near what counts.
    Scatter {
        /// The lower axis.
        x: Axis,
        /// The left axis.
        y: Axis,
        /// In the order of the legend.
        series: Vec<Series>,
    },
    /// A paragraph of plain text.
    Note {
        /// Shown as it is.
        text: String,
    },
}

/// A titled stretch of the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// What machines look it up by: the title in lower case, words joined by `_`.
    pub name: String,
    /// Its heading.
    pub title: String,
    /// What it shows.
    #[serde(flatten)]
    pub body: Body,
}

impl Section {
    /// Names and values.
    pub fn facts<N, V>(title: &str, facts: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<Cell>,
    {
        let facts = facts.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self::new(title, Body::Facts { facts })
    }

    /// A table; every row has one cell per column.
    pub fn table<V: Into<Cell>>(title: &str, columns: &[&str], rows: Vec<Vec<V>>) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        let rows = rows.into_iter().map(|row| row.into_iter().map(Into::into).collect()).collect();
        Self::new(title, Body::Table { columns, rows })
    }

    /// A confusion matrix: `counts[truth][predicted]`, square, in the order of `labels`.
    pub fn confusion(title: &str, labels: &[String], counts: &[Vec<u64>]) -> Self {
        Self::new(title, Body::Confusion { labels: labels.to_vec(), counts: counts.to_vec() })
    }

    /// Bars that share a unit, which the title names.
    pub fn bars<N: Into<String>>(title: &str, bars: impl IntoIterator<Item = (N, f64)>) -> Self {
        let bars = bars.into_iter().map(|(label, value)| Bar { label: label.into(), value: value.into() }).collect();
        Self::new(title, Body::Bars { bars })
    }

    /// Numbers against numbers: the lower axis, the left one, and what is drawn between them.
    pub fn plot(title: &str, [x, y]: [Axis; 2], series: Vec<Series>) -> Self {
        Self::new(title, Body::Plot { x, y, series })
    }

    /// A map: the lower axis, the left one, and the points of each kind.
    pub fn scatter(title: &str, [x, y]: [Axis; 2], series: Vec<Series>) -> Self {
        Self::new(title, Body::Scatter { x, y, series })
    }

    /// A paragraph.
    pub fn note(title: &str, text: &str) -> Self {
        Self::new(title, Body::Note { text: text.to_owned() })
    }

    fn new(title: &str, body: Body) -> Self {
        let words = title.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let name = words.map(str::to_lowercase).collect::<Vec<_>>().join("_");
        Self { name, title: title.to_owned(), body }
    }

    /// Refuses tables and matrices whose rows differ in length, matrices that are not square, and plots with numbers that
    /// have no place on an axis.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.body {
            Body::Table { columns, rows } => self.same_length("table", rows, columns.len()),
            Body::Confusion { labels, counts } if counts.len() != labels.len() => {
                Err(self.shape("matrix rows".to_owned(), counts.len(), labels.len()))
            }
            Body::Confusion { labels, counts } => self.same_length("matrix", counts, labels.len()),
            Body::Plot { x, y, series } | Body::Scatter { x, y, series } => {
                series.iter().try_for_each(|series| self.fits([x, y], series))
            }
            Body::Facts { .. } | Body::Bars { .. } | Body::Note { .. } => Ok(()),
        }
    }

    fn same_length<T>(&self, what: &str, rows: &[Vec<T>], expected: usize) -> Result<(), Error> {
        match rows.iter().position(|row| row.len() != expected) {
            Some(at) => Err(self.shape(format!("values in {what} row {}", at + 1), rows[at].len(), expected)),
            None => Ok(()),
        }
    }

    fn fits(&self, [x, y]: [&Axis; 2], series: &Series) -> Result<(), Error> {
        let across = series.points.iter().map(|point| (x, point.x));
        let up = series.points.iter().flat_map(|point| point.heights().map(|height| (y, height)));
        match across.chain(up).find(|(axis, value)| !axis.holds(*value)) {
            Some((axis, value)) => Err(Error::Plot {
                section: self.name.clone(),
                series: series.name.clone(),
                axis: axis.name.clone(),
                value,
                more: if axis.logarithmic { " above 0" } else { "" },
            }),
            None => Ok(()),
        }
    }

    fn shape(&self, what: String, got: usize, expected: usize) -> Error {
        Error::Shape { section: self.name.clone(), what, got, expected }
    }
}
