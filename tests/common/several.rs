//! A bundle with three adapters around a graph that was made by hand, so that what chooses among them is tested without
//! what writes them.

// Every test file compiles this module for itself and uses its own part of it.
#![allow(dead_code)]

use std::fs;
use std::path::Path;

use offprint::model::{
    AdapterKind, BundleAdapter, GRAPH_FILE, GraphMetadata, MANIFEST_FILE, Manifest, Pooling, Precision, Source,
    TOKENIZER_FILE, bundle_format,
};

use crate::common::{Workplace, root};

/// The adapters, in the order of the graph; the first changes nothing.
pub const NAMES: [&str; 3] = ["proximity", "adhoc_query", "classification"];

/// What is known of an adapter called `name`.
pub fn adapter(name: &str) -> BundleAdapter {
    BundleAdapter {
        name: name.to_owned(),
        kind: AdapterKind::Bottleneck,
        hash: blake3::hash(name.as_bytes()).to_hex().to_string(),
        source: Some(format!("org/{name}")),
        revision: None,
        license: None,
    }
}

/// Writes the bundle `several`.
pub fn several(place: &Workplace) {
    let adapters = NAMES.map(adapter).to_vec();
    write(place, "several", "several.onnx", |manifest| Manifest { adapters, ..manifest });
}

/// Writes the bundle `fused`, whose manifest speaks of one fused adapter.
pub fn fused(place: &Workplace) {
    let fused_adapter = Some(adapter(NAMES[0]));
    write(place, "fused", "sum32.onnx", |manifest| Manifest { fused_adapter, ..manifest });
}

/// Writes a bundle around a graph of `tests/data/tiny-graph` for the tokenizer of the tiny checkpoint.
pub fn write(place: &Workplace, name: &str, graph: &str, change: impl FnOnce(Manifest) -> Manifest) {
    let data = root().join("tests/data");
    let folder = place.path(name);
    fs::create_dir_all(&folder).unwrap();
    let tokenizer = fs::read(data.join("tiny-bert/cls/tokenizer.json")).unwrap();
    fs::write(folder.join(TOKENIZER_FILE), &tokenizer).unwrap();
    let path = folder.join(GRAPH_FILE);
    fs::copy(data.join("tiny-graph").join(graph), &path).unwrap();
    let end = GraphMetadata::read(&path).unwrap().graph_end;
    let mut bytes = fs::read(&path).unwrap();
    let manifest = change(plain(&bytes[..end as usize], &tokenizer));
    let has_adapters = manifest.fused_adapter.is_some() || !manifest.adapters.is_empty();
    let manifest = Manifest { format: bundle_format(has_adapters), ..manifest };
    for (key, value) in manifest.metadata() {
        push_metadata(&mut bytes, &key, &value);
    }
    fs::write(path, bytes).unwrap();
    fs::write(folder.join(MANIFEST_FILE), manifest.to_toml()).unwrap();
}

fn plain(graph: &[u8], tokenizer: &[u8]) -> Manifest {
    let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    Manifest {
        format: bundle_format(false),
        created_by: "a test".into(),
        architecture: "bert".into(),
        dim: 24,
        max_length: 64,
        truncation_side: "right".into(),
        pooling: Pooling::Mean,
        pooling_stated: false,
        normalize: false,
        output: "sentence_embedding".into(),
        template: "model-card".into(),
        sep_token: "[SEP]".into(),
        precision: Precision::Fp32,
        batch_invariant: true,
        parameters: 3_072,
        tokenizer_hash: hash(tokenizer),
        graph_hash: hash(graph),
        encoder_graph_hash: None,
        license: None,
        plain: false,
        data: None,
        source: Source { name: "by hand".into(), revision: None, weights_hash: "w".into(), config_hash: "c".into() },
        fused_adapter: None,
        quality: None,
        int8: None,
        heads: Vec::new(),
        adapters: Vec::new(),
    }
}

/// `metadata_props` of ONNX: field 14 of the model, an entry with key (1) and value (2).
fn push_metadata(bytes: &mut Vec<u8>, key: &str, value: &str) {
    let mut entry = Vec::new();
    for (tag, text) in [(0x0a, key), (0x12, value)] {
        entry.push(tag);
        push_length(&mut entry, text.len());
        entry.extend(text.as_bytes());
    }
    bytes.push(0x72);
    push_length(bytes, entry.len());
    bytes.extend(entry);
}

fn push_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

/// The rows of a JSONL output of `embed`.
pub fn vectors(place: &Workplace, output: &str) -> Vec<Vec<f32>> {
    let row = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        value["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
    };
    place.read(output).lines().map(row).collect()
}

/// The fingerprints under which the cache has rows, with their `adapter` fields and how many rows there are.
pub fn spaces(cache: &Path) -> Vec<(String, usize)> {
    let stat = offprint::cache::stat(&cache.join("embeddings")).unwrap();
    let mut rows: Vec<(String, usize)> =
        stat.spaces.iter().map(|space| (space.fields["adapter"].clone(), space.rows as usize)).collect();
    rows.sort();
    rows
}
