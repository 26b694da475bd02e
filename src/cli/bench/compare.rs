//! `offprint bench compare`: what changed between two measurements, setting by setting.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use offprint::bench::{BenchComparison, ComparedCell, Ratio, Record, Verdict, compare};

use super::super::say::{remark, say};
use super::super::{Status, table, user_error};
use super::tell;

/// Compare two measurements, setting by setting: how many times as many papers a second in the second one
///
/// A difference is claimed only where the 95 % intervals lie apart. Exit status 1 if, with `--fail-below`, a setting is
/// clearly slower.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// bench.json of the first measurement, or its folder
    #[arg(value_name = "A")]
    first: PathBuf,

    /// bench.json of the second one, or its folder
    #[arg(value_name = "B")]
    second: PathBuf,

    /// Exit with status 1 if a setting is clearly slower and has less than this share of the first one's papers a second,
    /// in the bare loop or in the pipeline
    #[arg(long, value_name = "RATIO")]
    fail_below: Option<f64>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The longest cell of a table on a terminal.
const WIDEST: usize = 60;

pub(super) fn run(args: &CompareArgs) -> Result<Status> {
    if let Some(share) = args.fail_below
        && !(share.is_finite() && share > 0.0)
    {
        return Err(user_error(format!("`--fail-below` is {share}, expected a share above 0"), "try 0.95"));
    }
    let (first, second) = (Record::read(&args.first)?, Record::read(&args.second)?);
    let compared = compare(&first, &second);
    if compared.cells.is_empty() {
        let what = format!("`{}` and `{}` have no setting in common", args.first.display(), args.second.display());
        return Err(user_error(
            what,
            "measure with the same names of bundles, providers and their options, batches, sessions and threads",
        ));
    }
    if args.json {
        say(&serde_json::to_string_pretty(&compared)?)?;
    } else {
        say(&describe(&compared))?;
    }
    for (name, a, b) in &compared.differences {
        remark(&format!("warning: {name} differs: {a} and {b}"));
    }
    let fallen: Vec<&ComparedCell> =
        compared.cells.iter().filter(|cell| args.fail_below.is_some_and(|share| cell.falls_below(share))).collect();
    fallen.iter().for_each(|cell| remark(&format!("slower: {}", cell.setting)));
    Ok(if fallen.is_empty() { Status::Done } else { Status::CheckFailed })
}

fn describe(compared: &BenchComparison) -> String {
    let cell = |ratio: &Option<Ratio>| tell::dash(ratio.as_ref().map(in_words));
    let row = |one: &ComparedCell| vec![one.setting.to_string(), cell(&one.inference), cell(&one.pipeline)];
    let rows: Vec<Vec<String>> = compared.cells.iter().map(row).collect();
    let mut lines = vec![table::layout(&["setting", "papers/s, B / A", "pipeline, B / A"], &rows, WIDEST)];
    lines.extend(compared.only_first.iter().map(|setting| format!("only in A: {setting}")));
    lines.extend(compared.only_second.iter().map(|setting| format!("only in B: {setting}")));
    lines.join("\n").trim_end().to_owned()
}

fn in_words(ratio: &Ratio) -> String {
    let word = match ratio.verdict {
        Verdict::Higher => "faster: ",
        Verdict::Lower => "slower: ",
        Verdict::NoClaim => "",
    };
    format!("{word}{}", tell::ratio(ratio))
}
