//! Promise: one corpus gives the same embeddings in every format, through a pipe as from files, whole as in shards, and
//! an input that cannot be read says why and names the file.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Said, Workplace, root, tiny_bundle};

fn fixture(name: &str) -> PathBuf {
    root().join("tests/data/formats").join(name)
}

/// Embeds into `out.jsonl` and gives its lines.
fn embed(place: &Workplace, args: &[&str]) -> Vec<String> {
    let mut all = vec!["embed", "--model", tiny_bundle(), "-o", "out.jsonl"];
    all.extend(args);
    place.run(&all, 0);
    place.read("out.jsonl").lines().map(str::to_owned).collect()
}

#[test]
fn a_mixed_list_and_a_pipe_give_what_one_file_gives() {
    let place = Workplace::new();
    let jsonl = fixture("pandas.jsonl");
    let expected = embed(&place, &[jsonl.to_str().unwrap()]);
    assert_eq!(expected.len(), 12);
    for name in ["pandas.jsonl.zst", "pyarrow-snappy.parquet"] {
        let bytes = fs::read(fixture(name)).unwrap();
        let args = ["embed", "--model", tiny_bundle(), "-o", "out.jsonl", "-"];
        Said::new(place.offprint(&args).write_stdin(bytes).output().unwrap(), 0);
        assert_eq!(place.read("out.jsonl").lines().collect::<Vec<_>>(), expected, "{name}");
    }
    let (zst, parquet) = (fixture("pandas.jsonl.zst"), fixture("polars-zstd.parquet"));
    let args = ["--no-cache", zst.to_str().unwrap(), parquet.to_str().unwrap()];
    assert_eq!(embed(&place, &args), [&expected[..], &expected[..]].concat());
}

#[test]
fn the_shards_of_a_run_are_the_run() {
    let place = Workplace::new();
    let corpus = fixture("pandas.jsonl");
    let corpus = corpus.to_str().unwrap();
    let mut whole = embed(&place, &[corpus, "--limit", "11"]);
    let mut parts = Vec::new();
    for shard in ["1/3", "2/3", "3/3"] {
        parts.extend(embed(&place, &[corpus, "--limit", "11", "--shard", shard]));
    }
    whole.sort();
    parts.sort();
    assert_eq!(parts, whole);
}

#[test]
fn a_shard_without_rows_is_no_failure() {
    let place = Workplace::new();
    place.write("one.jsonl", "{\"id\": \"a\", \"title\": \"T\"}\n");
    let runs: Vec<Said> = ["1/2", "2/2"]
        .map(|shard| place.run(&["embed", "--model", tiny_bundle(), "one.jsonl", "--json", "--shard", shard], 0))
        .into();
    let rows: Vec<u64> = runs.iter().map(|said| said.json()["rows"].as_u64().unwrap()).collect();
    assert_eq!(rows.iter().sum::<u64>(), 1);
    let empty = rows.iter().position(|&rows| rows == 0).unwrap();
    runs[empty].expect(&["warning: no row belongs to this shard; the corpus has 1"]);
}

#[test]
fn a_schema_knows_the_fields_of_its_dump() {
    let place = Workplace::new();
    place.write("plain.jsonl", "{\"id\": \"W1\", \"title\": \"T\", \"abstract\": \"The sea rises\"}\n");
    place.write(
        "works.jsonl",
        "{\"id\": \"W1\", \"display_name\": \"T\", \"abstract_inverted_index\": {\"rises\": [2], \"The\": [0], \"sea\": [1]}}\n",
    );
    let expected = embed(&place, &["plain.jsonl"]);
    assert_eq!(embed(&place, &["works.jsonl", "--schema", "openalex"]), expected);
    let metadata = fixture("metadata.json");
    let ids = embed(&place, &[metadata.to_str().unwrap(), "--schema", "specter-metadata"]);
    assert!(ids.len() == 12 && ids[0].contains("\"p0\""));
}

#[test]
fn what_cannot_be_read_is_named_with_the_way_out() {
    let place = Workplace::new();
    place.write("old.csv", "id,title\ra,T\r");
    place.write(
        "wide.tsv",
        "\u{feff}".encode_utf16().chain("id\ttitle\n".encode_utf16()).flat_map(u16::to_le_bytes).collect::<Vec<_>>(),
    );
    place.write("papers", "{\"id\": \"a\", \"title\": \"T\"}\n");
    place.write("papers.jsonl", "{\"id\": \"a\", \"title\": \"T\"}\n");
    let packed = fs::read(fixture("pandas.tsv.zst")).unwrap();
    place.write("cut.tsv.zst", &packed[..packed.len() - 3]);
    let cases: [(&[&str], &[&str]); 9] = [
        (&["old.csv"], &["error: `old.csv` ends its lines with carriage returns alone", "  hint: convert it with `tr"]),
        (&["wide.tsv"], &["error: `wide.tsv` is UTF-16, expected UTF-8", "  hint: convert it with `iconv"]),
        (
            &["papers"],
            &["error: `papers` has an unknown ending", ".parquet", "  hint: say what it is with `--input-format`"],
        ),
        (&["papers", "--input-format", "json"], &["error: ", "jsonl, csv, tsv, parquet"]),
        (&["papers.jsonl", "--schema", "arxive"], &["error: ", "schema `arxive` is unknown", "openalex"]),
        (&["papers.jsonl", "--shard", "5/4"], &["error: ", "shard `5/4` is none, expected i/n"]),
        (&["papers.jsonl", "--shard", "4"], &["error: ", "shard `4` is none"]),
        (
            &["cut.tsv.zst"],
            &["error: cut.tsv.zst:", ": the zstd data stops before its end", "  hint: fetch the file again"],
        ),
        (&["-", "-"], &["error: `stdin` was read already and cannot be read twice"]),
    ];
    for (args, parts) in cases {
        let mut all = vec!["embed", "--model", tiny_bundle(), "-o", "x.jsonl"];
        all.extend(args);
        let said = place.run(&all, 2);
        said.expect(parts);
        assert!(said.stdout.is_empty() && !place.path("x.jsonl").exists(), "{args:?}");
    }
    let said = place.run(&["embed", "--model", tiny_bundle(), "papers", "--input-format", "jsonl", "--json"], 0);
    assert_eq!(said.json()["rows"], 1);
}

#[test]
fn the_help_names_the_labels_of_each_schema() {
    let said = Workplace::new().run(&["train", "--help"], 0);
    for part in ["arxiv", "category", "openalex", "subfield", "scirepeval", "fos", "--shard <I/N>", "--input-format"] {
        assert!(said.stdout.contains(part), "expected {part:?} in:\n{}", said.stdout);
    }
}

#[test]
fn real_scirepeval_rows_are_papers_with_labels() {
    use offprint::paper::{Corpus, CorpusOptions, FieldMap, Row, Schema};
    let Some(folder) = common::data("scirepeval_samples") else { return };
    let read = |file: &str, fields: FieldMap| {
        let options = CorpusOptions { fields, schema: Some(Schema::Scirepeval), ..CorpusOptions::default() };
        let corpus = Corpus::open(&[folder.join(file).display().to_string()], options).unwrap();
        let paper = |row: Result<Row, _>| match row.unwrap() {
            Row::Paper(paper) => paper,
            Row::Rejected(rejection) => panic!("{rejection:?}"),
        };
        corpus.rows().map(paper).collect::<Vec<_>>()
    };
    for (file, label, rows, first) in [
        ("fos_small.jsonl.gz", "fos", 205, ("121676082", "Mathematics")),
        ("mesh_small.jsonl.gz", "mesh", 206, ("7571069", "")),
    ] {
        let papers = read(file, FieldMap { labels: vec![label.to_owned()], ..FieldMap::default() });
        assert_eq!(papers.len(), rows);
        assert_eq!(papers[0].id, first.0);
        assert!(papers[0].label().unwrap().contains(first.1));
        assert!(papers.iter().filter(|paper| paper.label().is_some()).count() > rows * 9 / 10);
    }
    // Rows of triplets hold papers within: names with points reach them.
    let within = FieldMap {
        id: Some("query.corpus_id".to_owned()),
        title: Some("query.title".to_owned()),
        abstract_text: Some("query.abstract".to_owned()),
        ..FieldMap::default()
    };
    assert_eq!(read("s2and_small.jsonl.gz", within).len(), 40);
}
