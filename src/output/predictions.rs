//! Predictions as JSONL, CSV or Parquet: `id`, `label`, `probability`, the ranked labels if asked for, and kept fields.
//!
//! CSV spreads ranked labels over `label_2`, `probability_2`, ...; the others carry lists `labels`, `probabilities`.
//! Kept fields keep their JSON type in JSONL; in CSV and Parquet they are texts (a text as it is, anything else as
//! JSON), because a stream cannot know the type of values that are still to come.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, Float32Array, StringArray};
use arrow_schema::{DataType, Field, Schema};
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;

use super::compression::{Compression, Content, endings, settle};
use super::error::Error;
use super::file::TextFile;
use super::jsonl::check_finite;
use super::parquet::{ParquetTable, table_properties};

/// Endings for messages.
const KNOWN: &str = ".jsonl, .csv (each also with .gz or .zst), .parquet";
const FIXED_COLUMNS: [&str; 3] = ["id", "label", "probability"];
const LIST_COLUMNS: [&str; 2] = ["labels", "probabilities"];
/// Predictions collected before they are encoded as Parquet.
const BATCH_ROWS: usize = 4096;

/// How predictions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionFormat {
    /// One object a line.
    Jsonl,
    /// A header and one row a paper.
    Csv,
    /// A table with typed columns.
    Parquet,
}

impl PredictionFormat {
    /// The format that the ending of `path` asks for, in any case: `.jsonl`, `.csv` or `.parquet`; with `.gz` or `.zst`
    /// behind it as well.
    ///
    /// # Errors
    /// Any other ending.
    pub fn from_path(path: &Path) -> Result<Self, Error> {
        match endings(path).0.as_str() {
            "jsonl" => Ok(Self::Jsonl),
            "csv" => Ok(Self::Csv),
            "parquet" => Ok(Self::Parquet),
            _ => Err(Error::UnknownFormat { path: path.to_owned(), known: KNOWN }),
        }
    }
}

/// One paper's label.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The paper.
    pub id: String,
    /// The label that is predicted.
    pub label: String,
    /// Its probability.
    pub probability: f32,
    /// The most probable labels, best first, [`PredictionOptions::top_k`] of them; empty unless asked for.
    pub ranked: Vec<(String, f32)>,
    /// Fields carried along, one per name in [`PredictionOptions::kept_names`].
    pub kept: Vec<Option<Value>>,
}

/// Which columns predictions have beside the first three, and how they are compressed.
#[derive(Debug, Clone, Default)]
pub struct PredictionOptions {
    /// How many ranked labels each row has; 0 and 1 leave them out.
    pub top_k: usize,
    /// Names of the fields carried along.
    pub kept_names: Vec<String>,
    /// What the user asks for; `None` is what the name says, and zstd for Parquet.
    pub compression: Option<Compression>,
}

impl PredictionOptions {
    fn has_ranks(&self) -> bool {
        self.top_k > 1
    }

    /// Names of the columns between the first three and the kept fields.
    fn rank_columns(&self, format: PredictionFormat) -> Vec<String> {
        match format {
            _ if !self.has_ranks() => Vec::new(),
            PredictionFormat::Csv => {
                (2..=self.top_k).flat_map(|rank| [format!("label_{rank}"), format!("probability_{rank}")]).collect()
            }
            _ => LIST_COLUMNS.map(str::to_owned).to_vec(),
        }
    }

    fn columns(&self, format: PredictionFormat) -> Result<Vec<String>, Error> {
        let mut columns: Vec<String> = FIXED_COLUMNS.map(str::to_owned).to_vec();
        for name in self.rank_columns(format).into_iter().chain(self.kept_names.iter().cloned()) {
            if columns.contains(&name) {
                return Err(Error::ColumnTwice { name });
            }
            columns.push(name);
        }
        Ok(columns)
    }
}

/// Takes predictions in output order. Dropped before `finish`, it leaves the older file as it was.
pub trait WritePredictions: Send {
    /// Adds one row.
    ///
    /// # Errors
    /// Another number of kept values than names, a value that JSON cannot hold, or a file system that refuses.
    fn write(&mut self, prediction: &Prediction) -> Result<(), Error>;

    /// Completes the file and puts it under its name.
    ///
    /// # Errors
    /// A file system that refuses.
    fn finish(self: Box<Self>) -> Result<(), Error>;
}

/// Opens the output that the ending of `path` asks for. Its folder must exist.
///
/// # Errors
/// An unknown ending, a compression that the format or the name doesn't allow, a kept field with the name of another
/// column, or a folder that cannot be written to.
pub fn prediction_writer(path: &Path, options: &PredictionOptions) -> Result<Box<dyn WritePredictions>, Error> {
    let format = PredictionFormat::from_path(path)?;
    let columns = options.columns(format)?;
    let content = if format == PredictionFormat::Parquet { Content::Pages } else { Content::Text };
    let compression = settle(path, content, options.compression)?;
    let options = options.clone();
    let file = || TextFile::create(path, compression.unwrap_or(Compression::NONE));
    Ok(match format {
        PredictionFormat::Jsonl => Box::new(JsonlPredictions { file: file()?, options }),
        PredictionFormat::Csv => Box::new(CsvPredictions::create(path, file()?, &columns, options)?),
        PredictionFormat::Parquet => Box::new(ParquetPredictions::create(path, options)?),
    })
}

fn check_kept(prediction: &Prediction, options: &PredictionOptions) -> Result<(), Error> {
    let (got, expected) = (prediction.kept.len(), options.kept_names.len());
    if got == expected {
        return Ok(());
    }
    Err(Error::WrongKept { id: prediction.id.clone(), got, expected })
}

/// A kept value as a cell: nothing for a missing field or null, a text as it is, anything else as JSON.
fn cell_of(value: &Option<Value>) -> Option<String> {
    match value {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    }
}

struct JsonlPredictions {
    file: TextFile,
    options: PredictionOptions,
}

impl JsonlPredictions {
    fn try_write(&mut self, prediction: &Prediction) -> io::Result<()> {
        let mut json = serde_json::Serializer::new(&mut self.file);
        let mut map = json.serialize_map(None)?;
        map.serialize_entry("id", &prediction.id)?;
        map.serialize_entry("label", &prediction.label)?;
        map.serialize_entry("probability", &prediction.probability)?;
        if self.options.has_ranks() {
            let ranked = &prediction.ranked[..prediction.ranked.len().min(self.options.top_k)];
            let (labels, probabilities): (Vec<&str>, Vec<f32>) =
                ranked.iter().map(|(label, probability)| (label.as_str(), *probability)).unzip();
            map.serialize_entry("labels", &labels)?;
            map.serialize_entry("probabilities", &probabilities)?;
        }
        for (name, value) in self.options.kept_names.iter().zip(&prediction.kept) {
            map.serialize_entry(name, value)?;
        }
        map.end()?;
        self.file.write_all(b"\n")
    }
}

impl WritePredictions for JsonlPredictions {
    fn write(&mut self, prediction: &Prediction) -> Result<(), Error> {
        check_kept(prediction, &self.options)?;
        check_finite(&prediction.id, &[prediction.probability])?;
        prediction.ranked.iter().try_for_each(|(_, value)| check_finite(&prediction.id, &[*value]))?;
        let outcome = self.try_write(prediction);
        outcome.map_err(|source| self.file.refused(source))
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        self.file.publish()
    }
}

struct CsvPredictions {
    writer: csv::Writer<TextFile>,
    path: PathBuf,
    options: PredictionOptions,
}

impl CsvPredictions {
    fn create(path: &Path, file: TextFile, columns: &[String], options: PredictionOptions) -> Result<Self, Error> {
        let mut this = Self { writer: csv::Writer::from_writer(file), path: path.to_owned(), options };
        this.write_row(columns)?;
        Ok(this)
    }

    fn write_row(&mut self, cells: &[String]) -> Result<(), Error> {
        let outcome = self.writer.write_record(cells);
        outcome.map_err(|error| Error::Write { path: self.path.clone(), source: error.into() })
    }
}

impl WritePredictions for CsvPredictions {
    fn write(&mut self, prediction: &Prediction) -> Result<(), Error> {
        check_kept(prediction, &self.options)?;
        let mut cells = vec![prediction.id.clone(), prediction.label.clone(), prediction.probability.to_string()];
        if self.options.has_ranks() {
            for rank in 1..self.options.top_k {
                let (label, probability) = match prediction.ranked.get(rank) {
                    Some((label, probability)) => (label.clone(), probability.to_string()),
                    None => Default::default(),
                };
                cells.extend([label, probability]);
            }
        }
        cells.extend(prediction.kept.iter().map(|value| cell_of(value).unwrap_or_default()));
        self.write_row(&cells)
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        let Self { mut writer, path, .. } = *self;
        // Flushed first, so that what is left to `into_inner` cannot fail for lack of space.
        let flushed = writer.flush();
        let inner = flushed.and_then(|()| writer.into_inner().map_err(|error| error.error().kind().into()));
        inner.map_err(|source| Error::Write { path, source })?.publish()
    }
}

struct ParquetPredictions {
    table: ParquetTable,
    options: PredictionOptions,
    batch: Vec<Prediction>,
}

impl ParquetPredictions {
    fn create(path: &Path, options: PredictionOptions) -> Result<Self, Error> {
        let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
        let mut fields =
            vec![text("id", false), text("label", false), Field::new("probability", DataType::Float32, false)];
        if options.has_ranks() {
            let list = |name: &str, of| Field::new(name, DataType::List(list_element(of)), false);
            fields.extend([list("labels", DataType::Utf8), list("probabilities", DataType::Float32)]);
        }
        fields.extend(options.kept_names.iter().map(|name| text(name, true)));
        let properties =
            table_properties(options.compression).set_max_row_group_row_count(Some(16 * BATCH_ROWS)).build();
        let table = ParquetTable::create(path, Schema::new(fields), properties)?;
        Ok(Self { table, options, batch: Vec::with_capacity(BATCH_ROWS) })
    }

    fn flush(&mut self) -> Result<(), Error> {
        let rows = &self.batch;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.id))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.label))),
            Arc::new(Float32Array::from_iter_values(rows.iter().map(|row| row.probability))),
        ];
        if self.options.has_ranks() {
            let mut labels = ListBuilder::new(StringBuilder::new()).with_field(list_element(DataType::Utf8));
            let mut values = ListBuilder::new(Float32Builder::new()).with_field(list_element(DataType::Float32));
            for row in rows {
                for (label, probability) in row.ranked.iter().take(self.options.top_k) {
                    labels.values().append_value(label);
                    values.values().append_value(*probability);
                }
                labels.append(true);
                values.append(true);
            }
            columns.extend([Arc::new(labels.finish()) as ArrayRef, Arc::new(values.finish())]);
        }
        for at in 0..self.options.kept_names.len() {
            columns.push(Arc::new(StringArray::from_iter(rows.iter().map(|row| cell_of(&row.kept[at])))));
        }
        self.batch.clear();
        self.table.write(columns)
    }
}

fn list_element(of: DataType) -> Arc<Field> {
    Arc::new(Field::new("element", of, false))
}

impl WritePredictions for ParquetPredictions {
    fn write(&mut self, prediction: &Prediction) -> Result<(), Error> {
        check_kept(prediction, &self.options)?;
        self.batch.push(prediction.clone());
        if self.batch.len() >= BATCH_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), Error> {
        if !self.batch.is_empty() {
            self.flush()?;
        }
        self.table.publish()
    }
}
