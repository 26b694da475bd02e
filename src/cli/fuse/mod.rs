//! `offprint fuse`: heads become a part of a bundle's graph. The new bundle is compared with encoder and heads in a child
//! process before it takes its place.

mod check;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use offprint::evaluate::{FUSED_TOLERANCE, FusedAgreement};
use offprint::graph::{LinearHead, fuse, holds_f64};
use offprint::heads::{FoldedHead, Head};
use offprint::model::{Bundle, Manifest};
use offprint::runtime::OnnxRuntime;

use super::adapter_args::AdapterArgs;
use super::export::{Asked, NewBundle, Original, Outcome, head_in_graph, refuse_foreign_folder};
use super::head_fit::{check_encoder, warn_of_texts};
use super::hub::HubArgs;
use super::say::{counted, remark};
use super::signals::Stop;
use super::{Status, places, user_error};

pub(crate) use check::{FuseCheckArgs, run as run_check};

/// Put heads into a bundle's graph: token ids in, labels or numbers out
///
/// The new bundle answers with the embedding and with every head in one run. Its answers are compared with those of the
/// bundle and the heads on built-in texts; nothing is written if they differ by more than 1e-6.
#[derive(Debug, Args)]
pub(crate) struct FuseArgs {
    /// Folder of the bundle, a recipe's name or a hub id, which is downloaded and exported once into the cache folder
    #[arg(short, long, alias = "model-id", value_name = "BUNDLE")]
    model: String,

    #[command(flatten)]
    hub: HubArgs,

    /// Adapter that the heads were trained on, where the bundle carries several; `classify` then takes it for them
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,

    /// Head that goes into the graph, and what it is called there [default: the name of the file]; may be given several
    /// times
    #[arg(long, value_name = "[NAME=]HEAD", required = true)]
    head: Vec<String>,

    /// Folder of the new bundle; an existing bundle there is replaced
    #[arg(short, long, value_name = "BUNDLE")]
    output: PathBuf,

    /// Fuse heads that were trained on another encoder
    #[arg(long)]
    allow_encoder_change: bool,

    /// ONNX Runtime library for the check [default: searched for; `offprint doctor` shows where]
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,

    /// Folder with the bundles of models from the hub [default: offprint in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

pub(crate) fn run(args: &FuseArgs) -> Result<Status> {
    refuse_foreign_folder(&args.output)?;
    let named = args.head.iter().map(|head| named_file(head)).collect::<Result<Vec<_>>>()?;
    let heads = named.iter().map(|(_, file)| Ok(Head::load(file)?)).collect::<Result<Vec<_>>>()?;
    let ort_lib = args.ort_lib.as_deref();
    // The new graph will be run: better said before a download than after it.
    OnnxRuntime::find(ort_lib)?;
    let bundle = places::bundle(&args.model, &args.hub, args.cache_dir.as_deref(), ort_lib)?;
    let flags = AdapterArgs { adapter: args.adapter.clone(), adapter_field: None };
    let adapters = flags.choose(&args.model, &bundle.manifest)?;
    let adapter = adapters.name();
    let identity = bundle.manifest.identity_of(adapters.place());
    let source = format!("template {}", bundle.manifest.template);
    let linear = named.iter().zip(&heads).map(|((name, file), head)| {
        let encoder_changed = check_encoder(head, (&bundle.manifest, &identity), args.allow_encoder_change)?;
        warn_of_texts(&file.display().to_string(), &head.template_or_field, &source);
        Ok(LinearHead { encoder_changed, adapter: adapter.map(str::to_owned), ..linear_head(name, (head, file))? })
    });
    let linear = linear.collect::<Result<Vec<LinearHead>>>()?;
    let files: Vec<&Path> = named.iter().map(|(_, file)| file.as_path()).collect();
    let agreement = OnceCell::new();
    let stop = Stop::on_signals()?;
    let checked = check::Asked { heads: &files, adapter, ort_lib, stop: &stop };
    let new = NewBundle {
        output: &args.output,
        ort_lib,
        make: &|folder| {
            let (manifest, measured) = fuse_and_compare(&bundle, linear.clone(), &checked, folder)?;
            let holds = measured.holds();
            agreement.get_or_init(|| measured);
            if holds { Ok(manifest) } else { Err(user_error("the fused bundle does not agree", "")) }
        },
        original: Original::Itself,
        asked: &Asked::default(),
        stop: Some(&stop),
    };
    let made = new.publish();
    match (made, agreement.get()) {
        (Ok(Outcome::Published { manifest, .. }), Some(agreement)) => {
            print(&args.output, &manifest, agreement)?;
            Ok(Status::Done)
        }
        (Err(_), Some(agreement)) if !agreement.holds() => {
            print_disagreement(agreement);
            Ok(Status::CheckFailed)
        }
        (Ok(Outcome::Stopped(signal)), _) => {
            remark("stopped; nothing was written");
            Ok(Status::Signal(signal))
        }
        (made, _) => made.map(|_| Status::Done),
    }
}

/// Fuses the heads into `folder` and measures them; again, with heads that f32 is too coarse for in f64, if there are any.
fn fuse_and_compare(
    bundle: &Bundle,
    mut heads: Vec<LinearHead>,
    checked: &check::Asked<'_>,
    folder: &Path,
) -> Result<(Manifest, FusedAgreement)> {
    let manifest = fuse(bundle, &heads, folder)?;
    let measured = check::in_child(&bundle.dir, folder, checked)?;
    if !widen(&mut heads, &measured) {
        return Ok((manifest, measured));
    }
    Ok((fuse(bundle, &heads, folder)?, check::in_child(&bundle.dir, folder, checked)?))
}

/// `topic=models/a.head`; without a name, the file's own without its ending. What is no name before a `=` is part of the
/// path.
fn named_file(head: &str) -> Result<(String, PathBuf)> {
    let letters = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if let Some((name, file)) = head.split_once('=').filter(|(name, _)| letters(name)) {
        return Ok((name.to_owned(), PathBuf::from(file)));
    }
    let file = PathBuf::from(head);
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if letters(&stem) {
        return Ok((stem, file));
    }
    Err(user_error(
        format!("head `{head}` has no name that an output could have, expected letters, digits, `-` and `_`"),
        format!("name it with `--head NAME={head}`"),
    ))
}

/// The head as the graph is to have it.
fn linear_head(name: &str, (head, file): (&Head, &Path)) -> Result<LinearHead> {
    let FoldedHead { weights, bias, activation } =
        head.folded().with_context(|| format!("head `{}` cannot be fused", file.display()))?;
    Ok(LinearHead {
        name: name.to_owned(),
        task: head.task,
        activation,
        labels: head.labels.clone(),
        thresholds: head.thresholds.clone(),
        abstain: head.abstain.clone(),
        conformal: head.conformal,
        weights: weights.iter().copied().collect(),
        bias,
        file_hash: head.file_hash().map(str::to_owned),
        trained_with: head.template_or_field.clone(),
        encoder_changed: false,
        adapter: None,
        license: head.license.clone(),
        wide: false,
    })
}

/// Makes heads compute in f64 that lose too much in f32; whether there are any.
fn widen(heads: &mut [LinearHead], measured: &FusedAgreement) -> bool {
    for (head, measured) in heads.iter_mut().zip(&measured.heads) {
        head.wide = measured.needs_f64();
        if head.wide {
            remark(&format!(
                "{}: computes in f64, since in f32 its answers would be off by {:.1e}",
                head.name, measured.max_delta
            ));
        }
    }
    heads.iter().any(|head| head.wide)
}

fn print(output: &Path, manifest: &Manifest, agreement: &FusedAgreement) -> Result<()> {
    remark(&format!(
        "{}: {} with {:.1} M parameters and {} in one graph",
        output.display(),
        manifest.architecture,
        manifest.parameters as f64 / 1e6,
        counted(manifest.heads.len() as u64, "head"),
    ));
    manifest.heads.iter().for_each(head_in_graph);
    let worst = agreement.heads.iter().map(|head| head.max_delta).fold(0.0, f64::max);
    if holds_f64(&Bundle::open(output)?)? {
        remark("note: the graph holds f64, so that it runs on the CPU provider; OpenVINO's does not take it");
    }
    remark(&format!(
        "checked on {}: same embeddings and labels as bundle and heads, answers within {worst:.1e}",
        counted(agreement.texts as u64, "text")
    ));
    Ok(())
}

fn print_disagreement(agreement: &FusedAgreement) {
    let FusedAgreement { texts, old_rows_differ, batch_rows_differ, heads } = agreement;
    remark("the fused bundle does not answer as bundle and heads do; nothing was written");
    if *old_rows_differ > 0 {
        remark(&format!(
            "  of {texts} texts, {old_rows_differ} with another embedding, or other answers of older heads"
        ));
    }
    if *batch_rows_differ > 0 {
        remark(&format!("  of {texts} texts, {batch_rows_differ} whose answers change with the batch"));
    }
    for head in heads.iter().filter(|head| !head.holds()) {
        remark(&format!(
            "  {}: answers differ by up to {:.1e}, allowed {FUSED_TOLERANCE:e}; other labels for {} of {texts} texts",
            head.name, head.max_delta, head.labels_differ
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_called_as_asked_or_as_its_file() {
        let named = |head: &str| named_file(head).unwrap();
        assert_eq!(named("topic=a/b.head"), ("topic".into(), "a/b.head".into()));
        assert_eq!(named("a/b-2_c.head"), ("b-2_c".into(), "a/b-2_c.head".into()));
        assert_eq!(named("a/x=y/z.head"), ("z".into(), "a/x=y/z.head".into()));
        assert_eq!(named("x=y=z.head"), ("x".into(), "y=z.head".into()));
        let error = named_file("a/my head.head").unwrap_err().to_string();
        assert!(error.starts_with("head `a/my head.head` has no name that an output could have"), "{error}");
        named_file("").unwrap_err();
    }
}
