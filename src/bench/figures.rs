//! The figures of a cell: what its rounds say together, each with its interval. Pure arithmetic. Invariant: a figure that
//! was not measured, or has no source on this machine, is absent and never 0.

use serde::{Deserialize, Serialize};

use super::cell::{Round, Timing};
use super::peak::Peak;
use super::ready::Work;
use super::statistics::{Interval, percentile};

/// What a cell's rounds say together. Every interval is over rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Texts a second through the bare loop over ready batches.
    pub papers_per_second: Interval,
    /// Tokens a second, padding included.
    pub tokens_per_second: Interval,
    /// Tokens of texts a second.
    pub useful_tokens_per_second: Interval,
    /// The share of the computed tokens that is padding, 0 to 1.
    pub padding_share: f64,
    /// Products a second, in FLOP/s, padding included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flops_per_second: Option<Interval>,
    /// The same of texts without padding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub useful_flops_per_second: Option<Interval>,
    /// `flops_per_second` as a share of the fastest product of matrices that was measured there, on all devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_share: Option<Interval>,
    /// Milliseconds within which half of the batches are done.
    pub latency_p50: Interval,
    /// Those within which 90 % are done.
    pub latency_p90: Interval,
    /// Those within which 99 % are done.
    pub latency_p99: Interval,
    /// Seconds to open library, tokenizer and sessions.
    pub open_seconds: Interval,
    /// The first round's: a provider that compiles and keeps what it compiled does so there.
    pub first_open_seconds: f64,
    /// Seconds from the beginning of that until the first vectors.
    pub first_batch_seconds: Interval,
    /// Seconds that building the engines took which the first round ran on; no round counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_build_seconds: Option<f64>,
    /// Cores that were busy in the bare loop.
    pub busy_cores: Interval,
    /// Texts a second through the tokenizer alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenize_papers_per_second: Option<Interval>,
    /// Their tokens a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenize_tokens_per_second: Option<Interval>,
    /// The same by core: tokens for each second of processor time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenize_tokens_per_core: Option<Interval>,
    /// Texts a second from file to vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_papers_per_second: Option<Interval>,
    /// What the pipeline keeps of the bare loop's speed, round by round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_share: Option<Interval>,
    /// Largest resident memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<Interval>,
    /// Most memory in use on the graphics card, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_memory: Option<Interval>,
    /// Watts of the graphics card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_watts: Option<Interval>,
    /// Rounds whose warm-up ended at its limit before the speed had settled.
    pub unsettled: usize,
}

impl Figures {
    /// Whether the tokenizer, on all threads by itself, is clearly slower than the sessions, which then wait for it.
    pub fn waits_for_tokenizer(&self) -> bool {
        self.tokenize_papers_per_second.is_some_and(|papers| papers.high < self.papers_per_second.low)
    }

    /// The figures of some rounds of one cell, beside the peak of its provider and threads; none without rounds.
    pub fn of(rounds: &[Round], peak: Option<&Peak>) -> Option<Self> {
        let first = rounds.first()?;
        let rate = |amount: fn(&Work) -> f64| all(rounds, |round| Some(amount(&round.work) / round.inference.seconds));
        let flops = |amount: fn(&Work) -> Option<f64>| {
            all(rounds, |round| Some(amount(&round.work)? / round.inference.seconds))
        };
        let texts = |timing: fn(&Round) -> Option<Timing>| {
            all(rounds, |round| Some(round.work.texts as f64 / timing(round)?.seconds))
        };
        let tokens = |seconds: fn(Timing) -> f64| {
            all(rounds, |round| {
                Some(round.work.useful_tokens as f64 / seconds(round.tokenize?)).filter(|rate| rate.is_finite())
            })
        };
        let latency = |share: f64| all(rounds, |round| percentile(&round.latencies, share));
        let flops_per_second = flops(|work| work.padded_flops);
        let peak = peak.map(Peak::of_all_devices).filter(|&peak| peak > 0.0);
        Some(Self {
            papers_per_second: rate(|work| work.texts as f64)?,
            tokens_per_second: rate(|work| work.padded_tokens as f64)?,
            useful_tokens_per_second: rate(|work| work.useful_tokens as f64)?,
            padding_share: first.work.padding_share(),
            flops_per_second,
            useful_flops_per_second: flops(|work| work.useful_flops),
            peak_share: flops_per_second.zip(peak).map(|(flops, peak)| scaled(flops, 1.0 / peak)),
            latency_p50: latency(0.5)?,
            latency_p90: latency(0.9)?,
            latency_p99: latency(0.99)?,
            open_seconds: all(rounds, |round| Some(round.open_seconds))?,
            first_open_seconds: first.open_seconds,
            first_batch_seconds: all(rounds, |round| Some(round.first_batch_seconds))?,
            engine_build_seconds: first.engine_build_seconds,
            busy_cores: all(rounds, |round| Some(round.inference.cpu_seconds / round.inference.seconds))?,
            tokenize_papers_per_second: texts(|round| round.tokenize),
            tokenize_tokens_per_second: tokens(|tokenize| tokenize.seconds),
            tokenize_tokens_per_core: tokens(|tokenize| tokenize.cpu_seconds),
            pipeline_papers_per_second: texts(|round| round.pipeline),
            pipeline_share: all(rounds, |round| Some(round.inference.seconds / round.pipeline?.seconds)),
            peak_memory: all(rounds, |round| round.peak_memory.map(|bytes| bytes as f64)),
            gpu_memory: all(rounds, |round| round.gpu?.memory.map(|bytes| bytes as f64)),
            gpu_watts: all(rounds, |round| round.gpu?.watts),
            unsettled: rounds.iter().filter(|round| !round.warm_up.settled).count(),
        })
    }
}

/// The interval of something that every round has.
fn all(rounds: &[Round], value: impl Fn(&Round) -> Option<f64>) -> Option<Interval> {
    Interval::of(&rounds.iter().map(value).collect::<Option<Vec<f64>>>()?)
}

fn scaled(interval: Interval, factor: f64) -> Interval {
    let Interval { median, low, high, confidence } = interval;
    Interval { median: median * factor, low: low * factor, high: high * factor, confidence }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::gpu::GpuUse;
    use crate::bench::warm_up::WarmUp;

    /// A round of 100 texts in 20 batches that took these seconds.
    pub(in super::super) fn round(inference: f64, pipeline: Option<f64>) -> Round {
        let timing = |seconds| Timing { seconds, cpu_seconds: 1.5 * seconds };
        Round {
            provider: "CPUExecutionProvider".into(),
            nodes: crate::runtime::Placement::default(),
            runtime_version: "1.31.1".into(),
            work: Work {
                texts: 100,
                batches: 20,
                shapes: 9,
                padded_tokens: 10_000,
                useful_tokens: 9_000,
                padded_flops: Some(4e9),
                useful_flops: Some(3e9),
            },
            open_seconds: inference / 10.0,
            first_batch_seconds: inference / 5.0,
            engine_build_seconds: None,
            warm_up: WarmUp { windows: vec![1.0; 3], settled: inference < 7.0, seconds: 1.0 },
            inference: timing(inference),
            latencies: (1..=20).map(|n| f64::from(n) * inference).collect(),
            tokenize: pipeline.map(|_| timing(0.5)),
            pipeline: pipeline.map(timing),
            peak_memory: Some(1 << 20),
            gpu: None,
            profile: None,
        }
    }

    fn peak() -> Peak {
        Peak {
            provider: "cpu".into(),
            runtime_version: "1.31.1".into(),
            threads: 2,
            half: false,
            size: 1_024,
            flops_per_second: 1e10,
            runs: 9,
        }
    }

    #[test]
    fn known_rounds_give_exact_figures() {
        let mut rounds: Vec<Round> = [4.0, 5.0, 8.0].map(|seconds| round(seconds, Some(seconds * 1.25))).to_vec();
        let figures = Figures::of(&rounds, Some(&peak())).unwrap();
        let of = |interval: Interval| [interval.median, interval.low, interval.high];
        assert_eq!(of(figures.papers_per_second), [20.0, 12.5, 25.0]);
        assert_eq!(of(figures.tokens_per_second), [2_000.0, 1_250.0, 2_500.0]);
        assert_eq!(of(figures.useful_tokens_per_second), [1_800.0, 1_125.0, 2_250.0]);
        assert_eq!(figures.padding_share, 0.1);
        assert_eq!(of(figures.flops_per_second.unwrap()), [8e8, 5e8, 1e9]);
        assert_eq!(of(figures.useful_flops_per_second.unwrap()), [6e8, 3.75e8, 7.5e8]);
        assert_eq!(of(figures.peak_share.unwrap()), [0.08, 0.05, 0.1]);
        let two = Figures::of(&rounds, Some(&Peak { provider: "cuda:0,1".into(), ..peak() })).unwrap();
        assert_eq!(of(two.peak_share.unwrap()), [0.04, 0.025, 0.05], "of two cards");
        assert_eq!(of(figures.latency_p50), [50.0, 40.0, 80.0]);
        assert_eq!(of(figures.latency_p90), [90.0, 72.0, 144.0]);
        assert_eq!(of(figures.latency_p99), [100.0, 80.0, 160.0]);
        assert_eq!((of(figures.open_seconds), figures.first_open_seconds), ([0.5, 0.4, 0.8], 0.4));
        assert_eq!(of(figures.busy_cores), [1.5, 1.5, 1.5]);
        assert_eq!(of(figures.tokenize_papers_per_second.unwrap()), [200.0; 3]);
        assert_eq!(of(figures.tokenize_tokens_per_second.unwrap()), [18_000.0; 3]);
        assert_eq!(of(figures.tokenize_tokens_per_core.unwrap()), [12_000.0; 3], "one and a half cores were busy");
        assert_eq!(of(figures.pipeline_papers_per_second.unwrap()), [16.0, 10.0, 20.0]);
        assert_eq!(of(figures.pipeline_share.unwrap()), [0.8; 3]);
        assert_eq!(of(figures.peak_memory.unwrap()), [1_048_576.0; 3]);
        assert_eq!((figures.gpu_memory, figures.gpu_watts), (None, None));
        rounds.iter_mut().for_each(|round| round.gpu = Some(GpuUse { memory: Some(1 << 30), watts: None }));
        let on_card = Figures::of(&rounds, None).unwrap();
        assert_eq!((of(on_card.gpu_memory.unwrap()), on_card.gpu_watts), ([1_073_741_824.0; 3], None));
        assert_eq!((figures.unsettled, figures.papers_per_second.confidence), (1, 0.75));
        assert!(!figures.waits_for_tokenizer(), "200 texts a second are more than 25");
        let tokenize = Some(Timing { seconds: 10.0, cpu_seconds: 10.0 });
        let slow: Vec<Round> = rounds.into_iter().map(|round| Round { tokenize, ..round }).collect();
        assert!(Figures::of(&slow, None).unwrap().waits_for_tokenizer(), "10 texts a second are fewer than 12.5");
    }

    #[test]
    fn what_was_not_measured_is_absent() {
        let mut rounds = vec![round(4.0, None), round(5.0, None)];
        rounds[1].peak_memory = None;
        rounds[1].work.padded_flops = None;
        let figures = Figures::of(&rounds, None).unwrap();
        assert_eq!((figures.pipeline_share, figures.tokenize_papers_per_second), (None, None));
        assert_eq!(figures.tokenize_tokens_per_core, None);
        assert_eq!((figures.peak_memory, figures.flops_per_second, figures.peak_share), (None, None, None));
        let json = serde_json::to_value(&figures).unwrap();
        assert!(json.get("engine_build_seconds").is_none(), "{json}");
        assert!(json.get("pipeline_share").is_none() && json.get("peak_share").is_none(), "{json}");
        assert_eq!(Figures::of(&[], None), None);
    }
}
