//! `offprint export`: a checkpoint becomes a bundle. Flags and their meaning lie in `args` and `quality`, the way into
//! place in `publish` with the child process in `child` and what it reads in `texts`, the words in `tell`; here they meet.

mod adapter_args;
mod args;
mod child;
mod dialog;
mod int8;
mod int8_words;
mod judge;
mod publish;
mod quality;
mod tell;
mod texts;

use std::path::Path;

use anyhow::Result;
use offprint::graph::{ExportOptions, write_bundle};
use offprint::model::Precision;
use offprint::runtime::OnnxRuntime;

use super::Status;
use super::export_onnx::Run;
use super::signals::{Stop, Stopped};
use int8::Int8Export;

pub(crate) use args::ExportArgs;
pub(crate) use child::{run_to_end, this_program, to_its_end};
pub(crate) use int8_words::{lines as int8_lines, of_group as int8_group};
pub(crate) use publish::{NewBundle, Outcome, refuse_foreign_folder};
pub(crate) use quality::{Asked, Original, as_flag};
pub(crate) use tell::head_in_graph;

pub(crate) fn run(args: &ExportArgs) -> Result<Status> {
    args.onnx.check()?;
    args.check_precision()?;
    refuse_foreign_folder(&args.output)?;
    // The new graph will be run: better said before a download than after it.
    OnnxRuntime::find(args.ort_lib.as_deref())?;
    args.int8.check(args.precision, args.plain, args.adapters.are_several())?;
    let asked = Asked::new(&args.quality, &args.corpus, !args.int8.calibrate.is_empty())?;
    if !args.onnx.is_given() {
        asked.check_comparable(&original(&args.numbers()))?;
    }
    args.adapters.check()?;
    let options = args::options(args)?;
    let original = if args.onnx.is_given() { args.onnx.original(&options)? } else { original(&options) };
    asked.check_comparable(&original)?;
    if let Some(against) = &asked.against {
        // Before a graph is built; its separator is only known afterwards.
        asked.check_rendering(against, (&options.template, None))?;
    }
    let stop = Stop::on_signals()?;
    let ort_lib = args.ort_lib.as_deref();
    let run = Run { ort_lib, stop: &stop };
    let int8 = match options.precision {
        Precision::Int8 => Some(Int8Export::new(&options, (&args.int8, &args.corpus), &asked, (ort_lib, &stop))?),
        _ => None,
    };
    let new = NewBundle {
        output: &args.output,
        ort_lib,
        make: &|folder| match &int8 {
            Some(int8) => int8.make(folder),
            None => args.onnx.make(&options, folder, &run),
        },
        original,
        asked: &asked,
        stop: Some(&stop),
    };
    let outcome = new.publish()?;
    if args.json {
        tell::as_json(&args.output, &outcome)?;
    }
    Ok(tell::outcome(&args.output, &outcome))
}

/// Makes the bundle of a checkpoint as it is, with nothing asked of its quality.
pub(crate) fn make_bundle(options: &ExportOptions, output: &Path, ort_lib: Option<&Path>) -> Result<()> {
    let make = |folder: &Path| Ok(write_bundle(options, folder)?);
    let asked = Asked::default();
    let stop = Stop::on_signals()?;
    let new = NewBundle { output, ort_lib, make: &make, original: original(options), asked: &asked, stop: Some(&stop) };
    let outcome = new.publish();
    stop.end_at_once();
    match (tell::outcome(output, &outcome?), stop.signal()) {
        (Status::Signal(signal), _) | (_, Some(signal)) => Err(Stopped(signal).into()),
        _ => Ok(()),
    }
}

/// What a bundle with these options is compared with: all that changes numbers makes it another than the fp32 graph.
fn original(options: &ExportOptions) -> Original<'static> {
    let fp32 = ExportOptions { precision: Precision::Fp32, quantize: None, plain: false, ..options.clone() };
    if fp32 == *options {
        return Original::Itself;
    }
    Original::Made(Box::new(move |folder| Ok(write_bundle(&fp32, folder)?)))
}
