//! How the values of a dump become the text or the label that they stand for.
//!
//! Each rule takes one value and gives a text or the reason why it has none. No rule allocates by a number that it
//! reads: a text is as long as what was read, or bounded by the longest row.

use serde_json::Value;

use super::super::lines::LONGEST_ROW;

/// How a title or an abstract is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextRule {
    /// A text.
    AsIs,
    /// A text with hard line breaks and leading blanks: they become single blanks.
    Unfold,
    /// An object of words with their positions, or the JSON text of one.
    InvertedIndex,
    /// A text, or a list of labelled sections.
    Sections,
}

impl TextRule {
    /// Whether a list or an object is wanted with its content.
    pub(crate) fn is_whole(self) -> bool {
        matches!(self, Self::InvertedIndex | Self::Sections)
    }
}

/// How a label is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LabelRule {
    /// A text, an integer or a boolean.
    Value,
    /// The first of several words.
    FirstWord,
    /// The first word up to its point: the archive of an arXiv category.
    Archive,
    /// The first item of a list: a text, or an object that names its category.
    FirstItem,
    /// The first MeSH term of a list, or of a text like `D006801:Humans; D008297:Male`.
    MeshTerm,
}

impl LabelRule {
    /// Whether a list or an object is wanted with its content.
    pub(crate) fn is_whole(self) -> bool {
        matches!(self, Self::FirstItem | Self::MeshTerm)
    }
}

/// The text that `value` stands for; `Err` gives it back with what was expected.
pub(crate) fn text(rule: TextRule, value: Value) -> Result<Option<String>, (Value, &'static str)> {
    match (rule, value) {
        (_, Value::Null) => Ok(None),
        (TextRule::Unfold, Value::String(text)) => Ok(Some(unfolded(&text))),
        (TextRule::InvertedIndex, Value::String(text)) => match serde_json::from_str::<Value>(&text) {
            Ok(index @ Value::Object(_)) => in_order(index),
            _ if text.is_empty() => Ok(None),
            _ => Err((Value::String(text), "an inverted index")),
        },
        (TextRule::InvertedIndex, value) => in_order(value),
        (TextRule::Sections, Value::Array(sections)) => match joined(&sections) {
            Some(text) => Ok(Some(text)),
            None => Err((Value::Array(sections), "text or a list of labelled sections")),
        },
        (_, Value::String(text)) => Ok(Some(text)),
        (TextRule::Sections, value) => Err((value, "text or a list of labelled sections")),
        (_, value) => Err((value, "text")),
    }
}

/// The label that `value` stands for, as the value that a field of one label would have; `Err` says what was expected.
pub(crate) fn label(rule: LabelRule, value: &Value) -> Result<Value, &'static str> {
    let first_word = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
    match (rule, value) {
        (_, Value::Null) => Ok(Value::Null),
        (LabelRule::Value, value) => Ok(value.clone()),
        (LabelRule::FirstWord, Value::String(text)) => Ok(first_word(text).into()),
        (LabelRule::Archive, Value::String(text)) => {
            Ok(first_word(text).split('.').next().unwrap_or_default().to_owned().into())
        }
        (LabelRule::FirstWord | LabelRule::Archive, _) => Err("a text of categories"),
        (LabelRule::FirstItem | LabelRule::MeshTerm, Value::Array(items)) => match items.first() {
            None => Ok(Value::Null),
            Some(item) => named(rule, item).ok_or(ITEMS),
        },
        (LabelRule::MeshTerm, Value::String(text)) => Ok(term(text.split(';').next().unwrap_or_default()).into()),
        (LabelRule::FirstItem | LabelRule::MeshTerm, _) => Err("a list"),
    }
}

/// All labels that `value` has where a rule takes the first; `Err` says what was expected.
pub(crate) fn label_list(rule: LabelRule, value: &Value) -> Result<Vec<Value>, &'static str> {
    match (rule, value) {
        (LabelRule::FirstWord, Value::String(text)) => Ok(text.split_whitespace().map(Value::from).collect()),
        (LabelRule::Archive, Value::String(text)) => {
            let archive = |word: &str| word.split('.').next().unwrap_or_default().into();
            Ok(text.split_whitespace().map(archive).collect())
        }
        (LabelRule::FirstItem | LabelRule::MeshTerm, Value::Array(items)) => {
            let names = items.iter().map(|item| named(rule, item).ok_or(ITEMS));
            names.collect()
        }
        (LabelRule::MeshTerm, Value::String(text)) => Ok(text.split(';').map(|part| term(part).into()).collect()),
        _ => label(rule, value).map(|value| vec![value]),
    }
}

const ITEMS: &str = "a list of texts or of objects with a category";

/// The name of a list's item.
fn named(rule: LabelRule, item: &Value) -> Option<Value> {
    const KEYS: [&str; 6] = ["category", "descriptor", "descriptor_name", "display_name", "name", "term"];
    match item {
        Value::String(text) if rule == LabelRule::MeshTerm => Some(term(text).into()),
        Value::String(_) | Value::Number(_) => Some(item.clone()),
        Value::Object(object) => KEYS.iter().find_map(|key| object.get(*key)).filter(|name| name.is_string()).cloned(),
        _ => None,
    }
}

/// A MeSH term without the number of its descriptor.
fn term(text: &str) -> String {
    let text = text.trim();
    let is_number = |id: &str| id.len() > 1 && id.starts_with('D') && id[1..].bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once(':') {
        Some((id, name)) if is_number(id) => name.trim().to_owned(),
        _ => text.to_owned(),
    }
}

fn unfolded(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(part);
    }
    line
}

/// The words of an inverted index in the order of their positions, gaps closed.
fn in_order(index: Value) -> Result<Option<String>, (Value, &'static str)> {
    const EXPECTED: &str = "an object of words with lists of their positions";
    let Value::Object(words) = &index else { return Err((index, EXPECTED)) };
    // As Microsoft Academic Graph wrapped it.
    let words = match words.get("InvertedIndex") {
        Some(Value::Object(inner)) => inner,
        _ => words,
    };
    let (mut placed, mut length) = (Vec::new(), 0_usize);
    for (word, positions) in words {
        let Some(positions) = positions.as_array() else { return Err((index, EXPECTED)) };
        for position in positions {
            let Some(position) = position.as_u64() else { return Err((index, EXPECTED)) };
            placed.push((position, word.as_str()));
            length = length.saturating_add(word.len() + 1);
        }
    }
    if length > LONGEST_ROW {
        return Err((index, "an index of a text of 64 MiB at most"));
    }
    placed.sort_unstable();
    let words: Vec<&str> = placed.into_iter().map(|(_, word)| word).collect();
    Ok(if words.is_empty() { None } else { Some(words.join(" ")) })
}

/// `LABEL: text` of each section in a row; `None` if one is no section.
fn joined(sections: &[Value]) -> Option<String> {
    const LABELS: [&str; 6] = ["label", "Label", "@Label", "section", "heading", "nlm_category"];
    const TEXTS: [&str; 5] = ["text", "Text", "#text", "content", "value"];
    let mut parts = Vec::with_capacity(sections.len());
    for section in sections {
        match section {
            Value::String(text) => parts.push(text.clone()),
            Value::Object(fields) => {
                let find = |keys: &[&str]| keys.iter().find_map(|key| fields.get(*key)?.as_str()).map(str::trim);
                let text = find(&TEXTS)?;
                match find(&LABELS) {
                    Some(label) if !label.is_empty() => parts.push(format!("{label}: {text}")),
                    _ => parts.push(text.to_owned()),
                }
            }
            _ => return None,
        }
    }
    Some(parts.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hard_line_breaks_are_unfolded() {
        let arxiv = "  A fully differential calculation\nof photon pairs.\n  In a second\n paragraph\r\n";
        let expected = "A fully differential calculation of photon pairs. In a second paragraph";
        assert_eq!(text(TextRule::Unfold, json!(arxiv)).unwrap().unwrap(), expected);
        assert_eq!(text(TextRule::Unfold, json!(" \n ")).unwrap().unwrap(), "");
        assert_eq!(text(TextRule::Unfold, json!(3)).unwrap_err(), (json!(3), "text"));
    }

    #[test]
    fn an_inverted_index_is_put_in_order_whatever_its_positions() {
        let index = json!({"the": [1, 4], "On": [0], "of": [3], "shape": [2], "sea.": [1_000_000_000_000_u64]});
        let order = |value: Value| text(TextRule::InvertedIndex, value).unwrap();
        assert_eq!(order(index.clone()).unwrap(), "On the shape of the sea.");
        assert_eq!(order(json!(index.to_string())).unwrap(), "On the shape of the sea.");
        assert_eq!(order(json!({"IndexLength": 6, "InvertedIndex": index})).unwrap(), "On the shape of the sea.");
        assert_eq!([json!({}), json!(null), json!("")].map(order), [None, None, None]);
        for bad in [json!({"a": 1}), json!({"a": [-1]}), json!([1]), json!("plain text")] {
            assert!(text(TextRule::InvertedIndex, bad).is_err());
        }
        let word = "x".repeat(1 << 20);
        let long = json!({word: (0..64).collect::<Vec<_>>()});
        assert_eq!(text(TextRule::InvertedIndex, long).unwrap_err().1, "an index of a text of 64 MiB at most");
    }

    #[test]
    fn sections_keep_their_labels() {
        let sections = json!([{"label": "METHODS", "text": "We did. "}, {"#text": "No label."}, "Plain."]);
        assert_eq!(text(TextRule::Sections, sections).unwrap().unwrap(), "METHODS: We did. No label. Plain.");
        assert_eq!(text(TextRule::Sections, json!("One text.")).unwrap().unwrap(), "One text.");
        assert!(text(TextRule::Sections, json!([{"label": "x"}])).is_err());
        assert!(text(TextRule::Sections, json!([3])).is_err() && text(TextRule::Sections, json!(3)).is_err());
    }

    #[test]
    fn a_label_is_the_first_of_several() {
        let of = |rule, value: Value| label(rule, &value);
        assert_eq!(of(LabelRule::FirstWord, json!("cs.CL cs.LG")).unwrap(), "cs.CL");
        assert_eq!(of(LabelRule::Archive, json!("cs.CL cs.LG")).unwrap(), "cs");
        assert_eq!(of(LabelRule::Archive, json!("hep-th")).unwrap(), "hep-th");
        assert_eq!(of(LabelRule::FirstItem, json!(["Mathematics", "Physics"])).unwrap(), "Mathematics");
        let fields = json!([{"category": "Medicine", "source": "external"}, {"category": "Biology"}]);
        assert_eq!(of(LabelRule::FirstItem, fields).unwrap(), "Medicine");
        assert_eq!(of(LabelRule::FirstItem, json!([])).unwrap(), Value::Null);
        assert_eq!(of(LabelRule::MeshTerm, json!("D006801:Humans; D008297:Male")).unwrap(), "Humans");
        assert_eq!(of(LabelRule::MeshTerm, json!(["Dopamine: an overview"])).unwrap(), "Dopamine: an overview");
        assert_eq!(of(LabelRule::Value, json!(7)).unwrap(), 7);
        assert_eq!(of(LabelRule::FirstItem, json!("x")).unwrap_err(), "a list");
        assert!(of(LabelRule::FirstItem, json!([[1]])).is_err() && of(LabelRule::FirstWord, json!([])).is_err());
    }
}
