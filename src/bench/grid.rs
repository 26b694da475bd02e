//! The settings that are measured: every combination of bundles, providers, batches, sessions and threads. Opens nothing.
//! Invariant: a grid has no setting twice, and one that can't be run is told apart before anything is started for it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::encode::TokenBudget;
use crate::model::Precision;
use crate::runtime::divide_threads;

/// A batch of one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Texts in a batch; at least 1.
    pub rows: usize,
    /// Tokens of each text; at least 1.
    pub tokens: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}x{}", self.rows, self.tokens)
    }
}

impl FromStr for Shape {
    type Err = Error;

    /// Reads `8x128`: rows, then tokens.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || Error::Shape { text: text.to_owned() };
        let (rows, tokens) = text.split_once(['x', '×']).ok_or_else(refused)?;
        let number = |part: &str| part.trim().parse::<u16>().ok().filter(|&n| n > 0).map(usize::from);
        let (rows, tokens) = number(rows).zip(number(tokens)).ok_or_else(refused)?;
        Ok(Self { rows, tokens })
    }
}

/// How texts become batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Batching {
    /// Texts as they are, in batches of at most so many padded tokens.
    Tokens(usize),
    /// Batches that all have one shape and no padding.
    Fixed(Shape),
}

impl fmt::Display for Batching {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens(tokens) => write!(out, "{tokens} tokens"),
            Self::Fixed(shape) => write!(out, "{shape} fixed"),
        }
    }
}

/// What is measured in one cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// What the bundle is called.
    pub model: String,
    /// What its graph computes in.
    pub precision: Precision,
    /// The provider, as `--providers` names it.
    pub provider: String,
    /// What it is told, `key=value` each, in the order of the keys; of paths the last part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provider_options: Vec<String>,
    /// How texts become batches.
    pub batches: Batching,
    /// Sessions side by side.
    pub sessions: usize,
    /// Threads of all sessions together.
    pub threads: usize,
}

impl fmt::Display for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, precision, batches, sessions, threads, .. } = self;
        let provider = self.provider_in_words();
        write!(out, "{model} {precision}, {provider}, {batches}, {threads} thread{}", plural(*threads))?;
        if *sessions > 1 {
            write!(out, " in {sessions} sessions")?;
        }
        Ok(())
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl Setting {
    /// The provider with what it is told: `openvino with num_streams=2`.
    pub fn provider_in_words(&self) -> String {
        match &self.provider_options[..] {
            [] => self.provider.clone(),
            options => format!("{} with {}", self.provider, options.join(" ")),
        }
    }

    /// Why it can't be run by a bundle of that maximum length, where that is known without trying.
    pub fn refusal(&self, max_length: usize) -> Option<String> {
        let divided = divide_threads(self.threads, self.sessions).err().map(|error| error.to_string());
        divided.or_else(|| match self.batches {
            Batching::Tokens(tokens) => TokenBudget::new(tokens, max_length).err().map(|error| error.to_string()),
            Batching::Fixed(shape) if shape.tokens > max_length => {
                Some(format!("texts of {} tokens pass the bundle's max length {max_length}", shape.tokens))
            }
            Batching::Fixed(_) => None,
        })
    }
}

/// A bundle among others.
#[derive(Debug, Clone)]
pub struct GridModel {
    /// What it is called.
    pub name: String,
    /// What its graph computes in.
    pub precision: Precision,
    /// Padded tokens of a batch where nothing is said, by provider.
    pub default_tokens: fn(provider: &str, max_length: usize) -> usize,
    /// Its longest input in tokens.
    pub max_length: usize,
}

/// The axes of a grid; an empty list of batches stands for the default of each bundle and provider.
#[derive(Debug, Clone, Default)]
pub struct Grid {
    /// Bundles.
    pub models: Vec<GridModel>,
    /// Providers.
    pub providers: Vec<String>,
    /// What they are told, by provider, as it stands in the settings.
    pub provider_options: BTreeMap<String, Vec<String>>,
    /// Batches.
    pub batches: Vec<Batching>,
    /// Sessions side by side.
    pub sessions: Vec<usize>,
    /// Threads.
    pub threads: Vec<usize>,
}

impl Grid {
    /// Every combination, the last axis first, each with the place of its bundle.
    pub fn settings(&self) -> Vec<(usize, Setting)> {
        let mut settings: Vec<(usize, Setting)> = Vec::new();
        for (place, model) in self.models.iter().enumerate() {
            for provider in &self.providers {
                let default = [Batching::Tokens((model.default_tokens)(provider, model.max_length))];
                let batches = if self.batches.is_empty() { &default[..] } else { &self.batches };
                for (batches, sessions, threads) in combinations(batches, &self.sessions, &self.threads) {
                    let setting = Setting {
                        model: model.name.clone(),
                        precision: model.precision,
                        provider: provider.clone(),
                        provider_options: self.provider_options.get(provider).cloned().unwrap_or_default(),
                        batches,
                        sessions,
                        threads,
                    };
                    if !settings.iter().any(|(_, known)| *known == setting) {
                        settings.push((place, setting));
                    }
                }
            }
        }
        settings
    }
}

fn combinations(batches: &[Batching], sessions: &[usize], threads: &[usize]) -> Vec<(Batching, usize, usize)> {
    let mut all = Vec::with_capacity(batches.len() * sessions.len() * threads.len());
    for &batching in batches {
        for &sessions in sessions {
            all.extend(threads.iter().map(|&threads| (batching, sessions, threads)));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let default_tokens =
            |provider: &str, longest: usize| if provider == "cpu" { 1_024.max(longest) } else { 16_384 };
        let model =
            |name: &str, precision, max_length| GridModel { name: name.into(), precision, default_tokens, max_length };
        Grid {
            models: vec![model("a", Precision::Fp32, 256), model("b", Precision::Int8, 2_048)],
            providers: vec!["cpu".into(), "cuda".into()],
            provider_options: BTreeMap::new(),
            batches: Vec::new(),
            sessions: vec![1],
            threads: vec![2, 1, 2],
        }
    }

    #[test]
    fn every_combination_stands_in_the_grid_once() {
        let settings = grid().settings();
        let names: Vec<String> = settings.iter().map(|(place, setting)| format!("{place} {setting}")).collect();
        assert_eq!(
            names[..3],
            [
                "0 a fp32, cpu, 1024 tokens, 2 threads",
                "0 a fp32, cpu, 1024 tokens, 1 thread",
                "0 a fp32, cuda, 16384 tokens, 2 threads"
            ]
        );
        assert_eq!(names[4], "1 b int8, cpu, 2048 tokens, 2 threads");
        assert_eq!(names.len(), 8);
        let batches = vec![Batching::Tokens(512), Batching::Fixed(Shape { rows: 4, tokens: 64 })];
        let several = Grid { batches, sessions: vec![1, 2], ..grid() }.settings();
        assert_eq!(several.len(), 2 * 2 * 2 * 2 * 2);
        assert_eq!(several[7].1.to_string(), "a fp32, cpu, 4x64 fixed, 1 thread in 2 sessions");
    }

    #[test]
    fn what_a_provider_is_told_is_part_of_the_setting() {
        let told = vec!["prefer_nhwc=1".to_owned(), "use_tf32=1".to_owned()];
        let provider_options = BTreeMap::from([("cuda".to_owned(), told.clone())]);
        let settings = Grid { provider_options, ..grid() }.settings();
        assert_eq!(settings[0].1, grid().settings()[0].1, "the CPU provider is told nothing");
        let (plain, other) = (&grid().settings()[2].1, &settings[2].1);
        assert_eq!((&other.provider_options, other == plain), (&told, false));
        assert_eq!(other.to_string(), "a fp32, cuda with prefer_nhwc=1 use_tf32=1, 16384 tokens, 2 threads");
        let json = serde_json::to_value(plain).unwrap();
        assert!(json.get("provider_options").is_none(), "{json}");
        assert_eq!(serde_json::from_value::<Setting>(json).unwrap(), *plain, "records of before say nothing of them");
    }

    #[test]
    fn what_cannot_run_is_known_beforehand() {
        let setting =
            |batches, sessions, threads| Setting { batches, sessions, threads, ..grid().settings()[0].1.clone() };
        let refusal = |batches, sessions, threads| setting(batches, sessions, threads).refusal(256);
        assert_eq!(refusal(Batching::Tokens(256), 1, 1), None);
        let short = refusal(Batching::Tokens(255), 1, 1).unwrap();
        assert!(short.starts_with("`--max-batch-tokens 255` is below the longest input (max length 256)"), "{short}");
        assert_eq!(refusal(Batching::Fixed(Shape { rows: 9, tokens: 256 }), 2, 2), None);
        let long = refusal(Batching::Fixed(Shape { rows: 1, tokens: 257 }), 1, 1).unwrap();
        assert_eq!(long, "texts of 257 tokens pass the bundle's max length 256");
        assert!(refusal(Batching::Tokens(512), 2, 1).unwrap().contains('2'), "more sessions than threads");
    }

    #[test]
    fn shapes_are_rows_and_tokens() {
        assert_eq!("8x128".parse::<Shape>().unwrap(), Shape { rows: 8, tokens: 128 });
        assert_eq!("1 × 512".parse::<Shape>().unwrap().to_string(), "1x512");
        for bad in ["", "8", "0x4", "4x0", "x", "8x128x2", "-1x4", "99999x1"] {
            let error = bad.parse::<Shape>().unwrap_err().to_string();
            assert_eq!(error, format!("`{bad}` is no shape, expected rows and tokens such as `8x128`"));
        }
    }
}
