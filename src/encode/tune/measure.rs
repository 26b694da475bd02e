//! Runs texts of a corpus in several settings, each setting with the same texts, and lets [`race`] say which is fastest.
//! Writes nothing and keeps no vector.
//!
//! Invariant: every setting is given the same texts in a round, tokenized before the clock starts.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::choice::{DUEL, LEAST_ROUNDS, Race, race};
use super::{Setting, candidates, session_counts};
use crate::encode::{Encoding, Error, OpenedEncoder, RowAdapters, TextSample, TokenBudget, assemble_within, plan};
use crate::paper::{Corpus, Row, Template};
use crate::runtime::{Batch, ProviderChoice, RunBatch};

/// Settings that are tried at least, even if they take more time than was given.
const LEAST_SETTINGS: usize = 3;
/// A turn has work for so many batches of the default at least, ...
const LEAST_BATCHES: usize = 2;
/// ... for so many batches of each session, so that settings with more than that are not tried, ...
const BATCHES_A_SESSION: usize = 2;
/// ... and for this many tokens at most.
const MOST_TOKENS: usize = 1 << 20;

/// Opens an encoder once for each of some numbers of sessions, in their order.
pub type OpenSessions<'a> = dyn Fn(&[usize]) -> Result<Vec<OpenedEncoder>, Error> + 'a;

/// What is to be measured.
pub struct TuneJob<'a> {
    /// Opens the encoder.
    pub open: &'a OpenSessions<'a>,
    /// Texts like those of the runs to come; they are used again where they are few.
    pub texts: &'a TextSample,
    /// Sessions that are run where nothing is tuned.
    pub sessions: usize,
    /// The budget of a batch where nothing is tuned; on the provider that runs, where that decides.
    pub budget: TokenBudget,
    /// Threads of all sessions together.
    pub threads: usize,
    /// Seconds to measure for, about. Where all settings would take longer those nearest to the default are tried, and three
    /// rounds of three settings whatever they take. Opening sessions is not counted.
    pub seconds: f64,
    /// Raised by a signal.
    pub stop: &'a AtomicBool,
}

/// How far a measurement is.
#[derive(Debug, Clone, Copy)]
pub enum TuneStep {
    /// It is known what will be measured.
    Begins {
        /// Settings in the race.
        settings: usize,
        /// Seconds that it will take, about.
        seconds: f64,
    },
    /// A setting was measured once more.
    Ran {
        /// Which one.
        setting: Setting,
        /// Share of the time that has gone by, 0 to 1.
        share: f64,
    },
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// The provider that ran, and the only one for which it holds.
    pub provider: ProviderChoice,
    /// What was measured, and what won.
    #[serde(flatten)]
    pub race: Race,
}

/// The texts of the first rows that can be embedded, `most` at most, in their order.
///
/// # Errors
/// A corpus that cannot be read so far, or that has no such row.
pub fn first_texts(
    corpus: &Corpus,
    (template, sep): (&Template, &str),
    adapters: &RowAdapters,
    most: usize,
) -> Result<TextSample, Error> {
    let (mut texts, mut places, mut rejected) = (Vec::new(), Vec::new(), 0);
    for row in corpus.rows() {
        if texts.len() == most {
            break;
        }
        let Row::Paper(paper) = row? else {
            rejected += 1;
            continue;
        };
        let Ok(place) = adapters.place_of(&paper) else {
            rejected += 1;
            continue;
        };
        texts.push(template.render(&paper.text, sep).text);
        places.push(place);
    }
    if texts.is_empty() {
        return Err(Error::EmptyCorpus { files: corpus.files().len() });
    }
    let rows = texts.len() as u64;
    Ok(TextSample { texts, adapters: adapters.of_rows(places.into_iter()), rows, rejected })
}

/// Finds the fastest setting; `None` if it was stopped.
///
/// # Errors
/// An encoder that cannot be opened or run; a text that cannot be tokenized.
pub fn tune(job: &TuneJob<'_>, watch: &mut dyn FnMut(TuneStep)) -> Result<Option<Tuned>, Error> {
    let counts = session_counts(job.sessions, job.threads);
    let mut bench = Bench::open(job, &counts)?;
    let provider = bench.provider;
    let default = Setting { sessions: job.sessions, batch_tokens: job.budget.on(provider).tokens() };
    // Its engines are those for the default.
    let most = if provider == ProviderChoice::TensorRt { default.batch_tokens } else { usize::MAX };
    let settings = candidates(default, &counts, job.budget.max_length()..=most);
    let Some(Course { settings, seconds, duel, .. }) = bench.prepare(job, settings)? else { return Ok(None) };
    watch(TuneStep::Begins { settings: settings.len(), seconds });
    let started = Instant::now();
    let mut speed_of = |setting: Setting| match bench.speed(setting, job.stop) {
        Ok(Some(speed)) => {
            watch(TuneStep::Ran { setting, share: (started.elapsed().as_secs_f64() / seconds).min(1.0) });
            ControlFlow::Continue(speed)
        }
        Ok(None) => ControlFlow::Break(None),
        Err(error) => ControlFlow::Break(Some(error)),
    };
    match race(&settings, (seconds - duel, &mut || started.elapsed().as_secs_f64()), &mut speed_of) {
        ControlFlow::Continue(race) => Ok(Some(Tuned { provider, race })),
        ControlFlow::Break(None) => Ok(None),
        ControlFlow::Break(Some(error)) => Err(error),
    }
}

/// What will be measured, and how long that takes.
#[derive(Debug, PartialEq)]
struct Course {
    settings: Vec<Setting>,
    /// Tokens of texts that a turn has.
    tokens: usize,
    /// Seconds of all of it, about.
    seconds: f64,
    /// Seconds of its end, the rounds of the winner against the default.
    duel: f64,
}

impl Course {
    /// As many of the settings, the first ones before others, as `seconds` are enough for where the default computes `speed`
    /// tokens a second.
    fn of(mut settings: Vec<Setting>, speed: f64, seconds: f64) -> Self {
        let default = settings[0];
        let least = LEAST_BATCHES * default.batch_tokens;
        let turns = |settings: usize| (LEAST_ROUNDS * settings + 2 * DUEL) as f64;
        let fits = |settings: usize| (speed * seconds / turns(settings)) as usize;
        let count = (LEAST_SETTINGS..=settings.len()).rev().find(|&count| fits(count) >= least);
        settings.truncate(count.unwrap_or(LEAST_SETTINGS));
        let tokens = fits(settings.len()).clamp(least, MOST_TOKENS.max(least));
        let enough = |setting: &Setting| setting.sessions * setting.batch_tokens * BATCHES_A_SESSION <= tokens;
        settings.retain(|setting| *setting == default || enough(setting));
        let turn = tokens as f64 / speed;
        let seconds = seconds.max(turns(settings.len()) * turn);
        Self { settings, tokens, seconds, duel: 2.0 * DUEL as f64 * turn }
    }
}

/// A batch, and how many of its tokens belong to texts.
type Work = (Batch, u64);

/// Opened sessions and what they run.
struct Bench {
    /// By the number of sessions.
    opened: BTreeMap<usize, Vec<Box<dyn RunBatch>>>,
    encodings: Vec<Encoding>,
    adapters: Vec<i64>,
    pad_id: u32,
    provider: ProviderChoice,
    /// The same texts as batches, by their budget.
    work: BTreeMap<usize, Vec<Work>>,
}

impl Bench {
    fn open(job: &TuneJob<'_>, counts: &[usize]) -> Result<Self, Error> {
        let encoders = (job.open)(counts)?;
        let first = encoders.first().expect("there is the number of sessions of the default at least");
        let pad_id = first.tokenizer.pad_id();
        let provider = first.selection.choice();
        let texts: Vec<(&str, usize)> = job.texts.texts.iter().map(|text| (text.as_str(), 0)).collect();
        let encodings = first.tokenizer.encode_all(&texts).into_iter().collect::<Result<_, _>>()?;
        let opened = counts.iter().copied().zip(encoders.into_iter().map(|encoder| encoder.sessions)).collect();
        let adapters = job.texts.adapters.clone();
        Ok(Self { opened, encodings, adapters, pad_id, provider, work: BTreeMap::new() })
    }

    /// Lays out as much work as fits the time and warms the sessions up; `None` if it was stopped.
    fn prepare(&mut self, job: &TuneJob<'_>, settings: Vec<Setting>) -> Result<Option<Course>, Error> {
        let default = settings[0];
        self.lay(LEAST_BATCHES * default.batch_tokens, job.budget.tuned(default.batch_tokens, self.provider));
        // The first pass is slower: memory is touched and kernels are chosen.
        let mut speed = 0.0;
        for _ in 0..2 {
            let Some(measured) = self.speed(default, job.stop)? else { return Ok(None) };
            speed = measured;
        }
        let course = Course::of(settings, speed, job.seconds);
        self.work.clear();
        for setting in &course.settings {
            self.lay(course.tokens, job.budget.tuned(setting.batch_tokens, self.provider));
        }
        Ok(self.warm_up(&course.settings, job.stop)?.then_some(course))
    }

    /// Lays out texts, from the first on and around, until they have so many tokens, in batches within the budget.
    fn lay(&mut self, tokens: usize, budget: TokenBudget) {
        if self.work.contains_key(&budget.tokens()) {
            return;
        }
        let mut places = Vec::new();
        let mut sum = 0;
        for place in (0..self.encodings.len()).cycle() {
            if sum >= tokens {
                break;
            }
            places.push(place);
            sum += self.encodings[place].ids.len().max(1);
        }
        let lengths: Vec<usize> = places.iter().map(|&place| self.encodings[place].ids.len()).collect();
        let limit = budget.on(self.provider);
        let planned = plan(&lengths, limit);
        let assembled = planned.batches.iter().map(|batch| {
            let rows: Vec<&Encoding> = batch.iter().map(|&row| &self.encodings[places[row]]).collect();
            let mut input = assemble_within(limit, &rows, self.pad_id);
            if !self.adapters.is_empty() {
                input.adapters = batch.iter().map(|&row| self.adapters[places[row]]).collect();
            }
            (input, rows.iter().map(|row| row.ids.len() as u64).sum())
        });
        self.work.insert(budget.tokens(), assembled.collect());
    }

    /// Lets each session run its largest batch, which sets the size of what it keeps. Whether it came to the end.
    fn warm_up(&mut self, settings: &[Setting], stop: &AtomicBool) -> Result<bool, Error> {
        for (&count, sessions) in &mut self.opened {
            let largest = settings.iter().filter(|setting| setting.sessions == count).max();
            let batch = largest.and_then(|setting| self.work[&setting.batch_tokens].first());
            let Some((batch, _)) = batch else { continue };
            for session in sessions {
                if stop.load(Ordering::Relaxed) {
                    return Ok(false);
                }
                session.run(batch)?;
            }
        }
        Ok(true)
    }

    /// Tokens of texts per second; `None` if it was stopped.
    fn speed(&mut self, setting: Setting, stop: &AtomicBool) -> Result<Option<f64>, Error> {
        let sessions = self.opened.get_mut(&setting.sessions).expect("each number of sessions was opened");
        let speed = pass(sessions, &self.work[&setting.batch_tokens], stop)?;
        Ok((!stop.load(Ordering::Relaxed)).then_some(speed))
    }
}

/// Runs all batches on all sessions side by side. A session's speed ends with its last batch: what it waits for the
/// others then has no part in a run, whose windows have many times as many batches.
fn pass(sessions: &mut [Box<dyn RunBatch>], work: &[Work], stop: &AtomicBool) -> Result<f64, Error> {
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    let run = |session: &mut dyn RunBatch| -> Result<f64, Error> {
        let mut tokens = 0;
        while let Some((batch, own)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            session.run(batch)?;
            tokens += own;
        }
        Ok(tokens as f64 / started.elapsed().as_secs_f64().max(f64::MIN_POSITIVE))
    };
    if let [only] = sessions {
        return run(only.as_mut());
    }
    std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = sessions.iter_mut().map(|session| scope.spawn(move || run(session.as_mut()))).collect();
        let ended =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.sum()
    })
}

#[cfg(test)]
#[path = "measure_tests.rs"]
mod tests;
