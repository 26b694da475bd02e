//! Answers what a choice of int8 matrices costs and saves: writes its graph, has the child run it, and shows how far the
//! search has come. Chooses nothing. Invariant: no graph that was measured is left on the disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use offprint::encode::calibrate::{Cosines, Judge};
use offprint::graph::quantize::{Matrix, MatrixPlan, QuantizePlan, WeightReach};
use offprint::graph::{ExportOptions, data_of, write_graph};
use offprint::model::HeadQuality;

use super::super::calibrate::{Answer, Ask};
use super::super::progress::Display;
use super::dialog::Dialog;

/// Multiplications with weights for a token, at which an encoder is small: that of MiniLM with six layers.
const SMALL: f64 = 11e6;
/// Rounds in which a point and the original are timed in turns.
const ROUNDS: usize = 5;
/// Points that are measured by and large: those of two searches, each by halving, and those that are timed.
const POINTS_EXPECTED: f64 = 10.0;
const POINTS_TIMED: f64 = 4.0;

/// The matrices that can be int8, each with its plan, and the groups that share an input.
pub(super) struct Candidates {
    pub matrices: Vec<Matrix>,
    pub plans: Vec<MatrixPlan>,
    pub groups: Vec<Group>,
    pub reach: WeightReach,
}

/// Matrices that share an input, by their numbers, and the multiplications that they do for a text.
pub(super) struct Group {
    pub matrices: Vec<usize>,
    pub work: f64,
}

impl Candidates {
    /// The plan in which these groups are int8.
    pub(super) fn plan(&self, groups: &[usize]) -> QuantizePlan {
        let matrices = groups.iter().flat_map(|&group| &self.groups[group].matrices);
        let entry = |&matrix: &usize| (self.matrices[matrix].name.clone(), self.plans[matrix].clone());
        QuantizePlan { matrices: matrices.map(entry).collect(), reach: self.reach }
    }

    /// Multiplications of all groups.
    pub(super) fn work(&self) -> f64 {
        self.groups.iter().map(|group| group.work).sum()
    }
}

/// How many texts are run: fewer where each takes longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// For each group alone.
    pub alone: usize,
    /// For each point.
    pub together: usize,
    /// For each round of timing.
    pub timed: usize,
}

impl Counts {
    /// For an encoder that multiplies so often for a token, with so many texts at hand.
    pub(super) fn of(multiplications: f64, texts: usize) -> Self {
        let of = |most: usize, least: usize, small: f64| {
            let count = (most as f64 * small / multiplications.max(1.0)) as usize;
            count.clamp(least, most).min(texts)
        };
        Self { alone: of(48, 16, SMALL), together: of(192, 96, 2.0 * SMALL), timed: of(24, 12, SMALL) }
    }
}

pub(super) struct GraphJudge<'j, 'd> {
    pub dialog: &'j mut Dialog<'d>,
    pub candidates: &'j Candidates,
    pub options: &'j ExportOptions,
    pub counts: Counts,
    graph: PathBuf,
    display: Display,
    done: f64,
    heads: BTreeMap<usize, HeadQuality>,
}

impl<'j, 'd> GraphJudge<'j, 'd> {
    /// Graphs are written into `place`, with the choices of `options`.
    pub(super) fn new(
        dialog: &'j mut Dialog<'d>,
        candidates: &'j Candidates,
        (options, place): (&'j ExportOptions, &Path),
        counts: Counts,
    ) -> Self {
        let graph = place.join("candidate.onnx");
        let display = Display::new();
        Self { dialog, candidates, options, counts, graph, display, done: 0.0, heads: BTreeMap::new() }
    }

    /// What the head loses at each point, by its number of groups.
    pub(super) fn into_heads(self) -> BTreeMap<usize, HeadQuality> {
        self.heads
    }

    /// Writes the graph, asks, and removes the graph.
    fn ask(&mut self, groups: &[usize], ask: impl FnOnce(PathBuf) -> Ask) -> Result<Answer> {
        let options = ExportOptions { quantize: Some(self.candidates.plan(groups)), ..self.options.clone() };
        write_graph(&options, &self.graph)?;
        let answer = self.dialog.ask(&ask(self.graph.clone()))?;
        for file in [self.graph.clone(), data_of(&self.graph)] {
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("could not remove `{}`", file.display()));
                }
                _ => {}
            }
        }
        Ok(answer)
    }

    /// `texts` more have been run.
    fn advance(&mut self, texts: usize, what: &str) {
        self.done += texts as f64;
        let Counts { alone, together, timed } = self.counts;
        let groups = self.candidates.groups.len() * alone;
        let all = groups as f64 + POINTS_EXPECTED * together as f64 + POINTS_TIMED * timed_texts(timed) as f64;
        self.display.show((self.done / all).min(0.99), what, String::new);
    }
}

/// Texts that are run while a point is timed: both sides, and once before.
fn timed_texts(texts: usize) -> usize {
    2 * (ROUNDS + 1) * texts
}

impl Judge for GraphJudge<'_, '_> {
    type Error = anyhow::Error;

    fn alone(&mut self, group: usize) -> Result<Cosines> {
        let texts = self.counts.alone;
        let Answer::Compared(cosines, _) = self.ask(&[group], |graph| Ask::Compare { graph, texts })? else {
            bail!("the calibration answered another question");
        };
        self.advance(texts, &format!("int8  group {} of {}", group + 1, self.candidates.groups.len()));
        Ok(cosines)
    }

    fn together(&mut self, groups: &[usize]) -> Result<Cosines> {
        let Answer::Compared(cosines, head) = self.ask(groups, |graph| Ask::CompareAll { graph })? else {
            bail!("the calibration answered another question");
        };
        self.heads.extend(head.map(|head| (groups.len(), head)));
        self.advance(
            self.counts.together,
            &format!("int8  {} of {} groups", groups.len(), self.candidates.groups.len()),
        );
        Ok(cosines)
    }

    fn speed(&mut self, groups: &[usize]) -> Result<f64> {
        let texts = self.counts.timed;
        let Answer::Speed(speed) = self.ask(groups, |graph| Ask::Speed { graph, texts, rounds: ROUNDS })? else {
            bail!("the calibration answered another question");
        };
        self.advance(timed_texts(texts), &format!("int8  timing {} groups", groups.len()));
        Ok(speed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_encoders_run_fewer_texts_and_never_more_than_there_are() {
        let counts = |multiplications, texts| {
            let Counts { alone, together, timed } = Counts::of(multiplications, texts);
            [alone, together, timed]
        };
        assert_eq!(counts(11e6, 256), [48, 192, 24]);
        assert_eq!(counts(85e6, 256), [16, 96, 12]);
        assert_eq!(counts(1e3, 30), [30, 30, 24]);
        assert_eq!(counts(0.0, 8), [8, 8, 8]);
    }
}
