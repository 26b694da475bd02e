//! The adapters in a bundle's graph, as `bundle.toml` names them. Knows nothing of how an adapter computes or is read.
//!
//! Invariant: what says which function of a text is computed is an adapter's hash; its name is for people alone.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most adapters that one bundle carries.
pub const MAX_ADAPTERS: usize = 256;

/// What an adapter does to the layers that it sits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterKind {
    /// A small feed-forward network behind a layer: down, activation, up, added to what goes by.
    Bottleneck,
    /// A product of two thin matrices that is added to a weight.
    Lora,
}

impl AdapterKind {
    /// The word for it, as in `bundle.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bottleneck => "bottleneck",
            Self::Lora => "lora",
        }
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// An adapter in the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleAdapter {
    /// What it is called: letters, digits, `-` and `_`. Decides nothing but how it is asked for.
    pub name: String,
    /// What it does.
    pub kind: AdapterKind,
    /// BLAKE3 of its weights and of what its config adds to them, 64 hex digits: which adapter it is.
    pub hash: String,
    /// Where it comes from: a hub id or a folder's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The source's revision, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The licence of its weights, in the words of their source; none where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
}

/// Whether adapters may go by this name.
pub fn is_adapter_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter))
}

/// What is wrong with a manifest's adapters: field, got, expected.
pub(super) fn problem(fused: Option<&BundleAdapter>, several: &[BundleAdapter]) -> Option<(String, String, String)> {
    if let (Some(_), [_, ..]) = (fused, several) {
        let got = format!("there beside {} of `adapter`", several.len());
        return Some(("fused_adapter".to_owned(), got, "one or the other".to_owned()));
    }
    if several.len() == 1 || several.len() > MAX_ADAPTERS {
        let expected = format!("2 to {MAX_ADAPTERS} (a single one is `fused_adapter`)");
        return Some(("adapter".to_owned(), format!("a list of {}", several.len()), expected));
    }
    let fused = fused.map(|adapter| ("fused_adapter".to_owned(), adapter, &[][..]));
    let listed = |(at, adapter)| (format!("adapter.{at}"), adapter, &several[..at]);
    fused.into_iter().chain(several.iter().enumerate().map(listed)).find_map(|(place, adapter, before)| {
        let (field, got, expected) = problem_of(adapter, before)?;
        Some((format!("{place}.{field}"), got, expected.to_owned()))
    })
}

fn problem_of(adapter: &BundleAdapter, before: &[BundleAdapter]) -> Option<(&'static str, String, &'static str)> {
    let BundleAdapter { name, hash, .. } = adapter;
    if !is_adapter_name(name) {
        return Some(("name", format!("`{name}`"), "letters, digits, `-` and `_`"));
    }
    if before.iter().any(|other| other.name == *name) {
        return Some(("name", format!("`{name}` twice"), "a name of its own for each adapter"));
    }
    if hash.len() != 64 || !hash.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return Some(("hash", format!("`{hash}`"), "64 hex digits"));
    }
    if let Some(other) = before.iter().find(|other| other.hash == *hash) {
        let got = format!("that of `{}`", other.name);
        return Some(("hash", got, "another adapter under each name"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(name: &str, digit: char) -> BundleAdapter {
        BundleAdapter {
            name: name.into(),
            kind: AdapterKind::Bottleneck,
            hash: digit.to_string().repeat(64),
            source: None,
            revision: None,
            license: None,
        }
    }

    #[test]
    fn adapters_that_contradict_each_other_or_themselves_are_named() {
        let (a, b) = (adapter("a", 'a'), adapter("b-2_C", 'b'));
        assert_eq!(problem(None, &[]), None);
        assert_eq!(problem(Some(&a), &[]), None);
        assert_eq!(problem(None, &[a.clone(), b.clone()]), None);
        let found = |fused: Option<&BundleAdapter>, several: &[BundleAdapter]| {
            let (field, got, _) = problem(fused, several).unwrap();
            format!("{field}: {got}")
        };
        assert_eq!(found(Some(&a), &[a.clone(), b.clone()]), "fused_adapter: there beside 2 of `adapter`");
        assert_eq!(found(None, std::slice::from_ref(&a)), "adapter: a list of 1");
        assert_eq!(found(None, &vec![a.clone(); 257]), "adapter: a list of 257");
        assert_eq!(found(None, &[a.clone(), adapter("a", 'b')]), "adapter.1.name: `a` twice");
        assert_eq!(found(None, &[a.clone(), adapter("b", 'a')]), "adapter.1.hash: that of `a`");
        assert_eq!(found(Some(&adapter("a b", 'a')), &[]), "fused_adapter.name: `a b`");
        assert_eq!(found(Some(&adapter("", 'a')), &[]), "fused_adapter.name: ``");
        let short = BundleAdapter { hash: "abc".into(), ..a.clone() };
        assert_eq!(found(Some(&short), &[]), "fused_adapter.hash: `abc`");
        assert_eq!(found(None, &[b, adapter("x", 'X')]), format!("adapter.1.hash: `{}`", "X".repeat(64)));
    }
}
