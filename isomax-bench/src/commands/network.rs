//! Which network a command takes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::Args;
use isomax_bench::backend::{Device, Inference};
use isomax_bench::data::KnownSet;
use isomax_bench::results;
use isomax_bench::train::{Classifier, TrainingConfig};
use isomax_burn::HeadKind;
use isomax_models::{Architecture, Model, ModelConfig, store};

/// A network: the folder of an execution, or weights with what a file of weights does not say.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// Folder of an execution that `train` finished.
    #[arg(long, conflicts_with_all = ["weights", "architecture", "head", "known"])]
    pub run: Option<PathBuf>,
    /// Weights: safetensors, a state dict of PyTorch (.pth, .pt), or a checkpoint of `train` (.mpk).
    #[arg(long, requires_all = ["architecture", "head", "known"])]
    weights: Option<PathBuf>,
    /// Network, such as resnet-20 or densenet-bc-100.
    #[arg(long, requires = "weights")]
    architecture: Option<Architecture>,
    /// Its last layer: softmax, isomax, isomax+ or dismax.
    #[arg(long, requires = "weights")]
    head: Option<HeadKind>,
    /// Set that it was trained on, whose normalisation all images get: cifar10, cifar100 or svhn.
    #[arg(long, requires = "weights")]
    known: Option<KnownSet>,
}

impl NetworkArgs {
    /// The weights, if they are given by themselves.
    pub fn weights(&self) -> Option<Weights> {
        Some(Weights {
            path: self.weights.clone()?,
            architecture: self.architecture?,
            head: self.head?,
            known: self.known?,
        })
    }

    /// The folder of an execution, where there are no weights by themselves.
    pub fn run(&self) -> Result<&Path, &'static str> {
        let missing = "give --run, or --weights, --architecture, --head and --known";
        self.run.as_deref().ok_or(missing)
    }
}

/// A file of weights and the network that they belong to.
pub struct Weights {
    path: PathBuf,
    pub architecture: Architecture,
    pub head: HeadKind,
    pub known: KnownSet,
}

impl Weights {
    /// Those that an execution kept.
    pub fn of_run(run: &Path, config: &TrainingConfig) -> Self {
        Self {
            path: run.join(results::MODEL),
            architecture: config.architecture,
            head: config.head,
            known: config.known,
        }
    }

    /// Loads a file of any of the formats, by the ending of its name.
    pub fn load(&self, device: &Device) -> Result<Model<Inference>, Box<dyn std::error::Error>> {
        let Self { path, architecture, head, known } = self;
        let mut network = ModelConfig::new(*architecture, known.num_classes())
            .with_head(*head)
            .init::<Inference>(device);
        match path.extension().and_then(OsStr::to_str) {
            Some("safetensors") => network.load_safetensors(path)?,
            Some("pth" | "pt") => network.load_pytorch(path)?,
            Some("mpk") => {
                let config = TrainingConfig::published(*known, *architecture, *head);
                let mut classifier = Classifier::<Inference>::new(&config, device);
                store::load_record(&mut classifier, path)?;
                network = classifier.network;
            }
            _ => {
                let path = path.display();
                return Err(
                    format!("{path}: expected a .safetensors, .pth, .pt or .mpk file").into()
                );
            }
        }
        Ok(network)
    }
}
