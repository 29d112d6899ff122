//! What to train and how: the published recipe, and every departure from it.

use std::fs;
use std::path::{Path, PathBuf};

use isomax_burn::{DEFAULT_ENTROPIC_SCALE, HeadKind};
use isomax_models::Architecture;
use serde::{Deserialize, Serialize};

use crate::data::{Augmentation, KnownSet, OodSource};
use crate::results::Selection;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{}: expected a training configuration in TOML or JSON, but {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something needed is given neither in a file nor as a flag.
    #[error("{0} is missing: give --{0}, or a line in the file of --config")]
    Missing(&'static str),
    /// A value out of its range.
    #[error("{name} must be {expected}, got {found}")]
    OutOfRange {
        /// Its name.
        name: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What came.
        found: String,
    },
}

/// Everything that determines the results of a cell of a table, whatever the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// The set whose classes are learned.
    pub known: KnownSet,
    /// The network.
    pub architecture: Architecture,
    /// Its last layer, and with it the loss.
    pub head: HeadKind,
    /// Whether DisMax trains with fractional probability regularisation.
    pub fpr: bool,
    /// The entropic scale of the loss; SoftMax has none.
    pub entropic_scale: f64,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images of a step, on each device.
    pub batch_size: usize,
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// After so many epochs the learning rate falls, each time.
    pub milestones: Vec<usize>,
    /// What it is multiplied by.
    pub gamma: f64,
    /// Whether the first epoch has a tenth of the learning rate.
    pub warm_up: bool,
    /// Nesterov momentum.
    pub momentum: f64,
    /// On every parameter: prototypes, scale and batch normalisation too.
    pub weight_decay: f64,
    /// What is done to training images.
    pub augmentation: Augmentation,
    /// How many images of the training split are used, validation included; all if none is given.
    pub train_images: Option<usize>,
    /// How many of them are held out for validation, chosen by the seed.
    pub validation_images: usize,
    /// How the weights that count are chosen.
    pub selection: Selection,
    /// Training ends if the validation accuracy has not risen for so many epochs.
    pub early_stopping: Option<usize>,
    /// Steps whose gradients are added up before the weights change.
    pub gradient_accumulation: usize,
    /// Devices that share each step. Their gradients are added up, as those of accumulated steps are:
    /// a learning rate for one device is too high by so many times.
    pub devices: usize,
    /// Seed of the first execution; the following ones have the following numbers.
    pub seed: u64,
    /// The sets to detect.
    pub ood: Vec<OodSource>,
    /// Detection is measured every so many epochs during training; 0 for never.
    pub ood_every: usize,
}

impl TrainingConfig {
    /// The published recipe: 300 epochs, batch 64, SGD with Nesterov momentum 0.9, learning rate 0.1,
    /// a tenth of it after 150, 200 and 250 epochs, weight decay 1e-4, crops and flips; a warm-up for
    /// ResNet-110 with SoftMax on CIFAR-100 alone. Other than published, the best epoch is chosen on
    /// 5,000 images held out of the training split.
    pub fn published(known: KnownSet, architecture: Architecture, head: HeadKind) -> Self {
        let epochs = 300;
        let resnet110 = Architecture::CifarResNet { depth: 110 };
        Self {
            known,
            architecture,
            head,
            fpr: false,
            entropic_scale: DEFAULT_ENTROPIC_SCALE,
            epochs,
            batch_size: 64,
            learning_rate: 0.1,
            milestones: published_milestones(epochs),
            gamma: 0.1,
            warm_up: head == HeadKind::SoftMax
                && architecture == resnet110
                && known == KnownSet::Cifar100,
            momentum: 0.9,
            weight_decay: 1e-4,
            augmentation: Augmentation::PUBLISHED,
            train_images: None,
            validation_images: 5_000,
            selection: Selection::Validation,
            early_stopping: None,
            gradient_accumulation: 1,
            devices: 1,
            seed: 42,
            ood: known.published_ood(),
            ood_every: 1,
        }
    }

    /// Name of the folder of the cell.
    pub fn cell_name(&self) -> String {
        let fpr = if self.fpr { "_fpr" } else { "" };
        format!("{}_{}_{}{fpr}", self.known, self.architecture, self.head)
    }

    /// Checks that the values make sense together.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let require = |valid: bool, name, expected, found: String| {
            if valid { Ok(()) } else { Err(ConfigError::OutOfRange { name, expected, found }) }
        };
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let share = |value: f64| (0.0..1.0).contains(&value);
        let fpr_fits = !self.fpr || self.head == HeadKind::DisMax;
        let held_out = self.selection != Selection::Validation || self.validation_images > 0;
        let rising = self.milestones.is_sorted_by(|a, b| a < b);
        require(self.epochs > 0, "epochs", "at least 1", self.epochs.to_string())?;
        require(self.batch_size > 0, "batch-size", "at least 1", self.batch_size.to_string())?;
        let rate = self.learning_rate;
        require(positive(rate), "learning-rate", "a positive number", rate.to_string())?;
        require(positive(self.gamma), "gamma", "a positive number", self.gamma.to_string())?;
        let scale = self.entropic_scale;
        require(positive(scale), "entropic-scale", "a positive number", scale.to_string())?;
        require(share(self.momentum), "momentum", "in [0, 1)", self.momentum.to_string())?;
        require(
            share(self.weight_decay),
            "weight-decay",
            "in [0, 1)",
            self.weight_decay.to_string(),
        )?;
        require(rising, "milestones", "in rising order", format!("{:?}", self.milestones))?;
        require(fpr_fits, "fpr", "off for heads other than dismax", self.head.to_string())?;
        let mut names: Vec<&str> = self.ood.iter().map(|source| source.name.as_str()).collect();
        names.sort_unstable();
        let unique = names.windows(2).all(|pair| pair[0] != pair[1]);
        require(unique, "ood", "sets of different names", names.join(", "))?;
        // The test split must not decide when to stop unless it decides anyway.
        let patience_fits = self.early_stopping.is_none_or(|epochs| {
            epochs > 0 && (self.validation_images > 0 || self.selection == Selection::Test)
        });
        require(
            patience_fits,
            "early-stopping",
            "at least 1, with validation images",
            format!("{:?} with {} images", self.early_stopping, self.validation_images),
        )?;
        let accumulation = self.gradient_accumulation;
        require(accumulation > 0, "gradient-accumulation", "at least 1", accumulation.to_string())?;
        require(self.devices > 0, "devices", "at least 1", self.devices.to_string())?;
        require(
            held_out,
            "validation-images",
            "at least 1 unless --selection is test or last",
            self.validation_images.to_string(),
        )
    }
}

/// A half, two thirds and five sixths of the epochs: 150, 200 and 250 of the published 300.
fn published_milestones(epochs: usize) -> Vec<usize> {
    let at = |share: f64| (epochs as f64 * share).round() as usize;
    let mut milestones = vec![at(1.0 / 2.0), at(2.0 / 3.0), at(5.0 / 6.0)];
    milestones.dedup();
    milestones.retain(|&milestone| milestone > 0);
    milestones
}

/// What a file or the flags of a command say of a [`TrainingConfig`]; the rest is the published
/// recipe. A saved `config.json` is such a file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigOptions {
    /// Set whose classes are learned: cifar10, cifar100 or svhn.
    #[arg(long)]
    pub known: Option<KnownSet>,
    /// Network, such as densenet-bc-100, resnet-110, resnet-34 or wrn-28-10.
    #[arg(long)]
    pub architecture: Option<Architecture>,
    /// Last layer and loss: softmax, isomax, isomax+ or dismax.
    #[arg(long)]
    pub head: Option<HeadKind>,
    /// Trains DisMax with fractional probability regularisation.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub fpr: Option<bool>,
    /// Entropic scale of the loss (default: 10).
    #[arg(long)]
    pub entropic_scale: Option<f64>,
    /// Passes over the training images (default: 300).
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Images of a step, on each device (default: 64).
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// Learning rate at the start (default: 0.1).
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// Epochs after which the learning rate falls (default: 1/2, 2/3, 5/6 of all).
    #[arg(long, value_delimiter = ',')]
    pub milestones: Option<Vec<usize>>,
    /// What the learning rate is multiplied by then (default: 0.1).
    #[arg(long)]
    pub gamma: Option<f64>,
    /// A tenth of the learning rate in the first epoch (default: as published).
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
    /// Uses so many images of the training split only.
    #[arg(long)]
    pub train_images: Option<usize>,
    /// Images held out of the training split (default: 5000; 0 if the epoch is chosen on the test split).
    #[arg(long)]
    pub validation_images: Option<usize>,
    /// How the weights that count are chosen (default: validation).
    #[arg(long, value_enum)]
    pub selection: Option<Selection>,
    /// Chooses the best epoch on the test split, as the published code does: the same as
    /// --selection test.
    #[arg(long, conflicts_with = "selection")]
    #[serde(skip)]
    pub select_on_test: bool,
    /// Stops if the validation accuracy has not risen for so many epochs.
    #[arg(long)]
    pub early_stopping: Option<usize>,
    /// Steps whose gradients are added up before the weights change (default: 1).
    #[arg(long)]
    pub gradient_accumulation: Option<usize>,
    /// Devices that share each step (default: 1).
    #[arg(long)]
    pub devices: Option<usize>,
    /// Seed of the first execution (default: 42).
    #[arg(long)]
    pub seed: Option<u64>,
    /// Sets to detect, each NAME or NAME=FOLDER (default: as published).
    #[arg(long, value_delimiter = ',')]
    pub ood: Option<Vec<OodSource>>,
    /// Measures detection every so many epochs during training; 0 for never (default: 1).
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
        let options = match is_json {
            true => serde_json::from_str(&text).map_err(Into::into),
            false => toml::from_str(&text).map_err(Into::into),
        };
        options.map_err(|source| ConfigError::Malformed { path: path.to_owned(), source })
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
            known,
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
        let known = self.known.ok_or(ConfigError::Missing("known"))?;
        let architecture = self.architecture.ok_or(ConfigError::Missing("architecture"))?;
        let head = self.head.ok_or(ConfigError::Missing("head"))?;
        let mut config = TrainingConfig::published(known, architecture, head);
        if let Some(epochs) = self.epochs {
            config.milestones = published_milestones(epochs);
        }
        macro_rules! depart {
            ($($field:ident),* $(,)?) => {
                $(if let Some(value) = self.$field {
                    config.$field = value;
                })*
            };
        }
        depart!(
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
            validation_images,
            selection,
            gradient_accumulation,
            devices,
            seed,
            ood,
            ood_every,
        );
        config.train_images = self.train_images;
        config.early_stopping = self.early_stopping;
        if self.select_on_test {
            config.selection = Selection::Test;
        }
        // As published: all images are trained on.
        if config.selection == Selection::Test && self.validation_images.is_none() {
            config.validation_images = 0;
        }
        config.check()?;
        Ok(config)
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

    const CELL: &str = "--known cifar10 --architecture resnet-20 --head isomax+";

    #[test]
    fn the_published_recipe_is_the_default() -> Result<(), Box<dyn Error>> {
        let config = parse(CELL).config()?;
        let expected = TrainingConfig::published(
            KnownSet::Cifar10,
            Architecture::CifarResNet { depth: 20 },
            HeadKind::IsoMaxPlus,
        );
        assert_eq!(config, expected);
        assert_eq!(config.milestones, [150, 200, 250]);
        assert_eq!(config.cell_name(), "cifar10_resnet-20_isomax+");
        assert!(!config.warm_up);
        let warm = parse("--known cifar100 --architecture resnet-110 --head softmax").config()?;
        assert!(warm.warm_up);
        Ok(())
    }

    #[test]
    fn milestones_follow_the_epochs() -> Result<(), Box<dyn Error>> {
        assert_eq!(parse(&format!("{CELL} --epochs 8")).config()?.milestones, [4, 5, 7]);
        let given = parse(&format!("{CELL} --epochs 8 --milestones 2,3")).config()?;
        assert_eq!(given.milestones, [2, 3]);
        assert_eq!(published_milestones(1), [1]);
        Ok(())
    }

    #[test]
    fn flags_stand_before_the_file_and_saved_configurations_are_files() -> Result<(), Box<dyn Error>>
    {
        let folder = tempfile::tempdir()?;
        let toml = folder.path().join("cell.toml");
        fs::write(
            &toml,
            "known = \"svhn\"\narchitecture = \"resnet-110\"\nhead = \"dismax\"\nfpr = true\n\
             epochs = 30\nood = [\"cifar10\", \"mine=/data/mine\"]\n\
             augmentation = { padding = 2, flip = false }\n",
        )?;
        let config =
            parse("--epochs 6 --select-on-test").or(ConfigOptions::read(&toml)?).config()?;
        assert_eq!((config.epochs, config.fpr, config.selection), (6, true, Selection::Test));
        assert_eq!(config.ood[1].to_string(), "mine=/data/mine");
        assert_eq!(config.augmentation, Augmentation { padding: 2, flip: false });
        let json = folder.path().join("config.json");
        crate::results::write_json(&json, &config)?;
        assert_eq!(ConfigOptions::read(&json)?.config()?, config);
        Ok(())
    }

    #[test]
    fn what_makes_no_sense_is_named() -> Result<(), Box<dyn Error>> {
        for (flags, complaint) in [
            ("--known cifar10 --head isomax", "architecture is missing"),
            ("--known cifar10 --architecture resnet-20 --head isomax --fpr", "fpr must be off"),
            (
                "--known cifar10 --architecture resnet-20 --head isomax --epochs 0",
                "at least 1, got 0",
            ),
            (
                "--known cifar10 --architecture resnet-20 --head isomax --validation-images 0",
                "validation-images must be at least 1 unless",
            ),
            (
                "--known cifar10 --architecture resnet-20 --head isomax --learning-rate nan",
                "learning-rate must be a positive number, got NaN",
            ),
        ] {
            let error = parse(flags).config().err().ok_or(flags)?.to_string();
            assert!(error.contains(complaint), "{error}");
        }
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("cell.toml");
        fs::write(&path, "known = \"cifar10\"\nepoch = 3\n")?;
        let error = ConfigOptions::read(&path).err().ok_or("read")?.to_string();
        assert!(error.contains("cell.toml: expected") && error.contains("epoch"), "{error}");
        Ok(())
    }
}
