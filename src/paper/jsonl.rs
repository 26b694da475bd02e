//! JSON Lines: one object a line, of which only the wanted fields are built. `a.b` is the field `b` in the object `a`,
//! unless a key is called `a.b`.
//!
//! A line that is no object, is broken, is not UTF-8 or has a lone surrogate in a wanted field is a row with a reason;
//! blank lines are no rows. Unwanted values are scanned, never stored.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::error::Error;
use super::fields::FieldPlan;
use super::lines::{Line, Lines};
use super::names::{NameTree, Target};
use super::source::{RawRow, RowSource};
use super::value::{Depth, MOST_VALUES};

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
        let cells = loop {
            match self.lines.next_line()? {
                None => return Ok(None),
                Some(Line::TooLong) => break Err(self.lines.too_long()),
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

/// The wanted values of one object; fills `names` with all keys of the first object that is met.
pub(super) fn parse_row(line: &[u8], plan: &FieldPlan, names: &mut Vec<String>) -> Result<Vec<Option<Value>>, String> {
    let text = std::str::from_utf8(line.trim_ascii_end())
        .map_err(|error| format!("invalid UTF-8 at byte {} of the line", error.valid_up_to() + 1))?;
    if let Some(kind) = other_kind(text) {
        return Err(format!("the row is {kind}, expected a JSON object"));
    }
    let row = RowCells::new(plan, names.is_empty());
    let mut json = serde_json::Deserializer::from_str(text);
    de::Deserializer::deserialize_map(&mut json, ObjectReader { row: &row, tree: plan.tree(), depth: 0 })
        .and_then(|()| json.end())
        .map_err(|error| row.reason(&error))?;
    if let Some(met) = row.names {
        *names = met.into_inner();
    }
    Ok(row.cells.into_inner())
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

/// What is known of one row while it is read.
struct RowCells<'a> {
    plan: &'a FieldPlan,
    cells: RefCell<Vec<Option<Value>>>,
    /// How deep each cell was found, where a name can be found at several depths; empty where it cannot.
    depths: RefCell<Vec<usize>>,
    /// Which wanted field is being read, so that a fault can be named.
    current: Cell<Option<usize>>,
    names: Option<RefCell<Vec<String>>>,
    /// Values that may still be built.
    left: Cell<usize>,
}

impl<'a> RowCells<'a> {
    fn new(plan: &'a FieldPlan, with_names: bool) -> Self {
        let wanted = plan.names().len();
        Self {
            plan,
            cells: RefCell::new(vec![None; wanted]),
            depths: RefCell::new(if plan.tree().is_nested() { vec![usize::MAX; wanted] } else { Vec::new() }),
            current: Cell::new(None),
            names: with_names.then(RefCell::default),
            left: Cell::new(MOST_VALUES),
        }
    }

    /// A name that stands further out wins over one that is further in; of equals the last.
    fn set(&self, at: usize, depth: usize, value: Value) {
        if let Some(found) = self.depths.borrow_mut().get_mut(at) {
            if depth > *found {
                return;
            }
            *found = depth;
        }
        self.cells.borrow_mut()[at] = Some(value);
    }

    /// Takes what is wanted out of a value that is wanted itself, too.
    fn set_below(&self, tree: &NameTree, depth: usize, value: &Value) {
        let Value::Object(object) = value else { return };
        for (key, target) in tree.targets() {
            let Some(value) = object.get(key) else { continue };
            if let Some(at) = target.leaf {
                self.set(at, depth, value.clone());
            }
            if let Some(below) = &target.below {
                self.set_below(below, depth + 1, value);
            }
        }
    }

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

/// Reads one object, at the top of a row or within it.
struct ObjectReader<'a> {
    row: &'a RowCells<'a>,
    tree: &'a NameTree,
    depth: usize,
}

impl<'a> ObjectReader<'a> {
    fn read_value<'de, A: MapAccess<'de>>(&self, map: &mut A, target: &'a Target) -> Result<(), A::Error> {
        let row = self.row;
        match (target.leaf, &target.below) {
            (None, None) => drop(map.next_value::<IgnoredAny>()?),
            (None, Some(tree)) => map.next_value_seed(Below(ObjectReader { row, tree, depth: self.depth + 1 }))?,
            (Some(at), below) => {
                row.current.set(Some(at));
                let whole = below.is_some() || row.plan.whole(at);
                let value = map.next_value_seed(if whole { Depth::Whole(&row.left) } else { Depth::KindOnly })?;
                row.current.set(None);
                if let Some(below) = below {
                    row.set_below(below, self.depth + 1, &value);
                }
                row.set(at, self.depth, value);
            }
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for ObjectReader<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let names = self.row.names.as_ref().filter(|_| self.depth == 0);
        while let Some(target) = map.next_key_seed(Key { tree: self.tree, names })? {
            match target {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(target) => self.read_value(&mut map, target)?,
            }
        }
        Ok(())
    }
}

/// A key, as what is wanted under it.
struct Key<'a> {
    tree: &'a NameTree,
    names: Option<&'a RefCell<Vec<String>>>,
}

impl<'a, 'de> DeserializeSeed<'de> for Key<'a> {
    type Value = Option<&'a Target>;

    fn deserialize<D: de::Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Key<'a> {
    type Value = Option<&'a Target>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        if let Some(names) = self.names {
            names.borrow_mut().push(key.to_owned());
        }
        Ok(self.tree.get(key))
    }
}

/// A value in which wanted fields are looked for; one that is no object has none.
struct Below<'a>(ObjectReader<'a>);

impl<'de> DeserializeSeed<'de> for Below<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Below<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        self.0.visit_map(object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}
