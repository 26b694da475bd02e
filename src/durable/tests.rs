//! Promise: a file is whole or absent, and temporary files go with their owners.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::fail_points::{Step, Watch};
use super::*;

const CHILD_TARGET: &str = "OFFPRINT_TEST_PENDING_TARGET";

fn temporary_files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_string_lossy().ends_with(TEMPORARY_SUFFIX)).collect()
}

/// Runs as a child of the test below, until its input ends; on its own it has nothing to do.
#[test]
fn child_that_writes() {
    let Some(target) = std::env::var_os(CHILD_TARGET) else { return };
    let target = Path::new(&target);
    let mut pending = PendingFile::create(target).unwrap();
    pending.write_all(b"half").unwrap();
    pending.flush().unwrap();
    fs::write(target.with_extension("ready"), "").unwrap();
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn writing_child(target: &Path) -> Child {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durable::tests::child_that_writes", "--test-threads=1"])
        .env(CHILD_TARGET, target)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let asked = Instant::now();
    while !target.with_extension("ready").exists() {
        assert!(asked.elapsed() < Duration::from_secs(60), "the child did not start");
        thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn what_another_process_writes_stays_until_that_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = writing_child(&folder.path().join("theirs.txt"));
    let theirs = temporary_files(folder.path());
    assert_eq!(theirs.len(), 1);
    replace_file(&folder.path().join("ours.txt"), b"first").unwrap();
    assert_eq!(temporary_files(folder.path()), theirs);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(temporary_files(folder.path()), theirs, "a killed process cleans nothing up");
    let pending = PendingFile::create(&folder.path().join("ours.txt")).unwrap();
    assert!(!theirs[0].exists());
    drop(pending);
    assert!(temporary_files(folder.path()).is_empty());
}

#[test]
fn only_unlocked_files_of_our_name_are_orphans() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::write(path(".offprint-dead.tmp"), "half").unwrap();
    for other in [".offprint-dead", "offprint-dead.tmp", ".part-dead.tmp", "notes.tmp"] {
        fs::write(path(other), "not ours").unwrap();
    }
    fs::create_dir(path(".offprint-folder.tmp")).unwrap();
    let mut living = PendingFile::create(&path("x.txt")).unwrap();
    assert!(!path(".offprint-dead.tmp").exists());
    living.write_all(b"living").unwrap();
    replace_file(&path("y.txt"), b"second").unwrap();
    living.publish().unwrap();
    assert_eq!(fs::read_to_string(path("x.txt")).unwrap(), "living");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 4 + 1 + 2);
}

/// A file between its making and its lock looks like an orphan to its fellows.
#[test]
fn writers_in_one_folder_never_remove_each_others_files() {
    let root = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for writer in 0..4 {
            let target = root.path().join(format!("{writer}.txt"));
            scope.spawn(move || {
                for round in 0..200 {
                    let mut pending = PendingFile::create(&target).unwrap();
                    write!(pending, "{round}").unwrap();
                    pending.publish().unwrap();
                }
            });
        }
    });
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 4);
}

#[test]
fn a_folder_takes_the_place_of_another() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("bundle");
    for content in ["first", "second"] {
        let built = root.path().join("built");
        fs::create_dir(&built).unwrap();
        fs::write(built.join("x"), content).unwrap();
        replace_folder(&built, &target).unwrap();
        assert_eq!(fs::read_to_string(target.join("x")).unwrap(), content);
    }
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn a_file_system_that_cannot_exchange_names_gets_the_new_folder_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let (built, target) = (root.path().join("built"), root.path().join("bundle"));
    for (folder, content) in [(&built, "new"), (&target, "old")] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("x"), content).unwrap();
    }
    replace_in_two_steps(&built, &target).unwrap();
    assert_eq!(fs::read_to_string(target.join("x")).unwrap(), "new");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn an_old_folder_that_can_be_neither_replaced_nor_put_back_is_kept_and_named() {
    let root = tempfile::tempdir().unwrap();
    let (built, target) = (root.path().join("built"), root.path().join("bundle"));
    for (folder, content) in [(&built, "new"), (&target, "old")] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("x"), content).unwrap();
    }
    let rename = |nth| Step { action: "rename".into(), path: "bundle".into(), nth };
    // The first watch sees every step, the second one those that the first lets happen.
    let restore = Watch::fail_at(root.path(), &rename(1));
    let replace = Watch::fail_at(root.path(), &rename(0));
    let error = replace_in_two_steps(&built, &target).unwrap_err();
    drop((restore, replace));
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let text = error.to_string();
    let old = text.split('`').nth(3).map(PathBuf::from).unwrap();
    assert_eq!(text, format!("what was in `{}` lies in `{}` now", target.display(), old.display()));
    assert_eq!(fs::read_to_string(old.join("x")).unwrap(), "old");
    fs::rename(&old, &target).unwrap();
    let replace = Watch::fail_at(root.path(), &rename(0));
    replace_in_two_steps(&built, &target).unwrap_err();
    drop(replace);
    assert_eq!(fs::read_to_string(target.join("x")).unwrap(), "old");
    let names: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "built, bundle, and the empty folder of the first attempt: {names:?}");
}

#[test]
fn an_unpublished_file_leaves_nothing_and_keeps_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("x.txt");
    fs::write(&target, "old").unwrap();
    let mut pending = PendingFile::create(&target).unwrap();
    pending.write_all(b"half").unwrap();
    drop(pending);
    assert_eq!(fs::read_to_string(&target).unwrap(), "old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    replace_file(&target, b"new").unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "new");
}
