//! What a run of `classify` came to: a table and figures on the terminal, sections of the report page.

use std::path::Path;

use anyhow::Result;
use indicatif::HumanCount;
use offprint::evaluate::{self, Bin, Histogram, MOST_OTHER_LABELS, Regression, SeveralReport};
use offprint::heads::Meaning;
use offprint::output::{Answer, AnswerCounts, HeadOutcome, Measured, Preview};
use offprint::report::{Cell, Report, Section};

use super::say::{counted, counted_that, remark, say};
use super::table;
use super::train::{push_figures, push_part};

/// The outcome of each head, and the field that it was measured by.
pub(super) struct Shown<'a> {
    pub(super) heads: &'a [HeadOutcome],
    pub(super) fields: Vec<Option<&'a str>>,
}

/// Widest cell of the table, in characters.
const WIDEST: usize = 70;

impl Shown<'_> {
    /// What stands before names and titles: the head's name where there are several.
    fn prefix(&self, head: &HeadOutcome, between: &str) -> String {
        if self.heads.len() == 1 { String::new() } else { format!("{}{between}", head.name) }
    }

    /// The first papers on stdout, and where the others are.
    pub(super) fn print_table(&self, preview: &[Preview], output: Option<&Path>, papers: u64) -> Result<()> {
        if preview.is_empty() {
            return Ok(());
        }
        let mut header = vec!["title".to_owned()];
        for head in self.heads {
            header.extend(column_names(head).iter().map(|name| self.prefix(head, "_") + name));
        }
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let rows: Vec<Vec<String>> = preview
            .iter()
            .map(|row| std::iter::once(row.title.clone()).chain(row.answers.iter().flat_map(cells)).collect())
            .collect();
        say(table::layout(&header, &rows, WIDEST).trim_end())?;
        let more = papers.saturating_sub(preview.len() as u64);
        if more > 0 {
            match output {
                Some(output) => say(&format!("... and {more} more in {}", output.display()))?,
                None => say(&format!("... and {more} more; `-o FILE` writes them all"))?,
            }
        }
        Ok(())
    }

    /// What was measured, and where predictions are.
    pub(super) fn print_quality(&self, output: Option<&Path>) {
        for (head, field) in self.heads.iter().zip(&self.fields) {
            let (Some(measured), Some(field)) = (&head.measured, field) else { continue };
            let prefix = self.prefix(head, " ");
            match figures(measured) {
                Ok(Figures { rows, lines, unknown, ranked }) => {
                    for (name, figures) in lines {
                        let name = if name.is_empty() { name } else { format!("{name} ") };
                        let figures: Vec<String> =
                            figures.into_iter().map(|(name, figure)| format!("{name} {}", decimals(figure))).collect();
                        let papers = counted(rows, "paper");
                        remark(&format!("{prefix}{name}against `{field}` of {papers}: {}", figures.join(", ")));
                    }
                    if let Some(drawn) = drawn(ranked, rows) {
                        remark(&format!("note: {drawn}"));
                    }
                    if unknown > 0 {
                        let one = format!("in `{field}` is none of the head's; it counts as missed");
                        let several = format!("in `{field}` are none of the head's; they count as missed");
                        remark(&format!("warning: {}", counted_that(unknown, "label", (&one, &several))));
                    }
                }
                Err(error) => remark(&format!("warning: {prefix}{}", nothing_measured(field, error))),
            }
        }
        if let Some(output) = output {
            remark(&format!("predictions: {}", output.display()));
        }
    }

    /// The sections of the page: for each head what it gave and how good it is.
    pub(super) fn report(&self) -> Report {
        let mut report = Report::new("Predictions");
        for (head, field) in self.heads.iter().zip(&self.fields) {
            let title = |title: &str| match self.heads.len() {
                1 => title.to_owned(),
                _ => format!("{}: {}{}", head.name, title[..1].to_lowercase(), &title[1..]),
            };
            push_counts(&mut report, &head.counts, &title);
            if let (Some(measured), Some(field)) = (&head.measured, field) {
                push_quality(&mut report, (measured, field), &title);
            }
        }
        report
    }
}

/// Names of a head's columns in the table.
fn column_names(head: &HeadOutcome) -> Vec<String> {
    match &head.counts {
        AnswerCounts::Label(_) => {
            let beside = if head.meaning == Meaning::Score { "score" } else { "probability" };
            vec!["label".to_owned(), beside.to_owned()]
        }
        AnswerCounts::Labels { .. } => vec!["labels".to_owned()],
        AnswerCounts::Values(values) if values.len() == 1 => vec!["value".to_owned()],
        AnswerCounts::Values(values) => values.iter().map(|(name, _)| name.clone()).collect(),
    }
}

fn cells(answer: &Answer) -> Vec<String> {
    match answer {
        Answer::Label { label, probability, .. } => vec![label.to_string(), format!("{probability:.3}")],
        Answer::Labels(pairs) if pairs.is_empty() => vec!["–".to_owned()],
        Answer::Labels(pairs) => {
            let pairs = pairs.iter().map(|(label, probability)| format!("{label} {probability:.3}"));
            vec![pairs.collect::<Vec<_>>().join(", ")]
        }
        Answer::Values(values) => values.iter().map(|value| format!("{value:.4}")).collect(),
    }
}

/// Figures by their names; none where the rows have no such figure.
type Line = Vec<(&'static str, Option<f64>)>;

/// Figures of a head.
struct Figures {
    rows: u64,
    /// One line without a name, or, of several numbers, one for each under its name.
    lines: Vec<(String, Line)>,
    /// Right labels that the head doesn't have.
    unknown: u64,
    /// Rows that rank correlations are of.
    ranked: u64,
}

fn figures(measured: &Measured) -> Result<Figures, &evaluate::Error> {
    Ok(match measured {
        Measured::Label(part) => {
            let part = part.as_ref()?;
            let line = vec![("accuracy", Some(part.accuracy)), ("macro-F1", Some(part.f1_macro))];
            let (rows, unknown) = (part.rows as u64, part.unknown_labels as u64);
            Figures { rows, lines: vec![(String::new(), line)], unknown, ranked: rows }
        }
        Measured::Labels(report) => {
            let SeveralReport { rows, f1_micro, f1_macro, f1_samples, unknown_labels, .. } = report.as_ref()?;
            let line =
                vec![("micro-F1", Some(*f1_micro)), ("macro-F1", Some(*f1_macro)), ("samples-F1", Some(*f1_samples))];
            Figures { rows: *rows, lines: vec![(String::new(), line)], unknown: *unknown_labels, ranked: *rows }
        }
        Measured::Values(values) => {
            let values = values.as_ref()?;
            let name = |name: &String| if values.len() == 1 { String::new() } else { name.clone() };
            let lines = values.iter().map(|(label, measured)| (name(label), figures_of_numbers(measured))).collect();
            let (rows, ranked) = values.first().map_or((0, 0), |(_, measured)| (measured.rows, measured.ranked));
            Figures { rows, lines, unknown: 0, ranked }
        }
    })
}

/// Says where Kendall's tau-b is not that of all rows.
fn drawn(ranked: u64, rows: u64) -> Option<String> {
    let papers = counted(ranked, "paper");
    (ranked < rows).then(|| format!("Kendall tau-b is that of {papers}, drawn out of {} by chance", HumanCount(rows)))
}

fn figures_of_numbers(measured: &Regression) -> Line {
    vec![
        ("R²", measured.r2),
        ("MAE", Some(measured.mae)),
        ("RMSE", Some(measured.rmse)),
        ("Kendall tau-b", measured.kendalltau),
        ("Pearson", measured.pearson),
    ]
}

fn decimals(figure: Option<f64>) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.4}"))
}

fn nothing_measured(field: &str, error: &evaluate::Error) -> String {
    match error {
        evaluate::Error::Empty => format!("nothing was measured: no row says what is right in `{field}`"),
        evaluate::Error::TooManyLabels { .. } => format!(
            "nothing was measured: `{field}` has more than {} labels that the head does not have",
            HumanCount(MOST_OTHER_LABELS as u64)
        ),
        other => format!("nothing was measured against `{field}`: {other}"),
    }
}

fn push_counts(report: &mut Report, counts: &AnswerCounts, title: &dyn Fn(&str) -> String) {
    let bars = |rows: &[(String, u64)]| -> Vec<(String, f64)> {
        rows.iter().map(|(label, papers)| (label.clone(), *papers as f64)).collect()
    };
    match counts {
        AnswerCounts::Label(rows) => report.push(Section::bars(&title("Papers by predicted label"), bars(rows))),
        AnswerCounts::Labels { rows, given, without } => {
            report.push(Section::bars(&title("Papers by predicted label"), bars(rows)));
            let facts = [("labels given", *given), ("papers without a label", *without)];
            report.push(Section::facts(&title("Labels"), facts));
        }
        AnswerCounts::Values(values) => {
            for (name, histogram) in values {
                let of = if values.len() == 1 { String::new() } else { format!(" of {name}") };
                let bars = histogram.bins().into_iter().map(|bin| (range(bin, histogram), bin.count as f64));
                report.push(Section::bars(&title(&format!("Papers by predicted value{of}")), bars));
                let (mean, least, most) = histogram.summary().unwrap_or((f64::NAN, f64::NAN, f64::NAN));
                let facts = [("mean", mean), ("least", least), ("greatest", most)];
                report.push(Section::facts(&title(&format!("Predicted values{of}")), facts));
            }
        }
    }
}

/// A bin's bounds as text; a number that is alone stands for itself.
fn range(bin: Bin, histogram: &Histogram) -> String {
    if let Some((_, least, most)) = histogram.summary().filter(|(_, least, most)| least == most) {
        return bound(least.midpoint(most), 1.0);
    }
    let width = bin.to - bin.from;
    format!("{} to {}", bound(bin.from, width), bound(bin.to, width))
}

fn bound(value: f64, width: f64) -> String {
    match value {
        _ if value.abs() >= 1e9 => format!("{value:.3e}"),
        // Multiples of larger powers of two have few decimals.
        _ if width >= 1.0 / 64.0 => value.to_string(),
        _ => format!("{value:.7}"),
    }
}

fn push_quality(report: &mut Report, (measured, field): (&Measured, &str), title: &dyn Fn(&str) -> String) {
    let figures = match figures(measured) {
        Ok(figures) => figures,
        Err(error) => return report.push(Section::note(&title("Quality"), &nothing_measured(field, error))),
    };
    if let Some(drawn) = drawn(figures.ranked, figures.rows) {
        report.push(Section::note(&title("Rank correlation"), &(drawn + ".")));
    }
    if let [(_, line)] = &figures.lines[..] {
        let mut facts = vec![("labelled papers", Cell::from(figures.rows)), ("measured by", field.into())];
        facts.extend(line.iter().map(|(name, figure)| (*name, Cell::from(*figure))));
        if !matches!(measured, Measured::Values(_)) {
            facts.push(("labels that the head does not have", figures.unknown.into()));
        }
        report.push(Section::facts(&title("Quality"), facts));
    } else {
        let papers = figures.rows;
        let mut header = vec!["value", "papers"];
        header.extend(figures.lines.first().into_iter().flat_map(|(_, line)| line.iter().map(|(name, _)| *name)));
        let row = |(name, line): &(String, Line)| -> Vec<Cell> {
            let figures = line.iter().map(|(_, figure)| Cell::from(*figure));
            [Cell::from(name.as_str()), papers.into()].into_iter().chain(figures).collect()
        };
        report.push(Section::table(&title("Quality"), &header, figures.lines.iter().map(row).collect()));
    }
    match measured {
        Measured::Label(Ok(part)) => push_part(report, part, title),
        Measured::Labels(Ok(several)) => {
            push_figures(report, &title("Labels of labelled papers"), &several.classes, &several.per_class);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_correlation_of_some_papers_says_so() {
        let regression = Regression {
            rows: 2_000_000,
            r2: None,
            mae: 0.0,
            rmse: 0.0,
            kendalltau: Some(0.5),
            ranked: 1_048_576,
            pearson: None,
        };
        let measured = |regression| Measured::Values(Ok(vec![("year".to_owned(), regression)]));
        let sampled = measured(regression);
        let mut report = Report::new("Predictions");
        push_quality(&mut report, (&sampled, "year"), &str::to_owned);
        let folder = tempfile::tempdir().unwrap();
        report.write(folder.path()).unwrap();
        let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
        let said = "Kendall tau-b is that of 1,048,576 papers, drawn out of 2,000,000 by chance";
        assert!(page.contains(said), "{page}");
        let whole = figures(&measured(Regression { ranked: 2_000_000, ..regression })).ok().unwrap();
        assert_eq!(drawn(whole.ranked, whole.rows), None);
    }
}
