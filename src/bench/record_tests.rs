//! The record of a run by hand: states, figures as rounds come in, and both files.

use super::*;
use crate::bench::figures::tests::round;
use crate::bench::statistics::Verdict;

pub(in super::super) fn setting(model: &str, tokens: usize) -> Setting {
    Setting {
        model: model.into(),
        precision: Precision::Fp32,
        provider: "cpu".into(),
        provider_options: Vec::new(),
        batches: Batching::Tokens(tokens),
        sessions: 1,
        threads: 2,
    }
}

/// A run in which each model's bare loop took these seconds, round by round; one without any waits.
pub(in super::super) fn record(cells: &[(&str, &[f64])]) -> Record {
    let mut record = Record {
        format: BENCH_FORMAT,
        environment: [("processor".to_owned(), "Some CPU".to_owned())].into(),
        texts: TextsRecord { corpus: "a.jsonl".into(), texts: 100, rows: 900, hashes: vec!["ab".into()] },
        repeats: 6,
        warm_up: 1.0,
        peaks: Vec::new(),
        notes: Vec::new(),
        cells: cells.iter().map(|(name, _)| CellRecord::new(setting(name, 1_024))).collect(),
    };
    for (cell, (_, rounds)) in cells.iter().enumerate() {
        rounds.iter().for_each(|&seconds| record.take(cell, round(seconds, Some(seconds * 1.25))));
    }
    record
}

const STEADY: &[f64] = &[4.0, 4.1, 3.9, 4.0, 4.2, 4.05];

#[test]
fn a_cell_is_done_with_its_last_round_and_says_what_it_is_beside_the_first() {
    let mut record = record(&[("a", STEADY), ("b", &STEADY[..5]), ("c", &[8.0; 6]), ("d", &[])]);
    let states: Vec<State> = record.cells.iter().map(|cell| cell.state).collect();
    assert_eq!(states, [State::Done, State::Waiting, State::Done, State::Waiting]);
    let verdicts: Vec<_> = record.cells.iter().map(|cell| cell.beside_first.map(|beside| beside.verdict)).collect();
    assert_eq!(verdicts, [Some(Verdict::NoClaim), Some(Verdict::NoClaim), Some(Verdict::Lower), None]);
    assert!((record.cells[2].beside_first.unwrap().ratio - 4.025 / 8.0).abs() < 1e-3);
    record.cells[1].fail("out of memory".into());
    record.cells[3].fail("no library".into());
    assert_eq!((record.cells[1].state.name(), record.cells[3].state.name()), ("cut short", "not run"));
    assert_eq!(record.run().count(), 3);
}

#[test]
fn shares_are_of_the_peak_with_the_same_provider_threads_and_precision() {
    let mut record = record(&[("a", &[])]);
    let peak = |threads, half| Peak {
        provider: "cpu".into(),
        runtime_version: "1.31.1".into(),
        threads,
        half,
        size: 512,
        flops_per_second: 1e10,
        runs: 3,
    };
    record.peaks = vec![peak(1, false), peak(2, true)];
    record.take(0, round(4.0, None));
    assert_eq!(record.cells[0].figures.as_ref().unwrap().peak_share, None);
    record.peaks.push(peak(2, false));
    record.take(0, round(4.0, None));
    let share = record.cells[0].figures.as_ref().unwrap().peak_share.unwrap();
    assert_eq!(share.median, 0.1);
    record.cells[0].setting.precision = Precision::Fp16;
    assert!(!record.cells[0].wants_half(), "the CPU provider computes fp16 in fp32");
}

#[test]
fn both_files_come_back_and_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut record = record(&[("a, \"quoted\"", STEADY), ("b", &[])]);
    record.cells[1].fail("no, \"such\"\nlibrary".into());
    record.cells[1].setting.provider_options = ["num_streams=1", "precision=ACCURACY"].map(str::to_owned).to_vec();
    record.environment.extend([("offprint".into(), "0.1".into()), ("cores".into(), "2".into())]);
    record.write(folder.path()).unwrap();
    assert_eq!(Record::read(folder.path()).unwrap(), record);
    assert_eq!(Record::read(&folder.path().join(BENCH_JSON)).unwrap(), record);

    let mut table = csv::Reader::from_path(folder.path().join(BENCH_CSV)).unwrap();
    let header = table.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    let at = |row: usize, name: &str| {
        rows[row].get(header.iter().position(|column| column == name).unwrap()).unwrap().to_owned()
    };
    assert_eq!(rows.len(), 2);
    for row in 0..2 {
        let of = |name: &str| at(row, name);
        assert_eq!(
            (of("processor"), of("offprint"), of("cores"), of("system")),
            ("Some CPU".into(), "0.1".into(), "2".into(), String::new())
        );
    }
    assert_eq!(
        (at(0, "provider_options"), at(1, "provider_options")),
        (String::new(), "num_streams=1 precision=ACCURACY".into())
    );
    assert_eq!((at(0, "model"), at(0, "state"), at(0, "rounds")), ("a, \"quoted\"".into(), "done".into(), "6".into()));
    let figures = record.cells[0].figures.as_ref().unwrap();
    assert_eq!(at(0, "papers_per_second").parse::<f64>().unwrap(), figures.papers_per_second.median);
    assert_eq!(at(0, "latency_p99_ms_high").parse::<f64>().unwrap(), figures.latency_p99.high);
    assert_eq!((at(0, "peak_share"), at(0, "fixed_shape"), at(0, "cosine_min")), Default::default());
    assert_eq!((at(1, "state"), at(1, "reason")), ("not run".into(), "no, \"such\"\nlibrary".into()));
    assert_eq!((at(1, "papers_per_second"), at(1, "texts")), Default::default(), "absent, not zero");
}

#[test]
fn what_engines_took_to_build_stands_in_both_files_where_there_are_some() {
    let folder = tempfile::tempdir().unwrap();
    let mut record = record(&[("a", &[]), ("b", STEADY)]);
    record.take(0, Round { engine_build_seconds: Some(93.5), ..round(4.0, None) });
    record.write(folder.path()).unwrap();
    let read = Record::read(folder.path()).unwrap();
    let seconds: Vec<_> = read.run().map(|(_, figures)| figures.engine_build_seconds).collect();
    assert_eq!(seconds, [Some(93.5), None]);
    let mut table = csv::Reader::from_path(folder.path().join(BENCH_CSV)).unwrap();
    let at = table.headers().unwrap().iter().position(|column| column == "engine_build_seconds").unwrap();
    let column: Vec<String> = table.records().map(|row| row.unwrap()[at].to_owned()).collect();
    assert_eq!(column, ["93.5", ""]);
}

#[test]
fn files_that_are_no_record_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    let message = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Record::read(&path).unwrap_err().to_string()
    };
    let shown = path.display();
    assert_eq!(message("[]"), format!("`{shown}` is not a file of measurements that `offprint bench` wrote"));
    assert_eq!(message("{\"format\": 1}"), message("[]"));
    assert_eq!(message("{\"format\": 2}"), format!("`{shown}` has format 2, expected 1"));
    let gone = Record::read(&folder.path().join("gone")).unwrap_err();
    assert!(matches!(gone, Error::Read { .. }), "{gone}");
    let error = record(&[]).write(&path).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
}
