//! Promise: an ONNX Runtime that is too old is refused with its version, the one that is needed, and the way out.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::io::ErrorKind;
use std::process::Command;

use common::{Workplace, tiny_bundle};

/// The head of ONNX Runtime's C interface, as a release states it that does not offer the version asked for.
const OLD_RUNTIME: &str = r#"
#include <stdint.h>
#include <stddef.h>
struct base { const void *(*get_api)(uint32_t); const char *(*get_version)(void); };
static const void *get_api(uint32_t version) { (void)version; return NULL; }
static const char *get_version(void) { return "1.20.0"; }
static const struct base base = { get_api, get_version };
const struct base *OrtGetApiBase(void) { return &base; }
"#;
const LIBRARY: &str = "libonnxruntime.so.1.20.0";
const REFUSAL: &str = "libonnxruntime.so.1.20.0` is ONNX Runtime 1.20.0, needed is 1.24 or newer";
const WAY_OUT: &str = "  hint: `pip install 'onnxruntime>=1.24'`";

/// A folder with the old library in it; none where there is no C compiler.
fn with_old_runtime() -> Option<Workplace> {
    let place = Workplace::new();
    let source = place.write("old.c", OLD_RUNTIME);
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(place.path(LIBRARY)).arg(source).output();
    match compiled {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: there is no C compiler `cc` on PATH to build the old library with");
            None
        }
        outcome => {
            let output = outcome.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(place)
        }
    }
}

#[test]
fn doctor_names_both_versions_and_the_way_out() {
    let Some(place) = with_old_runtime() else { return };
    let said = place.run(&["doctor", "--ort-lib", LIBRARY], 1);
    for part in ["ONNX Runtime: not found", REFUSAL, WAY_OUT] {
        assert!(said.stdout.contains(part), "expected {part:?} in:\n{}", said.stdout);
    }
    assert!(!said.stdout.contains("all is well"), "{}", said.stdout);
}

#[test]
fn embed_names_both_versions_and_the_way_out_and_leaves_nothing() {
    let Some(place) = with_old_runtime() else { return };
    place.write("papers.jsonl", r#"{"id": "a", "title": "fine"}"#);
    let args = ["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.jsonl", "--ort-lib", LIBRARY];
    let said = place.run(&args, 2);
    said.expect(&["error: ", REFUSAL, WAY_OUT]);
    assert!(said.stdout.is_empty(), "{}", said.stdout);
    assert!(!place.path("x.jsonl").exists(), "a failed run left an output");
}
