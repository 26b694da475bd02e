//! Promise: what can't be compared is refused before anything is built, and a comparison that is stopped leaves nothing.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
mod quality_place;

use std::fs;
#[cfg(unix)]
use std::io::Write;
#[cfg(unix)]
use std::process::Stdio;
#[cfg(unix)]
use std::time::{Duration, Instant};

use common::{Said, Workplace};
use offprint::heads::Head;
use offprint::model::Bundle;
use quality_place::{export, papers, place};

#[test]
fn what_cannot_be_measured_is_refused_before_anything_is_built() {
    let place = place(0.02);
    place.run(&["train", "--model", "old", "--label", "field", "papers.jsonl", "-o", "field.head"], 0);
    // There is no such model: whoever looks for it first says so instead.
    let refuse = |flags: &[&str], message: &[&str]| {
        let mut args = vec!["export", "--model", "nowhere", "-o", "new", "--pooling", "mean"];
        args.extend(flags);
        place.run(&args, 2).expect(message);
    };
    refuse(&[], &["`nowhere`"]);
    refuse(&["--limit", "5"], &["error: `--limit` is given without a corpus", "hint: `--check` names one"]);
    refuse(&["--text-field", "x"], &["error: `--text-field` is given without a corpus"]);
    let itself = "but an fp32 graph is itself what others are compared with";
    let hint = "hint: name a bundle to compare it with by `--against`";
    refuse(&["--min-cosine", "0.9"], &["error: `--min-cosine` is given, ", itself, hint]);
    refuse(&["--check", "papers.jsonl"], &["error: `--check` is given, ", itself, hint]);
    let all = ["--check", "papers.jsonl", "--head", "field.head", "--label", "field", "--max-f1-drop", "0.1"];
    refuse(&all, &["error: `--check` is given, ", itself]);

    let against = |flags: &[&str], message: &[&str]| refuse(&[&["--against", "old"], flags].concat(), message);
    let how = "hint: macro-F1 is measured with `--check CORPUS --label FIELD`";
    against(&["--max-f1-drop", "0.1"], &["error: `--max-f1-drop` is given without `--label`", how]);
    against(&["--head", "field.head", "--check", "papers.jsonl"], &["error: `--head` is given without `--label`", how]);
    against(&["--head", "field.head", "--label", "field"], &["error: `--label` is given without `--check`", how]);
    against(&["--label-separator", ","], &["error: `--label-separator` is given without `--label`", how]);
    let no_head = ["--check", "papers.jsonl", "--label", "field"];
    against(&no_head, &["error: `--label field` is given, and the graphs have 0 heads in common", "`--head`"]);
    let separated = [&all[..6], &["--label-separator", ","]].concat();
    against(&separated, &["error: `--label-separator` is about several labels, and the head gives one"]);
    let misnamed = [&all[..5], &["topic=field"]].concat();
    against(&misnamed, &["error: `--label topic=field` names no head in use", "hint: there is `field`"]);
    let wrong = [&all[..5], &["=field"]].concat();
    against(&wrong, &["error: `--label` is `=field`, expected `FIELD` or `HEAD=FIELD`"]);
    against(&["--min-cosine", "1.01"], &["error: `--min-cosine` is 1.01, expected -1 to 1"]);
    against(&["--min-cosine", "-1.01"], &["error: `--min-cosine` is -1.01, expected -1 to 1"]);
    against(&["--min-cosine", "NaN"], &["error: `--min-cosine` is NaN, expected -1 to 1"]);
    against(&["--max-f1-drop", "-0.1"], &["error: `--max-f1-drop` is -0.1, expected 0 to 1"]);
    against(&["--check", "nowhere.jsonl"], &["error: ", "nowhere.jsonl"]);
    refuse(&["--against", "original"], &["error: ", "original"]);

    place.run(&["export", "--model", "original", "-o", "other", "--pooling", "cls"], 0);
    let of_old = &[&["--against", "other"], &all[..6]].concat();
    refuse(of_old, &["error: head `field.head` was trained on another encoder", "pooling: mean -> cls"]);
}

#[test]
fn heads_of_other_encoders_and_of_numbers_are_refused() {
    let place = place(0.02);
    let fixture = |name: &str| common::root().join("tests/data/heads").join(name);
    let identity = Bundle::open(&place.path("old")).unwrap().identity().fields().clone();
    for name in ["topic.head", "year.head"] {
        let mut head = Head::load(&fixture(name)).unwrap();
        head.identity = identity.clone();
        if name == "topic.head" {
            head.identity.insert("pooling".into(), "cls".into());
        }
        head.save(&place.path(name)).unwrap();
    }
    let refuse =
        |head: &str, label: &str| export(&place, &["--check", "papers.jsonl", "--head", head, "--label", label], 2);
    refuse("topic.head", "field")
        .expect(&["error: head `topic.head` was trained on another encoder", "pooling: cls -> mean"]);
    refuse("year.head", "n").expect(&["error: the head gives numbers, expected labels"]);
    place.run(&["train", "--model", "old", "--label", "field", "papers.jsonl", "-o", "field.head"], 0);
    refuse("field.head", "n")
        .expect(&["error: the new graph could not be compared with its original; nothing was written"]);
    refuse("field.head", "n")
        .expect(&["cause: no text has a label in `n` that the head knows", "hint: `--label` names"]);
}

#[test]
fn a_corpus_is_read_like_any_other_and_what_it_lacks_is_said() {
    let place = place(0.02);
    let rows = "title,x\nA reef,1\nAn alloy,2\n";
    place.write("few.csv", rows);
    let said = export(&place, &["--check", "few.csv", "papers.jsonl", "--limit", "5"], 0);
    said.expect(&["on 5 texts (few.csv papers.jsonl)"]);
    fs::remove_dir_all(place.path("new")).unwrap();
    place.write("bad.jsonl", "{\"title\": 7}\n{\"title\": \"one\"}\n{\"title\": \"two\"}\n");
    export(&place, &["--check", "bad.jsonl"], 0)
        .expect(&["warning: 1 row cannot be used and was passed over, bad.jsonl:1: ", "on 2 texts"]);
    fs::remove_dir_all(place.path("new")).unwrap();
    place.write("one.jsonl", "{\"title\": \"one\"}\n{\"title\": \"one\"}\n");
    let said = export(&place, &["--check", "one.jsonl"], 2);
    said.expect(&["error: the new graph could not be compared", "cause: 1 texts that differ from each other"]);
    place.write("cut.jsonl.gz", [0x1f, 0x8b, 8, 0, 0]);
    export(&place, &["--check", "cut.jsonl.gz"], 2).expect(&["error: ", "cut.jsonl.gz"]);

    let new = ["export", "--model", "moved", "-o", "new", "--pooling", "mean", "--against", "old", "--check", "-"];
    let output = place.offprint(&new).write_stdin(papers()).output().unwrap();
    Said::new(output, 0).expect(&["on 90 texts (-)"]);
}

#[test]
fn bundles_of_other_sizes_are_not_compared() {
    let place = place(0.02);
    let wide = common::root().join("tests/data/tiny-bert/mean");
    let args = ["export", "--model", wide.to_str().unwrap(), "-o", "wide", "--against", "old"];
    let said = place.run(&args, 2);
    said.expect(&[
        "error: `old` has vectors of ",
        " numbers, the new bundle of ",
        "hint: compare bundles of the same model",
    ]);
    assert!(!place.path("wide").exists());
}

/// Both bundles would get the same texts, so that a loss by another template could not show.
#[test]
fn a_corpus_is_not_rendered_for_bundles_of_two_templates() {
    let place = place(0.0);
    let model = ["export", "--model", "moved", "-o", "new", "--pooling", "mean", "--against", "old"];
    let with = |flags: &[&str], status| place.run(&[&model[..], &["--template", "{title}"], flags].concat(), status);
    with(&["--check", "papers.jsonl"], 2).expect(&[
        "error: `old` has the template `model-card`, the new bundle `{title}`, and a corpus is rendered in one way",
        "hint: compare bundles of the same template, or texts as they are by `--text-field`",
    ]);
    assert!(!place.path("new").exists());
    with(&["--check", "papers.jsonl", "--text-field", "title"], 0).expect(&["cosine: least 1, "]);
    with(&[], 0).expect(&["cosine: least 1, ", "(built-in texts)"]);
}

/// Starts a comparison, sends SIGTERM when it is under way, and sees that nothing stays.
#[cfg(unix)]
fn stop(place: &Workplace, corpus: &str, stdin: Stdio) {
    let args = ["export", "--model", "moved", "-o", "new", "--pooling", "mean", "--against", "old", "--check", corpus];
    let mut command = place.command(&args);
    let mut child = command.stdin(stdin).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take();
    if let Some(pipe) = &mut pipe {
        // The first rows come, and then neither another one nor the end.
        pipe.write_all(papers().as_bytes()).unwrap();
    }
    let begun = || {
        let names = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap());
        names.into_iter().any(|entry| entry.path().join("bundle/bundle.toml").is_file())
    };
    let started = Instant::now();
    while !begun() {
        assert!(started.elapsed() < Duration::from_secs(60), "no bundle was begun");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(500));
    #[expect(unsafe_code, reason = "std cannot send a signal; the child is ours and not yet waited for")]
    unsafe {
        libc::kill(child.id() as libc::pid_t, libc::SIGTERM);
    }
    let asked = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if asked.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("still running");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(pipe);
    Said::new(child.wait_with_output().unwrap(), 143).expect(&["stopped; nothing was written"]);
    let left: Vec<String> = fs::read_dir(place.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!left.iter().any(|name| name == "new" || name.starts_with(".offprint")), "{left:?}");
}

/// Folders in which a bundle is being made, or was.
#[cfg(unix)]
fn workshops(place: &Workplace) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(".offprint-")).collect()
}

#[cfg(unix)]
#[test]
fn what_a_killed_export_leaves_is_removed_by_the_next_one() {
    let place = place(0.02);
    let args = ["export", "--model", "moved", "-o", "new", "--pooling", "mean", "--against", "old", "--check", "-"];
    let mut command = place.command(&args);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // The first rows come, and then neither another one nor the end.
    pipe.write_all(papers().as_bytes()).unwrap();
    let started = Instant::now();
    while !workshops(&place).iter().any(|folder| folder.join("bundle/bundle.toml").is_file()) {
        assert!(started.elapsed() < Duration::from_secs(60), "no bundle was begun");
        std::thread::sleep(Duration::from_millis(20));
    }
    let other = ["export", "--model", "original", "-o", "other", "--pooling", "mean"];
    place.run(&other, 0);
    assert_eq!(workshops(&place).len(), 1, "an export that is under way keeps its folder");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(pipe);
    assert_eq!(workshops(&place).len(), 1, "there is nothing to clean: the test shows nothing");
    place.run(&other, 0);
    assert_eq!(workshops(&place), Vec::<std::path::PathBuf>::new());
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_comparison_and_nothing_is_left() {
    let place = place(0.02);
    place.write("papers.jsonl", papers().repeat(4_000));
    stop(&place, "papers.jsonl", Stdio::null());
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_comparison_whose_pipe_stays_open() {
    stop(&place(0.02), "-", Stdio::piped());
}
