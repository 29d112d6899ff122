//! A network of your own goes the whole way of the published ones: it is trained and can be interrupted,
//! evaluated, reported, and asked about files. Two lines of it differ from a plain Burn classifier, the
//! last layer and the loss, which comes with the layer.
//!
//! ```sh
//! cargo run --example custom_backbone
//! ```

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn::module::AutodiffModule;
use burn::nn;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig};
use burn::prelude::*;
use burn::tensor::activation::relu;
use digits::Digit;
use isomax_bench::backend::{self, InferenceBackend, TrainingBackend, device};
use isomax_bench::data::{Augmentation, Images, NamedImages, Normalization, OodSource};
use isomax_bench::evaluate::summary;
use isomax_bench::experiment::{ExperimentOptions, run};
use isomax_bench::predict::{self, files};
use isomax_bench::train::{ExperimentData, ImageCount, TrainingConfig, open_run};
use isomax_bench::{export, progress, report, results};
use isomax_bundle::{Bundle, Predictor};
use isomax_burn::{HeadKind, IsoMaxPlusHead, IsoMaxPlusHeadConfig, OodScore};
use isomax_models::Backbone;

/// A network of your own.
#[derive(Module, Debug)]
struct Net<B: Backend> {
    conv1: Conv2d<B>,
    conv2: Conv2d<B>,
    pool: AvgPool2d,
    hidden: nn::Linear<B>,
    head: IsoMaxPlusHead<B>, // was: nn::Linear<B>
}

impl<B: Backend> Net<B> {
    fn new(num_classes: usize, device: &B::Device) -> Self {
        let conv = |channels| Conv2dConfig::new(channels, [3, 3]).init(device);
        Self {
            conv1: conv([3, 16]),
            conv2: conv([16, 32]),
            pool: AvgPool2dConfig::new([2, 2]).init(),
            hidden: nn::LinearConfig::new(32 * 2 * 2, 64).init(device),
            head: IsoMaxPlusHeadConfig::new(64, num_classes).init(device),
        }
    }
}

/// All that training, evaluation and prediction need to know of it.
impl<B: Backend> Backbone<B> for Net<B> {
    type Input = Tensor<B, 4>;
    type Head = IsoMaxPlusHead<B>;

    fn forward_features(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let maps = relu(self.conv1.forward(images));
        let maps = self.pool.forward(relu(self.conv2.forward(maps)));
        relu(self.hidden.forward(maps.flatten(1, 3)))
    }

    fn head(&self) -> &IsoMaxPlusHead<B> {
        &self.head
    }
}

/// A score of your own: how far the nearest prototype is nearer than the second.
#[derive(Debug)]
struct Margin;

impl OodScore for Margin {
    fn name(&self) -> &str {
        "margin"
    }

    fn score(&self, logits: &[f64]) -> f64 {
        let mut sorted = logits.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        sorted[0] - sorted[1]
    }
}

/// Digits below this are learned, the others are to be told apart from them.
const CLASSES: u8 = 6;
const UNSEEN: &str = "unseen-digits";
const OUTPUT: &str = "artifacts/custom-backbone";

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let normalization = Normalization { mean: [0.3; 3], std: [0.38; 3] };
    let config = TrainingConfig {
        epochs: 16,
        milestones: vec![8, 12],
        batch_size: 32,
        learning_rate: 0.05,
        augmentation: Augmentation::CropAndFlip { padding: 0, flip: false },
        validation_images: ImageCount::Images(80),
        calibration_images: ImageCount::Images(120),
        ood: vec![OodSource::named(UNSEEN)],
        ..TrainingConfig::own("digits", "two-conv", HeadKind::IsoMaxPlus, normalization)
    };
    let options = ExperimentOptions {
        output: OUTPUT.into(),
        runs: 1..=1,
        workers: 1,
        plain: true,
        backend: backend::name(),
        scores: vec![Arc::new(Margin)],
        progress: progress::silent(),
        ranks: None,
    };
    let (learned, unseen): (Vec<_>, Vec<_>) =
        digits::load().into_iter().partition(|digit| digit.label < CLASSES);
    let parts = digits::DigitSplits::new(learned, 1);
    let load = || {
        let train = images(&[parts.train.clone(), parts.valid.clone()].concat());
        let (test, unseen) = (images(&parts.test), Arc::new(images(&unseen)));
        let source = "embedded".to_owned();
        let ood = vec![NamedImages { name: UNSEEN.to_owned(), source, images: unseen }];
        Ok(ExperimentData::new("digits", train, test, ood, "embedded")?)
    };
    let network = |num_classes, device: &_| Ok(Net::<TrainingBackend>::new(num_classes, device));

    // Started again, a training goes on from its last epoch; what is finished is read.
    for (number, evaluation) in run(&config, load, network, &options)? {
        println!("{}, run {number}\n{}", config.experiment_name(), summary(&evaluation));
    }
    report::publish(Path::new(OUTPUT))?;
    println!("curves and pictures: {OUTPUT}/{}\n", report::PAGE);

    decide(&config, &[&parts.test[0], &parts.test[1], &unseen[0], &unseen[1]])
}

/// As a program that was given the folder of the run and some files.
fn decide(config: &TrainingConfig, digits: &[&Digit]) -> Result<(), Box<dyn Error>> {
    let run = Path::new(OUTPUT).join(config.experiment_name()).join("run-1");
    let photos = Path::new(OUTPUT).join("photos");
    fs::create_dir_all(&photos)?;
    for (index, digit) in digits.iter().enumerate() {
        let bytes = images(&[(*digit).clone()]).bytes;
        let side = digits::SIDE as u32;
        let picture = image::RgbImage::from_raw(side, side, bytes).ok_or("no whole picture")?;
        picture.save(photos.join(format!("{index}-shows-a-{}.png", digit.label)))?;
    }
    let (_, training) = open_run(&run)?;
    let network = |classes| Net::<TrainingBackend>::new(classes, &device()).valid();
    let mut trained = network(training.classes.len());
    trained.load_safetensors(run.join(results::MODEL))?;
    // One file with all that decides, which needs neither the run nor its data.
    let file = Path::new(OUTPUT).join("digits.safetensors");
    export::bundle(&run, &trained, None, None)?.save(&file)?;

    let bundle = Bundle::load(&file)?;
    let classes = bundle.manifest().classes.clone();
    let mut loaded = network(classes.len());
    bundle.load_into(&mut loaded)?;
    let predictor = Predictor::<InferenceBackend, _>::of_bundle(&bundle, loaded, &device())?;
    predict::run(&predictor, files(vec![photos]), |prediction| -> Result<(), Box<dyn Error>> {
        let decision = prediction.decision?;
        let name = prediction.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match decision.in_distribution {
            true => println!(
                "{name}: a {}, {:.1} % sure",
                classes[decision.class],
                100.0 * decision.confidence
            ),
            false => println!("{name}: OOD (p = {:.3})", decision.p_value),
        }
        Ok(())
    })
}

/// Colour images, of which the three channels are the same.
fn images(digits: &[Digit]) -> Images {
    let byte = |pixel: &f32| [(255.0 * pixel).round() as u8; 3];
    Images {
        size: [digits::SIDE; 2],
        bytes: digits.iter().flat_map(|digit| digit.pixels.iter().flat_map(byte)).collect(),
        labels: digits.iter().map(|digit| digit.label.into()).collect(),
        classes: (0..CLASSES).map(|class| class.to_string()).collect(),
    }
}
