//! What to train and how: the published recipe, and every departure from it.

use std::path::{Path, PathBuf};

use isomax_burn::{DEFAULT_ENTROPIC_SCALE, HeadKind};
use isomax_models::Architecture;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::choices::{ImageCount, OptimizerKind, Prototypes, ScheduleKind};

use crate::data::{
    Augmentation, IdSet, JpegDecoder, Normalization, OodSource, Orientation, Preprocessing,
    PublishedSet,
};
use crate::results::{Recipe, Selection, Stored, Training};
use crate::weights;

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
    /// The pretrained weights are others than when the configuration was made.
    #[error("{}: other weights than those that the configuration was made with, by their SHA-256 sum", path.display())]
    OtherInit {
        /// The file.
        path: PathBuf,
    },
    /// Something needed is given neither in a file nor as a flag.
    #[error("{0} is missing: give --{0}, or a line in the file of --config")]
    Missing(&'static str),
    /// The set is none of the published ones, and nothing is said of its pixels.
    #[error("{0} is no published set: its normalization, mean and std of each channel, is needed")]
    NoNormalization(String),
    /// The images that a run was trained on were not square.
    #[error(
        "trained on images of {width} × {height} pixels; `predict` and `export` take networks for square images"
    )]
    NotSquare {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    },
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
/// use isomax_bench::data::PublishedSet;
/// use isomax_bench::train::{TrainingConfig, published_milestones};
/// use isomax_burn::HeadKind;
///
/// let published =
///     TrainingConfig::published(PublishedSet::Cifar10, "resnet-20".parse()?, HeadKind::IsoMaxPlus);
/// let config =
///     TrainingConfig { epochs: 30, milestones: published_milestones(30), ..published.clone() };
/// config.check()?;
/// assert_eq!(config.experiment_name(), "cifar10_resnet-20_isomax+");
///
/// let error = TrainingConfig { batch_size: 0, ..published }.check().unwrap_err();
/// assert_eq!(error.to_string(), "batch-size must be at least 1, got 0");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Name of the set whose classes are learned: of a [`PublishedSet`], or of one of your own.
    #[serde(alias = "known")]
    pub id_data: String,
    /// The folder or CSV file of a set of your own, as [`IdSet`] has it; none if a program brings the images.
    #[serde(default)]
    pub id_path: Option<PathBuf>,
    /// Name of the network: of an [`Architecture`], or of one of your own.
    pub architecture: String,
    /// Its last layer, and with it the loss.
    pub head: HeadKind,
    /// Whether DisMax trains with fractional probability regularisation.
    pub fpr: bool,
    /// The entropic scale of the loss; SoftMax has none.
    pub entropic_scale: f64,
    /// Trains SoftMax with LogitNorm at this temperature; none for plain cross-entropy.
    #[serde(default)]
    pub logit_norm: Option<f64>,
    /// Images of no class that Outlier Exposure trains with.
    #[serde(default)]
    pub outliers: Option<OodSource>,
    /// How many of them are beside each batch; none for twice as many as that has.
    #[serde(default)]
    pub outlier_batch_size: Option<usize>,
    /// What they count beside the loss of the classes.
    #[serde(default = "published_outlier_weight")]
    pub outlier_weight: f64,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images of a batch: of a step, unless gradients are accumulated or there are several devices.
    pub batch_size: usize,
    /// What makes steps of gradients.
    #[serde(default)]
    pub optimizer: OptimizerKind,
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// Learning rate of the body at the start, of everything but the head, which falls as that of the head does;
    /// none for the same, 0 for a body that stays as it is.
    #[serde(default)]
    pub body_learning_rate: Option<f64>,
    /// Name of the first part of the body that is trained, such as `blocks.11`: what comes before it in the network
    /// stays as it is.
    #[serde(default)]
    pub train_from: Option<String>,
    /// Whether batch normalisations keep their running statistics and normalize by them, and nothing is dropped
    /// unless that is asked for: the body is as in evaluation.
    #[serde(default)]
    pub frozen_statistics: bool,
    /// Probability of dropping values in training; none for that of the network.
    #[serde(default)]
    pub dropout: Option<f64>,
    /// Probability of leaving out the last block of an EfficientNet in training; none for that of the network.
    #[serde(default)]
    pub drop_connect: Option<f64>,
    /// How the learning rate falls.
    #[serde(default)]
    pub schedule: ScheduleKind,
    /// After so many epochs the learning rate falls, each time, if it falls in steps.
    pub milestones: Vec<usize>,
    /// What it is multiplied by.
    pub gamma: f64,
    /// Whether the first epoch has a tenth of the learning rate, as published for one network.
    pub warm_up: bool,
    /// Epochs in which the learning rate rises from nothing, step by step.
    #[serde(default)]
    pub warm_up_epochs: usize,
    /// Nesterov momentum of SGD.
    pub momentum: f64,
    /// On every parameter: prototypes, scale and batch normalisation too.
    pub weight_decay: f64,
    /// File of pretrained weights for the body.
    #[serde(default)]
    pub init: Option<PathBuf>,
    /// SHA-256 sum of that file.
    #[serde(default)]
    pub init_sha256: Option<String>,
    /// Where prototypes begin.
    #[serde(default)]
    pub prototypes: Prototypes,
    /// Height and width of what the network sees, in pixels.
    #[serde(default = "side_of_before")]
    pub image_size: u32,
    /// Length that the shorter side of an image is brought to, before the middle is cut out.
    #[serde(default = "side_of_before")]
    pub resize: u32,
    /// Whether images are turned as their EXIF data says.
    #[serde(default)]
    pub orientation: Orientation,
    /// What is done to training images.
    pub augmentation: Augmentation,
    /// How many images of the training split are used, validation included; all if none is given.
    pub train_images: Option<usize>,
    /// How many of them are held out to choose the epoch, drawn by the seed.
    pub validation_images: ImageCount,
    /// How many more are held out to fit the detector and the temperature.
    #[serde(default)]
    pub calibration_images: ImageCount,
    /// Whether the images that choose the epoch fit the detector and the temperature as well. In files
    /// of before they did.
    #[serde(default = "shared_before")]
    pub share_held_out: bool,
    /// Whether the same share of each class is held out. In files of before it was not.
    #[serde(default)]
    pub stratified: bool,
    /// Mean and standard deviation of pixels; none for those published for the set, or measured on a set of your
    /// own.
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
    pub fn published(id_data: PublishedSet, architecture: Architecture, head: HeadKind) -> Self {
        let epochs = 300;
        let resnet110 = Architecture::CifarResNet { depth: 110 };
        Self {
            id_data: id_data.to_string(),
            id_path: None,
            architecture: architecture.to_string(),
            head,
            fpr: false,
            entropic_scale: DEFAULT_ENTROPIC_SCALE,
            logit_norm: None,
            outliers: None,
            outlier_batch_size: None,
            outlier_weight: published_outlier_weight(),
            epochs,
            batch_size: 64,
            optimizer: OptimizerKind::Sgd,
            learning_rate: 0.1,
            body_learning_rate: None,
            train_from: None,
            frozen_statistics: false,
            dropout: None,
            drop_connect: None,
            schedule: ScheduleKind::MultiStep,
            milestones: published_milestones(epochs),
            gamma: 0.1,
            warm_up_epochs: 0,
            warm_up: head == HeadKind::SoftMax
                && architecture == resnet110
                && id_data == PublishedSet::Cifar100,
            momentum: 0.9,
            weight_decay: 1e-4,
            init: None,
            init_sha256: None,
            prototypes: Prototypes::Random,
            image_size: side_of_before(),
            resize: side_of_before(),
            orientation: Orientation::AsStored,
            augmentation: Augmentation::PUBLISHED,
            train_images: None,
            validation_images: ImageCount::Images(2_500),
            calibration_images: ImageCount::Images(2_500),
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
            ..Self::published(PublishedSet::Cifar10, Architecture::CifarResNet { depth: 20 }, head)
        }
    }

    /// The published recipe for images of your own, in a folder or a CSV file: for photos if the network sees more
    /// than 64 pixels along each side. A tenth of the training images of each class chooses the epoch, and a tenth
    /// fits the detector.
    ///
    /// # Arguments
    ///
    /// - `image_size`: height and width of what the network sees; none for what the network was published for
    pub fn of_own_images(
        id_data: IdSet,
        architecture: Architecture,
        head: HeadKind,
        image_size: Option<u32>,
    ) -> Self {
        let size = image_size.unwrap_or(architecture.image_size() as u32);
        let is_photo = size > LARGEST_OF_SMALL;
        // Nothing is divided by this normalization.
        let any = Normalization::IMAGENET;
        let preprocessing = match is_photo {
            true => Preprocessing::photos(size, any),
            false => Preprocessing {
                orientation: Orientation::Upright,
                ..Preprocessing::whole(size, any)
            },
        };
        Self {
            id_data: id_data.name,
            id_path: id_data.path,
            image_size: size,
            resize: preprocessing.resize,
            orientation: preprocessing.orientation,
            augmentation: if is_photo { Augmentation::PHOTOS } else { Augmentation::PUBLISHED },
            validation_images: ImageCount::Share(0.1),
            calibration_images: ImageCount::Share(0.1),
            warm_up: false,
            ood: Vec::new(),
            ..Self::published(PublishedSet::Cifar10, architecture, head)
        }
    }

    /// This recipe made one for pretrained weights and few images: the body stays as it is, prototypes begin at
    /// the class means, and AdamW trains the head for 20 epochs of batches of 32, with a learning rate of 1e-3 that
    /// falls along a cosine. All images are trained on but a fifth of each class, which fits the detector; the last epoch
    /// counts.
    ///
    /// # Arguments
    ///
    /// - `init`: the file of weights
    /// - `sha256`: its sum, if that is known
    ///
    /// # Errors
    ///
    /// [`ConfigError::Io`] if the sum is not given and the file cannot be read.
    pub fn fine_tuning(self, init: PathBuf, sha256: Option<String>) -> Result<Self, ConfigError> {
        let architecture: Option<Architecture> = self.architecture.parse().ok();
        let published = architecture.and_then(weights::normalization_of);
        if self.normalization().or(published).is_none() {
            log::warn!(
                "--init without --mean and --std: pixels are normalised by those of these images, which the weights \
                 in {} may not have been trained with",
                init.display()
            );
        }
        let prototypes = match self.head {
            HeadKind::SoftMax => Prototypes::Random,
            _ => Prototypes::ClassMeans,
        };
        Ok(Self {
            init_sha256: Some(match sha256 {
                Some(sum) => sum,
                None => sha256_of(&init)?,
            }),
            init: Some(init),
            prototypes,
            optimizer: OptimizerKind::AdamW,
            schedule: ScheduleKind::Cosine,
            milestones: Vec::new(),
            warm_up: false,
            epochs: 20,
            batch_size: 32,
            learning_rate: 1e-3,
            body_learning_rate: Some(0.0),
            frozen_statistics: true,
            normalization: self.normalization.or(published),
            selection: Selection::Last,
            validation_images: ImageCount::Images(0),
            calibration_images: ImageCount::Share(0.2),
            ..self
        })
    }

    /// Mean and standard deviation that all images are normalised with, if they are given or published for the
    /// set.
    pub fn normalization(&self) -> Option<Normalization> {
        let published = || self.id_set().published().map(PublishedSet::normalization);
        self.normalization.or_else(published)
    }

    /// What is done to every image before the network sees it.
    ///
    /// # Arguments
    ///
    /// - `measured`: mean and standard deviation for a set that has none of its own
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoNormalization`] if none are given, published or measured.
    pub fn preprocessing(
        &self,
        measured: Option<Normalization>,
    ) -> Result<Preprocessing, ConfigError> {
        let found = self.normalization().or(measured);
        Ok(Preprocessing {
            size: self.image_size,
            resize: self.resize,
            normalization: found
                .ok_or_else(|| ConfigError::NoNormalization(self.id_data.clone()))?,
            orientation: self.orientation,
            jpeg_decoder: self.jpeg_decoder,
        })
    }

    /// What is done to images before a network of this configuration sees them, for a run of it that is finished.
    ///
    /// # Errors
    ///
    /// As [`preprocessing`](Self::preprocessing), and [`ConfigError::NotSquare`].
    pub fn preprocessing_of(&self, training: &Training) -> Result<Preprocessing, ConfigError> {
        let [height, width] = training.image_size;
        let preprocessing = self.preprocessing(training.normalization)?;
        match u32::try_from(height) {
            Ok(side) if height == width && side == preprocessing.size => Ok(preprocessing),
            // Images that a program brought, whatever the configuration says of files.
            Ok(side) if height == width => {
                Ok(Preprocessing { size: side, resize: side, ..preprocessing })
            }
            _ => Err(ConfigError::NotSquare { width, height }),
        }
    }

    /// Makes sure that the pretrained weights are those that the configuration was made with.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Io`] or [`ConfigError::OtherInit`].
    pub fn check_init(&self) -> Result<(), ConfigError> {
        let (Some(path), Some(expected)) = (&self.init, &self.init_sha256) else { return Ok(()) };
        match sha256_of(path)? == *expected {
            true => Ok(()),
            false => Err(ConfigError::OtherInit { path: path.clone() }),
        }
    }

    /// The set whose classes are learned.
    pub fn id_set(&self) -> IdSet {
        IdSet { name: self.id_data.clone(), path: self.id_path.clone() }
    }

    /// The fields that bear on the weights and that all runs of an experiment share.
    pub fn recipe(&self) -> Recipe {
        Recipe::of(self, &NOT_OF_THE_RECIPE)
    }

    /// Name of the folder of the experiment.
    pub fn experiment_name(&self) -> String {
        let mut name = format!("{}_{}_{}", self.id_data, self.architecture, self.head);
        for (end, is_on) in [
            ("_fpr", self.fpr),
            ("_logitnorm", self.logit_norm.is_some()),
            ("_outliers", self.outliers.is_some()),
        ] {
            name.push_str(if is_on { end } else { "" });
        }
        name
    }

    /// How many outliers are beside each batch.
    pub fn outliers_per_batch(&self) -> usize {
        self.outlier_batch_size.unwrap_or(2 * self.batch_size)
    }
}

/// As in the experiments of its paper.
fn published_outlier_weight() -> f64 {
    0.5
}

/// Largest height and width of images that are treated as those of CIFAR.
const LARGEST_OF_SMALL: u32 = 64;

fn side_of_before() -> u32 {
    32
}

fn sha256_of(path: &Path) -> Result<String, ConfigError> {
    let io = |source| ConfigError::Io { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(io)?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn shared_before() -> bool {
    true
}

fn decoder_of_before() -> JpegDecoder {
    JpegDecoder::Libjpeg
}

/// Fields that change no weight, or that runs have each for itself.
pub(super) const NOT_OF_THE_RECIPE: [&str; 5] =
    ["seed", "ood_data", "ood_every", "id_path", "init"];

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
