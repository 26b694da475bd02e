//! Reading the fields of an `adapter_config.json`: each with its kind checked, a value that is not supported refused by
//! the field's name. Knows the kinds of values, not what they mean.

use std::path::Path;

use serde_json::{Map, Value};

use super::super::Error;
use super::super::config::wrong;

/// The fields of one object in a config file.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub path: &'a Path,
    pub fields: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The value of a field; none where it is missing or null.
    pub fn get(&self, field: &str) -> Option<&'a Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// That a value is not what would do.
    pub fn wrong(&self, field: &str, expected: &str) -> Error {
        wrong(self.path, field, &shown(self.fields.get(field)), expected)
    }

    /// A flag.
    pub fn flag(&self, field: &str, default: bool) -> Result<bool, Error> {
        match self.get(field) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(field, "true or false")),
        }
    }

    /// A flag that must have this value.
    pub fn must_be(&self, field: &str, expected: bool, why: &str) -> Result<(), Error> {
        match self.flag(field, expected)? == expected {
            true => Ok(()),
            false => Err(self.wrong(field, &format!("{expected} ({why})"))),
        }
    }

    /// A word.
    pub fn text(&self, field: &str) -> Result<Option<&'a str>, Error> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| self.wrong(field, "a word")),
        }
    }

    /// A number above 0.
    pub fn positive(&self, field: &str, default: f64) -> Result<f64, Error> {
        match self.get(field) {
            None => Ok(default),
            Some(value) => positive(value).ok_or_else(|| self.wrong(field, "a number above 0")),
        }
    }

    /// A field whose value says nothing: missing, null, false, 0, or an empty list, map or word.
    pub fn must_be_empty(&self, field: &str, why: &str) -> Result<(), Error> {
        let empty = match self.get(field) {
            None | Some(Value::Bool(false)) => true,
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::String(text)) => text.is_empty(),
            Some(_) => false,
        };
        if empty { Ok(()) } else { Err(self.wrong(field, &format!("none ({why})"))) }
    }
}

/// A finite number above 0.
pub(super) fn positive(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite() && *number > 0.0)
}

/// A value as a message shows it: words in backticks, long ones cut.
pub(super) fn shown(value: Option<&Value>) -> String {
    const LONGEST: usize = 60;
    match value {
        None => "missing".to_owned(),
        Some(Value::String(word)) => format!("`{}`", cut(word, LONGEST)),
        Some(value) => cut(&value.to_string(), LONGEST),
    }
}

fn cut(text: &str, longest: usize) -> String {
    let mut short: String = text.chars().take(longest).collect();
    if short.len() < text.len() {
        short.push_str("..");
    }
    short
}
