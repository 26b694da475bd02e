//! Predictions of every kind of head in each format, and each refusal at its border.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use serde_json::{Value, json};

use super::tests::{batches, unpacked};
use super::{
    Answer, AnswerColumns, AnswerKind, Error, Prediction, PredictionFormat, PredictionOptions, prediction_writer,
};

fn pairs(pairs: &[(&str, f32)]) -> Vec<(Arc<str>, f32)> {
    pairs.iter().map(|(label, value)| (Arc::from(*label), *value)).collect()
}

fn one_label(label: &str, probability: f32, ranked: &[(&str, f32)]) -> Answer {
    Answer::Label { label: label.into(), probability, ranked: pairs(ranked) }
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
    let columns = |prefix: &str, kind| AnswerColumns { prefix: prefix.to_owned(), kind };
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
                    p2,unknown,0.1,,,,,,\"[\"\"x\"\"]\",true\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    write_predictions(&path, 1).unwrap();
    assert!(fs::read_to_string(&path).unwrap().starts_with("id,label,probability,title,year,flag\n"));
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
