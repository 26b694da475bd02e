//! What a run measured, as two files in one folder: `report.json` for machines, `report.html` for people.
//!
//! A command builds a [`Report`] out of titled [`Section`]s and writes it; it knows nothing about HTML, and this room
//! knows nothing about papers or models. Invariant: the page is one self-contained file without scripts that loads
//! nothing, every text in it is escaped, and both files say the same.

mod error;
mod ordered;
mod page;
mod plot;
mod section;

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use error::Error;
pub use plot::{Axis, Point, Series};
pub use section::{Bar, Body, Cell, Section};

use crate::durable;

/// Version of `report.json`. Raised when a reader of the old form would misread the new one.
pub const REPORT_FORMAT: u32 = 1;
/// Name of the file for machines inside a report folder.
pub const JSON_FILE: &str = "report.json";
/// Name of the page for people inside a report folder.
pub const HTML_FILE: &str = "report.html";

/// A page: a title, what the numbers hold for, and sections in the order in which they are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    format: u32,
    /// Heading of the page.
    pub title: String,
    /// Machine, provider, versions, command: what has to be named beside any number. In reading order.
    #[serde(with = "ordered")]
    pub environment: Vec<(String, Cell)>,
    /// What was measured, in reading order.
    pub sections: Vec<Section>,
}

impl Report {
    /// An empty page.
    pub fn new(title: &str) -> Self {
        Self { format: REPORT_FORMAT, title: title.to_owned(), environment: Vec::new(), sections: Vec::new() }
    }

    /// Adds a line to the environment table.
    pub fn push_environment(&mut self, name: &str, value: impl Into<Cell>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    /// Adds a section at the end.
    pub fn push(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// The section of that name, the first if several have it.
    pub fn find(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The text of `report.json`: indented, ending in a newline.
    ///
    /// # Errors
    /// [`Error::Shape`] if a table or matrix is not rectangular.
    pub fn to_json(&self) -> Result<String, Error> {
        self.check()?;
        let mut text = serde_json::to_string_pretty(self).map_err(Error::Serialize)?;
        text.push('\n');
        Ok(text)
    }

    /// The text of `report.html`.
    ///
    /// # Errors
    /// [`Error::Shape`] if a table or matrix is not rectangular.
    pub fn to_html(&self) -> Result<String, Error> {
        self.check()?;
        page::render(self)
    }

    /// Writes both files into `folder`, which is made if need be. Each replaces an earlier one whole or not at all.
    ///
    /// # Errors
    /// [`Error::Shape`] before anything is written; [`Error::Write`] naming the file or folder.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let files = [(JSON_FILE, self.to_json()?), (HTML_FILE, self.to_html()?)];
        durable::disk::create_folders(folder).map_err(|source| Error::Write { path: folder.to_owned(), source })?;
        for (name, text) in files {
            let path = folder.join(name);
            durable::replace_file(&path, text.as_bytes()).map_err(|source| Error::Write { path, source })?;
        }
        Ok(())
    }

    /// Reads `report.json` of a folder that [`Report::write`] filled.
    ///
    /// # Errors
    /// [`Error::Read`] where there is none, [`Error::Parse`] where it is not one or its tables do not hold together, [`Error::Format`] if it was written
    /// in another format.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        /// Looked at first, so that a newer file is called newer and not broken.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let path = folder.join(JSON_FILE);
        let text = fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        let parse = |source| Error::Parse { path: path.clone(), source };
        let head: Head = serde_json::from_str(&text).map_err(parse)?;
        if head.format != REPORT_FORMAT {
            return Err(Error::Format { path, got: head.format, expected: REPORT_FORMAT });
        }
        let report: Self = serde_json::from_str(&text).map_err(parse)?;
        report.check().map_err(|error| parse(serde::de::Error::custom(error)))?;
        Ok(report)
    }

    fn check(&self) -> Result<(), Error> {
        self.sections.iter().try_for_each(Section::check)
    }
}

#[cfg(test)]
mod tests;
