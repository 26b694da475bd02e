//! Promise: a paper on which ONNX Runtime itself fails is rejected with what it said, and the others get the vectors that
//! they get without that one; where it runs out of memory the batches become smaller and every row comes out.
//!
//! The graph's table of words has 32 rows and the tokenizer knows 102: single letters can be run, words cannot.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
#[path = "common/several.rs"]
mod several;

use common::{Workplace, tiny_bundle};
use offprint::model::Manifest;
use serde_json::Value;

const LETTERS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// A place with the bundle `narrow` and so many papers of letters, but those at `words`, which have a word.
fn place(papers: usize, words: &[usize]) -> Workplace {
    let place = Workplace::new();
    several::write(&place, "narrow", "encoder.onnx", |manifest| Manifest { dim: 4, parameters: 128, ..manifest });
    let title = |n: usize| -> String {
        let letters =
            (0..1 + n % 29).map(|at| LETTERS[(n / 29 + at * (1 + n / 232)) % 8]).collect::<Vec<_>>().join(" ");
        if words.contains(&n) { format!("{letters} galaxy {}", LETTERS[n % 8]) } else { letters }
    };
    let line = |n: usize| format!("{{\"id\": \"p{n}\", \"title\": \"{}\"}}\n", title(n));
    place.write("papers.jsonl", (0..papers).map(line).collect::<String>());
    place
}

const EMBED: [&str; 6] = ["embed", "--model", "narrow", "papers.jsonl", "-o", "x.jsonl"];

fn counts(account: &Value) -> [u64; 4] {
    ["rows", "embedded", "cached", "rejected"].map(|name| account[name].as_u64().unwrap())
}

#[test]
fn papers_that_onnx_runtime_fails_on_are_rejected_with_what_it_said() {
    let words = [17, 100, 101];
    let place = place(200, &words);
    let said = place.run(&[&EMBED[..], &["--json", "--no-cache"]].concat(), 2);
    let [rows, embedded, cached, rejected] = counts(&said.json());
    assert_eq!((rows, embedded + cached, rejected), (200, 197, 3));
    said.expect(&["warning: 3 rows were rejected; each stands with its reason in x.jsonl.rejects.jsonl"]);
    let rejects: Vec<Value> =
        place.read("x.jsonl.rejects.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for row in &rejects {
        let n = row["line"].as_u64().unwrap() - 1;
        assert!(words.contains(&(n as usize)) && row["id"] == format!("p{n}"), "{row}");
        let reason = row["reason"].as_str().unwrap();
        assert!(reason.starts_with("the encoder fails on this text: a batch of 1 rows × "), "{reason}");
        assert!(reason.contains("Gather node") && reason.contains("indices element out of data bounds"), "{reason}");
    }
    let with = place.read("x.jsonl");

    let lines = place.read("papers.jsonl");
    let sound = lines.lines().enumerate().filter(|(n, _)| !words.contains(n)).map(|(_, line)| format!("{line}\n"));
    place.write("papers.jsonl", sound.collect::<String>());
    place.run(&EMBED, 0);
    assert_eq!(place.read("x.jsonl"), with, "the others have the vectors that they have without the three");
    assert!(!place.path("x.jsonl.rejects.jsonl").exists());

    place.write("papers.jsonl", lines);
    let again = place.run(&[&EMBED[..], &["--json", "--allow-rejects"]].concat(), 0).json();
    assert_eq!(counts(&again), [200, 0, 197, 3], "only what failed is tried again");
    assert_eq!(place.read("x.jsonl"), with);
}

#[test]
fn a_bundle_that_can_run_no_paper_ends_the_run_with_what_onnx_runtime_said() {
    let place = place(100, &(0..100).collect::<Vec<_>>());
    let said = place.run(&[&EMBED[..], &["--max-batch-tokens", "64"]].concat(), 2);
    assert!(said.stdout.is_empty() && !place.path("x.jsonl").exists());
    said.expect(&["error: none of ", " texts in 3 batches in a row could be run", "  cause: a batch of 1 rows × "]);
    said.expect(&["indices element out of data bounds"]);
}

/// What can be seen of memory that a process may write to is seen on Linux alone, and so is a limit to it.
#[cfg(target_os = "linux")]
mod memory {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    /// The last window has 4,096 of them.
    const PAPERS: usize = 8_000;
    /// Far more than a window has, so that a window is one batch.
    const ONE_BATCH: &str = "1000000";

    fn place() -> Workplace {
        let place = Workplace::new();
        let row = |n: usize| {
            let word = |at: usize| ["graph", "neural", "paper", "protein", "cell"][n / 5_usize.pow(at as u32 % 6) % 5];
            let words: Vec<&str> = (0..40).map(word).collect();
            format!("{{\"id\": \"p{n}\", \"title\": \"{}\"}}\n", words.join(" "))
        };
        place.write("papers.jsonl", (0..PAPERS).map(row).collect::<String>());
        place
    }

    fn command(place: &Workplace, budget: &str, output: &str) -> Command {
        let args = ["embed", "--model", tiny_bundle(), "papers.jsonl", "--no-cache", "--json", "--threads", "1"];
        let mut command = place.command(&[&args[..], &["--max-batch-tokens", budget, "-o", output]].concat());
        // One arena of the allocator for all threads, so that what is reserved differs little between two runs.
        command.env("MALLOC_ARENA_MAX", "1").stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The most bytes of writable private memory that a run had.
    fn most(mut command: Command) -> u64 {
        let mut child = command.spawn().unwrap();
        let mut most = 0;
        while child.try_wait().unwrap().is_none() {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let data = status.lines().find_map(|line| line.strip_prefix("VmData:")?.trim().strip_suffix(" kB"));
            most = most.max(data.map_or(0, |kib| kib.trim().parse::<u64>().unwrap() << 10));
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(child.wait().unwrap().success());
        most
    }

    #[test]
    fn where_memory_runs_out_batches_become_smaller_and_every_vector_comes_out() {
        let place = place();
        let (small, large) =
            (most(command(&place, "1024", "small.npy")), most(command(&place, ONE_BATCH, "large.npy")));
        println!("{} MiB with small batches, {} MiB with one for all", small >> 20, large >> 20);
        assert!(large > small + (64 << 20), "a limit between the two is what this test is about");
        let limit = small + (large - small) / 2;
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        let mut command = command(&place, ONE_BATCH, "limited.npy");
        #[expect(unsafe_code, reason = "setrlimit may be called between fork and exec, and touches nothing of ours")]
        unsafe {
            command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let said = common::Said::new(command.output().unwrap(), 0);
        let account = said.json();
        assert_eq!(
            (account["rows"].as_u64(), account["rejected"].as_u64()),
            (Some(PAPERS as u64), Some(0)),
            "{account}"
        );
        let warning = account["warnings"][0].as_str().unwrap();
        assert!(warning.starts_with("memory ran out ") && warning.contains(" instead of 1000000 ("), "{warning}");
        let bytes = |name: &str| std::fs::read(place.path(name)).unwrap();
        assert!(bytes("limited.npy") == bytes("small.npy") && bytes("large.npy") == bytes("small.npy"));
    }
}
