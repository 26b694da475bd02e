//! What the embedding cache costs: appending rows until they are durable, opening, looking up, and making a matrix.
//!
//! `cargo bench --bench cache`. Rows of 384 values, as small encoders give them; the parts are in the page cache, so
//! that lookups are measured and not the disk. Appending syncs, so it measures the disk of the temporary folder.

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use offprint::cache::{EmbeddingCache, Key, RowMeta, Space};

const DIM: usize = 384;
const ROWS: u64 = 40_000;

fn space() -> Space {
    Space { fingerprint: "bench".into(), dim: DIM, fields: [("pooling".to_owned(), "mean".to_owned())].into() }
}

fn keys(rows: std::ops::Range<u64>) -> Vec<Key> {
    rows.map(|row| Key::of_text(&row.to_string())).collect()
}

fn open(root: &Path) -> EmbeddingCache {
    EmbeddingCache::open(root, &space()).expect("the temporary folder can be written")
}

fn append(cache: &EmbeddingCache, keys: &[Key]) {
    let embedding = [0.25; DIM];
    for key in keys {
        cache.append(*key, &embedding, RowMeta::default()).expect("a row of the right length");
    }
    cache.close_part().expect("the temporary folder has room");
}

/// A cache of all keys in so many parts, and the folder that goes when it is dropped.
fn filled(keys: &[Key], parts: usize) -> (tempfile::TempDir, EmbeddingCache) {
    let root = tempfile::tempdir().expect("a temporary folder");
    let cache = open(root.path());
    keys.chunks(keys.len().div_ceil(parts)).for_each(|keys| append(&cache, keys));
    (root, cache)
}

fn bench_append(criterion: &mut Criterion) {
    let keys = keys(0..4_000);
    let mut group = criterion.benchmark_group("append and close");
    group.throughput(Throughput::Elements(keys.len() as u64)).sample_size(10);
    group.bench_function("4000 rows", |bencher| {
        let fresh = || filled(&[Key([0; Key::BYTES])], 1);
        bencher.iter_batched(
            fresh,
            |(root, cache)| {
                append(&cache, &keys);
                (root, cache)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn bench_read(criterion: &mut Criterion) {
    let (present, absent) = (keys(0..ROWS), keys(ROWS..2 * ROWS));
    for parts in [1, 16] {
        let (root, cache) = filled(&present, parts);
        let id = |name| BenchmarkId::new(name, format!("{ROWS} rows in {parts} parts"));
        let mut group = criterion.benchmark_group("read");
        group.sample_size(20);
        group.bench_function(id("open"), |bencher| bencher.iter(|| open(root.path())));
        group.throughput(Throughput::Elements(ROWS));
        for (name, keys) in [("hit", &present), ("miss", &absent)] {
            group.bench_function(id(name), |bencher| {
                bencher.iter(|| keys.iter().filter(|key| cache.contains(black_box(key))).count());
            });
        }
        for (name, keys) in [("hits at once", &present), ("misses at once", &absent)] {
            group.bench_function(id(name), |bencher| bencher.iter(|| cache.contains_all(black_box(keys))));
        }
        group.throughput(Throughput::Bytes(ROWS * DIM as u64 * 4));
        let mut matrix = vec![0.0; present.len() * DIM];
        group.bench_function(id("matrix"), |bencher| {
            bencher.iter(|| cache.copy_rows(present.iter().copied().zip(black_box(&mut matrix).chunks_exact_mut(DIM))));
        });
        group.finish();
    }
}

criterion_group!(benches, bench_append, bench_read);
criterion_main!(benches);
