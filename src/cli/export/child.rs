//! The child process that runs a new graph: what it is asked, what it is fed, and what it says. Knows not what the
//! figures are good for. Invariant: the child has ended when [`Child::run`] returns.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use offprint::encode::EncoderCheck;
use offprint::model::{HeadQuality, MeasuredQuality};

use super::super::self_check::Told;

/// How long a stop may go unnoticed.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the child measured.
pub(super) struct SelfChecked {
    pub check: EncoderCheck,
    pub measured: Option<(MeasuredQuality, Vec<HeadQuality>)>,
}

/// Writes the texts of a comparison, one line of JSON each, until all are written or the function says that nobody reads
/// them any more. It returns soon after that, also where the next text is long in coming.
pub(super) type Feed<'a> = &'a (dyn Fn(&mut dyn Write, &dyn Fn() -> bool) -> Result<()> + Sync);

/// A comparison that the child is to make.
pub(super) struct Comparing<'a> {
    pub original: &'a Path,
    /// More flags of `self-check`.
    pub flags: Vec<std::ffi::OsString>,
    pub feed: Feed<'a>,
}

pub(super) struct Child {
    command: Command,
}

/// This program once more, for one of its hidden commands.
pub(crate) fn this_program(hidden: &str, ort_lib: Option<&Path>) -> Result<Command> {
    let program = std::env::current_exe().context("could not find this program to check the graph with")?;
    let mut command = Command::new(program);
    // All that was asked is on its command line; what it says becomes a part of our own message, in our colours.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OFFPRINT_") && name != "OFFPRINT_LOG" {
            command.env_remove(name);
        }
    }
    command.arg(hidden).env("NO_COLOR", "1").env_remove("CLICOLOR_FORCE");
    if let Some(library) = ort_lib {
        command.arg("--ort-lib").arg(library);
    }
    Ok(command)
}

/// Runs a child that needs no texts to its end, which comes at once when `stopped` says so.
pub(crate) fn run_to_end(mut command: Command, stopped: &dyn Fn() -> bool) -> Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().context("could not start the check of the graph")?;
    to_its_end(child, &[], stopped).context("could not wait for the check of the graph")
}

/// Gives a child its input and waits for its end, which comes at once when `stopped` says so. What of its three streams is
/// a pipe is written to, or read.
pub(crate) fn to_its_end(
    mut child: std::process::Child,
    input: &[u8],
    stopped: &dyn Fn() -> bool,
) -> std::io::Result<Output> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let (stdout, stderr) = (scope.spawn(|| read(stdout)), scope.spawn(|| read(stderr)));
        // A child that does not take its input says itself why.
        let _ = stdin.map(|mut stdin| stdin.write_all(input));
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if stopped() {
                // One that has ended already needs no end.
                drop(child.kill());
            }
            thread::sleep(LOOK_EVERY / 4);
        };
        let [stdout, stderr] = [stdout, stderr].map(|read| read.join().unwrap_or_default().into_bytes());
        Ok(Output { status, stdout, stderr })
    })
}

impl Child {
    /// For the bundle in `bundle`.
    pub(super) fn new(bundle: &Path, ort_lib: Option<&Path>) -> Result<Self> {
        let mut command = this_program("self-check", ort_lib)?;
        command.arg(bundle);
        Ok(Self { command })
    }

    /// Runs it to its end, which comes at once when `stopped` says so; `watch` is told how many texts have been compared.
    pub(super) fn run(
        mut self,
        comparing: Option<&Comparing<'_>>,
        stopped: &(dyn Fn() -> bool + Sync),
        watch: &mut dyn FnMut(u64),
    ) -> Result<SelfChecked> {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
        if let Some(comparing) = comparing {
            self.command.arg("--original").arg(comparing.original).args(&comparing.flags).stdin(Stdio::piped());
        }
        let mut child = self.command.spawn().context("could not start the check of the graph")?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut heard = Heard::default();
        let (tell, told) = channel();
        let ended = AtomicBool::new(false);
        let over = || ended.load(Ordering::Relaxed) || stopped();
        let (said, fed) = thread::scope(|scope| {
            let said = scope.spawn(|| read(stderr));
            let fed = comparing.zip(stdin).map(|(comparing, stdin)| scope.spawn(|| feed(comparing.feed, stdin, &over)));
            scope.spawn(move || send_lines(stdout, &tell));
            loop {
                match told.recv_timeout(LOOK_EVERY) {
                    Ok(line) => heard.line(&line, watch),
                    // One that has ended already needs no end.
                    Err(RecvTimeoutError::Timeout) if stopped() => drop(child.kill()),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            ended.store(true, Ordering::Relaxed);
            let fed =
                fed.map_or(Ok(()), |fed| fed.join().unwrap_or_else(|_| Err(anyhow!("the texts ended in a panic"))));
            (said.join().unwrap_or_default(), fed)
        });
        let status = child.wait().context("could not wait for the check of the graph")?;
        // Texts that could not be read are why the child got too few.
        fed?;
        if !status.success() {
            let said = said.trim().trim_start_matches("error: ");
            let what = if heard.check.is_some() {
                "the new graph could not be compared with its original"
            } else {
                "the new graph failed its check"
            };
            if said.is_empty() {
                bail!("{what}: it ended with {status}");
            }
            bail!("{what}; nothing was written\n  cause: {said}");
        }
        heard.finish(comparing.is_some())
    }
}

/// Ends with the child's output, or when nobody listens.
fn send_lines(stdout: Option<impl Read>, tell: &Sender<String>) {
    let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
    for line in lines.map_while(Result::ok) {
        if tell.send(line).is_err() {
            return;
        }
    }
}

/// The texts, and then their end.
fn feed(feed: Feed<'_>, stdin: ChildStdin, over: &dyn Fn() -> bool) -> Result<()> {
    let mut stdin = std::io::BufWriter::with_capacity(1 << 16, stdin);
    let written = feed(&mut stdin, over).and_then(|()| Ok(stdin.flush()?));
    match written {
        // The child is gone: it says itself why.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        written => written,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::BrokenPipe)
}

fn read(stderr: Option<impl Read>) -> String {
    let mut said = Vec::new();
    if let Some(mut stderr) = stderr {
        // What was read before a failure is better than nothing.
        let _ = stderr.read_to_end(&mut said);
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// What the child has said so far.
#[derive(Default)]
struct Heard {
    check: Option<EncoderCheck>,
    measured: Option<(MeasuredQuality, Vec<HeadQuality>)>,
    strange: Option<serde_json::Error>,
}

impl Heard {
    fn line(&mut self, line: &str, watch: &mut dyn FnMut(u64)) {
        match serde_json::from_str(line) {
            Ok(Told::Checked(check)) => self.check = Some(check),
            Ok(Told::Compared(texts)) => watch(texts),
            Ok(Told::Measured(measured, heads)) => self.measured = Some((*measured, heads)),
            Err(error) => self.strange = Some(error),
        }
    }

    fn finish(self, compared: bool) -> Result<SelfChecked> {
        const WHAT: &str = "could not read the result of the graph's check";
        if let Some(error) = self.strange {
            return Err(error).context(WHAT);
        }
        match (self.check, self.measured) {
            (Some(check), measured) if measured.is_some() == compared => Ok(SelfChecked { check, measured }),
            _ => Err(anyhow!("it ended too early")).context(WHAT),
        }
    }
}
