//! The layers against Burn's own, values and gradients, on every backend.

use burn::backend::Flex;
use burn::module::{AutodiffModule, Param};
use burn::nn;
use burn::tensor::activation::relu;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Distribution, Tensor, TensorData, Tolerance, s};
use isomax_burn::HeadKind;
use isomax_models::layers::{
    Activation, AnyConv, Conv1x1, Conv1x1Config, ConvNorm, average_2x2, concat_channels, convolve,
    global_average, subsample,
};
use isomax_models::{Backbone, BatchNormConfig, CifarResNetConfig, ModelConfig};

use crate::support::device;

/// The stock layer differs in one thing, its running variance, which is the biased one.
fn batch_norm_is_that_of_burn<B: AutodiffBackend>() {
    let device = device();
    let (ours, stock) = (
        BatchNormConfig::new(3).init::<B>(&device),
        nn::BatchNormConfig::new(3).init::<B>(&device),
    );
    let images = Tensor::<B, 4>::random([4, 3, 5, 6], Distribution::Normal(2.0, 3.0), &device);
    let weights = Tensor::<B, 4>::random([4, 3, 5, 6], Distribution::Default, &device);
    let inputs = [images.clone().require_grad(), images.require_grad()];
    let outputs = [ours.forward(inputs[0].clone()), stock.forward(inputs[1].clone())];
    let gradients = outputs.clone().map(|y| (y * weights.clone()).sum().backward());
    let close = |a: Tensor<B::InnerBackend, 4>, b: Tensor<B::InnerBackend, 4>| {
        a.into_data().assert_approx_eq::<f32>(&b.into_data(), Tolerance::absolute(1e-4));
    };
    close(outputs[0].clone().inner(), outputs[1].clone().inner());
    close(inputs[0].grad(&gradients[0]).unwrap(), inputs[1].grad(&gradients[1]).unwrap());
    let of_weight = [
        ours.weight.val().grad(&gradients[0]).unwrap(),
        stock.gamma.val().grad(&gradients[1]).unwrap(),
    ]
    .map(|gradient| gradient.into_data());
    of_weight[0].assert_approx_eq::<f32>(&of_weight[1], Tolerance::absolute(1e-3));

    let count = (4 * 5 * 6) as f32;
    let running = |state: Tensor<B, 1>| state.into_data().iter::<f32>().collect::<Vec<_>>();
    let means = running(ours.running_mean.value_sync()).into_iter();
    for (ours, stock) in means.zip(running(stock.running_mean.value_sync())) {
        assert!((ours - stock).abs() < 1e-5);
    }
    let variances = running(ours.running_var.value_sync()).into_iter();
    for (ours, stock) in variances.zip(running(stock.running_var.value_sync())) {
        let expected = 0.9 + (stock - 0.9) * count / (count - 1.0);
        assert!((ours - expected).abs() < 1e-4, "{ours} ≠ {expected}");
    }

    let images = Tensor::<B::InnerBackend, 4>::ones([1, 3, 2, 2], &device);
    let running_mean = ours.running_mean.value_sync().inner().unsqueeze_dims::<4>(&[0, 2, 3]);
    let running_var = ours.running_var.value_sync().inner().unsqueeze_dims::<4>(&[0, 2, 3]);
    let expected = (images.clone() - running_mean) / (running_var + 1e-5).sqrt();
    close(ours.valid().forward(images), expected);
}

/// Values and gradients of two ways to compute the same, from the same maps.
fn agree<B: AutodiffBackend>(
    shape: [usize; 4],
    ours: impl Fn(Tensor<B, 4>) -> Tensor<B, 4>,
    stock: impl Fn(Tensor<B, 4>) -> Tensor<B, 4>,
) {
    let device = device();
    let maps = Tensor::<B, 4>::random(shape, Distribution::Default, &device);
    let run = |layer: &dyn Fn(Tensor<B, 4>) -> Tensor<B, 4>| {
        let maps = maps.clone().require_grad();
        let output = layer(maps.clone());
        let upstream = Tensor::arange(0..output.shape().num_elements() as i64, &device)
            .float()
            .sin()
            .reshape(output.shape());
        let gradients = (output.clone() * upstream).sum().backward();
        (output.into_data(), maps.grad(&gradients).unwrap().into_data())
    };
    let (ours, stock) = (run(&ours), run(&stock));
    ours.0.assert_approx_eq::<f32>(&stock.0, Tolerance::absolute(1e-4));
    ours.1.assert_approx_eq::<f32>(&stock.1, Tolerance::absolute(1e-4));
}

fn layers_are_those_of_burn<B: AutodiffBackend>() {
    let device = device();
    for (shape, stride, bias) in
        [([2, 3, 4, 5], 1, false), ([2, 5, 5, 4], 2, true), ([1, 1, 1, 1], 1, true)]
    {
        let channels = [shape[1], 4];
        let config = Conv1x1Config::new(channels).with_stride(stride).with_bias(bias);
        let ours = config.init::<B>(&device);
        let config = nn::conv::Conv2dConfig::new(channels, [1, 1]).with_bias(false);
        let mut stock = config.init::<B>(&device);
        // A parameter that was never used would be drawn anew in its clone.
        ours.forward(Tensor::zeros(shape, &device));
        stock.weight = ours.weight.clone();
        stock.bias = ours.bias.clone();
        // Not by Burn's own stride, whose gradient is 0 on wgpu for this kernel.
        let step = stride as isize;
        let subsampled = |maps: Tensor<B, 4>| maps.slice(s![.., .., ..;step, ..;step]);
        agree(shape, |maps| ours.forward(maps), |maps| stock.forward(subsampled(maps)));
    }
    for shape in [[2, 3, 4, 6], [1, 2, 5, 7], [3, 1, 5, 4], [1, 1, 4, 6]] {
        agree::<B>(shape, |maps| subsample(maps, 2), |maps| maps.slice(s![.., .., ..;2, ..;2]));
    }
    // Several images of one channel are left out: Burn's gradient on wgpu mixes them up.
    for shape in [[2, 3, 4, 6], [1, 2, 5, 7], [1, 1, 4, 6]] {
        let pool = nn::pool::AvgPool2dConfig::new([2, 2]).init();
        agree::<B>(shape, average_2x2, |maps| pool.forward(maps));
        agree::<B>(
            shape,
            |maps| global_average(maps).unsqueeze_dims(&[2, 3]),
            |maps| maps.mean_dim(3).mean_dim(2),
        );
        let halved = |maps: Tensor<B, 4>| maps.slice(s![.., ..1]) * 2.0;
        agree::<B>(
            shape,
            |maps| concat_channels(vec![maps.clone(), halved(maps)]),
            |maps| Tensor::cat(vec![maps.clone(), halved(maps)], 1),
        );
        let conv = nn::conv::Conv2dConfig::new([shape[1], 3], [3, 3])
            .with_padding(nn::PaddingConfig2d::Explicit(1, 1, 1, 1))
            .init::<B>(&device);
        agree(shape, |maps| convolve(&conv, maps), |maps| conv.forward(maps));
    }
}

/// The convolutions of the networks, which are Burn's own on most backends, against the CPU.
fn convolutions_have_the_gradients_of_the_cpu<B: AutodiffBackend>() {
    type Reference = burn::backend::Autodiff<burn_ndarray::NdArray>;
    fn run<B: AutodiffBackend>(
        weight: TensorData,
        maps: TensorData,
        stride: usize,
    ) -> [TensorData; 3] {
        let device = device();
        let [out, channels] = [weight.shape[0], weight.shape[1]];
        let mut conv = nn::conv::Conv2dConfig::new([channels, out], [3, 3])
            .with_stride([stride; 2])
            .with_padding(nn::PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_bias(false)
            .init::<B>(&device);
        conv.weight = Param::from_data(weight, &device);
        let maps = Tensor::<B, 4>::from_data(maps, &device).require_grad();
        let output = convolve(&conv, maps.clone());
        let gradients = output.clone().powi_scalar(2).sum().backward();
        let of_maps = maps.grad(&gradients).unwrap().into_data();
        let of_weight = conv.weight.val().grad(&gradients).unwrap().into_data();
        [output.into_data(), of_maps, of_weight]
    }
    for (shape, out, stride) in
        [([2, 3, 8, 8], 4, 1), ([2, 3, 8, 8], 4, 2), ([1, 4, 7, 5], 8, 2), ([2, 16, 8, 8], 32, 2)]
    {
        let random = |shape: [usize; 4]| {
            let tensor = Tensor::<Reference, 4>::random(shape, Distribution::Default, &device());
            tensor.into_data()
        };
        let (weight, maps) = (random([out, shape[1], 3, 3]), random(shape));
        let ours = run::<B>(weight.clone(), maps.clone(), stride);
        let reference = run::<Reference>(weight, maps, stride);
        for (ours, reference) in ours.iter().zip(&reference) {
            ours.assert_approx_eq::<f32>(reference, Tolerance::rel_abs(1e-3, 1e-3));
        }
    }
}

/// Folded in evaluation, in one pass in training: the values and gradients of one layer after the other.
fn conv_norms_are_their_layers<B: AutodiffBackend>() {
    let device = device();
    let padding = |sides: [usize; 4]| {
        let [top, left, bottom, right] = sides;
        nn::PaddingConfig2d::Explicit(top, left, bottom, right)
    };
    let config = |groups, kernel, stride, sides| {
        nn::conv::Conv2dConfig::new([4, 8], [kernel; 2])
            .with_groups(groups)
            .with_stride([stride; 2])
            .with_padding(padding(sides))
    };
    let convs = [
        config(1, 3, 1, [1; 4]).with_bias(false),
        config(1, 3, 2, [0, 0, 1, 1]),
        config(4, 5, 1, [2; 4]).with_bias(false),
        config(2, 3, 2, [1; 4]),
        // Burn's own on every backend.
        config(1, 3, 1, [1; 4]).with_dilation([2, 2]),
    ];
    let activations = [Activation::Identity, Activation::Relu, Activation::Relu6];
    let conv1x1 = Conv1x1Config::new([4, 8]).with_bias(true).init::<B>(&device);
    for (index, activation) in (0..=convs.len()).zip(activations.into_iter().cycle()) {
        let conv = convs.get(index).map(|config| config.init::<B>(&device));
        let mut norm = BatchNormConfig::new(8).init::<B>(&device);
        let random = |low, high| {
            Param::from_tensor(Tensor::random([8], Distribution::Uniform(low, high), &device))
        };
        (norm.weight, norm.bias) = (random(1.0, 4.0), random(-1.0, 3.0));
        let any = || match &conv {
            Some(conv) => AnyConv::from(conv),
            None => AnyConv::from(&conv1x1),
        };
        let plain = |maps| match &conv {
            Some(conv) => convolve(conv, maps),
            None => conv1x1.forward(maps),
        };
        let maps = Tensor::<B, 4>::random([2, 4, 7, 6], Distribution::Default, &device);
        let shape = plain(maps.clone()).dims();
        let beside = Tensor::<B, 4>::random(shape, Distribution::Default, &device);
        let upstream = Tensor::<B, 4>::random(shape, Distribution::Default, &device);
        let activated = |maps: Tensor<B, 4>| match activation {
            Activation::Identity => maps,
            Activation::Relu => relu(maps),
            Activation::Relu6 => maps.clamp(0.0, 6.0),
        };
        let run = |layer: &dyn Fn(Tensor<B, 4>, Tensor<B, 4>) -> Tensor<B, 4>| {
            let (maps, beside) = (maps.clone().require_grad(), beside.clone().require_grad());
            let output = layer(maps.clone(), beside.clone());
            let gradients = (output.clone() * upstream.clone()).sum().backward();
            let of_weight = any_weight(&conv, &conv1x1).grad(&gradients);
            vec![
                output.into_data(),
                maps.grad(&gradients).unwrap().into_data(),
                of_weight.unwrap().into_data(),
                norm.weight.val().grad(&gradients).unwrap().into_data(),
                norm.bias.val().grad(&gradients).unwrap().into_data(),
                beside.grad(&gradients).map_or(TensorData::from([0.0_f32]), |g| g.into_data()),
            ]
        };
        let layer = || ConvNorm::new(any(), &norm).with_activation(activation);
        let pairs = [
            (
                run(&|maps, beside| layer().with_shortcut(beside).forward(maps)),
                run(&|maps, beside| activated(norm.forward(plain(maps)) + beside)),
            ),
            (
                run(&|maps, _| layer().forward(maps)),
                run(&|maps, _| activated(norm.forward(plain(maps)))),
            ),
        ];
        for (ours, stock) in pairs {
            for (ours, stock) in ours.iter().zip(&stock) {
                ours.assert_approx_eq::<f32>(stock, Tolerance::rel_abs(1e-4, 1e-4));
            }
        }
        // With running statistics that the passes above have moved.
        let norm = norm.valid();
        let (maps, beside) = (maps.inner(), beside.inner());
        let (conv, conv1x1) = (conv.as_ref().map(AutodiffModule::valid), conv1x1.valid());
        let sums = match &conv {
            Some(conv) => conv.forward(maps.clone()),
            None => conv1x1.forward(maps.clone()),
        };
        let stock = norm.forward(sums) + beside.clone();
        let stock = match activation {
            Activation::Identity => stock,
            Activation::Relu => relu(stock),
            Activation::Relu6 => stock.clamp(0.0, 6.0),
        };
        let any = match &conv {
            Some(conv) => AnyConv::from(conv),
            None => AnyConv::from(&conv1x1),
        };
        let layer = ConvNorm::new(any, &norm).with_activation(activation);
        let ours = layer.with_shortcut(beside).forward(maps);
        ours.into_data()
            .assert_approx_eq::<f32>(&stock.into_data(), Tolerance::rel_abs(1e-5, 1e-5));
    }
}

fn any_weight<B: AutodiffBackend>(
    conv: &Option<nn::conv::Conv2d<B>>,
    conv1x1: &Conv1x1<B>,
) -> Tensor<B, 4> {
    conv.as_ref().map_or_else(|| conv1x1.weight.val(), |conv| conv.weight.val())
}

fn every_network_and_head_trains<B: AutodiffBackend>() {
    let device = device();
    let networks = ["densenet-bc-10", "resnet-8", "wrn-10-1"];
    for (name, kind) in networks.into_iter().cycle().zip(HeadKind::ALL) {
        let config = ModelConfig::new(name.parse().unwrap(), 4).with_head(kind);
        let model = config.init::<B>(&device);
        let images = Tensor::random([2, 3, 8, 8], Distribution::Default, &device).require_grad();
        let gradients = model.forward(images.clone()).sum().backward();
        let of_images = images.grad(&gradients).unwrap().into_data();
        assert!(of_images.iter::<f32>().all(f32::is_finite), "{name} {kind}");
        let logits = model.valid().forward(Tensor::zeros([1, 3, 8, 8], &device)).into_data();
        assert!(logits.iter::<f32>().all(f32::is_finite), "{name} {kind}");
    }
}

on_every_backend!(
    batch_norm_is_that_of_burn,
    layers_are_those_of_burn,
    convolutions_have_the_gradients_of_the_cpu,
    conv_norms_are_their_layers,
    every_network_and_head_trains,
);

#[test]
#[should_panic(expected = "The depth of a CIFAR ResNet must be 6 n + 2 with n ≥ 1, got 21")]
fn impossible_depths_are_refused() {
    CifarResNetConfig::new(21, 10).init::<Flex>(&device());
}

#[test]
#[should_panic(expected = "do not fit a batch normalisation of 3 channels")]
fn images_of_other_channels_are_refused() {
    let norm = BatchNormConfig::new(3).init::<Flex>(&device());
    norm.forward(Tensor::zeros([1, 4, 2, 2], &device()));
}
