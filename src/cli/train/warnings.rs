//! What a reader of the figures should doubt, as warnings in `train`'s output, its JSON and its page. Knows a finished
//! fitting. Invariant: everything of that kind is a warning.

use std::collections::BTreeSet;

use indicatif::HumanCount;
use offprint::evaluate::{ClassFigures, LeaksOfParts, PartFigures, Quality};
use offprint::heads::{DEV, TRAIN};
use offprint::model::Task;

use super::super::say::{counted, counted_that};
use super::tell::Told;

/// More labels than half of the rows are worth a look, if they are this many.
const MANY_LABELS: usize = 20;
/// Pairs of labels that look alike that are named.
const MOST_LOOK_ALIKES: usize = 5;

impl Told<'_> {
    /// What somebody who reads the figures should doubt.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = self.of_rows();
        warnings.extend(self.of_labels());
        warnings.extend(self.of_folds());
        warnings.extend(self.fitting.parts.iter().flat_map(|part| of_part(&part.figures)));
        let near = self.fitting.leaks.threshold.is_some();
        let found = self.fitting.leaks.pairs.iter().filter(|leak| leak.exact + leak.near > 0);
        warnings.extend(found.map(|leak| leaked(leak, near)));
        warnings.extend(self.fitting.parts.iter().find_map(|part| constant(&part.figures)));
        warnings.extend(self.unreached());
        warnings.extend(self.seen_by_answers());
        warnings.extend(self.edge());
        warnings
    }

    /// Rows that take no part, and sides of the split that say nothing.
    fn of_rows(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.set.unlabelled > 0 {
            warnings.push(self.left_out());
        }
        if self.set.without_split > 0 {
            let verbs = ("names no part of the split and was left out", "name no part of the split and were left out");
            warnings.push(counted_that(self.set.without_split, "labelled row", verbs));
        }
        if self.set.parts() == [TRAIN] {
            warnings.push("no row is held out, so all figures are of rows that the head was fitted on".to_owned());
        }
        for (names, field, what) in [
            (&self.set.groups, &self.args.labels.group_field, "each is a group by itself"),
            (&self.set.folds, &self.args.labels.fold_field, "fitted on in every fold, scored in none"),
        ] {
            let (Some(names), Some(field)) = (names, field) else { continue };
            let without = self.set.rows_of(TRAIN).into_iter().filter(|&row| names[row].is_none()).count();
            if without > 0 {
                let [one, several] = ["names", "name"].map(|names| format!("of {TRAIN} {names} no `{field}`: {what}"));
                warnings.push(counted_that(without as u64, "row", (&one, &several)));
            }
        }
        if self.set.groups.is_some() && self.fitting.choice.is_none() {
            let groups = self.set.groups_in(&self.set.rows_of(TRAIN)) as u64;
            let hint = if groups > 1 { "; fewer `--folds` do" } else { "" };
            let groups = counted(groups, "group");
            warnings.push(format!("the train rows are of {groups}, too few to measure what unseen ones lose{hint}"));
        }
        warnings
    }

    /// Labels that may be meant as one, and those that hardly any other row has.
    fn of_labels(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let (labels, rows) = (self.set.classes.trained, self.set.rows_of(TRAIN).len());
        if self.set.task() == Task::Classification && labels > MANY_LABELS && 2 * labels > rows {
            let field = &self.args.labels.label;
            warnings.push(format!(
                "{rows} rows of {TRAIN} have {labels} labels; if `{field}` holds numbers, `--task regression` says which rows have none"
            ));
        }
        for alike in self.set.look_alikes.iter().take(MOST_LOOK_ALIKES) {
            let [(one, of_one), (other, of_other)] = &alike.labels;
            let rows = [of_one, of_other].map(|&rows| match rows {
                0 => "no train row".to_owned(),
                rows => counted(rows as u64, "train row"),
            });
            warnings.push(format!(
                "labels `{one}` ({}) and `{other}` ({}) differ by case or blanks alone, and count as two",
                rows[0], rows[1]
            ));
        }
        match self.set.look_alikes.len().saturating_sub(MOST_LOOK_ALIKES) {
            0 => {}
            1 => warnings.push("1 more pair of labels differs by case or blanks alone".to_owned()),
            more => warnings.push(format!("{more} more pairs of labels differ by case or blanks alone")),
        }
        warnings
    }

    /// Labels that folds lack.
    fn of_folds(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (in_training, what) in [(true, "to fit on, so they are never given there"), (false, "to score on")] {
            let missing = self.fitting.missing.iter().filter(|one| one.in_training == in_training);
            let classes: BTreeSet<usize> = missing.map(|one| one.class).collect();
            if let Some(first) = classes.first() {
                let name = &self.set.classes.names[*first];
                let labels = counted_that(classes.len() as u64, "label", ("has", "have"));
                warnings.push(format!("{labels} no rows {what} in some folds; the first is `{name}`"));
            }
        }
        warnings
    }

    /// A choice at the end of the grid says that the grid should go on.
    fn edge(&self) -> Option<String> {
        let chosen = &self.fitting.choice.as_ref()?.chosen;
        let last = chosen.points.len() - 1;
        if last < 2 || (chosen.best != 0 && chosen.best != last) {
            return None;
        }
        let (name, strength) = (chosen.name.name, chosen.points[chosen.best].strength);
        let which = if chosen.best == 0 { "smallest" } else { "largest" };
        Some(format!("{name} = {strength} is best and the {which} that was tried; better ones may lie beyond"))
    }

    /// Thresholds that do not do what was asked.
    fn unreached(&self) -> Option<String> {
        let thresholds = &self.fitting.answers.thresholds;
        let missed: Vec<usize> = (0..thresholds.len()).filter(|&label| !thresholds[label].reached).collect();
        let first = *missed.first()?;
        let labels = &self.fitting.head.labels;
        let name = if thresholds.len() == labels.len() { &labels[first] } else { labels.last()? };
        let rule = self.args.answers.thresholds.as_deref().unwrap_or_default();
        let said = counted_that(missed.len() as u64, "label", ("does", "do"));
        Some(format!("{said} not reach `{rule}` with any threshold; the first is `{name}`"))
    }

    /// Figures of rows that calibration, thresholds or sets were settled on.
    fn seen_by_answers(&self) -> Option<String> {
        let (answers, head) = (&self.args.answers, &self.fitting.head);
        let settled = [
            ("calibration", answers.calibration.is_some()),
            ("thresholds", answers.thresholds.is_some()),
            ("sets", head.conformal.is_some()),
        ];
        let settled: Vec<&str> = settled.iter().filter(|(_, settled)| *settled).map(|(name, _)| *name).collect();
        let on_dev = self.fitting.choice.as_ref().is_some_and(|choice| choice.on == DEV);
        (on_dev && !settled.is_empty()).then(|| {
            let settled = settled.join(" and ");
            format!(
                "figures of {DEV} are better than new papers will give, for its rows settled {settled}; `--folds 5` leaves \
                 that to {TRAIN}"
            )
        })
    }

    /// Rows that have no label.
    pub(super) fn left_out(&self) -> String {
        let field = &self.args.labels.label;
        let [one, several] =
            [("has", "was"), ("have", "were")].map(|(has, was)| format!("{has} no `{field}` and {was} left out"));
        counted_that(self.set.unlabelled, "row", (&one, &several))
    }
}

/// Rows of a part that an earlier one has, each sort of those that were looked at; `near`: near twins were looked for.
fn leaked(leak: &LeaksOfParts, near_too: bool) -> String {
    let LeaksOfParts { earlier, later, rows, exact, compared, near, .. } = leak;
    let rows = counted(*rows as u64, "row");
    match leak.drawn_from() {
        None if !near_too => {
            format!("{exact} of {rows} of {later} are also in {earlier} exactly; near ones were not looked for")
        }
        None => {
            format!("{} of {rows} of {later} are also in {earlier} ({exact} exactly, {near} nearly)", exact + near)
        }
        Some(rest) => format!(
            "of {rows} of {later}, {exact} are also in {earlier} exactly, and nearly {near} of {} compared (drawn from {})",
            HumanCount(*compared as u64),
            HumanCount(rest as u64)
        ),
    }
}

/// A head that says the same of all rows that it was fitted on.
fn constant(part: &PartFigures) -> Option<String> {
    let says = match &part.quality {
        _ if part.part != TRAIN => return None,
        Quality::Label(report) => {
            let held = |class: &&ClassFigures| class.support > 0;
            let several = report.per_class.iter().filter(held).count() > 1;
            let all = |class: &ClassFigures| class.recall == 1.0 && (class.precision - report.accuracy).abs() < 1e-12;
            let class = report.per_class.iter().position(|class| several && all(class))?;
            format!("gives `{}` to every row of {TRAIN}", report.classes[class])
        }
        Quality::Labels(report) if report.f1_micro == 0.0 => format!("gives no row of {TRAIN} a label that it has"),
        Quality::Value(report) if report.r2.is_some_and(|r2| r2 < 1e-9) => {
            format!("explains nothing of {TRAIN} (r2 {:.4})", report.r2.unwrap_or_default())
        }
        Quality::Labels(_) | Quality::Value(_) => return None,
    };
    Some(format!("the head {says}, on which it was fitted: another strength, kind or scale of the numbers may help"))
}

/// Labels of a part that the head doesn't know.
fn of_part(part: &PartFigures) -> Vec<String> {
    let mut warnings = Vec::new();
    let unknown = unknown_labels(part);
    if unknown > 0 {
        let [one, several] = ["has", "have"].map(|has| format!("of {} {has} a label that no train row has", part.part));
        warnings.push(counted_that(unknown, "row", (&one, &several)));
    }
    if part.left_out > 0 {
        let said = |was: &str| format!("of {} {was} left out: no train row has the label", part.part);
        warnings.push(counted_that(part.left_out as u64, "row", (&said("was"), &said("were"))));
    }
    warnings
}

/// Rows of a part with labels that the head doesn't know.
fn unknown_labels(part: &PartFigures) -> u64 {
    match &part.quality {
        Quality::Label(report) => report.unknown_labels as u64,
        Quality::Labels(report) => report.unknown_labels,
        Quality::Value(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tell::looked_for;
    use super::*;

    #[test]
    fn leaks_of_drawn_rows_are_of_those_that_were_compared() {
        let leak = |exact, compared, near| LeaksOfParts {
            earlier: "train".to_owned(),
            later: "test".to_owned(),
            rows: 5000,
            exact,
            compared,
            near,
            twins: Vec::new(),
        };
        assert_eq!(leaked(&leak(2, 4998, 3), true), "5 of 5,000 rows of test are also in train (2 exactly, 3 nearly)");
        let drawn =
            "of 5,000 rows of test, 2 are also in train exactly, and nearly 3 of 1,000 compared (drawn from 4,998)";
        assert_eq!(leaked(&leak(2, 1000, 3), true), drawn);
        let exact = "2 of 5,000 rows of test are also in train exactly; near ones were not looked for";
        assert_eq!((leaked(&leak(2, 0, 0), false).as_str(), looked_for(&leak(2, 0, 0))), (exact, None));
        assert_eq!(looked_for(&leak(0, 5000, 0)), None);
        let said = looked_for(&leak(0, 1000, 0)).unwrap();
        let none = "of test 1,000 rows were compared with train (drawn from 5,000), and none is nearly the same";
        assert_eq!(said, none);
    }
}
