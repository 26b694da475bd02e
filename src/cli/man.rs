//! `offprint man`: the manual pages, made of the same words as the help.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_mangen::Man;
use offprint::durable;

use super::say::{remark, say};
use super::{Status, visible_command_line};

/// Print the manual page, or write the pages of all commands into a folder
///
/// `offprint man > offprint.1` gives the main page; `offprint man ~/.local/share/man/man1` makes `man offprint-embed`
/// and all others work.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder for one page per command [default: the main page on stdout]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(crate) fn run(args: &ManArgs) -> Result<Status> {
    let mut command = visible_command_line().disable_help_subcommand(true);
    command.build();
    match &args.folder {
        None => say(page(&command)?.trim_end())?,
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| format!("could not create `{}`", folder.display()))?;
            let pages = write_pages(&command, folder)?;
            remark(&format!("{pages} manual pages in {}", folder.display()));
        }
    }
    Ok(Status::Done)
}

fn page(command: &Command) -> Result<String> {
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text)?;
    Ok(String::from_utf8(text)?)
}

/// Writes the page of a command and those of the commands below it; gives their number.
fn write_pages(command: &Command, folder: &Path) -> Result<usize> {
    let path = folder.join(Man::new(command.clone()).get_filename());
    durable::replace_file(&path, page(command)?.as_bytes())
        .with_context(|| format!("could not write `{}`", path.display()))?;
    let mut pages = 1;
    for below in command.get_subcommands() {
        pages += write_pages(below, folder)?;
    }
    Ok(pages)
}
