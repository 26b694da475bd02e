//! Promise: SIGINT and SIGTERM end a run within seconds; what was computed is kept, the account is printed, and the
//! status says which signal it was.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fmt::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Workplace, tiny_bundle};

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
        let program = assert_cmd::cargo::cargo_bin("offprint");
        let child = std::process::Command::new(program)
            .args(["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.jsonl", "--json"])
            .current_dir(place.path(""))
            .env("OFFPRINT_CACHE_DIR", place.path("cache"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(2_500));
        let asked = Instant::now();
        #[expect(unsafe_code, reason = "std cannot send a signal; the child is ours and not yet waited for")]
        unsafe {
            libc::kill(child.id() as libc::pid_t, signal);
        }
        let said = common::Said::new(child.wait_with_output().unwrap(), status);
        assert!(asked.elapsed() < Duration::from_secs(10), "took {:?}", asked.elapsed());
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
        let child = std::process::Command::new(assert_cmd::cargo::cargo_bin("offprint"))
            .args(args)
            .current_dir(place.path(""))
            .env("OFFPRINT_CACHE_DIR", place.path("cache"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(before_the_fit);
        let asked = Instant::now();
        #[expect(unsafe_code, reason = "std cannot send a signal; the child is ours and not yet waited for")]
        unsafe {
            libc::kill(child.id() as libc::pid_t, signal);
        }
        let said = common::Said::new(child.wait_with_output().unwrap(), status);
        assert!(asked.elapsed() < Duration::from_secs(5), "took {:?}", asked.elapsed());
        assert!(said.stdout.is_empty(), "the signal came before the fit or after it: {}", said.stdout);
        assert!(!place.path("a.head").exists(), "half a head stands under its name");
    }
}
