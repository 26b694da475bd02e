//! JSON Lines: one object a line, of which only the wanted fields are built.
//!
//! A line that is no object, is broken, is not UTF-8 or has a lone surrogate in a wanted field is a row with a reason;
//! blank lines are no rows. Unwanted values are scanned, never stored.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserialize, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::error::Error;
use super::fields::FieldPlan;
use super::source::{Line, Lines, RawRow, RowSource};

/// The rows of one JSONL file.
pub(super) struct JsonlRows {
    lines: Lines,
    plan: Arc<FieldPlan>,
    names: Vec<String>,
}

impl JsonlRows {
    pub(super) fn new(lines: Lines, plan: Arc<FieldPlan>) -> Self {
        Self { lines, plan, names: Vec::new() }
    }
}

impl RowSource for JsonlRows {
    fn next_row(&mut self) -> Result<Option<RawRow>, Error> {
        let longest = self.lines.longest();
        let cells = loop {
            match self.lines.next_line()? {
                None => return Ok(None),
                Some(Line::TooLong) => {
                    break Err(format!("the row is longer than {longest} bytes, the most that is read"));
                }
                Some(Line::Whole(line)) if line.trim_ascii().is_empty() => {}
                Some(Line::Whole(line)) => break parse_row(line, &self.plan, &mut self.names),
            }
        };
        Ok(Some(RawRow { line: self.lines.number(), cells }))
    }

    fn names(&self) -> &[String] {
        &self.names
    }
}

/// The wanted values of one line; fills `names` with all keys of the first object that is met.
fn parse_row(line: &[u8], plan: &FieldPlan, names: &mut Vec<String>) -> Result<Vec<Option<Value>>, String> {
    let text = std::str::from_utf8(line.trim_ascii_end())
        .map_err(|error| format!("invalid UTF-8 at byte {} of the line", error.valid_up_to() + 1))?;
    if let Some(kind) = other_kind(text) {
        return Err(format!("the row is {kind}, expected a JSON object"));
    }
    let reader = ObjectReader { plan, current: Cell::new(None), names: names.is_empty().then(Cell::default) };
    let mut json = serde_json::Deserializer::from_str(text);
    let cells = de::Deserializer::deserialize_map(&mut json, &reader)
        .and_then(|cells| json.end().map(|()| cells))
        .map_err(|error| reader.reason(&error))?;
    if let Some(met) = reader.names {
        *names = met.into_inner();
    }
    Ok(cells)
}

/// What a line that does not start an object starts.
fn other_kind(text: &str) -> Option<&'static str> {
    match text.trim_start().as_bytes().first()? {
        b'{' => None,
        b'[' => Some("a list"),
        b'"' => Some("a text"),
        b'-' | b'0'..=b'9' => Some("a number"),
        b't' | b'f' | b'n' => Some("a bare word"),
        _ => Some("no JSON"),
    }
}

/// Reads one object, remembering which wanted field it is in, so that a fault can be named.
struct ObjectReader<'a> {
    plan: &'a FieldPlan,
    current: Cell<Option<usize>>,
    names: Option<Cell<Vec<String>>>,
}

impl ObjectReader<'_> {
    /// The parser's reason with field and column; its own "at line 1" would only mislead.
    fn reason(&self, error: &serde_json::Error) -> String {
        let full = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let why = full.strip_suffix(&place).unwrap_or(&full);
        let column = error.column();
        match self.current.get() {
            Some(at) => format!("`{}` cannot be read: {why} at column {column}", self.plan.names()[at]),
            None => format!("broken JSON: {why} at column {column}"),
        }
    }
}

impl<'de> Visitor<'de> for &ObjectReader<'_> {
    type Value = Vec<Option<Value>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut cells: Vec<Option<Value>> = vec![None; self.plan.names().len()];
        while let Some(wanted) = map.next_key_seed(Key(self))? {
            self.current.set(wanted);
            match wanted {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(at) if self.plan.whole(at) => cells[at] = Some(map.next_value()?),
                Some(at) => cells[at] = Some(map.next_value_seed(Shallow)?),
            }
            self.current.set(None);
        }
        Ok(cells)
    }
}

/// A key, as its place among the wanted names.
struct Key<'a, 'b>(&'a ObjectReader<'b>);

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = Option<usize>;

    fn deserialize<D: de::Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        if let Some(names) = &self.0.names {
            let mut met = names.take();
            met.push(key.to_owned());
            names.set(met);
        }
        Ok(self.0.plan.names().iter().position(|name| name == key))
    }
}

/// A value whose list or object, if it is one, is only named and not built.
struct Shallow;

impl<'de> DeserializeSeed<'de> for Shallow {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, value: D) -> Result<Value, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shallow {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Value, A::Error> {
        IgnoredAny::deserialize(de::value::MapAccessDeserializer::new(object))?;
        Ok(Value::Object(serde_json::Map::new()))
    }
}
