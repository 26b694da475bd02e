//! The hidden command behind `offprint export`: a child process runs the new graph, so that a graph that brings ONNX
//! Runtime down ends an export with an error and not the program. What it has to say goes to stdout, a line of JSON each.

use std::io::{self, BufRead};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use offprint::encode::{
    BundleEncoder, BundleWithHeads, EncoderCheck, Side, TokenBudget, check_encoder, measure_encoder, see_pooling,
};
use offprint::evaluate::{LabelledText, QualityJob, measure_quality};
use offprint::heads::Head;
use offprint::model::{Bundle, GraphHead, HeadQuality, Manifest, MeasuredQuality};
use offprint::runtime::{AdapterChoice, Fallback, default_threads};
use serde::{Deserialize, Serialize};

use super::Status;
use super::say::say;

/// Run a bundle on built-in texts and print what was measured as JSON
#[derive(Debug, Args)]
pub(crate) struct SelfCheckArgs {
    /// Folder of the bundle
    bundle: PathBuf,

    /// ONNX Runtime library to load
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,

    /// Print how it pools instead, whose rows show it
    #[arg(long, conflicts_with = "original")]
    see_pooling: bool,

    /// Then compare it with this bundle, on the texts that come in on stdin, a line of JSON each
    #[arg(long, value_name = "BUNDLE")]
    original: Option<PathBuf>,

    /// What the texts are called
    #[arg(long, value_name = "NAME", default_value = "texts")]
    corpus: String,

    /// Head whose answers are compared
    #[arg(long, value_name = "HEAD")]
    head: Option<PathBuf>,

    /// Field that the texts' labels come from
    #[arg(long, value_name = "FIELD")]
    label: Option<String>,

    /// Head in the graphs that they are right for [default: the first]
    #[arg(long, value_name = "NAME")]
    labelled_head: Option<String>,
}

/// A line of what the child says, in this order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    /// The new graph is healthy.
    Checked(EncoderCheck),
    /// So many texts have been compared.
    Compared(u64),
    /// The end of a comparison.
    Measured(Box<MeasuredQuality>, Vec<HeadQuality>),
}

impl Told {
    fn say(&self) -> Result<()> {
        say(&serde_json::to_string(self)?)
    }
}

pub(crate) fn run(args: &SelfCheckArgs) -> Result<Status> {
    // Before the first text is tokenized, which would start them by itself.
    let threads = default_threads();
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("could not start the threads")?;
    let bundle = Bundle::open(&args.bundle)?;
    let normalized = bundle.manifest.normalize;
    let encoder = |bundle: &Bundle, threads, adapter| BundleEncoder {
        ort_lib: args.ort_lib.clone(),
        // A bundle for other providers is measured here all the same, and bundle.toml says where.
        fallback: Some(Fallback::Allow),
        adapter,
        ..BundleEncoder::on_cpu(bundle.clone(), threads)
    };
    if args.see_pooling {
        say(&serde_json::to_string(&see_pooling(&encoder(&bundle, 1, AdapterChoice::ByRow))?)?)?;
        return Ok(Status::Done);
    }
    let check = if bundle.manifest.batch_invariant { check_encoder } else { measure_encoder };
    let heads = &bundle.manifest.heads;
    let checks = every_choice(&bundle.manifest).into_iter().map(|adapter| {
        let whole = BundleWithHeads { encoder: &encoder(&bundle, 1, adapter), heads };
        let checked = check(&whole, heads, normalized);
        match what_is_checked(&bundle.manifest, adapter) {
            Some(what) => checked.with_context(|| format!("{what} failed")),
            None => Ok(checked?),
        }
    });
    let checks = checks.collect::<Result<Vec<EncoderCheck>>>()?;
    Told::Checked(checks.into_iter().reduce(|one, other| one.and(&other)).context("nothing was checked")?).say()?;
    let Some(original) = &args.original else { return Ok(Status::Done) };

    let original = Bundle::open(original)?;
    let head = args.head.as_deref().map(Head::load).transpose()?;
    let heads = common_heads(&original.manifest, &bundle.manifest);
    // Outputs may be called otherwise in each graph.
    let (their_heads, own_heads): (Vec<GraphHead>, Vec<GraphHead>) = heads.iter().cloned().unzip();
    let labelled_head = heads.iter().position(|(_, new)| Some(&new.name) == args.labelled_head.as_ref()).unwrap_or(0);
    let labelled = heads.get(labelled_head).filter(|_| args.label.is_some());
    let wanted = wanted_adapter(&original.manifest, head.as_ref(), labelled);
    let (theirs, own) = same_adapters(&original.manifest, &bundle.manifest, wanted)?;
    let (on_original, on_new) = (encoder(&original, threads, theirs), encoder(&bundle, threads, own));
    let on_original = BundleWithHeads { encoder: &on_original, heads: &their_heads };
    let on_new = BundleWithHeads { encoder: &on_new, heads: &own_heads };
    let longest = original.manifest.max_length.max(bundle.manifest.max_length);
    let side =
        |encoder, manifest: &Manifest| Side { encoder, dim: manifest.dim, normalized: manifest.normalize, threads };
    let job = QualityJob {
        original: side(&on_original, &original.manifest),
        new: side(&on_new, &bundle.manifest),
        budget: TokenBudget::of_provider(longest),
        corpus: &args.corpus,
        graph_heads: &heads,
        head: head.as_ref(),
        label: args.label.as_deref(),
        labelled_head,
    };
    let mut told = Ok(());
    let mut watch = |texts| {
        // The first failure is enough: whoever should hear it is gone.
        if told.is_ok() {
            told = Told::Compared(texts).say();
        }
    };
    let (measured, heads) = measure_quality(&job, &mut io::stdin().lock().lines().map(labelled_text), &mut watch)?;
    told?;
    Told::Measured(Box::new(measured), heads).say()?;
    Ok(Status::Done)
}

/// What is checked: of several adapters each, and a mixture of them in one batch.
fn every_choice(manifest: &Manifest) -> Vec<AdapterChoice> {
    match manifest.adapters.len() {
        0 => vec![AdapterChoice::ByRow],
        count => (0..count).map(AdapterChoice::Fixed).chain([AdapterChoice::Spread(count)]).collect(),
    }
}

/// What of a bundle with several adapters one check is about.
fn what_is_checked(manifest: &Manifest, adapter: AdapterChoice) -> Option<String> {
    match adapter {
        AdapterChoice::ByRow => None,
        AdapterChoice::Fixed(place) => Some(format!("adapter `{}`", manifest.adapters[place].name)),
        AdapterChoice::Spread(_) => Some("a batch that mixes adapters".to_owned()),
    }
}

/// The place of the original's adapter whose answers the labels measure: that of the head file, or of the head in the
/// graph.
fn wanted_adapter(
    original: &Manifest,
    head: Option<&Head>,
    in_graph: Option<&(GraphHead, GraphHead)>,
) -> Option<usize> {
    let name = in_graph.and_then(|(theirs, _)| theirs.adapter.as_ref());
    (0..original.adapters.len()).find(|&place| match head {
        Some(head) => original.identity_of(Some(place)).fields() == &head.identity,
        None => name == Some(&original.adapters[place].name),
    })
}

/// How texts find their adapter in both, so that each goes through the same one on both sides.
fn same_adapters(original: &Manifest, new: &Manifest, wanted: Option<usize>) -> Result<(AdapterChoice, AdapterChoice)> {
    let hashes = |manifest: &Manifest| manifest.adapters.iter().map(|adapter| adapter.hash.clone()).collect::<Vec<_>>();
    let (theirs, own) = (hashes(original), hashes(new));
    if wanted.is_none() && theirs == own {
        let choice = if own.is_empty() { AdapterChoice::ByRow } else { AdapterChoice::Spread(own.len()) };
        return Ok((choice, choice));
    }
    let fused = |manifest: &Manifest| manifest.fused_adapter.as_ref().map(|adapter| adapter.hash.clone());
    let hash = wanted.map(|place| theirs[place].clone()).or_else(|| fused(new)).or_else(|| fused(original));
    let choice = |hashes: &[String]| match hashes {
        [] => Some(AdapterChoice::ByRow),
        several => several.iter().position(|known| Some(known) == hash.as_ref()).map(AdapterChoice::Fixed),
    };
    let choices = choice(&theirs).zip(choice(&own));
    choices.context("one of the bundles carries several adapters, and the other none of them: nothing to compare")
}

/// The heads that both graphs have, of the same name and with the same labels: the original's, and the new one's.
pub(crate) fn common_heads(original: &Manifest, new: &Manifest) -> Vec<(GraphHead, GraphHead)> {
    let same = |one: &GraphHead, other: &GraphHead| {
        (&one.name, one.task, &one.labels) == (&other.name, other.task, &other.labels)
    };
    let pair = |head: &GraphHead| {
        let theirs = original.heads.iter().find(|other| same(head, other))?;
        Some((theirs.clone(), head.clone()))
    };
    new.heads.iter().filter_map(pair).collect()
}

fn labelled_text(line: io::Result<String>) -> io::Result<LabelledText> {
    Ok(serde_json::from_str(&line?)?)
}
