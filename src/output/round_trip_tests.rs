//! Any ids and any numbers come back from every format as they went in, and Parquet keeps them across its borders.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use proptest::prelude::*;
use safetensors::SafeTensors;
use serde_json::Value;

use super::{EmbeddingOutputOptions, EmbeddingRow, embedding_writer, ids_path};

type Rows = Vec<(String, Vec<f32>)>;

fn write(path: &Path, rows: &Rows, dim: usize, compression: Option<&str>) {
    let compression = compression.map(|text| text.parse().unwrap());
    let options = EmbeddingOutputOptions { compression, ..Default::default() };
    let mut writer = embedding_writer(path, dim, &options).unwrap();
    for (id, embedding) in rows {
        writer.write(&EmbeddingRow { id, embedding, n_tokens: 2, n_dropped: 0 }).unwrap();
    }
    assert_eq!(writer.finish().unwrap().rows, rows.len() as u64);
}

/// Ids and the bits of the numbers, however they are written.
fn read(path: &Path, dim: usize) -> Vec<(String, Vec<u32>)> {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut bytes = Vec::new();
    let mut file = File::open(path).unwrap();
    match name.as_str() {
        "x.jsonl.gz" => flate2::read::GzDecoder::new(file).read_to_end(&mut bytes),
        "x.jsonl.zst" => zstd::Decoder::new(file).unwrap().read_to_end(&mut bytes),
        _ => file.read_to_end(&mut bytes),
    }
    .unwrap();
    match name.split_once('.').unwrap().1 {
        "parquet" => read_parquet(path),
        "npy" => matrix(path, &bytes[128..], dim),
        "fbin" => matrix(path, &bytes[8..], dim),
        "safetensors" => {
            matrix(path, SafeTensors::deserialize(&bytes).unwrap().tensor("embeddings").unwrap().data(), dim)
        }
        _ => String::from_utf8(bytes).unwrap().lines().map(json_row).collect(),
    }
}

fn json_row(line: &str) -> (String, Vec<u32>) {
    let row: Value = serde_json::from_str(line).unwrap();
    let floats: Vec<f32> = serde_json::from_value(row["embedding"].clone()).unwrap();
    (row["doc_id"].as_str().unwrap().to_owned(), floats.iter().map(|value| value.to_bits()).collect())
}

fn matrix(path: &Path, bytes: &[u8], dim: usize) -> Vec<(String, Vec<u32>)> {
    let ids = fs::read_to_string(ids_path(path).unwrap()).unwrap();
    let id = |line: &str| if line.starts_with('"') { serde_json::from_str(line).unwrap() } else { line.to_owned() };
    let ids: Vec<String> = ids.split_terminator('\n').map(id).collect();
    assert_eq!(ids.len() * dim * 4, bytes.len());
    let bits: Vec<u32> = bytes.chunks_exact(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect();
    ids.into_iter().zip(bits.chunks(dim).map(<[u32]>::to_vec)).collect()
}

fn read_parquet(path: &Path) -> Vec<(String, Vec<u32>)> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let (ids, lists) = (batch.column(0).as_string::<i32>(), batch.column(1).as_fixed_size_list());
        for at in 0..batch.num_rows() {
            let list = lists.value(at);
            let floats = list.as_primitive::<Float32Type>().values();
            rows.push((ids.value(at).to_owned(), floats.iter().map(|value| value.to_bits()).collect()));
        }
    }
    rows
}

fn bits_of(rows: &Rows) -> Vec<(String, Vec<u32>)> {
    rows.iter().map(|(id, row)| (id.clone(), row.iter().map(|value| value.to_bits()).collect())).collect()
}

fn rows(dim: usize) -> impl Strategy<Value = Rows> {
    let float = any::<u32>().prop_map(f32::from_bits).prop_filter("JSON has no word for it", |value| value.is_finite());
    prop::collection::vec((any::<String>(), prop::collection::vec(float, dim)), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_ids_and_numbers_come_back((dim, rows) in (1_usize..6).prop_flat_map(|dim| (Just(dim), rows(dim)))) {
        let root = tempfile::tempdir().unwrap();
        let endings = ["parquet", "npy", "safetensors", "fbin", "jsonl", "jsonl.gz", "jsonl.zst"];
        for ending in endings {
            // Matrices of one stem would share their ids.
            let folder = root.path().join(ending);
            fs::create_dir(&folder).unwrap();
            let path = folder.join(format!("x.{ending}"));
            write(&path, &rows, dim, None);
            prop_assert_eq!(read(&path, dim), bits_of(&rows), "{}", ending);
        }
        for how in ["zstd:1", "snappy", "none"] {
            let path = root.path().join("x.parquet");
            write(&path, &rows, dim, Some(how));
            prop_assert_eq!(read(&path, dim), bits_of(&rows), "{}", how);
        }
    }
}

#[test]
fn parquet_keeps_rows_across_batches_and_row_groups() {
    // So wide that 4 rows are a batch and 64 a row group.
    const DIM: usize = 1 << 16;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let all: Rows =
        (0..130).map(|row| (format!("p{row}"), (0..DIM).map(|at| (row * DIM + at) as f32 / 7.0).collect())).collect();
    for count in [1, 3, 4, 5, 63, 64, 65, 130] {
        let rows = all[..count].to_vec();
        for how in if count == 130 { &[None, Some("zstd"), Some("snappy"), Some("none")][..] } else { &[None] } {
            write(&path, &rows, DIM, *how);
            let file = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
            assert_eq!(file.num_row_groups(), count.div_ceil(64), "{count} rows, {how:?}");
            assert!(read_parquet(&path) == bits_of(&rows), "{count} rows, {how:?}");
        }
    }
}
