//! The layers against Burn's own, forward and forward + backward, on the flex backend.
//!
//! ```text
//! cargo bench -p isomax-models --bench layers
//! ```

use std::hint::black_box;
use std::time::Duration;

use burn::backend::{Autodiff, Flex};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::AvgPool2dConfig;
use burn::nn::{BatchNormConfig as StockBatchNormConfig, PaddingConfig2d};
use burn::tensor::{Distribution, Tensor};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use isomax_models::layers::{
    BatchNormConfig, Conv1x1Config, average_2x2, concat_channels, convolve, global_average,
};

type B = Autodiff<Flex>;
type Layer<'a> = &'a dyn Fn(Tensor<B, 4>) -> Tensor<B, 4>;

/// Channels in and out, and side, at batch 64: of ResNet-20, and of DenseNet-BC-100.
const SHAPES: [[usize; 3]; 4] = [[16, 16, 32], [64, 64, 8], [96, 48, 32], [48, 12, 32]];

fn compare(
    criterion: &mut Criterion,
    what: &str,
    [_, _, side]: [usize; 3],
    layers: [Layer<'_>; 2],
    channels: usize,
) {
    let maps = Tensor::<B, 4>::random(
        [64, channels, side, side],
        Distribution::Default,
        &Default::default(),
    );
    let mut group = criterion.benchmark_group(format!("{what} {channels} × {side} × {side}"));
    for (name, layer) in ["stock", "ours"].into_iter().zip(layers) {
        group.bench_function(BenchmarkId::new("forward", name), |bencher| {
            bencher.iter(|| black_box(layer(maps.clone())));
        });
        let tracked = maps.clone().require_grad();
        group.bench_function(BenchmarkId::new("forward + backward", name), |bencher| {
            bencher.iter(|| black_box(layer(tracked.clone()).sum().backward()));
        });
    }
}

fn layers(criterion: &mut Criterion) {
    let device = Default::default();
    for shape @ [channels_in, channels_out, side] in SHAPES {
        let conv: Conv2d<B> = Conv2dConfig::new([channels_in, channels_out], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_bias(false)
            .init(&device);
        let (stock, ours): (Layer, Layer) = (&|x| conv.forward(x), &|x| convolve(&conv, x));
        compare(criterion, &format!("3 × 3 to {channels_out},"), shape, [stock, ours], channels_in);

        let conv = Conv2dConfig::new([channels_in, channels_out], [1, 1]).with_bias(false);
        let stock: Conv2d<B> = conv.init(&device);
        let ours = Conv1x1Config::new([channels_in, channels_out]).init::<B>(&device);
        let (stock, ours): (Layer, Layer) = (&|x| stock.forward(x), &|x| ours.forward(x));
        compare(criterion, &format!("1 × 1 to {channels_out},"), shape, [stock, ours], channels_in);

        let stock = StockBatchNormConfig::new(channels_in).init::<B>(&device);
        let ours = BatchNormConfig::new(channels_in).init::<B>(&device);
        let (stock, ours): (Layer, Layer) = (&|x| stock.forward(x), &|x| ours.forward(x));
        compare(criterion, "batch normalisation", shape, [stock, ours], channels_in);

        let pool = AvgPool2dConfig::new([2, 2]).init();
        let (stock, ours): (Layer, Layer) = (&|x| pool.forward(x), &|x| average_2x2(x));
        compare(criterion, "average of 2 × 2", shape, [stock, ours], channels_in);

        let stock: Layer = &|x| x.mean_dim(3).mean_dim(2);
        let ours: Layer = &|x| global_average(x).unsqueeze_dims(&[2, 3]);
        compare(criterion, "global average", shape, [stock, ours], channels_in);

        let more = Tensor::zeros([64, channels_out, side, side], &device);
        let (stock, ours): (Layer, Layer) = (&|x| Tensor::cat(vec![x, more.clone()], 1), &|x| {
            concat_channels(vec![x, more.clone()])
        });
        compare(
            criterion,
            &format!("with {channels_out} more,"),
            shape,
            [stock, ours],
            channels_in,
        );
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(1));
    targets = layers
}
criterion_main!(benches);
