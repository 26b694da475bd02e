//! The `OFFPRINT_*` twins: every flag of every command can be set by an environment variable. Knows no command.
//! Invariant: the command line overrules the environment, and a variable that is empty counts as not set.

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, Command, Id};

/// Flags without a twin: two ask for words and not for work, one is the twin of its opposite (`OFFPRINT_NORMALIZE`).
const WITHOUT: [&str; 3] = ["help", "version", "no-normalize"];

/// Gives every flag of `command` and of the commands below it its twin.
pub(crate) fn with_twins(command: Command) -> Command {
    let overruled = overruled(&command);
    command.mut_args(|flag| with_twin(flag, &overruled)).mut_subcommands(with_twins)
}

fn with_twin(flag: Arg, overruled: &[Id]) -> Arg {
    let Some(name) = twin(&flag) else { return flag };
    let flag = match flag.get_action() {
        // A switch takes 1 and 0, true and false, yes and no, on and off; anything else is an error.
        ArgAction::SetTrue => flag.value_parser(BoolishValueParser::new()),
        _ => flag,
    };
    let is_empty = std::env::var_os(&name).is_some_and(|value| value.is_empty());
    if is_empty || overruled.contains(flag.get_id()) { flag } else { flag.env(name).hide_env(true) }
}

/// Flags that are contradicted by what stands on the command line: clap would call the two of them an error.
fn overruled(command: &Command) -> Vec<Id> {
    let mut overruled = Vec::new();
    for flag in command.get_arguments() {
        let Some(long) = flag.get_long() else { continue };
        if is_given(&format!("no-{long}")) {
            overruled.push(flag.get_id().clone());
        }
        for other in command.get_arg_conflicts_with(flag) {
            if is_given(long) {
                overruled.push(other.get_id().clone());
            }
            if other.get_long().is_some_and(is_given) {
                overruled.push(flag.get_id().clone());
            }
        }
    }
    overruled
}

/// Whether a flag, `--limit`, was typed, and not only set by the environment. What is said there once for many commands is
/// passed over by those for which it means nothing; what was typed for one is refused.
pub(crate) fn is_typed(flag: &str) -> bool {
    flag.strip_prefix("--").is_some_and(is_given)
}

/// Whether a flag stands on the command line, with or without a value.
fn is_given(long: &str) -> bool {
    std::env::args_os().any(|argument| {
        let after = argument.to_str().and_then(|argument| argument.strip_prefix("--")?.strip_prefix(long));
        after.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}

/// The name of the variable that sets a flag.
fn twin(flag: &Arg) -> Option<String> {
    let long = flag.get_long().filter(|long| !WITHOUT.contains(long))?;
    Some(format!("OFFPRINT_{}", long.replace('-', "_").to_uppercase()))
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
