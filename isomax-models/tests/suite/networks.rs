//! Every network against PyTorch, with weights that both sides compute, and its published shape.
//!
//! `pytorch/make_fixtures.py` makes `fixtures/networks.json`, `pytorch/make_torchvision.py`
//! `fixtures/torchvision.json`.

use std::fs;
use std::path::Path;

use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, Module, ModuleMapper, Param};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, Optimizer, SgdConfig};
use burn::prelude::*;
use burn::tensor::{DType, Distribution, FloatDType, Tolerance};
use isomax_burn::{HeadKind, LossConfig};
use isomax_models::{
    Architecture, Backbone, BlockKind, CifarResNetConfig, DenseNetBcConfig, ImageShapeError, Model,
    ModelConfig, ResNetConfig, ResidualBlock, Stem, WideResNetConfig, num_trainable_params,
};
use serde::Deserialize;

use crate::support::device;

#[derive(Deserialize)]
struct Case {
    name: String,
    head: HeadKind,
    #[serde(default = "no_gains")]
    gains: [f64; 2],
    size: usize,
    /// All of each image, or the first ones.
    features: Vec<Vec<f32>>,
    logits: Vec<Vec<f32>>,
    losses: Vec<f32>,
    parameters: usize,
}

fn no_gains() -> [f64; 2] {
    [1.0; 2]
}

fn cases(file: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Sets every tensor to the values that `make_fixtures.py` gives it.
struct Fill {
    /// Factors of the convolutions and of the last layer.
    gains: [f64; 2],
    path: Vec<String>,
}

impl Fill {
    fn new(gains: [f64; 2]) -> Self {
        Self { gains, path: Vec::new() }
    }
}

impl<B: Backend> ModuleMapper<B> for Fill {
    fn enter_module(&mut self, name: &str, container: &str) {
        // Variants of enums are no part of the names of PyTorch.
        if !container.starts_with("Enum:") {
            self.path.push(name.to_owned());
        }
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.path.pop();
        }
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let name = self.path.join(".");
        let field = self.path.last().unwrap().as_str();
        if field == "temperature" {
            return param;
        }
        param.map(|tensor| {
            let shape = tensor.shape();
            let seed: u64 = name.bytes().map(u64::from).sum();
            let [of_convolutions, of_last_layer] = self.gains;
            let scale = of_convolutions * (6.0 / (shape.num_elements() / shape[0]) as f64).sqrt();
            let value = |place: usize| {
                let noise = noise(place, seed);
                let value = match field {
                    "running_var" => 1.0 + 0.5 * noise,
                    "weight" if D == 1 => 1.0 + 0.5 * noise,
                    "distance_scale" => 1.0,
                    _ if D == 4 => noise * scale,
                    _ if D == 2 => 0.3 * of_last_layer * noise,
                    _ => 0.3 * noise,
                };
                value as f32
            };
            let values: Vec<f32> = (0..shape.num_elements()).map(value).collect();
            let filled = Tensor::from_data(TensorData::new(values, shape), &tensor.device());
            if tensor.is_require_grad() { filled.require_grad() } else { filled }
        })
    }
}

/// A uniform number in [-1, 1) by a hash, as in `make_fixtures.py`.
fn noise(place: usize, seed: u64) -> f64 {
    let mask = u64::from(u32::MAX);
    let mut value = (place as u64 * 2_654_435_761 + seed * 40_503) & mask;
    value ^= value >> 15;
    value = value.wrapping_mul(2_246_822_519) & mask;
    value ^= value >> 13;
    value as f64 / f64::from(1_u32 << 31) - 1.0
}

fn images<B: Backend>(size: usize) -> Tensor<B, 4> {
    let values = (0..3 * 3 * size * size).map(|place| noise(place, 1) as f32).collect();
    Tensor::from_data(TensorData::new(values, [3, 3, size, size]), &device())
}

#[track_caller]
fn assert_close(what: &str, ours: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |m, e| m.max(e.abs()));
    let error = ours.iter().zip(expected).fold(0.0_f32, |m, (o, e)| m.max((o - e).abs()));
    assert!(error <= tolerance * largest, "{what}: relative error {:.1e}", error / largest);
}

/// Compares a network for 5 classes in evaluation, and then in training.
fn follows(case: &Case, mut model: Model<Autodiff<Flex>>) {
    type B = Autodiff<Flex>;
    let what = |part: &str| format!("{}, {part}", case.name);
    model = model.map(&mut Fill::new(case.gains));
    assert_eq!(num_trainable_params(&model), case.parameters, "{}", case.name);
    let values = |tensor: Tensor<Flex, 2>| tensor.into_data().to_vec::<f32>().unwrap();
    let fixed = model.valid();
    let features = fixed.forward_features(images(case.size));
    let features = values(features.slice([0..3, 0..case.features[0].len()]));
    assert_close(&what("features"), &features, &case.features.concat(), 2e-5);
    let logits = values(fixed.forward(images(case.size)));
    assert_close(&what("logits"), &logits, &case.logits.concat(), 2e-5);

    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0).with_nesterov(true);
    let mut optimizer = SgdConfig::new()
        .with_momentum(Some(momentum))
        .with_weight_decay(Some(WeightDecayConfig::new(1e-4)))
        .init();
    let loss = LossConfig::new(case.head).init();
    let targets = Tensor::<B, 1, Int>::from_ints([0, 3, 1], &device());
    for (step, expected) in case.losses.iter().enumerate() {
        let value = loss.forward(model.forward(images(case.size)), targets.clone());
        let gradients = GradientsParams::from_grads(value.backward(), &model);
        let tolerance = [1e-4, 5e-3][step];
        assert_close(&what("loss"), &[value.into_scalar()], &[*expected], tolerance);
        model = optimizer.step(0.1, model, gradients);
    }
}

#[test]
fn every_network_follows_pytorch() {
    for case in cases("networks.json") {
        let config = ModelConfig::new(case.name.parse().unwrap(), 5).with_head(case.head);
        follows(&case, config.init(&device()));
    }
}

/// Of torchvision itself, not of the twins in `pytorch/networks.py`.
#[test]
fn residual_networks_follow_torchvision() {
    let four_blocks = ResNetConfig::new([1; 4], 5).with_block(BlockKind::Bottleneck);
    let configs = [ResNetConfig::resnet18(5), ResNetConfig::resnet50(5), four_blocks];
    let cases = cases("torchvision.json");
    assert_eq!(cases.len(), configs.len());
    for (case, config) in cases.iter().zip(configs) {
        let config = config.with_stem(Stem::ImageNet).with_head(case.head);
        follows(case, Model::ResNet(config.init(&device())));
    }
}

fn model(architecture: &str, head: HeadKind) -> Model<Flex> {
    let architecture = architecture.parse().unwrap();
    ModelConfig::new(architecture, 10).with_head(head).init(&device())
}

#[test]
fn networks_have_the_published_sizes() {
    let size = |name: &str| {
        let config = ModelConfig::new(name.parse().unwrap(), 10).with_head(HeadKind::IsoMaxPlus);
        num_trainable_params(&config.init::<Autodiff<Flex>>(&device()))
    };
    assert_eq!(size("densenet-bc-100"), 769_153);
    assert_eq!(size("resnet-110"), 1_727_953);
    assert_eq!(size("resnet-50"), 23_520_833);
    // 36.5 M in arXiv:1605.07146; the exact number with biases is that of the published code.
    assert!((36_480_000..36_500_000).contains(&size("wrn-28-10")), "{}", size("wrn-28-10"));
    // Those of torchvision and the published EfficientNet-Lites, with 1,000 classes.
    for (name, published) in [
        ("resnet-18-imagenet", 11_689_512),
        ("resnet-34-imagenet", 21_797_672),
        ("resnet-50-imagenet", 25_557_032),
        ("efficientnet-lite0", 4_652_008),
        ("efficientnet-lite1", 5_416_680),
        ("efficientnet-lite2", 6_092_072),
        ("efficientnet-lite3", 8_197_096),
        ("efficientnet-lite4", 13_006_568),
    ] {
        let config = ModelConfig::new(name.parse().unwrap(), 1_000);
        let network = config.init::<Autodiff<Flex>>(&device());
        assert_eq!(num_trainable_params(&network), published, "{name}");
    }
}

#[test]
fn layers_lead_to_the_features() {
    let shapes = [
        ("densenet-bc-16", vec![[24, 16], [24, 8], [24, 4], [48, 4]]),
        ("resnet-8", vec![[16, 16], [16, 16], [32, 8], [64, 4]]),
        ("resnet-18", vec![[64, 16], [64, 16], [128, 8], [256, 4], [512, 2]]),
        ("resnet-50", vec![[64, 16], [256, 16], [512, 8], [1024, 4], [2048, 2]]),
        ("wrn-10-2", vec![[16, 16], [32, 16], [64, 8], [128, 4]]),
    ];
    for (name, shapes) in shapes {
        let model = model(name, HeadKind::DisMax);
        let images = Tensor::random([2, 3, 16, 16], Distribution::Default, &device());
        let layers = model.forward_layers(images.clone());
        let found: Vec<_> = layers.iter().map(|maps| [maps.dims()[1], maps.dims()[3]]).collect();
        assert_eq!(found, shapes, "{name}");
        let last = layers.last().unwrap().clone();
        let pooled: Tensor<Flex, 2> = last.mean_dim(3).mean_dim(2).flatten(1, 3);
        let features = model.forward_features(images).into_data();
        features.assert_approx_eq::<f32>(&pooled.into_data(), Tolerance::absolute(1e-5));
    }
}

#[test]
fn impossible_images_are_refused_in_words() {
    for (name, min) in [
        ("resnet-8", 4),
        ("densenet-bc-10", 4),
        ("wrn-10-1", 4),
        ("resnet-18", 8),
        ("resnet-18-imagenet", 32),
    ] {
        let model = model(name, HeadKind::IsoMax);
        assert_eq!(model.check_images([1, 3, min, min + 1]), Ok(()));
        let smallest = Tensor::zeros([1, 3, min, min + 1], &device());
        assert_eq!(model.forward(smallest).dims(), [1, 10]);
        let shape = [1, 3, min, min - 1];
        assert_eq!(model.check_images(shape), Err(ImageShapeError::TooSmall { shape, min }));
        let shape = [1, 1, 64, 64];
        assert_eq!(
            model.check_images(shape),
            Err(ImageShapeError::Channels { shape, expected: 3 })
        );
        let shape = [0, 3, 64, 64];
        assert_eq!(model.check_images(shape), Err(ImageShapeError::Empty { shape }));
    }
    let error = ImageShapeError::TooSmall { shape: [1, 3, 2, 2], min: 4 };
    assert_eq!(
        error.to_string(),
        "images of shape [1, 3, 2, 2] are too small; the network takes 4 × 4 and larger"
    );
}

#[test]
#[should_panic(expected = "images of shape [2, 1, 32, 32] have 1 channels; the network takes 3")]
fn gray_images_are_refused_by_color_networks() {
    model("resnet-8", HeadKind::IsoMax).forward(Tensor::zeros([2, 1, 32, 32], &device()));
}

#[test]
fn gray_networks_take_gray_images() {
    let config = ModelConfig::new(Architecture::DenseNetBc { depth: 10 }, 4).with_in_channels(1);
    let model = config.init::<Flex>(&device());
    assert_eq!(model.forward(Tensor::zeros([2, 1, 8, 8], &device())).dims(), [2, 4]);
}

/// An odd row or column is left out by pooling and rounded up by strides, as in PyTorch.
#[test]
fn odd_sizes_pass() {
    for name in ["densenet-bc-10", "resnet-8", "resnet-18", "resnet-50", "wrn-10-1"] {
        let images = Tensor::zeros([1, 3, 13, 11], &device());
        assert_eq!(model(name, HeadKind::SoftMax).forward(images).dims(), [1, 10]);
    }
}

/// Makes all numbers of a network double ones.
struct ToDouble;

impl<B: Backend> ModuleMapper<B> for ToDouble {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|values| values.cast(FloatDType::F64))
    }
}

/// The device computes with single ones by default.
#[test]
fn networks_compute_with_the_numbers_of_their_weights() {
    // Not EfficientNet-Lite: Burn 0.21 pads with single numbers if the sides differ.
    for name in ["resnet-8", "densenet-bc-10", "wrn-10-1"] {
        let architecture: Architecture = name.parse().unwrap();
        let config = ModelConfig::new(architecture, 3).with_head(HeadKind::IsoMaxPlus);
        let network: Model<Autodiff<Flex>> = config.init(&device());
        let images =
            Tensor::<Autodiff<Flex>, 4>::random([4, 3, 8, 8], Distribution::Default, &device());
        let single = network.valid().forward(images.clone().inner());
        let network = network.map(&mut ToDouble);
        let images = images.cast(FloatDType::F64);
        let double = network.valid().forward(images.clone().inner());
        assert_eq!(double.dtype(), DType::F64, "{name}");
        double
            .cast(FloatDType::F32)
            .into_data()
            .assert_approx_eq::<f32>(&single.into_data(), Tolerance::absolute(1e-3));
        let logits = network.forward(images);
        assert_eq!(logits.dtype(), DType::F64, "{name}");
        logits.sum().backward();
    }
}

#[test]
fn dropout_acts_in_training_alone() {
    type B = Autodiff<Flex>;
    let device = device();
    let dense = DenseNetBcConfig::new(10, 3).with_dropout(0.5).init::<B>(&device);
    let wide = WideResNetConfig::new(10, 1, 3).with_dropout(0.5).init::<B>(&device);
    let images = Tensor::<B, 4>::random([2, 3, 8, 8], Distribution::Default, &device);
    let twice = |forward: &dyn Fn() -> TensorData| (forward(), forward());
    let (a, b) = twice(&|| dense.forward_features(images.clone()).into_data());
    assert_ne!(a, b);
    let (a, b) = twice(&|| wide.forward_features(images.clone()).into_data());
    assert_ne!(a, b);
    let images = images.inner();
    let (dense, wide) = (dense.valid(), wide.valid());
    let (a, b) = twice(&|| dense.forward_features(images.clone()).into_data());
    assert_eq!(a, b);
    let (a, b) = twice(&|| wide.forward_features(images.clone()).into_data());
    assert_eq!(a, b);
}

#[test]
fn names_are_read_and_written() {
    for name in Architecture::NAMES {
        assert_eq!(name.parse::<Architecture>().unwrap().to_string(), name);
        assert_eq!(name.to_uppercase().parse::<Architecture>().unwrap().to_string(), name);
        let json = format!("\"{name}\"");
        let architecture: Architecture = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&architecture).unwrap(), json);
    }
    assert_eq!("resnet-34-imagenet".parse(), Ok(Architecture::ResNet34(Stem::ImageNet)));
    assert_eq!("resnet-50".parse(), Ok(Architecture::ResNet50(Stem::Cifar)));
    assert_eq!("wrn-22-8".parse(), Ok(Architecture::WideResNet { depth: 22, widen_factor: 8 }));
    for name in [
        "",
        "resnet",
        "resnet-21",
        "resnet-2",
        "resnet-2006",
        "wrn-28-101",
        "resnet-+20",
        "resnet-020",
        "densenet-bc-101",
        "densenet-100",
        "wrn-28",
        "wrn-28-0",
        "wrn-27-10",
        "resnet-18-cifar",
        "resnet-99999999999999999998",
        "vgg-16",
        // The ResNet for CIFAR of this depth has no name that is read.
        &Architecture::CifarResNet { depth: 50 }.to_string(),
    ] {
        let error = name.parse::<Architecture>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("unknown architecture '{name}'; known: ")), "{error}");
        assert!(error.contains("resnet-110") && error.contains("wrn-28-10"));
    }
}

#[test]
fn networks_know_the_size_of_their_images() {
    let of_lites = [224, 240, 260, 280, 300];
    for name in Architecture::NAMES {
        let expected = match name.strip_prefix("efficientnet-lite") {
            Some(variant) => of_lites[variant.parse::<usize>().unwrap()],
            None if name.ends_with("-imagenet") => 224,
            None => 32,
        };
        assert_eq!(name.parse::<Architecture>().unwrap().image_size(), expected, "{name}");
    }
}

#[test]
fn configurations_pass_through_json() {
    let config = ModelConfig::new("wrn-28-10".parse().unwrap(), 100).with_head(HeadKind::DisMax);
    let json = serde_json::to_string(&config).unwrap();
    assert!(json.contains("\"wrn-28-10\"") && json.contains("\"dismax\""), "{json}");
    assert_eq!(serde_json::from_str::<ModelConfig>(&json).unwrap(), config);

    let config = ResNetConfig::resnet50(10);
    let json = serde_json::to_string(&config).unwrap();
    assert!(json.contains("\"bottleneck\""), "{json}");
    assert_eq!(serde_json::from_str::<ResNetConfig>(&json).unwrap(), config);
}

#[test]
#[should_panic(expected = "The depth of a DenseNet-BC must be 6 n + 4 with n ≥ 1, got 99")]
fn impossible_densenets_are_refused() {
    DenseNetBcConfig::new(99, 10).init::<Flex>(&device());
}

#[test]
#[should_panic(expected = "must lie in (0, 1], got 1.5")]
fn reductions_that_add_channels_are_refused() {
    DenseNetBcConfig::new(10, 10).with_reduction(1.5).init::<Flex>(&device());
}

#[test]
#[should_panic(expected = "The depth of a wide ResNet must be 6 n + 4 with n ≥ 1, got 29")]
fn impossible_wide_resnets_are_refused() {
    WideResNetConfig::new(29, 10, 10).init::<Flex>(&device());
}

#[test]
#[should_panic(expected = "Every stage of a ResNet needs a block, got [2, 0, 2, 2]")]
fn resnets_without_a_stage_are_refused() {
    ResNetConfig::new([2, 0, 2, 2], 10).init::<Flex>(&device());
}

/// Kaiming normal over the fan-out, and blocks of ResNet-18/34/50 that begin as identities.
#[test]
fn weights_start_as_published() {
    let device = device();
    let spread = |weight: Tensor<Flex, 4>| {
        let [out, _, height, width] = weight.dims();
        let std = (2.0 / (out * height * width) as f64).sqrt();
        let values = weight.into_data().to_vec::<f32>().unwrap();
        let squares: f64 = values.iter().map(|v| f64::from(v * v)).sum();
        (squares / values.len() as f64).sqrt() / std
    };
    let net = CifarResNetConfig::new(20, 10).init::<Flex>(&device);
    assert!((spread(net.layer3[2].conv2.weight.val()) - 1.0).abs() < 0.02);
    let net = DenseNetBcConfig::new(100, 10).init::<Flex>(&device);
    assert!((spread(net.trans2.conv1.weight.val()) - 1.0).abs() < 0.02);
    let net = WideResNetConfig::new(10, 2, 10).init::<Flex>(&device);
    let bias = net.layer1[0].conv2.bias.as_ref().unwrap().val().abs().max().into_scalar();
    assert!(bias > 0.0 && bias <= 1.0 / (9.0 * 32.0_f32).sqrt(), "{bias}");
    assert_eq!(net.bn1.momentum, 0.9);
    let net = ResNetConfig::resnet18(10).init::<Flex>(&device);
    let ResidualBlock::Basic(block) = &net.layer2[0] else { panic!() };
    assert_eq!(block.bn2.weight.val().abs().max().into_scalar(), 0.0);
    assert_eq!(block.bn1.weight.val().min().into_scalar(), 1.0);
    let config = ResNetConfig::new([1; 4], 10).with_block(BlockKind::Bottleneck);
    let net = config.init::<Flex>(&device);
    let ResidualBlock::Bottleneck(block) = &net.layer2[0] else { panic!() };
    assert_eq!(block.bn3.weight.val().abs().max().into_scalar(), 0.0);
    assert_eq!(block.bn2.weight.val().min().into_scalar(), 1.0);
    assert!((spread(block.conv3.weight.val()) - 1.0).abs() < 0.02);
}
