//! Which columns of a Parquet schema the wanted fields are, and their arrays in a batch.
//!
//! A name is a column of that name, else a path of struct fields. Texts of every annotation are read as views of bytes:
//! a dictionary's entry is then in memory once, however many rows refer to it.

use std::sync::Arc;

use ::parquet::arrow::parquet_to_arrow_field_levels;
use ::parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_schema};
use ::parquet::basic::{ConvertedType, LogicalType, Repetition, Type as PhysicalType};
use ::parquet::errors::ParquetError;
use ::parquet::schema::types::{SchemaDescriptor, Type, TypePtr};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use serde_json::Value;

use super::super::fields::FieldPlan;
use super::values::{Fault, Values};

/// The wanted columns of a file.
pub(super) struct Columns {
    /// For each wanted name the path to it.
    paths: Vec<Option<Vec<String>>>,
    levels: FieldLevels,
    leaves: Vec<usize>,
    names: Vec<String>,
}

impl Columns {
    pub(super) fn new(schema: &SchemaDescriptor, plan: &FieldPlan) -> Result<Self, ParquetError> {
        let root = schema.root_schema();
        let names: Vec<String> = root.get_fields().iter().map(|field| field.name().to_owned()).collect();
        let mut paths = Vec::with_capacity(plan.names().len());
        for name in plan.names() {
            paths.push(path_of(root, name)?);
        }
        let wanted: Vec<&Vec<String>> = paths.iter().flatten().collect();
        let leaves: Vec<usize> = (0..schema.num_columns())
            .filter(|&leaf| wanted.iter().any(|path| schema.column(leaf).path().parts().starts_with(path)))
            .collect();
        let schema = SchemaDescriptor::new(with_bytes(root)?);
        let hint = with_views(parquet_to_arrow_schema(&schema, None)?.fields());
        let mask = ProjectionMask::leaves(&schema, leaves.iter().copied());
        let levels = parquet_to_arrow_field_levels(&schema, mask, Some(&hint))?;
        Ok(Self { paths, levels, leaves, names })
    }

    pub(super) fn levels(&self) -> &FieldLevels {
        &self.levels
    }

    /// Numbers of the leaf columns that are read.
    pub(super) fn leaves(&self) -> &[usize] {
        &self.leaves
    }

    /// All columns of the file.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// For each wanted name its arrays in `batch`.
    pub(super) fn of_batch(&self, batch: &RecordBatch) -> Vec<Option<BatchColumn>> {
        let column = |path: &Vec<String>| {
            let (root, fields) = path.split_first()?;
            let mut array = Arc::clone(batch.column_by_name(root)?);
            let mut parents = Vec::new();
            for field in fields {
                let inner = Arc::clone(array.as_struct_opt()?.column_by_name(field)?);
                parents.push(array);
                array = inner;
            }
            Some(BatchColumn { parents, array })
        };
        self.paths.iter().map(|path| path.as_ref().and_then(column)).collect()
    }
}

/// One wanted field in a batch.
pub(super) struct BatchColumn {
    /// The structs around it.
    parents: Vec<ArrayRef>,
    array: ArrayRef,
}

impl BatchColumn {
    /// The value of a row and its bytes, of which there may be `room`.
    pub(super) fn value(&self, row: usize, whole: bool, room: usize) -> Result<(Value, usize), Fault> {
        if self.parents.iter().any(|parent| parent.is_null(row)) {
            return Ok((Value::Null, 0));
        }
        let mut values = Values::new(whole, room);
        let value = values.value(&self.array, row)?;
        Ok((value, room - values.room()))
    }
}

/// The path to the field `name`: a column of that name, or a field in a struct.
fn path_of(group: &Type, name: &str) -> Result<Option<Vec<String>>, ParquetError> {
    let mut same = group.get_fields().iter().filter(|field| field.name() == name);
    if same.next().is_some() {
        return match same.next() {
            Some(_) => Err(ParquetError::General(format!("column `{name}` occurs more than once"))),
            None => Ok(Some(vec![name.to_owned()])),
        };
    }
    let Some((first, rest)) = name.split_once('.') else { return Ok(None) };
    let inner = group.get_fields().iter().find(|field| field.name() == first && is_struct(field));
    let path = inner.map_or(Ok(None), |inner| path_of(inner, rest))?;
    Ok(path.map(|path| [vec![first.to_owned()], path].concat()))
}

fn is_struct(field: &Type) -> bool {
    let info = field.get_basic_info();
    let annotated = info.converted_type() != ConvertedType::NONE || info.logical_type_ref().is_some();
    field.is_group() && !annotated && info.has_repetition() && info.repetition() != Repetition::REPEATED
}

/// The same schema with every text as plain bytes, which are then not checked to be UTF-8 page by page.
fn with_bytes(field: &Type) -> Result<TypePtr, ParquetError> {
    let info = field.get_basic_info();
    let id = info.has_id().then(|| info.id());
    if field.is_group() {
        let children = field.get_fields().iter().map(|field| with_bytes(field)).collect::<Result<Vec<_>, _>>()?;
        let mut group = Type::group_type_builder(field.name())
            .with_converted_type(info.converted_type())
            .with_logical_type(info.logical_type_ref().cloned())
            .with_fields(children)
            .with_id(id);
        if info.has_repetition() {
            group = group.with_repetition(info.repetition());
        }
        return Ok(Arc::new(group.build()?));
    }
    let is_decimal = info.converted_type() == ConvertedType::DECIMAL
        || matches!(info.logical_type_ref(), Some(LogicalType::Decimal { .. }));
    if field.get_physical_type() != PhysicalType::BYTE_ARRAY || is_decimal {
        return Ok(Arc::new(field.clone()));
    }
    let bytes = Type::primitive_type_builder(field.name(), PhysicalType::BYTE_ARRAY)
        .with_repetition(info.repetition())
        .with_id(id);
    Ok(Arc::new(bytes.build()?))
}

fn with_views(fields: &Fields) -> Fields {
    fields.iter().map(view_field).collect()
}

fn view_field(field: &FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Binary => DataType::BinaryView,
        DataType::List(inner) => DataType::List(view_field(inner)),
        DataType::LargeList(inner) => DataType::LargeList(view_field(inner)),
        DataType::FixedSizeList(inner, length) => DataType::FixedSizeList(view_field(inner), *length),
        DataType::Struct(fields) => DataType::Struct(with_views(fields)),
        DataType::Map(entries, sorted) => DataType::Map(view_field(entries), *sorted),
        other => other.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(kind))
}
