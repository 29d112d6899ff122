//! The published trainings, driven by Burn's Learner: any network, head and set, several runs,
//! interrupted and resumed at will. See [`train()`] for an example.
//!
//! A run writes into a folder of its own (see [`crate::results`]). After every epoch the
//! history and a checkpoint are there, each file whole or not at all, so that a process that is
//! killed at any moment goes on from its last epoch when it is started again. Images, their order and
//! their changes follow from the seed, the epoch and the batch; on a backend that computes
//! reproducibly, such as flex, a resumed training ends with the weights and the history of one that
//! was never interrupted.

use std::path::Path;
use std::sync::Arc;

use burn::prelude::DeviceOps as _;
use burn::tensor::backend::{AutodiffBackend, Backend, DeviceId};

mod body;
mod checkpoints;
mod choices;
mod class_means;
mod classifier;
mod config;
mod config_check;
mod data;
mod error;
mod flat;
mod folder;
mod learn;
mod recorder;
mod scheduler;
mod together;

pub use choices::{ImageCount, OptimizerKind, Prototypes, ScheduleKind};
pub use classifier::{Classifier, ImageNetwork, NetworkWithGradients, TrainableNetwork};
pub use config::{ConfigError, TrainingConfig, published_milestones};
pub use data::ExperimentData;
pub use error::TrainError;
pub use folder::{RunFolder, open_run};
pub use recorder::Divergence;
pub use scheduler::Schedule;

use crate::data::{Subset, digest};
use crate::ranks::{Ranks, Team};
use crate::results::{self, History, Selection, Training};
use checkpoints::read_model;
use class_means::with_class_means;
use data::Batches;
use learn::{Run, is_over};

/// What is of the machine and the moment, not of the experiment. See [`train()`] for an example.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Number of background threads that make batches; 0 stands for one.
    pub workers: usize,
    /// Text before every line of an epoch.
    pub label: String,
    /// Whether to print one line for each epoch even on a terminal, in place of Burn's full-screen view.
    pub plain: bool,
    /// The processes that train together, each of which calls [`train()`]; none for a process by itself.
    pub ranks: Option<Arc<dyn Ranks>>,
}

/// Trains one run, or the rest of it, and keeps the chosen weights as `model.safetensors`. To evaluate it
/// as well, see [`crate::experiment`].
///
/// With [ranks](RunOptions::ranks) each step has a batch of every rank, whose mean gradient makes it. Rank 0 alone
/// reads and writes the folder, and all return what it returns.
///
/// ```no_run
/// use isomax_bench::backend::{self, Device, TrainingBackend};
/// use isomax_bench::data::{DataFolder, PublishedSet};
/// use isomax_bench::train::{
///     RunFolder, ExperimentData, RunOptions, TrainingConfig, train,
/// };
/// use isomax_burn::HeadKind;
/// use isomax_models::{CifarResNet, CifarResNetConfig};
///
/// let config =
///     TrainingConfig::published(PublishedSet::Cifar10, "resnet-20".parse()?, HeadKind::IsoMaxPlus);
/// let data = ExperimentData::load(&config, &DataFolder::new("data"))?;
/// let folder = RunFolder::open("results".as_ref(), &config, 1)?;
/// let network = CifarResNetConfig::new(20, 10).with_head(config.head);
/// let init = |device: &Device| network.init::<TrainingBackend>(device);
/// let (options, name) = (RunOptions::default(), backend::name());
/// let training = train::<TrainingBackend, CifarResNet<TrainingBackend>>(
///     &config, 1, &data, &folder, &init, &options, &name,
/// )?;
/// println!("the weights are those of epoch {}", training.chosen_epoch);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Arguments
///
/// - `number`: number of the run, from 1: run 1 has the seed of the configuration, run 2 the next
///   one, and so on
/// - `init`: makes a network. It differs from call to call in its weights alone, which are drawn from
///   the random numbers of the backend
/// - `backend`: name of backend and device, for the results
///
/// # Errors
///
/// [`TrainError`].
pub fn train<B: AutodiffBackend, N: TrainableNetwork<B>>(
    config: &TrainingConfig,
    number: usize,
    data: &ExperimentData,
    folder: &RunFolder,
    init: &dyn Fn(&B::Device) -> N,
    options: &RunOptions,
    backend: &str,
) -> Result<Training, TrainError> {
    let team = Team::new(options.ranks.clone());
    let devices = || devices::<B>(config.devices, &team);
    train_on(&devices, config, number, data, folder, init, options, backend)
}

/// As [`train`], on devices that are asked for if there is something to do.
#[expect(clippy::too_many_arguments, reason = "those of `train`, and the devices")]
fn train_on<B: AutodiffBackend, N: TrainableNetwork<B>>(
    devices: &dyn Fn() -> Result<Vec<B::Device>, TrainError>,
    config: &TrainingConfig,
    number: usize,
    data: &ExperimentData,
    folder: &RunFolder,
    init: &dyn Fn(&B::Device) -> N,
    options: &RunOptions,
    backend: &str,
) -> Result<Training, TrainError> {
    let team = Team::new(options.ranks.clone());
    let path = folder.path();
    let finished = path.join(results::TRAINING);
    check_ranks(config, number, &team)?;
    let training = team.decide(|| -> Result<Option<Training>, TrainError> {
        Ok(if finished.exists() { Some(results::read(&finished)?) } else { None })
    })?;
    if let Some(training) = training {
        return Ok(training);
    }
    let seed = config.seed.wrapping_add(number as u64 - 1);
    let parts = data.split(config, seed)?;
    let counts = (parts.training.len(), parts.validation.len(), parts.calibration.len());
    let devices = devices()?;
    check_steps(config, counts.0, team.count())?;
    team.check_same("set of images", &data.digest)?;
    if let (Some(_), Some(outliers)) = (team.ranks(), &data.outliers) {
        team.check_same("set of outliers", digest([&*outliers.images]))?;
    }
    let history = team.decide(|| -> Result<History, TrainError> {
        folder.keep_config(config)?;
        let mut history = checkpoints::resume(path)?;
        // Indices mean other images in another copy: held-out ones would have been trained on.
        match &history.digest {
            Some(digest) if *digest != data.digest => {
                return Err(TrainError::OtherData { folder: path.to_owned() });
            }
            _ => history.digest = Some(data.digest.clone()),
        }
        Ok(history)
    })?;
    let preprocessing = config.preprocessing(data.measured)?;
    let num_classes = data.train.classes().len();
    let training_images = Subset::new(Arc::clone(&data.train), parts.training.clone());
    let run =
        Run { config, seed, init, path, options, team: &team, devices: &devices, num_classes };
    let is_new = history.epochs.is_empty();
    let begin = || -> Result<N, TrainError> {
        // The network is drawn here even if a checkpoint replaces it.
        B::seed(&devices[0], seed);
        let network = body::prepare(config, init(&devices[0]))?;
        match is_new && config.prototypes == Prototypes::ClassMeans {
            true => with_class_means(network, &training_images, &preprocessing, &devices[0], &team),
            false => Ok(network),
        }
    };
    let (history, untrained) = match config.epochs {
        0 => (history, Some(begin()?)),
        _ if is_over(config, &history) => (history, None),
        _ => {
            let network = begin()?;
            let batches = Batches::new(config, data, parts, seed, options)?;
            (run.learn(network, history, &batches)?, None)
        }
    };
    team.decide(|| {
        let chosen_epoch = match untrained {
            Some(network) => {
                network.save_safetensors(path.join(results::MODEL))?;
                0
            }
            None => {
                let chosen_epoch = choose(config, &history, path)?;
                let mut classifier = Classifier::<B, N>::new(config, init(&devices[0]));
                read_model(&mut classifier, path, chosen_epoch)?;
                classifier.network.save_safetensors(path.join(results::MODEL))?;
                chosen_epoch
            }
        };
        let training = Training {
            seed,
            epochs: history.epochs.len(),
            planned_epochs: config.epochs,
            chosen_epoch,
            selection: config.selection,
            train_images: counts.0,
            validation_images: counts.1,
            calibration_images: (!config.share_held_out).then_some(counts.2),
            image_size: data.train.size(),
            normalization: Some(preprocessing.normalization),
            backend: backend.to_owned(),
            digest: data.digest.clone(),
            recipe: config.recipe().with_ranks(history.epochs.iter().map(|epoch| epoch.ranks)),
            classes: data.train.classes().to_vec(),
        };
        results::write(&finished, &training)?;
        Ok(training)
    })
}

/// Checks that all ranks are to do the same.
fn check_ranks(config: &TrainingConfig, number: usize, team: &Team) -> Result<(), TrainError> {
    if team.ranks().is_some() && config.devices > 1 {
        return Err(TrainError::DevicesOfRanks);
    }
    team.check_same("version of the program", env!("CARGO_PKG_VERSION"))?;
    team.check_same("configuration", config)?;
    Ok(team.check_same("run", number)?)
}

/// Batches of an epoch, on each device or rank: with several devices each has its share of the images, and the
/// last one what is left over; with several ranks each has its share of the batches.
fn batches_per_epoch(config: &TrainingConfig, images: usize, ranks: usize) -> usize {
    let share = images / config.devices;
    let largest = images - share * (config.devices - 1);
    largest.div_ceil(config.batch_size) / ranks
}

/// Burn forgets the gradients that make no whole step at the end of an epoch.
fn check_steps(config: &TrainingConfig, images: usize, ranks: usize) -> Result<(), TrainError> {
    if config.epochs == 0 {
        return Ok(());
    }
    let all = batches_per_epoch(config, images, 1);
    let (batches, wanted) = (all / ranks, config.gradient_accumulation);
    if batches == 0 && ranks > 1 {
        return Err(TrainError::TooManyRanks { batches: all, ranks });
    }
    if batches < wanted {
        return Err(TrainError::TooFewBatches { batches, wanted, ranks });
    }
    let rest = all % (wanted * ranks);
    if rest > 0 {
        log::warn!("the last {rest} of {all} batches of each epoch fill no step");
    }
    Ok(())
}

/// The default device and those after it of its kind, or the one of a rank.
fn devices<B: Backend>(count: usize, team: &Team) -> Result<Vec<B::Device>, TrainError> {
    if count == 1 {
        return Ok(vec![team.device::<B>()]);
    }
    let DeviceId { type_id, .. } = B::Device::default().to_id();
    let found = B::device_count(type_id);
    if found < count {
        return Err(TrainError::TooFewDevices { wanted: count, found });
    }
    let device = |index: usize| B::Device::from_id(DeviceId { type_id, index_id: index as u16 });
    Ok((0..count).map(device).collect())
}

/// The epoch whose weights count.
fn choose(config: &TrainingConfig, history: &History, path: &Path) -> Result<usize, TrainError> {
    let wanted = match config.selection {
        Selection::Last => history.epochs.len(),
        Selection::Validation | Selection::Test => {
            results::best_epoch(&history.epochs).unwrap_or_default()
        }
    };
    if checkpoints::has_model(path, wanted) {
        return Ok(wanted);
    }
    // A disk may have lost it: the best of those that are left is better than none, if that is told.
    let left = history.epochs.iter().filter(|e| checkpoints::has_model(path, e.epoch));
    let chosen = results::best_epoch(left)
        .ok_or_else(|| TrainError::NoCheckpoint { folder: path.to_owned() })?;
    log::warn!("the weights of epoch {wanted} are damaged or gone: epoch {chosen} stands for it");
    Ok(chosen)
}

#[cfg(test)]
mod tests;
