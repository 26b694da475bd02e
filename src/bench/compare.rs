//! Two runs side by side: cells of the same setting, and what their intervals allow to say. Reads nothing. Invariant:
//! nothing is claimed of cells whose intervals overlap.

use serde::Serialize;

use super::grid::Setting;
use super::record::{CellRecord, Record};
use super::statistics::{Ratio, Verdict};

/// What became of a cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparedCell {
    /// What was measured.
    #[serde(flatten)]
    pub setting: Setting,
    /// Papers a second of the bare loop: how many times as many in the second run.
    pub inference: Option<Ratio>,
    /// Papers a second from file to vectors, likewise; none with batches of one shape.
    pub pipeline: Option<Ratio>,
}

impl ComparedCell {
    /// Whether it is clearly slower, by more than down to this share.
    pub fn falls_below(&self, share: f64) -> bool {
        let falls = |ratio: &Ratio| ratio.verdict == Verdict::Lower && ratio.ratio < share;
        self.inference.iter().chain(&self.pipeline).any(falls)
    }
}

/// Two runs, compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchComparison {
    /// Cells that were run in both, in the order of the first.
    pub cells: Vec<ComparedCell>,
    /// Cells that were run in the first alone.
    pub only_first: Vec<Setting>,
    /// Cells that were run in the second alone.
    pub only_second: Vec<Setting>,
    /// What else differs between the runs: its name, and what it was in each.
    pub differences: Vec<(String, String, String)>,
}

/// Facts of the environment that differ between any two runs.
const ALWAYS_DIFFERENT: [&str; 2] = ["started", "load at start"];

/// The second run beside the first.
pub fn compare(first: &Record, second: &Record) -> BenchComparison {
    let same = |a: &CellRecord, record: &Record| record.run().any(|(b, _)| a.setting == b.setting);
    let only = |here: &Record, there: &Record| {
        let alone = here.run().filter(|(cell, _)| !same(cell, there));
        alone.map(|(cell, _)| cell.setting.clone()).collect()
    };
    let mut cells = Vec::new();
    for (a, before) in first.run() {
        let Some((_, after)) = second.run().find(|(b, _)| a.setting == b.setting) else { continue };
        let pipelines = after.pipeline_papers_per_second.zip(before.pipeline_papers_per_second);
        cells.push(ComparedCell {
            setting: a.setting.clone(),
            inference: Ratio::of(&after.papers_per_second, &before.papers_per_second),
            pipeline: pipelines.and_then(|(after, before)| Ratio::of(&after, &before)),
        });
    }
    BenchComparison {
        cells,
        only_first: only(first, second),
        only_second: only(second, first),
        differences: differences(first, second),
    }
}

fn differences(first: &Record, second: &Record) -> Vec<(String, String, String)> {
    let absent = || "not said".to_owned();
    let mut differences = Vec::new();
    let mut names: Vec<&String> = first.environment.keys().chain(second.environment.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names.into_iter().filter(|name| !ALWAYS_DIFFERENT.contains(&name.as_str())) {
        let [a, b] = [first, second].map(|record| record.environment.get(name).cloned().unwrap_or_else(absent));
        differences.push((name.clone(), a, b));
    }
    let texts = |record: &Record| format!("{} from {}", record.texts.texts, record.texts.corpus);
    let name = if first.texts.hashes == second.texts.hashes { "texts" } else { "texts, by their hash" };
    differences.push((name.to_owned(), texts(first), texts(second)));
    let versions = |record: &Record| {
        let mut versions: Vec<&str> = record.run().map(|(cell, _)| &*cell.rounds[0].runtime_version).collect();
        versions.sort_unstable();
        versions.dedup();
        versions.join(", ")
    };
    differences.push(("ONNX Runtime".to_owned(), versions(first), versions(second)));
    differences.retain(|(name, a, b)| a != b || name == "texts, by their hash");
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::record;

    const STEADY: &[f64] = &[4.0, 4.1, 3.9, 4.0, 4.2, 4.05];
    const SLOW: &[f64] = &[5.0, 5.1, 4.9, 5.0, 5.2, 5.05];
    const NOISY: &[f64] = &[3.0, 6.1, 3.9, 4.0, 4.2, 9.0];

    #[test]
    fn only_what_lies_apart_is_called_faster_or_slower() {
        let first = record(&[("a", STEADY), ("b", SLOW), ("c", STEADY), ("d", STEADY), ("gone", STEADY)]);
        let second = record(&[("d", SLOW), ("c", NOISY), ("b", STEADY), ("a", STEADY), ("new", STEADY)]);
        let compared = compare(&first, &second);
        let found: Vec<(&str, Verdict, Verdict)> = compared
            .cells
            .iter()
            .map(|cell| (&*cell.setting.model, cell.inference.unwrap().verdict, cell.pipeline.unwrap().verdict))
            .collect();
        use Verdict::{Higher, Lower, NoClaim};
        assert_eq!(
            found,
            [("a", NoClaim, NoClaim), ("b", Higher, Higher), ("c", NoClaim, NoClaim), ("d", Lower, Lower)]
        );
        let names = |settings: &[Setting]| settings.iter().map(|setting| setting.model.clone()).collect::<Vec<_>>();
        assert_eq!(
            (names(&compared.only_first), names(&compared.only_second)),
            (vec!["gone".into()], vec!["new".into()])
        );
        assert!(compared.differences.is_empty(), "{:?}", compared.differences);
        let slower = &compared.cells[3];
        assert!((slower.inference.unwrap().ratio - 4.025 / 5.025).abs() < 1e-4);
        assert!(slower.falls_below(0.95) && !slower.falls_below(0.5), "0.80 is below 0.95 and above 0.5");
        assert!(compared.cells[..3].iter().all(|cell| !cell.falls_below(1.0)));
    }

    #[test]
    fn a_provider_that_is_told_something_else_is_another_setting() {
        let first = record(&[("a", STEADY), ("b", STEADY)]);
        let mut second = first.clone();
        second.cells[1].setting.provider_options = vec!["num_streams=2".into()];
        let compared = compare(&first, &second);
        assert_eq!((compared.cells.len(), &*compared.cells[0].setting.model), (1, "a"));
        assert_eq!(compared.only_first, [first.cells[1].setting.clone()]);
        assert_eq!(compared.only_second, [second.cells[1].setting.clone()]);
    }

    #[test]
    fn what_else_differs_is_told() {
        let first = record(&[("a", STEADY)]);
        let mut second = first.clone();
        second.environment.insert("processor".into(), "Another CPU".into());
        second.environment.insert("started".into(), "later".into());
        second.environment.insert("system".into(), "new".into());
        second.texts.hashes = vec!["cd".into()];
        second.cells[0].rounds[0].runtime_version = "1.24.1".into();
        let differences = compare(&first, &second).differences;
        let names: Vec<&str> = differences.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["processor", "system", "texts, by their hash", "ONNX Runtime"]);
        assert_eq!(differences[0].2, "Another CPU");
        assert_eq!(differences[1].1, "not said");
        assert_eq!(differences[3], ("ONNX Runtime".into(), "1.31.1".into(), "1.24.1".into()));
    }
}
