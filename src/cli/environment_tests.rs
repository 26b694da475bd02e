//! Every flag of every command is set by its twin. A process can't change its own environment safely, so this test
//! starts itself once for each variable, and the child looks for the variable in what clap makes of no flag at all.

use std::collections::BTreeMap;
use std::process::Command as Process;

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;

use super::*;
use crate::cli::command_line;

/// Names the variable that the child shall look at.
const ASKED: &str = "TEST_OFFPRINT_TWIN";
/// Values tried one after the other until a flag takes one.
const VALUES: [&str; 30] = [
    "platt",
    "balanced",
    "logistic",
    "hinge",
    "cosine",
    "linfa",
    "group",
    "regression",
    "missed",
    "uniform",
    "scirepeval",
    "none",
    "1",
    "2",
    "true",
    "cls",
    "cpu",
    "fp32",
    "1/2",
    "jsonl",
    "zstd",
    "gz",
    "arxiv",
    "7.5",
    "30d",
    "10GB",
    "2030-01-01",
    "warn",
    "fast",
    "8x128",
];

/// Every command that does something, with the words that lead to it.
fn leaves(command: &Command, path: &[String]) -> Vec<(Vec<String>, Command)> {
    let here = [path, &[command.get_name().to_owned()]].concat();
    if command.get_subcommands().next().is_none() {
        return vec![(here, command.clone())];
    }
    command.get_subcommands().flat_map(|below| leaves(below, &here)).collect()
}

/// The variables, each with a command and a flag of it that it sets.
fn twins() -> BTreeMap<String, (Vec<String>, Arg)> {
    let mut twins = BTreeMap::new();
    for (path, command) in leaves(&command_line(), &[]) {
        for flag in command.get_arguments() {
            if let Some(variable) = twin(flag) {
                twins.insert(variable, (path.clone(), flag.clone()));
            }
        }
    }
    twins
}

/// A value that an argument of the command behind `path` takes.
fn value(path: &[String], argument: &Arg) -> &'static str {
    if matches!(argument.get_action(), ArgAction::SetTrue) {
        return "1";
    }
    let takes = |value: &&&str| {
        let word = argument.get_long().map_or((**value).to_owned(), |long| format!("--{long}={value}"));
        let words = [path, &[word]].concat();
        let refused = command_line().try_get_matches_from(words).err().map(|error| error.kind());
        !matches!(refused, Some(ErrorKind::InvalidValue | ErrorKind::ValueValidation))
    };
    VALUES
        .iter()
        .find(takes)
        .unwrap_or_else(|| panic!("no value for {path:?} {}: add one to VALUES", argument.get_id()))
}

#[test]
fn every_flag_has_a_twin_that_works() {
    if let Ok(asked) = std::env::var(ASKED) {
        return look_for(&asked);
    }
    let twins = twins();
    for flag in ["OFFPRINT_NO_CACHE", "OFFPRINT_NORMALIZE", "OFFPRINT_MODEL", "OFFPRINT_C_GRID", "OFFPRINT_SAMPLE"] {
        assert!(twins.contains_key(flag), "{flag}");
    }
    assert!(!twins.contains_key("OFFPRINT_NO_NORMALIZE") && !twins.contains_key("OFFPRINT_HELP"));
    for (variable, (path, flag)) in twins {
        let mut child = Process::new(std::env::current_exe().unwrap());
        child.args(["--exact", "cli::environment::tests::every_flag_has_a_twin_that_works", "--nocapture"]);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OFFPRINT_")) {
            child.env_remove(name);
        }
        let said = child.env(ASKED, &variable).env(&variable, value(&path, &flag)).output().unwrap();
        assert!(said.status.success(), "{variable}: {}", String::from_utf8_lossy(&said.stdout));
        assert!(String::from_utf8_lossy(&said.stdout).contains("1 passed"), "{variable}: the child ran no test");
    }
}

/// In the child: `variable` is the only one that is set. Every command that has its flag must have it from there.
fn look_for(variable: &str) {
    let mut met = 0;
    for (path, command) in leaves(&command_line(), &[]) {
        let Some(flag) = command.get_arguments().find(|flag| twin(flag).as_deref() == Some(variable)) else { continue };
        let matches = parsed(&path, &command, flag);
        let leaf = path[1..].iter().fold(&matches, |matches, name| matches.subcommand_matches(name).unwrap());
        let source = leaf.value_source(flag.get_id().as_str());
        assert_eq!(source, Some(ValueSource::EnvVariable), "{variable} of {path:?}");
        met += 1;
    }
    assert!(met > 0, "{variable}");
}

/// What the command makes of its environment and the flags that it can't do without, `flag` left out.
fn parsed(path: &[String], command: &Command, flag: &Arg) -> ArgMatches {
    let mut words = path.to_vec();
    let add = |words: &mut Vec<String>, argument: &Arg| {
        words.extend(argument.get_long().map(|long| format!("--{long}")));
        words.push(value(path, argument).to_owned());
    };
    for other in command.get_arguments().filter(|other| other.is_required_set() && other.get_id() != flag.get_id()) {
        add(&mut words, other);
    }
    loop {
        let error = match with_twins(command_line()).try_get_matches_from(&words) {
            Ok(matches) => return matches,
            Err(error) => error,
        };
        // Flags that only some others make dispensable are told by the message alone.
        assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument, "{words:?}: {error}");
        let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else { panic!("{error}") };
        let is_missing = |long: &str| missing.iter().any(|name| name.split([' ', '=']).next() == Some(long));
        let named = |other: &&Arg| other.get_long().is_some_and(|long| is_missing(&format!("--{long}")));
        add(&mut words, command.get_arguments().find(named).expect("clap names the command's own flags"));
    }
}
