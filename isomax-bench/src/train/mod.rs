//! The published trainings, driven by Burn's Learner: any network, head and set, several runs,
//! interrupted and resumed at will. See [`train()`] for an example.
//!
//! A run writes into a folder of its own (see [`crate::results`]). After every epoch the
//! history and a checkpoint are there, each file whole or not at all, so that a process that is
//! killed at any moment goes on from its last epoch when it is started again. Images, their order and
//! their changes follow from the seed, the epoch and the batch; on a backend that computes
//! reproducibly, such as flex, a resumed training ends with the weights and the history of one that
//! was never interrupted.

use std::io::{self, IsTerminal};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::lr_scheduler::LrScheduler;
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamW, AdamWConfig, Optimizer, Sgd, SgdConfig};
use burn::prelude::DeviceOps as _;
use burn::tensor::backend::{AutodiffBackend, Backend, DeviceId};
use burn::tensor::{Int, Tensor, TensorData};
use burn::train::metric::store::{EventStoreClient, Split as LearnerSplit};
use burn::train::metric::{AccuracyMetric, LossMetric};
use burn::train::{
    EarlyStoppingStrategy, ExecutionStrategy, Interrupter, Learner, MultiDeviceOptim,
    SupervisedTraining, TrainingStrategy,
};
use isomax_burn::train::{EpochRenderer, OodDataLoader, OodTraining};
use isomax_burn::{ClassMeans, OodHead as _, Score};
use isomax_models::Backbone as _;
use serde::{Deserialize, Serialize};

mod body;
mod checkpoints;
mod choices;
mod classifier;
mod config;
mod data;
mod error;
mod flat;
mod folder;
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

use crate::data::{
    ImageBatch, ImageBatches, ImageLoader, ImageSource as _, Preprocessing, Subset,
    UnreadableImage, digest, tensor_of,
};
use crate::ranks::{Ranks, Team};
use crate::results::{self, History, Selection, Training};
use checkpoints::{CheckedRecorder, CheckpointPolicy, OPTIMIZER, SCHEDULER, read_model, read_part};
use data::Batches;
use recorder::HistoryRecorder;
use together::{Components, Lead, follow, load_checkpoint};

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

/// A training on its way.
struct Run<'a, B: AutodiffBackend, N> {
    config: &'a TrainingConfig,
    seed: u64,
    init: &'a dyn Fn(&B::Device) -> N,
    path: &'a Path,
    options: &'a RunOptions,
    team: &'a Team,
    /// At least one.
    devices: &'a [B::Device],
    num_classes: usize,
}

impl<B: AutodiffBackend, N: TrainableNetwork<B>> Run<'_, B, N> {
    /// Burn's Learner from the end of a history to the end of the training, by the optimizer of the configuration.
    fn learn(
        &self,
        network: N,
        history: History,
        batches: &Batches,
    ) -> Result<History, TrainError> {
        let config = self.config;
        let classifier = Classifier::<B, N>::new(config, network).with_ranks(self.team.count());
        match config.optimizer {
            OptimizerKind::Sgd => {
                let optimizer = body::grouped(config, &classifier, sgd::<B, N>(config));
                self.learn_by(optimizer, classifier, history, batches)
            }
            OptimizerKind::AdamW => {
                let optimizer = body::grouped(config, &classifier, adamw::<B, N>(config));
                self.learn_by(optimizer, classifier, history, batches)
            }
        }
    }

    fn learn_by<O: Optimizer<Classifier<B, N>, B> + 'static>(
        &self,
        optimizer: O,
        classifier: Classifier<B, N>,
        history: History,
        batches: &Batches,
    ) -> Result<History, TrainError> {
        let Self { config, seed, path, team, devices, num_classes, .. } = *self;
        let device = &devices[0];
        let done = history.epochs.len();
        let train = ImageLoader::<B>::new(batches.train.clone().after_epoch(done), device);
        let train: Arc<dyn DataLoader<B, ImageBatch<B>>> = Arc::new(train);
        // Steps of the schedule, one for each batch of any rank.
        let steps_per_epoch =
            batches_per_epoch(config, batches.train_images, team.count()) * team.count();
        let schedule = Schedule::new(config, steps_per_epoch);
        // Before the network is cloned: what was not looked at before is drawn anew in each clone.
        let start: Vec<u8> = match team.ranks() {
            Some(_) => bytes_of(flat::all(&classifier)),
            None => Vec::new(),
        };
        let mut learner = Learner::new(classifier, optimizer, schedule);
        let Some(ranks) = team.ranks() else {
            if done > 0 {
                self.check_checkpoint::<O>(done)?;
            }
            return self.launch(learner, history, batches, train, None)?.into_result();
        };
        match done {
            0 => team.check_same("start of its weights", start)?,
            _ => {
                team.decide(|| self.check_checkpoint::<O>(done))?;
                learner = load_checkpoint(team, path, done, learner, device)?;
            }
        }
        let accumulation = config.gradient_accumulation;
        let outcome: Outcome = match team.leads() {
            true => {
                let lead = Lead::new(ranks.clone(), accumulation, num_classes, device);
                team.tell(self.launch(learner, history, batches, train, Some(lead)))?
            }
            false => {
                // What is drawn from now on, such as values to drop, is another on each rank.
                B::seed(device, seed.wrapping_add((team.rank() as u64) << 32));
                let follow = || follow(ranks.clone(), accumulation, num_classes, learner, &train);
                reading_images(follow)??;
                team.hear()?
            }
        };
        outcome.into_result()
    }

    /// Burn's Learner, in this process by itself or as the one that leads.
    fn launch<O: Optimizer<Classifier<B, N>, B> + 'static>(
        &self,
        learner: Learner<Components<B, N, O>>,
        history: History,
        batches: &Batches,
        train: Arc<dyn DataLoader<B, ImageBatch<B>>>,
        lead: Option<Lead<B, N>>,
    ) -> Result<Outcome, TrainError> {
        let Self { config, path, options, team, devices, num_classes, .. } = *self;
        let device = &devices[0];
        let done = history.epochs.len();
        let loader =
            |batches: &ImageBatches| -> Arc<dyn DataLoader<_, ImageBatch<B::InnerBackend>>> {
                Arc::new(ImageLoader::<B::InnerBackend>::new(batches.clone(), device))
            };
        let mut valid = OodDataLoader::new(loader(&batches.valid));
        for (name, images) in &batches.ood {
            valid = valid.with_set(name, loader(images))?;
        }
        let valid = valid.every(config.ood_every).after_epoch(done);
        let detection = valid.metrics(Score::default_for(config.head));
        let interrupter = Interrupter::new();
        let valid_images = batches.valid.num_images();
        let recorder = HistoryRecorder::new(history, num_classes, valid_images, team.count());
        let keeps_best = config.selection != Selection::Last;
        let policy = CheckpointPolicy::new(recorder.clone(), interrupter.clone(), path, keeps_best);
        let metric = |split| recorder.metric(split, interrupter.clone());

        let mut training = SupervisedTraining::new(path, train, Arc::new(valid))
            .metrics((AccuracyMetric::new(), LossMetric::new()))
            .metric_train(metric(LearnerSplit::Train))
            .metric_valid(metric(LearnerSplit::Valid))
            .ood_metrics(detection)
            .with_metric_logger(recorder.logger())
            .with_application_logger(None)
            .with_interrupter(interrupter.clone())
            .with_file_checkpointer(CheckedRecorder::default())
            .with_checkpointing_strategy(policy)
            .early_stopping(Patience { recorder: recorder.clone(), epochs: config.early_stopping })
            .num_epochs(config.epochs);
        // The output of a rank looks like a terminal, but none hears its keys.
        if options.plain || lead.is_some() || !io::stdout().is_terminal() {
            training = training.renderer(EpochRenderer::new().with_label(options.label.clone()));
        }
        if config.gradient_accumulation > 1 {
            training = training.grads_accumulation(config.gradient_accumulation);
        }
        if done > 0 {
            training = training.checkpoint(done);
        }
        if devices.len() > 1 {
            let strategy =
                ExecutionStrategy::multi(devices.to_vec(), MultiDeviceOptim::OptimMainDevice);
            training = training.with_training_strategy(strategy.into());
        }
        if let Some(lead) = lead {
            let strategy = TrainingStrategy::Custom(Arc::new(lead.with_recorder(recorder.clone())));
            training = training.with_training_strategy(strategy);
        }
        reading_images(|| drop(training.launch(learner)))?;
        Ok(outcome(config, &recorder, &interrupter))
    }

    /// Reads the checkpoint that Burn's Learner is to read, which panics where it cannot.
    fn check_checkpoint<O: Optimizer<Classifier<B, N>, B>>(
        &self,
        epoch: usize,
    ) -> Result<(), TrainError> {
        let Self { config, path, .. } = *self;
        let device = &self.devices[0];
        read_model(&mut Classifier::<B, N>::new(config, (self.init)(device)), path, epoch)?;
        read_part::<B, O::Record>(path, OPTIMIZER, epoch, device)?;
        read_part::<B, <Schedule as LrScheduler>::Record<B>>(path, SCHEDULER, epoch, device)?;
        Ok(())
    }
}

/// Does what reads images. Burn's loaders cannot fail; one whose file is gone panics with an error of ours.
fn reading_images<T>(work: impl FnOnce() -> T) -> Result<T, TrainError> {
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    done.map_err(|cause| match cause.downcast::<UnreadableImage>() {
        Ok(error) => TrainError::Image(*error),
        Err(cause) => panic::resume_unwind(cause),
    })
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

type Inner<B> = <B as AutodiffBackend>::InnerBackend;

/// The network with its prototypes at the mean features of the training images. Rank 0 computes them for all: other
/// machines might come to other last bits.
fn with_class_means<B: AutodiffBackend, N: TrainableNetwork<B>>(
    network: N,
    images: &Subset,
    preprocessing: &Preprocessing,
    device: &B::Device,
    team: &Team,
) -> Result<N, TrainError> {
    // Drawn on all ranks alike, before one of them looks at some of it.
    drop(flat::all(&network));
    let shape = [network.head().num_classes(), network.head().num_features()];
    let bytes = team.share(|| {
        let means = class_means(&network, images, preprocessing, device)?;
        Ok::<_, TrainError>(bytes_of(means.into_data().iter::<f32>()))
    })?;
    let values: Vec<f32> =
        bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let prototypes = Tensor::from_data(TensorData::new(values, shape), device);
    Ok(network.with_prototypes(prototypes)?)
}

fn class_means<B: AutodiffBackend, N: TrainableNetwork<B>>(
    network: &N,
    images: &Subset,
    preprocessing: &Preprocessing,
    device: &B::Device,
) -> Result<Tensor<B, 2>, TrainError> {
    let fixed = network.valid();
    let head = fixed.head();
    let mut means = ClassMeans::new(head.kind(), head.num_classes());
    for start in (0..images.len()).step_by(BATCH_OF_FEATURES) {
        let indices = start..images.len().min(start + BATCH_OF_FEATURES);
        let labels: Vec<i32> =
            images.labels()[indices.clone()].iter().map(|&label| label.into()).collect();
        let batch = tensor_of::<Inner<B>>(images, indices, &preprocessing.normalization, device)?;
        let targets = Tensor::<Inner<B>, 1, Int>::from_ints(labels.as_slice(), device);
        means.update(fixed.forward_features(batch), targets)?;
    }
    Ok(means.prototypes::<B>(device)?)
}

fn bytes_of(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// Images whose features are computed at once.
const BATCH_OF_FEATURES: usize = 64;

/// What there is when the Learner has returned: all epochs, or a reason why not.
#[derive(Debug, Serialize, Deserialize)]
enum Outcome {
    Whole(History),
    Diverged(Divergence),
    Stopped(String),
}

impl Outcome {
    fn into_result(self) -> Result<History, TrainError> {
        match self {
            Self::Whole(history) => Ok(history),
            Self::Diverged(place) => Err(TrainError::Diverged(place)),
            Self::Stopped(reason) => Err(TrainError::Stopped(reason)),
        }
    }
}

fn outcome(
    config: &TrainingConfig,
    recorder: &HistoryRecorder,
    interrupter: &Interrupter,
) -> Outcome {
    if let Some(place) = recorder.diverged() {
        return Outcome::Diverged(place);
    }
    let history = recorder.history();
    // Burn's full-screen view resets the interrupter when it ends; the message stays.
    let reason = interrupter.get_message();
    if interrupter.should_stop() || reason.is_some() || !is_over(config, &history) {
        return Outcome::Stopped(reason.unwrap_or_else(|| "by the user".to_owned()));
    }
    Outcome::Whole(history)
}

/// Whether there is nothing left to train.
fn is_over(config: &TrainingConfig, history: &History) -> bool {
    history.epochs.len() >= config.epochs || patience_is_over(history, config.early_stopping)
}

fn sgd<B: AutodiffBackend, N: TrainableNetwork<B>>(
    config: &TrainingConfig,
) -> OptimizerAdaptor<Sgd<Inner<B>>, Classifier<B, N>, B> {
    let momentum = MomentumConfig::new()
        .with_momentum(config.momentum)
        .with_dampening(0.0)
        .with_nesterov(true);
    SgdConfig::new()
        .with_momentum((config.momentum > 0.0).then_some(momentum))
        .with_weight_decay(Some(WeightDecayConfig::new(config.weight_decay as f32)))
        .init()
}

fn adamw<B: AutodiffBackend, N: TrainableNetwork<B>>(
    config: &TrainingConfig,
) -> OptimizerAdaptor<AdamW, Classifier<B, N>, B> {
    AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(config.weight_decay as f32).init()
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

/// Stops when the validation accuracy has not risen for some epochs.
#[derive(Clone)]
struct Patience {
    recorder: HistoryRecorder,
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
    let best = results::best_epoch(&history.epochs);
    patience.zip(best).is_some_and(|(patience, best)| history.epochs.len() >= best + patience)
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
