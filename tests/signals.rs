//! Promise: SIGINT and SIGTERM end a run within seconds; what was computed is kept, the account is printed, and the
//! status says which signal it was.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fmt::Write;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use common::{Workplace, tiny_bundle};

/// Runs the program, sends it a signal after that time, and gives how it ended and how long it took to.
fn interrupt(place: &Workplace, args: &[&str], (signal, after): (libc::c_int, Duration)) -> (Output, Duration) {
    let child = place.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(after);
    let asked = Instant::now();
    #[expect(unsafe_code, reason = "std cannot send a signal; the child is ours and not yet waited for")]
    unsafe {
        libc::kill(child.id() as libc::pid_t, signal);
    }
    (child.wait_with_output().unwrap(), asked.elapsed())
}

#[test]
fn a_classifier_that_is_interrupted_does_not_say_that_it_has_cached_its_labels() {
    let place = Workplace::new();
    let tiny = common::root().join("tests/data/tiny-architectures");
    std::fs::create_dir(place.path("checkpoint")).unwrap();
    for name in ["bert-a/config.json", "bert-a/model.safetensors", "bert-a/tokenizer_config.json", "tokenizer.json"] {
        let file = tiny.join(name);
        std::fs::copy(&file, place.path("checkpoint").join(file.file_name().unwrap())).unwrap();
    }
    place.run(&["export", "--model", "checkpoint", "-o", "bundle"], 0);
    let mut corpus = String::new();
    for n in 0..200_000 {
        writeln!(corpus, r#"{{"id": "p{n}", "title": "paper {n}", "abstract": "{}"}}"#, "graph ".repeat(60)).unwrap();
    }
    place.write("papers.jsonl", corpus);
    let args = ["classify", "--model", "bundle", "papers.jsonl", "-o", "x.jsonl"];
    let (output, _) = interrupt(&place, &args, (libc::SIGINT, Duration::from_millis(2_500)));
    let said = common::Said::new(output, 130);
    said.expect(&["  interrupted: nothing was kept (the cache holds vectors, not labels)"]);
    assert!(!place.path("x.jsonl").exists() && !place.path("cache/embeddings").exists());
}

#[test]
fn a_signal_finishes_the_batch_and_prints_the_account() {
    for (signal, status) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let place = Workplace::new();
        let mut corpus = String::new();
        for n in 0..200_000 {
            writeln!(corpus, r#"{{"id": "p{n}", "title": "paper {n}", "abstract": "{}"}}"#, "reef ".repeat(60))
                .unwrap();
        }
        place.write("papers.jsonl", corpus);
        let args = ["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.jsonl", "--json"];
        let (output, took) = interrupt(&place, &args, (signal, Duration::from_millis(2_500)));
        let said = common::Said::new(output, status);
        assert!(took < Duration::from_secs(10), "took {took:?}");
        let account = said.json();
        assert_eq!(account["interrupted"], true, "{account}");
        let number = |name: &str| account[name].as_u64().unwrap();
        assert!(number("embedded") > 0, "{account}");
        assert_eq!(number("rows"), number("embedded") + number("cached") + number("rejected"));
        assert!(!place.path("x.jsonl").exists(), "half an output stands under its name");
        let kept = place.run(&["cache", "stat", "--json"], 0).json();
        assert!(kept["spaces"][0]["rows"].as_u64().unwrap() >= number("embedded"), "{kept}");
    }
}

#[test]
fn a_signal_during_a_fit_ends_the_program_at_once() {
    let place = Workplace::new();
    let mut corpus = String::new();
    for n in 0..6_000 {
        writeln!(corpus, r#"{{"id": "p{n}", "title": "paper {n}", "field": "f{}"}}"#, n * 7919 % 61).unwrap();
    }
    place.write("papers.jsonl", corpus);
    place.run(&["embed", "--model", tiny_bundle(), "papers.jsonl"], 0);
    // What comes before the fit takes no longer than this: every row is in the cache.
    let started = Instant::now();
    place.run(&["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.npy"], 0);
    let before_the_fit = started.elapsed() * 2 + Duration::from_secs(1);
    let grid: Vec<String> = (1..=400).map(|c| format!("{}", f64::from(c) * 0.25)).collect();
    let grid = format!("--c-grid={}", grid.join(","));
    for (signal, status) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let args =
            ["train", "--model", tiny_bundle(), "--label", "field", "papers.jsonl", "-o", "a.head", &grid, "--json"];
        let (output, took) = interrupt(&place, &args, (signal, before_the_fit));
        let said = common::Said::new(output, status);
        assert!(took < Duration::from_secs(5), "took {took:?}");
        assert!(said.stdout.is_empty(), "the signal came before the fit or after it: {}", said.stdout);
        assert!(!place.path("a.head").exists(), "half a head stands under its name");
    }
}

#[test]
fn a_signal_during_a_fusion_leaves_nothing() {
    let head = common::root().join("tests/data/heads/topic.head");
    for (signal, status) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let place = Workplace::new();
        let bundle = common::tiny_reference_bundle("cls");
        let name = format!("topic={}", head.display());
        let args = ["fuse", "--model", &bundle, "--head", &name, "--allow-encoder-change", "-o", "new/fused"];
        let child = place.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let entries = || std::fs::read_dir(place.path("new")).map_or(0, |entries| entries.count());
        // The workshop is there: the bundle is being made or checked.
        let asked = Instant::now();
        while entries() == 0 && asked.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(1));
        }
        #[expect(unsafe_code, reason = "std cannot send a signal; the child is ours and not yet waited for")]
        unsafe {
            libc::kill(child.id() as libc::pid_t, signal);
        }
        common::Said::new(child.wait_with_output().unwrap(), status).expect(&["stopped; nothing was written"]);
        assert_eq!(entries(), 0, "left behind");
    }
}
