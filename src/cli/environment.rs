//! The `OFFPRINT_*` twins: every flag of every command can be set by an environment variable. Knows no command.
//! Invariant: the command line overrules the environment, and a variable that is empty counts as not set.

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, Command};

/// Flags without a twin: two ask for words and not for work, one is the twin of its opposite (`OFFPRINT_NORMALIZE`).
const WITHOUT: [&str; 3] = ["help", "version", "no-normalize"];

/// Gives every flag of `command` and of the commands below it its twin.
pub(crate) fn with_twins(command: Command) -> Command {
    command.mut_args(with_twin).mut_subcommands(with_twins)
}

fn with_twin(flag: Arg) -> Arg {
    let Some(name) = twin(&flag) else { return flag };
    let flag = match flag.get_action() {
        // A switch takes 1 and 0, true and false, yes and no, on and off; anything else is an error.
        ArgAction::SetTrue => flag.value_parser(BoolishValueParser::new()),
        _ => flag,
    };
    let is_empty = std::env::var_os(&name).is_some_and(|value| value.is_empty());
    if is_empty || opposite_is_given(&flag) { flag } else { flag.env(name).hide_env(true) }
}

/// Whether `--no-FLAG` stands on the command line: clap would take the two for a contradiction.
fn opposite_is_given(flag: &Arg) -> bool {
    let opposite = flag.get_long().map(|long| format!("--no-{long}"));
    opposite.is_some_and(|opposite| std::env::args_os().any(|argument| argument == *opposite))
}

/// The name of the variable that sets a flag.
fn twin(flag: &Arg) -> Option<String> {
    let long = flag.get_long().filter(|long| !WITHOUT.contains(long))?;
    Some(format!("OFFPRINT_{}", long.replace('-', "_").to_uppercase()))
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
