//! What `train` says on stderr: warnings first, then what was fitted, chosen and reached. Knows a finished fitting.

use indicatif::HumanCount;
use offprint::evaluate::{Fitting, Interval, LeaksOfParts, Objective, PartFigures, Quality, SeenGroups};
use offprint::heads::{Model, TRAIN, TrainingSet};
use offprint::model::Task;

use super::super::say::{counted, counted_that, remark};
use super::super::table;
use super::args::{KindName, TrainArgs};

/// A finished run.
pub(super) struct Told<'a> {
    pub args: &'a TrainArgs,
    pub set: &'a TrainingSet,
    pub fitting: &'a Fitting,
    pub kind: KindName,
    pub objective: Objective,
}

impl Told<'_> {
    pub(super) fn print(&self) {
        self.warnings().iter().for_each(|warning| remark(&format!("warning: {warning}")));
        remark(&self.fitted());
        self.remarks().iter().for_each(|line| remark(line));
        let rows: Vec<Vec<String>> =
            self.fitting.parts.iter().map(|part| summary(&part.figures, self.objective)).collect();
        remark(table::layout(&self.columns(), &rows, 40).trim_end());
        remark(&format!("head: {}", self.args.output.display()));
    }

    /// What was fitted, on what, and how near to its optimum it is.
    pub(super) fn fitted(&self) -> String {
        let (set, fitting) = (self.set, self.fitting);
        let task = set.task();
        let name = fitting.head.kind.strength();
        let strength = fitting.head.strength.unwrap_or_default();
        let chosen = fitting.choice.as_ref().filter(|choice| choice.chosen.points.len() > 1);
        let chosen =
            chosen.map_or_else(String::new, |choice| format!(" (chosen on {} by {})", choice.on, self.objective));
        let what = match task {
            Task::Classification => counted(set.classes.trained as u64, "class"),
            Task::Multilabel => format!("{} (several a row)", counted(set.classes.trained as u64, "label")),
            Task::Regression => "one number".to_owned(),
        };
        let end = match (&fitting.head.model, &fitting.head.optimality) {
            (_, Some(optimality)) if optimality.iterations > 0 => format!(
                ": converged after {} ({} {:.1e}, allowed {:.0e})",
                counted(optimality.iterations, "iteration"),
                optimality.bound.replace('_', " "),
                optimality.reached,
                optimality.allowed
            ),
            (_, Some(optimality)) => format!(
                ": solved directly ({} {:.1e}, allowed {:.0e})",
                optimality.bound.replace('_', " "),
                optimality.reached,
                optimality.allowed
            ),
            (Model::Neighbours(_), None) => ": its head holds these rows".to_owned(),
            (_, None) => String::new(),
        };
        format!(
            "{} on {} × {}, {what}, {name} = {strength}{chosen}{end}",
            self.kind.words(task),
            counted(set.rows_of(TRAIN).len() as u64, "row"),
            set.rows().dim(),
        )
    }

    /// What else was asked for, a line each.
    fn remarks(&self) -> Vec<String> {
        let (set, fitting) = (self.set, self.fitting);
        let mut lines = vec![format!("task: {} ({})", set.task(), set.reason)];
        if let Some(choice) = &fitting.choice {
            let point = &choice.chosen.points[choice.chosen.chosen];
            let spread =
                point.standard_error.map_or_else(String::new, |error| format!(" ± {error:.4} (standard error)"));
            lines.push(format!("on {}: {} {:.4}{spread}", choice.on, self.objective, point.mean));
        }
        lines.extend(fitting.leaks.pairs.iter().filter(|leak| leak.exact + leak.near == 0).filter_map(looked_for));
        if let Some(nested) = &fitting.nested {
            let spread = if nested.folds.len() > 1 { format!(", spread {:.4}", nested.spread) } else { String::new() };
            lines.push(format!("with the choice inside each fold: {} {:.4}{spread}", self.objective, nested.mean));
        }
        if let Some(gap) = &fitting.gap {
            lines.push(format!(
                "on unseen groups: {} {:.4}, on seen ones {:.4}; lost {:.4} ({:.4} to {:.4})",
                self.objective, gap.unseen.value, gap.seen.value, gap.gap.value, gap.gap.low, gap.gap.high
            ));
        }
        let of_parts = fitting.parts.iter().filter_map(|part| part.figures.groups.as_ref());
        lines.extend(of_parts.chain(&fitting.seen_groups).filter_map(of_groups));
        if let Some(curve) = &fitting.learning_curve {
            let point = |point: &offprint::evaluate::LearningPoint| format!("{:.4} on {:.0}", point.mean, point.rows);
            let points: Vec<String> = curve.iter().map(point).collect();
            lines.push(format!("{} by rows: {}", self.objective, points.join(", ")));
        }
        lines.extend(self.settled());
        lines
    }

    /// How answers are read, and what that came to on the parts that the head was not fitted on.
    fn settled(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(calibration) = &self.fitting.head.calibration {
            lines.push(format!("calibration: {}, on rows that were left out of the fits", calibration.method()));
        }
        let thresholds = self.fitting.answers.thresholds.iter().map(|one| one.value);
        match thresholds.clone().count() {
            0 => {}
            1 => lines.push(format!("threshold: {:.4}", thresholds.sum::<f64>())),
            count => {
                let (least, most) = thresholds.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
                    (f64::min(least, value), f64::max(most, value))
                });
                lines.push(format!("thresholds: {count}, from {least:.4} to {most:.4}"));
            }
        }
        for part in self.fitting.parts.iter().map(|part| &part.figures).filter(|part| part.part != TRAIN) {
            let name = &part.part;
            lines.extend(part.answered.map(|(answered, right)| {
                format!(
                    "{name}: {:.1} % of the rows get a label, {:.1} % of these the right one",
                    100.0 * answered,
                    100.0 * right
                )
            }));
            lines.extend(part.sets.map(|(held, size)| {
                format!("{name}: {:.1} % of the sets hold the right label, {size:.2} labels in the mean", 100.0 * held)
            }));
        }
        lines
    }

    pub(super) fn columns(&self) -> Vec<&'static str> {
        let figures: &[&'static str] = match self.set.task() {
            Task::Classification => &["accuracy", "f1_macro"],
            Task::Multilabel => &["f1_micro", "f1_macro", "f1_samples"],
            Task::Regression => &["r2", "mae", "rmse", "kendalltau"],
        };
        [&["part", "rows"], figures, &["95 % interval"]].concat()
    }
}

/// That near twins were looked for among some rows alone, where none was found.
pub(super) fn looked_for(leak: &LeaksOfParts) -> Option<String> {
    let rest = leak.drawn_from()?;
    let compared = counted_that(leak.compared as u64, "row", ("was", "were"));
    let (earlier, later, rest) = (&leak.earlier, &leak.later, HumanCount(rest as u64));
    Some(format!("of {later} {compared} compared with {earlier} (drawn from {rest}), and none is nearly the same"))
}

/// What rows of seen and unseen groups reach, or that all are of one sort.
fn of_groups(groups: &SeenGroups) -> Option<String> {
    let SeenGroups { parts, objective, seen_rows, unseen_rows, .. } = groups;
    let parts = parts.join(" and ");
    if *seen_rows == 0 || *unseen_rows == 0 {
        let which = if *seen_rows == 0 { "train lacks" } else { "train has" };
        return Some(format!(
            "{parts}: {}, all of groups that {which}",
            counted((seen_rows + unseen_rows) as u64, "row")
        ));
    }
    let figure = |interval: Option<Interval>| interval.map_or("no figure".to_owned(), |at| format!("{:.4}", at.value));
    let lost = groups
        .lost
        .map_or_else(String::new, |lost| format!("; lost {:.4} ({:.4} to {:.4})", lost.value, lost.low, lost.high));
    Some(format!(
        "{parts}: {objective} {} on {} of groups that train has, {} on {} of others{lost}",
        figure(groups.seen),
        counted(*seen_rows as u64, "row"),
        figure(groups.unseen),
        counted(*unseen_rows as u64, "row"),
    ))
}

/// The figures of one part, as columns have them.
pub(super) fn numbers(part: &PartFigures) -> Vec<Option<f64>> {
    match &part.quality {
        Quality::Label(report) => vec![Some(report.accuracy), Some(report.f1_macro)],
        Quality::Labels(report) => vec![Some(report.f1_micro), Some(report.f1_macro), Some(report.f1_samples)],
        Quality::Value(report) => vec![report.r2, Some(report.mae), Some(report.rmse), report.kendalltau],
    }
}

/// The interval of what the choice goes by, else of the first of the main figures.
pub(super) fn interval(part: &PartFigures, objective: Objective) -> String {
    let chosen_by = part.figures.iter().find(|figure| figure.objective == objective.name());
    chosen_by.or(part.figures.first()).map_or_else(String::new, |figure| {
        format!("{} {:.4} to {:.4}", figure.objective, figure.interval.low, figure.interval.high)
    })
}

fn summary(part: &PartFigures, objective: Objective) -> Vec<String> {
    let figure = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
    let mut cells = vec![part.part.clone(), part.rows.to_string()];
    cells.extend(numbers(part).into_iter().map(figure));
    cells.push(interval(part, objective));
    cells
}
