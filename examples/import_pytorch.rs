//! Takes a network that PyTorch trained: loads its `.pth`, evaluates it, and saves it as
//! safetensors, which both sides read.
//!
//! ```sh
//! cargo run --release --example import_pytorch -- resnet20.pth \
//!     --architecture resnet-20 --head isomax+ \
//!     --id-data data/cifar10/test --ood-data data/tiny-imagenet-resize --ood-data data/lsun-resize \
//!     --export resnet20.safetensors
//! ```
//!
//! `--id-data` is a folder with a folder of PNG or JPEG images for each class, in the alphabetical order
//! of the classes that the network learned; `--ood-data` are folders of images that show none of them.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::Tensor;
use clap::Parser;
use isomax_bench::backend::{Device, InferenceBackend, TrainingBackend, device};
use isomax_bench::data::{FolderOptions, Images, JpegDecoder, PublishedSet};
use isomax_bench::evaluate::{accuracy, logits};
use isomax_burn::metrics::OodMetrics;
use isomax_burn::{HeadKind, OodHead, Score};
use isomax_charts::Table;
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
    trained_on: PublishedSet,
    /// Decoder of JPEG images: safe, or libjpeg, which gives the pixels of PyTorch and Pillow bit by
    /// bit and needs --features libjpeg.
    #[arg(long, default_value = "safe")]
    jpeg_decoder: JpegDecoder,
    /// Labelled images of the ID classes.
    #[arg(long)]
    id_data: Option<PathBuf>,
    /// OOD images; may be given several times.
    #[arg(long, requires = "id_data")]
    ood_data: Vec<PathBuf>,
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
    let mut model = config.clone().with_head(arguments.head).init::<InferenceBackend>(&device);
    model.load_pytorch(&arguments.weights)?;
    let trained = config.with_head(arguments.head).init::<TrainingBackend>(&device);
    println!(
        "{} with {}: {} parameters",
        arguments.architecture,
        arguments.head,
        num_trainable_params(&trained)
    );
    if let Some(id_data) = &arguments.id_data {
        evaluate(&model, id_data, arguments, &device)?;
    }
    if let Some(path) = &arguments.export {
        model.save_safetensors(path)?;
        println!("saved {}", path.display());
    }
    Ok(())
}

fn evaluate(
    model: &Model<InferenceBackend>,
    id_data: &Path,
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
    let images = read(id_data)?;
    if images.classes.len() != arguments.classes {
        let (found, expected) = (images.classes.len(), arguments.classes);
        return Err(format!("{}: {found} classes, expected {expected}", id_data.display()).into());
    }
    let id_logits = logits_of(&images)?;
    let accuracy = accuracy(id_logits.clone(), &images.labels);
    println!("accuracy on {} images: {accuracy:.2} %", images.len());

    let default = Score::default_for(model.head().kind());
    let mut scores = vec![Score::MPS, Score::ES, Score::MDS];
    if !scores.contains(&default) {
        scores.push(default);
    }
    let values = |score: Score, logits: &Tensor<InferenceBackend, 2>| -> Vec<f32> {
        score.compute(logits.clone()).into_data().iter().collect()
    };
    let mut table = Table::new(["OOD set", "images", "score", "AUROC", "TNR@95TPR"]);
    for path in &arguments.ood_data {
        let images = read(path)?;
        let ood_logits = logits_of(&images)?;
        for score in &scores {
            let id = values(*score, &id_logits);
            let metrics = OodMetrics::from_scores(&id, &values(*score, &ood_logits))?;
            table.row([
                path.display().to_string(),
                images.len().to_string(),
                if *score == default { format!("{score} (default)") } else { score.to_string() },
                format!("{:.3}", 100.0 * metrics.auroc),
                format!("{:.3}", 100.0 * metrics.tnr_at_95_tpr),
            ]);
        }
    }
    if !arguments.ood_data.is_empty() {
        println!("{table}");
    }
    Ok(())
}
