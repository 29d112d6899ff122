//! What experiments leave behind: the files in the folder of an execution, read and written here
//! alone.
//!
//! ```text
//! results/cifar10_resnet-20_isomax+/     one folder for each cell of a table
//!   config.json, lock                    the TrainingConfig
//!   execution-1/                         (and a lock)
//!     history.json                       History: every epoch
//!     training.json                      Training: how it ended, which epoch was chosen
//!     model.safetensors                  the chosen weights, by PyTorch's names
//!     detector.json                      fitted on held-out images of known classes
//!     evaluation.json                    Evaluation: accuracy, calibration, detection
//!     scores/SET.SCORE.txt and .npy      detection scores, one a line
//!     worst/SET.png                      the images that are told apart worst
//!     checkpoint/                        to resume from
//! ```
//!
//! Every JSON file has a `version`. Files without one, of before there were versions, are read; files
//! of a newer version are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use isomax_burn::metrics::{CalibrationMetrics, OodMetrics, PaperMetrics};
use isomax_burn::{HeadKind, UnknownName, atomic_file};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::data::Normalization;
use crate::train::TrainingConfig;

/// File with the configuration of a cell.
pub const CONFIG: &str = "config.json";
/// File with a [`History`].
pub const HISTORY: &str = "history.json";
/// File with a [`Training`].
pub const TRAINING: &str = "training.json";
/// File with the chosen weights.
pub const MODEL: &str = "model.safetensors";
/// File with a fitted detector.
pub const DETECTOR: &str = "detector.json";
/// File with an [`Evaluation`].
pub const EVALUATION: &str = "evaluation.json";
/// Folder of checkpoints, as Burn's Learner names it.
pub const CHECKPOINT: &str = "checkpoint";
/// Folder of score files.
pub const SCORES: &str = "scores";
/// Folder of pictures of the worst-separated images.
pub const WORST: &str = "worst";
/// Name of the in-distribution set among score files and pictures.
pub const KNOWN: &str = "known";

/// Why a result cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{}: expected {expected}, but {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// The newest version of the JSON files, and the one that is written.
pub const VERSION: u32 = 1;

/// Why a file of a newer version is refused.
pub(crate) fn newer_version(found: u32) -> String {
    format!(
        "found version {found}, newer than the {VERSION} that this program knows: update the program"
    )
}

/// What is stored in a JSON file of its own, with the version of its form.
pub trait Stored: Serialize + DeserializeOwned {
    /// What the file holds, as errors say it.
    const WHAT: &'static str;
}

impl Stored for TrainingConfig {
    const WHAT: &'static str = "a training configuration";
}

impl Stored for History {
    const WHAT: &'static str = "a history of epochs";
}

impl Stored for Training {
    const WHAT: &'static str = "the end of a training";
}

impl Stored for Evaluation {
    const WHAT: &'static str = "an evaluation";
}

/// Every epoch of an execution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct History {
    /// Digest of the images, which a resumed training must find again.
    pub digest: Option<String>,
    /// In order, from epoch 1.
    pub epochs: Vec<Epoch>,
}

/// The values of one epoch.
///
/// Keys of both maps: `loss`, `accuracy` (percent), `intra_logits_mean`, `intra_logits_std`,
/// `inter_logits_mean`, `inter_logits_std`, `max_probs_mean`, `max_probs_std`, `entropies_mean`,
/// `entropies_std` (of entropies divided by `ln C`). In `valid` also, for each OOD set that was
/// watched, `SET AUROC`, `SET TNR@95TPR` and `SET FPR95`, in percent. A value that is not finite is
/// left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// Of the last step.
    pub learning_rate: f64,
    /// Of the training images, augmented, while the network changed.
    pub train: BTreeMap<String, f64>,
    /// Of the validation images, at the end of the epoch.
    pub valid: BTreeMap<String, f64>,
}

/// The epoch with the highest validation accuracy, the earliest of equal ones.
pub fn best_epoch<'a>(epochs: impl IntoIterator<Item = &'a Epoch>) -> Option<usize> {
    let accuracy = |epoch: &Epoch| epoch.valid.get("accuracy").copied().unwrap_or(f64::MIN);
    let better =
        |best: &'a Epoch, epoch| if accuracy(epoch) > accuracy(best) { epoch } else { best };
    epochs.into_iter().reduce(better).map(|best| best.epoch)
}

/// How the weights that count were chosen among the epochs.
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

/// How the training of an execution ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Training {
    /// Seed of this execution.
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
    /// Backend and device.
    pub backend: String,
    /// Digest of the images.
    pub digest: String,
    /// The configuration but for what changes no weight or is each execution's own: executions of
    /// different recipes belong to different cells.
    pub recipe: Recipe,
    /// Names of the classes, in the order of the logits.
    pub classes: Vec<String>,
}

fn size_of_before() -> [usize; 2] {
    [32, 32]
}

/// Fields of a configuration by their names, for comparison and display.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recipe(serde_json::Map<String, serde_json::Value>);

impl Recipe {
    /// All fields of a configuration but some.
    pub(crate) fn of(config: &impl Serialize, without: &[&str]) -> Self {
        let mut fields = match serde_json::to_value(config) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        without.iter().for_each(|field| drop(fields.remove(*field)));
        Self(fields)
    }

    /// The names of all fields.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A field as text, as JSON has it.
    pub fn get(&self, field: &str) -> Option<String> {
        self.0.get(field).map(ToString::to_string)
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.0.iter().map(|(field, value)| format!("{field} {value}"));
        f.write_str(&fields.collect::<Vec<_>>().join("; "))
    }
}

impl Training {
    /// Whether the validation after each epoch was one on the test images: held-out images are for
    /// that, if there are any, unless the epoch is chosen on the test split.
    pub fn is_validated_on_test(&self) -> bool {
        self.validation_images == 0 || self.selection == Selection::Test
    }
}

/// Accuracy, calibration and detection of one network.
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
    pub known: String,
    /// Which kind of copy of it this is, for captions, such as `image folder`.
    pub data: String,
    /// The temperature that the logits were divided by.
    pub temperature: f32,
    /// Mean and standard deviation that the pixels were normalised with, if the file says so.
    #[serde(default)]
    pub normalization: Option<Normalization>,
    /// How it was trained, if that is known.
    pub training: Option<Training>,
    /// Accuracy, ECE and NLL on the test images of the known classes.
    pub classification: CalibrationMetrics,
    /// The same after a temperature was fitted on held-out images, if there were any.
    pub calibrated: Option<Calibrated>,
    /// Number of test images of the known classes.
    pub images: usize,
    /// The held-out images that the detector accepts: its target; and the test images it accepts.
    pub detector: Option<DetectorSummary>,
    /// One entry for each OOD set and score, the default score of the head first.
    pub detection: Vec<Detection>,
}

/// Calibration with a temperature that was fitted on held-out images, never on test images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Calibrated {
    /// The temperature.
    pub temperature: f32,
    /// On the test images.
    pub classification: CalibrationMetrics,
}

/// What a detector that was fitted on held-out images does on test images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DetectorSummary {
    /// Name of the score.
    pub score: String,
    /// Scores at or above this are accepted.
    pub threshold: f64,
    /// Share of held-out images it was fitted to accept.
    pub target_tpr: f64,
    /// Share of test images of known classes that it accepts.
    pub accepted: f64,
}

/// Detection of one OOD set by one score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Detection {
    /// Name of the OOD set, such as `svhn`.
    pub set: String,
    /// Which kind of copy of it, such as `image folder`.
    pub source: String,
    /// Number of its images.
    pub images: usize,
    /// Name of the score.
    pub score: String,
    /// Whether this is the score that the papers use with the head.
    pub is_default: bool,
    /// In the conventions of the field.
    pub field: OodMetrics,
    /// In the conventions of the papers' code.
    pub paper: PaperMetrics,
    /// Share of the set that the fitted detector rejects, for the default score.
    pub rejected: Option<f64>,
}

/// Reads a stored file.
///
/// # Errors
///
/// [`ResultError`] if it cannot be read, holds something else, or is of a newer version.
pub fn read<T: Stored>(path: impl AsRef<Path>) -> Result<T, ResultError> {
    let path = path.as_ref();
    let bytes =
        fs::read(path).map_err(|source| ResultError::Io { path: path.to_owned(), source })?;
    let malformed = |reason: String| ResultError::Malformed {
        path: path.to_owned(),
        expected: T::WHAT,
        reason,
    };
    let damaged = |error: serde_json::Error| malformed(error.to_string());
    let mut fields: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
    let version = fields.as_object_mut().and_then(|fields| fields.remove("version"));
    match version.map(serde_json::from_value::<u32>).transpose().map_err(damaged)? {
        Some(found) if found > VERSION => Err(malformed(newer_version(found))),
        _ => serde_json::from_value(fields).map_err(damaged),
    }
}

/// Writes a stored file with its version; it appears whole or not at all.
///
/// # Errors
///
/// [`ResultError::Io`].
pub fn write<T: Stored>(path: impl AsRef<Path>, value: &T) -> Result<(), ResultError> {
    #[derive(Serialize)]
    struct Versioned<'a, T> {
        version: u32,
        #[serde(flatten)]
        value: &'a T,
    }

    write_json(path, &Versioned { version: VERSION, value })
}

/// Writes any value as JSON; the file appears whole or not at all.
///
/// # Errors
///
/// [`ResultError::Io`].
pub fn write_json<T: Serialize>(path: impl AsRef<Path>, value: &T) -> Result<(), ResultError> {
    let path = path.as_ref();
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| ResultError::Io { path: path.to_owned(), source: error.into() })?;
    bytes.push(b'\n');
    write_bytes(path, &bytes)
}

/// Configuration and end of an execution that was trained, by its folder.
///
/// # Errors
///
/// [`ResultError`] if there are none, or they are damaged.
pub fn open_run(run: &Path) -> Result<(TrainingConfig, Training), ResultError> {
    let training = read(run.join(TRAINING))?;
    // The folder of an execution lies in that of its cell.
    let folder =
        fs::canonicalize(run).map_err(|source| ResultError::Io { path: run.to_owned(), source })?;
    Ok((read(folder.with_file_name(CONFIG))?, training))
}

/// Writes a file, which appears whole or not at all.
///
/// # Errors
///
/// [`ResultError::Io`].
pub fn write_bytes(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), ResultError> {
    let path = path.as_ref();
    atomic_file::write(path, |file| file.write_all(bytes))
        .map_err(|source| ResultError::Io { path: path.to_owned(), source })
}

/// An execution that was found in a folder of results.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Execution {
    /// Its folder.
    pub folder: PathBuf,
    /// From the name of the folder, `execution-N`; 1 for any other name.
    pub number: usize,
    /// What the network achieves.
    pub evaluation: Evaluation,
    /// Every epoch, if the execution was trained here.
    pub history: Option<History>,
}

/// Finds all executions in folders of results, at any depth, in the order of their paths. Of several
/// evaluations of one trained network one counts, and a warning names the others.
///
/// # Errors
///
/// [`ResultError`] if a folder cannot be listed or a result is damaged.
pub fn find_executions(folders: &[PathBuf]) -> Result<Vec<Execution>, ResultError> {
    let (mut executions, mut seen) = (Vec::new(), BTreeSet::new());
    folders.iter().try_for_each(|folder| find_below(folder, &mut executions, &mut seen))?;
    Ok(one_of_each_network(executions))
}

/// A network that was evaluated again, into another folder, is no further execution. The evaluation
/// beside its history stands before others.
fn one_of_each_network(executions: Vec<Execution>) -> Vec<Execution> {
    let network = |execution: &Execution| {
        let Evaluation { known, architecture, head, training, .. } = &execution.evaluation;
        Some((known.clone(), architecture.clone(), *head, training.clone()?))
    };
    let mut kept: Vec<Execution> = Vec::new();
    for mut execution in executions {
        let same = |other: &&mut Execution| {
            // Two histories are two trainings, even of one seed, unless a folder was copied.
            let histories = other.history.as_ref().zip(execution.history.as_ref());
            histories.is_none_or(|(its, own)| its == own)
                && network(other).is_some_and(|its| network(&execution) == Some(its))
        };
        match kept.iter_mut().find(same) {
            Some(other) => {
                if other.history.is_none() && execution.history.is_some() {
                    std::mem::swap(other, &mut execution);
                }
                log::warn!(
                    "{}: left out, for it evaluates the same network as {}",
                    execution.folder.display(),
                    other.folder.display()
                );
            }
            None => kept.push(execution),
        }
    }
    kept
}

/// Folders may overlap, and links may lead in circles: nothing counts twice.
fn find_below(
    folder: &Path,
    found: &mut Vec<Execution>,
    seen: &mut BTreeSet<PathBuf>,
) -> Result<(), ResultError> {
    let mut walk = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    while let Some(entry) = walk.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.loop_ancestor().is_some() => continue,
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_owned();
                return Err(ResultError::Io { path, source: error.into() });
            }
        };
        if !entry.file_type().is_dir() {
            continue;
        }
        let path = entry.path();
        let io = |source| ResultError::Io { path: path.to_owned(), source };
        if !seen.insert(fs::canonicalize(path).map_err(io)?) {
            walk.skip_current_dir();
        } else if path.join(EVALUATION).is_file() {
            found.push(execution(path)?);
            walk.skip_current_dir();
        }
    }
    Ok(())
}

/// An execution by its folder, which has an evaluation.
fn execution(folder: &Path) -> Result<Execution, ResultError> {
    let history = folder.join(HISTORY);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    Ok(Execution {
        number: name.strip_prefix("execution-").and_then(|n| n.parse().ok()).unwrap_or(1),
        evaluation: read(folder.join(EVALUATION))?,
        history: match history.is_file() {
            true => Some(read(history)?),
            false => None,
        },
        folder: folder.to_owned(),
    })
}
