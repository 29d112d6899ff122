//! A network of your own with a typed head, and a score of your own: trained by Burn's Learner with
//! detection shown at every epoch, then fitted, saved and applied. Needs Burn and isomax-burn alone.
//!
//! ```sh
//! cargo run --example own_network --features isomax-burn/train
//! ```

use std::sync::Arc;

use burn::backend::{Autodiff, Flex};
use burn::data::dataloader::{DataLoader, DataLoaderBuilder, batcher::Batcher};
use burn::data::dataset::InMemDataset;
use burn::prelude::*;
use burn::tensor::{activation::relu, backend::AutodiffBackend};
use burn::train::{ClassificationOutput, InferenceStep, Learner, SupervisedTraining};
use burn::train::{TrainOutput, TrainStep, metric::AccuracyMetric};
use isomax_burn::train::{EpochRenderer, OodBatch, OodDataLoader, OodOutput, OodTraining};
use isomax_burn::{Detector, DetectorConfig, OodScore};
use isomax_burn::{IsoMaxLossConfig, IsoMaxPlusHead, IsoMaxPlusHeadConfig};

#[derive(Module, Debug)]
struct Net<B: Backend> {
    hidden: nn::Linear<B>,
    head: IsoMaxPlusHead<B>, // 1. was: nn::Linear<B>
}

type Batch<B> = (Tensor<B, 2>, Tensor<B, 1, Int>);

impl<B: Backend> Net<B> {
    fn forward(&self, points: Tensor<B, 2>) -> Tensor<B, 2> {
        self.head.forward(relu(self.hidden.forward(points)))
    }

    fn classify(&self, (points, classes): Batch<B>) -> ClassificationOutput<B> {
        let logits = self.forward(points);
        let loss = IsoMaxLossConfig::new().init(); // 2. was: CrossEntropyLossConfig
        let loss = loss.forward(logits.clone(), classes.clone());
        ClassificationOutput::new(loss, logits, classes)
    }
}

impl<B: AutodiffBackend> TrainStep for Net<B> {
    type Input = Batch<B>;
    type Output = ClassificationOutput<B>;

    fn step(&self, batch: Batch<B>) -> TrainOutput<ClassificationOutput<B>> {
        let output = self.classify(batch);
        TrainOutput::new(self, output.loss.backward(), output)
    }
}

impl<B: Backend> InferenceStep for Net<B> {
    type Input = OodBatch<Batch<B>>; // was: Batch<B>
    type Output = OodOutput<B>; // was: ClassificationOutput<B>

    fn step(&self, batch: OodBatch<Batch<B>>) -> OodOutput<B> {
        batch.evaluate(|id| self.classify(id), |(points, _)| self.forward(points))
    }
}

/// How far the largest logit lies above the mean of all.
#[derive(Debug, Clone, Copy)]
struct AboveMean;

impl OodScore for AboveMean {
    fn name(&self) -> &str {
        "above-mean"
    }

    fn score(&self, logits: &[f64]) -> f64 {
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        largest - logits.iter().sum::<f64>() / logits.len() as f64
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (device, folder) = (Default::default(), tempfile::tempdir()?);
    let net = Net::<Autodiff<Flex>> {
        hidden: nn::LinearConfig::new(2, 64).init(&device),
        head: IsoMaxPlusHeadConfig::new(64, 3).init(&device),
    };
    let [train, valid, held_out, test] = [0, 1, 2, 3].map(|seed| points(seed, 1.0));
    let between = points(4, 0.0);
    let valid = OodDataLoader::new(loader(&valid)).with_set("between", loader(&between))?;
    let metrics = valid.metrics(AboveMean);
    let net = SupervisedTraining::new(folder.path(), loader(&train), Arc::new(valid))
        .metrics((AccuracyMetric::new(),))
        .ood_metrics(metrics)
        .renderer(EpochRenderer::new())
        .num_epochs(8)
        .launch(Learner::new(net, burn::optim::AdamConfig::new().init(), 5e-3))
        .model;

    let logits = |points: &[Point]| net.forward(Points.batch(points.to_vec(), &device).0);
    let path = folder.path().join("detector.json");
    let config = DetectorConfig::new().with_score(AboveMean).with_target_tpr(0.9);
    config.fit(&net.head, logits(&held_out))?.save(&path)?;
    let detector = Detector::load_with(&path, AboveMean)?;
    for (name, points) in [("test points", test), ("points between the clusters", between)] {
        let decisions = detector.decide(&net.head, logits(&points))?;
        let accepted = decisions.iter().filter(|decision| decision.in_distribution).count();
        println!("{name}: {accepted} of {} are in distribution", decisions.len());
    }
    Ok(())
}

/// A point of the plane and the cluster that it belongs to.
type Point = ([f32; 2], i32);

/// Three clusters around a circle, a third of a turn apart.
fn points(seed: usize, radius: f32) -> Vec<Point> {
    let point = |i: usize| {
        let (class, golden) = (i % 3, (600 * seed + i) as f32 * 2.399_963);
        let (angle, away) = (class as f32 * 2.094_395, 0.4 * (i as f32 / 600.0).sqrt());
        let x = radius * angle.cos() + away * golden.cos();
        ([x, radius * angle.sin() + away * golden.sin()], class as i32)
    };
    (0..600).map(point).collect()
}

#[derive(Clone)]
struct Points;

impl<B: Backend> Batcher<B, Point, Batch<B>> for Points {
    fn batch(&self, points: Vec<Point>, device: &B::Device) -> Batch<B> {
        let (places, classes): (Vec<_>, Vec<i32>) = points.into_iter().unzip();
        let places = TensorData::new(places.concat(), [classes.len(), 2]);
        (Tensor::from_data(places, device), Tensor::from_ints(classes.as_slice(), device))
    }
}

fn loader<B: Backend>(points: &[Point]) -> Arc<dyn DataLoader<B, Batch<B>>> {
    DataLoaderBuilder::new(Points).batch_size(50).build(InMemDataset::new(points.to_vec()))
}
