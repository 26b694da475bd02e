//! `offprint doctor`: what this machine offers, where ONNX Runtime was looked for, and the way out for what is missing.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use offprint::runtime::Doctor;

use super::{Status, places};

/// Show which ONNX Runtime was found and where it was looked for, the machine, and what is missing
///
/// Exit status 1 if embeddings could not be computed here.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// ONNX Runtime library to try first
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,

    /// Folder of the embedding cache [default: offprint in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[expect(clippy::print_stdout, reason = "the findings are this command's output")]
pub(crate) fn run(args: &DoctorArgs) -> Result<Status> {
    let doctor = Doctor::examine(args.ort_lib.as_deref(), &places::cache_dir(args.cache_dir.as_deref())?);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&doctor)?);
    } else {
        print!("{doctor}");
    }
    Ok(if doctor.is_well() { Status::Done } else { Status::CheckFailed })
}
