//! The report page of `train`. Knows a finished fitting and the building blocks of pages, no HTML. Invariant: what a
//! section shows is in the fitting; nothing is computed here but the places of a map.

use offprint::evaluate::{ClassFigures, Interval, MeasuredPart, PartReport, Quality, SeenGroups, plane_map};
use offprint::heads::{TRAIN, Targets};
use offprint::report::{Axis, Cell, Point, Report, Section, Series};

use super::tell::{Told, interval, numbers};

/// Points of the map, and of numbers against numbers, at most.
const MOST_POINTS: usize = 600;
/// Classes with a colour of their own on the map.
const MOST_COLOURS: usize = 7;
/// Leaks that are listed.
const MOST_LEAKS: usize = 20;

impl Told<'_> {
    pub(super) fn report(&self) -> Report {
        let (set, fitting) = (self.set, self.fitting);
        let mut report = Report::new(&format!("Head for {}", self.args.labels.label));
        report.push_environment("kind", fitting.head.kind.to_string());
        report.push_environment("task", set.task().to_string());
        report.push_environment(fitting.head.kind.strength(), fitting.head.strength);
        report.push_environment("train rows", set.rows_of(TRAIN).len());
        report.push_environment("seed", self.args.selection.seed);
        report.push(self.quality());
        report.push(Section::note("Fit", &(self.fitted() + ".")));
        self.push_choice(&mut report);
        let measured = || fitting.parts.iter().filter(|part| fitting.parts.len() == 1 || part.figures.part != TRAIN);
        measured().for_each(|part| self.push_measured(&mut report, part));
        self.push_thresholds(&mut report);
        self.push_map(&mut report);
        self.push_leaks(&mut report);
        if set.unlabelled > 0 {
            report.push(Section::note("Left out", &(self.left_out() + ".")));
        }
        report
    }

    fn quality(&self) -> Section {
        let row = |part: &MeasuredPart| {
            let figures = &part.figures;
            let mut cells: Vec<Cell> = vec![figures.part.as_str().into(), figures.rows.into()];
            cells.extend(numbers(figures).into_iter().map(Cell::from));
            cells.push(interval(figures, self.objective).into());
            cells
        };
        Section::table("Quality", &self.columns(), self.fitting.parts.iter().map(row).collect())
    }

    /// The path over strengths, what groups cost, and what more labels would bring.
    fn push_choice(&self, report: &mut Report) {
        let (fitting, name) = (self.fitting, self.objective.name());
        if let Some(choice) = fitting.choice.as_ref().filter(|choice| choice.chosen.points.len() > 1) {
            let strength = choice.chosen.name.name;
            let point = |point: &offprint::evaluate::StrengthPoint| {
                let interval = Some((point.mean - point.spread, point.mean + point.spread));
                Point { x: point.strength, y: point.mean, interval }
            };
            let points = choice.chosen.points.iter().map(point).collect();
            let series = Series { name: format!("{name}, with its spread over the folds"), points };
            let axes = [Axis::logarithmic(strength), Axis::linear(name)];
            report.push(Section::plot(&format!("{name} by {strength}, on {}", choice.on), axes, vec![series]));
        }
        let mut facts: Vec<(String, Cell)> = Vec::new();
        if let Some(nested) = &fitting.nested {
            facts.push((format!("{name} with the choice inside each fold"), nested.mean.into()));
            facts.push(("its spread over the folds".to_owned(), nested.spread.into()));
        }
        if let Some(gap) = &fitting.gap {
            facts.push((format!("{name} on groups seen in training"), gap.seen.value.into()));
            facts.push((format!("{name} on unseen groups"), gap.unseen.value.into()));
            facts.push(("lost on unseen groups".to_owned(), gap.gap.value.into()));
            facts.push(("its 95 % interval".to_owned(), format!("{:.4} to {:.4}", gap.gap.low, gap.gap.high).into()));
        }
        if let Some(groups) = fitting.seen_groups.as_ref().filter(|groups| groups.seen_rows.min(groups.unseen_rows) > 0)
        {
            let parts = groups.parts.join(" and ");
            facts.extend(facts_of_groups(groups).into_iter().map(|(name, cell)| (format!("{parts}: {name}"), cell)));
        }
        if !facts.is_empty() {
            report.push(Section::facts("Beyond these rows", facts));
        }
        if let Some(curve) = &fitting.learning_curve {
            let point = |point: &offprint::evaluate::LearningPoint| {
                let interval = Some((point.mean - point.spread, point.mean + point.spread));
                Point { x: point.rows.round(), y: point.mean, interval }
            };
            let series = Series {
                name: format!("{name}, with its spread over the folds"),
                points: curve.iter().map(point).collect(),
            };
            let axes = [Axis::logarithmic("rows fitted on"), Axis::linear(name)];
            report.push(Section::plot("Learning curve", axes, vec![series]));
        }
    }

    fn push_measured(&self, report: &mut Report, part: &MeasuredPart) {
        let name = &part.figures.part;
        match &part.figures.quality {
            Quality::Label(quality) => push_part(report, quality, &str::to_owned),
            Quality::Labels(quality) => {
                push_figures(report, &format!("Labels in {name}"), &quality.classes, &quality.per_class);
            }
            Quality::Value(_) => self.push_numbers(report, part),
        }
        if !part.curves.is_empty() {
            let labels = &self.fitting.head.labels;
            let series = part.curves.iter().map(|curve| Series {
                name: format!(
                    "{} (average precision {:.3})",
                    curve.label.map_or("all labels together", |label| labels[label].as_str()),
                    curve.average_precision
                ),
                points: curve.points.iter().map(|&(x, y)| Point { x, y, interval: None }).collect(),
            });
            let axes = [Axis::linear("recall"), Axis::linear("precision")];
            report.push(Section::plot(&format!("Precision and recall in {name}"), axes, series.collect()));
        }
        self.push_reliability(report, part);
        self.push_mistakes(report, part);
    }

    fn push_reliability(&self, report: &mut Report, part: &MeasuredPart) {
        let (name, figures) = (&part.figures.part, &part.figures);
        if let Some(reliability) = &part.reliability {
            let point = |x: f64, y: f64| Point { x, y, interval: None };
            let filled = reliability.bins.iter().filter_map(|bin| Some(point(bin.probability?, bin.right?)));
            let points = filled.collect();
            let series = vec![
                Series { name: "answers".to_owned(), points },
                Series { name: "as claimed".to_owned(), points: vec![point(0.0, 0.0), point(1.0, 1.0)] },
            ];
            let axes = [Axis::linear("probability"), Axis::linear("share that is right")];
            report.push(Section::plot(&format!("Reliability in {name}"), axes, series));
        }
        let mut facts: Vec<(String, Cell)> = Vec::new();
        let mut push = |name: &str, cell: Cell| facts.push((name.to_owned(), cell));
        if let Some(reliability) = &part.reliability {
            push("expected calibration error", reliability.ece.into());
            push("Brier score", reliability.brier.into());
        }
        if let Some((share, right)) = figures.answered {
            push("share of rows that get a label", share.into());
            push("share of these that is right", right.into());
        }
        if let Some((covered, size)) = figures.sets {
            push("share of sets with the right label", covered.into());
            push("labels in a set", size.into());
        }
        figures.figures.iter().for_each(|figure| push(figure.objective, with_ends(&figure.interval)));
        facts.extend(figures.groups.iter().flat_map(facts_of_groups));
        if !facts.is_empty() {
            report.push(Section::facts(&format!("Figures of {name}"), facts));
        }
    }

    /// Predicted against right numbers, some of many.
    fn push_numbers(&self, report: &mut Report, part: &MeasuredPart) {
        let step = part.numbers.len().div_ceil(MOST_POINTS).max(1);
        let points = part.numbers.iter().step_by(step).map(|&(x, y)| Point { x, y, interval: None }).collect();
        let series = vec![Series { name: "papers".to_owned(), points }];
        let axes = [Axis::linear(&format!("{}, right", self.args.labels.label)), Axis::linear("predicted")];
        report.push(Section::scatter(&format!("Predicted and right in {}", part.figures.part), axes, series));
    }

    fn push_mistakes(&self, report: &mut Report, part: &MeasuredPart) {
        use offprint::evaluate::GivenAnswer;
        if part.mistakes.is_empty() {
            return;
        }
        let labels = &self.fitting.head.labels;
        let rows = part.mistakes.iter().map(|mistake| {
            let row = part.rows[mistake.row];
            let given: (String, f64) = match mistake.given {
                GivenAnswer::Class { class, answer, .. } => (labels[class].clone(), answer),
                GivenAnswer::Label { label, answer, is_right } => {
                    (format!("{}{}", if is_right { "without " } else { "" }, labels[label]), answer)
                }
                GivenAnswer::Number(number) => (String::new(), number),
            };
            vec![
                Cell::from(self.set.ids[row].as_str()),
                self.set.titles[row].as_str().into(),
                self.set.truth_of(row).into(),
                given.0.into(),
                given.1.into(),
            ]
        });
        let columns = ["id", "title", "right", "given", "answer"];
        report.push(Section::table(&format!("Worst mistakes in {}", part.figures.part), &columns, rows.collect()));
    }

    fn push_thresholds(&self, report: &mut Report) {
        let (thresholds, labels) = (&self.fitting.answers.thresholds, &self.fitting.head.labels);
        if thresholds.is_empty() {
            return;
        }
        // Of two classes there is one, that of the second.
        let names = &labels[labels.len() - thresholds.len()..];
        let rows = names.iter().zip(thresholds).map(|(name, one)| {
            vec![
                Cell::from(name.as_str()),
                one.value.into(),
                one.precision.into(),
                one.recall.into(),
                one.f1.into(),
                if one.reached { "yes" } else { "no" }.into(),
            ]
        });
        let columns = ["label", "threshold", "precision", "recall", "f1", "reached"];
        report.push(Section::table("Thresholds, on rows that were left out", &columns, rows.collect()));
    }

    /// The embeddings in a plane, some of many.
    fn push_map(&self, report: &mut Report) {
        let rows = self.set.splits.len();
        let step = rows.div_ceil(MOST_POINTS).max(1);
        let numbers: Vec<usize> = (0..rows).step_by(step).collect();
        let Some(map) = plane_map(self.set.rows(), &numbers) else { return };
        let groups = self.colours(&numbers);
        let points = |of: &[usize]| {
            let point = |&at: &usize| Point { x: map.points[at][0], y: map.points[at][1], interval: None };
            of.iter().map(point).collect()
        };
        let series = groups.into_iter().map(|(name, of)| Series { name, points: points(&of) }).collect();
        let [first, second] = map.shares.map(|share| format!("{:.0} % of the variance", 100.0 * share));
        let axes =
            [Axis::linear(&format!("first component, {first}")), Axis::linear(&format!("second component, {second}"))];
        report.push(Section::scatter("Map of the embeddings", axes, series));
    }

    /// Places of rows by what is right for them: the most frequent classes, then the others; the quarters of a number.
    fn colours(&self, rows: &[usize]) -> Vec<(String, Vec<usize>)> {
        let class = |row: usize| match &self.set.targets {
            Targets::Classes { of, .. } => Some(of[row]),
            Targets::Labels { of, .. } => of[row].first().copied(),
            Targets::Numbers(_) => None,
        };
        if let Targets::Numbers(numbers) = &self.set.targets {
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_by(|&a, &b| numbers[[rows[a], 0]].total_cmp(&numbers[[rows[b], 0]]));
            let quarter = order.len().div_ceil(4).max(1);
            let named = |places: &[usize]| {
                let [low, high] =
                    [places.first(), places.last()].map(|place| place.map_or(0.0, |&at| numbers[[rows[at], 0]]));
                (format!("{low:.4} to {high:.4}"), places.to_vec())
            };
            return order.chunks(quarter).map(named).collect();
        }
        let mut of_class: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut none: Vec<usize> = Vec::new();
        for (at, &row) in rows.iter().enumerate() {
            match class(row) {
                None => none.push(at),
                Some(class) => match of_class.iter_mut().find(|(other, _)| *other == class) {
                    Some((_, places)) => places.push(at),
                    None => of_class.push((class, vec![at])),
                },
            }
        }
        of_class.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then(a.0.cmp(&b.0)));
        let rest: Vec<usize> =
            of_class.iter().skip(MOST_COLOURS).flat_map(|(_, places)| places).chain(&none).copied().collect();
        let several = matches!(self.set.targets, Targets::Labels { .. });
        let name = |class: usize| {
            let name = &self.set.classes.names[class];
            if several { format!("{name}, first of its labels") } else { name.clone() }
        };
        let mut groups: Vec<(String, Vec<usize>)> =
            of_class.into_iter().take(MOST_COLOURS).map(|(class, places)| (name(class), places)).collect();
        if !rest.is_empty() {
            groups.push(("others".to_owned(), rest));
        }
        groups
    }

    fn push_leaks(&self, report: &mut Report) {
        let pairs = &self.fitting.leaks.pairs;
        if pairs.is_empty() {
            return;
        }
        let near = self.fitting.leaks.threshold;
        let row = |pair: &offprint::evaluate::LeaksOfParts| {
            let name = format!("{} in {}", pair.later, pair.earlier);
            let cells = vec![Cell::from(name), pair.rows.into(), pair.exact.into()];
            let of_near = near.map(|_| [Cell::from(pair.near), pair.compared.into()]);
            cells.into_iter().chain(of_near.into_iter().flatten()).collect()
        };
        let nearly = near.map(|cosine| format!("nearly (cosine from {cosine})"));
        let mut columns = vec!["rows of a part in an earlier one", "rows", "exactly"];
        columns.extend(nearly.iter().flat_map(|nearly| [nearly.as_str(), "compared"]));
        report.push(Section::table("Leaks between parts", &columns, pairs.iter().map(row).collect()));
        let twins: Vec<Vec<Cell>> = pairs
            .iter()
            .flat_map(|pair| pair.twins.iter().map(move |twin| (pair, twin)))
            .take(MOST_LEAKS)
            .map(|(pair, twin)| {
                vec![
                    Cell::from(twin.later.as_str()),
                    pair.later.as_str().into(),
                    twin.earlier.as_str().into(),
                    pair.earlier.as_str().into(),
                    twin.cosine.into(),
                ]
            })
            .collect();
        if !twins.is_empty() {
            let columns = ["id", "part", "twin", "its part", "cosine"];
            report.push(Section::table("Rows with a twin", &columns, twins));
        }
    }
}

fn with_ends(interval: &Interval) -> Cell {
    format!("{:.4}, {:.4} to {:.4}", interval.value, interval.low, interval.high).into()
}

/// Rows of groups that `train` has and of others, with what they reach.
fn facts_of_groups(groups: &SeenGroups) -> Vec<(String, Cell)> {
    let name = groups.objective;
    let mut facts: Vec<(String, Cell)> = vec![("rows of groups that train has".to_owned(), groups.seen_rows.into())];
    facts.extend(groups.seen.as_ref().map(|seen| (format!("{name} on them"), with_ends(seen))));
    facts.push(("rows of other groups".to_owned(), groups.unseen_rows.into()));
    facts.extend(groups.unseen.as_ref().map(|unseen| (format!("{name} on these"), with_ends(unseen))));
    facts.extend(groups.lost.as_ref().map(|lost| (format!("{name} lost on other groups"), with_ends(lost))));
    facts
}

/// Per-class figures and the confusion matrix of one part, under titles that `title` completes.
pub(crate) fn push_part(report: &mut Report, part: &PartReport, title: &dyn Fn(&str) -> String) {
    push_figures(report, &title(&format!("Classes in {}", part.part)), &part.classes, &part.per_class);
    let confusion = title(&format!("Confusion in {}", part.part));
    if part.confusion.is_empty() {
        let text = format!("Not drawn: there are {} classes.", part.classes.len());
        report.push(Section::note(&confusion, &text));
    } else {
        report.push(Section::confusion(&confusion, &part.classes, &part.confusion));
    }
}

/// A table with the figures of each class.
pub(crate) fn push_figures(report: &mut Report, title: &str, classes: &[String], figures: &[ClassFigures]) {
    let rows = classes.iter().zip(figures).map(|(name, class)| {
        vec![
            Cell::from(name.as_str()),
            class.support.into(),
            class.precision.into(),
            class.recall.into(),
            class.f1.into(),
        ]
    });
    report.push(Section::table(title, &["class", "rows", "precision", "recall", "f1"], rows.collect()));
}
