//! Promise: whatever single change of the disk fails, or is the last before the process dies, a run says which file it
//! is about, leaves no half file under a real name, and the next run ends as if nothing had happened.
//!
//! Every step of whole runs is tried: the cache from an empty folder to its merge, rejected rows, each output format,
//! heads, reports, bundles.

mod work;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{EmbeddingCache, MergeScope, stat, verify};
use crate::durable::fail_points::{Step, Watch, asked_to_die, die_in_child};
use crate::output::ids_path;
use work::Work;

/// Files by their path in the folder of a work.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A folder in memory where there is one: thousands of syncs are asked for here, none of which is what is tested.
fn quick_folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// A folder with the inputs and the older results of `work`.
fn prepared(work: Work) -> tempfile::TempDir {
    let folder = quick_folder();
    work.prepare(folder.path());
    folder
}

/// What ends well: the steps it took and the files it left.
fn undisturbed(work: Work) -> (Vec<Step>, Files) {
    let folder = prepared(work);
    let watch = Watch::count(folder.path());
    let warnings = work.run(folder.path()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    (watch.taken(), results(folder.path()))
}

/// All files but the lock and the stamp of the cache, which becomes one part first and is stood for by its name: the
/// hash of its bytes.
fn results(folder: &Path) -> Files {
    let cache = folder.join(work::CACHE);
    if cache.exists() {
        EmbeddingCache::open(&cache, &work::space()).unwrap().merge(MergeScope::All).unwrap();
    }
    let is_part = |path: &Path| path.extension().is_some_and(|ending| ending == "arrow");
    let read = |path: PathBuf| {
        let bytes = if is_part(&path) { Vec::new() } else { content(folder, &path) };
        (path, bytes)
    };
    let is_result = |path: &PathBuf| !path.ends_with(".merge.lock") && !path.ends_with("last-used");
    paths(folder).into_iter().filter(is_result).map(read).collect()
}

/// The bytes of a file. Rejected rows name the corpus, which lies in a folder of another name in each test.
fn content(folder: &Path, path: &Path) -> Vec<u8> {
    let bytes = fs::read(folder.join(path)).unwrap_or_default();
    match String::from_utf8(bytes) {
        Ok(text) => text.replace(&folder.display().to_string(), "DIR").into_bytes(),
        Err(error) => error.into_bytes(),
    }
}

/// The paths of all files below `folder`.
fn paths(folder: &Path) -> Vec<PathBuf> {
    let pattern = folder.join("**/*");
    let options = glob::MatchOptions { require_literal_leading_dot: false, ..glob::MatchOptions::new() };
    let found = glob::glob_with(pattern.to_str().unwrap(), options).unwrap().map(Result::unwrap);
    found.filter(|path| path.is_file()).map(|path| path.strip_prefix(folder).unwrap().to_owned()).collect()
}

fn temporary(folder: &Path) -> Vec<PathBuf> {
    let is_temporary = |path: &PathBuf| path.to_string_lossy().contains(".tmp");
    paths(folder).into_iter().filter(is_temporary).collect()
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

/// Whether `text` speaks of what `step` was about. A part has no name before it is whole, and a bundle is put in place
/// as a whole: there the folder stands for it.
fn names(text: &str, folder: &Path, step: &Step) -> bool {
    let path = folder.join(&step.path);
    let as_a_whole = path.extension().is_some_and(|ending| ending == "arrow") || step.path.starts_with(work::WORKSHOP);
    let known = |path: &Path| text.contains(&format!("{}", path.display()));
    known(&path) || (as_a_whole && path.parent().is_some_and(known))
}

/// Fails if a file is neither what stood there before nor what belongs there, or if the cache is damaged.
fn assert_whole(work: Work, folder: &Path, expected: &Files, step: &Step) {
    let older = prepared(work);
    let mut met = BTreeMap::new();
    for path in paths(folder) {
        if path.starts_with(work::CACHE) || path.starts_with(work::WORKSHOP) || temporary(folder).contains(&path) {
            continue;
        }
        let bytes = content(folder, &path);
        let is_new = expected.get(&path) == Some(&bytes);
        let is_old = !bytes.is_empty() && content(older.path(), &path) == bytes;
        // A run that fails later keeps what it had rejected until then.
        let is_first_lines =
            path.ends_with(work::REJECTS) && bytes.ends_with(b"\n") && expected[&path].starts_with(&bytes);
        assert!(is_new || is_old || is_first_lines, "half of {} after: {step}", path.display());
        met.insert(path, is_new);
    }
    let matrix = met.iter().find(|(path, _)| ids_path(path).is_some());
    if let (Some((_, matrix)), Some(ids)) = (matrix, met.get(Path::new(work::IDS))) {
        assert_eq!(matrix, ids, "rows of one run beside the ids of another after: {step}");
    }
    let cache = folder.join(work::CACHE);
    if cache.exists() {
        let report = verify(&cache).unwrap();
        assert!(report.damaged.is_empty(), "{step}: {report:?}");
        assert_eq!(stat(&cache).unwrap().spaces.iter().map(|space| space.unusable_parts).sum::<usize>(), 0);
    }
}

/// The run after a fault.
fn assert_goes_on(work: Work, folder: &Path, expected: &Files, step: &Step) {
    let warnings = work.run(folder).unwrap_or_else(|error| panic!("after {step}: {}", words(&*error)));
    assert!(warnings.is_empty(), "after {step}: {warnings:?}");
    assert_eq!(temporary(folder), Vec::<PathBuf>::new(), "left by {step}");
    let found = results(folder);
    assert!(found.keys().eq(expected.keys()), "after {step}: {:?}, not {:?}", found.keys(), expected.keys());
    for (path, bytes) in found {
        assert!(bytes == expected[&path], "{} differs after {step}", path.display());
    }
}

#[test]
fn a_disk_that_refuses_any_step_is_named_and_nothing_is_lost() {
    for work in work::ALL {
        let (steps, expected) = undisturbed(work);
        for step in &steps {
            let folder = prepared(work);
            let watch = Watch::fail_at(folder.path(), step);
            let outcome = work.run(folder.path());
            drop(watch);
            let said = match &outcome {
                Ok(warnings) => warnings.join("\n"),
                Err(error) => words(&**error),
            };
            assert!(names(&said, folder.path(), step), "{work:?}: {step} failed, and the run said: {said}");
            assert_eq!(temporary(folder.path()), Vec::<PathBuf>::new(), "left by {step}");
            assert_whole(work, folder.path(), &expected, step);
            assert_goes_on(work, folder.path(), &expected, step);
        }
        println!("{work:?}: each of {} steps failed once", steps.len());
    }
}

#[test]
fn a_process_that_dies_at_any_step_leaves_whole_files_and_the_next_run_goes_on() {
    for work in work::ALL {
        let (steps, expected) = undisturbed(work);
        for step in &steps {
            let folder = prepared(work);
            fs::write(folder.path().join(work::NAME), format!("{work:?}")).unwrap();
            let status = die_in_child("fault_tests::child_that_dies", folder.path(), step);
            assert!(!status.success(), "{work:?}: the child was to die at: {step}");
            fs::remove_file(folder.path().join(work::NAME)).unwrap();
            assert_whole(work, folder.path(), &expected, step);
            assert_goes_on(work, folder.path(), &expected, step);
        }
        println!("{work:?}: died once at each of {} steps", steps.len());
    }
}

/// Runs as a child of the test above; on its own it has nothing to do.
#[test]
fn child_that_dies() {
    let Some((folder, step)) = asked_to_die() else { return };
    let name = fs::read_to_string(folder.join(work::NAME)).unwrap();
    let work = work::ALL.into_iter().find(|work| format!("{work:?}") == name).unwrap();
    let _watch = Watch::die_at(&folder, &step);
    work.run(&folder).unwrap();
}

#[test]
fn every_kind_of_file_is_watched() {
    let actions = |work| {
        let (steps, _) = undisturbed(work);
        steps.into_iter().map(|step| format!("{} {}", step.action, step.path.display())).collect::<Vec<_>>()
    };
    for (work, files) in [
        (Work::Embed("out.parquet"), vec!["out.parquet", work::REJECTS, "cache/.gitignore", "cache/f00d/space.json"]),
        (Work::Embed("out.npy"), vec!["out.npy", "out.ids.txt"]),
        (Work::Classify("out.csv"), vec!["out.csv"]),
        (Work::SaveHead, vec!["x.head"]),
        (Work::WriteReport, vec!["report/report.json", "report/report.html"]),
        (
            Work::ExportLarge,
            vec!["work/bundle/model.onnx.data", "work/bundle/model.onnx", "work/bundle/tokenizer.json"],
        ),
        (Work::Export, vec!["work/bundle/model.onnx", "work/bundle/tokenizer.json", "work/bundle/bundle.toml"]),
    ] {
        let taken = actions(work);
        for file in files {
            for action in ["create", "write", "sync", "rename"] {
                assert!(taken.contains(&format!("{action} {file}")), "{action} {file} is not in {taken:?}");
            }
        }
    }
    let embed = actions(Work::Embed("out.jsonl"));
    let parts = embed.iter().filter(|step| step.starts_with("create cache/f00d")).count() - 1;
    let removed = embed.iter().filter(|step| step.starts_with("remove cache/f00d")).count();
    assert!(parts > 4 && removed == parts - 1, "{parts} parts were written, {removed} merged away");
    assert!(actions(Work::Export).contains(&"exchange bundle".to_owned()));
}
