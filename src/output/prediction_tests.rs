//! Predictions of every kind of head in each format, and each refusal at its border.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use ndarray::Array2;
use serde_json::{Value, json};

use super::tests::{batches, unpacked};
use super::{
    Answer, AnswerColumns, AnswerCounts, AnswerKind, AnswerRules, Error, HeadReader, Measured, PredictedHead,
    Prediction, PredictionFormat, PredictionOptions, PredictionOutcome, PredictionSink, prediction_writer,
};
use crate::cache::RowMeta;
use crate::encode::{EmbeddedWindow, Sink};
use crate::model::{Classification, GraphHead, Task};
use crate::paper::{Label, Origin, Paper, PaperText};

fn pairs(pairs: &[(&str, f32)]) -> Vec<(Arc<str>, f32)> {
    pairs.iter().map(|(label, value)| (Arc::from(*label), *value)).collect()
}

fn one_label(label: &str, probability: f32, ranked: &[(&str, f32)]) -> Answer {
    Answer::Label { label: label.into(), probability, ranked: pairs(ranked), set: None }
}

fn predictions() -> Vec<Prediction> {
    vec![
        Prediction {
            id: "p,1".to_owned(),
            answers: vec![one_label("cs.CL", 0.75, &[("cs.CL", 0.75), ("cs.LG", 0.2), ("cs.CV", 0.05)])],
            kept: vec![Some(json!("a \"title\"")), Some(json!(2020)), None],
        },
        Prediction {
            id: "p2".to_owned(),
            answers: vec![one_label("unknown", 0.1, &[("cs.LG", 0.1)])],
            kept: vec![Some(Value::Null), Some(json!(["x"])), Some(json!(true))],
        },
    ]
}

fn write_predictions(path: &Path, top_k: usize) -> Result<(), Error> {
    let kept_names = ["title", "year", "flag"].map(str::to_owned).to_vec();
    let options = PredictionOptions { kept_names, ..PredictionOptions::of_one(AnswerKind::Label { top_k }) };
    write_all(path, &options, &predictions())
}

fn write_all(path: &Path, options: &PredictionOptions, predictions: &[Prediction]) -> Result<(), Error> {
    let mut writer = prediction_writer(path, options)?;
    predictions.iter().try_for_each(|prediction| writer.write(prediction))?;
    writer.finish()
}

/// Heads of all three kinds, the last one twice, and what they say of two papers.
fn several_heads() -> (PredictionOptions, Vec<Prediction>) {
    let columns = |prefix: &str, kind| AnswerColumns::plain(prefix.to_owned(), kind);
    let names = |names: &[&str]| AnswerKind::Values { names: names.iter().map(|name| (*name).to_owned()).collect() };
    let heads = vec![
        columns("topic_", AnswerKind::Label { top_k: 0 }),
        columns("tags_", AnswerKind::Labels { most: 2 }),
        columns("year_", names(&["published"])),
        columns("", names(&["x", "y"])),
    ];
    let answers = |label: &str, tags: &[(&str, f32)], year: f32| {
        vec![
            one_label(label, 0.5, &[]),
            Answer::Labels(pairs(tags)),
            Answer::Values(vec![year]),
            Answer::Values(vec![1.5, -0.1]),
        ]
    };
    let predictions = [("a", answers("art", &[("t;1", 0.9), ("t2", 0.7)], 2019.25)), ("b", answers("bio", &[], 1e-9))];
    let predictions = predictions.map(|(id, answers)| Prediction { id: id.to_owned(), answers, kept: vec![] });
    (PredictionOptions { heads, ..Default::default() }, predictions.to_vec())
}

#[test]
fn several_heads_stand_side_by_side_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let (options, predictions) = several_heads();
    let written = |name: &str| {
        write_all(&folder.path().join(name), &options, &predictions).unwrap();
        fs::read_to_string(folder.path().join(name))
    };
    let expected = "{\"id\":\"a\",\"topic_label\":\"art\",\"topic_probability\":0.5,\"tags_labels\":[\"t;1\",\"t2\"],\
                    \"tags_probabilities\":[0.9,0.7],\"year_value\":2019.25,\"x\":1.5,\"y\":-0.1}\n\
                    {\"id\":\"b\",\"topic_label\":\"bio\",\"topic_probability\":0.5,\"tags_labels\":[],\
                    \"tags_probabilities\":[],\"year_value\":1e-9,\"x\":1.5,\"y\":-0.1}\n";
    assert_eq!(written("x.jsonl").unwrap(), expected);
    let expected = "id,topic_label,topic_probability,tags_label,tags_probability,tags_label_2,tags_probability_2,\
                    year_value,x,y\n\
                    a,art,0.5,t;1,0.9,t2,0.7,2019.25,1.5,-0.1\n\
                    b,bio,0.5,,,,,0.000000001,1.5,-0.1\n";
    assert_eq!(written("x.csv").unwrap(), expected);
    let _ = written("x.parquet");
    let batch = batches(&folder.path().join("x.parquet")).remove(0);
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let expected =
        ["id", "topic_label", "topic_probability", "tags_labels", "tags_probabilities", "year_value", "x", "y"];
    assert_eq!(names, expected);
    let tags = batch["tags_labels"].as_list::<i32>();
    assert_eq!((tags.value(0).as_string::<i32>().value(1), tags.value(1).len()), ("t2", 0));
    assert_eq!(
        batch["tags_probabilities"].as_list::<i32>().value(0).as_primitive::<Float32Type>().values(),
        &[0.9, 0.7]
    );
    assert_eq!(batch["year_value"].as_primitive::<Float32Type>().values(), &[2019.25, 1e-9]);
    assert_eq!(batch["y"].as_primitive::<Float32Type>().values(), &[-0.1, -0.1]);
}

#[test]
fn answers_that_the_columns_are_not_for_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (options, mut predictions) = several_heads();
    predictions[1].answers.swap(0, 1);
    for name in ["x.jsonl", "x.csv", "x.parquet"] {
        let error = write_all(&folder.path().join(name), &options, &predictions).unwrap_err();
        assert_eq!(error.to_string(), "prediction of paper `b` has other answers than the columns are for");
    }
    predictions[1].answers = predictions[0].answers[..3].to_vec();
    assert!(write_all(&folder.path().join("x.csv"), &options, &predictions).is_err());
    predictions.truncate(1);
    predictions[0].answers[3] = Answer::Values(vec![1.0, f32::INFINITY]);
    let error = write_all(&folder.path().join("x.jsonl"), &options, &predictions).unwrap_err();
    assert_eq!(error.to_string(), "paper `a` has the value inf, which JSON cannot hold");
}

#[test]
fn csv_has_room_for_a_hundred_labels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    let options = |most| PredictionOptions::of_one(AnswerKind::Labels { most });
    write_all(&path, &options(100), &[]).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().split(',').count(), 201);
    let error = write_all(&path, &options(101), &[]).unwrap_err();
    let shown = path.display();
    assert_eq!(
        error.to_string(),
        format!("`{shown}` would have columns for 101 labels of a paper, CSV is written with at most 100")
    );
    assert!(error.hint().unwrap().starts_with("`--top-k`"));
    write_all(&folder.path().join("x.parquet"), &options(101), &[]).unwrap();
}

#[test]
fn predictions_as_jsonl_keep_the_types_of_kept_fields() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    write_predictions(&path, 2).unwrap();
    let expected = "{\"id\":\"p,1\",\"label\":\"cs.CL\",\"probability\":0.75,\"labels\":[\"cs.CL\",\"cs.LG\"],\
                    \"probabilities\":[0.75,0.2],\"title\":\"a \\\"title\\\"\",\"year\":2020,\"flag\":null}\n\
                    {\"id\":\"p2\",\"label\":\"unknown\",\"probability\":0.1,\"labels\":[\"cs.LG\"],\
                    \"probabilities\":[0.1],\"title\":null,\"year\":[\"x\"],\"flag\":true}\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn predictions_are_compressed_by_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["x.csv", "x.jsonl"] {
        write_predictions(&path(name), 3).unwrap();
        for packed in [".gz", ".zst"].map(|ending| format!("{name}{ending}")) {
            write_predictions(&path(&packed), 3).unwrap();
            assert_eq!(unpacked(&path(&packed)), fs::read_to_string(path(name)).unwrap());
        }
    }
    let kind = AnswerKind::Label { top_k: 0 };
    let options = PredictionOptions { compression: Some("zstd".parse().unwrap()), ..PredictionOptions::of_one(kind) };
    let error = prediction_writer(&path("y.csv.gz"), &options).err().unwrap();
    let named = path("y.csv.gz");
    let expected = format!("the name of output `{}` says gzip, `--compress zstd` something else", named.display());
    assert_eq!(error.to_string(), expected);
    let hint = format!("name it `{}`, or leave `--compress` out", path("y.csv.zst").display());
    assert_eq!(error.hint(), Some(hint));
}

#[test]
fn predictions_as_csv_spread_the_ranks_over_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    write_predictions(&path, 3).unwrap();
    let expected = "id,label,probability,label_2,probability_2,label_3,probability_3,title,year,flag\n\
                    \"p,1\",cs.CL,0.75,cs.LG,0.2,cs.CV,0.05,\"a \"\"title\"\"\",2020,\n\
                    p2,unknown,0.1,cs.LG,0.1,,,,\"[\"\"x\"\"]\",true\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    write_predictions(&path, 1).unwrap();
    assert!(fs::read_to_string(&path).unwrap().starts_with("id,label,probability,title,year,flag\n"));
}

#[test]
fn the_most_probable_label_of_an_unknown_paper_is_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let ranked = [("no", 0.5), ("maybe", 0.25), ("yes", 0.125)];
    let answers = vec![one_label("unknown", 0.5, &ranked)];
    let rows = [Prediction { id: "p".to_owned(), answers, kept: vec![] }];
    let options = PredictionOptions::of_one(AnswerKind::Label { top_k: 3 });
    let path = |name: &str| folder.path().join(name);
    for name in ["x.csv", "x.jsonl", "x.parquet"] {
        write_all(&path(name), &options, &rows).unwrap();
    }
    assert_eq!(
        fs::read_to_string(path("x.csv")).unwrap(),
        "id,label,probability,label_2,probability_2,label_3,probability_3\np,unknown,0.5,no,0.5,maybe,0.25\n"
    );
    assert_eq!(
        fs::read_to_string(path("x.jsonl")).unwrap(),
        "{\"id\":\"p\",\"label\":\"unknown\",\"probability\":0.5,\"labels\":[\"no\",\"maybe\",\"yes\"],\
         \"probabilities\":[0.5,0.25,0.125]}\n"
    );
    let labels = batches(&path("x.parquet")).remove(0);
    let labels = labels["labels"].as_list::<i32>().value(0);
    assert_eq!(labels.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["no", "maybe", "yes"]);
}

#[test]
fn predictions_as_parquet_have_typed_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    write_predictions(&path, 3).unwrap();
    let batch = batches(&path).remove(0);
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["id", "label", "probability", "labels", "probabilities", "title", "year", "flag"]);
    assert_eq!(batch.column(0).as_string::<i32>().value(0), "p,1");
    assert_eq!(batch.column(2).as_primitive::<Float32Type>().values(), &[0.75, 0.1]);
    let labels = batch.column(3).as_list::<i32>();
    assert_eq!((labels.value(0).len(), labels.value(1).len()), (3, 1));
    assert_eq!(labels.value(1).as_string::<i32>().value(0), "cs.LG");
    let (title, year) = (batch.column(5).as_string::<i32>(), batch.column(6).as_string::<i32>());
    assert_eq!((title.value(0), title.is_null(1)), ("a \"title\"", true));
    assert_eq!((year.value(0), year.value(1)), ("2020", "[\"x\"]"));
}

#[test]
fn columns_and_kept_values_must_agree() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str, top_k, kept: &[&str]| {
        let kept_names = kept.iter().map(|name| (*name).to_owned()).collect();
        let options = PredictionOptions { kept_names, ..PredictionOptions::of_one(AnswerKind::Label { top_k }) };
        prediction_writer(&folder.path().join(name), &options)
    };
    let twice = |name: &str, top_k, kept: &[&str]| open(name, top_k, kept).err().map(|error| error.to_string());
    let message = |name: &str| Some(format!("predictions would have two columns `{name}`"));
    assert_eq!(twice("x.jsonl", 0, &["year", "label"]), message("label"));
    assert_eq!(twice("x.csv", 0, &["year", "year"]), message("year"));
    assert_eq!(twice("x.csv", 2, &["label_2"]), message("label_2"));
    assert_eq!(twice("x.csv", 1, &["label_2"]), None);
    assert_eq!(twice("x.jsonl", 2, &["labels"]), message("labels"));
    assert_eq!(twice("x.csv", 2, &["labels"]), None);
    let kept = open("x.jsonl", 0, &["label"]).err().unwrap();
    assert_eq!(kept.hint().as_deref(), Some("keep the field `label` under another name"));
    let columns = |prefix: &str, kind| AnswerColumns::plain(prefix.to_owned(), kind);
    let names = ["b_label", "c"].map(str::to_owned).to_vec();
    let heads = vec![columns("a_", AnswerKind::Values { names }), columns("a_b_", AnswerKind::Label { top_k: 0 })];
    let options = PredictionOptions { heads, ..Default::default() };
    let error = prediction_writer(&folder.path().join("x.csv"), &options).err().unwrap();
    assert_eq!(error.to_string(), "predictions would have two columns `a_b_label`");
    assert_eq!(error.hint().as_deref(), Some("heads `a` and `a_b` both have it: `--head-name` picks one"));
    for name in ["x.jsonl", "x.csv", "x.parquet"] {
        let error = open(name, 0, &["year"]).unwrap().write(&predictions()[0]).unwrap_err();
        assert_eq!(error.to_string(), "prediction of paper `p,1` carries 3 kept values, expected 1");
    }
    let answers = vec![one_label("cs.CL", f32::NAN, &[])];
    let nan = Prediction { answers, kept: vec![], ..predictions().remove(0) };
    let error = open("x.jsonl", 0, &[]).unwrap().write(&nan).unwrap_err();
    assert_eq!(error.to_string(), "paper `p,1` has the value NaN, which JSON cannot hold");
}

#[test]
fn an_ending_says_the_format() {
    assert_eq!(PredictionFormat::from_path(Path::new("x.CSV.gz")).unwrap(), PredictionFormat::Csv);
    assert_eq!(
        PredictionFormat::from_path(Path::new("x")).unwrap_err().to_string(),
        "output `x` has an unknown ending, expected one of .jsonl, .csv (each also with .gz or .zst), .parquet"
    );
}

/// A window of papers without texts whose rows are these numbers.
fn window(rows: &[[f32; 2]]) -> EmbeddedWindow {
    let paper = |number: usize| Paper {
        id: format!("p{number}"),
        origin: Origin { file: "x.jsonl".into(), line: number as u64 + 1 },
        text: PaperText::Plain(format!("text {number}")),
        labels: vec![Some(Label::Several(vec!["a".to_owned()]))],
        split: None,
        adapter: None,
        kept: vec![],
    };
    EmbeddedWindow {
        keys: Vec::new(),
        papers: (0..rows.len()).map(paper).collect(),
        embeddings: Array2::from_shape_vec((rows.len(), 2), rows.concat()).unwrap(),
        metas: vec![RowMeta { n_tokens: 2, n_dropped: 0, title_cut: false }; rows.len()],
    }
}

/// A head that gives `a` and `b`, measured by the first label of each paper.
fn two_labels() -> PredictedHead {
    let classification = Classification { task: Task::Multilabel, labels: ["a", "b"].map(str::to_owned).to_vec() };
    let reader = HeadReader::of_graph(&GraphHead::of_checkpoint(&classification), AnswerRules::default());
    PredictedHead { reader, truth: Some(0) }
}

#[test]
fn what_heads_give_is_counted_and_measured_over_all_windows() {
    let mut sink = PredictionSink::of_graph(vec![two_labels()], None).with_preview(3);
    sink.window(window(&[[0.9, 0.1], [0.6, 0.7]])).unwrap();
    sink.window(window(&[[0.2, 0.3], [0.5, 0.0]])).unwrap();
    let PredictionOutcome { preview, heads } = sink.finish().unwrap();
    let titles: Vec<&str> = preview.iter().map(|row| row.title.as_str()).collect();
    assert_eq!(titles, ["text 0", "text 1", "text 0"]);
    assert_eq!(preview[1].answers, [Answer::Labels(pairs(&[("b", 0.7), ("a", 0.6)]))]);
    let AnswerCounts::Labels { rows, given, without } = &heads[0].counts else { panic!("{:?}", heads[0].counts) };
    assert_eq!((rows, *given, *without), (&vec![("a".to_owned(), 3), ("b".to_owned(), 1)], 4, 1));
    let Some(Measured::Labels(Ok(measured))) = &heads[0].measured else { panic!("{:?}", heads[0].measured) };
    // 3 hits of 4 right and 4 given.
    assert_eq!((measured.rows, measured.f1_micro), (4, 0.75));
}

#[test]
fn an_answer_that_is_no_number_ends_the_run_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["x.jsonl", "x.csv", "x.parquet"] {
        let options = PredictionOptions::of_one(AnswerKind::Labels { most: 2 });
        let writer = prediction_writer(&folder.path().join(name), &options).unwrap();
        let mut sink = PredictionSink::of_graph(vec![two_labels()], Some(writer));
        let error = sink.window(window(&[[0.9, 0.1], [0.5, f32::NAN]])).unwrap_err();
        assert_eq!(error.to_string(), "head `classifier` gives paper `p1` the value NaN, expected a finite number");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
