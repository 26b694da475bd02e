//! The process of its own that each job is run in: the hidden command that runs one, and how it is started and heard.
//! One process loads one ONNX Runtime, and what one leaves in memory, the next does not find. Invariant: a child has
//! ended when its outcome is known.

use std::io::Read;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use clap::Args;
use offprint::bench::{Answer, Job, Outcome};

use super::super::Status;
use super::super::export::{this_program, to_its_end};
use super::super::say::say;

/// Run one job of a measurement, which comes as JSON through standard input, and print its answer as JSON
#[derive(Debug, Args)]
pub(crate) struct BenchCellArgs {}

pub(crate) fn run_child(_: &BenchCellArgs) -> Result<Status> {
    let mut job = String::new();
    std::io::stdin().read_to_string(&mut job).context("could not read what is to be measured")?;
    let job: Job = serde_json::from_str(&job).context("could not read what is to be measured")?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads());
    pool.build_global().context("could not start the threads")?;
    say(&serde_json::to_string(&job.run()?)?)?;
    Ok(Status::Done)
}

/// Runs a job in a child and waits for its end, which comes at once when `stopped` says so.
pub(super) fn run_job(job: &Job, stopped: &dyn Fn() -> bool) -> Outcome {
    if stopped() {
        return Outcome::Stopped;
    }
    match ask(job, stopped) {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

fn ask(job: &Job, stopped: &dyn Fn() -> bool) -> Result<Outcome> {
    let mut command: Command = this_program("bench-cell", None)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().context("could not start a process to measure in")?;
    let ended = to_its_end(child, &serde_json::to_vec(job)?, stopped);
    let Output { status, stdout, stderr } = ended.context("could not wait for the process to measure in")?;
    if stopped() {
        return Ok(Outcome::Stopped);
    }
    if !status.success() {
        let said = reason(&String::from_utf8_lossy(&stderr));
        return Ok(Outcome::Failed(if said.is_empty() { format!("its process ended with {status}") } else { said }));
    }
    let answer: Answer = serde_json::from_slice(&stdout).context("could not read what was measured")?;
    Ok(Outcome::Done(answer))
}

/// An error with its causes and its hint on one line.
fn reason(stderr: &str) -> String {
    let lines = stderr.lines().skip_while(|line| !line.starts_with("error: "));
    let parts = lines.filter_map(|line| {
        let line = line.trim();
        let words = ["error: ", "cause: "].iter().find_map(|opening| line.strip_prefix(opening));
        words.map(str::to_owned).or_else(|| line.strip_prefix("hint: ").map(|hint| format!("hint: {hint}")))
    });
    let reason = parts.collect::<Vec<_>>().join("; ");
    if reason.is_empty() { stderr.trim().replace('\n', "; ") } else { reason }
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn what_a_child_says_becomes_one_line() {
        let said = "warning: old\nerror: no provider `x`\n  cause: no library\n  hint: install it\n";
        assert_eq!(reason(said), "no provider `x`; no library; hint: install it");
        assert_eq!(reason("thread panicked\nat once\n"), "thread panicked; at once");
        assert_eq!(reason(""), "");
    }
}
