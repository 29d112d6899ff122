//! What runs leave behind: the files in their folders, read and written here alone.
//!
//! ```text
//! results/cifar10_resnet-20_isomax+/     one folder for each experiment
//!   config.json, lock                    the TrainingConfig
//!   run-1/                               (and a lock)
//!     history.json                       History: every epoch
//!     training.json                      Training: how it ended, which epoch was chosen
//!     model.safetensors                  the chosen weights, by PyTorch's names
//!     detector.json                      fitted on held-out images of ID classes
//!     posthoc/METHOD.safetensors         detectors of other methods, fitted on training images
//!     evaluation.json                    Evaluation: accuracy, calibration, detection
//!     scores/SET.SCORE.txt and .npy      detection scores, one a line
//!     worst/SET.png                      the images that are told apart worst
//!     checkpoint/                        to resume from
//! ```
//!
//! Every JSON file has a `version`. Files without one, of before there were versions, are read; files
//! of a newer version are refused.
//!
//! ```no_run
//! use isomax_bench::results;
//!
//! for run in results::find_runs(&["results".into()])? {
//!     println!("{}: {}", run.folder.display(), run.evaluation.classification.accuracy);
//! }
//! # Ok::<(), results::ResultError>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use isomax_burn::metrics::{BootstrapIntervals, CalibrationMetrics, OodMetrics, PaperMetrics};
use isomax_burn::{HeadKind, Score, UnknownName};
use serde::{Deserialize, Serialize};

use crate::data::Normalization;
use crate::evaluate::PostHocMethod;

mod recipe;
mod runs;
mod stored;

pub use crate::data::ID;
pub use recipe::Recipe;
pub use runs::{Run, find_runs};
pub(crate) use stored::newer_version;
pub use stored::{ResultError, Stored, VERSION, read, write, write_bytes, write_json};

/// File with the configuration of an experiment.
pub const CONFIG: &str = "config.json";
/// File with a [`History`].
pub const HISTORY: &str = "history.json";
/// File with a [`Training`].
pub const TRAINING: &str = "training.json";
/// File with the chosen weights.
pub const MODEL: &str = "model.safetensors";
/// File with a fitted detector.
pub const DETECTOR: &str = "detector.json";
/// Folder of the detectors of post-hoc methods.
pub const POSTHOC: &str = "posthoc";
/// File with an [`Evaluation`].
pub const EVALUATION: &str = "evaluation.json";
/// Folder of checkpoints, as Burn's Learner names it.
pub const CHECKPOINT: &str = "checkpoint";
/// Folder of score files.
pub const SCORES: &str = "scores";
/// Folder of pictures of the worst-separated images.
pub const WORST: &str = "worst";
/// Every epoch of a run. See [`best_epoch`] for an example.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct History {
    /// Digest of the images, which a resumed training must find again.
    pub digest: Option<String>,
    /// In order, from epoch 1.
    pub epochs: Vec<Epoch>,
}

/// The values of one epoch. See [`best_epoch`] for an example.
///
/// Keys of both maps: `loss`, `accuracy` (percent), `intra_logits_mean`, `intra_logits_std`,
/// `inter_logits_mean`, `inter_logits_std`, `max_probs_mean`, `max_probs_std`, `entropies_mean`,
/// `entropies_std` (of entropies divided by `ln C`). In `valid` also, for each OOD set that was
/// watched, `SET AUROC`, `SET TNR@95TPR` and `SET FPR95`, in percent. A value that is not finite is
/// left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// How many processes trained, each with a batch of its own for every step.
    #[serde(default = "alone", skip_serializing_if = "is_alone")]
    pub ranks: usize,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Of the training images, augmented, while the network changed.
    pub train: BTreeMap<String, f64>,
    /// Of the validation images, at the end of the epoch.
    pub valid: BTreeMap<String, f64>,
}

impl Default for Epoch {
    fn default() -> Self {
        Self {
            epoch: 0,
            ranks: alone(),
            learning_rate: 0.0,
            train: BTreeMap::new(),
            valid: BTreeMap::new(),
        }
    }
}

fn alone() -> usize {
    1
}

fn is_alone(ranks: &usize) -> bool {
    *ranks == alone()
}

/// The epoch with the highest validation accuracy, the earliest of equal ones; none without epochs.
///
/// ```
/// use isomax_bench::results::{Epoch, History, best_epoch};
///
/// let mut history = History::default();
/// for (number, accuracy) in [(1, 90.0), (2, 95.0), (3, 95.0)] {
///     let mut epoch = Epoch::default();
///     epoch.epoch = number;
///     epoch.valid.insert("accuracy".to_owned(), accuracy);
///     history.epochs.push(epoch);
/// }
/// assert_eq!(best_epoch(&history.epochs), Some(2));
/// ```
pub fn best_epoch<'a>(epochs: impl IntoIterator<Item = &'a Epoch>) -> Option<usize> {
    let accuracy = |epoch: &Epoch| epoch.valid.get("accuracy").copied().unwrap_or(f64::MIN);
    let better =
        |best: &'a Epoch, epoch| if accuracy(epoch) > accuracy(best) { epoch } else { best };
    epochs.into_iter().reduce(better).map(|best| best.epoch)
}

/// How the weights that count were chosen among the epochs: a field of
/// [`TrainingConfig`](crate::train::TrainingConfig).
///
/// ```
/// use isomax_bench::results::Selection;
///
/// assert_eq!("last".parse::<Selection>()?, Selection::Last);
/// # Ok::<(), isomax_burn::UnknownName>(())
/// ```
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Selection {
    /// Highest accuracy on images held out of the training split.
    #[default]
    Validation,
    /// Highest accuracy on the test split, as in the published code. The test accuracy is then no
    /// longer that of unseen images.
    Test,
    /// The last epoch, whatever its accuracy.
    Last,
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Selection {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|selection| selection.name() == name.trim());
        found.ok_or_else(|| UnknownName {
            what: "selection",
            found: name.to_owned(),
            known: Self::ALL.map(|selection| selection.name().to_owned()).into(),
        })
    }
}

impl Selection {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Validation, Self::Test, Self::Last];

    /// The name in commands and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Test => "test",
            Self::Last => "last",
        }
    }

    /// For tables: how the epoch was chosen.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Validation => "best validation accuracy",
            Self::Test => "best TEST accuracy (as published)",
            Self::Last => "last epoch",
        }
    }
}

/// How the training of a run ended. See
/// [`open_run`](crate::train::open_run) for an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Training {
    /// Seed of this run.
    pub seed: u64,
    /// Epochs that were trained.
    pub epochs: usize,
    /// Epochs that were planned; more than trained if training stopped early.
    pub planned_epochs: usize,
    /// The epoch whose weights were kept.
    pub chosen_epoch: usize,
    /// How it was chosen.
    pub selection: Selection,
    /// Number of training images.
    pub train_images: usize,
    /// Number of images held out of the training split to choose the epoch.
    pub validation_images: usize,
    /// Number of further images held out to fit the detector; none if those that choose the epoch do
    /// that as well, as in files of before.
    #[serde(default)]
    pub calibration_images: Option<usize>,
    /// `[height, width]` of the images, in pixels.
    #[serde(default = "size_of_before")]
    pub image_size: [usize; 2],
    /// Mean and standard deviation that the images were normalised with, if the file says so.
    #[serde(default)]
    pub normalization: Option<Normalization>,
    /// Backend and device.
    pub backend: String,
    /// Digest of the images.
    pub digest: String,
    /// The configuration but for what changes no weight or is each run's own: runs of different
    /// recipes belong to different experiments. With `ranks`, how many processes trained: a number, or a list of
    /// numbers if epochs were trained by more and by fewer.
    pub recipe: Recipe,
    /// Names of the classes, in the order of the logits.
    pub classes: Vec<String>,
}

fn size_of_before() -> [usize; 2] {
    [32, 32]
}

impl Training {
    /// Whether the validation after each epoch was one on the test images: held-out images are for
    /// that, if there are any, unless the epoch is chosen on the test split.
    pub fn is_validated_on_test(&self) -> bool {
        self.validation_images == 0 || self.selection == Selection::Test
    }
}

/// Accuracy, calibration and detection of one network. See
/// [`evaluate`](crate::evaluate::evaluate) for an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// Name of the network.
    pub architecture: String,
    /// The kind of its last layer.
    pub head: HeadKind,
    /// Whether it was trained with fractional probability regularisation.
    pub fpr: bool,
    /// Name of the in-distribution set, such as `cifar10`.
    #[serde(alias = "known")]
    pub id_data: String,
    /// Which kind of copy of it this is, for captions, such as `image folder`.
    pub data: String,
    /// The temperature that the logits were divided by.
    pub temperature: f32,
    /// Mean and standard deviation that the pixels were normalised with, if the file says so.
    #[serde(default)]
    pub normalization: Option<Normalization>,
    /// How it was trained, if that is known.
    pub training: Option<Training>,
    /// Accuracy, ECE and NLL on the test images of the ID classes.
    pub classification: CalibrationMetrics,
    /// The same after a temperature was fitted on held-out images, if there were any.
    pub calibrated: Option<Calibrated>,
    /// Number of test images of the ID classes.
    pub images: usize,
    /// The held-out images that the detector accepts: its target; and the test images it accepts.
    pub detector: Option<DetectorSummary>,
    /// One entry for each OOD set and score, the default score of the head first.
    pub detection: Vec<Detection>,
}

/// Calibration with a temperature that was fitted on held-out images, never on test images: a part of an
/// [`Evaluation`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Calibrated {
    /// The temperature.
    pub temperature: f32,
    /// On the test images.
    pub classification: CalibrationMetrics,
}

/// What a detector that was fitted on held-out images does on test images: a part of an [`Evaluation`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DetectorSummary {
    /// Name of the score.
    pub score: String,
    /// Scores at or above this are accepted.
    pub threshold: f64,
    /// Share of held-out images it was fitted to accept.
    pub target_tpr: f64,
    /// Share of test images of ID classes that it accepts.
    pub accepted: f64,
}

/// Detection of one OOD set by one score: a part of an [`Evaluation`]. See
/// [`evaluate`](crate::evaluate::evaluate) for an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Detection {
    /// Name of the OOD set, such as `svhn`.
    pub set: String,
    /// Which kind of copy of it, such as `image folder`.
    pub source: String,
    /// Number of its images.
    pub images: usize,
    /// Name of the score, or a post-hoc method as [`Method`](isomax_burn::posthoc::Method) writes it.
    pub score: String,
    /// Whether this is the score that the papers use with the head.
    pub is_default: bool,
    /// In the conventions of the field.
    pub field: OodMetrics,
    /// In the conventions of the papers' code.
    pub paper: PaperMetrics,
    /// How far AUROC and FPR95, in the conventions of the field, would be off with other images.
    #[serde(default)]
    pub intervals: Option<BootstrapIntervals>,
    /// Share of the set that the fitted detector rejects, for the default score and for post-hoc methods.
    pub rejected: Option<f64>,
    /// The OOD set whose images chose the parameters of a post-hoc method; none for default parameters. Such a value
    /// is one that nobody reaches who does not know what is to come.
    #[serde(default)]
    pub tuned_on: Option<String>,
}

impl Detection {
    /// What tells it from others of its set: the score or method, and where parameters were tuned the name without
    /// them, since each run has its own, and the set.
    pub fn label(&self) -> String {
        let Some(set) = &self.tuned_on else { return self.score.clone() };
        let kept = |part: &&str| !part.contains('=') || part.starts_with("score=");
        let parts: Vec<&str> = self.score.split(':').filter(kept).collect();
        format!("{} (tuned on {set})", parts.join(":"))
    }

    /// Whether this is a post-hoc method, rather than a score of the logits.
    pub fn is_method(&self) -> bool {
        let is_method = || self.score.parse::<PostHocMethod>().is_ok();
        self.tuned_on.is_some() || (self.score.parse::<Score>().is_err() && is_method())
    }
}

impl Stored for History {
    const WHAT: &'static str = "a history of epochs";
}

impl Stored for Training {
    const WHAT: &'static str = "the end of a training";

    fn complete(&mut self) {
        self.recipe.complete();
    }
}

impl Stored for Evaluation {
    const WHAT: &'static str = "an evaluation";

    fn complete(&mut self) {
        self.training.iter_mut().for_each(Stored::complete);
    }
}
