//! How the cache holds up from 10,000 to 10 million rows of 384 values: filling, opening, looking up, making a matrix,
//! and the anonymous memory that it takes.
//!
//! `cargo bench --bench scale`. Writes one JSON object to `OFFPRINT_SCALE_JSON`, else to stdout. Works in a folder of its
//! own in `OFFPRINT_SCALE_DIR`, else in the system's temporary folder: the largest size needs 20 GB there, which go when
//! it is done. `OFFPRINT_SCALE_ROWS` (`10000,100000`) chooses other sizes.
//!
//! Each size is filled by one process, with vectors that cost nothing to make, and read by another, so that no number is
//! flattered by what the first one left mapped. Look-ups and copies are repeated; the best one counts and all are given,
//! with the load of the machine: what else runs can only make them slower.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use offprint::cache::{EmbeddingCache, Key, MergeScope, RowMeta, Space, stat};
use offprint::runtime::memory_in_use;
use serde_json::{Value, json};

const DIM: usize = 384;
const SIZES: [u64; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
/// Keys that are looked for at once in the largest look-ups; so many single ones are done too.
const KEYS: u64 = 1_000_000;
/// Keys of a window of a run.
const WINDOW: usize = 8_192;
/// Rows of the largest matrix: 768 MB.
const MATRIX_ROWS: u64 = 500_000;
const REPEATS: usize = 5;

const ROWS: &str = "OFFPRINT_SCALE_ROWS";
const FOLDER: &str = "OFFPRINT_SCALE_DIR";
const RESULT: &str = "OFFPRINT_SCALE_JSON";
const STAGE: &str = "OFFPRINT_SCALE_STAGE";

type Outcome = Result<Value, Box<dyn std::error::Error>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::var_os(FOLDER).map_or_else(std::env::temp_dir, PathBuf::from);
    if let Ok(stage) = std::env::var(STAGE) {
        let rows: u64 = std::env::var(ROWS)?.parse()?;
        let result = if stage == "fill" { fill(&folder, rows)? } else { read(&folder, rows)? };
        std::fs::write(folder.join("result.json"), result.to_string())?;
        return Ok(());
    }
    let sizes: Vec<u64> = match std::env::var(ROWS) {
        Ok(sizes) => sizes.split(',').map(|size| size.trim().parse()).collect::<Result<_, _>>()?,
        Err(_) => SIZES.into(),
    };
    std::fs::create_dir_all(&folder)?;
    let mut results = Vec::new();
    for rows in sizes {
        let own = tempfile::Builder::new().prefix("offprint-scale-").tempdir_in(&folder)?;
        let filled = run_stage("fill", own.path(), rows)?;
        let read = run_stage("read", own.path(), rows)?;
        results.push(json!({ "rows": rows, "fill": filled, "read": read }));
    }
    let report = serde_json::to_string_pretty(&json!({
        "dim": DIM, "threads": rayon::current_num_threads(), "repeats": REPEATS, "sizes": results,
    }))?;
    match std::env::var_os(RESULT) {
        Some(path) => std::fs::write(path, report + "\n")?,
        None => std::io::Write::write_all(&mut std::io::stdout(), report.as_bytes())?,
    }
    Ok(())
}

fn run_stage(stage: &str, folder: &Path, rows: u64) -> Outcome {
    let status = Command::new(std::env::current_exe()?)
        .envs([(STAGE, stage.to_owned()), (ROWS, rows.to_string())])
        .env(FOLDER, folder)
        .status()?;
    if !status.success() {
        return Err(format!("the stage `{stage}` with {rows} rows ended with {status}").into());
    }
    Ok(serde_json::from_slice(&std::fs::read(folder.join("result.json"))?)?)
}

fn space() -> Space {
    Space { fingerprint: "scale".into(), dim: DIM, fields: [("pooling".to_owned(), "mean".to_owned())].into() }
}

fn key(row: u64) -> Key {
    Key::of_text(&row.to_string())
}

/// Appends all rows as a run does, merges between parts included.
fn fill(folder: &Path, rows: u64) -> Outcome {
    let before = anonymous();
    let mut peak = before;
    let cache = EmbeddingCache::open(&folder.join("cache"), &space())?;
    let started = Instant::now();
    let mut embedding = [0.25_f32; DIM];
    for row in 0..rows {
        embedding[0] = row as f32;
        cache.append(key(row), &embedding, RowMeta { n_tokens: 200, ..RowMeta::default() })?;
        if row % 4_096 == 0 {
            peak = peak.max(anonymous());
        }
    }
    cache.close_part()?;
    let appended = started.elapsed().as_secs_f64();
    cache.finish()?;
    let finished = started.elapsed().as_secs_f64();
    Ok(json!({
        "seconds_until_durable": appended,
        "seconds_with_last_merge": finished,
        "rows_per_second": rows as f64 / appended,
        "parts": cache.parts(),
        "peak_anonymous_bytes": peak - before,
        "load": load(),
    }))
}

fn read(folder: &Path, rows: u64) -> Outcome {
    let root = folder.join("cache");
    let mut random = Random(7);
    let present: Vec<Key> = (0..KEYS.min(rows)).map(|_| key(random.below(rows))).collect();
    let absent: Vec<Key> = (0..KEYS.min(rows)).map(|_| key(rows + random.below(rows))).collect();
    let before = anonymous();
    let started = Instant::now();
    let cache = EmbeddingCache::open(&root, &space())?;
    let first_open = started.elapsed().as_secs_f64();
    let opened = seconds(|| drop(EmbeddingCache::open(&root, &space())));
    let first = Instant::now();
    let found = cache.contains_all(&absent).iter().chain(&cache.contains_all(&present)).filter(|held| **held).count();
    let first = first.elapsed().as_secs_f64();
    assert_eq!(found, present.len(), "present keys are found, absent ones are not");
    let look_ups = look_ups(&cache, &present, &absent);
    let memory = anonymous().saturating_sub(before);
    let parts = cache.parts();
    let mut result = json!({
        "parts": parts,
        "bytes": stat(&root)?.spaces[0].bytes,
        "first_open_seconds": first_open,
        "open_seconds": best(&opened),
        "first_look_ups_seconds": first,
        "look_ups": look_ups,
        "matrix": matrix(&cache, rows),
        "anonymous_bytes": memory,
        "anonymous_bytes_per_row": memory as f64 / rows as f64,
        "load": load(),
    });
    if parts > 1 && rows < KEYS * 2 {
        let started = Instant::now();
        cache.merge(MergeScope::All)?;
        result["merge_all_seconds"] = json!(started.elapsed().as_secs_f64());
    }
    Ok(result)
}

fn look_ups(cache: &EmbeddingCache, present: &[Key], absent: &[Key]) -> Value {
    let mut found = serde_json::Map::new();
    for (name, keys) in [("present", present), ("absent", absent)] {
        let one = || _ = black_box(keys.iter().filter(|key| cache.contains(black_box(key))).count());
        let windows = || keys.chunks(WINDOW).for_each(|keys| _ = black_box(cache.contains_all(black_box(keys))));
        let all = || _ = black_box(cache.contains_all(black_box(keys)));
        let rate = |times: Vec<f64>| {
            let rates: Vec<f64> = times.iter().map(|time| keys.len() as f64 / time).collect();
            json!({ "best_keys_per_second": keys.len() as f64 / best(&times), "keys_per_second": rates })
        };
        found.insert(
            name.to_owned(),
            json!({
                "one_by_one": rate(seconds(one)),
                "in_windows": rate(seconds(windows)),
                "in_windows_one_thread": rate(on_one_thread(|| seconds(windows))),
                "at_once": rate(seconds(all)),
            }),
        );
    }
    found.into()
}

fn matrix(cache: &EmbeddingCache, rows: u64) -> Value {
    let count = MATRIX_ROWS.min(rows);
    let mut random = Random(11);
    let scattered: Vec<Key> = (0..count).map(|_| key(random.below(rows))).collect();
    let mut sorted = scattered.clone();
    sorted.sort_unstable();
    // Touched once, so that copying is measured and not the first use of memory.
    let mut matrix = vec![1.0_f32; count as usize * DIM];
    let mut copy = |keys: &[Key]| {
        let rows = keys.iter().copied().zip(matrix.chunks_exact_mut(DIM));
        assert!(cache.copy_rows(rows).iter().all(Option::is_some));
    };
    let bytes = (count as usize * DIM * size_of::<f32>()) as f64;
    let rate = |times: Vec<f64>| {
        let rates: Vec<f64> = times.iter().map(|time| bytes / time / 1e9).collect();
        json!({ "best_gb_per_second": bytes / best(&times) / 1e9, "gb_per_second": rates })
    };
    json!({
        "rows": count,
        "scattered_one_thread": rate(on_one_thread(|| seconds(|| copy(&scattered)))),
        "scattered": rate(seconds(|| copy(&scattered))),
        "sorted_one_thread": rate(on_one_thread(|| seconds(|| copy(&sorted)))),
        "sorted": rate(seconds(|| copy(&sorted))),
    })
}

fn on_one_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread can be started");
    pool.install(work)
}

fn seconds(mut work: impl FnMut()) -> Vec<f64> {
    let time = |_| {
        let started = Instant::now();
        work();
        started.elapsed().as_secs_f64()
    };
    (0..REPEATS).map(time).collect()
}

fn best(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

fn anonymous() -> u64 {
    memory_in_use().map_or(0, |memory| memory.anonymous)
}

/// The system's load averages, as it gives them.
fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}

/// xorshift64 (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
