//! What `offprint export` says of a bundle: what it is, how it was checked, and how far it is from its original.
//! Decides nothing but the words and the exit status that goes with them.

use std::path::Path;

use anyhow::Result;
use offprint::encode::EncoderCheck;
use offprint::model::{GraphHead, HeadQuality, Manifest, MeasuredQuality, Precision, Quality, Task};
use serde_json::json;

use super::super::Status;
use super::super::check::cosine;
use super::super::inspect_manifest::describe_adapter;
use super::super::say::{counted, counted_that, remark, say};
use super::int8_words;
use super::publish::Outcome;

/// Says what became of a new bundle.
pub(super) fn outcome(output: &Path, outcome: &Outcome) -> Status {
    match outcome {
        Outcome::Published { manifest, check } => {
            bundle(output, manifest, check);
            if !manifest.batch_invariant {
                promises_nothing(check);
            }
            manifest.int8.iter().for_each(int8_words::tell);
            manifest.quality.iter().for_each(quality);
            if manifest.precision == Precision::Fp16 {
                remark(
                    "note: the bundle is for GPU providers; on the CPU provider, which checked it, `--fallback warn` runs it",
                );
            }
            Status::Done
        }
        Outcome::Worse { quality: measured, int8, failures } => {
            int8.iter().for_each(|int8| int8_words::tell(int8));
            measured.iter().for_each(|measured| quality(measured));
            let causes: Vec<String> = failures.iter().map(|failure| format!("\n  cause: {failure}")).collect();
            remark(&format!("error: the new bundle is worse than was asked; nothing was written{}", causes.concat()));
            Status::CheckFailed
        }
        Outcome::Stopped(signal) => {
            remark("stopped; nothing was written");
            Status::Signal(*signal)
        }
    }
}

/// Prints all that is known of a new bundle, for programs; nothing where the work was stopped.
pub(super) fn as_json(output: &Path, outcome: &Outcome) -> Result<()> {
    let told = match outcome {
        Outcome::Published { manifest, check } => {
            json!({"bundle": output, "written": true, "manifest": manifest, "check": check, "failures": []})
        }
        Outcome::Worse { quality, int8, failures } => {
            let manifest = json!({"quality": quality, "int8": int8});
            json!({"bundle": output, "written": false, "manifest": manifest, "check": null, "failures": failures})
        }
        Outcome::Stopped(_) => return Ok(()),
    };
    say(&told.to_string())
}

/// What was measured beside the original.
fn quality(quality: &Quality) {
    match &quality.measured {
        Some(measured) => vectors(&quality.original, measured),
        None => remark("no original to compare with: nothing is known of the quality of its numbers"),
    }
    quality.heads.iter().for_each(head);
}

fn vectors(original: &str, measured: &MeasuredQuality) {
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    remark(&format!(
        "compared with the {original} on {} ({}), ONNX Runtime {}, {}",
        counted(measured.texts, "text"),
        measured.corpus,
        measured.onnxruntime,
        measured.provider
    ));
    remark(&format!(
        "  cosine: least {}, 1st percentile {}, median {}, mean {}; largest change of a number {}",
        cosine(measured.cosine_min),
        cosine(measured.cosine_1_percent),
        cosine(measured.cosine_median),
        cosine(measured.cosine_mean),
        number(measured.max_delta)
    ));
    remark(&format!(
        "  neighbours: {} of the nearest {} kept, {} of the first, among {} texts",
        percent(measured.neighbours_kept),
        measured.neighbours,
        percent(measured.first_neighbour_kept),
        measured.neighbour_texts
    ));
}

fn head(head: &HeadQuality) {
    let changed = head
        .answers_changed
        .map_or_else(String::new, |texts| format!("{} another answer, ", counted_that(texts, "text", ("gets", "get"))));
    let what = if head.answers_changed.is_some() { "probability" } else { "value" };
    remark(&format!("  head {}: {changed}largest change of a {what} {}", head.name, number(head.max_delta)));
    let Some(f1) = &head.f1 else { return };
    let micro = match (f1.micro_original, f1.micro) {
        (Some(original), Some(new)) => format!("; micro-F1 {original:.4} on the original, {new:.4} now"),
        _ => String::new(),
    };
    remark(&format!(
        "    on `{}` of {}: macro-F1 {:.4} on the original, {:.4} now (drop {:.4}){micro}",
        f1.label,
        counted(f1.texts, "text"),
        f1.macro_original,
        f1.macro_new,
        f1.macro_drop
    ));
    if f1.unknown_labels > 0 {
        let verbs = ("of the texts is none of the head's", "of the texts are none of the head's");
        remark(&format!("    warning: {}", counted_that(f1.unknown_labels, "label", verbs)));
    }
}

fn number(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        small if small < 1e-3 => format!("{small:.1e}"),
        _ => format!("{value:.4}"),
    }
}

/// The first labels.
fn some(labels: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = if labels.len() > SHOWN { ", .." } else { "" };
    format!("{}{more}", labels[..labels.len().min(SHOWN)].join(", "))
}

fn bundle(output: &Path, manifest: &Manifest, check: &EncoderCheck) {
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
    if let Some(adapter) = &manifest.fused_adapter {
        remark(&format!("adapter {}: every text goes through it", describe_adapter(adapter)));
    }
    for adapter in &manifest.adapters {
        remark(&format!("adapter {}: for texts that ask for it", describe_adapter(adapter)));
    }
    if manifest.pooling_stated {
        remark(&format!(
            "note: the graph pools by itself, and how can't be seen: pooling {} is what was stated (`pooling_stated = true`)",
            manifest.pooling
        ));
    }
    manifest.heads.iter().for_each(head_in_graph);
    remark(&format!(
        "checked on {}: norms {:.4} to {:.4}, largest change with the batch {:.1e}",
        counted(check.texts as u64, "text"),
        check.norms.0,
        check.norms.1,
        check.batch_delta
    ));
}

/// A line about a head in a graph.
pub(crate) fn head_in_graph(head: &GraphHead) {
    let kind = match head.task {
        Task::Classification => "one label",
        Task::Multilabel => "several labels",
        Task::Regression => "numbers",
    };
    let outputs: Vec<String> = head.outputs().map(|name| format!("`{name}`")).collect();
    let (labels, some) = (head.labels.len(), some(&head.labels));
    remark(&format!("{}: {kind} out of {labels} ({some}), outputs {}", head.name, outputs.join(", ")));
}

/// What is known of a graph that another program wrote.
fn promises_nothing(check: &EncoderCheck) {
    let note = "the graph is that of another program, and bundle.toml promises nothing (`batch_invariant = false`)";
    match check.batch_rows {
        0 => remark(&format!("note: {note}; `offprint check` measures whether a vector depends on its batch")),
        rows => {
            let [one, several] = ["its", "their"].map(|whose| format!("of {} changed with {whose} batch", check.texts));
            let texts = counted_that(rows as u64, "text", (&one, &several));
            remark(&format!("warning: {texts}, by up to {:.1e}; {note}", check.batch_delta));
        }
    }
}
