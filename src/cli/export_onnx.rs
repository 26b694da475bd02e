//! The flags of `offprint export --from-onnx`: an ONNX file of another program takes the place of the weights. Owns the
//! choice of the folder whose config and tokenizer go with the file; what the file is, `graph` finds out.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use offprint::durable;
use offprint::graph::foreign::OnnxFile;
use offprint::graph::{ExportOptions, ImportOptions, import_onnx, write_bundle, write_pooling_probe};
use offprint::model::{Checkpoint, Manifest, Precision, SeenPooling};

use super::environment::is_typed;
use super::export::{Original, run_to_end, this_program};
use super::signals::Stop;
use super::user_error;

/// The file that must lie beside an ONNX file, or one folder above it.
const CONFIG: &str = "config.json";
/// The folder in which sentence-transformers keeps its ONNX files.
const ONNX_FOLDER: &str = "onnx";

/// An ONNX file in the place of weights.
#[derive(Debug, Args)]
pub(crate) struct FromOnnxArgs {
    /// Take this ONNX file, as optimum, sentence-transformers or torch.onnx.export wrote it, instead of weights; pooling
    /// and normalization are added to it. --model is then the folder with its config.json and tokenizer [default: the
    /// file's own, or the one above `onnx/`]
    #[arg(long, value_name = "FILE")]
    from_onnx: Option<PathBuf>,

    /// Output of that file that vectors are made of; how a file pools that gives vectors and not token states is measured
    /// [default: token states, else `sentence_embedding`, by name and shape]
    #[arg(long, value_name = "NAME")]
    onnx_output: Option<String>,
}

impl FromOnnxArgs {
    /// An error where an output was typed of a file that is not given.
    pub(crate) fn check(&self) -> Result<()> {
        if self.onnx_output.is_some() && !self.is_given() && is_typed("--onnx-output") {
            return Err(user_error(
                "`--onnx-output` is given without `--from-onnx`",
                "it names an output of that file",
            ));
        }
        Ok(())
    }

    /// The model that was asked for, else the folder that goes with the file.
    pub(crate) fn model(&self, asked: Option<&str>) -> Result<String> {
        match (asked, &self.from_onnx) {
            (Some(model), _) => Ok(model.to_owned()),
            (None, Some(file)) => Ok(companions(file)?.display().to_string()),
            (None, None) => Err(user_error("no model was given", "`--model` names it")),
        }
    }

    /// Whether a file takes the place of the weights.
    pub(crate) fn is_given(&self) -> bool {
        self.from_onnx.is_some()
    }

    /// What the file's bundle is compared with: the fp32 graph of the weights that lie beside its config, if there are
    /// any, with the choices that the bundle has in the end.
    pub(crate) fn original<'a>(&self, export: &'a ExportOptions) -> Result<Original<'a>> {
        if !Checkpoint::has_weights(&export.checkpoint)? {
            return Ok(Original::Unknown);
        }
        Ok(Original::IfExportable(Box::new(|folder, new| {
            let fp32 = ExportOptions {
                pooling: Some(new.pooling),
                normalize: Some(new.normalize),
                max_length: Some(new.max_length),
                precision: Precision::Fp32,
                plain: false,
                ..export.clone()
            };
            write_bundle(&fp32, folder)
        })))
    }

    /// Writes the bundle into an existing folder; beside that, what a graph that pools by itself is first seen to do.
    pub(crate) fn make(&self, export: &ExportOptions, into: &Path, run: &Run<'_>) -> Result<Manifest> {
        let Some(file) = &self.from_onnx else { return Ok(write_bundle(export, into)?) };
        let (output, export) = (self.onnx_output.clone(), export.clone());
        let mut options = ImportOptions { file: file.clone(), output, export, seen: None };
        let probe = tempfile::tempdir_in(durable::parent(into))
            .with_context(|| format!("could not write beside `{}`", into.display()))?;
        if write_pooling_probe(&options, probe.path())? {
            options.seen = Some(run.see_pooling(probe.path())?);
        }
        drop(probe);
        Ok(import_onnx(&options, into)?)
    }
}

/// With what a new graph is run, and who may end it.
pub(crate) struct Run<'a> {
    pub ort_lib: Option<&'a Path>,
    pub stop: &'a Stop,
}

impl Run<'_> {
    /// How the graph in `probe` pools, seen in a process of its own.
    fn see_pooling(&self, probe: &Path) -> Result<SeenPooling> {
        let mut command = this_program("self-check", self.ort_lib)?;
        command.arg("--see-pooling").arg("--").arg(probe);
        let output = run_to_end(command, &|| self.stop.signal().is_some())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim().trim_start_matches("error: ");
            bail!("how the graph pools could not be seen; nothing was written\n  cause: {said} ({})", output.status);
        }
        serde_json::from_slice(&output.stdout).context("could not read how the graph pools")
    }
}

/// The folder of the file, or the one above it if the file lies in `onnx/` and there is no config beside it.
fn companions(file: &Path) -> Result<PathBuf> {
    if !file.is_file() {
        return Err(user_error(format!("there is no file `{}`", file.display()), "`--from-onnx` takes an ONNX file"));
    }
    // Another kind of file has no folder that goes with it: that it is one says more than what its folder lacks.
    OnnxFile::open(file)?;
    let file = file.canonicalize()?;
    let own = file.parent().unwrap_or(Path::new("/"));
    let above = own.parent().filter(|_| own.file_name().is_some_and(|name| name == ONNX_FOLDER));
    let found = [Some(own), above].into_iter().flatten().find(|folder| folder.join(CONFIG).is_file());
    // A sentence-transformers folder may keep its config in a folder of its own.
    let found = found.or(above).unwrap_or(own);
    Ok(found.to_owned())
}
