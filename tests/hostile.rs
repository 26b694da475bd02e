//! Promise: a file that somebody broke, or made up, is read or refused with an error that names it; it never ends the
//! program, never takes more memory than a small multiple of its length, and never leads out of the folders given.
//!
//! Thousands of mutations of whole files, the same in every run; `OFFPRINT_TEST_MUTATIONS` asks for another number per
//! format, `OFFPRINT_TEST_SEEDS` for the whole files in a folder, as a beginning for the fuzzers in `fuzz/`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say what it did")]

#[path = "hostile/mutate.rs"]
mod mutate;
#[path = "hostile/targets.rs"]
mod targets;

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use mutate::{Random, mutate};
use targets::{TARGETS, Target};

const MUTATIONS: usize = 5_000;

/// Counts the bytes that are allocated, and their peak.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn grown(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(held, Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "an allocator that hands everything on to the system's")]
// SAFETY: every call goes to `System` as it came; counting touches no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `pointer` came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are there while one is copied into the other.
        grown(size);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `pointer` came from `System` with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// One reader at a time, so that the peak is its own.
static TURN: Mutex<()> = Mutex::new(());

fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// An error and all its causes.
fn words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// What became of the mutations of one format.
#[derive(Debug, Default)]
struct Tally {
    read: usize,
    refused: usize,
    /// Most bytes held for a file, and most per byte of it beyond what any file may take.
    peak: usize,
    factor: f64,
}

/// Reads `bytes` as the target's file, and fails if the promise is broken.
fn read(target: &Target, folder: &Path, bytes: &[u8], tally: &mut Tally) {
    offprint::contained::hide_contained_panics();
    fs::write(folder.join(target.file), bytes).unwrap();
    let keep = || {
        let path = std::env::temp_dir().join(format!("offprint-hostile-{}", target.name));
        fs::write(&path, bytes).unwrap();
        path
    };
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.read)(folder)));
    let peak = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    let (factor, constant) = target.memory;
    assert!(
        peak <= factor * bytes.len() + constant,
        "{}: {} bytes made it hold {peak}; kept in {}",
        target.name,
        bytes.len(),
        keep().display()
    );
    tally.peak = tally.peak.max(peak);
    tally.factor = tally.factor.max(peak.saturating_sub(constant) as f64 / bytes.len().max(1) as f64);
    match outcome {
        Ok(Ok(())) => tally.read += 1,
        Ok(Err(error)) => {
            let text = words(&*error);
            // What no row of a whole corpus has is no single file's fault.
            let names = text.contains(&folder.display().to_string()) || text.starts_with("no row has a field");
            assert!(names, "{}: `{text}` names no file; kept in {}", target.name, keep().display());
            tally.refused += 1;
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            panic!("{} panicked: {}; kept in {}", target.name, text.unwrap_or_default(), keep().display());
        }
    }
}

fn try_target(target: &Target) {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mutations = std::env::var("OFFPRINT_TEST_MUTATIONS").map_or(MUTATIONS, |number| number.parse().unwrap());
    let folder = folder();
    (target.prepare)(folder.path());
    let whole = fs::read(folder.path().join(target.file)).unwrap();
    if let Some(seeds) = std::env::var_os("OFFPRINT_TEST_SEEDS") {
        let seeds = Path::new(&seeds).join(target.name);
        fs::create_dir_all(&seeds).unwrap();
        fs::write(seeds.join("whole"), &whole).unwrap();
    }
    (target.read)(folder.path()).ok();
    let mut tally = Tally::default();
    let mut random = Random::new(blake3::hash(target.name.as_bytes()).as_bytes()[0].into());
    let mut last = whole.clone();
    for _ in 0..mutations {
        let mutation = mutate(&whole, &last, &mut random);
        read(target, folder.path(), &mutation, &mut tally);
        last = mutation;
    }
    println!("{}: {} bytes, {tally:?}", target.name, whole.len());
    assert!(tally.read > 0 && tally.refused > 0 || mutations < 100, "{}: {tally:?} says nothing", target.name);
}

macro_rules! mutations_of {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            try_target(TARGETS.iter().find(|target| target.name == stringify!($name)).unwrap());
        })*

        #[test]
        fn every_target_is_tried() {
            assert_eq!(TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), [$(stringify!($name)),*]);
        }
    };
}

mutations_of!(
    weights,
    torch,
    shards,
    config,
    tokenizer_config,
    modules,
    pooling,
    sentence_config,
    tokenizer,
    recipe,
    manifest,
    graph,
    onnx,
    head,
    part,
    space,
    jsonl,
    csv,
    tsv,
    parquet,
    report
);

/// Nothing in a file names another one outside of the folder that the user gave.
#[test]
fn no_file_leads_out_of_the_folder_that_was_given() {
    let outside = folder();
    let sentence = TARGETS.iter().find(|target| target.name == "modules").unwrap();
    (sentence.prepare)(outside.path());
    let given = outside.path().join("given");
    fs::create_dir(&given).unwrap();
    (sentence.prepare)(&given);
    let absolute = outside.path().join("0_Transformer").display().to_string();
    for path in ["../0_Transformer", "./../0_Transformer", "0_Transformer/../../0_Transformer", "/etc", &absolute] {
        let modules = format!(r#"[{{"path": "{path}", "type": "sentence_transformers.models.Transformer"}}]"#);
        fs::write(given.join("modules.json"), modules).unwrap();
        let text = words(&*(sentence.read)(&given).unwrap_err());
        assert!(text.contains("modules.json") && text.contains("inside the checkpoint"), "{path}: {text}");

        let recipe = TARGETS.iter().find(|target| target.name == "recipe").unwrap();
        let text = format!(
            "name = \"x\"\nsource = \"x\"\ntemplate = \"model-card\"\nverified = true\n[files]\n\"{path}\" = \"sha256:{}\"\n",
            "0".repeat(64)
        );
        fs::write(given.join("recipe.toml"), text).unwrap();
        let text = words(&*(recipe.read)(&given).unwrap_err());
        assert!(text.contains("recipe.toml") && text.contains("does not lie inside"), "{path}: {text}");
    }
    // A space is found by its folder; one that says it is another's is passed over.
    let cache = TARGETS.iter().find(|target| target.name == "space").unwrap();
    (cache.prepare)(&given);
    let file = given.join(cache.file);
    let space = fs::read_to_string(&file).unwrap().replace("0123456789abcdef", "../0123456789abcdef");
    fs::write(&file, space).unwrap();
    assert!(offprint::cache::spaces(&given).unwrap().is_empty());
}
