//! The page of a measurement: what may be claimed, plots, and a row for each setting. Measures nothing. Invariant: every
//! figure on it stands in `bench.json`, too.

use std::collections::BTreeMap;

use offprint::bench::{Batching, CellRecord, Figures, Interval, Record, State, Verdict, percentile};
use offprint::report::{Axis, Cell, Point, Report, Section, Series};

use super::super::say::counted;
use super::{operators, tell};

/// Settings whose latencies are drawn, at most: more lines can't be told apart.
const MOST_LINES: usize = 8;
/// Shares of the batches at which latencies are drawn, in per cent.
const SHARES: [u32; 15] = [0, 1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100];

pub(super) fn report(record: &Record) -> Report {
    let mut report = Report::new("Throughput");
    let run: Vec<(&CellRecord, &Figures)> = record.run().collect();
    report.push(Section::note("What may be said", &verdict(record, &run)));
    let papers =
        |(cell, figures): &(&CellRecord, &Figures)| (cell.setting.to_string(), figures.papers_per_second.median);
    if !run.is_empty() {
        report.push(Section::bars("Papers a second by setting", run.iter().map(papers)));
    }
    report.sections.extend([by_tokens(&run), by_threads(&run), latencies(&run)].into_iter().flatten());
    if !run.is_empty() {
        report.push(speed(&run));
        report.push(cost(&run));
        report.sections.extend(cards(&run));
        report.push(placement(&run));
        report.sections.extend(operators::section(&run));
    }
    report.sections.extend(not_run(record));
    report.push(Section::facts("How it was measured", how(record)));
    for (name, value) in &record.environment {
        report.push_environment(name, value.as_str());
    }
    for (provider, version) in versions(&run) {
        report.push_environment(&format!("ONNX Runtime of {provider}"), version);
    }
    report
}

/// A sentence for each setting beside the first.
fn verdict(record: &Record, run: &[(&CellRecord, &Figures)]) -> String {
    let Some((first, figures)) = run.first() else {
        return "No setting could be measured; the reasons stand below.".to_owned();
    };
    let papers = figures.papers_per_second;
    let mut lines = vec![format!(
        "{}: {} papers a second ({} {} to {}). The others beside it:",
        first.setting,
        tell::number(papers.median),
        tell::confidence_in_words(&papers),
        tell::number(papers.low),
        tell::number(papers.high)
    )];
    for (cell, _) in &run[1..] {
        let Some(beside) = &cell.beside_first else { continue };
        let word = match beside.verdict {
            Verdict::Higher => "faster, ",
            Verdict::Lower => "slower, ",
            Verdict::NoClaim => "",
        };
        lines.push(format!("{}: {word}{}", cell.setting, tell::ratio(beside)));
    }
    lines.push(String::new());
    let plain = |note: String| note.trim_start_matches("warning: ").trim_start_matches("note: ").to_owned();
    lines.extend(tell::notes(record).into_iter().map(plain));
    lines.join("\n").trim_end().to_owned()
}

/// Papers a second by the budget of a batch, where there are several.
fn by_tokens(run: &[(&CellRecord, &Figures)]) -> Option<Section> {
    let tokens = |cell: &CellRecord| match cell.setting.batches {
        Batching::Tokens(tokens) => Some(tokens as f64),
        Batching::Fixed(_) => None,
    };
    let name = |cell: &CellRecord| {
        let setting = &cell.setting;
        let sessions = if setting.sessions == 1 { String::new() } else { format!(" in {} sessions", setting.sessions) };
        let threads = counted(setting.threads as u64, "thread");
        format!("{} {}, {}, {threads}{sessions}", setting.model, setting.precision, setting.provider_in_words())
    };
    let axes = [Axis::logarithmic("padded tokens of a batch"), Axis::linear("papers a second")];
    scaling("Papers a second by provider and batch", axes, (run, &tokens, &name))
}

/// Papers a second by threads, where there are several numbers of them.
fn by_threads(run: &[(&CellRecord, &Figures)]) -> Option<Section> {
    let threads = |cell: &CellRecord| Some(cell.setting.threads as f64);
    let name = |cell: &CellRecord| {
        let setting = &cell.setting;
        let sessions = counted(setting.sessions as u64, "session");
        let provider = setting.provider_in_words();
        format!("{} {}, {provider}, {}, {sessions}", setting.model, setting.precision, setting.batches)
    };
    let axes = [Axis::linear("threads"), Axis::linear("papers a second")];
    scaling("Papers a second by threads", axes, (run, &threads, &name))
}

type Cells<'r> = [(&'r CellRecord, &'r Figures)];
/// Where a setting stands on the lower axis, and what the others on its line have in common with it.
type Place<'f> = (&'f Cells<'f>, &'f dyn Fn(&CellRecord) -> Option<f64>, &'f dyn Fn(&CellRecord) -> String);

fn scaling(title: &str, axes: [Axis; 2], (run, place, name): Place<'_>) -> Option<Section> {
    let mut series: Vec<Series> = Vec::new();
    for (cell, figures) in run {
        let (Some(x), name) = (place(cell), name(cell)) else { continue };
        let Interval { median, low, high, .. } = figures.papers_per_second;
        let point = Point { x, y: median, interval: Some((low, high)) };
        match series.iter_mut().find(|series| series.name == name) {
            Some(series) => series.points.push(point),
            None => series.push(Series { name, points: vec![point] }),
        }
    }
    series.iter_mut().for_each(|series| series.points.sort_unstable_by(|a, b| a.x.total_cmp(&b.x)));
    let several = series.iter().any(|series| series.points.len() > 1);
    several.then(|| Section::plot(title, axes, series))
}

/// Which share of the batches is done within which time, over all rounds.
fn latencies(run: &[(&CellRecord, &Figures)]) -> Option<Section> {
    let line = |(cell, _): &(&CellRecord, &Figures)| {
        let mut all: Vec<f64> = cell.rounds.iter().flat_map(|round| round.latencies.iter().copied()).collect();
        all.sort_unstable_by(f64::total_cmp);
        let point = |percent: &u32| {
            let x = percentile(&all, f64::from(*percent) / 100.0)?;
            Some(Point { x, y: f64::from(*percent), interval: None })
        };
        Series { name: cell.setting.to_string(), points: SHARES.iter().filter_map(point).collect() }
    };
    let series: Vec<Series> = run.iter().take(MOST_LINES).map(line).collect();
    let axes = [Axis::logarithmic("milliseconds of a batch"), Axis::linear("% of the batches")];
    let fits = series.iter().flat_map(|series| &series.points).all(|point| point.x > 0.0);
    let title = match run.len() > MOST_LINES {
        true => format!("Latency of a batch, the first {MOST_LINES} settings"),
        false => "Latency of a batch".to_owned(),
    };
    (fits && !series.is_empty()).then(|| Section::plot(&title, axes, series))
}

fn speed(run: &[(&CellRecord, &Figures)]) -> Section {
    let columns = [
        "setting",
        "papers/s",
        "low",
        "high",
        "pipeline papers/s",
        "it keeps",
        "useful tokens/s",
        "padding",
        "GFLOP/s",
        "of peak",
        "cosine, least",
        "rows that differ",
    ];
    let row = |(cell, figures): &(&CellRecord, &Figures)| {
        let median = |interval: Option<Interval>, scale: f64| Cell::from(interval.map(|one| one.median * scale));
        let percent = |share: Option<f64>| Cell::from(share.map(tell::percent));
        vec![
            Cell::from(cell.setting.to_string()),
            figures.papers_per_second.median.into(),
            figures.papers_per_second.low.into(),
            figures.papers_per_second.high.into(),
            median(figures.pipeline_papers_per_second, 1.0),
            percent(figures.pipeline_share.map(|share| share.median)),
            figures.useful_tokens_per_second.median.into(),
            percent(Some(figures.padding_share)),
            median(figures.flops_per_second, 1e-9),
            percent(figures.peak_share.map(|share| share.median)),
            cell.accuracy.as_ref().map(|accuracy| tell::cosine(accuracy.cosine_min)).into(),
            cell.accuracy.as_ref().map(|accuracy| accuracy.rows_differ).into(),
        ]
    };
    Section::table("Speed and accuracy", &columns, run.iter().map(row).collect())
}

fn cost(run: &[(&CellRecord, &Figures)]) -> Section {
    let mut columns = vec![
        "setting",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "open s",
        "first open s",
        "first batch s",
        "cores busy",
        "peak MiB",
        "tokenizer papers/s",
        "tokens/s",
        "tokens/s by core",
    ];
    let has_engines = run.iter().any(|(_, figures)| figures.engine_build_seconds.is_some());
    columns.extend(has_engines.then_some("engines built before, s"));
    let row = |(cell, figures): &(&CellRecord, &Figures)| {
        let mut row = vec![
            Cell::from(cell.setting.to_string()),
            figures.latency_p50.median.into(),
            figures.latency_p90.median.into(),
            figures.latency_p99.median.into(),
            figures.open_seconds.median.into(),
            figures.first_open_seconds.into(),
            figures.first_batch_seconds.median.into(),
            figures.busy_cores.median.into(),
            figures.peak_memory.map(|memory| memory.median / f64::from(1 << 20)).into(),
            figures.tokenize_papers_per_second.map(|papers| papers.median).into(),
            figures.tokenize_tokens_per_second.map(|tokens| tokens.median).into(),
            figures.tokenize_tokens_per_core.map(|tokens| tokens.median).into(),
        ];
        row.extend(has_engines.then(|| Cell::from(figures.engine_build_seconds)));
        row
    };
    Section::table("Latency, start and memory", &columns, run.iter().map(row).collect())
}

/// Memory and power of graphics cards, where somebody told of them.
fn cards(run: &[(&CellRecord, &Figures)]) -> Option<Section> {
    let told = run.iter().filter(|(_, figures)| figures.gpu_memory.is_some() || figures.gpu_watts.is_some());
    let row = |(cell, figures): &(&CellRecord, &Figures)| {
        vec![
            Cell::from(cell.setting.to_string()),
            figures.gpu_memory.map(|memory| memory.median / f64::from(1 << 20)).into(),
            figures.gpu_watts.map(|watts| watts.median).into(),
        ]
    };
    let rows: Vec<Vec<Cell>> = told.map(row).collect();
    let columns = ["setting", "MiB in use on the card", "watts"];
    (!rows.is_empty()).then(|| Section::table("Graphics cards", &columns, rows))
}

/// Which nodes of each graph ran where.
fn placement(run: &[(&CellRecord, &Figures)]) -> Section {
    let row = |(cell, _): &(&CellRecord, &Figures)| {
        let nodes = cell.rounds.first().map(|round| round.nodes.to_string());
        vec![cell.setting.to_string(), tell::dash(nodes.filter(|nodes| !nodes.is_empty()))]
    };
    Section::table("Nodes of the graph", &["setting", "nodes by provider"], run.iter().map(row).collect())
}

fn not_run(record: &Record) -> Option<Section> {
    let failed: Vec<&CellRecord> = record.cells.iter().filter(|cell| cell.reason.is_some()).collect();
    let row = |cell: &&CellRecord| {
        let reason = cell.reason.clone().unwrap_or_default();
        vec![cell.setting.to_string(), cell.state.name().to_owned(), reason]
    };
    (!failed.is_empty()).then(|| {
        let columns = ["setting", "state", "reason"];
        Section::table("Not run to the end", &columns, failed.iter().map(row).collect())
    })
}

fn how(record: &Record) -> Vec<(String, Cell)> {
    let peak = |peak: &offprint::bench::Peak| {
        let name =
            format!("peak on {}, {} threads, {}", peak.provider, peak.threads, if peak.half { "fp16" } else { "fp32" });
        (name, Cell::from(format!("{:.1} GFLOP/s at {} × {}", peak.flops_per_second / 1e9, peak.size, peak.size)))
    };
    let done = record.cells.iter().filter(|cell| cell.state == State::Done).count();
    let mut facts = vec![
        ("texts".to_owned(), Cell::from(record.texts.texts)),
        ("chosen from rows".to_owned(), record.texts.rows.into()),
        ("corpus".to_owned(), record.texts.corpus.as_str().into()),
        ("rounds".to_owned(), record.repeats.into()),
        ("settings run to the end".to_owned(), format!("{done} of {}", record.cells.len()).into()),
        ("seconds of warm-up, at most".to_owned(), record.warm_up.into()),
    ];
    facts.extend(record.peaks.iter().map(peak));
    facts
}

/// The versions of ONNX Runtime, by the provider that ran.
fn versions(run: &[(&CellRecord, &Figures)]) -> BTreeMap<String, String> {
    let rounds = run.iter().flat_map(|(cell, _)| &cell.rounds);
    rounds.map(|round| (round.provider.clone(), round.runtime_version.clone())).collect()
}

#[cfg(test)]
mod tests {
    use offprint::bench::Setting;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_engines_took_is_a_column_only_where_there_are_engines() {
        let setting: Setting = serde_json::from_value(json!({
            "model": "m", "precision": "fp16", "provider": "tensorrt", "batches": {"tokens": 64}, "sessions": 1, "threads": 1
        }))
        .unwrap();
        let cell = CellRecord::new(setting);
        let one = json!({"median": 1.0, "low": 1.0, "high": 1.0, "confidence": 0.0});
        let mut figures: Value = json!({"padding_share": 0.0, "first_open_seconds": 1.0, "unsettled": 0});
        for name in [
            "papers_per_second",
            "tokens_per_second",
            "useful_tokens_per_second",
            "latency_p50",
            "latency_p90",
            "latency_p99",
            "open_seconds",
            "first_batch_seconds",
            "busy_cores",
        ] {
            figures[name] = one.clone();
        }
        let without: Figures = serde_json::from_value(figures.clone()).unwrap();
        figures["engine_build_seconds"] = 93.5.into();
        let with: Figures = serde_json::from_value(figures).unwrap();
        let table = |run: &[(&CellRecord, &Figures)]| serde_json::to_value(cost(run)).unwrap().to_string();
        let told = table(&[(&cell, &without), (&cell, &with)]);
        assert!(told.contains("engines built before, s") && told.contains("93.5"), "{told}");
        assert!(!table(&[(&cell, &without)]).contains("engines"), "no provider but TensorRT has some");
    }
}
