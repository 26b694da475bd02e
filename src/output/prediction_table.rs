//! Predictions as Parquet: texts, 32-bit floats and lists of both. Memory: one batch of rows and one row group.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, Float32Array, StringArray};
use arrow_schema::{DataType, Field, Schema};

use super::answers::Answer;
use super::error::Error;
use super::parquet::{ParquetTable, table_properties};
use super::predictions::{
    AnswerColumns, AnswerKind, ID, LABEL_SET, Prediction, PredictionOptions, WritePredictions, cell_of,
};

/// Predictions collected before they are encoded.
const BATCH_ROWS: usize = 4096;
/// Labels of them at which they are encoded before.
const BATCH_LABELS: usize = 256 << 10;

/// A table with typed columns.
pub(super) struct ParquetPredictions {
    table: ParquetTable,
    options: PredictionOptions,
    batch: Vec<Prediction>,
    labels: usize,
}

impl ParquetPredictions {
    pub(super) fn create(path: &Path, options: PredictionOptions) -> Result<Self, Error> {
        let mut fields = vec![Field::new(ID, DataType::Utf8, false)];
        fields.extend(options.heads.iter().flat_map(fields_of));
        fields.extend(options.kept_names.iter().map(|name| Field::new(name, DataType::Utf8, true)));
        let properties =
            table_properties(options.compression).set_max_row_group_row_count(Some(16 * BATCH_ROWS)).build();
        let table = ParquetTable::create(path, Schema::new(fields), properties)?;
        Ok(Self { table, options, batch: Vec::with_capacity(BATCH_ROWS), labels: 0 })
    }

    fn flush(&mut self) -> Result<(), Error> {
        let rows = &self.batch;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.id)))];
        for (at, head) in self.options.heads.iter().enumerate() {
            columns.extend(arrays_of(head, rows.iter().map(|row| &row.answers[at])));
        }
        for at in 0..self.options.kept_names.len() {
            columns.push(Arc::new(StringArray::from_iter(rows.iter().map(|row| cell_of(&row.kept[at])))));
        }
        self.batch.clear();
        self.labels = 0;
        self.table.write(columns)
    }
}

fn fields_of(columns: &AnswerColumns) -> Vec<Field> {
    let field = |name: &str, of| Field::new(columns.name(name), of, false);
    let list = |name: &str, of| field(name, DataType::List(list_element(of)));
    let [one, several] = columns.beside();
    let lists = [list("labels", DataType::Utf8), list(several, DataType::Float32)];
    match &columns.kind {
        AnswerKind::Label { top_k } => {
            let mut fields = vec![field("label", DataType::Utf8), field(one, DataType::Float32)];
            fields.extend(lists.into_iter().take(if *top_k > 1 { 2 } else { 0 }));
            if columns.has_sets() {
                fields.push(list(LABEL_SET, DataType::Utf8));
            }
            fields
        }
        AnswerKind::Labels { .. } => lists.to_vec(),
        AnswerKind::Values { .. } => columns.value_names().iter().map(|name| field(name, DataType::Float32)).collect(),
    }
}

/// The columns of one head. Every row was checked to be of its kind.
fn arrays_of<'a>(columns: &AnswerColumns, answers: impl Iterator<Item = &'a Answer>) -> Vec<ArrayRef> {
    let (mut labels, mut probabilities) = (StringBuilder::new(), Float32Builder::new());
    let (mut lists, mut sets) = (Lists::default(), label_lists());
    let mut values: Vec<Vec<f32>> = columns.value_names().iter().map(|_| Vec::new()).collect();
    for answer in answers {
        match answer {
            Answer::Label { label, probability, ranked, set } => {
                labels.append_value(label);
                probabilities.append_value(*probability);
                if let AnswerKind::Label { top_k } = columns.kind {
                    lists.append(&ranked[..ranked.len().min(top_k)]);
                }
                set.iter().flatten().for_each(|label| sets.values().append_value(label));
                sets.append(true);
            }
            Answer::Labels(pairs) => lists.append(pairs),
            Answer::Values(row) => values.iter_mut().zip(row).for_each(|(column, &value)| column.push(value)),
        }
    }
    match columns.kind {
        AnswerKind::Values { .. } => {
            values.into_iter().map(|column| Arc::new(Float32Array::from(column)) as ArrayRef).collect()
        }
        AnswerKind::Labels { .. } => lists.finish().to_vec(),
        AnswerKind::Label { top_k } => {
            let mut arrays: Vec<ArrayRef> = vec![Arc::new(labels.finish()), Arc::new(probabilities.finish())];
            if top_k > 1 {
                arrays.extend(lists.finish());
            }
            if columns.has_sets() {
                arrays.push(Arc::new(sets.finish()));
            }
            arrays
        }
    }
}

/// A list of labels and a list of their probabilities in each row.
struct Lists {
    labels: ListBuilder<StringBuilder>,
    probabilities: ListBuilder<Float32Builder>,
}

impl Default for Lists {
    fn default() -> Self {
        Self {
            labels: label_lists(),
            probabilities: ListBuilder::new(Float32Builder::new()).with_field(list_element(DataType::Float32)),
        }
    }
}

impl Lists {
    fn append(&mut self, pairs: &[(Arc<str>, f32)]) {
        for (label, probability) in pairs {
            self.labels.values().append_value(label);
            self.probabilities.values().append_value(*probability);
        }
        self.labels.append(true);
        self.probabilities.append(true);
    }

    fn finish(mut self) -> [ArrayRef; 2] {
        [Arc::new(self.labels.finish()), Arc::new(self.probabilities.finish())]
    }
}

fn label_lists() -> ListBuilder<StringBuilder> {
    ListBuilder::new(StringBuilder::new()).with_field(list_element(DataType::Utf8))
}

fn list_element(of: DataType) -> Arc<Field> {
    Arc::new(Field::new("element", of, false))
}

impl WritePredictions for ParquetPredictions {
    fn write(&mut self, prediction: &Prediction) -> Result<(), Error> {
        self.options.check(prediction)?;
        let labels = |answer: &Answer| match answer {
            Answer::Label { ranked, set, .. } => ranked.len() + set.as_ref().map_or(0, Vec::len),
            Answer::Labels(pairs) => pairs.len(),
            Answer::Values(values) => values.len(),
        };
        self.labels += prediction.answers.iter().map(labels).sum::<usize>();
        self.batch.push(prediction.clone());
        if self.batch.len() >= BATCH_ROWS || self.labels >= BATCH_LABELS {
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
