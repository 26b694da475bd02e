//! Promise: other programs read what the program wrote, to the bit. Every `python` block of the README is run as it
//! stands there, and every format is read by the libraries that its users have.
//!
//! Needs a Python with numpy, polars, pyarrow and safetensors: `OFFPRINT_PYTHON`, else the project's `.venv-oracle`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use common::{Workplace, root, tiny_bundle};

/// Two papers that fit and one that is longer than the maximum length.
const SHORT: &str =
    "{\"id\": \"a\", \"title\": \"Star\"}\n{\"id\": \"b\", \"title\": \"Cell\", \"abstract\": \"Protein\"}\n";

/// Runs after a block: what the block's comments say of the names that it set, and what a block leaves behind.
const CHECKS: &str = r#"
import os, pickle
found = globals()
if "vectors" in found:
    assert tuple(vectors.shape) == (3, 24), vectors.shape
    assert str(vectors.dtype) in ("float32", "torch.float32"), vectors.dtype
if "ids" in found:
    assert ids == ["a", "b", "c"], ids
if "cut" in found:
    assert cut.to_list() == ["c"], cut
if "part" in found:
    assert part.columns == ["key", "embedding", "n_tokens", "n_dropped", "title_cut"], part.columns
    assert part.height == 3, part.height
if os.path.exists("demo/s2and.pickle"):
    with open("demo/s2and.pickle", "rb") as file:
        X, keys = pickle.load(file)
    by_id = {key: X[row, :] for row, key in enumerate(keys)}
    assert list(by_id) == ["a", "b", "c"] and by_id["b"].shape == (24,), by_id
assert found.keys() & {"vectors", "part"}
"#;

/// A Python with what the scripts import.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("OFFPRINT_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| root().join(".venv-oracle/bin/python"));
    let imports = Command::new(&python).args(["-c", "import numpy, polars, pyarrow, safetensors"]).output();
    if imports.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let needed = "numpy, polars, pyarrow and safetensors";
    println!("skipped: {} has not all of {needed}; OFFPRINT_PYTHON names a Python that has", python.display());
    None
}

/// Runs `script` in the workplace; it must end well.
fn run_python(place: &Workplace, python: &PathBuf, script: &str) {
    let file = place.write("script.py", script);
    let output = Command::new(python).arg(file).current_dir(place.path("")).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The texts between ` ```python ` and ` ``` `.
fn python_blocks(markdown: &str) -> Vec<&str> {
    let opened = markdown.split("```python\n").skip(1);
    opened.map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_python_of_the_readme_reads_what_was_written() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = python_blocks(&readme);
    for reader in ["np.load(", "pl.read_parquet(", "pl.read_ipc("] {
        assert!(blocks.iter().any(|block| block.contains(reader)), "no block of the README with {reader}");
    }
    let Some(python) = python() else { return };
    let place = Workplace::new();
    std::fs::create_dir(place.path("demo")).unwrap();
    let long = format!("{{\"id\": \"c\", \"title\": \"{}\"}}\n", "galaxy ".repeat(99));
    place.write("papers.jsonl", format!("{SHORT}{long}"));
    for output in ["demo/papers.npy", "demo/papers.parquet", "demo/vectors.safetensors"] {
        place.run(&["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", output], 0);
    }
    let pattern = place.path("cache/embeddings/*/*.arrow");
    let parts: Vec<PathBuf> = glob::glob(pattern.to_str().unwrap()).unwrap().map(Result::unwrap).collect();
    assert_eq!(parts.len(), 1, "{parts:?}");
    std::fs::copy(&parts[0], place.path("PART.arrow")).unwrap();
    for block in blocks {
        run_python(&place, &python, &format!("{block}{CHECKS}"));
    }
}

/// What S2AND loads is a pickle of a matrix and its keys, of which it takes the rows one by one.
const S2AND: &str = r#"
import pickle
import numpy as np

vectors = np.load("a.npy")
ids = open("a.ids.txt", encoding="utf-8").read().splitlines()
with open("s2and.pickle", "wb") as file:
    pickle.dump((vectors, ids), file, protocol=4)

from safetensors.numpy import load_file
with open("s2and-too.pickle", "wb") as file:
    pickle.dump((load_file("b.safetensors")["embeddings"], ids), file, protocol=4)

import json
expected = [json.loads(line) for line in open("e.jsonl", encoding="utf-8")]
for name in ["s2and.pickle", "s2and-too.pickle"]:
    with open(name, "rb") as file:
        X, keys = pickle.load(file)
    by_id = {key: X[row, :] for row, key in enumerate(keys)}
    assert len(by_id) == len(expected) == 3000
    for row in expected:
        assert (by_id[row["doc_id"]] == np.array(row["embedding"], dtype="float32")).all(), row["doc_id"]
"#;

/// Every format against the first, bit by bit.
const FORMATS: &str = r#"
import gzip, json, subprocess, struct
import numpy as np, polars as pl, pyarrow.parquet as pq, pyarrow as pa
import safetensors
from safetensors.numpy import load_file

vectors = np.load("a.npy", mmap_mode="r")
ids = open("a.ids.txt", encoding="utf-8").read().splitlines()
assert vectors.shape == (3000, 24) and vectors.dtype == "<f4" and len(set(ids)) == 3000
assert vectors.flags["ALIGNED"] and vectors.offset % 64 == 0, vectors.offset
bits = vectors.view("uint32")

def same(other, other_ids=None):
    other = np.ascontiguousarray(other, dtype="float32")
    assert other.shape == vectors.shape, other.shape
    assert (other.view("uint32") == bits).all()
    assert other_ids is None or list(other_ids) == ids

def lines(name):
    return open(name, encoding="utf-8").read().splitlines()

same(load_file("b.safetensors")["embeddings"], lines("b.ids.txt"))
with safetensors.safe_open("b.safetensors", framework="np") as file:
    assert list(file.keys()) == ["embeddings"]
    metadata = file.metadata()
assert metadata["format"] == "pt" and metadata["offprint.encoder"] == "cls", metadata
assert len(metadata["offprint.fingerprint"]) == 64
try:
    import torch
    from safetensors.torch import load_file as load_torch
    same(load_torch("b.safetensors")["embeddings"].numpy())
except ImportError:
    pass

with open("c.fbin", "rb") as file:
    rows, dim = struct.unpack("<ii", file.read(8))
    same(np.fromfile(file, dtype="<f4").reshape(rows, dim), lines("c.ids.txt"))

for name in ["d.parquet", "d-zstd.parquet", "d-snappy.parquet", "d-none.parquet"]:
    table = pq.read_table(name)
    assert table.schema.field("embedding").type == pa.list_(pa.field("element", pa.float32(), nullable=False), 24)
    assert table.schema.metadata[b"offprint.encoder"] == b"cls"
    assert table.schema.metadata[b"offprint.fingerprint"].decode() == metadata["offprint.fingerprint"]
    same(np.stack(table["embedding"].to_numpy()), table["id"].to_pylist())
    frame = pl.read_parquet(name)
    same(frame["embedding"].to_numpy(), frame["id"].to_list())
codec = lambda name: {pq.ParquetFile(name).metadata.row_group(0).column(at).compression for at in range(4)}
assert codec("d.parquet") == {"ZSTD", "UNCOMPRESSED"}, codec("d.parquet")
assert codec("d-zstd.parquet") == {"ZSTD"} and codec("d-snappy.parquet") == {"SNAPPY"}
assert codec("d-none.parquet") == {"UNCOMPRESSED"}

def rows_of(text, key="doc_id"):
    rows = [json.loads(line) for line in text.splitlines()]
    assert all(list(row) == [key, "embedding"] for row in rows)
    same([row["embedding"] for row in rows], [row[key] for row in rows])

plain = open("e.jsonl", "rb").read()
rows_of(plain.decode())
rows_of(open("scidocs.jsonl", encoding="utf-8").read(), "paper_id")
assert gzip.open("e.jsonl.gz").read() == plain
try:
    assert subprocess.run(["zstd", "-dc", "e.jsonl.zst"], capture_output=True, check=True).stdout == plain
except FileNotFoundError:
    pass
assert pl.read_ndjson("e.jsonl.gz").height == 3000
assert pl.read_ndjson("e.jsonl.zst")["doc_id"].to_list() == ids

by_key = pl.read_parquet("keys.parquet")
assert by_key.columns == ["key", "embedding", "n_tokens", "n_dropped"]
keys = by_key["key"].to_list()
assert keys == sorted(keys) and len(set(keys)) == 3000 and all(len(key) == 32 for key in keys)
assert sorted(map(bytes, by_key["embedding"].to_numpy())) == sorted(map(bytes, np.array(vectors)))
assert lines("keys2.ids.txt") == keys
assert (np.load("keys2.npy") == by_key["embedding"].to_numpy()).all()
"#;

#[test]
fn every_format_is_read_by_those_who_use_it() {
    let Some(python) = python() else { return };
    let place = Workplace::new();
    let mut corpus = String::new();
    for paper in 0..3_000 {
        writeln!(corpus, "{{\"id\": \"10.1/é {paper}\", \"title\": \"Star {paper} of cell {}\"}}", paper % 7).unwrap();
    }
    place.write("papers.jsonl", corpus);
    let embed = |output: &str, more: &[&str]| {
        let mut args = vec!["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", output];
        args.extend(more);
        place.run(&args, 0);
    };
    for output in ["a.npy", "b.safetensors", "c.fbin", "d.parquet", "e.jsonl.gz", "e.jsonl.zst"] {
        embed(output, &[]);
    }
    for how in ["zstd", "snappy", "none"] {
        embed(&format!("d-{how}.parquet"), &["--compress", how]);
    }
    embed("e.jsonl", &["--jsonl-for", "scirepeval"]);
    embed("scidocs.jsonl", &["--jsonl-for", "scidocs"]);
    for output in ["keys.parquet", "keys2.npy"] {
        place.run(&["cache", "export", "-o", output], 0);
    }
    run_python(&place, &python, FORMATS);
    run_python(&place, &python, S2AND);
}

#[test]
fn an_output_of_nothing_is_read_as_nothing() {
    let Some(python) = python() else { return };
    let place = Workplace::new();
    place.write("papers.jsonl", "{\"id\": \"a\", \"title\": 7}\n");
    for output in ["a.npy", "b.safetensors", "c.fbin", "d.parquet", "e.jsonl.gz"] {
        place.run(&["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", output, "--allow-rejects"], 0);
    }
    let script = r#"
import gzip, struct
import numpy as np, polars as pl, pyarrow.parquet as pq
from safetensors.numpy import load_file
assert np.load("a.npy").shape == (0, 24) and open("a.ids.txt").read() == ""
assert load_file("b.safetensors")["embeddings"].shape == (0, 24)
assert struct.unpack("<ii", open("c.fbin", "rb").read()) == (0, 24)
assert pl.read_parquet("d.parquet").height == 0 and pq.read_table("d.parquet").num_rows == 0
assert gzip.open("e.jsonl.gz").read() == b""
"#;
    run_python(&place, &python, script);
}

#[test]
fn ids_that_are_no_line_are_json_strings_in_the_list() {
    let Some(python) = python() else { return };
    let place = Workplace::new();
    let papers = [
        r#"{"id": "plain", "title": "one"}"#,
        r#"{"id": "line\nbreak", "title": "two"}"#,
        r#"{"id": "\"quoted\"", "title": "three"}"#,
        r#"{"id": "tab\tand \u0085 \u2028", "title": "four"}"#,
    ];
    place.write("papers.jsonl", papers.join("\n"));
    let said = place.run(&["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.npy"], 0);
    said.expect(&["warning: 3 ids stand as JSON strings in x.ids.txt", "line break or control character"]);
    let script = r#"
import json
lines = open("x.ids.txt", encoding="utf-8").read().splitlines()
ids = [json.loads(line) if line.startswith('"') else line for line in lines]
assert ids == [json.loads(line)["id"] for line in open("papers.jsonl", encoding="utf-8")], ids
"#;
    run_python(&place, &python, script);
}

#[test]
fn compressed_predictions_are_the_same_predictions() {
    let Some(python) = python() else { return };
    let place = Workplace::new();
    let mut corpus = String::new();
    for paper in 0..60 {
        let (label, word) = [("a", "star"), ("b", "cell")][paper % 2];
        writeln!(corpus, "{{\"id\": \"p{paper}\", \"title\": \"{word} {paper}\", \"field\": \"{label}\"}}").unwrap();
    }
    place.write("papers.jsonl", corpus);
    let model = tiny_bundle();
    place.run(&["train", "--model", model, "--label", "field", "papers.jsonl", "-o", "x.head"], 0);
    let classify = |output: &str, more: &[&str]| {
        let mut args = vec!["classify", "--model", model, "--head", "x.head", "papers.jsonl", "-o", output];
        args.extend(more);
        place.run(&args, 0);
    };
    for output in ["p.jsonl", "p.csv", "p.jsonl.gz", "p.jsonl.zst", "p.csv.gz", "p.csv.zst"] {
        classify(output, &[]);
    }
    classify("q.csv.gz", &["--compress", "gzip:9"]);
    classify("p.parquet", &["--compress", "snappy"]);
    let script = r#"
import gzip
import polars as pl, pyarrow.parquet as pq
for name in ["p.jsonl", "p.csv"]:
    assert gzip.open(name + ".gz").read() == open(name, "rb").read()
assert gzip.open("q.csv.gz").read() == open("p.csv", "rb").read()
rows = pl.read_csv("p.csv")
assert rows.height == 60 and rows.columns[:3] == ["id", "label", "probability"]
assert pl.read_csv("p.csv.zst").equals(rows)
assert pl.read_ndjson("p.jsonl.zst")["id"].to_list() == rows["id"].to_list()
assert pl.read_parquet("p.parquet")["label"].to_list() == rows["label"].to_list()
assert pq.ParquetFile("p.parquet").metadata.row_group(0).column(0).compression == "SNAPPY"
"#;
    run_python(&place, &python, script);
}
