//! `offprint engine plan`: which engines a bundle and a corpus ask for, and what ONNX Runtime is told for them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use indicatif::HumanCount;
use offprint::encode::CorpusShapes;
use offprint::model::Precision;
use offprint::runtime::tensorrt::{EnginePlan, EngineTarget, Gpu, ShapeProfile, TrtOptions};
use serde::Serialize;

use super::super::Status;
use super::super::say::{counted, say};
use super::super::table;
use super::EngineArgs;
use super::measure::{Planned, measure, prepare};

/// What `--json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    model: &'a str,
    graph: &'a str,
    precision: Precision,
    #[serde(flatten)]
    plan: &'a EnginePlan,
    corpus: &'a CorpusShapes,
    padding_share: f64,
    target: &'a EngineTarget,
    #[serde(skip_serializing_if = "Option::is_none")]
    gpu: Option<&'a Gpu>,
    /// The folder of the engines; `*` stands for what is not known here.
    folder: PathBuf,
    /// What the provider is told for each profile, in their order.
    options: Vec<BTreeMap<String, String>>,
}

pub(super) fn run(args: &EngineArgs) -> Result<Status> {
    let planned = measure(args, prepare(args)?)?;
    if args.output.json {
        say(&serde_json::to_string_pretty(&printed(&planned))?)?;
    } else {
        say(&describe(&planned))?;
    }
    Ok(Status::Done)
}

impl Planned {
    /// What the provider is told for a profile.
    fn options(&self, (place, profile): (usize, &ShapeProfile)) -> Vec<(String, String)> {
        let options = TrtOptions {
            profile,
            precision: self.setting.precision,
            takes_adapter: self.setting.takes_adapter,
            folder: &self.store.profile_folder(&self.setting, &self.target, place),
            timing: &self.store.timing(&self.target),
        };
        options.pairs()
    }

    fn all_options(&self) -> impl Iterator<Item = Vec<(String, String)>> {
        self.setting.plan.profiles.iter().enumerate().map(|profile| self.options(profile))
    }
}

fn printed(planned: &Planned) -> Printed<'_> {
    Printed {
        model: &planned.bundle.manifest.source.name,
        graph: &planned.setting.graph,
        precision: planned.setting.precision,
        plan: &planned.setting.plan,
        corpus: &planned.shapes,
        padding_share: planned.shapes.padding_share(),
        target: &planned.target,
        gpu: planned.gpu.as_ref(),
        folder: planned.store.folder(&planned.setting, &planned.target),
        options: planned.all_options().map(|pairs| pairs.into_iter().collect()).collect(),
    }
}

fn describe(planned: &Planned) -> String {
    let (manifest, shapes, plan) = (&planned.bundle.manifest, &planned.shapes, &planned.setting.plan);
    let mut lines = vec![
        format!(
            "engines for {} ({}, up to {} tokens), {} padded tokens a batch",
            manifest.source.name,
            manifest.precision,
            HumanCount(plan.limits.max_length as u64),
            HumanCount(plan.limits.batch_tokens as u64)
        ),
        format!(
            "  corpus: {}, {} with {}, {}, {:.2} % padding",
            counted(shapes.rows, "paper"),
            counted(shapes.texts, "text"),
            counted(shapes.tokens, "token"),
            counted_batches(shapes.batches),
            shapes.padding_share() * 100.0
        ),
    ];
    if shapes.rejected > 0 {
        lines.push(format!("  left out: {} that cannot be used", counted(shapes.rejected, "row")));
    }
    lines.push(String::new());
    lines.extend(profile_table(planned).lines().map(|line| format!("  {line}")));
    lines.push(String::new());
    lines.push(format!(
        "  a token of this corpus is on average in a batch {:.2} times as long or short as the one its engine is tuned for",
        plan.distance.exp2()
    ));
    lines.push(format!("  folder: {}", planned.store.folder(&planned.setting, &planned.target).display()));
    let missing = planned.target.missing();
    if !missing.is_empty() {
        lines.push(format!("    `*` stands for what is not known on this machine: {}", missing.join(", ")));
    }
    if let Some(gpu) = &planned.gpu {
        lines.push(format!("  GPU: {} ({})", gpu.name, gpu.architecture));
    }
    lines.push("  every engine is told:".to_owned());
    let all: Vec<Vec<(String, String)>> = planned.all_options().collect();
    let is_common = |pair: &&(String, String)| all.iter().all(|pairs| pairs.contains(pair));
    lines.extend(all.iter().take(1).flatten().filter(is_common).map(told));
    for (number, pairs) in all.iter().enumerate() {
        let own: Vec<String> = pairs.iter().filter(|pair| !is_common(pair)).map(told).collect();
        if !own.is_empty() {
            lines.push(format!("  engine {}:", number + 1));
            lines.extend(own);
        }
    }
    lines.join("\n")
}

fn told((name, value): &(String, String)) -> String {
    format!("    {name}={value}")
}

fn counted_batches(batches: u64) -> String {
    format!("{} batch{}", HumanCount(batches), if batches == 1 { "" } else { "es" })
}

fn profile_table(planned: &Planned) -> String {
    let (plan, histogram) = (&planned.setting.plan, &planned.shapes.histogram);
    let all = histogram.tokens().max(1) as f64;
    let row = |(place, profile): (usize, &ShapeProfile)| {
        let tokens = histogram.tokens_between(profile.min.columns, profile.max.columns);
        vec![
            (place + 1).to_string(),
            format!("{} to {}", profile.min.columns, profile.max.columns),
            format!("1 to {}", profile.max.rows),
            profile.opt.to_string(),
            format!("{:.1}", tokens as f64 / all * 100.0),
            format!("{:.1}", profile.max.tokens() as f64 / plan.limits.batch_tokens as f64),
        ]
    };
    let rows: Vec<Vec<String>> = plan.profiles.iter().enumerate().map(row).collect();
    table::layout(&["engine", "tokens", "texts", "tuned for", "% of the work", "memory, × budget"], &rows, 40)
}
