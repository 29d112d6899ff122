//! Which network a command takes.

use std::path::{Path, PathBuf};

use clap::Args;
use isomax_bench::backend::{Device, InferenceBackend};
use isomax_bench::data::{JpegDecoder, Normalization, PublishedSet};
use isomax_bench::experiment::published_network;
use isomax_bench::results;
use isomax_bench::train::{Classifier, TrainingConfig};
use isomax_burn::HeadKind;
use isomax_models::store::WeightFormat;
use isomax_models::{Architecture, Backbone as _, Model, store};

/// A network: the folder of a run, or weights with what a file of weights does not say.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// Folder of a run that `train` has finished.
    #[arg(long, conflicts_with_all = ["weights", "architecture", "head", "id_data", "mean", "std"])]
    pub run: Option<PathBuf>,
    /// File of weights: safetensors, a state dict of PyTorch, or a checkpoint of `train`. Its
    /// content tells the format, not its name.
    #[arg(long, requires_all = ["architecture", "head", "id_data"])]
    weights: Option<PathBuf>,
    /// Network of the weights, for example resnet-20 or densenet-bc-100.
    #[arg(long, requires = "weights")]
    architecture: Option<Architecture>,
    /// Last layer of the network: softmax, isomax, isomax+ or dismax.
    #[arg(long, requires = "weights")]
    head: Option<HeadKind>,
    /// Set that the network was trained on: cifar10, cifar100 or svhn.
    #[arg(long = "id-data", alias = "known", value_name = "NAME", requires = "weights")]
    id_data: Option<PublishedSet>,
    /// Mean of each channel that the network was trained with, for pixels in [0, 1] (default: as
    /// published for the set).
    #[arg(long, value_name = "R,G,B", requires = "std", value_parser = Normalization::parse_channels)]
    mean: Option<[f32; 3]>,
    /// Standard deviation of each channel, for pixels in [0, 1] (default: as published for the
    /// set).
    #[arg(long, value_name = "R,G,B", requires = "mean", value_parser = Normalization::parse_channels)]
    std: Option<[f32; 3]>,
    /// JPEG decoder: safe, or libjpeg, which gives exactly the pixels of PyTorch and Pillow and
    /// needs a build with `--features libjpeg` (default: safe). A run keeps that of its training.
    #[arg(long, conflicts_with = "run")]
    jpeg_decoder: Option<JpegDecoder>,
}

impl NetworkArgs {
    /// The weights, if they are given by themselves.
    pub fn weights(&self) -> Option<Weights> {
        let (architecture, head, id_data) = (self.architecture?, self.head?, self.id_data?);
        let channels = self.mean.zip(self.std).map(|(mean, std)| Normalization { mean, std });
        let config = TrainingConfig {
            normalization: channels,
            jpeg_decoder: self.jpeg_decoder.unwrap_or_default(),
            ..TrainingConfig::published(id_data, architecture, head)
        };
        Some(Weights { path: self.weights.clone()?, id_data, config })
    }

    /// The folder of a run, where there are no weights by themselves.
    pub fn run(&self) -> Result<&Path, &'static str> {
        let missing = "give --run, or --weights, --architecture, --head and --id-data";
        self.run.as_deref().ok_or(missing)
    }
}

/// A file of weights and what they belong to.
pub struct Weights {
    pub path: PathBuf,
    pub id_data: PublishedSet,
    /// What a training of this network, head and set would be.
    pub config: TrainingConfig,
}

impl Weights {
    /// Loads a file of any of the formats, whatever its name.
    pub fn load(
        &self,
        device: &Device,
    ) -> Result<Model<InferenceBackend>, Box<dyn std::error::Error>> {
        let mut network = published_network::<InferenceBackend>(
            &self.config,
            self.id_data.num_classes(),
            device,
        )?;
        match WeightFormat::detect(&self.path)? {
            WeightFormat::Record => {
                let mut classifier = Classifier::<InferenceBackend, _>::new(&self.config, network);
                store::load_record(&mut classifier, &self.path)?;
                network = classifier.network;
            }
            _ => network.load_weights(&self.path)?,
        }
        Ok(network)
    }
}

/// The network of a run, with the weights that were kept.
pub fn load_run(
    run: &Path,
    config: &TrainingConfig,
    num_classes: usize,
    device: &Device,
) -> Result<Model<InferenceBackend>, Box<dyn std::error::Error>> {
    let mut network = published_network::<InferenceBackend>(config, num_classes, device)?;
    network.load_safetensors(run.join(results::MODEL))?;
    Ok(network)
}
