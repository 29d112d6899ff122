//! Heads and losses against `nn::Linear` + `CrossEntropyLoss`: time and peak memory, forward and
//! forward + backward, on the flex backend.
//!
//! ```text
//! cargo bench -p isomax-burn --bench heads
//! ```
//!
//! `distance/…` compares the formulations that a distance layer could have been built on.

use std::hint::black_box;
use std::time::Duration;

use burn::backend::{Autodiff, Flex};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Int, Tensor};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use isomax_burn::{Head, HeadConfig, HeadKind, LossConfig, OodHead};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

type Inference = Flex;
type Training = Autodiff<Flex>;

/// Batch size, features, classes.
const SHAPES: [[usize; 3]; 3] = [[64, 342, 10], [256, 512, 100], [256, 2048, 1000]];

/// The stock layer and the heads, under one interface.
enum Layer<B: Backend> {
    Linear(Linear<B>),
    Head(Head<B>),
}

impl<B: Backend> Layer<B> {
    fn all([_, features, classes]: [usize; 3]) -> Vec<(String, Self)> {
        let device = B::Device::default();
        let linear = Self::Linear(LinearConfig::new(features, classes).init(&device));
        let heads = HeadKind::ALL.map(|kind| {
            let head = HeadConfig::new(kind, features, classes).init(&device);
            (kind.to_string(), Self::Head(head))
        });
        std::iter::once(("linear".to_owned(), linear)).chain(heads).collect()
    }

    fn logits(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        match self {
            Self::Linear(linear) => linear.forward(features),
            Self::Head(head) => head.forward(features),
        }
    }

    fn loss(&self, features: Tensor<B, 2>, targets: Tensor<B, 1, Int>) -> Tensor<B, 1> {
        let device = features.device();
        let logits = self.logits(features);
        match self {
            Self::Linear(_) => CrossEntropyLossConfig::new().init(&device).forward(logits, targets),
            Self::Head(head) => LossConfig::new(head.kind()).init().forward(logits, targets),
        }
    }
}

fn batch<B: Backend>([size, features, classes]: [usize; 3]) -> (Tensor<B, 2>, Tensor<B, 1, Int>) {
    let device = B::Device::default();
    let range = Distribution::Uniform(0.0, classes as f64);
    (
        Tensor::random([size, features], Distribution::Normal(0.0, 1.0), &device),
        Tensor::<B, 1>::random([size], range, &device).int(),
    )
}

fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    [name, shape]: [&str; 2],
    mut work: impl FnMut(),
) {
    work();
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage_as_mb();
    work();
    println!("{name} {shape}: peak memory {:.2} MB", MEMORY.peak_usage_as_mb() - before);
    group.bench_function(BenchmarkId::new(name, shape), |b| b.iter(&mut work));
}

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("heads");
    group.sample_size(30).measurement_time(Duration::from_secs(4));
    for shape in SHAPES {
        let name = format!("{shape:?}");
        let (features, targets) = batch::<Inference>(shape);
        for (layer, module) in Layer::<Inference>::all(shape) {
            measure(&mut group, [&format!("forward/{layer}"), &name], || {
                black_box(module.loss(features.clone(), targets.clone()).into_data());
            });
        }
        let (features, targets) = batch::<Training>(shape);
        for (layer, module) in Layer::<Training>::all(shape) {
            measure(&mut group, [&format!("backward/{layer}"), &name], || {
                let features = features.clone().require_grad();
                let gradients = module.loss(features.clone(), targets.clone()).backward();
                black_box(features.grad(&gradients));
            });
        }
    }
}

/// `[N, 1, D] − [1, C, D]`: exact, and `N·C·D` numbers in memory.
fn broadcast(x: Tensor<Inference, 2>, p: Tensor<Inference, 2>) -> Tensor<Inference, 2> {
    let difference = x.unsqueeze_dim::<3>(1) - p.unsqueeze_dim::<3>(0);
    difference.powi_scalar(2).sum_dim(2).squeeze_dim::<2>(2).sqrt()
}

/// As [`broadcast`], one class after the other.
fn chunked(x: Tensor<Inference, 2>, p: Tensor<Inference, 2>) -> Tensor<Inference, 2> {
    let [classes, features] = p.dims();
    let column = |c: usize| {
        let row = p.clone().slice([c..c + 1, 0..features]);
        (x.clone() - row).powi_scalar(2).sum_dim(1).sqrt()
    };
    Tensor::cat((0..classes).map(column).collect(), 1)
}

fn distances(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("distance");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    for shape @ [_, features, classes] in SHAPES {
        let name = format!("{shape:?}");
        let x = batch::<Inference>(shape).0;
        let p = batch::<Inference>([classes, features, classes]).0;
        let head = HeadConfig::new(HeadKind::IsoMax, features, classes)
            .init::<Inference>(&Default::default());
        measure(&mut group, ["matmul, nearest exact (in use)", &name], || {
            black_box(head.forward(x.clone()));
        });
        measure(&mut group, ["chunked", &name], || {
            black_box(chunked(x.clone(), p.clone()));
        });
        measure(&mut group, ["broadcast", &name], || {
            black_box(broadcast(x.clone(), p.clone()));
        });
    }
}

criterion_group!(benches, heads, distances);
criterion_main!(benches);
