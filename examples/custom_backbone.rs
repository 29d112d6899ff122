//! The two-line change on a network of your own: the last layer, and the loss. Everything else stays
//! as it was, and the network detects what it was not trained on.
//!
//! ```sh
//! cargo run --release --example custom_backbone
//! ```

use burn::module::AutodiffModule;
use burn::nn;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig};
use burn::optim::{AdamConfig, GradientsParams, Optimizer};
use burn::prelude::*;
use burn::tensor::activation::relu;
use burn::tensor::backend::AutodiffBackend;
use isomax_bench::backend::{Training, device};
use isomax_bench::data::digits::{self, Digit};
use isomax_burn::metrics::OodMetrics;
use isomax_burn::{DetectorConfig, Head, HeadConfig, HeadKind, LossConfig};
use isomax_models::{Backbone, store};

/// A network of your own. With the trait below, training and evaluation code written for
/// `isomax_models::Backbone` takes it.
#[derive(Module, Debug)]
struct Net<B: Backend> {
    conv1: Conv2d<B>,
    conv2: Conv2d<B>,
    pool: AvgPool2d,
    hidden: nn::Linear<B>,
    classifier: Head<B>, // 1. was: nn::Linear<B>
}

impl<B: Backend> Net<B> {
    fn new(kind: HeadKind, num_classes: usize, device: &B::Device) -> Self {
        let conv = |channels| Conv2dConfig::new(channels, [3, 3]).init(device);
        Self {
            conv1: conv([1, 16]),
            conv2: conv([16, 32]),
            pool: AvgPool2dConfig::new([2, 2]).init(),
            hidden: nn::LinearConfig::new(32 * 2 * 2, 64).init(device),
            classifier: HeadConfig::new(kind, 64, num_classes).init(device),
        }
    }
}

impl<B: Backend> Backbone<B> for Net<B> {
    type Input = Tensor<B, 4>;

    fn forward_features(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let maps = relu(self.conv1.forward(images));
        let maps = self.pool.forward(relu(self.conv2.forward(maps)));
        relu(self.hidden.forward(maps.flatten(1, 3)))
    }

    fn head(&self) -> &Head<B> {
        &self.classifier
    }
}

const KNOWN: u8 = 6;
const EPOCHS: usize = 20;
const BATCH: usize = 32;

fn batch<B: Backend>(digits: &[Digit], device: &B::Device) -> Tensor<B, 4> {
    let pixels: Vec<f32> = digits.iter().flat_map(|digit| digit.pixels).collect();
    Tensor::from_data(
        TensorData::new(pixels, [digits.len(), 1, digits::SIDE, digits::SIDE]),
        device,
    )
}

/// Written once, for every backbone that takes images.
fn train<B: AutodiffBackend, M>(mut model: M, known: &[Digit], device: &B::Device) -> M
where
    M: AutodiffModule<B> + Backbone<B, Input = Tensor<B, 4>>,
{
    let loss = LossConfig::new(model.head().kind()).init(); // 2. was: CrossEntropyLossConfig
    let mut optimizer = AdamConfig::new().init();
    for _ in 0..EPOCHS {
        for part in known.chunks(BATCH) {
            let labels: Vec<i32> = part.iter().map(|digit| digit.label.into()).collect();
            let targets = Tensor::from_ints(labels.as_slice(), device);
            let value = loss.forward(model.forward(batch(part, device)), targets);
            let gradients = GradientsParams::from_grads(value.backward(), &model);
            model = optimizer.step(1e-3, model, gradients);
        }
    }
    model
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    type B = Training;
    let device = device();
    B::seed(&device, 1);
    let (known, unseen): (Vec<_>, Vec<_>) =
        digits::load().into_iter().partition(|digit| digit.label < KNOWN);
    let parts = digits::Split::new(known, 1);

    for kind in HeadKind::ALL {
        let model = Net::<B>::new(kind, KNOWN.into(), &device);
        let model = train(model, &parts.train, &device).valid();

        let temperature = model.head().temperature();
        let logits = |digits: &[Digit]| model.forward(batch(digits, &device));
        let detector = DetectorConfig::new(kind)
            .with_target_tpr(0.95)
            .fit(logits(&parts.valid), temperature)?;
        let known = detector.decide(logits(&parts.test), temperature)?;
        let unknown = detector.decide(logits(&unseen), temperature)?;

        let right = known.iter().zip(&parts.test);
        let right = right.filter(|(d, digit)| d.class == usize::from(digit.label)).count();
        let scores = |decisions: &[isomax_burn::Decision]| -> Vec<f32> {
            decisions.iter().map(|decision| decision.score).collect()
        };
        let metrics = OodMetrics::from_scores(&scores(&known), &scores(&unknown))?;
        println!(
            "{:8} accuracy {:5.1} %   AUROC {:5.1} %   unknown digits refused: {} of {}",
            kind.title(),
            100.0 * right as f64 / known.len() as f64,
            100.0 * metrics.auroc,
            unknown.iter().filter(|decision| !decision.in_distribution).count(),
            unknown.len()
        );

        // Weights of your own network go to PyTorch and back like those of the published ones.
        let path = std::env::temp_dir().join(format!("custom-backbone-{kind}.safetensors"));
        store::save_safetensors(&model, &path)?;
        let mut again = Net::new(kind, KNOWN.into(), &device);
        store::load_safetensors(&mut again, &path)?;
        std::fs::remove_file(path)?;
        let images = batch(&parts.test, &device);
        assert_eq!(again.forward(images.clone()).into_data(), model.forward(images).into_data());
    }
    Ok(())
}
