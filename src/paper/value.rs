//! How much of a JSON value is built: all of it up to a bound, or only what kind it is.
//!
//! Knows no field. A list of a million numbers takes many times its text in memory, hence the bound on their count.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Values that the lists and objects of one row may have in all.
pub(super) const MOST_VALUES: usize = 1_000_000;

/// The reason for which a row with more is rejected.
pub(super) fn too_many_values() -> String {
    format!("more than {} values in lists and objects", MOST_VALUES)
}

/// Reads a value: with all that is in it, or, of a list or an object, only that it is one.
#[derive(Clone, Copy)]
pub(super) enum Depth<'a> {
    /// All of it, while the values that may still be built last.
    Whole(&'a Cell<usize>),
    /// A list or an object comes out empty.
    KindOnly,
}

impl<'de> DeserializeSeed<'de> for Depth<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, value: D) -> Result<Value, D::Error> {
        if let Self::Whole(left) = self {
            left.set(left.get().checked_sub(1).ok_or_else(|| de::Error::custom(too_many_values()))?);
        }
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth<'_> {
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
        let mut values = Vec::new();
        match self {
            Self::Whole(_) => {
                while let Some(value) = list.next_element_seed(self)? {
                    values.push(value);
                }
            }
            Self::KindOnly => while list.next_element::<IgnoredAny>()?.is_some() {},
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        match self {
            Self::Whole(_) => {
                while let Some(key) = object.next_key::<String>()? {
                    values.insert(key, object.next_value_seed(self)?);
                }
            }
            Self::KindOnly => while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {},
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_built_up_to_a_bound() {
        let deep = |text: &str, left: usize| {
            let left = Cell::new(left);
            Depth::Whole(&left).deserialize(&mut serde_json::Deserializer::from_str(text))
        };
        let text = r#"{"a":[1,-2,0.5,"x",null,true],"b":{}}"#;
        assert_eq!(deep(text, 9).unwrap().to_string(), text);
        let error = deep(text, 8).unwrap_err().to_string();
        assert!(error.starts_with("more than 1000000 values in lists and objects"), "{error}");
        let kind = |text: &str| Depth::KindOnly.deserialize(&mut serde_json::Deserializer::from_str(text)).unwrap();
        assert_eq!((kind(text).to_string(), kind("[[1]]").to_string()), ("{}".to_owned(), "[]".to_owned()));
    }
}
