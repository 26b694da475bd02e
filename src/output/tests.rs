//! Each format written and read back, and each refusal at its border.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt32Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use flate2::read::GzDecoder;
use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::{
    EmbeddingFormat, EmbeddingOutputOptions, EmbeddingRow, Error, Prediction, PredictionFormat, PredictionOptions,
    Written, embedding_writer, ids_path, prediction_writer,
};

const TRICKY: [f32; 4] = [0.1, -1.5e-42, f32::MAX, -0.0];

fn write_embeddings(path: &Path, rows: &[(&str, &[f32])], dim: usize) -> Result<(), Error> {
    let options = EmbeddingOutputOptions { fingerprint: "abc".to_owned(), ..Default::default() };
    let mut writer = embedding_writer(path, dim, &options)?;
    for (at, (id, embedding)) in rows.iter().enumerate() {
        writer.write(&EmbeddingRow { id, embedding, n_tokens: at as u32 + 2, n_dropped: at as u32 })?;
    }
    assert!(!path.exists(), "nothing lies under the real name before finish");
    assert_eq!(writer.finish()?, Written { rows: rows.len() as u64, quoted_ids: 0 });
    Ok(())
}

fn batches(path: &Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn parquet_holds_the_bits_and_a_list_of_fixed_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let row = |number: usize| TRICKY.map(|value| value * (number % 7) as f32);
    // More rows than one batch holds, and an odd rest.
    let expected: Vec<(String, [f32; 4])> = (0..9001).map(|number| (format!("p{number}"), row(number))).collect();
    let rows: Vec<(&str, &[f32])> = expected.iter().map(|(id, row)| (id.as_str(), row.as_slice())).collect();
    write_embeddings(&path, &rows, 4).unwrap();
    let file = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
    assert_eq!(file.schema().metadata().get("offprint.fingerprint").map(String::as_str), Some("abc"));
    let mut read = 0;
    for batch in batches(&path) {
        let schema = batch.schema();
        assert!(
            matches!(schema.field(1).data_type(), DataType::FixedSizeList(element, 4) if element.name() == "element")
        );
        let (ids, lists) = (batch.column(0).as_string::<i32>(), batch.column(1).as_fixed_size_list());
        let tokens = batch.column_by_name("n_tokens").unwrap().as_primitive::<UInt32Type>();
        let dropped = batch.column_by_name("n_dropped").unwrap().as_primitive::<UInt32Type>();
        for at in 0..batch.num_rows() {
            assert_eq!(ids.value(at), expected[read].0);
            let floats = lists.value(at);
            assert_eq!(bits(floats.as_primitive::<Float32Type>().values()), bits(&expected[read].1));
            assert_eq!((tokens.value(at), dropped.value(at)), (read as u32 + 2, read as u32));
            read += 1;
        }
    }
    assert_eq!(read, 9001);
}

#[test]
fn npy_has_an_aligned_header_with_the_final_count_and_ids_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    write_embeddings(&path, &[("a", &TRICKY), ("b c", &[1.0, 2.0, 3.0, 4.0])], 4).unwrap();
    let bytes = fs::read(&path).unwrap();
    let header = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), } ";
    assert!(bytes.starts_with(header));
    assert_eq!((bytes.len(), bytes[127]), (128 + 2 * 4 * 4, b'\n'));
    let floats: Vec<f32> =
        bytes[128..].chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    assert_eq!(bits(&floats[..4]), bits(&TRICKY));
    assert_eq!(ids_path(&path), Some(folder.path().join("x.ids.txt")));
    assert_eq!(fs::read_to_string(folder.path().join("x.ids.txt")).unwrap(), "a\nb c\n");
}

#[test]
fn safetensors_and_fbin_hold_the_bits_and_what_the_encoder_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let options = EmbeddingOutputOptions {
        fingerprint: "abc".to_owned(),
        encoder: Some("tiny \"bert\"".to_owned()),
        ..Default::default()
    };
    let mut writer = embedding_writer(&path, 4, &options).unwrap();
    for (at, id) in ["a", "b\nc"].iter().enumerate() {
        let row = TRICKY.map(|value| value * at as f32);
        writer.write(&EmbeddingRow { id, embedding: &row, n_tokens: 2, n_dropped: 0 }).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), Written { rows: 2, quoted_ids: 1 });
    let bytes = fs::read(&path).unwrap();
    assert_eq!((bytes.len() - 2 * 4 * 4) % 64, 0, "the numbers are aligned");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("embeddings").unwrap();
    assert_eq!((tensor.shape(), tensor.dtype()), (&[2, 4][..], safetensors::Dtype::F32));
    let floats: Vec<u8> =
        [0.0, 1.0].iter().flat_map(|at| TRICKY.map(|value| value * at)).flat_map(f32::to_le_bytes).collect();
    assert_eq!(tensor.data(), floats);
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    let known = [("format", "pt"), ("offprint.encoder", "tiny \"bert\""), ("offprint.fingerprint", "abc")];
    assert_eq!(metadata, known.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(fs::read_to_string(folder.path().join("x.ids.txt")).unwrap(), "a\n\"b\\nc\"\n");

    let path = folder.path().join("y.fbin");
    write_embeddings(&path, &[("a", &TRICKY)], 4).unwrap();
    let numbers = TRICKY.map(f32::to_le_bytes).concat();
    assert_eq!(fs::read(&path).unwrap(), [&[1, 0, 0, 0, 4, 0, 0, 0], numbers.as_slice()].concat());
}

/// The text of a compressed file.
fn unpacked(path: &Path) -> String {
    let file = File::open(path).unwrap();
    let mut text = String::new();
    if path.extension().unwrap() == "gz" {
        GzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap();
    }
    text
}

#[test]
fn compressed_lines_are_the_same_lines_and_the_same_bytes_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let rows: Vec<(String, [f32; 4])> =
        (0..5_000).map(|n| (format!("p{n}"), TRICKY.map(|x| x / n as f32))).skip(1).collect();
    let rows: Vec<(&str, &[f32])> = rows.iter().map(|(id, row)| (id.as_str(), row.as_slice())).collect();
    write_embeddings(&path("x.jsonl"), &rows, 4).unwrap();
    let text = fs::read_to_string(path("x.jsonl")).unwrap();
    for name in ["x.jsonl.gz", "x.jsonl.zst"] {
        write_embeddings(&path(name), &rows, 4).unwrap();
        assert_eq!(unpacked(&path(name)), text);
        let first = fs::read(path(name)).unwrap();
        fs::remove_file(path(name)).unwrap();
        write_embeddings(&path(name), &rows, 4).unwrap();
        assert!(fs::read(path(name)).unwrap() == first, "{name} differs from run to run");
        assert!(first.len() < text.len() / 2);
    }
    let gz = fs::read(path("x.jsonl.gz")).unwrap();
    assert_eq!(gz[4..8], [0; 4], "a time stamp would differ from run to run");
}

#[test]
fn a_level_reaches_the_compressor() {
    let folder = tempfile::tempdir().unwrap();
    for (name, levels) in [("x.jsonl.gz", ["gzip:1", "gzip:9"]), ("x.jsonl.zst", ["zstd:1", "zstd:15"])] {
        let [fast, small] = levels.map(|level| {
            let path = folder.path().join(name);
            let options = EmbeddingOutputOptions { compression: Some(level.parse().unwrap()), ..Default::default() };
            let mut writer = embedding_writer(&path, 1, &options).unwrap();
            for number in 0..20_000_u32 {
                let value = number.wrapping_mul(2_654_435_761) as f32;
                let id = format!("p{number}");
                writer.write(&EmbeddingRow { id: &id, embedding: &[value], n_tokens: 2, n_dropped: 0 }).unwrap();
            }
            writer.finish().unwrap();
            fs::metadata(path).unwrap().len()
        });
        assert_ne!(small, fast, "{name}");
    }
}

#[test]
fn jsonl_numbers_read_back_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    write_embeddings(&path, &[("a\n\"b\"", &TRICKY)], 4).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("{\"doc_id\":\"a\\n\\\"b\\\"\",\"embedding\":[0.1,-1.5") && text.ends_with("]}\n"),
        "{text}"
    );
    let row: Value = serde_json::from_str(&text).unwrap();
    let floats: Vec<f32> = serde_json::from_value(row["embedding"].clone()).unwrap();
    assert_eq!(bits(&floats), bits(&TRICKY));
    let options = EmbeddingOutputOptions { jsonl_id_key: "paper_id".to_owned(), ..Default::default() };
    let mut writer = embedding_writer(&path, 1, &options).unwrap();
    writer.write(&EmbeddingRow { id: "a", embedding: &[1.0], n_tokens: 2, n_dropped: 0 }).unwrap();
    writer.finish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"paper_id\":\"a\",\"embedding\":[1.0]}\n");
}

#[test]
fn an_empty_corpus_gives_complete_empty_files() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["x.parquet", "x.npy", "y.safetensors", "z.fbin", "x.jsonl", "x.jsonl.gz", "x.jsonl.zst"] {
        write_embeddings(&folder.path().join(name), &[], 3).unwrap();
    }
    let safetensors = fs::read(folder.path().join("y.safetensors")).unwrap();
    assert_eq!(SafeTensors::deserialize(&safetensors).unwrap().tensor("embeddings").unwrap().shape(), &[0, 3]);
    assert_eq!(fs::read(folder.path().join("z.fbin")).unwrap(), [0, 0, 0, 0, 3, 0, 0, 0]);
    assert_eq!(unpacked(&folder.path().join("x.jsonl.gz")) + &unpacked(&folder.path().join("x.jsonl.zst")), "");
    assert!(batches(&folder.path().join("x.parquet")).is_empty());
    let npy = fs::read(folder.path().join("x.npy")).unwrap();
    assert!(npy.len() == 128 && npy.windows(6).any(|six| six == b"(0, 3)"));
    assert_eq!(fs::read(folder.path().join("x.jsonl")).unwrap(), b"");
}

#[test]
fn a_writer_that_is_dropped_leaves_the_older_file() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a.parquet", "b.npy", "c.safetensors", "d.fbin", "e.jsonl", "f.jsonl.gz", "g.jsonl.zst"];
    for name in names {
        let path = folder.path().join(name);
        fs::write(&path, "older").unwrap();
        let mut writer = embedding_writer(&path, 1, &EmbeddingOutputOptions::default()).unwrap();
        writer.write(&EmbeddingRow { id: "a", embedding: &[1.0], n_tokens: 2, n_dropped: 0 }).unwrap();
        drop(writer);
        assert_eq!(fs::read_to_string(&path).unwrap(), "older");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), names.len());
}

#[test]
fn what_a_format_cannot_hold_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let message =
        |name: &str, id: &str, row: &[f32]| write_embeddings(&at(name), &[(id, row)], 2).unwrap_err().to_string();
    for name in ["x.parquet", "x.npy", "y.safetensors", "z.fbin", "x.jsonl", "x.jsonl.gz"] {
        assert_eq!(message(name, "p", &[1.0]), "embedding of paper `p` has 1 numbers, expected 2");
    }
    assert_eq!(message("x.jsonl", "p", &[1.0, f32::NAN]), "paper `p` has the value NaN, which JSON cannot hold");
    assert_eq!(
        EmbeddingFormat::from_path(Path::new("x.csv")).unwrap_err().to_string(),
        "output `x.csv` has an unknown ending, expected one of .parquet, .npy, .safetensors, .fbin, .jsonl, .jsonl.gz, \
         .jsonl.zst"
    );
    assert_eq!(EmbeddingFormat::from_path(Path::new("x.NPY")).unwrap(), EmbeddingFormat::Npy);
    assert_eq!(EmbeddingFormat::from_path(Path::new("x.jsonl.GZ")).unwrap(), EmbeddingFormat::Jsonl);
    assert!(EmbeddingFormat::from_path(Path::new("x.gz")).is_err());
    assert_eq!(
        PredictionFormat::from_path(Path::new("x")).unwrap_err().to_string(),
        "output `x` has an unknown ending, expected one of .jsonl, .csv (each also with .gz or .zst), .parquet"
    );
    let error = write_embeddings(&at("none/x.npy"), &[], 2).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot write `{}`", at("none/x.npy").display()));
    assert_eq!(error.hint().unwrap(), format!("make the folder `{}` first", at("none").display()));
}

fn predictions() -> Vec<Prediction> {
    let ranked = |pairs: &[(&str, f32)]| pairs.iter().map(|(label, value)| ((*label).to_owned(), *value)).collect();
    vec![
        Prediction {
            id: "p,1".to_owned(),
            label: "cs.CL".to_owned(),
            probability: 0.75,
            ranked: ranked(&[("cs.CL", 0.75), ("cs.LG", 0.2), ("cs.CV", 0.05)]),
            kept: vec![Some(json!("a \"title\"")), Some(json!(2020)), None],
        },
        Prediction {
            id: "p2".to_owned(),
            label: "unknown".to_owned(),
            probability: 0.1,
            ranked: ranked(&[("cs.LG", 0.1)]),
            kept: vec![Some(Value::Null), Some(json!(["x"])), Some(json!(true))],
        },
    ]
}

fn write_predictions(path: &Path, top_k: usize) -> Result<(), Error> {
    let kept_names = ["title", "year", "flag"].map(str::to_owned).to_vec();
    let mut writer = prediction_writer(path, &PredictionOptions { top_k, kept_names, ..Default::default() })?;
    for prediction in predictions() {
        writer.write(&prediction)?;
    }
    writer.finish()
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
    let options = PredictionOptions { compression: Some("zstd".parse().unwrap()), ..Default::default() };
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
        prediction_writer(&folder.path().join(name), &PredictionOptions { top_k, kept_names, ..Default::default() })
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
    let nan = Prediction { probability: f32::NAN, kept: vec![], ..predictions().remove(0) };
    let error = open("x.jsonl", 0, &[]).unwrap().write(&nan).unwrap_err();
    assert_eq!(error.to_string(), "paper `p,1` has the value NaN, which JSON cannot hold");
}
