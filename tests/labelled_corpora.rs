//! The labelled sets named by the environment variable `OFFPRINT_DATA` (folders of `.jsonl.gz`), read end to end: every
//! line is a row, papers and rejections add up, and lines are true. Says so and passes where the variable is not set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use offprint::output::{
    Answer, AnswerKind, EmbeddingOutputOptions, EmbeddingRow, Prediction, PredictionOptions, embedding_writer,
    prediction_writer,
};
use offprint::paper::{Corpus, CorpusOptions, Duplicate, Duplicates, FieldMap, PaperText, Row, Template, held_out};

#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("OFFPRINT_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: OFFPRINT_DATA does not name a folder of labelled sets");
    }
    folder
}

#[expect(clippy::unwrap_used, reason = "a helper of tests")]
fn open(path: &Path, label: Option<&str>, text: Option<&str>) -> Corpus {
    let fields = FieldMap {
        labels: label.map(str::to_owned).into_iter().collect(),
        text: text.map(str::to_owned),
        ..FieldMap::default()
    };
    Corpus::open(&[path.display().to_string()], CorpusOptions { fields, ..CorpusOptions::default() }).unwrap()
}

#[test]
fn every_row_of_a_labelled_set_is_a_paper() {
    let Some(data) = data() else { return };
    let sets = [
        ("arxiv_cs_primary", Some("label"), None, 6191, 7),
        // Seven fields, and one row labelled `category` that the source's own file brings.
        ("mag_paper_field_dev", Some("label"), None, 5599, 8),
        ("trec", Some("label_fine"), Some("text"), 5952, 50),
        ("asreview_screening", Some("label"), None, 20016, 2),
        ("cacm/corpus.jsonl.gz", None, None, 3204, 0),
        ("scirepeval_samples/fos_small.jsonl.gz", None, None, 205, 0),
    ];
    for (name, label, text, expected_rows, classes) in sets {
        let corpus = open(&data.join(name), label, text);
        let mut rows = corpus.rows();
        let progress = rows.progress();
        let (mut papers, mut labels, mut seen) = (0, BTreeMap::new(), Duplicates::new());
        for row in rows.by_ref() {
            let Row::Paper(paper) = row.unwrap() else { panic!("a rejected row in {name}") };
            papers += 1;
            assert_eq!(paper.origin.line, papers);
            assert_eq!(matches!(paper.text, PaperText::Plain(_)), text.is_some());
            let rendered = Template::ModelCard.render(&paper.text, "[SEP]");
            assert!(rendered.text.is_char_boundary(rendered.title_end));
            assert_eq!(seen.check(&paper.id, 0, 0), Duplicate::New, "{name}: {}", paper.id);
            if let Some(label) = paper.label().map(str::to_owned) {
                *labels.entry(label).or_insert(0) += 1;
            }
        }
        assert_eq!((papers, labels.len()), (expected_rows, classes), "{name}");
        assert_eq!(progress.load(Ordering::Relaxed), corpus.total_bytes(), "{name}");
    }
}

#[test]
fn a_list_of_labels_is_refused_row_by_row() {
    let Some(data) = data() else { return };
    let corpus = open(&data.join("arxiv_cs_multilabel"), Some("labels"), None);
    let reasons: BTreeMap<String, usize> = corpus.rows().fold(BTreeMap::new(), |mut reasons, row| {
        let Row::Rejected(row) = row.unwrap() else { panic!("a list passed as a label") };
        assert!(row.id.is_some());
        *reasons.entry(row.reason).or_default() += 1;
        reasons
    });
    let reason = "`labels` is a list, expected text, an integer or a boolean";
    assert_eq!(reasons, BTreeMap::from([(reason.to_owned(), 9999)]));
}

#[test]
fn a_fifth_of_every_label_is_held_out() {
    let Some(data) = data() else { return };
    let rows = open(&data.join("arxiv_cs_primary"), Some("label"), None).rows();
    let papers: Vec<(String, String)> = rows
        .map(|row| match row.unwrap() {
            Row::Paper(paper) => (paper.id.clone(), paper.label().unwrap().to_owned()),
            Row::Rejected(row) => panic!("{}", row.reason),
        })
        .collect();
    let mut names: Vec<&str> = papers.iter().map(|(_, label)| label.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let labels: Vec<usize> = papers.iter().map(|(_, label)| names.binary_search(&label.as_str()).unwrap()).collect();
    let ids: Vec<&str> = papers.iter().map(|(id, _)| id.as_str()).collect();
    let held = held_out(&ids, &labels, 0.2);
    for (class, name) in names.iter().enumerate() {
        let of_class = || labels.iter().zip(&held).filter(|(label, _)| **label == class);
        let (all, out) = (of_class().count(), of_class().filter(|(_, held)| **held).count());
        assert_eq!(out, (all as f64 * 0.2).round() as usize, "{name}");
    }
}

/// One file of each format from real ids, for reading back by other tools (`OFFPRINT_READ_BACK` names the folder).
#[test]
fn results_can_be_read_back_by_other_tools() {
    let (Some(data), Some(folder)) = (data(), std::env::var_os("OFFPRINT_READ_BACK")) else { return };
    for ending in ["parquet", "npy", "jsonl"] {
        let path = Path::new(&folder).join(format!("x.{ending}"));
        let options = EmbeddingOutputOptions { fingerprint: "f00d".to_owned(), ..Default::default() };
        let mut writer = embedding_writer(&path, 384, &options).unwrap();
        for (row, paper) in open(&data.join("arxiv_cs_primary"), None, None).rows().enumerate() {
            let Row::Paper(paper) = paper.unwrap() else { continue };
            let embedding: Vec<f32> = (0..384).map(|at| ((row * 384 + at) as f32).sin() / 7.0).collect();
            let tokens = row as u32 % 512;
            writer
                .write(&EmbeddingRow { id: &paper.id, embedding: &embedding, n_tokens: tokens, n_dropped: 1 })
                .unwrap();
        }
        writer.finish().unwrap();
    }
    for ending in ["parquet", "csv", "jsonl"] {
        let path = Path::new(&folder).join(format!("predictions.{ending}"));
        let options = PredictionOptions {
            kept_names: vec!["title".to_owned(), "year".to_owned()],
            ..PredictionOptions::of_one(AnswerKind::Label { top_k: 2 })
        };
        let mut writer = prediction_writer(&path, &options).unwrap();
        for row in 0..10_000 {
            let ranked = vec![("a, \"b\"".into(), 0.75), ("c".into(), 0.1)];
            let kept = vec![Some(format!("line\n{row}").into()), (row % 2 == 0).then(|| row.into())];
            let answers = vec![Answer::Label { label: "a, \"b\"".into(), probability: 0.75, ranked, set: None }];
            writer.write(&Prediction { id: format!("p{row}"), answers, kept }).unwrap();
        }
        writer.finish().unwrap();
    }
}
