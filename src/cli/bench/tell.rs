//! The words and numbers of a measurement for people: the table on the terminal, and what has to be said beside it.
//! Measures nothing. Invariant: nothing is called faster or slower but what its intervals allow.

use indicatif::HumanCount;
use offprint::bench::{CONFIDENCE, CellRecord, Figures, Interval, Ratio, Record, State, Verdict};

use super::super::say::{counted, counted_that};
use super::super::table;
use super::operators;

/// The longest cell of a table on a terminal.
const WIDEST: usize = 60;

/// A row for each setting that was run; the others with their reasons below.
pub(super) fn table_of(record: &Record) -> String {
    let run: Vec<(&CellRecord, &Figures)> = record.run().collect();
    let mut lines = Vec::new();
    if let Some((first, figures)) = run.first() {
        let between = confidence_in_words(&figures.papers_per_second);
        let header = [
            "setting",
            "papers/s",
            &between,
            "beside the first",
            "pipeline",
            "p50 ms",
            "p99 ms",
            "GFLOP/s",
            "of peak",
            "MiB",
            "cosine",
        ];
        let row = |(cell, figures): &(&CellRecord, &Figures)| row(cell, figures, cell.setting == first.setting);
        lines.push(table::layout(&header, &run.iter().map(row).collect::<Vec<_>>(), WIDEST));
    }
    lines.extend(tokenizing(&run));
    lines.extend(operators::lines(&run));
    lines.extend(reasons(record));
    lines.join("\n").trim_end().to_owned()
}

/// How fast texts become tokens: a line for each bundle and number of threads.
fn tokenizing(run: &[(&CellRecord, &Figures)]) -> Vec<String> {
    let mut known: Vec<(&str, usize)> = Vec::new();
    let mut lines = Vec::new();
    for (cell, figures) in run {
        let of = (&*cell.setting.model, cell.setting.threads);
        let rates = figures.tokenize_tokens_per_second.zip(figures.tokenize_tokens_per_core);
        let Some((tokens, by_core)) = rates.filter(|_| !known.contains(&of)) else { continue };
        known.push(of);
        let threads = counted(cell.setting.threads as u64, "thread");
        let [tokens, by_core] = [tokens, by_core].map(|rate| HumanCount(rate.median as u64));
        lines.push(format!("tokenizing for {}, {threads}: {tokens} tokens/s, {by_core} by core", cell.setting.model));
    }
    lines
}

/// Why settings were not run to their end: a line for each reason, with the settings that share it.
fn reasons(record: &Record) -> Vec<String> {
    let mut reasons: Vec<(State, &String, Vec<String>)> = Vec::new();
    for cell in &record.cells {
        let Some(reason) = &cell.reason else { continue };
        match reasons.iter_mut().find(|(state, known, _)| (*state, *known) == (cell.state, reason)) {
            Some((.., settings)) => settings.push(cell.setting.to_string()),
            None => reasons.push((cell.state, reason, vec![cell.setting.to_string()])),
        }
    }
    let line = |(state, reason, settings): (State, &String, Vec<String>)| match &settings[..] {
        [setting] => format!("{setting}: {}: {reason}", state.name()),
        [first, ..] => format!("{first} and {} more: {}: {reason}", settings.len() - 1, state.name()),
        [] => String::new(),
    };
    reasons.into_iter().map(line).collect()
}

fn row(cell: &CellRecord, figures: &Figures, is_first: bool) -> Vec<String> {
    let median =
        |interval: Option<Interval>, scale: f64| dash(interval.map(|interval| number(interval.median * scale)));
    let papers = figures.papers_per_second;
    vec![
        cell.setting.to_string(),
        number(papers.median),
        format!("{}–{}", number(papers.low), number(papers.high)),
        if is_first { "–".to_owned() } else { dash(cell.beside_first.as_ref().map(ratio)) },
        pipeline(figures),
        number(figures.latency_p50.median),
        number(figures.latency_p99.median),
        median(figures.flops_per_second, 1e-9),
        dash(figures.peak_share.map(|share| percent(share.median))),
        dash(figures.peak_memory.map(|memory| format!("{:.0}", memory.median / f64::from(1 << 20)))),
        dash(cell.accuracy.as_ref().map(|accuracy| cosine(accuracy.cosine_min))),
    ]
}

/// Papers a second through the whole pipeline, and what that keeps of the bare loop.
pub(super) fn pipeline(figures: &Figures) -> String {
    let both = figures.pipeline_papers_per_second.zip(figures.pipeline_share);
    dash(both.map(|(papers, share)| format!("{} ({})", number(papers.median), percent(share.median))))
}

/// What may be said of one setting beside another.
pub(super) fn ratio(ratio: &Ratio) -> String {
    let Ratio { ratio: times, low, high, verdict } = ratio;
    match verdict {
        Verdict::NoClaim => format!("no claim ({low:.2}–{high:.2})"),
        Verdict::Higher | Verdict::Lower => format!("{times:.2} × ({low:.2}–{high:.2})"),
    }
}

/// What an interval's ends are: `95 %` where they have that confidence.
pub(super) fn confidence_in_words(interval: &Interval) -> String {
    if interval.confidence >= CONFIDENCE {
        return "95 % interval".to_owned();
    }
    if interval.confidence == 0.0 {
        return "one round".to_owned();
    }
    format!("range ({:.0} %)", interval.confidence * 100.0)
}

/// What a reader has to know of the figures.
pub(super) fn notes(record: &Record) -> Vec<String> {
    let mut notes: Vec<String> = record.notes.iter().map(|note| format!("warning: {note}")).collect();
    if let Some((_, figures)) = record.run().find(|(_, figures)| figures.papers_per_second.confidence < CONFIDENCE) {
        let confidence = figures.papers_per_second.confidence * 100.0;
        notes.push(format!(
            "note: some intervals have {confidence:.0} % confidence, a claim asks for 95 %: nothing is called faster of \
             these; `--repeats 6` or more would allow it"
        ));
    }
    let unsettled: usize = record.run().map(|(_, figures)| figures.unsettled).sum();
    if unsettled > 0 {
        let what = counted_that(unsettled as u64, "round", ("was", "were"));
        notes.push(format!(
            "warning: {what} measured before the speed had settled: no three windows of the warm-up agreed within 10 %"
        ));
    }
    for (cell, figures) in record.run().filter(|(_, figures)| figures.waits_for_tokenizer()) {
        let Some(papers) = figures.tokenize_papers_per_second else { continue };
        notes.push(format!(
            "note: {}: the sessions run {} papers/s and wait for the tokenizer, which makes {} ready with {}: more \
             `--threads` would help",
            cell.setting,
            number(figures.papers_per_second.median),
            number(papers.median),
            counted(cell.setting.threads as u64, "thread")
        ));
    }
    let cut = record.cells.iter().filter(|cell| cell.state == State::CutShort).count();
    if cut > 0 {
        notes.push(format!("warning: {} cut short", counted_that(cut as u64, "setting", ("was", "were"))));
    }
    notes
}

/// About three significant digits.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.01 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.1e}"),
    }
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Seven digits, and exactly 1 only where no bit differs.
pub(super) fn cosine(value: f64) -> String {
    if value >= 1.0 {
        return "1".to_owned();
    }
    let text = format!("{value:.7}");
    if text.starts_with('1') { ">0.9999999".to_owned() } else { text }
}

/// What was not measured.
pub(super) fn dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "–".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_claimed_in_words_that_intervals_do_not_allow() {
        let of = |verdict| ratio(&Ratio { ratio: 1.4321, low: 0.9, high: 1.8, verdict });
        assert_eq!(of(Verdict::NoClaim), "no claim (0.90–1.80)");
        assert_eq!(of(Verdict::Higher), "1.43 × (0.90–1.80)");
        let interval = |confidence| Interval { median: 1.0, low: 1.0, high: 1.0, confidence };
        assert_eq!(confidence_in_words(&interval(0.96875)), "95 % interval");
        assert_eq!(confidence_in_words(&interval(0.9375)), "range (94 %)");
        assert_eq!(confidence_in_words(&interval(0.0)), "one round");
    }

    #[test]
    fn numbers_are_short_and_a_cosine_below_one_never_reads_as_one() {
        assert_eq!(
            [0.0, 0.001, 0.456, 9.99, 45.67, 1234.5].map(number),
            ["0.00", "1.0e-3", "0.46", "9.99", "45.7", "1234"]
        );
        assert_eq!([1.0, 0.999_999_99, 0.996_4].map(cosine), ["1", ">0.9999999", "0.9964000"]);
        assert_eq!((percent(0.9567), dash(None)), ("95.7 %".to_owned(), "–".to_owned()));
    }
}
