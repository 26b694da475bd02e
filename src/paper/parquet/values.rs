//! A value of an Arrow array as JSON: what it is in the column becomes what it would be in JSON Lines.
//!
//! Bounded twice: by the bytes of its texts and by the number of values in its lists and structs.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, ArrowTemporalType, Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_schema::{DataType, TimeUnit};
use serde_json::{Map, Value};

use super::super::value::{MOST_VALUES, too_many_values};

/// Why a value is none.
pub(super) enum Fault {
    /// More bytes than a row may have.
    TooLong,
    /// More values than a row may have.
    TooMany,
    /// A text with this many good bytes at its start.
    NotUtf8(usize),
    /// A column of a type that stands for no JSON value.
    Kind(DataType),
}

impl Fault {
    /// As the reason of a rejection.
    pub(super) fn reason(&self, field: &str, too_long: impl Fn() -> String) -> String {
        match self {
            Self::TooLong => too_long(),
            Self::TooMany => format!("`{field}` cannot be read: {}", too_many_values()),
            Self::NotUtf8(good) => format!("`{field}` has invalid UTF-8 at its byte {}", good + 1),
            Self::Kind(kind) => format!("`{field}` is a column of {kind}, expected text, numbers, lists or structs"),
        }
    }
}

/// Makes values out of arrays, as long as there is room.
pub(super) struct Values {
    whole: bool,
    room: usize,
    left: usize,
}

impl Values {
    /// `whole`: lists and structs with their content, else only that they are some; `room`: bytes of all texts.
    pub(super) fn new(whole: bool, room: usize) -> Self {
        Self { whole, room, left: MOST_VALUES }
    }

    /// Bytes that are left.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// The value in `row`.
    pub(super) fn value(&mut self, array: &ArrayRef, row: usize) -> Result<Value, Fault> {
        self.left = self.left.checked_sub(1).ok_or(Fault::TooMany)?;
        if array.is_null(row) {
            return Ok(Value::Null);
        }
        Ok(match array.data_type() {
            DataType::Null => Value::Null,
            DataType::Boolean => array.as_boolean().value(row).into(),
            DataType::Int8 => number::<Int8Type>(array, row).into(),
            DataType::Int16 => number::<Int16Type>(array, row).into(),
            DataType::Int32 => number::<Int32Type>(array, row).into(),
            DataType::Int64 => number::<Int64Type>(array, row).into(),
            DataType::UInt8 => number::<UInt8Type>(array, row).into(),
            DataType::UInt16 => number::<UInt16Type>(array, row).into(),
            DataType::UInt32 => number::<UInt32Type>(array, row).into(),
            DataType::UInt64 => number::<UInt64Type>(array, row).into(),
            DataType::Float16 => f64::from(number::<Float16Type>(array, row)).into(),
            DataType::Float32 => f64::from(number::<Float32Type>(array, row)).into(),
            DataType::Float64 => number::<Float64Type>(array, row).into(),
            DataType::BinaryView => self.text(array.as_binary_view().value(row))?,
            DataType::List(_) => self.list(&array.as_list::<i32>().value(row))?,
            DataType::LargeList(_) => self.list(&array.as_list::<i64>().value(row))?,
            DataType::FixedSizeList(..) => self.list(&array.as_fixed_size_list().value(row))?,
            DataType::Struct(_) => self.structure(array, row)?,
            DataType::Map(..) => self.map(array, row)?,
            other => time(array, row, other).ok_or_else(|| Fault::Kind(other.clone()))?.into(),
        })
    }

    fn text(&mut self, bytes: &[u8]) -> Result<Value, Fault> {
        self.room = self.room.checked_sub(bytes.len()).ok_or(Fault::TooLong)?;
        let text = std::str::from_utf8(bytes).map_err(|error| Fault::NotUtf8(error.valid_up_to()))?;
        Ok(Value::String(text.to_owned()))
    }

    fn list(&mut self, items: &ArrayRef) -> Result<Value, Fault> {
        let items = (0..if self.whole { items.len() } else { 0 }).map(|item| self.value(items, item));
        Ok(Value::Array(items.collect::<Result<_, _>>()?))
    }

    fn structure(&mut self, array: &ArrayRef, row: usize) -> Result<Value, Fault> {
        let mut object = Map::new();
        if self.whole {
            let fields = array.as_struct();
            for (field, values) in fields.fields().iter().zip(fields.columns()) {
                object.insert(field.name().clone(), self.value(values, row)?);
            }
        }
        Ok(Value::Object(object))
    }

    /// An object if the keys are texts.
    fn map(&mut self, array: &ArrayRef, row: usize) -> Result<Value, Fault> {
        let mut object = Map::new();
        if self.whole {
            let entries = array.as_map().value(row);
            for entry in 0..entries.len() {
                match self.value(entries.column(0), entry)? {
                    Value::String(key) => object.insert(key, self.value(entries.column(1), entry)?),
                    _ => return Err(Fault::Kind(array.data_type().clone())),
                };
            }
        }
        Ok(Value::Object(object))
    }
}

fn number<T: ArrowPrimitiveType>(array: &ArrayRef, row: usize) -> T::Native {
    array.as_primitive::<T>().value(row)
}

/// Dates and times as ISO 8601 writes them.
fn time(array: &ArrayRef, row: usize, kind: &DataType) -> Option<String> {
    fn moment<T: ArrowTemporalType>(array: &ArrayRef, row: usize) -> Option<String>
    where
        i64: From<T::Native>,
    {
        let moments: &PrimitiveArray<T> = array.as_primitive_opt::<T>()?;
        Some(moments.value_as_datetime(row)?.format("%Y-%m-%dT%H:%M:%S%.f").to_string())
    }
    match kind {
        DataType::Date32 => Some(array.as_primitive::<Date32Type>().value_as_date(row)?.to_string()),
        DataType::Date64 => Some(array.as_primitive::<Date64Type>().value_as_date(row)?.to_string()),
        DataType::Timestamp(TimeUnit::Second, _) => moment::<TimestampSecondType>(array, row),
        DataType::Timestamp(TimeUnit::Millisecond, _) => moment::<TimestampMillisecondType>(array, row),
        DataType::Timestamp(TimeUnit::Microsecond, _) => moment::<TimestampMicrosecondType>(array, row),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => moment::<TimestampNanosecondType>(array, row),
        _ => None,
    }
}
