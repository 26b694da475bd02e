//! Shards of a corpus: together they are the corpus, whatever the order of its files.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::{CorpusOptions, Row, Shard};
use super::{Folder, open_with};

/// Ids of the papers, or file and line of the rejected rows, in a shard; also how many rows the other shards have.
fn shard(paths: &[&std::path::Path], shard: Option<Shard>, limit: Option<u64>) -> (Vec<String>, u64) {
    let corpus = open_with(paths, CorpusOptions { shard, limit, ..CorpusOptions::default() }).unwrap();
    let name = |row| match row {
        Row::Paper(paper) => paper.id,
        Row::Rejected(rejection) => rejection.origin.to_string(),
    };
    let rows = corpus.rows().map(|row| name(row.unwrap())).collect();
    (rows, corpus.rows_of_other_shards())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_shards_of_a_corpus_are_its_rows_once_each(
        ids in proptest::collection::vec("[a-z]{0,3}", 1..60), broken in 0usize..60, count in 1u32..6, cut in 0usize..60,
    ) {
        let mut lines: Vec<String> =
            ids.iter().map(|id| format!("{{\"id\": \"{id}\", \"title\": \"T\"}}\n")).collect();
        let at = broken.min(lines.len() - 1);
        lines[at] = "{broken\n".to_owned();
        let cut = cut.min(lines.len());
        let folder = Folder::new();
        let one = folder.write("one.jsonl", lines[..cut].concat().as_bytes());
        let two = folder.write("two.jsonl", lines[cut..].concat().as_bytes());
        for limit in [None, Some(lines.len() as u64 / 2)] {
            let (mut whole, others) = shard(&[&one, &two], None, limit);
            prop_assert_eq!(others, 0);
            let mut parts = Vec::new();
            for index in 1..=count {
                let (part, others) = shard(&[&one, &two], Some(Shard::new(index, count).unwrap()), limit);
                prop_assert_eq!(part.len() as u64 + others, whole.len() as u64);
                prop_assert!(part.iter().all(|name| Shard::of_id(name, count) == index));
                parts.extend(part);
            }
            whole.sort();
            parts.sort();
            prop_assert_eq!(parts, whole);
        }
    }

    #[test]
    fn a_shard_does_not_depend_on_the_order_of_the_files(ids in proptest::collection::btree_set("[a-z]{1,4}", 2..60)) {
        let lines: Vec<String> = ids.iter().map(|id| format!("{{\"id\": \"{id}\", \"title\": \"T\"}}\n")).collect();
        let folder = Folder::new();
        let one = folder.write("one.jsonl", lines[..lines.len() / 2].concat().as_bytes());
        let two = folder.write("two.jsonl", lines[lines.len() / 2..].concat().as_bytes());
        let second = Some(Shard::new(2, 3).unwrap());
        let names = |paths: &[&std::path::Path]| shard(paths, second, None).0.into_iter().collect::<BTreeSet<_>>();
        prop_assert_eq!(names(&[&one, &two]), names(&[&two, &one]));
    }
}
