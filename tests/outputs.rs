//! Promise: an output is whole or not there, is the same bytes in every run, and is what its name says; what cannot be
//! written is refused before anything is computed, with the way out.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fs;

use common::{Said, Workplace, tiny_bundle};

const OUTPUTS: [&str; 7] = ["a.parquet", "b.npy", "c.safetensors", "d.fbin", "e.jsonl", "f.jsonl.gz", "g.jsonl.zst"];

const CORPUS: &str = "{\"id\": \"a\", \"title\": \"Star\"}\n{\"id\": \"b\", \"title\": \"Cell\"}\n";

fn embed(place: &Workplace, output: &str, more: &[&str], status: i32) -> Said {
    let mut args = vec!["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", output];
    args.extend(more);
    place.run(&args, status)
}

/// A place with a corpus; nothing of it has been embedded.
fn place() -> Workplace {
    let place = Workplace::new();
    place.write("papers.jsonl", CORPUS);
    place
}

#[test]
fn every_format_is_the_same_bytes_in_every_run() {
    let place = place();
    let mut first = Vec::new();
    for round in 0..2 {
        for (at, output) in OUTPUTS.iter().enumerate() {
            embed(&place, output, if round == 0 { &[] } else { &["--no-cache", "--threads", "1"] }, 0);
            let bytes = fs::read(place.path(output)).unwrap();
            if round == 0 {
                first.push(bytes);
            } else {
                assert!(first[at] == bytes, "{output} differs");
            }
        }
    }
    assert_eq!(place.read("b.ids.txt"), "a\nb\n");
}

#[test]
fn what_cannot_be_written_is_said_before_anything_is_computed() {
    let place = place();
    let refused = |output: &str, more: &[&str], parts: &[&str]| {
        let said = embed(&place, output, more, 2);
        said.expect(parts);
        assert_eq!(said.stdout, "");
    };
    let known = ".parquet, .npy, .safetensors, .fbin, .jsonl, .jsonl.gz, .jsonl.zst";
    refused("x.txt", &[], &["error: output `x.txt` has an unknown ending, expected one of ", known]);
    refused("x.gz", &[], &["error: output `x.gz` has an unknown ending"]);
    refused("none/x.npy", &[], &["error: `none/x.npy` cannot be written", "  hint: make the folder first"]);
    let mapped = "its readers map the numbers into memory as they lie in the file";
    refused("x.npy.gz", &[], &["error: output `x.npy.gz` is not compressed by gzip: ", mapped, "  hint: "]);
    refused("x.safetensors", &["--compress", "zstd"], &["is not compressed by zstd: ", mapped]);
    refused("x.parquet", &["--compress", "gzip"], &["Parquet compresses its pages itself", "  hint: "]);
    refused(
        "x.jsonl.gz",
        &["--compress", "zstd:9"],
        &[
            "error: the name of output `x.jsonl.gz` says gzip, `--compress zstd:9` something else",
            "  hint: name it `x.jsonl.zst`, or leave `--compress` out",
        ],
    );
    refused("x.jsonl", &["--compress", "gzip"], &["says no compression", "name it `x.jsonl.gz`"]);
    refused("x.jsonl", &["--compress", "lzma"], &["compression `lzma` is unknown, expected `gzip`"]);
    refused("x.jsonl.gz", &["--compress", "gzip:11"], &["level of `gzip` is `11`, expected 1 to 9"]);
    refused("x.npy", &["--jsonl-for", "scidocs"], &["error: `--jsonl-for` is about JSONL, and output `x.npy` is none"]);
    refused("x.parquet", &["--jsonl-id-key", "id"], &["error: `--jsonl-id-key` is about JSONL", "  hint: "]);
    refused("x.jsonl", &["--jsonl-for", "scidocs", "--jsonl-id-key", "id"], &["cannot be used with"]);
    let stat = place.run(&["cache", "stat", "--json"], 0).json();
    let rows: u64 = stat["spaces"].as_array().unwrap().iter().map(|space| space["rows"].as_u64().unwrap()).sum();
    assert_eq!(rows, 0, "{stat}");
    let names: Vec<String> =
        fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| name == "papers.jsonl" || name == "cache"), "{names:?}");
}

#[test]
fn ids_of_another_matrix_are_not_taken() {
    let place = place();
    embed(&place, "x.npy", &[], 0);
    place.write("papers.jsonl", "{\"id\": \"c\", \"title\": \"Star\"}\n");
    embed(&place, "x.fbin", &[], 2).expect(&[
        "error: `x.ids.txt` belongs to `x.npy` and would be replaced",
        "  hint: give the output another name, or move `x.npy` away",
    ]);
    assert_eq!(place.read("x.ids.txt"), "a\nb\n");
    embed(&place, "x.npy", &[], 0);
    assert_eq!(place.read("x.ids.txt"), "c\n");
}

#[test]
fn a_list_of_ids_takes_no_file_of_the_corpus() {
    let place = place();
    place.write("x.ids.txt", CORPUS);
    std::os::unix::fs::symlink(place.path("x.ids.txt"), place.path("linked.jsonl")).unwrap();
    let args = ["embed", "--model", tiny_bundle(), "linked.jsonl", "-o", "x.safetensors"];
    place.run(&args, 2).expect(&["error: `x.ids.txt` is a file of the corpus and would be replaced"]);
}

/// A limit on the size of files is what a full disk is to the program: a write that fails in the middle.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_the_older_outputs() {
    use std::fmt::Write;
    let place = Workplace::new();
    let mut corpus = String::new();
    for paper in 0..20_000 {
        writeln!(corpus, "{{\"id\": \"p{paper}\", \"title\": \"Star {}\"}}", paper % 50).unwrap();
    }
    place.write("papers.jsonl", corpus);
    embed(&place, "warm.jsonl", &[], 0);
    for output in OUTPUTS {
        place.write(output, "older");
    }
    for ids in ["b.ids.txt", "c.ids.txt", "d.ids.txt"] {
        place.write(ids, "older ids");
    }
    let program = assert_cmd::cargo::cargo_bin("offprint");
    for output in OUTPUTS {
        // 64 blocks of 512 bytes: below any of these outputs, of which the compressed ones have 50 texts to repeat.
        let script = format!(
            "trap '' XFSZ; ulimit -f 64; exec '{}' embed --model '{}' papers.jsonl -o {output}",
            program.display(),
            tiny_bundle()
        );
        let mut command = assert_cmd::Command::new("sh");
        command.args(["-c", &script]).current_dir(place.path("")).env("OFFPRINT_CACHE_DIR", place.path("cache"));
        let said = Said::new(command.output().unwrap(), 2);
        said.expect(&["error: ", "cannot write `", output.split('.').next().unwrap(), "  cause: "]);
        assert_eq!(place.read(output), "older", "{output}");
    }
    for ids in ["b.ids.txt", "c.ids.txt", "d.ids.txt"] {
        assert_eq!(place.read(ids), "older ids");
    }
    let left = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = left.filter(|name| name.ends_with(".tmp")).collect();
    assert!(left.is_empty(), "{left:?}");
}
