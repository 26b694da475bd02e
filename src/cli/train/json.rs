//! What `train --json` prints of a fit, beside the account. Knows a finished fitting, no rows. Invariant: whatever is
//! said on stderr is here with all digits.

use offprint::evaluate::{GroupGap, Leaks, LearningPoint, NestedEstimate, SeenGroups, StrengthPoint};
use offprint::heads::{ChosenThreshold, Optimality};
use serde::Serialize;
use serde_json::{Map, Value};

use super::tell::Told;

/// A fit for machines.
#[derive(Serialize)]
struct Fit<'a> {
    head: String,
    kind: String,
    task: String,
    /// What decided about the task.
    task_reason: String,
    /// Classes or labels that the head knows; of a regression, the name of the number.
    labels: &'a [String],
    /// What the strength is called: C, alpha, neighbours.
    strength_name: &'static str,
    strength: Option<f64>,
    optimality: Option<&'a Optimality>,
    selection: Option<Selection<'a>>,
    nested: Option<&'a NestedEstimate>,
    group_gap: Option<&'a GroupGap>,
    /// Of all measured parts together; of each by itself in `parts`.
    seen_groups: Option<&'a SeenGroups>,
    learning_curve: Option<&'a [LearningPoint]>,
    /// How decision values become probabilities.
    calibration: Option<String>,
    /// In the order of `labels`, or one for the second of two.
    thresholds: &'a [ChosenThreshold],
    /// The figures of every part, as the head file keeps them.
    parts: &'a Value,
    leaks: &'a Leaks,
    warnings: Vec<String>,
}

/// How the strength was chosen.
#[derive(Serialize)]
struct Selection<'a> {
    on: &'a str,
    objective: String,
    best: f64,
    chosen: f64,
    points: &'a [StrengthPoint],
}

impl Told<'_> {
    /// Under `fit`.
    pub(super) fn for_machines(&self) -> Result<Map<String, Value>, serde_json::Error> {
        Ok(Map::from_iter([("fit".to_owned(), serde_json::to_value(self.fit())?)]))
    }

    fn fit(&self) -> Fit<'_> {
        let (head, fitting) = (&self.fitting.head, self.fitting);
        let selection = fitting.choice.as_ref().map(|choice| Selection {
            on: &choice.on,
            objective: self.objective.to_string(),
            best: choice.chosen.points[choice.chosen.best].strength,
            chosen: choice.chosen.strength(),
            points: &choice.chosen.points,
        });
        Fit {
            head: self.args.output.display().to_string(),
            kind: head.kind.to_string(),
            task: self.set.task().to_string(),
            task_reason: self.set.reason.to_string(),
            labels: &head.labels,
            strength_name: head.kind.strength(),
            strength: head.strength,
            optimality: head.optimality.as_ref(),
            selection,
            nested: fitting.nested.as_ref(),
            group_gap: fitting.gap.as_ref(),
            seen_groups: fitting.seen_groups.as_ref(),
            learning_curve: fitting.learning_curve.as_deref(),
            calibration: head.calibration.as_ref().map(|calibration| calibration.method().to_string()),
            thresholds: &fitting.answers.thresholds,
            parts: &head.metrics,
            leaks: &fitting.leaks,
            warnings: self.warnings(),
        }
    }
}
