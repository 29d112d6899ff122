//! What to train and how: the published recipe, and every departure from it.

use std::path::PathBuf;

use isomax_burn::{DEFAULT_ENTROPIC_SCALE, HeadKind};
use isomax_models::Architecture;
use serde::{Deserialize, Serialize};

use crate::data::{Augmentation, IdSet, JpegDecoder, Normalization, OodSource};
use crate::results::{Recipe, Selection, Stored};

/// Why a configuration cannot be used. See [`TrainingConfig`] for an example.
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
    #[error("{}: expected a training configuration in TOML or JSON, but {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Something needed is given neither in a file nor as a flag.
    #[error("{0} is missing: give --{0}, or a line in the file of --config")]
    Missing(&'static str),
    /// The set is none of the published ones, and nothing is said of its pixels.
    #[error("{0} is no published set: its normalization, mean and std of each channel, is needed")]
    NoNormalization(String),
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

/// Everything that determines the results of an experiment of a table, whatever the machine: set, network and
/// head, and how they are trained.
///
/// ```
/// use isomax_bench::data::IdSet;
/// use isomax_bench::train::{TrainingConfig, published_milestones};
/// use isomax_burn::HeadKind;
///
/// let published =
///     TrainingConfig::published(IdSet::Cifar10, "resnet-20".parse()?, HeadKind::IsoMaxPlus);
/// let config =
///     TrainingConfig { epochs: 30, milestones: published_milestones(30), ..published.clone() };
/// config.check()?;
/// assert_eq!(config.experiment_name(), "cifar10_resnet-20_isomax+");
///
/// let error = TrainingConfig { epochs: 0, ..published }.check().unwrap_err();
/// assert_eq!(error.to_string(), "epochs must be at least 1, got 0");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Name of the set whose classes are learned: of a [`IdSet`], or of one of your own.
    #[serde(alias = "known")]
    pub id_data: String,
    /// Name of the network: of an [`Architecture`], or of one of your own.
    pub architecture: String,
    /// Its last layer, and with it the loss.
    pub head: HeadKind,
    /// Whether DisMax trains with fractional probability regularisation.
    pub fpr: bool,
    /// The entropic scale of the loss; SoftMax has none.
    pub entropic_scale: f64,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images of a batch: of a step, unless gradients are accumulated or there are several devices.
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
    /// How many of them are held out to choose the epoch, drawn by the seed.
    pub validation_images: usize,
    /// How many more are held out to fit the detector and the temperature.
    #[serde(default)]
    pub calibration_images: usize,
    /// Whether the images that choose the epoch fit the detector and the temperature as well. In files
    /// of before they did.
    #[serde(default = "shared_before")]
    pub share_held_out: bool,
    /// Whether the same share of each class is held out. In files of before it was not.
    #[serde(default)]
    pub stratified: bool,
    /// Mean and standard deviation of pixels; none for those published for the set.
    #[serde(default)]
    pub normalization: Option<Normalization>,
    /// What decodes JPEG images. Files of before were made with libjpeg's.
    #[serde(default = "decoder_of_before")]
    pub jpeg_decoder: JpegDecoder,
    /// How the weights that count are chosen.
    pub selection: Selection,
    /// Training ends if the validation accuracy has not risen for so many epochs.
    pub early_stopping: Option<usize>,
    /// Batches whose mean gradient makes a step. Those at the end of an epoch that do not fill one are
    /// left out, as Burn does.
    pub gradient_accumulation: usize,
    /// Devices with a batch each, whose mean gradient makes a step.
    pub devices: usize,
    /// Seed of the first run; the second one has the next number, and so on.
    pub seed: u64,
    /// The sets to detect.
    #[serde(rename = "ood_data", alias = "ood")]
    pub ood: Vec<OodSource>,
    /// Detection is measured every so many epochs during training; 0 for never.
    pub ood_every: usize,
}

impl Stored for TrainingConfig {
    const WHAT: &'static str = "a training configuration";
}

impl TrainingConfig {
    /// The published recipe: 300 epochs, batch 64, SGD with Nesterov momentum 0.9, learning rate 0.1,
    /// a tenth of it after 150, 200 and 250 epochs, weight decay 1e-4, crops and flips; a warm-up for
    /// ResNet-110 with SoftMax on CIFAR-100 alone. Other than published, 5,000 images are held out of
    /// the training split: half of them choose the best epoch, half fit the detector.
    pub fn published(id_data: IdSet, architecture: Architecture, head: HeadKind) -> Self {
        let epochs = 300;
        let resnet110 = Architecture::CifarResNet { depth: 110 };
        Self {
            id_data: id_data.to_string(),
            architecture: architecture.to_string(),
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
                && id_data == IdSet::Cifar100,
            momentum: 0.9,
            weight_decay: 1e-4,
            augmentation: Augmentation::PUBLISHED,
            train_images: None,
            validation_images: 2_500,
            calibration_images: 2_500,
            share_held_out: false,
            stratified: true,
            normalization: None,
            jpeg_decoder: JpegDecoder::default(),
            selection: Selection::Validation,
            early_stopping: None,
            gradient_accumulation: 1,
            devices: 1,
            seed: 42,
            ood: id_data.published_ood(),
            ood_every: 1,
        }
    }

    /// The published recipe for a set and a network of your own, without OOD sets.
    ///
    /// # Arguments
    ///
    /// - `id_data`, `architecture`: what results call them; part of a folder's name
    /// - `head`: the kind of the network's last layer, and with it the loss
    pub fn own(
        id_data: &str,
        architecture: &str,
        head: HeadKind,
        normalization: Normalization,
    ) -> Self {
        Self {
            id_data: id_data.to_owned(),
            architecture: architecture.to_owned(),
            normalization: Some(normalization),
            ood: Vec::new(),
            ..Self::published(IdSet::Cifar10, Architecture::CifarResNet { depth: 20 }, head)
        }
    }

    /// Mean and standard deviation that all images are normalised with.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoNormalization`] if none are given and the set is no published one.
    pub fn normalization(&self) -> Result<Normalization, ConfigError> {
        let published = || self.id_data.parse().ok().map(IdSet::normalization);
        let found = self.normalization.or_else(published);
        found.ok_or_else(|| ConfigError::NoNormalization(self.id_data.clone()))
    }

    /// The fields that bear on the weights and that all runs of an experiment share.
    pub fn recipe(&self) -> Recipe {
        Recipe::of(self, &NOT_OF_THE_RECIPE)
    }

    /// Name of the folder of the experiment.
    pub fn experiment_name(&self) -> String {
        let fpr = if self.fpr { "_fpr" } else { "" };
        format!("{}_{}_{}{fpr}", self.id_data, self.architecture, self.head)
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
        // As of a saved configuration of a longer training: the rate would never fall.
        let within = self.milestones.iter().all(|&milestone| milestone <= self.epochs);
        require(within, "milestones", "within the epochs", format!("{:?}", self.milestones))?;
        require(fpr_fits, "fpr", "off for heads other than dismax", self.head.to_string())?;
        let mut names: Vec<&str> = self.ood.iter().map(|source| source.name.as_str()).collect();
        names.sort_unstable();
        let unique = names.windows(2).all(|pair| pair[0] != pair[1]);
        require(unique, "ood-data", "sets of different names", names.join(", "))?;
        let is_id = |set: &OodSource| set.folder.is_none() && set.name == self.id_data;
        let id_data = self.ood.iter().any(is_id);
        require(!id_data, "ood-data", "other sets than the ID set", self.id_data.clone())?;
        for (name, value) in [("id-data", &self.id_data), ("architecture", &self.architecture)] {
            let fits = crate::data::is_set_name(value);
            require(fits, name, "letters, digits, '-', '_', '+' or '.'", value.clone())?;
        }
        let Normalization { mean, std } = self.normalization()?;
        let usable = mean.iter().all(|m| m.is_finite()) && std.iter().all(|&s| positive(s.into()));
        require(usable, "std", "positive numbers, with finite means", format!("{std:?}"))?;
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
        )?;
        let apart = !self.share_held_out || self.calibration_images == 0;
        let calibration = self.calibration_images.to_string();
        require(apart, "calibration-images", "0 with --share-held-out", calibration)
    }
}

fn shared_before() -> bool {
    true
}

fn decoder_of_before() -> JpegDecoder {
    JpegDecoder::Libjpeg
}

/// Fields that change no weight, or that runs have each for itself.
pub(super) const NOT_OF_THE_RECIPE: [&str; 3] = ["seed", "ood_data", "ood_every"];

/// The epochs after which the learning rate falls: a half, two thirds and five sixths of all.
///
/// ```
/// use isomax_bench::train::published_milestones;
///
/// assert_eq!(published_milestones(300), [150, 200, 250]);
/// assert_eq!(published_milestones(30), [15, 20, 25]);
/// ```
pub fn published_milestones(epochs: usize) -> Vec<usize> {
    let at = |share: f64| (epochs as f64 * share).round() as usize;
    let mut milestones = vec![at(1.0 / 2.0), at(2.0 / 3.0), at(5.0 / 6.0)];
    milestones.dedup();
    milestones.retain(|&milestone| milestone > 0);
    milestones
}
