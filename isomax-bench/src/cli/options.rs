//! What a user says of a training: departures from the published recipe.

use std::fs;
use std::path::Path;

use isomax_burn::HeadKind;
use isomax_models::Architecture;
use serde::Deserialize;

use crate::data::{Augmentation, IdSet, JpegDecoder, Normalization, OodSource};
use crate::results::{self, Selection};
use crate::train::{ConfigError, TrainingConfig, published_milestones};

/// What a file or the flags of a command say of a [`TrainingConfig`]; the rest is the published
/// recipe. A saved `config.json` is such a file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigOptions {
    /// Version of the file; none in files made by hand.
    #[arg(skip)]
    pub version: Option<u32>,
    /// In-distribution set, whose classes are learned: cifar10, cifar100 or svhn.
    #[arg(long = "id-data", alias = "known", value_name = "NAME")]
    #[serde(alias = "known")]
    pub id_data: Option<IdSet>,
    /// Network, for example densenet-bc-100, resnet-110, resnet-34 or wrn-28-10.
    #[arg(long)]
    pub architecture: Option<Architecture>,
    /// Last layer, which also sets the loss: softmax, isomax, isomax+ or dismax.
    #[arg(long)]
    pub head: Option<HeadKind>,
    /// Train DisMax with fractional probability regularisation.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub fpr: Option<bool>,
    /// Entropic scale of the loss (default: 10).
    #[arg(long)]
    pub entropic_scale: Option<f64>,
    /// Number of passes over the training images (default: 300).
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Number of images in a batch (default: 64).
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// Learning rate at the start (default: 0.1).
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// Epochs after which the learning rate falls, separated by commas (default: 1/2, 2/3 and 5/6
    /// of all epochs).
    #[arg(long, value_delimiter = ',')]
    pub milestones: Option<Vec<usize>>,
    /// Factor for the learning rate at each milestone (default: 0.1).
    #[arg(long)]
    pub gamma: Option<f64>,
    /// Use a tenth of the learning rate in the first epoch (default: as published).
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub warm_up: Option<bool>,
    /// Nesterov momentum (default: 0.9).
    #[arg(long)]
    pub momentum: Option<f64>,
    /// Weight decay on every parameter (default: 1e-4).
    #[arg(long)]
    pub weight_decay: Option<f64>,
    /// Random crops and flips: in a file a table with padding and flip.
    #[arg(skip)]
    pub augmentation: Option<Augmentation>,
    /// Train on a random subset of this size; held-out images are part of it (default: the whole
    /// training split).
    #[arg(long)]
    pub train_images: Option<usize>,
    /// Number of training images held out to choose the epoch (default: 2500; 0 with
    /// --select-on-test).
    #[arg(long)]
    pub validation_images: Option<usize>,
    /// Number of further training images held out to fit the detector and its temperature
    /// (default: as many as --validation-images).
    #[arg(long)]
    pub calibration_images: Option<usize>,
    /// Fit the detector and its temperature on the images that choose the epoch, and hold out no
    /// others.
    #[arg(long, conflicts_with = "calibration_images", num_args = 0..=1,
        default_missing_value = "true")]
    pub share_held_out: Option<bool>,
    /// Hold out the same share of each class (default: true).
    #[arg(skip)]
    pub stratified: Option<bool>,
    /// Mean of each channel, for pixels in [0, 1] (default: as published for the set).
    #[arg(long, value_name = "R,G,B", requires = "std", value_parser = Normalization::parse_channels)]
    #[serde(skip)]
    pub mean: Option<[f32; 3]>,
    /// Standard deviation of each channel, for pixels in [0, 1] (default: as published for the
    /// set).
    #[arg(long, value_name = "R,G,B", requires = "mean", value_parser = Normalization::parse_channels)]
    #[serde(skip)]
    pub std: Option<[f32; 3]>,
    /// Mean and standard deviation: in a file a table with mean and std.
    #[arg(skip)]
    pub normalization: Option<Normalization>,
    /// JPEG decoder: safe, or libjpeg, which gives exactly the pixels of PyTorch and Pillow and
    /// needs a build with `--features libjpeg` (default: safe).
    #[arg(long)]
    pub jpeg_decoder: Option<JpegDecoder>,
    /// Epoch whose weights are kept: the best one on held-out images (validation), the best one on
    /// the test split (test), or the last one (last) (default: validation).
    #[arg(long)]
    pub selection: Option<Selection>,
    /// Choose the best epoch on the test split, as the published code does. The same as
    /// --selection test.
    #[arg(long, conflicts_with = "selection")]
    #[serde(skip)]
    pub select_on_test: bool,
    /// Stop when the validation accuracy has not risen for this many epochs.
    #[arg(long)]
    pub early_stopping: Option<usize>,
    /// Number of batches whose mean gradient makes one step (default: 1).
    #[arg(long)]
    pub gradient_accumulation: Option<usize>,
    /// Number of devices. Each gets its own batch, and their mean gradient makes one step
    /// (default: 1).
    #[arg(long)]
    pub devices: Option<usize>,
    /// Seed of the first run; each further run takes the next number (default: 42).
    #[arg(long)]
    pub seed: Option<u64>,
    /// OOD sets, separated by commas, each NAME or NAME=FOLDER (default: as published). A finished
    /// run is evaluated on new sets without training again.
    #[arg(long = "ood-data", alias = "ood", value_name = "SETS", value_delimiter = ',')]
    #[serde(rename = "ood_data", alias = "ood")]
    pub ood: Option<Vec<OodSource>>,
    /// Measure detection during training once in this many epochs; 0 for never (default: 1).
    #[arg(long)]
    pub ood_every: Option<usize>,
}

impl ConfigOptions {
    /// Reads a file: JSON if its name ends so, else TOML.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Io`] or [`ConfigError::Malformed`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let malformed = |reason: String| ConfigError::Malformed { path: path.to_owned(), reason };
        let options: Self = match is_json {
            true => read_json(&text).map_err(|error| malformed(error.to_string()))?,
            false => toml::from_str(&text).map_err(|error| malformed(error.to_string()))?,
        };
        match options.version {
            Some(found) if found > results::VERSION => {
                Err(malformed(results::newer_version(found)))
            }
            _ => Ok(options),
        }
    }

    /// These options, and where they say nothing, the others.
    pub fn or(self, others: Self) -> Self {
        macro_rules! first {
            ($($field:ident),* $(,)?) => {
                Self {
                    select_on_test: self.select_on_test || others.select_on_test,
                    $($field: self.$field.or(others.$field)),*
                }
            };
        }
        first!(
            id_data,
            architecture,
            head,
            fpr,
            entropic_scale,
            epochs,
            batch_size,
            learning_rate,
            milestones,
            gamma,
            warm_up,
            momentum,
            weight_decay,
            augmentation,
            train_images,
            validation_images,
            calibration_images,
            share_held_out,
            stratified,
            mean,
            std,
            normalization,
            jpeg_decoder,
            version,
            selection,
            early_stopping,
            gradient_accumulation,
            devices,
            seed,
            ood,
            ood_every,
        )
    }

    /// The published recipe with these departures.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`] without set, network or head, [`ConfigError::OutOfRange`].
    pub fn config(self) -> Result<TrainingConfig, ConfigError> {
        let id_data = self.id_data.ok_or(ConfigError::Missing("id-data"))?;
        let architecture = self.architecture.ok_or(ConfigError::Missing("architecture"))?;
        let head = self.head.ok_or(ConfigError::Missing("head"))?;
        let published = TrainingConfig::published(id_data, architecture, head);
        let epochs = self.epochs.unwrap_or(published.epochs);
        let selection = match self.select_on_test {
            true => Selection::Test,
            false => self.selection.unwrap_or(published.selection),
        };
        // As published: all images are trained on.
        let validation_images = self.validation_images.unwrap_or(match selection {
            Selection::Test => 0,
            _ => published.validation_images,
        });
        let share_held_out = self.share_held_out.unwrap_or(published.share_held_out);
        let calibration_images = match share_held_out {
            true => self.calibration_images.unwrap_or(0),
            false => self.calibration_images.unwrap_or(validation_images),
        };
        let channels = self.mean.zip(self.std).map(|(mean, std)| Normalization { mean, std });
        let published = TrainingConfig { milestones: published_milestones(epochs), ..published };
        // Every field stands here: none can be forgotten.
        macro_rules! depart {
            ($($field:ident),* $(,)?) => {
                TrainingConfig {
                    id_data: id_data.to_string(),
                    architecture: architecture.to_string(),
                    head,
                    epochs,
                    selection,
                    validation_images,
                    calibration_images,
                    share_held_out,
                    normalization: channels.or(self.normalization),
                    train_images: self.train_images,
                    early_stopping: self.early_stopping,
                    $($field: self.$field.unwrap_or(published.$field)),*
                }
            };
        }
        let config = depart!(
            fpr,
            entropic_scale,
            batch_size,
            learning_rate,
            milestones,
            gamma,
            warm_up,
            momentum,
            weight_decay,
            augmentation,
            stratified,
            jpeg_decoder,
            gradient_accumulation,
            devices,
            seed,
            ood,
            ood_every,
        );
        config.check()?;
        Ok(config)
    }
}

/// Options in JSON. A configuration that was saved before files had versions says less than it meant:
/// what it leaves out was otherwise then than it is by default now.
fn read_json(text: &str) -> Result<ConfigOptions, serde_json::Error> {
    match serde_json::from_str::<TrainingConfig>(text) {
        Ok(saved) => serde_json::from_value(serde_json::to_value(saved)?),
        Err(_) => serde_json::from_str(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::error::Error;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        options: ConfigOptions,
    }

    fn parse(flags: &str) -> ConfigOptions {
        Flags::parse_from(std::iter::once("train").chain(flags.split_whitespace())).options
    }

    const EXPERIMENT: &str = "--id-data cifar10 --architecture resnet-20 --head isomax+";

    #[test]
    fn the_published_recipe_is_the_default() -> Result<(), Box<dyn Error>> {
        let config = parse(EXPERIMENT).config()?;
        let expected = TrainingConfig::published(
            IdSet::Cifar10,
            Architecture::CifarResNet { depth: 20 },
            HeadKind::IsoMaxPlus,
        );
        assert_eq!(config, expected);
        assert_eq!(config.milestones, [150, 200, 250]);
        assert_eq!(config.experiment_name(), "cifar10_resnet-20_isomax+");
        assert!(!config.warm_up);
        let warm = parse("--id-data cifar100 --architecture resnet-110 --head softmax").config()?;
        assert!(warm.warm_up);
        Ok(())
    }

    #[test]
    fn milestones_follow_the_epochs() -> Result<(), Box<dyn Error>> {
        assert_eq!(parse(&format!("{EXPERIMENT} --epochs 8")).config()?.milestones, [4, 5, 7]);
        let given = parse(&format!("{EXPERIMENT} --epochs 8 --milestones 2,3")).config()?;
        assert_eq!(given.milestones, [2, 3]);
        assert_eq!(published_milestones(1), [1]);
        Ok(())
    }

    #[test]
    fn flags_stand_before_the_file_and_saved_configurations_are_files() -> Result<(), Box<dyn Error>>
    {
        let folder = tempfile::tempdir()?;
        let toml = folder.path().join("experiment.toml");
        fs::write(
            &toml,
            "id_data = \"svhn\"\narchitecture = \"resnet-110\"\nhead = \"dismax\"\nfpr = true\n\
             epochs = 30\nood_data = [\"cifar10\", \"mine=/data/mine\"]\n\
             augmentation = { padding = 2, flip = false }\n",
        )?;
        let config =
            parse("--epochs 6 --select-on-test").or(ConfigOptions::read(&toml)?).config()?;
        assert_eq!((config.epochs, config.fpr, config.selection), (6, true, Selection::Test));
        assert_eq!(config.ood[1].to_string(), "mine=/data/mine");
        assert_eq!(config.augmentation, Augmentation { padding: 2, flip: false });
        let json = folder.path().join("config.json");
        crate::results::write(&json, &config)?;
        assert_eq!(ConfigOptions::read(&json)?.config()?, config);
        Ok(())
    }

    #[test]
    fn saved_configurations_mean_what_they_meant() -> Result<(), Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("config.json");
        let shared =
            parse(&format!("{EXPERIMENT} --share-held-out --jpeg-decoder libjpeg")).config()?;
        assert_eq!((shared.share_held_out, shared.calibration_images), (true, 0));
        crate::results::write(&path, &shared)?;
        assert_eq!(ConfigOptions::read(&path)?.config()?, shared);

        // As a file was before there were versions: without what came with them.
        let mut old = serde_json::to_value(&shared)?;
        let fields = old.as_object_mut().ok_or("no object")?;
        for field in
            ["calibration_images", "share_held_out", "stratified", "normalization", "jpeg_decoder"]
        {
            fields.remove(field).ok_or(field)?;
        }
        fs::write(&path, old.to_string())?;
        let read = ConfigOptions::read(&path)?.config()?;
        assert_eq!(read, crate::results::read::<TrainingConfig>(&path)?);
        assert!(read.share_held_out && !read.stratified);
        assert_eq!(read.jpeg_decoder, JpegDecoder::Libjpeg);
        Ok(())
    }

    #[test]
    fn what_makes_no_sense_is_named() -> Result<(), Box<dyn Error>> {
        for (flags, complaint) in [
            ("--id-data cifar10 --head isomax", "architecture is missing"),
            ("--id-data cifar10 --architecture resnet-20 --head isomax --fpr", "fpr must be off"),
            (
                "--id-data cifar10 --architecture resnet-20 --head isomax --epochs 0",
                "at least 1, got 0",
            ),
            (
                "--id-data cifar10 --architecture resnet-20 --head isomax --validation-images 0",
                "validation-images must be at least 1 unless",
            ),
            (
                "--id-data cifar10 --architecture resnet-20 --head isomax --ood-data svhn,CIFAR10",
                "ood-data must be other sets than the ID set",
            ),
            (
                "--id-data cifar10 --architecture resnet-20 --head isomax --epochs 8 --milestones 4,9",
                "milestones must be within the epochs",
            ),
            (
                "--id-data cifar10 --architecture resnet-20 --head isomax --learning-rate nan",
                "learning-rate must be a positive number, got NaN",
            ),
        ] {
            let error = parse(flags).config().err().ok_or(flags)?.to_string();
            assert!(error.contains(complaint), "{error}");
        }
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("experiment.toml");
        fs::write(&path, "id_data = \"cifar10\"\nepoch = 3\n")?;
        let error = ConfigOptions::read(&path).err().ok_or("read")?.to_string();
        assert!(error.contains("experiment.toml: expected") && error.contains("epoch"), "{error}");
        Ok(())
    }
}
