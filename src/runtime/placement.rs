//! Which provider computes which nodes of a graph, as ONNX Runtime assigned them when the session was opened.
//!
//! Owns the way to that record, which ort does not wrap. Knows no bundle. Invariant: every node that is on record is counted
//! once, under the name of the provider that runs it.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::fmt;

use ort::AsPointer;
use ort::session::Session;
use ort::sys::OrtStatusPtr;
use serde::{Deserialize, Serialize};

/// The setting of a session without which nothing is on record, and its value.
pub(super) const RECORD: (&str, &str) = ("session.record_ep_graph_assignment_info", "1");

/// A node of the graph, as it was when providers were assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedNode {
    /// Its name in the graph, or what an optimizer called it; may be empty.
    pub name: String,
    /// What it does, such as `MatMul`.
    pub operator: String,
    /// ONNX Runtime's name of the provider that runs it.
    pub provider: String,
}

/// How many nodes of a graph run on each provider, by ONNX Runtime's names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Placement(BTreeMap<String, u64>);

impl Placement {
    pub(super) fn of(nodes: &[PlacedNode]) -> Self {
        let mut counts = BTreeMap::new();
        for node in nodes {
            *counts.entry(node.provider.clone()).or_default() += 1;
        }
        Self(counts)
    }

    /// Numbers of nodes by provider.
    pub fn nodes(&self) -> &BTreeMap<String, u64> {
        &self.0
    }

    /// Whether nothing is known: no session was opened, or its graph has no nodes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The share of the nodes that run on `provider`, 0 to 1; 0 where nothing is known.
    pub fn share(&self, provider: &str) -> f64 {
        let all: u64 = self.0.values().sum();
        if all == 0 { 0.0 } else { self.0.get(provider).copied().unwrap_or(0) as f64 / all as f64 }
    }
}

impl fmt::Display for Placement {
    /// `148 on CUDAExecutionProvider, 2 on CPUExecutionProvider`: the most first.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts: Vec<(&String, &u64)> = self.0.iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let words: Vec<String> = counts.iter().map(|(provider, count)| format!("{count} on {provider}")).collect();
        out.write_str(&words.join(", "))
    }
}

/// Every node of a session's graph with its provider. The session must have been opened with [`RECORD`].
#[expect(unsafe_code, reason = "ort has no call for the assignment; its raw table does")]
pub(super) fn read(session: &Session) -> Result<Vec<PlacedNode>, ort::Error> {
    let api = ort::api();
    let mut nodes = Vec::new();
    // SAFETY: the session is alive until the end of this function, and all that it hands out here belongs to it. Each call gets
    // what the call before it gave, and its lists and texts are copied before the function ends.
    unsafe {
        let list = |first: *mut _, count: *mut _| (api.Session_GetEpGraphAssignmentInfo)(session.ptr(), first, count);
        for &subgraph in pointers(list)? {
            let provider = text(|out| (api.EpAssignedSubgraph_GetEpName)(subgraph, out))?;
            for &node in pointers(|first, count| (api.EpAssignedSubgraph_GetNodes)(subgraph, first, count))? {
                let name = text(|out| (api.EpAssignedNode_GetName)(node, out))?;
                let operator = text(|out| (api.EpAssignedNode_GetOperatorType)(node, out))?;
                nodes.push(PlacedNode { name, operator, provider: provider.clone() });
            }
        }
    }
    Ok(nodes)
}

/// The list of pointers that a call of the library gives.
///
/// # Safety
/// On success `get` must have stored the start of a list and its length, and the list must live as long as `'s`.
#[expect(unsafe_code, reason = "as above")]
unsafe fn pointers<'s, T>(
    get: impl FnOnce(*mut *const *const T, *mut usize) -> OrtStatusPtr,
) -> Result<&'s [*const T], ort::Error> {
    let (mut first, mut count): (*const *const T, usize) = (std::ptr::null(), 0);
    let status = get(&raw mut first, &raw mut count);
    // SAFETY: the status was just returned by the library and is used once; the list is as the caller promises.
    unsafe {
        ort::Error::result_from_status(status)?;
        Ok(if first.is_null() || count == 0 { &[] } else { std::slice::from_raw_parts(first, count) })
    }
}

/// A copy of the text that a call of the library gives.
///
/// # Safety
/// On success `get` must have stored null or a text that ends in NUL.
#[expect(unsafe_code, reason = "as above")]
unsafe fn text(get: impl FnOnce(*mut *const c_char) -> OrtStatusPtr) -> Result<String, ort::Error> {
    let mut text = std::ptr::null();
    let status = get(&raw mut text);
    // SAFETY: the status was just returned by the library and is used once; the text is as the caller promises.
    unsafe {
        ort::Error::result_from_status(status)?;
        Ok(if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_counted_by_provider() {
        let node = |provider: &str| PlacedNode { name: "n".into(), operator: "Add".into(), provider: provider.into() };
        let placement = Placement::of(&[node("A"), node("B"), node("B")]);
        assert_eq!(placement.to_string(), "2 on B, 1 on A");
        assert_eq!(serde_json::to_value(&placement).unwrap(), serde_json::json!({"A": 1, "B": 2}));
        assert!((placement.share("B") - 2.0 / 3.0).abs() < 1e-12 && placement.share("C") == 0.0);
        assert!(Placement::default().is_empty() && Placement::default().share("A") == 0.0);
    }
}
