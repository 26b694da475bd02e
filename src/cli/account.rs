//! The account of a run in words, for the terminal and the report page. Measures nothing.

use indicatif::{HumanBytes, HumanCount};
use offprint::encode::Account;
use offprint::model::Manifest;
use offprint::report::Section;

use super::fallback::{chosen, distance};
use super::say::counted;

/// The account as names and values, for the terminal and the report page.
pub(crate) fn facts(account: &Account) -> Vec<(String, String)> {
    let count = |n: u64| HumanCount(n).to_string();
    let truncated = &account.truncated;
    let stages = &account.stages;
    let facts = [
        (
            "rows",
            format!(
                "{} embedded, {} cached, {} rejected",
                count(account.embedded),
                count(account.cached),
                count(account.rejected)
            ),
        ),
        (
            "texts",
            format!(
                "{} title only, {} empty, {} repeated",
                count(account.title_only),
                count(account.empty),
                count(account.repeated)
            ),
        ),
        (
            "truncated",
            format!(
                "{} lost {} ({} in the title, {} behind it)",
                counted(truncated.papers, "paper"),
                counted(truncated.tokens, "token"),
                count(truncated.title),
                count(truncated.abstract_text)
            ),
        ),
        ("tokens", format!("{}, {:.2} % padding", count(account.tokens), account.padding_share * 100.0)),
        (
            "time",
            format!(
                "opening {}, reading {}, tokenizing {}, inference {}, writing {} (stages overlap)",
                seconds(stages.open),
                seconds(stages.read),
                seconds(stages.tokenize),
                seconds(stages.inference),
                seconds(stages.write)
            ),
        ),
        ("peak memory", HumanBytes(account.peak_memory).to_string()),
    ];
    let nodes = &account.selection.placement;
    let mut named: Vec<(String, String)> = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if !nodes.is_empty() {
        named.push(("nodes".to_owned(), nodes.to_string()));
    }
    if !account.adapters.is_empty() {
        let rows = account.adapters.iter().map(|(name, rows)| format!("{} {name}", count(*rows)));
        named.insert(1, ("adapters".to_owned(), rows.collect::<Vec<_>>().join(", ")));
    }
    named
}

/// The account on a report page.
pub(crate) fn section(account: &Account, manifest: &Manifest) -> Section {
    let provider = account.provider.as_ref().map(|provider| chosen(provider, &account.selection));
    let mut lines = vec![
        ("rows in all".to_owned(), HumanCount(account.rows).to_string()),
        ("seconds".to_owned(), format!("{:.2}", account.seconds)),
        ("provider".to_owned(), provider.unwrap_or_else(|| "none: nothing had to be computed".into())),
    ];
    lines.extend(facts(account).into_iter().chain(distance(manifest)));
    Section::facts("Account", lines)
}

/// A stretch of time.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.2} s"),
        s if s < 120.0 => format!("{s:.1} s"),
        s => format!("{} min {:.0} s", (s / 60.0) as u64, s % 60.0),
    }
}
