//! Promise: the README's Python reads what the program wrote. Every `python` block is run as it stands there.
//!
//! Needs a Python with numpy and polars: `OFFPRINT_PYTHON`, else the project's `.venv-oracle`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{Workplace, root, tiny_bundle};

/// Two papers that fit and one that is longer than the maximum length.
const SHORT: &str =
    "{\"id\": \"a\", \"title\": \"Star\"}\n{\"id\": \"b\", \"title\": \"Cell\", \"abstract\": \"Protein\"}\n";

/// Runs after a block: what the block's comments say of the names that it set.
const CHECKS: &str = r#"
found = globals()
if "vectors" in found:
    assert vectors.shape == (3, 24) and vectors.dtype == "float32", (vectors.shape, vectors.dtype)
if "ids" in found:
    assert ids == ["a", "b", "c"], ids
if "cut" in found:
    assert cut.to_list() == ["c"], cut
if "part" in found:
    assert part.columns == ["key", "embedding", "n_tokens", "n_dropped", "title_cut"], part.columns
    assert part.height == 3, part.height
assert found.keys() & {"vectors", "part"}
"#;

/// A Python with what the blocks import.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("OFFPRINT_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| root().join(".venv-oracle/bin/python"));
    let imports = Command::new(&python).args(["-c", "import numpy, polars"]).output();
    if imports.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    println!("skipped: {} has no numpy and polars; OFFPRINT_PYTHON names a Python that has", python.display());
    None
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
    for output in ["demo/papers.npy", "demo/papers.parquet"] {
        place.run(&["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", output], 0);
    }
    let pattern = place.path("cache/embeddings/*/*.arrow");
    let parts: Vec<PathBuf> = glob::glob(pattern.to_str().unwrap()).unwrap().map(Result::unwrap).collect();
    assert_eq!(parts.len(), 1, "{parts:?}");
    std::fs::copy(&parts[0], place.path("PART.arrow")).unwrap();

    for block in blocks {
        let script = place.write("block.py", format!("{block}{CHECKS}"));
        let output = Command::new(&python).arg(script).current_dir(place.path("")).output().unwrap();
        assert!(output.status.success(), "{block}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}
