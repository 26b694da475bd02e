//! The part of `offprint inspect`'s page that says what bundle.toml holds: choices, origin, heads and measured quality.
//! Owns its words; the layout is that of the page.

use std::fmt::Write;

use offprint::model::{BundleAdapter, DATA_FILE, GraphHead, Int8, Int8Group, Manifest, MeasuredQuality, Quality, Task};

use super::export;
use super::inspect::Found;
use super::inspect_page::{SHOWN, bytes_of, list, more, one_line};
use super::say::counted;

/// All of it.
pub(crate) fn describe(manifest: &Manifest, found: &Found) -> String {
    let mut text = list(&facts(manifest, found));
    for (place, adapter) in manifest.adapters.iter().enumerate() {
        let fingerprint = manifest.fingerprint_of(Some(place)).hash();
        text += &format!("\nadapter {}\n", one_line(&describe_adapter(adapter)));
        text += &list(&[("hash", adapter.hash.clone()), ("fingerprint", fingerprint)]);
    }
    for head in &manifest.heads {
        text += &describe_head(head);
    }
    if let Some(int8) = &manifest.int8 {
        text += &describe_int8(int8);
    }
    if let Some(quality) = &manifest.quality {
        text += &describe_quality(quality);
    }
    text
}

/// The curve, and each group of matrices with what it costs.
fn describe_int8(int8: &Int8) -> String {
    let mut text = String::from("\n");
    for line in export::int8_lines(int8) {
        let _ = writeln!(text, "{}", one_line(&line));
    }
    text += "  products by precision, and what each costs where it alone is int8\n";
    text + &list(&int8.groups.iter().map(of_group).collect::<Vec<_>>())
}

fn of_group(group: &Int8Group) -> (&str, String) {
    let Int8Group { share, cosine_min, cosine_mean, .. } = group;
    let names = export::int8_group(group);
    let cost = format!("{:5.2} %  cosine least {cosine_min:.6}, mean {cosine_mean:.6}  {names}", share * 100.0);
    (&group.precision, cost)
}

fn facts(manifest: &Manifest, found: &Found) -> Vec<(&'static str, String)> {
    let source = &manifest.source;
    let revision = source.revision.as_ref().map_or(String::new(), |revision| format!(" @ {revision}"));
    let compared = match (found.graph_verified, &manifest.data) {
        (Some(true), _) => "compared with the file",
        (Some(false), None) => "DIFFERS from the file",
        (Some(false), Some(_)) => "the file or the weights beside it DIFFER",
        (None, _) => "not compared (`--verify`)",
    };
    let norm = if manifest.normalize { "normalized" } else { "not normalized" };
    let encoder = format!("{}, {} dimensions, {}, {norm}", manifest.architecture, manifest.dim, manifest.precision);
    let rows =
        if manifest.batch_invariant { "the same bits in any batch" } else { "differ with the rest of the batch" };
    let stated = if manifest.pooling_stated { ", as was stated: it can't be seen in the graph" } else { "" };
    let mut facts = vec![
        ("encoder", encoder),
        ("pooling", format!("{}{stated}", manifest.pooling)),
        ("vectors", rows.to_owned()),
        ("max length", format!("{} tokens", manifest.max_length)),
        ("template", format!("{}, separator `{}`", manifest.template, manifest.sep_token)),
        ("source", format!("{}{revision}", source.name)),
        ("license", manifest.license.clone().unwrap_or_else(|| "the source does not say".to_owned())),
        ("weights", source.weights_hash.clone()),
        ("config", source.config_hash.clone()),
        ("tokenizer", manifest.tokenizer_hash.clone()),
        ("graph", format!("{}, {compared}", manifest.graph_hash)),
    ];
    if let Some(data) = &manifest.data {
        facts.push((DATA_FILE, format!("{}, {}, {compared}", data.hash, bytes_of(data.bytes))));
    }
    if manifest.plain {
        facts.push(("operators", "plain: of opset 17 alone, for other runtimes".to_owned()));
    }
    if let Some(before) = &manifest.encoder_graph_hash {
        facts.push(("fused into", before.clone()));
    }
    if let Some(adapter) = &manifest.fused_adapter {
        facts.push(("adapter", format!("{}, fused", describe_adapter(adapter))));
    }
    if manifest.adapters.is_empty() {
        facts.push(("fingerprint", manifest.fingerprint().hash()));
        return facts;
    }
    let count = manifest.adapters.len();
    facts.push(("adapters", format!("{count}: each text goes through one (`--adapter`, `--adapter-field`)")));
    facts
}

/// Name, kind and origin.
pub(crate) fn describe_adapter(adapter: &BundleAdapter) -> String {
    let revision = adapter.revision.as_ref().map_or(String::new(), |revision| format!(" @ {revision}"));
    let source = adapter.source.as_ref().map_or(String::new(), |source| format!(", of {source}{revision}"));
    let license = adapter.license.as_ref().map_or(String::new(), |license| format!(", {license}"));
    format!("{} ({}{source}{license})", adapter.name, adapter.kind)
}

fn describe_head(head: &GraphHead) -> String {
    let task = match head.task {
        Task::Classification => "one label",
        Task::Multilabel => "several labels",
        Task::Regression => "numbers",
    };
    let origin = head.file_hash.as_ref().map_or(String::new(), |hash| format!(", from the head file {hash}"));
    let scores = if head.gives_scores() { ", scores" } else { "" };
    let sets = head.conformal.map_or(String::new(), |sets| format!(", sets that may miss a share of {}", sets.alpha));
    let columns = head.labels.len();
    let mut text = format!("\nhead {}: {task}, {columns} columns{scores}{sets}{origin}\n", one_line(&head.name));
    for (column, label) in head.labels.iter().take(SHOWN).enumerate() {
        let threshold = match head.task {
            Task::Multilabel => format!("  from {}", head.threshold(column)),
            Task::Classification => of_one_label(head, column),
            Task::Regression => String::new(),
        };
        let _ = writeln!(text, "    {}{threshold}", one_line(label));
    }
    text + &more(head.labels.len())
}

/// What decides about one label of a classification, where the head says it.
fn of_one_label(head: &GraphHead, column: usize) -> String {
    let of_second = head.thresholds.as_ref().filter(|_| column == 1).map(|list| format!("  from {}", list[0]));
    let least = head.abstain.as_ref().map(|list| format!("  at least {}", list[column]));
    of_second.into_iter().chain(least).collect()
}

fn describe_quality(quality: &Quality) -> String {
    let Some(measured) = &quality.measured else {
        return "\nquality: there is no original to compare with\n".to_owned();
    };
    let mut facts = figures(measured);
    for head in &quality.heads {
        let changed =
            head.answers_changed.map_or(String::new(), |count| format!(", {} changed", counted(count, "answer")));
        let f1 = head.f1.as_ref().map_or(String::new(), |f1| {
            let micro = f1.micro_original.zip(f1.micro);
            let micro = micro.map_or(String::new(), |(before, now)| format!(", micro-F1 {before:.4} -> {now:.4}"));
            format!(
                ", macro-F1 {:.4} -> {:.4}{micro} (`{}`, {})",
                f1.macro_original,
                f1.macro_new,
                f1.label,
                counted(f1.texts, "text")
            )
        });
        facts.push(("head", format!("{}: largest difference {:.2e}{changed}{f1}", head.name, head.max_delta)));
    }
    format!("\nquality beside {}\n{}", one_line(&quality.original), list(&facts))
}

fn figures(measured: &MeasuredQuality) -> Vec<(&'static str, String)> {
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    vec![
        ("texts", format!("{} of {}", measured.texts, measured.corpus)),
        (
            "cosine",
            format!(
                "least {:.6}, 1 % below {:.6}, median {:.6}, mean {:.6}",
                measured.cosine_min, measured.cosine_1_percent, measured.cosine_median, measured.cosine_mean
            ),
        ),
        ("component", format!("largest difference {:.2e}", measured.max_delta)),
        (
            "neighbours",
            format!(
                "{} of the {} nearest kept, {} of the first (among {} texts)",
                percent(measured.neighbours_kept),
                measured.neighbours,
                percent(measured.first_neighbour_kept),
                measured.neighbour_texts
            ),
        ),
        ("measured on", format!("{}, ONNX Runtime {}, {}", measured.cpu, measured.onnxruntime, measured.provider)),
    ]
}
