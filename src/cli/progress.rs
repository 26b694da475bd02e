//! What a long run shows while it goes on: a bar with rate and time left on a terminal, one line a minute elsewhere,
//! and an estimate as soon as the first seconds allow one. All of it on stderr.

use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use offprint::encode::Progress;

use super::say::{counted, remark};

/// How long a run is watched before its end is foretold.
const ESTIMATE_AFTER: Duration = Duration::from_secs(5);
const LINE_EVERY: Duration = Duration::from_secs(60);

/// How much there is to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Bytes of the corpus on disk; 0 if it comes through a pipe.
    pub bytes: u64,
    /// Rows, where `--limit` bounds them.
    pub limit: Option<u64>,
}

/// Runs `work` while its progress is shown.
pub(crate) fn watched<T>(progress: &Progress, size: Size, work: impl FnOnce() -> T) -> T {
    let (done, ended) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut watcher = Watcher::new(progress, size);
            while ended.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout) {
                watcher.look();
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// Looks at a run now and then.
struct Watcher<'a> {
    progress: &'a Progress,
    size: Size,
    display: Display,
}

impl<'a> Watcher<'a> {
    fn new(progress: &'a Progress, size: Size) -> Self {
        Self { progress, size, display: Display::new() }
    }

    /// Share of the work that is done, 0 to 1.
    fn share(&self) -> f64 {
        let by_bytes = if self.size.bytes == 0 { 0.0 } else { self.progress.bytes() as f64 / self.size.bytes as f64 };
        let by_rows = self.size.limit.map_or(0.0, |limit| self.progress.rows() as f64 / limit.max(1) as f64);
        by_bytes.max(by_rows).min(1.0)
    }

    fn look(&mut self) {
        let seconds = self.display.started.elapsed().as_secs_f64();
        let rows = self.progress.rows();
        let rates = format!(
            "{}  {:.1} papers/s  {} tokens/s",
            counted(rows, "paper"),
            rows as f64 / seconds,
            HumanCount((self.progress.tokens() as f64 / seconds) as u64),
        );
        let (rows, bytes) = self.progress.read();
        let all = (rows as f64 * self.size.bytes as f64 / bytes.max(1) as f64) as u64;
        let papers = counted(self.size.limit.map_or(all, |limit| limit.min(all)), "paper");
        self.display.show(self.share(), &rates, || format!("about {papers}, "));
    }
}

/// Where the state of a long piece of work is shown. Whoever does the work tells it how far it is.
pub(crate) struct Display {
    started: Instant,
    bar: ProgressBar,
    estimated: bool,
    next_line: Duration,
}

impl Display {
    /// A bar on a terminal that can draw one.
    pub(crate) fn new() -> Self {
        let draws = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let target = if draws { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(1_000), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}") {
            bar.set_style(style);
        }
        Self { started: Instant::now(), bar, estimated: false, next_line: LINE_EVERY }
    }

    /// Shows that the share `share` (0 to 1) is done, `what` is said about it, and how much time is left. Once, after
    /// the first seconds, the end is foretold, with `size` (such as `about 3 papers, `) before it.
    pub(crate) fn show(&mut self, share: f64, what: &str, size: impl FnOnce() -> String) {
        let elapsed = self.started.elapsed();
        let left = (share > 0.0).then(|| Duration::from_secs_f64(elapsed.as_secs_f64() * (1.0 - share) / share));
        let line = format!(
            "{what}  {}",
            left.map_or("no estimate yet".into(), |left| format!("{} left", HumanDuration(left)))
        );
        self.bar.set_position((share * 1_000.0) as u64);
        self.bar.set_message(line.clone());
        if let (false, true, Some(left)) = (self.estimated, elapsed >= ESTIMATE_AFTER, left) {
            self.estimated = true;
            self.say(&format!("estimate: {}{} from now", size(), HumanDuration(left)));
        }
        if self.bar.is_hidden() && elapsed >= self.next_line {
            self.next_line = elapsed + LINE_EVERY;
            self.say(&format!("{:.0} %  {line}", share * 100.0));
        }
    }

    fn say(&self, line: &str) {
        self.bar.suspend(|| remark(line));
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
