//! `offprint completions`: what a shell needs to complete commands and flags.

use anyhow::Result;
use clap::Args;
use clap_complete::Shell;

use super::say::say;
use super::{Status, visible_command_line};

/// Print the completions for a shell
///
/// bash: offprint completions bash > ~/.local/share/bash-completion/completions/offprint
/// zsh: offprint completions zsh > a folder of $fpath/_offprint
/// fish: offprint completions fish > ~/.config/fish/completions/offprint.fish
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs) -> Result<Status> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut visible_command_line(), "offprint", &mut script);
    say(String::from_utf8(script)?.trim_end())?;
    Ok(Status::Done)
}
