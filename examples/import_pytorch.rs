//! Takes a network that PyTorch trained: loads its `.pth`, evaluates it, and saves it as
//! safetensors, which both sides read.
//!
//! ```sh
//! cargo run --release --example import_pytorch -- resnet20.pth \
//!     --architecture resnet-20 --head isomax+ \
//!     --known data/cifar10/test --unknown data/tiny-imagenet-resize --unknown data/lsun-resize \
//!     --export resnet20.safetensors
//! ```
//!
//! `--known` is a folder with a folder of PNG or JPEG images for each class, in the alphabetical order
//! of the classes that the network learned; `--unknown` are folders of images that show none of them.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::Tensor;
use clap::Parser;
use isomax_bench::backend::{Device, Inference, Training, device};
use isomax_bench::data::{FolderOptions, Images, JpegDecoder, KnownSet};
use isomax_bench::evaluate::{accuracy, logits};
use isomax_bench::table::Table;
use isomax_burn::metrics::OodMetrics;
use isomax_burn::{HeadKind, OodHead, Score};
use isomax_models::{Architecture, Backbone, Model, ModelConfig, num_trainable_params};

/// Loads a network of PyTorch, evaluates it, and saves it as safetensors.
#[derive(Parser)]
struct Arguments {
    /// State dict, as torch.save(model.state_dict(), path) writes it.
    weights: PathBuf,
    /// Name of the network, such as resnet-20, densenet-bc-100 or wrn-28-10.
    #[arg(long, default_value = "resnet-20")]
    architecture: Architecture,
    /// Its last layer: softmax, isomax, isomax+ or dismax.
    #[arg(long, default_value = "isomax+")]
    head: HeadKind,
    /// Number of classes.
    #[arg(long, default_value_t = 10)]
    classes: usize,
    /// Set that the network was trained on, whose normalisation all images get: cifar10, cifar100 or svhn.
    #[arg(long, default_value = "cifar10")]
    trained_on: KnownSet,
    /// Decoder of JPEG images: safe, or libjpeg, which gives the pixels of PyTorch and Pillow bit by
    /// bit and needs --features libjpeg.
    #[arg(long, default_value = "safe")]
    jpeg_decoder: JpegDecoder,
    /// Labelled images of the known classes.
    #[arg(long)]
    known: Option<PathBuf>,
    /// Images of unknown classes; may be given several times.
    #[arg(long, requires = "known")]
    unknown: Vec<PathBuf>,
    /// Where to save the network as safetensors.
    #[arg(long)]
    export: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let device = device();
    let config = ModelConfig::new(arguments.architecture, arguments.classes);
    let mut model = config.clone().with_head(arguments.head).init::<Inference>(&device);
    model.load_pytorch(&arguments.weights)?;
    let trained = config.with_head(arguments.head).init::<Training>(&device);
    println!(
        "{} with {}: {} parameters",
        arguments.architecture,
        arguments.head,
        num_trainable_params(&trained)
    );
    if let Some(known) = &arguments.known {
        evaluate(&model, known, arguments, &device)?;
    }
    if let Some(path) = &arguments.export {
        model.save_safetensors(path)?;
        println!("saved {}", path.display());
    }
    Ok(())
}

fn evaluate(
    model: &Model<Inference>,
    known: &Path,
    arguments: &Arguments,
    device: &Device,
) -> Result<(), Box<dyn Error>> {
    let read = |path: &Path| -> Result<Images, Box<dyn Error>> {
        let options = FolderOptions { jpeg: arguments.jpeg_decoder, ..Default::default() };
        let images = Images::from_folder_with(path, &options)?;
        let [height, width] = images.size;
        model.check_images([images.len(), 3, height, width])?;
        Ok(images)
    };
    let normalization = arguments.trained_on.normalization();
    let logits_of = |images: &Images| logits(model, images, &normalization, 100, device);
    let images = read(known)?;
    if images.classes.len() != arguments.classes {
        let (found, expected) = (images.classes.len(), arguments.classes);
        return Err(format!("{}: {found} classes, expected {expected}", known.display()).into());
    }
    let known_logits = logits_of(&images);
    let accuracy = accuracy(known_logits.clone(), &images.labels);
    println!("accuracy on {} images: {accuracy:.2} %", images.len());

    let default = Score::default_for(model.head().kind());
    let mut scores = vec![Score::MPS, Score::ES, Score::MDS];
    if !scores.contains(&default) {
        scores.push(default);
    }
    let values = |score: Score, logits: &Tensor<Inference, 2>| -> Vec<f32> {
        score.compute(logits.clone()).into_data().iter().collect()
    };
    let mut table = Table::new(["OOD set", "images", "score", "AUROC", "TNR@95TPR"]);
    for path in &arguments.unknown {
        let images = read(path)?;
        let unknown_logits = logits_of(&images);
        for score in &scores {
            let known = values(*score, &known_logits);
            let metrics = OodMetrics::from_scores(&known, &values(*score, &unknown_logits))?;
            table.row([
                path.display().to_string(),
                images.len().to_string(),
                if *score == default { format!("{score} (default)") } else { score.to_string() },
                format!("{:.3}", 100.0 * metrics.auroc),
                format!("{:.3}", 100.0 * metrics.tnr_at_95_tpr),
            ]);
        }
    }
    if !arguments.unknown.is_empty() {
        println!("{table}");
    }
    Ok(())
}
