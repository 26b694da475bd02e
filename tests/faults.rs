//! Promise: whatever the machine does to a run (no space, no leave to write, folders and files that change or vanish
//! under it), it ends with status 2 and the name of the file, and the next run gives the bytes of an undisturbed one.
//!
//! Most faults need Linux: a limit on the size of files, a file system of one's own, files that nobody may write.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use common::{Said, Workplace, tiny_bundle};

/// So many that a run lasts for a good part of a second, and its output is larger than its part of the cache.
const PAPERS: usize = 4_000;
const OUTPUT: &str = "out/x.jsonl";
/// Where nobody, root included, can make a file.
const NO_LEAVE: &str = "/sys/kernel/offprint-test";

/// A place with the corpus and a folder for the output.
fn place() -> Workplace {
    let place = Workplace::new();
    let mut corpus = String::new();
    for paper in 0..PAPERS {
        corpus.push_str(&row(paper));
    }
    place.write("papers.jsonl", corpus);
    fs::create_dir(place.path("out")).unwrap();
    place
}

fn row(paper: usize) -> String {
    let words: Vec<String> = (0..24).map(|word| ((paper * 31 + word * 17) % 997).to_string()).collect();
    format!("{{\"id\": \"p{paper}\", \"title\": \"Paper {paper}\", \"abstract\": \"{}\"}}\n", words.join(" "))
}

fn args<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", output];
    args.extend(more);
    args
}

/// What a run over the corpus writes into a `.jsonl` when nothing disturbs it.
fn expected() -> &'static str {
    static EXPECTED: OnceLock<String> = OnceLock::new();
    EXPECTED.get_or_init(|| {
        let place = place();
        place.run(&args(OUTPUT, &[]), 0);
        place.read(OUTPUT)
    })
}

/// The run after a fault; how many of its rows the disturbed one had kept.
fn goes_on(place: &Workplace) -> u64 {
    fs::create_dir_all(place.path("out")).unwrap();
    let account = place.run(&args(OUTPUT, &["--json"]), 0).json();
    assert!(place.read(OUTPUT) == expected(), "other bytes than an undisturbed run");
    let left: Vec<_> = fs::read_dir(place.path("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["x.jsonl"], "the next run removes what a disturbed one left");
    let verified = place.run(&["cache", "verify", "--json"], 0).json();
    assert_eq!(verified["damaged"].as_array().map(Vec::len), Some(0), "{verified}");
    account["cached"].as_u64().unwrap()
}

/// A run that refuses: nothing on stdout, no output, and words about `names`.
fn refuses(place: &Workplace, args: &[&str], names: &[&str]) {
    let said = place.run(args, 2);
    assert!(said.stdout.is_empty(), "{}", said.stdout);
    said.expect(&["error: "]);
    said.expect(names);
    assert!(!place.path(OUTPUT).is_file(), "a failed run left an output");
}

fn command(place: &Workplace, args: &[&str]) -> Command {
    let mut command = place.command(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The same command, in which no file can grow beyond `bytes`.
fn limited(place: &Workplace, args: &[&str], bytes: u64) -> Command {
    let mut command = command(place, args);
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    #[expect(unsafe_code, reason = "setrlimit may be called between fork and exec, and touches nothing of ours")]
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    command
}

/// A run that has begun to write: its temporary output is there.
fn begun(place: &Workplace, args: &[&str]) -> Child {
    let child = command(place, args).spawn().unwrap();
    let asked = Instant::now();
    while fs::read_dir(place.path("out")).unwrap().next().is_none() {
        assert!(asked.elapsed() < Duration::from_secs(60), "the run does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    // The output is there; its lock and the first texts come a moment later.
    std::thread::sleep(Duration::from_millis(50));
    child
}

fn end(child: Child, status: i32) -> Said {
    Said::new(child.wait_with_output().unwrap(), status)
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_that_names_the_file() {
    let (part, output) = {
        let whole = place();
        whole.run(&args(OUTPUT, &[]), 0);
        let stat = whole.run(&["cache", "stat", "--json"], 0).json();
        (stat["spaces"][0]["bytes"].as_u64().unwrap(), whole.path(OUTPUT).metadata().unwrap().len())
    };
    assert!(2 * part < output, "a limit between {part} and {output} is what this test is about");

    let cache_fails = place();
    let without_output = ["embed", "--model", tiny_bundle(), "papers.jsonl"];
    let said = Said::new(limited(&cache_fails, &without_output, part / 2).output().unwrap(), 2);
    said.expect(&["error: could not write a part into `", "cache/embeddings/", "  cause: "]);
    goes_on(&cache_fails);

    let output_fails = place();
    let said = Said::new(limited(&output_fails, &args(OUTPUT, &[]), 2 * part).output().unwrap(), 2);
    said.expect(&["error: cannot write `out/x.jsonl`", "  cause: "]);
    assert_eq!(goes_on(&output_fails), PAPERS as u64, "what was computed is kept");

    for name in ["out/x.parquet", "out/x.npy", "out/x.jsonl.gz"] {
        let place = place();
        fs::write(place.path(name), "older").unwrap();
        let said = Said::new(limited(&place, &args(name, &["--no-cache"]), part / 2).output().unwrap(), 2);
        said.expect(&[&format!("error: cannot write `{name}`"), "  cause: "]);
        assert_eq!(place.read(name), "older");
        fs::remove_file(place.path(name)).unwrap();
        goes_on(&place);
    }
}

#[test]
fn places_where_nothing_can_be_written_are_named() {
    let place = place();
    place.write("file", "a file\n");
    fs::create_dir(place.path("folder.jsonl")).unwrap();
    for output in ["file/x.jsonl", "nowhere/x.jsonl", "folder.jsonl", &format!("{NO_LEAVE}.jsonl")] {
        refuses(&place, &args(output, &[]), &[&format!("`{output}`")]);
    }
    for cache in ["file/cache", NO_LEAVE] {
        refuses(&place, &args(OUTPUT, &["--cache-dir", cache]), &[cache]);
    }
    place.write("papers.jsonl", format!("{}{{\"id\": 1.5}}\n", row(0)));
    for rejects in ["file/r.jsonl", "folder.jsonl", &format!("{NO_LEAVE}/r.jsonl")] {
        refuses(&place, &args(OUTPUT, &["--rejects", rejects]), &[&format!("`{rejects}`")]);
    }
    for report in ["file/report", NO_LEAVE] {
        let said = place.run(&args(OUTPUT, &["--report", report]), 2);
        said.expect(&["error: ", &format!("`{report}`")]);
    }
    assert_eq!(place.read("file"), "a file\n");
}

#[test]
fn folders_without_leave_to_write_are_named() {
    use std::os::unix::fs::PermissionsExt;
    let place = place();
    fs::create_dir(place.path("cache")).unwrap();
    let allow = |name: &str, mode| fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
    allow("out", 0o555);
    if fs::write(place.path("out/probe"), "").is_ok() {
        println!("skipped: this user may write everywhere, so that modes say nothing");
        return;
    }
    refuses(&place, &args(OUTPUT, &[]), &["`out/x.jsonl`"]);
    allow("out", 0o755);
    allow("cache", 0o555);
    refuses(&place, &args(OUTPUT, &[]), &["/cache", "--cache-dir"]);
    allow("cache", 0o755);
    goes_on(&place);
}

#[test]
fn an_output_folder_that_vanishes_during_a_run_is_named() {
    let place = place();
    let child = begun(&place, &args(OUTPUT, &[]));
    fs::remove_dir_all(place.path("out")).unwrap();
    end(child, 2).expect(&["error: cannot write `out/x.jsonl`", "  cause: "]);
    assert_eq!(goes_on(&place), PAPERS as u64, "what was computed is kept");
}

#[test]
fn a_cache_folder_that_vanishes_during_a_run_is_named_and_made_anew() {
    let place = place();
    let child = begun(&place, &args(OUTPUT, &[]));
    fs::remove_dir_all(place.path("cache")).unwrap();
    end(child, 0).expect(&["warning: cache folder `", "cache/embeddings/", "was removed or replaced"]);
    assert!(place.read(OUTPUT) == expected());
    goes_on(&place);
}

#[test]
fn a_disk_that_is_full_is_named() {
    // The file system is mounted for the run alone, in a name space of its own, and goes with it.
    let on_small_disk = |place: &Workplace, folder: &str, kib: usize| {
        let mut shell = Command::new("unshare");
        shell.args([
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs -o size=\"$1\" none \"$2\" && shift 2 && exec \"$@\"",
            "sh",
        ]);
        shell.arg(format!("{kib}k")).arg(place.path(folder)).arg(assert_cmd::cargo::cargo_bin("offprint"));
        shell.args(args(OUTPUT, &[])).current_dir(place.path("")).env("OFFPRINT_CACHE_DIR", place.path("cache"));
        shell.output().unwrap()
    };
    let mounts = Command::new("unshare").args(["--mount", "sh", "-c", "mount -t tmpfs none /mnt"]).output();
    if !mounts.is_ok_and(|output| output.status.success()) {
        println!("skipped: this user may not mount a small file system");
        return;
    }
    let output_full = place();
    let said = Said::new(on_small_disk(&output_full, "out", 600), 2);
    said.expect(&["error: cannot write `out/x.jsonl`", "  cause: No space left on device"]);
    assert_eq!(goes_on(&output_full), PAPERS as u64, "what was computed is kept");

    let cache_full = place();
    fs::create_dir(cache_full.path("cache")).unwrap();
    let said = Said::new(on_small_disk(&cache_full, "cache", 100), 2);
    said.expect(&["error: could not write a part into `", "cache/embeddings/", "No space left on device"]);
    said.expect(&["  hint: free some space or choose another `--cache-dir`"]);
    goes_on(&cache_full);
}

#[test]
fn a_corpus_that_shrinks_or_grows_during_a_run_is_told_from_a_whole_one() {
    let shrinks = place();
    let child = begun(&shrinks, &args(OUTPUT, &[]));
    let corpus = shrinks.read("papers.jsonl");
    let file = OpenOptions::new().write(true).open(shrinks.path("papers.jsonl")).unwrap();
    file.set_len(corpus.len() as u64 / 2).unwrap();
    end(child, 2).expect(&["error: ", "papers.jsonl", "shrank"]);
    assert!(!shrinks.path(OUTPUT).exists(), "half a corpus has no output");
    shrinks.write("papers.jsonl", corpus);
    goes_on(&shrinks);

    let grows = place();
    let child = begun(&grows, &args(OUTPUT, &[]));
    let mut file = OpenOptions::new().append(true).open(grows.path("papers.jsonl")).unwrap();
    file.write_all(row(PAPERS).as_bytes()).unwrap();
    end(child, 0).expect(&["warning: ", "papers.jsonl", "grew"]);
    assert!(grows.read(OUTPUT) == expected(), "rows added later are not in the run");
}

#[test]
fn a_reader_that_goes_away_ends_nothing_and_a_full_stdout_is_an_error() {
    let place = place();
    let mut child = command(&place, &args(OUTPUT, &["--json"])).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(place.read(OUTPUT) == expected());

    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command(&place, &args(OUTPUT, &["--json"])).stdout(full).output().unwrap();
    Said::new(output, 2).expect(&["error: ", "standard output", "No space left on device"]);
    assert!(place.read(OUTPUT) == expected(), "the output was whole before the account was printed");
}

#[test]
fn a_closed_stdout_and_stderr_lose_no_row() {
    let place = place();
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" >&- 2>&-", "sh"]).arg(assert_cmd::cargo::cargo_bin("offprint"));
    shell.args(args(OUTPUT, &["--json"])).current_dir(place.path("")).env("OFFPRINT_CACHE_DIR", place.path("cache"));
    assert!(shell.status().unwrap().success());
    assert!(place.read(OUTPUT) == expected());
    assert!(is_jsonl(&place.path(OUTPUT)), "what is written to a closed stdout must not land in the output");
}

fn is_jsonl(path: &Path) -> bool {
    fs::read_to_string(path).unwrap().lines().all(|line| line.starts_with("{\"doc_id\":"))
}
