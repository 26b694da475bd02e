//! The way of a new bundle into its place: made in a folder of its own beside it, run by a child process, compared with
//! its original where its numbers are others, moved only if it is healthy and as good as was asked.
//! Knows not how bundles are made. Invariant: unless it is published, nothing is left and nothing was replaced.

use std::path::Path;

use anyhow::{Context, Result};
use offprint::causes::on_one_line;
use offprint::durable;
use offprint::encode::EncoderCheck;
use offprint::graph::{self, rewrite_manifest};
use offprint::model::{BUNDLE_FILES, Bundle, Int8, Manifest, Quality};

use super::super::progress::Display;
use super::super::say::{counted, remark};
use super::super::signals::Stop;
use super::super::user_error;
use super::child::{Child, Comparing, SelfChecked};
use super::int8::NotReached;
use super::quality::{Asked, MakeFor, Original};
use super::texts::{Read, Texts};

/// What an original that was made for the comparison is called.
const FP32: &str = "fp32 graph of the same checkpoint";

/// A bundle to be made, and where it goes.
pub(crate) struct NewBundle<'a> {
    pub output: &'a Path,
    pub ort_lib: Option<&'a Path>,
    /// Writes it into an existing empty folder.
    pub make: &'a dyn Fn(&Path) -> Result<Manifest>,
    pub original: Original<'a>,
    /// What was asked of its quality.
    pub asked: &'a Asked<'a>,
    /// Asks to give up.
    pub stop: Option<&'a Stop>,
}

/// What became of a new bundle.
pub(crate) enum Outcome {
    /// It is in its place.
    Published { manifest: Box<Manifest>, check: EncoderCheck },
    /// It is worse than was asked, in these ways.
    Worse { quality: Option<Box<Quality>>, int8: Option<Box<Int8>>, failures: Vec<String> },
    /// This signal came first.
    Stopped(i32),
}

impl NewBundle<'_> {
    /// Makes it, checks it, compares it and puts it in its place.
    pub(crate) fn publish(&self) -> Result<Outcome> {
        let parent = durable::parent(self.output);
        std::fs::create_dir_all(parent).with_context(|| format!("could not create `{}`", parent.display()))?;
        let workshop = durable::Workshop::create(parent)
            .with_context(|| format!("could not write into `{}`", parent.display()))?;
        let folder = |name: &str| {
            let folder = workshop.path().join(name);
            std::fs::create_dir(&folder).with_context(|| format!("could not create `{}`", folder.display()))?;
            Ok::<_, anyhow::Error>(folder)
        };
        let built = folder("bundle")?;
        let made = (self.make)(&built);
        if let Some(signal) = self.stop.and_then(Stop::signal) {
            return Ok(Outcome::Stopped(signal));
        }
        let mut manifest = match made.map_err(|error| error.downcast::<NotReached>()) {
            Ok(manifest) => manifest,
            Err(Ok(NotReached { failures, report })) => {
                return Ok(Outcome::Worse { quality: None, int8: Some(report), failures });
            }
            Err(Err(error)) => return Err(error),
        };
        let original = match (&self.asked.against, &self.original) {
            (Some(bundle), _) => Some((format!("bundle {}", name_of(bundle)), bundle.clone())),
            (None, Original::Made(make)) => {
                let original = folder("original")?;
                make(&original)?;
                Some((FP32.to_owned(), Bundle::open(&original)?))
            }
            (None, Original::IfExportable(make)) => self.exportable(make, (&folder("original")?, &manifest))?,
            (None, Original::Itself | Original::Unknown) => None,
        };
        let checked = self.check(&built, &manifest, original.as_ref().map(|(_, bundle)| bundle));
        if let Some(signal) = self.stop.and_then(Stop::signal) {
            return Ok(Outcome::Stopped(signal));
        }
        let SelfChecked { check, measured } = checked?;
        if let (Some((name, bundle)), Some((measured, heads))) = (original, measured) {
            manifest.quality = Some(Quality {
                original: name,
                original_fingerprint: Some(bundle.fingerprint().hash()),
                measured: Some(measured),
                heads,
            });
        } else if !matches!(self.original, Original::Itself) {
            manifest.quality = Some(Quality::without_original());
        }
        if let Some(quality) = &manifest.quality {
            let failures = self.asked.failures(quality);
            if !failures.is_empty() {
                let quality = Some(Box::new(quality.clone()));
                return Ok(Outcome::Worse { quality, int8: manifest.int8.map(Box::new), failures });
            }
        }
        if manifest.quality.is_some() {
            rewrite_manifest(&manifest, &built)?;
            Bundle::open(&built)?;
        }
        durable::replace_folder(&built, self.output)
            .with_context(|| format!("could not put the bundle in place as `{}`", self.output.display()))?;
        Ok(Outcome::Published { manifest: Box::new(manifest), check })
    }

    /// The original that lies beside the new graph as weights; where there can be none, says why, and that is an error if
    /// something was asked that only a comparison answers.
    fn exportable(&self, make: &MakeFor<'_>, (folder, new): (&Path, &Manifest)) -> Result<Option<(String, Bundle)>> {
        let why = match make(folder, new) {
            Ok(made) if made.dim == new.dim => return Ok(Some((FP32.to_owned(), Bundle::open(folder)?))),
            Ok(made) => format!("they give vectors of {} numbers, the new graph of {}", made.dim, new.dim),
            Err(graph::Error::Model(error)) => {
                let hint = error.hint().map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
                on_one_line(&error) + &hint
            }
            Err(error) => return Err(error.into()),
        };
        remark(&format!("warning: the weights beside the config are no original to compare with\n  cause: {why}"));
        self.asked.check_comparable(&Original::Unknown)?;
        Ok(None)
    }

    fn check(&self, built: &Path, manifest: &Manifest, original: Option<&Bundle>) -> Result<SelfChecked> {
        let child = Child::new(built, self.ort_lib)?;
        let (asked, stop) = (self.asked, self.stop);
        let stopped = move || stop.is_some_and(|stop| stop.signal().is_some());
        let Some(original) = original else { return child.run(None, &stopped, &mut |_| ()) };
        check_dimensions(manifest, original)?;
        asked.check_rendering(original, (&manifest.template, Some(&manifest.sep_token)))?;
        let read = Read::default();
        let texts = Texts { new: manifest, kind: asked.check_heads(&original.manifest, manifest)?, read: &read };
        let feed = |into: &mut dyn std::io::Write, over: &dyn Fn() -> bool| asked.feed(&texts, over, into);
        let comparing = Comparing { original: &original.dir, flags: asked.flags(), feed: &feed };
        let mut display = Display::new();
        let mut watch = |texts: u64| {
            let what = format!("comparing  {}", counted(texts, "text"));
            display.show(asked.share(&read, texts), &what, String::new);
        };
        let checked = child.run(Some(&comparing), &stopped, &mut watch);
        drop(display);
        asked.warn(&read);
        checked
    }
}

fn check_dimensions(new: &Manifest, original: &Bundle) -> Result<()> {
    let (got, expected) = (new.dim, original.manifest.dim);
    if got == expected {
        return Ok(());
    }
    let what = format!("`{}` has vectors of {expected} numbers, the new bundle of {got}", original.dir.display());
    Err(user_error(what, "compare bundles of the same model"))
}

/// The name of the bundle's folder.
fn name_of(bundle: &Bundle) -> String {
    let folder = bundle.dir.canonicalize().unwrap_or_else(|_| bundle.dir.clone());
    folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Only an empty folder or an older bundle is replaced.
pub(crate) fn refuse_foreign_folder(output: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(output) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
    };
    let entries = entries.with_context(|| format!("could not look into `{}`", output.display()))?;
    if entries.iter().any(|entry| BUNDLE_FILES.iter().all(|name| entry.file_name() != *name)) {
        return Err(user_error(
            format!("`{}` holds other files than a bundle and is not replaced", output.display()),
            "give `-o` a new folder",
        ));
    }
    Ok(())
}
