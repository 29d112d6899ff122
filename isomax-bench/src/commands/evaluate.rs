//! `isomax-bench evaluate`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use isomax_bench::backend::{self, Device, Inference};
use isomax_bench::data::{DataFolder, KnownSet, OodSource, Split};
use isomax_bench::evaluate::{Subject, evaluate, held_out_indices, summary};
use isomax_bench::experiment::evaluate_execution;
use isomax_bench::progress;
use isomax_bench::results::Evaluation;
use isomax_bench::train::{Classifier, ExperimentData, TrainingConfig};
use isomax_burn::HeadKind;
use isomax_models::{Architecture, Model, ModelConfig, store};

use super::{CommandResult, DataArgs, open_run, print};

#[derive(Args)]
pub struct EvaluateArgs {
    /// Folder of an execution that `train` finished, to evaluate it anew.
    #[arg(long, conflicts_with_all = ["weights", "architecture", "head", "known"])]
    run: Option<PathBuf>,
    /// Weights: safetensors, a state dict of PyTorch (.pth, .pt), or a checkpoint of `train` (.mpk).
    #[arg(long, required_unless_present = "run")]
    weights: Option<PathBuf>,
    /// Network, such as resnet-20 or densenet-bc-100.
    #[arg(long, required_unless_present = "run")]
    architecture: Option<Architecture>,
    /// Its last layer: softmax, isomax, isomax+ or dismax.
    #[arg(long, required_unless_present = "run")]
    head: Option<HeadKind>,
    /// Set that it was trained on: cifar10, cifar100 or svhn.
    #[arg(long, required_unless_present = "run")]
    known: Option<KnownSet>,
    /// Sets to detect, each NAME or NAME=FOLDER (default: as published, or as trained). With --run it needs
    /// --output: the evaluation of the run stays that of its configuration.
    #[arg(long, value_delimiter = ',')]
    ood: Option<Vec<OodSource>>,
    /// Images of the training split to fit a detector and a temperature on. The network must not
    /// have been trained on them; with --seed they are those that `train` held out of a whole split.
    #[arg(long, default_value_t = 0)]
    held_out: usize,
    /// Seed of the execution whose held-out images these are.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Folder for scores, pictures, detector and evaluation (default: that of the run, or evaluation).
    #[arg(long)]
    output: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

impl EvaluateArgs {
    pub fn run(&self) -> CommandResult {
        let evaluation = match (&self.run, &self.weights, self.architecture, self.head, self.known)
        {
            (Some(run), ..) => self.evaluate_run(run)?,
            (None, Some(weights), Some(architecture), Some(head), Some(known)) => {
                self.evaluate_weights(weights, architecture, head, known)?
            }
            _ => return Err("give --run, or --weights, --architecture, --head and --known".into()),
        };
        let text = match self.json {
            true => serde_json::to_string_pretty(&evaluation)?,
            false => summary(&evaluation),
        };
        Ok(print(text)?)
    }

    fn evaluate_run(&self, run: &Path) -> Result<Evaluation, Box<dyn std::error::Error>> {
        let (mut config, training) = open_run(run)?;
        if self.ood.is_some() && self.output.is_none() {
            return Err("--ood needs --output, beside --run".into());
        }
        if let Some(ood) = &self.ood {
            config.ood = ood.clone();
        }
        let data = ExperimentData::load(&config, &self.data.folder())?;
        let output = self.output.clone().unwrap_or_else(|| run.to_owned());
        fs::create_dir_all(&output)?;
        Ok(evaluate_execution::<Inference>(
            &config,
            training,
            &data,
            run,
            &output,
            &progress::bar("images"),
        )?)
    }

    fn evaluate_weights(
        &self,
        weights: &Path,
        architecture: Architecture,
        head: HeadKind,
        known: KnownSet,
    ) -> Result<Evaluation, Box<dyn std::error::Error>> {
        let device = backend::device();
        let network = load(weights, architecture, head, known, &device)?;
        let folder: DataFolder = self.data.folder();
        let test = folder.known(known, Split::Test)?;
        let held_out = match self.held_out {
            0 => None,
            count => {
                let train = folder.known(known, Split::Train)?.images;
                let (_, held_out) = held_out_indices(train.len(), count, self.seed)
                    .ok_or("--held-out takes all images of the training split, or more")?;
                let held_out: Vec<usize> = held_out.into_iter().map(|i| i as usize).collect();
                Some(train.select(&held_out))
            }
        };
        let sources = self.ood.clone().unwrap_or_else(|| known.published_ood());
        let subject = Subject {
            known,
            data: test.source.to_owned(),
            training: None,
            fpr: false,
            ood: folder.ood_sets(&sources)?,
            test: Arc::new(test.images),
            held_out,
            progress: progress::bar("images"),
        };
        let output = self.output.clone().unwrap_or_else(|| PathBuf::from("evaluation"));
        fs::create_dir_all(&output)?;
        Ok(evaluate(&network, architecture, &subject, &output, &device)?)
    }
}

/// Loads weights of any of the formats, by the ending of the file's name.
pub fn load(
    weights: &Path,
    architecture: Architecture,
    head: HeadKind,
    known: KnownSet,
    device: &Device,
) -> Result<Model<Inference>, Box<dyn std::error::Error>> {
    let mut network = ModelConfig::new(architecture, known.num_classes())
        .with_head(head)
        .init::<Inference>(device);
    match weights.extension().and_then(OsStr::to_str) {
        Some("safetensors") => network.load_safetensors(weights)?,
        Some("pth" | "pt") => network.load_pytorch(weights)?,
        Some("mpk") => {
            let config = TrainingConfig::published(known, architecture, head);
            let mut classifier = Classifier::<Inference>::new(&config, device);
            store::load_record(&mut classifier, weights)?;
            network = classifier.network;
        }
        _ => {
            let path = weights.display();
            return Err(format!("{path}: expected a .safetensors, .pth, .pt or .mpk file").into());
        }
    }
    Ok(network)
}
