//! The child process that measures graphs, and what is asked of it: a question, its answer, and so on. Knows not what the
//! answers are good for. Invariant: the child has ended when the dialog is dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow, bail};

use super::super::calibrate::{Answer, Ask};
use super::child::LOOK_EVERY;

/// Whether the user wants the work to end.
pub(super) type Stopped<'a> = &'a dyn Fn() -> bool;

/// A child that answers.
pub(super) struct Dialog<'a> {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
    said: Option<JoinHandle<String>>,
    stopped: Stopped<'a>,
}

impl<'a> Dialog<'a> {
    /// Starts `command`, which reads questions and writes answers.
    pub(super) fn start(mut command: Command, stopped: Stopped<'a>) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("could not start the calibration")?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(mut stderr)) = pipes else {
            bail!("could not reach the calibration that was started");
        };
        let (tell, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let said = thread::spawn(move || {
            let mut said = Vec::new();
            // What was read before a failure is better than nothing.
            let _ = stderr.read_to_end(&mut said);
            String::from_utf8_lossy(&said).into_owned()
        });
        Ok(Self { child, stdin, answers, said: Some(said), stopped })
    }

    /// Asks, and waits for the answer; an error soon after the work was stopped.
    pub(super) fn ask(&mut self, ask: &Ask) -> Result<Answer> {
        let mut line = serde_json::to_vec(ask)?;
        line.push(b'\n');
        // A child that is gone says itself why.
        if self.stdin.write_all(&line).and_then(|()| self.stdin.flush()).is_err() {
            return Err(self.failure());
        }
        loop {
            match self.answers.recv_timeout(LOOK_EVERY) {
                Ok(line) => return serde_json::from_str(&line).context("could not read the result of the calibration"),
                Err(RecvTimeoutError::Timeout) if (self.stopped)() => bail!("the calibration was stopped"),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(self.failure()),
            }
        }
    }

    /// What the child said before it ended.
    fn failure(&mut self) -> anyhow::Error {
        let status = self.child.wait();
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        let said = said.trim().trim_start_matches("error: ");
        match status {
            Ok(status) if said.is_empty() => anyhow!("the calibration ended with {status}; nothing was written"),
            _ => anyhow!("the calibration failed; nothing was written\n  cause: {said}"),
        }
    }
}

impl Drop for Dialog<'_> {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
