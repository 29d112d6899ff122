//! Detection metrics at the size of one published comparison (10,000 + 26,032 scores) and at
//! 20 million scores.
//!
//! ```text
//! cargo bench -p isomax-burn --bench metrics
//! ```

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use isomax_burn::metrics::{OodMetrics, PaperMetrics};

/// Overlapping, nearly continuous scores from a fixed linear congruential sequence.
fn scores(count: usize, shift: f32, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut uniform = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..count).map(|_| uniform() + uniform() + uniform() + shift).collect()
}

fn metrics(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("metrics");
    for (num_in, num_out) in [(10_000, 26_032), (10_000_000, 10_000_000)] {
        let (inside, outside) = (scores(num_in, 0.5, 1), scores(num_out, 0.0, 2));
        group.sample_size(10).measurement_time(Duration::from_secs(5));
        group.bench_function(BenchmarkId::new("OodMetrics", num_in + num_out), |b| {
            b.iter(|| black_box(OodMetrics::from_scores(&inside, &outside)));
        });
        group.bench_function(BenchmarkId::new("PaperMetrics", num_in + num_out), |b| {
            b.iter(|| black_box(PaperMetrics::from_scores(&inside, &outside)));
        });
    }
}

criterion_group!(benches, metrics);
criterion_main!(benches);
