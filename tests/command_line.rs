//! Promise: the command line behaves as people and scripts expect: versions, completions, manual pages, variables for
//! flags, colours for people alone, quiet ends of closed pipes, and status 2 with a way out for what cannot be parsed.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fs;
use std::process::{Command, Output, Stdio};

use common::{Said, Workplace, tiny_bundle, tiny_checkpoint};

const ESCAPE: char = '\u{1b}';
const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "powershell", "elvish"];
const TWO_PAPERS: &str = "{\"id\": \"a\", \"title\": \"one\"}\n{\"id\": \"b\", \"title\": \"two\"}\n";

/// What a shell says to `line`, in which `offprint` is the program.
fn shell(place: &Workplace, line: &str) -> Output {
    let mut command = place.command(&[]);
    let path = assert_cmd::cargo::cargo_bin("offprint");
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(line.replace("offprint ", &format!("'{}' ", path.display())));
    sh.current_dir(place.path("")).stdin(Stdio::null());
    for (name, value) in command.env("CARGO", "").get_envs() {
        match value {
            Some(value) => sh.env(name, value),
            None => sh.env_remove(name),
        };
    }
    sh.output().unwrap()
}

/// A place with two papers and a head that labels them.
fn place_with_head() -> Workplace {
    let place = Workplace::new();
    let rows = |n: usize| format!("{{\"id\": \"t{n}\", \"title\": \"paper {n}\", \"field\": \"{}\"}}\n", n % 2);
    place.write("train.jsonl", (0..20).map(rows).collect::<String>());
    place.write("papers.jsonl", TWO_PAPERS);
    place.run(&["train", "--model", tiny_bundle(), "--label", "field", "train.jsonl", "-o", "field.head"], 0);
    place
}

#[test]
fn versions_are_told_briefly_and_at_length() {
    let place = Workplace::new();
    let short = concat!("offprint ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(place.run(&["-V"], 0).stdout, short);
    let long = place.run(&["--version"], 0).stdout;
    let library = long.strip_prefix(short).unwrap().strip_prefix("ONNX Runtime: ").unwrap();
    let json = place.run(&["doctor", "--json"], 0).json();
    let [version, path] = ["version", "path"].map(|name| json["library"][name].as_str().unwrap());
    assert!(library.starts_with(&format!("{version} at {path} (")), "{library} is not {json}");

    let named = place.command(&["--version"]).env("OFFPRINT_ORT_LIB", "nowhere.so").output().unwrap();
    let said = Said::new(named, 0);
    assert!(said.stdout.starts_with(short) && said.stdout.contains("\nONNX Runtime: not found ("), "{}", said.stdout);
    assert!(said.stdout.contains("nowhere.so") && said.stderr.is_empty(), "{said:?}");
}

#[test]
fn completions_know_the_commands_and_flags() {
    let place = Workplace::new();
    for shell in SHELLS {
        let script = place.run(&["completions", shell], 0).stdout;
        for word in ["classify", "check", "max-batch-tokens", "verify"] {
            assert!(script.contains(word), "{word} is missing for {shell}");
        }
        assert!(!script.contains("self-check"), "a hidden command is offered in {shell}");
        assert_eq!(place.run(&["completions", shell], 0).stdout, script);
    }
    place.write("offprint.bash", place.run(&["completions", "bash"], 0).stdout);
    match Command::new("bash").args(["-n", "offprint.bash"]).current_dir(place.path("")).output() {
        Ok(checked) => assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr)),
        Err(error) => println!("skipped: no bash to read the script with ({error})"),
    }
    place.run(&["completions", "tcsh"], 2).expect(&["error: invalid value 'tcsh'", "bash"]);
}

#[test]
fn manual_pages_are_whole_and_always_the_same() {
    let place = Workplace::new();
    let main = place.run(&["man"], 0).stdout;
    for part in [".TH offprint 1", "max\\-batch\\-tokens is OFFPRINT_MAX_BATCH_TOKENS", "offprint\\-classify(1)"] {
        assert!(main.contains(part), "{part} is missing in:\n{main}");
    }
    assert!(!main.contains("self\\-check"), "{main}");
    for folder in ["one", "two/deep"] {
        place.run(&["man", folder], 0).expect(&["manual pages in "]);
    }
    let mut names: Vec<String> = fs::read_dir(place.path("one"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in ["offprint.1", "offprint-check.1", "offprint-cache-verify.1"] {
        assert!(names.iter().any(|found| found == name), "{name} is not in {names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("self-check")), "{names:?}");
    for name in &names {
        assert_eq!(place.read(&format!("one/{name}")), place.read(&format!("two/deep/{name}")), "{name}");
    }
    assert_eq!(place.read("one/offprint.1"), main);
    place.run(&["man", "one/offprint.1"], 2).expect(&["error: could not create `one/offprint.1`"]);
}

#[test]
fn what_cannot_be_parsed_ends_with_status_2_and_a_way_out() {
    let place = Workplace::new();
    let cases: [(&[&str], &[&str]); 6] = [
        (&["emebd"], &["error: unrecognized subcommand 'emebd'", "similar subcommand exists: 'embed'", "--help"]),
        (&["doctor", "--jsno"], &["error: unexpected argument '--jsno'", "'--json'"]),
        (&["embed", "--model"], &["error: a value is required for '--model <BUNDLE>'"]),
        (&["embed", "x.jsonl"], &["error: the following required arguments", "--model <BUNDLE>"]),
        (&["embed", "--model", "m", "x.jsonl", "--threads", "0"], &["error: invalid value '0' for '--threads <N>'"]),
        (&[], &["Usage: offprint", "Commands:"]),
    ];
    for (args, parts) in cases {
        let said = place.run(args, 2);
        said.expect(parts);
        assert!(said.stdout.is_empty(), "{args:?}: {}", said.stdout);
    }
    for args in [&["help"][..], &["--help"], &["help", "embed"], &["embed", "-h"], &["cache", "--help"]] {
        let said = place.run(args, 0);
        assert!(said.stdout.contains("Usage: offprint") && said.stderr.is_empty(), "{args:?}: {said:?}");
        assert!(!said.stdout.contains(ESCAPE), "colours in a pipe: {args:?}");
    }
}

#[test]
fn a_reader_who_went_away_ends_nothing_but_the_printing() {
    let place = place_with_head();
    let model = tiny_bundle();
    let classify =
        ["classify", "--model", model, "--head", "field.head", "papers.jsonl", "-o", "p.jsonl", "--report", "page"];
    let runs: [&[&str]; 14] = [
        &["doctor"],
        &["doctor", "--json"],
        &["cache", "stat"],
        &["cache", "stat", "--json"],
        &["cache", "verify"],
        &["--help"],
        &["embed", "--help"],
        &["--version"],
        &["completions", "bash"],
        &["man"],
        &["embed", "--model", model, "papers.jsonl", "--json"],
        &["check", "--model", model, "papers.jsonl", "--threads", "1"],
        &["check", "--model", model, "papers.jsonl", "--threads", "1", "--json"],
        &classify,
    ];
    for args in runs {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let said = Said::new(place.command(args).stdout(writer).stderr(Stdio::piped()).output().unwrap(), 0);
        for word in ["error", "panicked", "pipe"] {
            assert!(!said.stderr.contains(word), "{args:?}: {}", said.stderr);
        }
    }
    assert_eq!(place.read("p.jsonl").lines().count(), 2, "the work behind the table was left undone");
    assert!(place.path("page/report.html").is_file(), "the report behind the table was left out");
}

#[test]
fn streams_that_are_closed_from_the_start_do_no_harm() {
    let place = Workplace::new();
    place.write("papers.jsonl", TWO_PAPERS);
    for line in ["offprint doctor >&-", "offprint doctor 2>&-", "offprint doctor <&- >&- 2>&-", "offprint --help >&-"] {
        let output = shell(&place, line);
        assert_eq!(output.status.code(), Some(0), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // A file that is opened next must not take the place of a closed stream.
    let line = format!("offprint embed --model '{}' papers.jsonl -o x.jsonl --json <&- >&- 2>&-", tiny_bundle());
    assert_eq!(shell(&place, &line).status.code(), Some(0));
    let lines = place.read("x.jsonl");
    assert!(lines.lines().all(|line| line.starts_with("{\"doc_id\"")) && lines.lines().count() == 2, "{lines}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_behind_stdout_is_an_error() {
    let place = Workplace::new();
    for args in [&["doctor"][..], &["cache", "stat", "--json"], &["completions", "zsh"], &["man"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let said = Said::new(place.command(args).stdout(full).stderr(Stdio::piped()).output().unwrap(), 2);
        said.expect(&["error: could not write to standard output", "cause: No space left on device"]);
    }
}

#[test]
fn colours_are_for_people_alone() {
    let place = Workplace::new();
    let stderr = |variables: &[(&str, &str)], args: &[&str]| {
        let output = place.command(args).envs(variables.iter().copied()).output().unwrap();
        assert!(!String::from_utf8_lossy(&output.stdout).contains(ESCAPE), "{args:?} {variables:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let failing = ["embed", "--model", "nowhere", "x.jsonl"];
    let plain = stderr(&[], &failing);
    assert!(plain.starts_with("error: ") && !plain.contains(ESCAPE), "{plain:?}");
    let forced = stderr(&[("CLICOLOR_FORCE", "1")], &failing);
    assert!(forced.contains(ESCAPE) && forced.contains("error:"), "{forced:?}");
    assert_eq!(stderr(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], &failing), plain);
    // What a machine reads is never coloured.
    stderr(&[("CLICOLOR_FORCE", "1")], &["doctor", "--json"]);
    stderr(&[("CLICOLOR_FORCE", "1")], &["doctor"]);
    stderr(&[("CLICOLOR_FORCE", "1")], &["completions", "bash"]);
    stderr(&[("CLICOLOR_FORCE", "1")], &["cache", "stat", "--json"]);
}

#[test]
fn a_terminal_gets_colours_unless_it_is_dumb() {
    let place = Workplace::new();
    let on_terminal = |variables: &[(&str, &str)]| on_terminal(&place, "x.jsonl", variables);
    let Some(coloured) = on_terminal(&[]) else {
        return println!("skipped: no `script` to make a terminal with");
    };
    assert!(coloured.contains(ESCAPE) && coloured.contains("error:"), "{coloured:?}");
    for variables in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = on_terminal(&[variables]).unwrap();
        assert!(plain.contains("error: ") && !plain.contains(ESCAPE), "{variables:?}: {plain:?}");
    }
}

#[test]
fn who_types_papers_is_told_that_they_are_waited_for() {
    let place = Workplace::new();
    let note = "reading papers from the terminal; Ctrl-D ends them";
    let piped = place.run(&["embed", "--model", "nowhere", "--input-format", "jsonl", "-"], 2);
    assert!(!piped.stderr.contains(note), "{}", piped.stderr);
    let Some(said) = on_terminal(&place, "--input-format jsonl -", &[]) else {
        return println!("skipped: no `script` to make a terminal with");
    };
    assert!(said.contains(note), "{said:?}");
}

/// What a run with these arguments and without a model says on a terminal, if one can be made.
fn on_terminal(place: &Workplace, args: &str, variables: &[(&str, &str)]) -> Option<String> {
    let path = assert_cmd::cargo::cargo_bin("offprint");
    let mut command = place.command(&[]);
    let mut script = Command::new("script");
    // Nobody types: what waits for it is ended.
    let line = format!("timeout --foreground 5 '{}' embed --model nowhere {args}", path.display());
    script.args(["-qec", &line, "/dev/null"]).current_dir(place.path("")).stdin(Stdio::null());
    for (name, value) in command.env("TERM", "xterm").envs(variables.iter().copied()).get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let output = script.output().ok()?;
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn variables_set_flags_and_the_command_line_overrules_them() {
    let place = Workplace::new();
    place.write("papers.jsonl", TWO_PAPERS);
    let embed = ["embed", "--model", tiny_bundle(), "papers.jsonl"];
    let with = |variables: &[(&str, &str)], args: &[&str], status: i32| {
        Said::new(place.command(args).envs(variables.iter().copied()).output().unwrap(), status)
    };
    for yes in ["1", "true", "yes", "on"] {
        with(&[("OFFPRINT_NO_CACHE", yes)], &embed, 2).expect(&["error: `--no-cache` without an output"]);
    }
    for no in ["0", "false", ""] {
        with(&[("OFFPRINT_NO_CACHE", no)], &embed, 0);
    }
    with(&[("OFFPRINT_NO_CACHE", "perhaps")], &embed, 2).expect(&["invalid value 'perhaps' for '--no-cache'"]);
    with(&[("OFFPRINT_THREADS", "none")], &embed, 2).expect(&["invalid value 'none' for '--threads <N>'"]);
    with(&[("OFFPRINT_THREADS", "none")], &[&embed[..], &["--threads", "1"]].concat(), 0);
    let json = with(&[("OFFPRINT_JSON", "1"), ("OFFPRINT_LIMIT", "1")], &embed, 0).json();
    assert_eq!(json["rows"], 1);
    let rows = |n: usize| format!("{{\"id\": \"t{n}\", \"title\": \"paper {n}\", \"field\": \"{}\"}}\n", n % 2);
    place.write("train.jsonl", (0..40).map(rows).collect::<String>());
    let train = ["train", "--model", tiny_bundle(), "--label", "field", "train.jsonl", "-o", "field.head"];
    with(&[("OFFPRINT_C", "0")], &train, 2).expect(&["error: `--c` is 0"]);
    with(&[("OFFPRINT_C", "0")], &[&train[..], &["--c-grid=1,2"]].concat(), 0).expect(&["C = "]);
    with(&[("OFFPRINT_C_GRID", "0,1")], &[&train[..], &["--c", "2"]].concat(), 0).expect(&["C = 2:"]);

    let checkpoint = tiny_checkpoint();
    let export = ["export", "--model", checkpoint.to_str().unwrap(), "-o", "bundle", "--pooling", "mean"];
    let cases: [(&str, &[&str], bool); 6] = [
        ("true", &[], true),
        ("false", &[], false),
        ("true", &["--no-normalize"], false),
        ("false", &["--normalize"], true),
        ("", &[], false),
        ("false", &["--no-normalize", "--normalize"], true),
    ];
    for (value, more, expected) in cases {
        with(&[("OFFPRINT_NORMALIZE", value)], &[&export[..], more].concat(), 0);
        let manifest = place.read("bundle/bundle.toml");
        assert!(manifest.contains(&format!("normalize = {expected}")), "{value} {more:?}: {manifest}");
    }
    let both = [&export[..], &["--normalize", "--no-normalize"]].concat();
    with(&[], &both, 0);
    assert!(place.read("bundle/bundle.toml").contains("normalize = false"), "the last of two opposites wins");
}

#[test]
fn what_the_environment_says_of_other_commands_fails_none() {
    let place = Workplace::new();
    place.write("papers.jsonl", TWO_PAPERS);
    let variables = [
        ("OFFPRINT_LIMIT", "5"),
        ("OFFPRINT_TITLE_FIELD", "name"),
        ("OFFPRINT_LABEL", "field"),
        ("OFFPRINT_LABEL_SEPARATOR", "|"),
        ("OFFPRINT_HEAD", "nowhere.head"),
        ("OFFPRINT_MIN_COSINE", "0.9"),
        ("OFFPRINT_MAX_F1_DROP", "0.1"),
        ("OFFPRINT_REVISION", "main"),
        ("OFFPRINT_ONNX_OUTPUT", "x"),
        ("OFFPRINT_SAMPLE", "10"),
        ("OFFPRINT_COMPRESS", "zstd"),
        ("OFFPRINT_JSONL_ID_KEY", "key"),
    ];
    let with = |args: &[&str], status: i32| {
        Said::new(place.command(args).envs(variables.iter().copied()).output().unwrap(), status)
    };
    let checkpoint = tiny_checkpoint();
    let export = ["export", "--model", checkpoint.to_str().unwrap(), "-o", "bundle", "--pooling", "mean"];
    with(&export, 0);
    with(&["check", "--model", "bundle", "--threads", "1"], 0);
    with(&["embed", "--model", "bundle", "papers.jsonl", "--title-field", "title"], 0);
    // What is typed is meant.
    with(&[&export[..], &["--limit", "5"]].concat(), 2).expect(&["error: `--limit` is given without a corpus"]);
    with(&[&export[..], &["--onnx-output=x"]].concat(), 2).expect(&["error: `--onnx-output` is given without"]);
    with(&["check", "--model", "bundle", "--sample", "9"], 2).expect(&["error: `--sample` is given without a corpus"]);
    let embed = ["embed", "--model", "bundle", "papers.jsonl", "--jsonl-id-key", "key"];
    with(&embed, 2).expect(&["error: `--jsonl-id-key` is about the output, and there is none"]);
}

#[test]
fn a_file_size_limit_is_an_error_that_names_the_file() {
    let place = Workplace::new();
    let rows = (0..400).map(|n| format!("{{\"id\": \"p{n}\", \"title\": \"paper {n}\"}}\n"));
    place.write("papers.jsonl", rows.collect::<String>());
    let line = format!("ulimit -f 8; offprint embed --model '{}' papers.jsonl --no-cache -o x.jsonl", tiny_bundle());
    let output = shell(&place, &line);
    let said = Said::new(output, 2);
    said.expect(&["error: ", "x.jsonl", "cause: File too large"]);
    assert!(!place.path("x.jsonl").exists(), "half an output stands under its name");
}
