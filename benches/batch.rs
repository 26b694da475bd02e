//! Plans of windows of text lengths, and the padding of one batch; needs no model.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use offprint::encode::{Encoding, TokenBudget, assemble, plan};

/// Lengths of abstracts: 20 to 430 tokens, most of them around 230.
fn lengths(count: usize) -> Vec<usize> {
    let spread = |state: usize| (state.wrapping_mul(2_654_435_761) >> 7) % 211;
    (0..count).map(|row| 20 + spread(row) + spread(row * 31 + 7)).collect()
}

fn plans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    let window = lengths(4096);
    group.throughput(Throughput::Elements(window.len() as u64));
    for tokens in [1024, 16_384] {
        let budget = TokenBudget::new(tokens, 512).expect("the budget holds a text of max length");
        group.bench_with_input(BenchmarkId::new("abstracts", tokens), &budget, |bencher, &budget| {
            bencher.iter(|| black_box(plan(&window, budget)));
        });
    }
    // Titles alone are short, so that most of them fit in one batch: the plan's worst case.
    let titles: Vec<usize> = window.iter().map(|length| 4 + length % 20).collect();
    let budget = TokenBudget::new(16_384, 512).expect("the budget holds a text of max length");
    group.bench_function("titles/16384", |bencher| bencher.iter(|| black_box(plan(&titles, budget))));
    group.finish();
}

fn padding(criterion: &mut Criterion) {
    let ids = |length: usize| (0..).take(length).collect();
    let encodings: Vec<Encoding> =
        [256, 255, 254, 250].map(|length| Encoding { ids: ids(length), n_dropped: 0, title_cut: false }).into();
    let batch: Vec<&Encoding> = encodings.iter().collect();
    let mut group = criterion.benchmark_group("assemble");
    group.throughput(Throughput::Elements(1024));
    group.bench_function("4x256", |bencher| bencher.iter(|| black_box(assemble(&batch, 0))));
    group.finish();
}

criterion_group!(benches, plans, padding);
criterion_main!(benches);
