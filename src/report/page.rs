//! Turns a report into its page: every value becomes text here, and every share becomes a width or a shade.
//!
//! The template beside this file lays out what it is given and computes nothing; minijinja escapes all of it.

use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use super::error::Error;
use super::plot::{self, Drawn, PlotView};
use super::section::{Bar, Body, Cell, Section};
use super::{JSON_FILE, Report};

const TEMPLATE: &str = include_str!("page.html");
/// Strongest shade of a matrix cell; below 1 so that the number on it stays readable in both colour schemes.
const MAX_SHADE: f64 = 0.72;
/// Stands for a value that is missing.
const DASH: &str = "\u{2013}";

/// What the template sees.
#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    version: &'static str,
    json_file: &'static str,
    environment: Vec<Fact<'a>>,
    sections: Vec<SectionView<'a>>,
}

#[derive(Serialize)]
struct SectionView<'a> {
    name: &'a str,
    title: &'a str,
    body: BodyView<'a>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum BodyView<'a> {
    Facts { facts: Vec<Fact<'a>> },
    Table { columns: Vec<Column<'a>>, rows: Vec<Vec<Shown>> },
    Confusion { labels: &'a [String], rows: Vec<MatrixRow<'a>> },
    Bars { bars: Vec<BarView<'a>> },
    Plot { plot: PlotView<'a> },
    Note { text: &'a str },
}

#[derive(Serialize)]
struct Fact<'a> {
    name: &'a str,
    value: Shown,
}

/// A value as text; numbers are set to the right.
#[derive(Serialize)]
struct Shown {
    text: String,
    numeric: bool,
}

#[derive(Serialize)]
struct Column<'a> {
    name: &'a str,
    numeric: bool,
}

#[derive(Serialize)]
struct MatrixRow<'a> {
    label: &'a str,
    cells: Vec<MatrixCell>,
    total: String,
}

#[derive(Serialize)]
struct MatrixCell {
    text: String,
    /// Opacity from 0 to [`MAX_SHADE`]: the root of the share of this row's papers, so that few errors show too.
    shade: String,
    right: bool,
    zero: bool,
}

#[derive(Serialize)]
struct BarView<'a> {
    label: &'a str,
    text: String,
    /// Share of the longest bar, in per cent.
    width: String,
    negative: bool,
}

/// Renders the page. The report's shapes have been checked.
pub(super) fn render(report: &Report) -> Result<String, Error> {
    let page = Page {
        title: &report.title,
        version: env!("CARGO_PKG_VERSION"),
        json_file: JSON_FILE,
        environment: report.environment.iter().map(fact).collect(),
        sections: report.sections.iter().map(section).collect(),
    };
    let mut templates = Environment::new();
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    templates.set_trim_blocks(true);
    templates.set_lstrip_blocks(true);
    templates.add_template(HTML_TEMPLATE_NAME, TEMPLATE).map_err(Error::Render)?;
    templates.get_template(HTML_TEMPLATE_NAME).and_then(|template| template.render(page)).map_err(Error::Render)
}

const HTML_TEMPLATE_NAME: &str = "page.html";

fn section(section: &Section) -> SectionView<'_> {
    SectionView { name: &section.name, title: &section.title, body: body(&section.body) }
}

fn body(body: &Body) -> BodyView<'_> {
    match body {
        Body::Facts { facts } => BodyView::Facts { facts: facts.iter().map(fact).collect() },
        Body::Table { columns, rows } => table(columns, rows),
        Body::Confusion { labels, counts } => {
            let rows = labels.iter().zip(counts).enumerate().map(|(truth, (label, row))| matrix_row(truth, label, row));
            BodyView::Confusion { labels, rows: rows.collect() }
        }
        Body::Bars { bars } => bar_list(bars),
        Body::Plot { x, y, series } => BodyView::Plot { plot: plot::view([x, y], series, Drawn::Lines) },
        Body::Scatter { x, y, series } => BodyView::Plot { plot: plot::view([x, y], series, Drawn::Points) },
        Body::Note { text } => BodyView::Note { text },
    }
}

fn fact((name, value): &(String, Cell)) -> Fact<'_> {
    Fact { name, value: shown(value) }
}

/// A column is numeric if every cell of it is missing or reads as a number.
fn table<'a>(columns: &'a [String], rows: &[Vec<Cell>]) -> BodyView<'a> {
    let numeric = |at: usize| !rows.is_empty() && rows.iter().all(|row| shown(&row[at]).numeric);
    BodyView::Table {
        columns: columns.iter().enumerate().map(|(at, name)| Column { name, numeric: numeric(at) }).collect(),
        rows: rows.iter().map(|row| row.iter().map(shown).collect()).collect(),
    }
}

fn matrix_row<'a>(truth: usize, label: &'a str, counts: &[u64]) -> MatrixRow<'a> {
    let total: i128 = counts.iter().map(|&count| i128::from(count)).sum();
    let cells = counts.iter().enumerate().map(|(predicted, &count)| {
        let share = if total == 0 { 0.0 } else { count as f64 / total as f64 };
        MatrixCell {
            text: count_text(count.into()),
            shade: format!("{:.3}", share.sqrt() * MAX_SHADE),
            right: predicted == truth,
            zero: count == 0,
        }
    });
    MatrixRow { label, cells: cells.collect(), total: count_text(total) }
}

fn bar_list(bars: &[Bar]) -> BodyView<'_> {
    let longest = bars.iter().map(|bar| amount(&bar.value).abs()).fold(0.0, f64::max);
    let mut views = Vec::with_capacity(bars.len());
    for Bar { label, value } in bars {
        let size = amount(value);
        let share = if longest > 0.0 { size.abs() / longest } else { 0.0 };
        let width = format!("{:.2}", share * 100.0);
        views.push(BarView { label, text: shown(value).text, width, negative: size < 0.0 });
    }
    BodyView::Bars { bars: views }
}

fn amount(cell: &Cell) -> f64 {
    match cell {
        Cell::Count(count) => *count as f64,
        Cell::Number(number) => *number,
        Cell::Missing | Cell::Text(_) => 0.0,
    }
}

fn shown(cell: &Cell) -> Shown {
    let (text, numeric) = match cell {
        Cell::Missing => (DASH.to_owned(), true),
        Cell::Count(count) => (count_text((*count).into()), true),
        Cell::Number(number) => (number_text(*number), true),
        Cell::Text(text) => (text.clone(), text.parse::<f64>().is_ok()),
    };
    Shown { text, numeric }
}

/// `1234567` as `1,234,567`.
pub(super) fn count_text(count: i128) -> String {
    let digits = count.unsigned_abs().to_string();
    let mut text = String::from(if count < 0 { "\u{2212}" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// About four significant digits: `0.9124`, `37.12`, `1,204`, `2.1e-7`.
pub(super) fn number_text(number: f64) -> String {
    let size = number.abs();
    match size {
        0.0 => "0".to_owned(),
        _ if !(5e-4..1e15).contains(&size) => format!("{number:.1e}").replace('-', "\u{2212}"),
        _ if size < 9.9995 => format!("{number:.4}").replace('-', "\u{2212}"),
        _ if size < 99.995 => format!("{number:.2}").replace('-', "\u{2212}"),
        _ if size < 999.95 => format!("{number:.1}").replace('-', "\u{2212}"),
        _ => count_text(number.round() as i128),
    }
}
