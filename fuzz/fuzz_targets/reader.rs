//! One fuzzer per reader, all of this one source: the name of the program is the name of the target.
#![no_main]

#[path = "../../tests/hostile/targets.rs"]
mod targets;

use std::fs;
use std::sync::OnceLock;

use targets::{TARGETS, Target};

/// The target, and a folder of this process in which its file is written anew for every input.
fn place() -> &'static (Target, tempfile::TempDir) {
    static PLACE: OnceLock<(Target, tempfile::TempDir)> = OnceLock::new();
    PLACE.get_or_init(|| {
        let target = *TARGETS.iter().find(|target| target.name == env!("CARGO_BIN_NAME")).expect("a name of a target");
        let folder = tempfile::tempdir().expect("a folder for the file");
        (target.prepare)(folder.path());
        (target, folder)
    })
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (target, folder) = place();
    fs::write(folder.path().join(target.file), bytes).expect("the file can be written");
    if let Err(error) = (target.read)(folder.path()) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&error.to_string());
            cause = error.source();
        }
        assert!(text.contains(&folder.path().display().to_string()), "an error that names no file: {text}");
    }
});
