//! The published trainings, driven by Burn's Learner: any network, head and set, several executions,
//! interrupted and resumed at will.
//!
//! An execution writes into a folder of its own (see [`crate::results`]). After every epoch the
//! history and a checkpoint are there, each file whole or not at all, so that a process that is
//! killed at any moment goes on from its last epoch when it is started again. Images, their order and
//! their changes follow from the seed, the epoch and the batch; on a backend that computes
//! reproducibly, such as flex, a resumed training ends with the weights and the history of one that
//! was never interrupted.

use std::fs::{self, File, TryLockError};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{Sgd, SgdConfig, adaptor::OptimizerAdaptor};
use burn::prelude::DeviceOps as _;
use burn::record::Recorder as _;
use burn::tensor::backend::{AutodiffBackend, Backend, DeviceId};
use burn::train::metric::store::{EventStoreClient, Split as LearnerSplit};
use burn::train::metric::{AccuracyMetric, LossMetric};
use burn::train::{
    EarlyStoppingStrategy, ExecutionStrategy, Interrupter, Learner, MultiDeviceOptim,
    SupervisedTraining,
};
use isomax_burn::Score;
use isomax_burn::train::{EpochRenderer, OodDataLoader, OodSetError, OodTraining};
use isomax_models::Model;
use isomax_models::store::StoreError;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

mod checkpoints;
mod classifier;
mod config;
mod recorder;
mod scheduler;

pub use classifier::Classifier;
pub use config::{ConfigError, ConfigOptions, TrainingConfig};
pub use scheduler::MultiStepLr;

use crate::data::{DataError, DataFolder, ImageBatch, ImageBatches, ImageLoader, Images, Split};
use crate::evaluate::held_out_indices;
use crate::results::{self, History, ResultError, Selection, Training};
use checkpoints::{CheckedRecorder, Keeper};
use recorder::Recorder;

/// Why a training did not end well. Started again, it goes on from its last checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The folder cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder or a file in it.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process works in the folder.
    #[error("{}: another process is training here", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds results of another configuration.
    #[error(
        "{}: the folder holds results of another configuration, which differs in {differences}; \
         choose another --output, or the same values",
        path.display()
    )]
    OtherConfig {
        /// The saved configuration.
        path: PathBuf,
        /// Fields with the saved and the given value.
        differences: String,
    },
    /// There are fewer training images than the configuration asks for.
    #[error("{set} has {found} training images, too few for {needed} of them to be held out")]
    TooFewImages {
        /// The training set.
        set: String,
        /// Images of its training split that may be used.
        found: usize,
        /// Images to hold out.
        needed: usize,
    },
    /// The backend has fewer devices.
    #[error("{wanted} devices are asked for, but the backend has {found}")]
    TooFewDevices {
        /// How many are asked for.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// The loss is no longer a number.
    #[error(
        "the loss is not finite in epoch {epoch}, step {step}; the checkpoints before it are kept \
         (a lower --learning-rate or --warm-up may help)"
    )]
    Diverged {
        /// The epoch.
        epoch: usize,
        /// The step of the epoch.
        step: usize,
    },
    /// Burn's Learner was stopped, as by a disk that is full.
    #[error("the training was stopped: {0}")]
    Stopped(String),
    /// No epoch's weights can be read.
    #[error("{}: no checkpoint of a finished epoch can be read", folder.display())]
    NoCheckpoint {
        /// The folder of the execution.
        folder: PathBuf,
    },
    /// An OOD set cannot be watched.
    #[error(transparent)]
    OodSet(#[from] OodSetError),
    /// A data set cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A result cannot be read or written.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// The chosen weights cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The images of an experiment, read once for all its executions.
#[derive(Debug, Clone)]
pub struct ExperimentData {
    /// The training split of the known classes.
    pub train: Arc<Images>,
    /// Their test split.
    pub test: Arc<Images>,
    /// What is to be detected, by name.
    pub ood: Vec<(String, Arc<Images>)>,
    /// What kind of copies these are, for captions.
    pub source: String,
}

impl ExperimentData {
    /// Reads all sets of a configuration.
    ///
    /// # Errors
    ///
    /// [`DataError`] if one is absent or damaged.
    pub fn load(config: &TrainingConfig, folder: &DataFolder) -> Result<Self, DataError> {
        let mut train = folder.known(config.known, Split::Train)?;
        if let Some(count) = config.train_images.filter(|&count| count < train.images.len()) {
            // Folders and archives may be ordered by class: take images from everywhere.
            let mut indices: Vec<usize> = (0..train.images.len()).collect();
            indices.shuffle(&mut ChaCha8Rng::seed_from_u64(config.seed));
            indices.truncate(count);
            indices.sort_unstable();
            train.images = train.images.select(&indices);
        }
        let test = folder.known(config.known, Split::Test)?;
        let source = format!("{}, {} training images", train.source, train.images.len());
        let ood = config
            .ood
            .iter()
            .map(|source| Ok((source.name.clone(), Arc::new(folder.ood(source)?.images))));
        Ok(Self {
            ood: ood.collect::<Result<_, DataError>>()?,
            train: Arc::new(train.images),
            test: Arc::new(test.images),
            source,
        })
    }

    /// The images of the training split, parted by a seed: those to train on, and those that are
    /// held out, `(training, held out)`.
    ///
    /// # Errors
    ///
    /// [`TrainError::TooFewImages`] if none would be left to train on.
    pub fn part(
        &self,
        config: &TrainingConfig,
        seed: u64,
    ) -> Result<(Vec<u32>, Vec<u32>), TrainError> {
        let (found, needed) = (self.train.len(), config.validation_images);
        held_out_indices(found, needed, seed).ok_or_else(|| {
            let set = config.known.to_string();
            TrainError::TooFewImages { set, found, needed }
        })
    }
}

/// What is of the machine and the moment, not of the experiment.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Background threads that make batches; 0 stands for one.
    pub workers: usize,
    /// Stands before every line of an epoch.
    pub label: String,
    /// Never Burn's full-screen view.
    pub plain: bool,
}

/// The folder of an execution, which no other process uses.
#[derive(Debug)]
pub struct ExecutionFolder {
    path: PathBuf,
    _lock: File,
}

impl ExecutionFolder {
    /// Makes the folder of a cell and of one of its executions, and keeps other processes out.
    ///
    /// # Errors
    ///
    /// [`TrainError::InUse`], [`TrainError::OtherConfig`], or [`TrainError::Io`].
    pub fn open(
        results: &Path,
        config: &TrainingConfig,
        execution: usize,
    ) -> Result<Self, TrainError> {
        let cell = results.join(config.cell_name());
        let path = cell.join(format!("execution-{execution}"));
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| TrainError::Io { path, source }
        };
        fs::create_dir_all(&path).map_err(io(&path))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(TrainError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(io(&lock_path)(source)),
        }
        let saved_path = cell.join(results::CONFIG);
        if saved_path.exists() {
            let saved: serde_json::Value = results::read_json(&saved_path, "a configuration")?;
            if let Some(differences) = differences(&saved, config) {
                return Err(TrainError::OtherConfig { path: saved_path, differences });
            }
        } else {
            results::write_json(&saved_path, config)?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The fields in which a configuration differs from a saved one.
fn differences(saved: &serde_json::Value, config: &TrainingConfig) -> Option<String> {
    let given = serde_json::to_value(config).unwrap_or_default();
    let empty = serde_json::Map::new();
    let (saved, given) = (saved.as_object().unwrap_or(&empty), given.as_object().unwrap_or(&empty));
    let mut keys: Vec<&String> = saved.keys().chain(given.keys()).collect();
    keys.sort();
    keys.dedup();
    let shown = |value: Option<&serde_json::Value>| {
        value.map_or_else(|| "nothing".to_owned(), ToString::to_string)
    };
    let differing = keys.into_iter().filter(|key| saved.get(*key) != given.get(*key));
    let lines: Vec<String> = differing
        .map(|key| {
            format!("{key}: {} there, {} here", shown(saved.get(key)), shown(given.get(key)))
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// Trains one execution, or the rest of it, and keeps the chosen weights as `model.safetensors`.
///
/// # Errors
///
/// [`TrainError`].
pub fn train<B: AutodiffBackend>(
    config: &TrainingConfig,
    execution: usize,
    data: &ExperimentData,
    folder: &ExecutionFolder,
    options: &RunOptions,
    backend: &str,
) -> Result<Training, TrainError> {
    let path = folder.path();
    let finished = path.join(results::TRAINING);
    if finished.exists() {
        return Ok(results::read_json(finished, "the end of a training")?);
    }
    let seed = config.seed.wrapping_add(execution as u64 - 1);
    let (training, held_out) = data.part(config, seed)?;
    let counts = (training.len(), held_out.len());

    let history = checkpoints::resume(path)?;
    let is_over =
        history.epochs.len() >= config.epochs || patience_is_over(&history, config.early_stopping);
    let history = match is_over {
        true => history,
        false => {
            let batches = Batches::new(config, data, training, held_out, seed, options);
            learn::<B>(config, seed, history, &batches, path, options)?
        }
    };
    let chosen_epoch = choose(config, &history, path)?;
    let device = <B::InnerBackend as burn::tensor::backend::BackendTypes>::Device::default();
    let network = load_network::<B::InnerBackend>(config, path, chosen_epoch, &device)?;
    network.save_safetensors(path.join(results::MODEL))?;
    let training = Training {
        seed,
        epochs: history.epochs.len(),
        planned_epochs: config.epochs,
        chosen_epoch,
        selection: config.selection,
        train_images: counts.0,
        validation_images: counts.1,
        backend: backend.to_owned(),
        classes: data.train.classes.clone(),
    };
    results::write_json(finished, &training)?;
    Ok(training)
}

/// What the Learner is fed with.
struct Batches {
    train: ImageBatches,
    valid: ImageBatches,
    ood: Vec<(String, ImageBatches)>,
}

impl Batches {
    fn new(
        config: &TrainingConfig,
        data: &ExperimentData,
        training: Vec<u32>,
        held_out: Vec<u32>,
        seed: u64,
        options: &RunOptions,
    ) -> Self {
        let normalization = config.known.normalization();
        let batches = |images: &Arc<Images>| {
            ImageBatches::new(images.clone(), normalization, config.batch_size)
                .with_workers(options.workers)
        };
        // Without held-out images the test images are watched; the results say so.
        let valid = match config.selection {
            Selection::Validation => batches(&data.train).with_indices(held_out),
            Selection::Last if !held_out.is_empty() => batches(&data.train).with_indices(held_out),
            Selection::Last | Selection::Test => batches(&data.test),
        };
        Self {
            train: batches(&data.train)
                .with_indices(training)
                .shuffled(seed)
                .augmented(config.augmentation),
            valid,
            ood: match config.ood_every {
                0 => Vec::new(),
                _ => data.ood.iter().map(|(n, images)| (n.clone(), batches(images))).collect(),
            },
        }
    }
}

/// Burn's Learner from the end of a history to the end of the training.
fn learn<B: AutodiffBackend>(
    config: &TrainingConfig,
    seed: u64,
    history: History,
    batches: &Batches,
    path: &Path,
    options: &RunOptions,
) -> Result<History, TrainError> {
    let devices = devices::<B>(config.devices)?;
    let device = &devices[0];
    let done = history.epochs.len();

    let loader = |batches: &ImageBatches| -> Arc<dyn DataLoader<_, ImageBatch<B::InnerBackend>>> {
        Arc::new(ImageLoader::<B::InnerBackend>::new(batches.clone(), device))
    };
    let mut valid = OodDataLoader::new(loader(&batches.valid));
    for (name, images) in &batches.ood {
        valid = valid.with_set(name, loader(images))?;
    }
    let valid = valid.every(config.ood_every).after_epoch(done);
    let detection = valid.metrics(Score::default_for(config.head));
    let train = ImageLoader::<B>::new(batches.train.clone().after_epoch(done), device);
    // With several devices each has its share of the images, and the last one what is left over.
    let share = batches.train.num_images() / devices.len();
    let largest = batches.train.num_images() - share * (devices.len() - 1);
    let steps_per_epoch = largest.div_ceil(config.batch_size);

    // The network is drawn here even if a checkpoint replaces it.
    B::seed(device, seed);
    let learner = Learner::new(
        Classifier::<B>::new(config, device),
        optimizer::<B>(config),
        MultiStepLr::new(config, steps_per_epoch),
    );
    let interrupter = Interrupter::new();
    let recorder = Recorder::new(history, config.known.num_classes());
    let keeps_best = config.selection != Selection::Last;
    let keeper = Keeper::new(recorder.clone(), interrupter.clone(), path, keeps_best);
    let metric = |split| recorder.metric(split, interrupter.clone());

    let mut training = SupervisedTraining::new(path, Arc::new(train), Arc::new(valid))
        .metrics((AccuracyMetric::new(), LossMetric::new()))
        .metric_train(metric(LearnerSplit::Train))
        .metric_valid(metric(LearnerSplit::Valid))
        .ood_metrics(detection)
        .with_metric_logger(recorder.logger())
        .with_application_logger(None)
        .with_interrupter(interrupter.clone())
        .with_file_checkpointer(CheckedRecorder::default())
        .with_checkpointing_strategy(keeper)
        .early_stopping(Patience { recorder: recorder.clone(), epochs: config.early_stopping })
        .num_epochs(config.epochs);
    if options.plain || !io::stdout().is_terminal() {
        training = training.renderer(EpochRenderer::new().with_label(options.label.clone()));
    }
    if config.gradient_accumulation > 1 {
        training = training.grads_accumulation(config.gradient_accumulation);
    }
    if done > 0 {
        training = training.checkpoint(done);
    }
    if devices.len() > 1 {
        let strategy = ExecutionStrategy::multi(devices.clone(), MultiDeviceOptim::OptimMainDevice);
        training = training.with_training_strategy(strategy.into());
    }
    training.launch(learner);

    if let Some(place) = recorder.diverged() {
        return Err(TrainError::Diverged { epoch: place.epoch, step: place.step });
    }
    if interrupter.should_stop() {
        let reason = interrupter.get_message();
        return Err(TrainError::Stopped(reason.unwrap_or_else(|| "by the user".to_owned())));
    }
    Ok(recorder.history())
}

fn optimizer<B: AutodiffBackend>(
    config: &TrainingConfig,
) -> OptimizerAdaptor<Sgd<B::InnerBackend>, Classifier<B>, B> {
    let momentum = MomentumConfig::new()
        .with_momentum(config.momentum)
        .with_dampening(0.0)
        .with_nesterov(true);
    SgdConfig::new()
        .with_momentum((config.momentum > 0.0).then_some(momentum))
        .with_weight_decay(Some(WeightDecayConfig::new(config.weight_decay as f32)))
        .init()
}

/// The default device and those after it of its kind.
fn devices<B: Backend>(count: usize) -> Result<Vec<B::Device>, TrainError> {
    let first = B::Device::default();
    if count == 1 {
        return Ok(vec![first]);
    }
    let DeviceId { type_id, .. } = first.to_id();
    let found = B::device_count(type_id);
    if found < count {
        return Err(TrainError::TooFewDevices { wanted: count, found });
    }
    let device = |index: usize| B::Device::from_id(DeviceId { type_id, index_id: index as u16 });
    Ok((0..count).map(device).collect())
}

/// Stops when the validation accuracy has not risen for some epochs.
#[derive(Clone)]
struct Patience {
    recorder: Recorder,
    epochs: Option<usize>,
}

impl EarlyStoppingStrategy for Patience {
    fn should_stop(&mut self, epoch: usize, _store: &EventStoreClient) -> bool {
        let is_over = patience_is_over(&self.recorder.history(), self.epochs);
        if is_over {
            log::warn!("stopped after epoch {epoch}: no better validation accuracy since");
        }
        is_over
    }
}

fn patience_is_over(history: &History, patience: Option<usize>) -> bool {
    let best = history.best_epoch();
    patience.zip(best).is_some_and(|(patience, best)| history.epochs.len() >= best + patience)
}

/// The epoch whose weights count.
fn choose(config: &TrainingConfig, history: &History, path: &Path) -> Result<usize, TrainError> {
    let wanted = match config.selection {
        Selection::Last => history.epochs.len(),
        Selection::Validation | Selection::Test => history.best_epoch().unwrap_or_default(),
    };
    if checkpoints::has_model(path, wanted) {
        return Ok(wanted);
    }
    // A disk may have lost it: the best of those that are left is better than none, if that is told.
    let left = history.epochs.iter().filter(|e| checkpoints::has_model(path, e.epoch)).cloned();
    let left = History { epochs: left.collect() };
    let chosen =
        left.best_epoch().ok_or_else(|| TrainError::NoCheckpoint { folder: path.to_owned() })?;
    log::warn!("the weights of epoch {wanted} are damaged or gone: epoch {chosen} stands for it");
    Ok(chosen)
}

fn load_network<B: Backend>(
    config: &TrainingConfig,
    path: &Path,
    epoch: usize,
    device: &B::Device,
) -> Result<Model<B>, TrainError> {
    let file = checkpoints::model_path(path, epoch);
    let record = CheckedRecorder::default()
        .load(file, device)
        .map_err(|error| TrainError::Stopped(error.to_string()))?;
    Ok(Classifier::<B>::new(config, device).load_record(record).network)
}
