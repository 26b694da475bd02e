//! The way of a new bundle into its place: made in a folder of its own beside it, run by a child process, moved only if
//! it is healthy. Knows not how bundles are made. Invariant: after an error nothing is left and nothing was replaced.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use offprint::durable;
use offprint::encode::EncoderCheck;
use offprint::model::{GRAPH_FILE, MANIFEST_FILE, Manifest, TOKENIZER_FILE};

use super::super::user_error;

/// A bundle that was put in place.
pub(crate) struct Published {
    pub manifest: Manifest,
    pub check: EncoderCheck,
}

/// Has `make` write a bundle into a new folder, checks it and puts it in place as `output`.
pub(crate) fn publish(
    output: &Path,
    ort_lib: Option<&Path>,
    make: impl FnOnce(&Path) -> Result<Manifest>,
) -> Result<Published> {
    let parent = durable::parent(output);
    std::fs::create_dir_all(parent).with_context(|| format!("could not create `{}`", parent.display()))?;
    let workshop = tempfile::Builder::new()
        .prefix(".offprint-")
        .suffix(".tmp")
        .tempdir_in(parent)
        .with_context(|| format!("could not write into `{}`", parent.display()))?;
    let built = workshop.path().join("bundle");
    std::fs::create_dir(&built)?;
    let manifest = make(&built)?;
    let check = check_in_child(&built, ort_lib)?;
    durable::replace_folder(&built, output)
        .with_context(|| format!("could not put the bundle in place as `{}`", output.display()))?;
    Ok(Published { manifest, check })
}

/// Only an empty folder or an older bundle is replaced.
pub(crate) fn refuse_foreign_folder(output: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(output) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
    };
    let entries = entries.with_context(|| format!("could not look into `{}`", output.display()))?;
    let ours = [GRAPH_FILE, TOKENIZER_FILE, MANIFEST_FILE];
    if entries.iter().any(|entry| ours.iter().all(|name| entry.file_name() != *name)) {
        return Err(user_error(
            format!("`{}` holds other files than a bundle and is not replaced", output.display()),
            "give `-o` a new folder",
        ));
    }
    Ok(())
}

/// Runs the new bundle in a process of its own.
fn check_in_child(bundle: &Path, ort_lib: Option<&Path>) -> Result<EncoderCheck> {
    let program = std::env::current_exe().context("could not find this program to check the graph with")?;
    let mut command = Command::new(program);
    // What it says becomes a part of our own message, which has its own colours.
    command.arg("self-check").arg(bundle).env("NO_COLOR", "1").env_remove("CLICOLOR_FORCE");
    if let Some(library) = ort_lib {
        command.arg("--ort-lib").arg(library);
    }
    let output = command.output().context("could not start the check of the graph")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().trim_start_matches("error: ");
        if said.is_empty() {
            bail!("the check of the new graph ended with {}", output.status);
        }
        bail!("the new graph failed its check; nothing was written\n  cause: {said}");
    }
    serde_json::from_slice(&output.stdout).context("could not read the result of the graph's check")
}
