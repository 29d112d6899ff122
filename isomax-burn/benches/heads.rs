//! Heads and losses against `nn::Linear` + `CrossEntropyLoss`: time and peak memory, forward and
//! forward + backward, in turns, on the flex backend.
//!
//! ```text
//! cargo bench -p isomax-burn --bench heads
//! ```
//!
//! `distance/…` compares the formulations that a distance layer could have been built on.

use std::hint::black_box;
use std::time::{Duration, Instant};

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

/// How often and how long each takes its turn.
const ROUNDS: usize = 21;
const TURN: Duration = Duration::from_millis(100);

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

/// Peak memory of some work, in MB.
fn peak_memory(mut work: impl FnMut()) -> f32 {
    work();
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage_as_mb();
    work();
    MEMORY.peak_usage_as_mb() - before
}

/// Times all work in turns, and prints medians: of the first one's time, and of the others' ratios to it.
fn in_turns(what: &str, shape: [usize; 3], mut all: Vec<(String, Box<dyn FnMut() + '_>)>) {
    let memory: Vec<f32> = all.iter_mut().map(|(_, work)| peak_memory(work)).collect();
    let mut seconds = vec![Vec::new(); all.len()];
    for _ in 0..ROUNDS {
        for ((_, work), seconds) in all.iter_mut().zip(&mut seconds) {
            let start = Instant::now();
            let mut count = 0;
            while start.elapsed() < TURN {
                work();
                count += 1;
            }
            seconds.push(start.elapsed().as_secs_f64() / f64::from(count));
        }
    }
    let stock = seconds[0].clone();
    println!("{what} {shape:?}");
    for (((name, _), seconds), memory) in all.iter().zip(seconds).zip(memory) {
        let ratios = seconds.iter().zip(&stock).map(|(ours, stock)| ours / stock).collect();
        let (time, ratio) = (1e3 * median(seconds), median(ratios));
        println!("    {name:>8}: {time:>7.3} ms, {ratio:.2} ×, peak memory {memory:.2} MB");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn heads(_: &mut Criterion) {
    for shape in SHAPES {
        let (features, targets) = batch::<Inference>(shape);
        let layers = Layer::<Inference>::all(shape);
        let forward = layers.iter().map(|(name, layer)| {
            let work =
                || drop(black_box(layer.loss(features.clone(), targets.clone()).into_data()));
            (name.clone(), Box::new(work) as Box<dyn FnMut()>)
        });
        in_turns("forward", shape, forward.collect());

        let (features, targets) = batch::<Training>(shape);
        let layers = Layer::<Training>::all(shape);
        let backward = layers.iter().map(|(name, layer)| {
            let work = || {
                let features = features.clone().require_grad();
                let gradients = layer.loss(features.clone(), targets.clone()).backward();
                black_box(features.grad(&gradients));
            };
            (name.clone(), Box::new(work) as Box<dyn FnMut()>)
        });
        in_turns("forward + backward", shape, backward.collect());
    }
}

fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    [name, shape]: [&str; 2],
    mut work: impl FnMut(),
) {
    println!("{name} {shape}: peak memory {:.2} MB", peak_memory(&mut work));
    group.bench_function(BenchmarkId::new(name, shape), |b| b.iter(&mut work));
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
