//! What a label's field holds: one label, several, or numbers. Knows values, no formats and no field names.
//!
//! Each reader takes a value that is not null and gives the label, or what is wrong with it in words that follow the
//! field's name. A row's labels are bounded in number, whatever its text says.

use std::cell::Cell;

use serde::de::DeserializeSeed;
use serde_json::Value;

use super::fields::kind_of;
use super::schema::{LabelRule, label_list};
use super::value::{Depth, MOST_VALUES};

/// Labels that one row may have; no classifier has as many.
const MOST_LABELS: usize = 10_000;

/// What is between the labels of a text that names several, where nobody says otherwise.
pub const LABEL_SEPARATOR: &str = ";";

/// What a label's field is expected to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LabelKind {
    /// One label: text, integer or boolean; null and the empty text are none.
    #[default]
    One,
    /// Several labels: a list of such values, also as JSON in a text, or a text that has them between separators. An
    /// empty list says that no label is right; null and the empty text say nothing.
    Several {
        /// What stands between the labels of a text; a blank stands for any run of blanks.
        separator: String,
    },
    /// Whatever is there: several labels where the value is a list, also as JSON in a text, else one label as its text, a
    /// fraction included. Null and the empty text are none. For a reader who decides when all rows have passed.
    Any,
    /// Numbers, also as text; null and the empty text are none.
    Numbers {
        /// How many: where it is 1 the number may stand by itself, else they are a list, also as JSON in a text.
        count: usize,
    },
}

/// What a row's field says is right.
#[derive(Debug, Clone, PartialEq)]
pub enum Label {
    /// The label's text; integers and booleans as JSON writes them.
    One(String),
    /// The labels, in the order of the row, each once.
    Several(Vec<String>),
    /// The numbers, as many as were asked for, all finite.
    Numbers(Vec<f64>),
}

/// One of a few values as text: a label, or a part of a split. `Ok(None)` where it is null or empty.
pub(super) fn short_text(value: &Value) -> Option<Option<String>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => Some((!text.is_empty()).then(|| text.clone())),
        Value::Bool(truth) => Some(Some(truth.to_string())),
        Value::Number(number) if !number.is_f64() => Some(Some(number.to_string())),
        _ => None,
    }
}

/// The label or labels that `value` itself holds, whichever it looks like.
pub(super) fn any(value: &Value) -> Result<Option<Label>, String> {
    match value {
        Value::Array(_) => several(LabelRule::Value, value, LABEL_SEPARATOR),
        Value::String(text) if list_in(text).is_some() => several(LabelRule::Value, value, LABEL_SEPARATOR),
        Value::String(text) if text.trim().is_empty() => Ok(None),
        Value::Number(number) if number.is_f64() => Ok(Some(Label::One(number.to_string()))),
        value => {
            let expected = "text, a number, a boolean or a list of labels";
            Ok(short_text(value).ok_or_else(|| unfit(value, expected))?.map(Label::One))
        }
    }
}

/// The labels of a text that has them between separators, each once, in the order of the text.
///
/// # Errors
/// More than a row can have, in words that follow the field's name.
pub fn labels_in(text: &str, separator: &str) -> Result<Vec<String>, String> {
    match several(LabelRule::Value, &Value::String(text.to_owned()), separator)? {
        Some(Label::Several(labels)) => Ok(labels),
        _ => Ok(Vec::new()),
    }
}

/// The labels that `value` names by `rule`.
pub(super) fn several(rule: LabelRule, value: &Value, separator: &str) -> Result<Option<Label>, String> {
    let listed = match (rule, value) {
        (_, Value::String(text)) if text.trim().is_empty() => return Ok(None),
        (LabelRule::Value, Value::String(text)) => match list_in(text) {
            Some(list) => texts_of(&list)?,
            None => parts_of(text, separator)?,
        },
        (LabelRule::Value, Value::Array(items)) => texts_of(items)?,
        // One label by itself, as a corpus may have it where a paper has no second one.
        (LabelRule::Value, value) => {
            let text = short_text(value).ok_or_else(|| unfit(value, "a list of labels"))?;
            text.into_iter().collect()
        }
        (rule, value) => {
            let list = label_list(rule, value).map_err(|expected| unfit(value, expected))?;
            texts_of(&list)?
        }
    };
    let mut labels: Vec<String> = Vec::with_capacity(listed.len());
    let mut known = std::collections::HashSet::with_capacity(listed.len());
    for label in listed {
        if known.insert(label.clone()) {
            labels.push(label);
        }
    }
    Ok(Some(Label::Several(labels)))
}

/// The numbers that `value` holds, `count` of them.
pub(super) fn numbers(value: &Value, count: usize) -> Result<Option<Label>, String> {
    let expected = if count == 1 { "a number" } else { "a list of numbers" };
    let list = match value {
        Value::String(text) if text.trim().is_empty() => return Ok(None),
        Value::String(text) => match list_in(text) {
            Some(list) => list,
            None if count == 1 => vec![value.clone()],
            None => return Err(unfit(value, expected)),
        },
        Value::Array(items) => items.clone(),
        Value::Number(_) if count == 1 => vec![value.clone()],
        _ => return Err(unfit(value, expected)),
    };
    if list.len() != count {
        return Err(format!("has {} numbers, expected {count}", list.len()));
    }
    let numbers =
        list.iter().map(|item| number(item).ok_or_else(|| unfit(item, expected))).collect::<Result<_, _>>()?;
    Ok(Some(Label::Numbers(numbers)))
}

fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

/// The items of a text that is a JSON list, as CSV cells have them.
fn list_in(text: &str) -> Option<Vec<Value>> {
    if !text.trim_start().starts_with('[') {
        return None;
    }
    let left = Cell::new(MOST_VALUES);
    let mut json = serde_json::Deserializer::from_str(text);
    let value = Depth::Whole(&left).deserialize(&mut json).ok()?;
    match (value, json.end()) {
        (Value::Array(items), Ok(())) => Some(items),
        _ => None,
    }
}

fn parts_of(text: &str, separator: &str) -> Result<Vec<String>, String> {
    let parts: Box<dyn Iterator<Item = &str>> = if separator.trim().is_empty() {
        Box::new(text.split_whitespace())
    } else {
        Box::new(text.split(separator).map(str::trim).filter(|part| !part.is_empty()))
    };
    let labels: Vec<String> = parts.take(MOST_LABELS + 1).map(str::to_owned).collect();
    if labels.len() > MOST_LABELS { Err(too_many()) } else { Ok(labels) }
}

fn texts_of(items: &[Value]) -> Result<Vec<String>, String> {
    if items.len() > MOST_LABELS {
        return Err(too_many());
    }
    let text = |item: &Value| match short_text(item) {
        Some(Some(text)) => Ok(text),
        _ => Err(format!("has {} in its list, expected text, integers or booleans", kind_of(Some(item)))),
    };
    items.iter().map(text).collect()
}

fn too_many() -> String {
    format!("has more than {MOST_LABELS} labels")
}

fn unfit(value: &Value, expected: &str) -> String {
    format!("is {}, expected {expected}", kind_of(Some(value)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(rule: LabelRule, value: &Value, separator: &str) -> Result<Vec<String>, String> {
        match several(rule, value, separator)? {
            Some(Label::Several(labels)) => Ok(labels),
            None => Ok(vec!["nothing".to_owned()]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn several_labels_are_a_list_or_a_separated_text() {
        let plain = |value: Value| labels(LabelRule::Value, &value, LABEL_SEPARATOR).unwrap().join("|");
        assert_eq!(plain(json!(["b", 7, true, "b"])), "b|7|true");
        assert_eq!(plain(json!("b; a ;;c")), "b|a|c");
        assert_eq!(plain(json!("[\"a; b\", 1]")), "a; b|1");
        assert_eq!(plain(json!("[a] b")), "[a] b");
        assert_eq!(plain(json!("one")), "one");
        assert_eq!(plain(json!(3)), "3");
        assert_eq!(plain(json!([])), "");
        assert_eq!(plain(json!("[]")), "");
        assert_eq!(plain(json!(" ")), "nothing");
        assert_eq!(labels(LabelRule::Value, &json!("cs.CL  cs.LG"), " ").unwrap(), ["cs.CL", "cs.LG"]);
        assert_eq!(labels(LabelRule::Value, &json!("a, b|c"), "|").unwrap(), ["a, b", "c"]);
    }

    #[test]
    fn a_label_of_any_kind_is_what_it_looks_like() {
        let read = |value: Value| any(&value).unwrap();
        let one = |text: &str| Some(Label::One(text.to_owned()));
        assert_eq!(read(json!("a; b")), one("a; b"));
        assert_eq!([read(json!(3)), read(json!(0.25)), read(json!(true))], [one("3"), one("0.25"), one("true")]);
        assert_eq!([read(json!(null)), read(json!(" "))], [None, None]);
        let several = |labels: &[&str]| Some(Label::Several(labels.iter().map(|&label| label.to_owned()).collect()));
        assert_eq!([read(json!(["b", "a"])), read(json!("[\"b\", 1]"))], [several(&["b", "a"]), several(&["b", "1"])]);
        assert_eq!(read(json!([])), several(&[]));
        assert_eq!(
            any(&json!({})).unwrap_err(),
            "is an object, expected text, a number, a boolean or a list of labels"
        );
        assert_eq!(labels_in("b; a;b", ";").unwrap(), ["b", "a"]);
        assert!(labels_in(" ", ";").unwrap().is_empty());
    }

    #[test]
    fn a_schemas_label_gives_all_of_its_list() {
        let of = |rule, value| labels(rule, &value, LABEL_SEPARATOR).unwrap().join("|");
        assert_eq!(of(LabelRule::FirstWord, json!("cs.CL cs.LG")), "cs.CL|cs.LG");
        assert_eq!(of(LabelRule::Archive, json!("cs.CL cs.LG math.ST")), "cs|math");
        let fields = json!([{"category": "Medicine", "source": "x"}, {"category": "Biology"}]);
        assert_eq!(of(LabelRule::FirstItem, fields), "Medicine|Biology");
        assert_eq!(of(LabelRule::MeshTerm, json!("D006801:Humans; D008297:Male")), "Humans|Male");
    }

    #[test]
    fn what_is_no_list_of_labels_says_what_it_is() {
        let refused = |value: Value| labels(LabelRule::Value, &value, LABEL_SEPARATOR).unwrap_err();
        assert_eq!(refused(json!(["a", null])), "has null in its list, expected text, integers or booleans");
        assert_eq!(refused(json!(["a", 0.5])), "has a fraction in its list, expected text, integers or booleans");
        assert_eq!(refused(json!([""])), "has empty in its list, expected text, integers or booleans");
        assert_eq!(refused(json!({})), "is an object, expected a list of labels");
        assert_eq!(refused(json!("a;".repeat(10_001))), "has more than 10000 labels");
        assert_eq!(refused(json!(vec!["a"; 10_001])), "has more than 10000 labels");
        assert_eq!(several(LabelRule::FirstItem, &json!("x"), ";").unwrap_err(), "is text, expected a list");
    }

    #[test]
    fn numbers_may_be_written_as_text() {
        let read = |value: Value, count| match numbers(&value, count).unwrap() {
            Some(Label::Numbers(numbers)) => numbers,
            None => vec![],
            other => panic!("{other:?}"),
        };
        assert_eq!(read(json!(2), 1), [2.0]);
        assert_eq!(read(json!("-2.5e1"), 1), [-25.0]);
        assert_eq!(read(json!([0.5]), 1), [0.5]);
        assert_eq!(read(json!([1, 2.5]), 2), [1.0, 2.5]);
        assert_eq!(read(json!("[1, \"2\"]"), 2), [1.0, 2.0]);
        assert_eq!(read(json!(""), 2), [0.0; 0]);
        let refused = |value: Value, count| numbers(&value, count).unwrap_err();
        assert_eq!(refused(json!("many"), 1), "is text, expected a number");
        assert_eq!(refused(json!("NaN"), 1), "is text, expected a number");
        assert_eq!(refused(json!(true), 1), "is a boolean, expected a number");
        assert_eq!(refused(json!(3), 2), "is a number, expected a list of numbers");
        assert_eq!(refused(json!([1]), 2), "has 1 numbers, expected 2");
        assert_eq!(refused(json!([1, null]), 2), "is null, expected a list of numbers");
    }
}
