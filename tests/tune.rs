//! Promises: how many sessions run side by side, what they keep in memory and what `--tune` found change no bit of any
//! vector; sessions share their weights; what was tuned is used later, and only where it was measured.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fs;

use common::{Workplace, minilm_bundle, tiny_bundle};
use offprint::encode::built_in_texts;

/// Papers with texts of very different lengths.
fn corpus(place: &Workplace, copies: usize) {
    let mut lines = String::new();
    for (number, text) in built_in_texts(256).iter().cycle().take(copies * 38).enumerate() {
        let paper = serde_json::json!({ "id": format!("p{number}"), "title": format!("{number}"), "abstract": text });
        lines.push_str(&format!("{paper}\n"));
    }
    place.write("papers.jsonl", lines);
}

/// The vectors of a run with these flags, as they lie in the file.
fn vectors(place: &Workplace, bundle: &str, flags: &[&str]) -> Vec<u8> {
    let mut args = vec!["embed", "--model", bundle, "papers.jsonl", "-o", "x.npy", "--no-cache", "--json"];
    args.extend(flags);
    place.run(&args, 0);
    fs::read(place.path("x.npy")).unwrap()
}

/// Every way to divide up to three threads, every preset, and several budgets.
fn check_bits(bundle: &str, copies: usize) {
    let place = Workplace::new();
    corpus(&place, copies);
    let reference = vectors(&place, bundle, &["--threads", "1"]);
    for flags in [
        &["--threads", "2"][..],
        &["--threads", "2", "--sessions", "2"],
        &["--threads", "3", "--sessions", "2", "--max-batch-tokens", "512"],
        &["--threads", "3", "--sessions", "3", "--memory", "low"],
        &["--threads", "2", "--memory", "low"],
        &["--threads", "2", "--memory", "fast"],
        &["--threads", "2", "--sessions", "2", "--memory", "fast", "--max-batch-tokens", "4096"],
    ] {
        assert!(vectors(&place, bundle, flags) == reference, "{flags:?}");
    }
}

#[test]
fn tiny_vectors_depend_on_no_setting() {
    check_bits(tiny_bundle(), 3);
}

#[test]
fn minilm_vectors_depend_on_no_setting() {
    if let Some(bundle) = minilm_bundle() {
        check_bits(bundle, 1);
    }
}

#[test]
fn sessions_need_a_thread_each_and_words_are_checked() {
    let place = Workplace::new();
    corpus(&place, 1);
    let run = |flags: &[&str]| {
        let mut args = vec!["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.npy"];
        args.extend(flags);
        place.run(&args, 2)
    };
    run(&["--sessions", "3", "--threads", "2"]).expect(&[
        "error: `--sessions 3` needs 3 threads or more, got 2",
        "hint: `--threads 3` or more, or at most `--sessions 2`",
    ]);
    run(&["--sessions", "0"]).expect(&["--sessions"]);
    run(&["--memory", "much"]).expect(&["unknown memory preset `much`, known are: low, balanced, fast"]);
    run(&["--tune", "--sessions", "2"]).expect(&["--tune", "--sessions"]);
    run(&["--tune=1", "--max-batch-tokens", "512"]).expect(&["--tune", "--max-batch-tokens"]);
    assert!(!place.path("x.npy").exists());
}

#[test]
fn settings_are_stated_where_something_was_chosen() {
    let place = Workplace::new();
    corpus(&place, 1);
    let run = |flags: &[&str]| {
        let mut args = vec!["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.npy", "--threads", "2"];
        args.extend(flags);
        place.run(&args, 0)
    };
    run(&["--sessions", "2"]).expect(&["settings: 2 sessions × 1 thread, 1024 tokens a batch"]);
    run(&["--memory", "low"]).expect(&["settings: 1 session × 2 threads, 1024 tokens a batch, memory low"]);
    let quiet = run(&[]).stderr;
    assert!(!quiet.contains("settings:") && !quiet.contains("tuned:"), "{quiet}");
    let json = run(&["--json", "--sessions", "2"]).json();
    let expected = serde_json::json!({
        "sessions": 2, "batch_tokens": 1024, "threads": 2, "memory": "balanced", "tuned": false
    });
    assert_eq!(json["settings"], expected);
}

#[test]
fn what_was_tuned_is_used_until_something_else_is_said() {
    let place = Workplace::new();
    corpus(&place, 4);
    let run = |flags: &[&str]| {
        let mut args = vec!["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.npy", "--json"];
        args.extend(flags);
        place.run(&args, 0)
    };
    let tuned = run(&["--threads", "2", "--tune=1"]);
    tuned.expect(&["tuning: ", "tuned: "]);
    let settings = tuned.json()["settings"].clone();
    assert_eq!(settings["tuned"], true);
    let kept: Vec<_> = fs::read_dir(place.path("cache/tune")).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");

    let later = run(&["--threads", "2"]).json()["settings"].clone();
    assert_eq!(later, settings);
    for other in [
        &["--threads", "2", "--sessions", "1"][..],
        &["--threads", "2", "--max-batch-tokens", "1024"],
        &["--threads", "1"],
        &["--threads", "2", "--memory", "low"],
    ] {
        assert_eq!(run(other).json()["settings"]["tuned"], false, "{other:?}");
    }
    let text = fs::read_to_string(&kept[0]).unwrap();
    for version in ["measured_with", "runtime_version", "core_quota", "fingerprint", "speeds"] {
        assert!(text.contains(version), "{version} in {text}");
    }
    fs::write(&kept[0], &text[..text.len() / 3]).unwrap();
    let damaged = run(&["--threads", "2"]);
    damaged.expect(&["warning: what was tuned is not used: `", "`--tune` writes it anew"]);
    assert_eq!(damaged.json()["settings"]["tuned"], false);
}

#[test]
fn what_was_tuned_holds_for_the_provider_that_ran_then() {
    let place = Workplace::new();
    corpus(&place, 4);
    if place.run(&["doctor", "--json"], 0).json()["library"]["providers"].to_string().contains("CUDA") {
        println!("skipped: the ONNX Runtime of this machine has a CUDA provider, which may run");
        return;
    }
    let run = |flags: &[&str]| {
        let mut args = vec!["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.npy", "--no-cache", "--json"];
        args.extend(["--threads", "2", "--provider", "cuda,cpu"]);
        args.extend(flags);
        place.run(&args, 0)
    };
    run(&["--tune=1"]).expect(&["settings, for about ", "cuda"]);
    let file = fs::read_dir(place.path("cache/tune")).unwrap().next().unwrap().unwrap().path();
    let mut kept: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    // The budget of the CPU provider, and not that of the one which was preferred.
    assert_eq!((&kept["provider"], &kept["default"]["batch_tokens"]), (&"cpu".into(), &1_024.into()), "{kept:#}");
    for (provider, tuned) in [("cpu", true), ("cuda", false)] {
        kept["provider"] = provider.into();
        kept["setting"] = serde_json::json!({ "sessions": 2, "batch_tokens": 512 });
        fs::write(&file, kept.to_string()).unwrap();
        let settings = run(&[]).json()["settings"].clone();
        let expected = if tuned { (2, 512) } else { (1, 1_024) };
        assert_eq!((&settings["sessions"], &settings["batch_tokens"]), (&expected.0.into(), &expected.1.into()));
        assert_eq!(settings["tuned"], tuned, "measured on {provider}: {settings}");
    }
}

#[test]
fn a_pipe_cannot_be_tuned_with() {
    let place = Workplace::new();
    let mut command = place.offprint(&["embed", "--model", tiny_bundle(), "-", "--input-format", "jsonl", "--tune=1"]);
    let output = command.write_stdin("{\"id\": \"a\", \"title\": \"one\"}\n").output().unwrap();
    common::Said::new(output, 2).expect(&[
        "error: `--tune` reads the first rows twice, and a pipe can be read once",
        "hint: tune with a file of such papers: later runs use what was found",
    ]);
}

/// The cores that a thread may run on, as the system lists them.
#[cfg(target_os = "linux")]
fn cores_of(status: impl AsRef<std::path::Path>) -> String {
    let status = fs::read_to_string(status).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap_or_default().trim().to_owned()
}

#[test]
#[cfg(target_os = "linux")]
fn sessions_stay_on_their_nodes_and_give_the_same_bits() {
    use offprint::encode::{BundleEncoder, Encoding, OpenEncoder, assemble};
    let cores = cores_of("/proc/self/status");
    if !["0-1", "0-2", "0-3"].iter().any(|start| cores.starts_with(start)) {
        println!("skipped: this process may run on {cores}, cores 0 and 1 are needed");
        return;
    }
    let bundle = offprint::model::Bundle::open(tiny_bundle().as_ref()).unwrap();
    let on = |nodes| BundleEncoder { sessions: 2.into(), nodes, ..BundleEncoder::on_cpu(bundle.clone(), 4) };
    let batch = assemble(&[&Encoding { ids: vec![1, 5, 6, 7, 2], n_dropped: 0, title_cut: false }], 0);
    let expected = on(Vec::new()).open().unwrap().sessions[0].run(&batch).unwrap();
    let opened = on(vec![vec![0], vec![1]]).open().unwrap();
    assert_eq!(opened.sessions.len(), 2);
    let mut keep = Vec::new();
    for (node, mut session) in opened.sessions.into_iter().enumerate() {
        let batch = batch.clone();
        let ran = std::thread::spawn(move || {
            let vectors = session.run(&batch).unwrap();
            (vectors, cores_of("/proc/thread-self/status"), session)
        });
        let (vectors, own, session) = ran.join().unwrap();
        assert_eq!((vectors, own), (expected.clone(), node.to_string()));
        keep.push(session);
    }
    // Each session has a second thread, which is ONNX Runtime's.
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let stay: Vec<String> = threads.map(|thread| cores_of(thread.unwrap().path().join("status"))).collect();
    assert!(["0", "1"].iter().all(|core| stay.iter().any(|cores| cores == core)), "{stay:?}");
}

/// What sessions take is measured in a process of its own each, this test program started again as a child.
#[cfg(target_os = "linux")]
mod memory {
    use std::path::Path;
    use std::process::Command;

    use offprint::encode::{BundleEncoder, Encoding, OpenEncoder, OpenedEncoder, assemble};
    use offprint::model::Bundle;
    use offprint::runtime::{MemoryPreset, memory_in_use};

    const CHILD: &str = "OFFPRINT_TEST_SESSIONS";
    const BUNDLE: &str = "OFFPRINT_TEST_BUNDLE";

    /// Anonymous memory in bytes of a process with so many encoders of so many sessions each, of which each has run
    /// batches of `rows` × 256 tokens.
    fn anonymous(bundle: &str, [encoders, sessions, rows]: [usize; 3], memory: MemoryPreset) -> u64 {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "memory::child_that_is_measured", "--nocapture"])
            .env(CHILD, format!("{encoders} {sessions} {rows} {memory}"))
            .env(BUNDLE, bundle)
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
        let (_, after) = stdout.split_once("anonymous bytes: ").unwrap();
        after.lines().next().unwrap().parse().unwrap()
    }

    /// Does nothing unless it is started by a test below.
    #[test]
    fn child_that_is_measured() {
        let (Ok(what), Some(bundle)) = (std::env::var(CHILD), std::env::var_os(BUNDLE)) else { return };
        let bundle = Bundle::open(Path::new(&bundle)).unwrap();
        let words: Vec<&str> = what.split(' ').collect();
        let [encoders, sessions, rows] = [0, 1, 2].map(|place| words[place].parse::<usize>().unwrap());
        let memory: MemoryPreset = words[3].parse().unwrap();
        let open = |_| {
            BundleEncoder { sessions: sessions.into(), memory, ..BundleEncoder::on_cpu(bundle.clone(), 2) }
                .open()
                .unwrap()
        };
        let mut opened: Vec<OpenedEncoder> = (0..encoders).map(open).collect();
        for (rows, columns) in [(rows, 256), (rows, 200), (rows * 4, 64)] {
            let ids = (0..columns).map(|id| 1_000 + id).collect();
            let encoding = Encoding { ids, n_dropped: 0, title_cut: false };
            let batch = assemble(&vec![&encoding; rows], 0);
            for session in opened.iter_mut().flat_map(|encoder| &mut encoder.sessions) {
                session.run(&batch).unwrap();
            }
        }
        println!("anonymous bytes: {}", memory_in_use().unwrap().anonymous);
    }

    #[test]
    fn two_sessions_share_their_weights() {
        let Some(bundle) = super::minilm_bundle() else { return };
        let [one, two, apart] =
            [[1, 1, 4], [1, 2, 4], [2, 1, 4]].map(|what| anonymous(bundle, what, MemoryPreset::Balanced));
        println!(
            "MiniLM, batches of 1,024 tokens, anonymous MiB: 1 session {}, 2 sessions {}, 2 that share nothing {}",
            one >> 20,
            two >> 20,
            apart >> 20
        );
        assert!(2 * two < 3 * one, "2 sessions {two} bytes, 1 session {one}");
        assert!(two + (40 << 20) < apart, "2 sessions {two} bytes, 2 that share nothing {apart}");
    }

    #[test]
    fn low_memory_is_less_than_half() {
        let Some(bundle) = super::minilm_bundle() else { return };
        let [low, balanced, fast] = MemoryPreset::ALL.map(|memory| anonymous(bundle, [1, 1, 16], memory));
        println!(
            "MiniLM, batches of 4,096 tokens, anonymous MiB: low {}, balanced {}, fast {}",
            low >> 20,
            balanced >> 20,
            fast >> 20
        );
        // Elsewhere the C library may keep what it is given back.
        if cfg!(target_env = "gnu") {
            assert!(2 * low < balanced, "low {low} bytes, balanced {balanced}");
        }
    }
}
