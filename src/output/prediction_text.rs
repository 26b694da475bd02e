//! Predictions as lines of text: JSONL and CSV. A number is the shortest text that reads back as the same f32.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::ser::{SerializeMap, Serializer};

use super::answers::Answer;
use super::error::Error;
use super::file::TextFile;
use super::jsonl::check_finite;
use super::predictions::{
    AnswerColumns, AnswerKind, ID, LABEL_SET, Prediction, PredictionOptions, WritePredictions, cell_of,
};

/// One object a line.
pub(super) struct JsonlPredictions {
    file: TextFile,
    options: PredictionOptions,
}

impl JsonlPredictions {
    pub(super) fn new(file: TextFile, options: PredictionOptions) -> Self {
        Self { file, options }
    }

    fn try_write(&mut self, prediction: &Prediction) -> io::Result<()> {
        let mut json = serde_json::Serializer::new(&mut self.file);
        let mut map = json.serialize_map(None)?;
        map.serialize_entry(ID, &prediction.id)?;
        for (columns, answer) in self.options.heads.iter().zip(&prediction.answers) {
            write_answer(&mut map, columns, answer)?;
        }
        for (name, value) in self.options.kept_names.iter().zip(&prediction.kept) {
            map.serialize_entry(name, value)?;
        }
        map.end()?;
        self.file.write_all(b"\n")
    }
}

fn write_answer<M: SerializeMap>(map: &mut M, columns: &AnswerColumns, answer: &Answer) -> Result<(), M::Error> {
    match answer {
        Answer::Label { label, probability, ranked, set } => {
            map.serialize_entry(&columns.name("label"), &**label)?;
            map.serialize_entry(&columns.name(columns.beside()[0]), probability)?;
            if let AnswerKind::Label { top_k } = columns.kind
                && top_k > 1
            {
                write_lists(map, columns, &ranked[..ranked.len().min(top_k)])?;
            }
            if columns.has_sets() {
                map.serialize_entry(&columns.name(LABEL_SET), &names_in(set))?;
            }
            Ok(())
        }
        Answer::Labels(pairs) => write_lists(map, columns, pairs),
        Answer::Values(values) => {
            let mut named = columns.value_names().into_iter().zip(values);
            named.try_for_each(|(name, value)| map.serialize_entry(&columns.name(&name), value))
        }
    }
}

fn write_lists<M: SerializeMap>(
    map: &mut M,
    columns: &AnswerColumns,
    pairs: &[(Arc<str>, f32)],
) -> Result<(), M::Error> {
    let (labels, probabilities): (Vec<&str>, Vec<f32>) =
        pairs.iter().map(|(label, probability)| (&**label, *probability)).unzip();
    map.serialize_entry(&columns.name("labels"), &labels)?;
    map.serialize_entry(&columns.name(columns.beside()[1]), &probabilities)
}

/// The labels of a set.
fn names_in(set: &Option<Vec<Arc<str>>>) -> Vec<&str> {
    set.iter().flatten().map(|label| &**label).collect()
}

fn check_answers(prediction: &Prediction) -> Result<(), Error> {
    let id = &prediction.id;
    let of_pairs = |pairs: &[(Arc<str>, f32)]| pairs.iter().try_for_each(|(_, value)| check_finite(id, &[*value]));
    prediction.answers.iter().try_for_each(|answer| match answer {
        Answer::Label { probability, ranked, .. } => {
            check_finite(id, &[*probability])?;
            of_pairs(ranked)
        }
        Answer::Labels(pairs) => of_pairs(pairs),
        Answer::Values(values) => check_finite(id, values),
    })
}

impl WritePredictions for JsonlPredictions {
    fn write(&mut self, prediction: &Prediction) -> Result<(), Error> {
        self.options.check(prediction)?;
        check_answers(prediction)?;
        let outcome = self.try_write(prediction);
        outcome.map_err(|source| self.file.refused(source))
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        self.file.publish()
    }
}

/// A header and one row a paper.
pub(super) struct CsvPredictions {
    writer: csv::Writer<TextFile>,
    path: PathBuf,
    options: PredictionOptions,
}

impl CsvPredictions {
    pub(super) fn create(
        path: &Path,
        file: TextFile,
        columns: &[String],
        options: PredictionOptions,
    ) -> Result<Self, Error> {
        let mut this = Self { writer: csv::Writer::from_writer(file), path: path.to_owned(), options };
        this.write_row(columns)?;
        Ok(this)
    }

    fn write_row(&mut self, cells: &[String]) -> Result<(), Error> {
        let outcome = self.writer.write_record(cells);
        outcome.map_err(|error| Error::Write { path: self.path.clone(), source: error.into() })
    }
}

/// The cells of a head's columns; those without a label are empty.
fn cells_of(columns: &AnswerColumns, answer: &Answer) -> Vec<String> {
    let cells = |(label, probability): (&str, f32)| [label.to_owned(), probability.to_string()];
    let pairs: Vec<(&str, f32)> = match answer {
        Answer::Values(values) => return values.iter().map(f32::to_string).collect(),
        Answer::Label { label, probability, ranked, .. } => {
            // The most probable label stands first, unless it is too improbable to be given there.
            let given = ranked.first().is_some_and(|(first, _)| first == label);
            let others = ranked.iter().skip(usize::from(given)).map(|(label, probability)| (&**label, *probability));
            std::iter::once((&**label, *probability)).chain(others).collect()
        }
        Answer::Labels(pairs) => pairs.iter().map(|(label, probability)| (&**label, *probability)).collect(),
    };
    let mut cells: Vec<String> =
        (0..columns.csv_pairs()).flat_map(|rank| pairs.get(rank).copied().map(cells).unwrap_or_default()).collect();
    if let (true, Answer::Label { set, .. }) = (columns.has_sets(), answer) {
        cells.push(serde_json::Value::from(names_in(set)).to_string());
    }
    cells
}

impl WritePredictions for CsvPredictions {
    fn write(&mut self, prediction: &Prediction) -> Result<(), Error> {
        self.options.check(prediction)?;
        let mut cells = vec![prediction.id.clone()];
        let answers = self.options.heads.iter().zip(&prediction.answers);
        cells.extend(answers.flat_map(|(columns, answer)| cells_of(columns, answer)));
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
