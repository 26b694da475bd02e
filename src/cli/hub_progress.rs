//! What a download says on stderr: each step as a line, a bar with rate and time left on a terminal, one line a minute
//! elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use offprint::causes::on_one_line;
use offprint::model::hub::{Event, HubId};

use super::say::remark;

const LINE_EVERY: Duration = Duration::from_secs(60);
/// Files below this are not worth a rate.
const LARGE: u64 = 8 << 20;

pub(crate) struct Shower {
    id: String,
    bar: ProgressBar,
    name: String,
    size: u64,
    /// Where this download of the file began, and when.
    began: (u64, Instant),
    here: u64,
    next_line: Duration,
}

impl Shower {
    pub(crate) fn new(id: &HubId) -> Self {
        let bar = ProgressBar::hidden();
        let began = (0, Instant::now());
        Self { id: id.to_string(), bar, name: String::new(), size: 0, began, here: 0, next_line: LINE_EVERY }
    }

    pub(crate) fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Asking { endpoint, id, revision } => remark(&format!("asking {endpoint} for {id} at {revision}")),
            Event::Reusing { folder } => {
                remark(&format!("files of {} are here already: {}", self.id, folder.display()));
            }
            Event::File { name, size, have } => self.begin(name, *size, *have),
            Event::Received(bytes) => self.advance(*bytes),
            Event::FileDone => self.finish(),
            Event::Waiting { name } => remark(&format!("waiting for another process that downloads {name}")),
            Event::Retry { error, pause } => {
                let seconds = pause.as_secs_f64();
                let line = format!("warning: {}; trying again in {seconds:.1} s", on_one_line(*error));
                self.bar.suspend(|| remark(&line));
            }
            _ => {}
        }
    }

    /// Takes the bar off the terminal.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn begin(&mut self, name: &str, size: u64, have: u64) {
        let going_on = if have > 0 { format!(", going on at {}", HumanBytes(have)) } else { String::new() };
        remark(&format!("downloading {name} ({}{going_on})", HumanBytes(size)));
        (self.name, self.size, self.here) = (name.to_owned(), size, have);
        self.began = (have, Instant::now());
        self.next_line = LINE_EVERY;
        let target = match std::io::stderr().is_terminal() && size >= LARGE {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        self.bar = ProgressBar::with_draw_target(Some(size), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}") {
            self.bar.set_style(style);
        }
    }

    fn advance(&mut self, bytes: u64) {
        self.here = bytes;
        let elapsed = self.began.1.elapsed();
        let rate = self.rate();
        let left = self.size.saturating_sub(bytes) as f64 / rate.max(1.0);
        let line = format!(
            "{} of {}  {}/s  {} left",
            HumanBytes(bytes),
            HumanBytes(self.size),
            HumanBytes(rate as u64),
            HumanDuration(Duration::from_secs_f64(left.min(1e7)))
        );
        self.bar.set_position(bytes);
        self.bar.set_message(line.clone());
        if self.bar.is_hidden() && elapsed >= self.next_line {
            self.next_line = elapsed + LINE_EVERY;
            remark(&format!("{}: {line}", self.name));
        }
    }

    fn finish(&mut self) {
        self.bar.finish_and_clear();
        if self.size >= LARGE {
            let seconds = self.began.1.elapsed().as_secs_f64();
            remark(&format!("{}: {seconds:.1} s, {}/s", self.name, HumanBytes(self.rate() as u64)));
        }
    }

    /// Bytes a second of this download; what was here before does not count.
    fn rate(&self) -> f64 {
        self.here.saturating_sub(self.began.0) as f64 / self.began.1.elapsed().as_secs_f64().max(1e-3)
    }
}
