//! `offprint export`: a checkpoint becomes a bundle. Flags and their meaning lie in `args`, the way into place in
//! `publish`; here the two meet, and what was made is told.

mod args;
mod publish;

use std::path::Path;

use anyhow::Result;
use offprint::encode::EncoderCheck;
use offprint::graph::{ExportOptions, write_bundle};
use offprint::model::{GraphHead, Manifest, Task};
use offprint::runtime::OnnxRuntime;

use super::Status;
use super::say::remark;

pub(crate) use args::ExportArgs;
pub(crate) use publish::{publish, refuse_foreign_folder};

pub(crate) fn run(args: &ExportArgs) -> Result<Status> {
    refuse_foreign_folder(&args.output)?;
    // The new graph will be run: better said before a download than after it.
    OnnxRuntime::find(args.ort_lib.as_deref())?;
    make_bundle(&args::options(args)?, &args.output, args.ort_lib.as_deref())?;
    Ok(Status::Done)
}

/// Builds the bundle, checks it, puts it in place and says what it is.
pub(crate) fn make_bundle(options: &ExportOptions, output: &Path, ort_lib: Option<&Path>) -> Result<()> {
    let published = publish(output, ort_lib, |folder| Ok(write_bundle(options, folder)?))?;
    print(output, &published.manifest, &published.check);
    Ok(())
}

/// The first labels.
fn some(labels: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = if labels.len() > SHOWN { ", .." } else { "" };
    format!("{}{more}", labels[..labels.len().min(SHOWN)].join(", "))
}

fn print(output: &Path, manifest: &Manifest, check: &EncoderCheck) {
    remark(&format!(
        "{}: {} with {:.1} M parameters, {} dimensions, max length {}, pooling {}, {}, template {}",
        output.display(),
        manifest.architecture,
        manifest.parameters as f64 / 1e6,
        manifest.dim,
        manifest.max_length,
        manifest.pooling,
        if manifest.normalize { "normalized" } else { "not normalized" },
        manifest.template,
    ));
    manifest.heads.iter().for_each(print_head);
    remark(&format!(
        "checked on {} texts: norms {:.4} to {:.4}, largest change with the batch {:.1e}",
        check.texts, check.norms.0, check.norms.1, check.batch_delta
    ));
}

/// A line about a head in a graph.
pub(crate) fn print_head(head: &GraphHead) {
    let kind = match head.task {
        Task::Classification => "one label",
        Task::Multilabel => "several labels",
        Task::Regression => "numbers",
    };
    let outputs: Vec<String> = [Some(&head.logits), head.probabilities.as_ref()]
        .into_iter()
        .flatten()
        .map(|name| format!("`{name}`"))
        .collect();
    let (labels, some) = (head.labels.len(), some(&head.labels));
    remark(&format!("{}: {kind} out of {labels} ({some}), outputs {}", head.name, outputs.join(", ")));
}
