//! `offprint engine build`: builds the planned engines on this machine's GPU and keeps them.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use offprint::encode::{self, BundleEncoder};
use offprint::runtime::RunBatch;
use offprint::runtime::tensorrt::{BuildStep, EngineRecord, build_engines};
use serde::Serialize;

use super::super::Status;
use super::super::say::{counted, remark, say};
use super::EngineArgs;
use super::measure::{Planned, Prepared, measure, prepare};

/// What `--json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    folder: &'a Path,
    /// Engines that were there already.
    known: usize,
    #[serde(flatten)]
    record: &'a EngineRecord,
}

pub(super) fn run(args: &EngineArgs) -> Result<Status> {
    let prepared = prepare(args)?;
    let encoder = encoder(args, &prepared);
    // Before the corpus is read: without its libraries or a GPU the provider refuses now. From here on its TensorRT is the
    // one that is loaded.
    drop(encoder.open_session_with(&prepared.provider, &[])?);
    let Planned { setting, target, store, gpu, .. } = measure(args, prepared)?;
    let mut building = store.begin((&setting, &target), (encoder.bundle.manifest.source.name.as_str(), gpu))?;
    let known = building.record().built.len();
    let mut shower = Shower::new();
    let mut open = |pairs: &[(String, String)]| -> Result<Box<dyn RunBatch>, encode::Error> {
        Ok(Box::new(encoder.open_session_with(&encoder.provider.named()[0], pairs)?))
    };
    build_engines(&mut building, &mut open, &mut |step| shower.show(step))?;
    drop(shower);
    let (folder, record) = (building.path(), building.record());
    if args.output.json {
        say(&serde_json::to_string_pretty(&Printed { folder, known, record })?)?;
    } else {
        say(&describe(folder, known, record))?;
    }
    Ok(Status::Done)
}

fn encoder(args: &EngineArgs, prepared: &Prepared) -> BundleEncoder {
    BundleEncoder {
        ort_lib: args.ort_lib.clone(),
        provider: prepared.provider.clone().into(),
        ..BundleEncoder::on_cpu(prepared.bundle.clone(), prepared.threads)
    }
}

fn describe(folder: &Path, known: usize, record: &EngineRecord) -> String {
    let bytes: u64 = record.built.iter().map(|engine| engine.bytes).sum();
    let seconds: f64 = record.built[known..].iter().map(|engine| engine.seconds).sum();
    let new = record.built.len() - known;
    let there = if known == 0 { String::new() } else { format!(", {known} were there") };
    format!(
        "{} built in {}{there}; {} in {}",
        counted(new as u64, "engine"),
        HumanDuration(Duration::from_secs_f64(seconds.clamp(0.0, 1e9))),
        HumanBytes(bytes),
        folder.display()
    )
}

/// Shows which engine is built and for how long: TensorRT itself says nothing for minutes.
struct Shower {
    bar: ProgressBar,
}

impl Shower {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
            bar.set_style(style);
        }
        Self { bar }
    }

    fn show(&mut self, step: BuildStep) {
        match step {
            BuildStep::Begins { number, of, profile } => {
                let what = format!("engine {number} of {of}: texts × tokens from {profile}");
                self.bar.reset_elapsed();
                self.bar.enable_steady_tick(Duration::from_millis(200));
                if self.bar.is_hidden() {
                    remark(&what);
                }
                self.bar.set_message(what);
            }
            BuildStep::Built { number, of, elapsed } => {
                let time = HumanDuration(elapsed);
                self.bar.suspend(|| remark(&format!("engine {number} of {of} built in {time}")));
            }
        }
    }
}

impl Drop for Shower {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
