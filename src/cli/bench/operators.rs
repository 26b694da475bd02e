//! What the operators of graphs took, in words and as a table. Measures nothing. Invariant: shares are of the whole time of
//! the runs, so that what no operator accounts for is told, too.

use offprint::bench::{CellRecord, Figures};
use offprint::report::{Cell, Section};
use offprint::runtime::{OperatorTime, Profile};

use super::tell::percent;

/// Operators that are named on a terminal, and on a page, at most.
const MOST: [usize; 2] = [5, 20];

/// A line for each setting whose operators were timed.
pub(super) fn lines(run: &[(&CellRecord, &Figures)]) -> Vec<String> {
    let line = |(cell, profile): (&CellRecord, &Profile)| {
        let named = profile.operators.iter().take(MOST[0]);
        let mut parts: Vec<String> =
            named.map(|operator| format!("{} {}", operator.operator, percent(profile.share(operator)))).collect();
        parts.extend(others(profile, MOST[0]).map(|share| format!("others {}", percent(share))));
        parts.push(format!("between them {}", percent(profile.between())));
        format!("time by operator, {}: {}", cell.setting, parts.join(", "))
    };
    profiles(run).map(line).collect()
}

/// The table of the page; none where no operators were timed.
pub(super) fn section(run: &[(&CellRecord, &Figures)]) -> Option<Section> {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for (cell, profile) in profiles(run) {
        let by_run = |amount: f64| amount / profile.runs.max(1) as f64;
        let setting = || Cell::from(cell.setting.to_string());
        rows.extend(profile.operators.iter().take(MOST[1]).map(|operator| {
            let OperatorTime { operator: name, provider, calls, seconds } = operator;
            vec![
                setting(),
                name.as_str().into(),
                provider.as_str().into(),
                by_run(*calls as f64).into(),
                (by_run(*seconds) * 1e3).into(),
                percent(profile.share(operator)).into(),
            ]
        }));
        let rest = [("others", others(profile, MOST[1])), ("between them", Some(profile.between()))];
        rows.extend(rest.into_iter().filter_map(|(name, share)| {
            let milliseconds = by_run(profile.seconds * share?) * 1e3;
            let none = || Cell::from(None::<f64>);
            Some(vec![setting(), name.into(), none(), none(), milliseconds.into(), percent(share?).into()])
        }));
    }
    let columns = ["setting", "operator", "provider", "nodes a batch", "ms a batch", "share"];
    (!rows.is_empty()).then(|| Section::table("Time by operator", &columns, rows))
}

fn profiles<'r>(run: &'r [(&'r CellRecord, &'r Figures)]) -> impl Iterator<Item = (&'r CellRecord, &'r Profile)> {
    run.iter().filter_map(|(cell, _)| Some((*cell, cell.rounds.iter().find_map(|round| round.profile.as_ref())?)))
}

/// The share of the operators behind the first ones, if there are any.
fn others(profile: &Profile, named: usize) -> Option<f64> {
    let rest = profile.operators.get(named..).filter(|rest| !rest.is_empty())?;
    Some(rest.iter().map(|operator| profile.share(operator)).sum())
}
