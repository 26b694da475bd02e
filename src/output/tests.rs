//! Each format written and read back, and each refusal at its border.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt32Type};
use arrow_schema::DataType;
use flate2::read::GzDecoder;
use safetensors::SafeTensors;
use serde_json::Value;

use super::{EmbeddingFormat, EmbeddingOutputOptions, EmbeddingRow, Error, Written, embedding_writer, ids_path};

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

pub(super) fn batches(path: &Path) -> Vec<RecordBatch> {
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
pub(super) fn unpacked(path: &Path) -> String {
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
    let error = write_embeddings(&at("none/x.npy"), &[], 2).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot write `{}`", at("none/x.npy").display()));
    assert_eq!(error.hint().unwrap(), format!("make the folder `{}` first", at("none").display()));
}
