//! `isomax-bench benchmark`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use isomax_bench::backend::{self, InferenceBackend};
use isomax_bench::cli::{DataArgs, bar};
use isomax_bench::data::{DataFolder, ImageSource, JpegDecoder, OodSource, Split, Subset};
use isomax_bench::evaluate::{EvaluationInput, PostHocInput, PostHocMethods, evaluate};
use isomax_bench::protocol::{Places, Protocol, ProtocolImages, Role, Spread, rows, table};
use isomax_bench::results::{Evaluation, Training};
use isomax_bench::train::{ExperimentData, TrainingConfig, open_run};
use isomax_burn::HeadKind;
use isomax_models::{Architecture, Model};

use super::network::{Weights, load_run};
use super::{CommandResult, print};

#[derive(Args)]
pub struct BenchmarkArgs {
    /// Sets to compare on: openood-v1.5-cifar10, openood-v1.5-cifar100, entropic-cifar10, or a TOML file that looks as
    /// those do.
    #[arg(long, value_name = "NAME|FILE")]
    protocol: String,
    /// Folders of finished runs, of which means are formed.
    #[arg(long, num_args = 1.., value_name = "FOLDER", conflicts_with = "weights")]
    run: Vec<PathBuf>,
    /// Files of weights, of several trainings of one network: safetensors, state dicts of PyTorch such as the best.ckpt
    /// that OpenOOD publishes, or checkpoints of `train`.
    #[arg(long, num_args = 1.., value_name = "FILE", requires_all = ["architecture", "head"])]
    weights: Vec<PathBuf>,
    /// Network of the weights, for example resnet-18.
    #[arg(long, requires = "weights")]
    architecture: Option<Architecture>,
    /// Last layer of the network: softmax, isomax, isomax+ or dismax.
    #[arg(long, requires = "weights")]
    head: Option<HeadKind>,
    /// JPEG decoder for --weights: safe, or libjpeg, which needs a build with `--features libjpeg` (default: safe). A
    /// run keeps that of its training.
    #[arg(long, conflicts_with = "run")]
    jpeg_decoder: Option<JpegDecoder>,
    /// Where sets of the protocol lie, separated by commas, each NAME=FOLDER (default: --data-dir/NAME). With the list of
    /// its images in the folder, exactly those are taken.
    #[arg(long, value_name = "SETS", value_delimiter = ',')]
    set: Vec<OodSource>,
    /// Other images in the place of sets of the protocol, each NAME=FOLDER: shown, and left out of means.
    #[arg(long, value_name = "SETS", value_delimiter = ',')]
    stand_in: Vec<OodSource>,
    /// Folder with the lists of images of the protocol.
    #[arg(long, value_name = "FOLDER")]
    lists: Option<PathBuf>,
    /// Fit these methods on the training images: all that suit the head, or names separated by commas.
    #[arg(long, value_name = "all|NAMES")]
    posthoc: Option<PostHocMethods>,
    /// Add each method with parameters tuned on the validation and tuning images of the protocol, as OpenOOD does.
    #[arg(long, requires = "posthoc")]
    tune: bool,
    /// Divisor of standard deviations over n trainings: n - 1 (1), or n (0), as in the tables of OpenOOD.
    #[arg(long, value_enum, default_value = "1")]
    ddof: Ddof,
    /// Folder for scores, pictures, detectors and evaluations (default: benchmark/PROTOCOL).
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Ddof {
    #[value(name = "0")]
    Population,
    #[value(name = "1")]
    Sample,
}

/// A network with what is known of its training.
struct Trained {
    network: Model<InferenceBackend>,
    config: TrainingConfig,
    /// What it was trained on.
    images: Arc<dyn ImageSource>,
    training: Option<Training>,
}

impl BenchmarkArgs {
    pub fn run(&self) -> CommandResult {
        let protocol = Protocol::find(&self.protocol)?;
        let decoder = self.jpeg_decoder.unwrap_or_default();
        let folder = self.data.folder().with_jpeg_decoder(decoder);
        let output =
            self.output.clone().unwrap_or_else(|| Path::new("benchmark").join(&protocol.name));
        let places = Places {
            sets: self.set.clone(),
            stand_ins: self.stand_in.clone(),
            lists: self.lists.clone(),
        };
        let known = |set: &OodSource| protocol.sets.iter().any(|known| known.name == set.name);
        if let Some(set) = places.sets.iter().chain(&places.stand_ins).find(|set| !known(set)) {
            let names: Vec<&str> = protocol.sets.iter().map(|set| set.name.as_str()).collect();
            let names = names.join(", ");
            return Err(format!(
                "{} is no set of {}: expected one of {names}",
                set.name, protocol.name
            )
            .into());
        }
        let images = ProtocolImages::find(&protocol, &folder, &places)?;
        let mut evaluations = Vec::new();
        let many = self.run.len() + self.weights.len() > 1;
        for (index, path) in self.run.iter().chain(&self.weights).enumerate() {
            // With room for its images: those of the one before are gone.
            let folder = self.data.folder().with_jpeg_decoder(decoder);
            let trained = match self.run.is_empty() {
                false => self.of_run(path, &folder, &protocol)?,
                true => self.of_weights(path, &folder, &protocol)?,
            };
            let output =
                if many { output.join(format!("training-{}", index + 1)) } else { output.clone() };
            evaluations.push(self.evaluate(&protocol, &images, trained, &output)?);
        }
        if evaluations.is_empty() {
            return Err("give --run, or --weights, --architecture and --head".into());
        }
        let spread = match self.ddof {
            Ddof::Population => Spread::Population,
            Ddof::Sample => Spread::Sample,
        };
        match self.json {
            true => print(serde_json::to_string_pretty(&rows(&images, &evaluations))?)?,
            false => print(table(&protocol.title, &images, &evaluations, spread))?,
        }
        Ok(())
    }

    fn of_run(
        &self,
        run: &Path,
        folder: &DataFolder,
        protocol: &Protocol,
    ) -> Result<Trained, Box<dyn std::error::Error>> {
        let (mut config, training) = open_run(run)?;
        if config.id_path.is_some() || config.id_data != protocol.id_data.to_string() {
            return Err(format!(
                "{}: trained on {}, but {} is for {}",
                run.display(),
                config.id_data,
                protocol.name,
                protocol.id_data
            )
            .into());
        }
        if (config.image_size, config.resize) != (protocol.image_size, protocol.resize) {
            return Err(format!(
                "{}: trained on images of {} pixels out of {}, but {} has {} out of {}",
                run.display(),
                config.image_size,
                config.resize,
                protocol.name,
                protocol.image_size,
                protocol.resize
            )
            .into());
        }
        config.ood.clear();
        let data = ExperimentData::load(&config, folder)?;
        if data.digest != training.digest {
            return Err(format!(
                "{}: trained on other images than those of --data-dir",
                run.display()
            )
            .into());
        }
        let network = load_run(run, &config, training.classes.len(), &backend::device())?;
        let used = data.split(&config, training.seed)?.training;
        let images = Arc::new(Subset::new(data.train, used));
        Ok(Trained { network, config, images, training: Some(training) })
    }

    fn of_weights(
        &self,
        path: &Path,
        folder: &DataFolder,
        protocol: &Protocol,
    ) -> Result<Trained, Box<dyn std::error::Error>> {
        let missing = "give --architecture and --head beside --weights";
        let (architecture, head) = (self.architecture.ok_or(missing)?, self.head.ok_or(missing)?);
        let config = TrainingConfig {
            normalization: Some(protocol.normalization),
            image_size: protocol.image_size,
            resize: protocol.resize,
            jpeg_decoder: self.jpeg_decoder.unwrap_or_default(),
            ..TrainingConfig::published(protocol.id_data, architecture, head)
        };
        let weights = Weights { path: path.to_owned(), id_data: protocol.id_data, config };
        let network = weights.load(&backend::device())?;
        // As those of the protocol, which methods that are fitted on them are to score.
        let folder = folder.clone().with_size(protocol.image_size, protocol.resize);
        let images = folder.id_set(protocol.id_data, Split::Train)?.images;
        Ok(Trained { network, config: weights.config, images, training: None })
    }

    fn evaluate(
        &self,
        protocol: &Protocol,
        images: &ProtocolImages,
        trained: Trained,
        output: &Path,
    ) -> Result<Evaluation, Box<dyn std::error::Error>> {
        let Trained { network, config, images: training_images, training } = trained;
        let of = |role: Role| images.of(&[role]).next().map(|found| found.images.clone());
        let test = of(Role::Test).ok_or_else(|| {
            format!(
                "the test images of {} are not at hand: {}",
                protocol.id_data,
                images.missing.join("; ")
            )
        })?;
        let (validation, tuning) = (of(Role::Validation), of(Role::Tuning));
        if self.tune && (validation.is_none() || tuning.is_none()) {
            let missing = images.missing.join("; ");
            return Err(format!(
                "--tune needs the validation and tuning images of the protocol: {missing}"
            )
            .into());
        }
        let ood = images.of(&[Role::Near, Role::Far]).map(|found| found.images.clone());
        let input = EvaluationInput {
            id_data: config.id_data.clone(),
            architecture: config.architecture.clone(),
            data: test.source.clone(),
            normalization: config.preprocessing(None)?.normalization,
            training,
            fpr: config.fpr,
            test: test.images,
            calibration: validation.map(|set| set.images),
            ood: ood.collect(),
            scores: Vec::new(),
            posthoc: self.posthoc.clone().map(|methods| PostHocInput {
                methods,
                training: training_images,
                tune_on: tuning.filter(|_| self.tune),
            }),
            previous: None,
            progress: bar("images"),
        };
        fs::create_dir_all(output)?;
        Ok(evaluate(&network, &input, output, &backend::device())?)
    }
}
