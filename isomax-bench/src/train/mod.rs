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
use burn::tensor::{Int, Tensor};
use burn::train::metric::store::{EventStoreClient, Split as LearnerSplit};
use burn::train::metric::{AccuracyMetric, LossMetric};
use burn::train::{
    EarlyStoppingStrategy, ExecutionStrategy, Interrupter, Learner, MultiDeviceOptim,
    SupervisedTraining,
};
use isomax_burn::train::{EpochRenderer, OodDataLoader, OodTraining};
use isomax_burn::{ClassMeans, OodHead as _, Score};
use isomax_models::Backbone as _;

mod body;
mod checkpoints;
mod choices;
mod classifier;
mod config;
mod data;
mod error;
mod folder;
mod recorder;
mod scheduler;

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
    UnreadableImage, tensor_of,
};
use crate::results::{self, History, Selection, Training};
use checkpoints::{CheckedRecorder, CheckpointPolicy, OPTIMIZER, SCHEDULER, read_model, read_part};
use data::Batches;
use recorder::HistoryRecorder;

/// What is of the machine and the moment, not of the experiment. See [`train()`] for an example.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Number of background threads that make batches; 0 stands for one.
    pub workers: usize,
    /// Text before every line of an epoch.
    pub label: String,
    /// Whether to print one line for each epoch even on a terminal, in place of Burn's full-screen view.
    pub plain: bool,
}

/// Trains one run, or the rest of it, and keeps the chosen weights as `model.safetensors`. To evaluate it
/// as well, see [`crate::experiment`].
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
    let devices = || devices::<B>(config.devices);
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
    let path = folder.path();
    let finished = path.join(results::TRAINING);
    if finished.exists() {
        return Ok(results::read(finished)?);
    }
    let seed = config.seed.wrapping_add(number as u64 - 1);
    let parts = data.split(config, seed)?;
    let counts = (parts.training.len(), parts.validation.len(), parts.calibration.len());
    let devices = devices()?;
    check_steps(config, counts.0)?;
    folder.keep_config(config)?;

    let mut history = checkpoints::resume(path)?;
    // Indices mean other images in another copy: held-out ones would have been trained on.
    match &history.digest {
        Some(digest) if *digest != data.digest => {
            return Err(TrainError::OtherData { folder: path.to_owned() });
        }
        _ => history.digest = Some(data.digest.clone()),
    }
    let preprocessing = config.preprocessing(data.measured)?;
    let num_classes = data.train.classes().len();
    let training_images = Subset::new(Arc::clone(&data.train), parts.training.clone());
    let run = Run { config, init, path, options, devices: &devices, num_classes };
    let begin = || -> Result<N, TrainError> {
        // The network is drawn here even if a checkpoint replaces it.
        B::seed(&devices[0], seed);
        let network = body::prepare(config, init(&devices[0]))?;
        match history.epochs.is_empty() && config.prototypes == Prototypes::ClassMeans {
            true => with_class_means(network, &training_images, &preprocessing, &devices[0]),
            false => Ok(network),
        }
    };
    let (history, chosen_epoch) = if config.epochs == 0 {
        let network = begin()?;
        network.save_safetensors(path.join(results::MODEL))?;
        (history, 0)
    } else {
        let history = match is_over(config, &history) {
            true => history,
            false => {
                let network = begin()?;
                let batches = Batches::new(config, data, parts, seed, options)?;
                run.learn(network, history, &batches)?
            }
        };
        let chosen_epoch = choose(config, &history, path)?;
        let mut classifier = Classifier::<B, N>::new(config, init(&devices[0]));
        read_model(&mut classifier, path, chosen_epoch)?;
        classifier.network.save_safetensors(path.join(results::MODEL))?;
        (history, chosen_epoch)
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
        recipe: config.recipe(),
        classes: data.train.classes().to_vec(),
    };
    results::write(finished, &training)?;
    Ok(training)
}

/// A training on its way.
struct Run<'a, B: AutodiffBackend, N> {
    config: &'a TrainingConfig,
    init: &'a dyn Fn(&B::Device) -> N,
    path: &'a Path,
    options: &'a RunOptions,
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
        let classifier = Classifier::<B, N>::new(config, network);
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
        let Self { config, path, options, devices, num_classes, .. } = *self;
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
        let train = ImageLoader::<B>::new(batches.train.clone().after_epoch(done), device);
        let steps_per_epoch = batches_per_epoch(config, batches.train.num_images());

        let schedule = Schedule::new(config, steps_per_epoch);
        let learner = Learner::new(classifier, optimizer, schedule);
        let interrupter = Interrupter::new();
        let valid_images = batches.valid.num_images();
        let recorder = HistoryRecorder::new(history, num_classes, valid_images);
        let keeps_best = config.selection != Selection::Last;
        let policy = CheckpointPolicy::new(recorder.clone(), interrupter.clone(), path, keeps_best);
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
            .with_checkpointing_strategy(policy)
            .early_stopping(Patience { recorder: recorder.clone(), epochs: config.early_stopping })
            .num_epochs(config.epochs);
        if options.plain || !io::stdout().is_terminal() {
            training = training.renderer(EpochRenderer::new().with_label(options.label.clone()));
        }
        if config.gradient_accumulation > 1 {
            training = training.grads_accumulation(config.gradient_accumulation);
        }
        if done > 0 {
            self.check_checkpoint::<O>(done)?;
            training = training.checkpoint(done);
        }
        if devices.len() > 1 {
            let strategy =
                ExecutionStrategy::multi(devices.to_vec(), MultiDeviceOptim::OptimMainDevice);
            training = training.with_training_strategy(strategy.into());
        }
        // Burn's loaders cannot fail; one whose file is gone panics with an error of ours.
        let launched = panic::catch_unwind(AssertUnwindSafe(|| training.launch(learner)));
        if let Err(cause) = launched {
            return match cause.downcast::<UnreadableImage>() {
                Ok(error) => Err(TrainError::Image(*error)),
                Err(cause) => panic::resume_unwind(cause),
            };
        }
        outcome(config, &recorder, &interrupter)
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

/// Batches of an epoch, on each device: with several devices each has its share of the images, and the
/// last one what is left over.
fn batches_per_epoch(config: &TrainingConfig, images: usize) -> usize {
    let share = images / config.devices;
    let largest = images - share * (config.devices - 1);
    largest.div_ceil(config.batch_size)
}

/// Burn forgets the gradients that make no whole step at the end of an epoch.
fn check_steps(config: &TrainingConfig, images: usize) -> Result<(), TrainError> {
    let (batches, wanted) = (batches_per_epoch(config, images), config.gradient_accumulation);
    if batches < wanted {
        return Err(TrainError::TooFewBatches { batches, wanted });
    }
    let rest = batches % wanted;
    if rest > 0 {
        log::warn!("the last {rest} of {batches} batches of each epoch fill no step");
    }
    Ok(())
}

type Inner<B> = <B as AutodiffBackend>::InnerBackend;

/// The network with its prototypes at the mean features of the training images.
fn with_class_means<B: AutodiffBackend, N: TrainableNetwork<B>>(
    network: N,
    images: &Subset,
    preprocessing: &Preprocessing,
    device: &B::Device,
) -> Result<N, TrainError> {
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
    Ok(network.with_prototypes(means.prototypes::<B>(device)?)?)
}

/// Images whose features are computed at once.
const BATCH_OF_FEATURES: usize = 64;

/// What there is when the Learner has returned: all epochs, or a reason why not.
fn outcome(
    config: &TrainingConfig,
    recorder: &HistoryRecorder,
    interrupter: &Interrupter,
) -> Result<History, TrainError> {
    if let Some(place) = recorder.diverged() {
        return Err(TrainError::Diverged(place));
    }
    let history = recorder.history();
    // Burn's full-screen view resets the interrupter when it ends; the message stays.
    let reason = interrupter.get_message();
    if interrupter.should_stop() || reason.is_some() || !is_over(config, &history) {
        return Err(TrainError::Stopped(reason.unwrap_or_else(|| "by the user".to_owned())));
    }
    Ok(history)
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
mod tests {
    use std::collections::BTreeMap;
    use std::sync::LazyLock;

    use burn::backend::{Autodiff, Flex};
    use isomax_burn::HeadKind;
    use isomax_models::{Architecture, CifarResNet, CifarResNetConfig, store};

    use super::*;
    use crate::data::{Augmentation, Images, Normalization, PublishedSet};
    use crate::results::Epoch;

    fn config() -> TrainingConfig {
        let architecture = Architecture::CifarResNet { depth: 8 };
        let published =
            TrainingConfig::published(PublishedSet::Cifar10, architecture, HeadKind::IsoMax);
        TrainingConfig { epochs: 3, ..published }
    }

    fn history(accuracies: &[f64]) -> History {
        let epoch = |(i, accuracy): (usize, &f64)| Epoch {
            epoch: i + 1,
            valid: [("accuracy".to_owned(), *accuracy)].into(),
            ..Default::default()
        };
        History { digest: None, epochs: accuracies.iter().enumerate().map(epoch).collect() }
    }

    #[test]
    fn a_training_that_was_broken_off_is_not_finished() {
        let outcome = |accuracies: &[f64], interrupter: &Interrupter| {
            let recorder = HistoryRecorder::new(history(accuracies), 10, 1);
            outcome(&config(), &recorder, interrupter).map_err(|error| error.to_string())
        };
        let none = Interrupter::new();
        assert_eq!(outcome(&[1.0, 2.0, 3.0], &none), Ok(history(&[1.0, 2.0, 3.0])));
        assert!(outcome(&[1.0], &none).is_err_and(|error| error.ends_with("by the user")));
        let full = Interrupter::new();
        full.stop(Some("disk full"));
        for accuracies in [&[1.0][..], &[1.0, 2.0, 3.0]] {
            let error = outcome(accuracies, &full);
            assert!(error.is_err_and(|error| error.ends_with("disk full")));
        }
        // As the full-screen view does when it ends.
        full.reset();
        assert!(outcome(&[1.0, 2.0, 3.0], &full).is_err_and(|error| error.ends_with("disk full")));
    }

    #[test]
    fn patience_ends_after_epochs_without_a_better_one() {
        let is_over = |accuracies: &[f64]| patience_is_over(&history(accuracies), Some(2));
        assert!(!is_over(&[]) && !is_over(&[5.0]) && !is_over(&[5.0, 4.0]));
        assert!(is_over(&[5.0, 4.0, 5.0]) && !is_over(&[5.0, 4.0, 6.0]));
        assert!(!patience_is_over(&history(&[5.0, 1.0, 1.0]), None));
    }

    type Trained = Autodiff<Flex>;

    /// The weights of a training on images that are all the same, so that every batch is.
    fn weights(devices: usize, accumulation: usize) -> BTreeMap<String, Vec<u8>> {
        let pattern: Vec<u8> = (0..32 * 32 * 3).map(|at| (at * 37 % 251) as u8).collect();
        let images = |count: usize| Images {
            size: [32, 32],
            bytes: pattern.repeat(count),
            labels: vec![1; count],
            classes: vec!["a".to_owned(), "b".to_owned()],
        };
        let config = TrainingConfig {
            devices,
            gradient_accumulation: accumulation,
            epochs: 2,
            milestones: vec![1],
            batch_size: 4,
            augmentation: Augmentation::CropAndFlip { padding: 0, flip: false },
            validation_images: ImageCount::Images(4),
            calibration_images: ImageCount::Images(4),
            stratified: false,
            ..TrainingConfig::own("same", "resnet-8", HeadKind::IsoMaxPlus, Normalization::CIFAR10)
        };
        let data = ExperimentData::new("same", images(40), images(4), Vec::new(), "made up");
        let data = data.expect("the same classes");
        let results = tempfile::tempdir().expect("a folder");
        let folder = RunFolder::open(results.path(), &config, 1).expect("nobody else's");
        // Drawn once: other tests draw numbers meanwhile. Clones would share their running statistics.
        let network = CifarResNetConfig::new(8, 2).with_head(HeadKind::IsoMaxPlus);
        static START: LazyLock<tempfile::NamedTempFile> = LazyLock::new(|| {
            let file = tempfile::NamedTempFile::new().expect("a file");
            let network = CifarResNetConfig::new(8, 2).with_head(HeadKind::IsoMaxPlus);
            let network = network.init::<Flex>(&Default::default());
            network.save_safetensors(file.path()).expect("weights");
            file
        });
        let init = |device: &_| -> CifarResNet<Trained> {
            let mut network = network.init(device);
            network.load_weights(START.path()).expect("weights");
            network
        };
        let options = RunOptions { workers: 1, label: "same".to_owned(), plain: true };
        let same = || Ok(vec![Default::default(); devices]);
        train_on::<Trained, _>(&same, &config, 1, &data, &folder, &init, &options, "flex")
            .expect("a training");
        let mut network = network.init::<Flex>(&Default::default());
        network.load_weights(folder.path().join(results::MODEL)).expect("weights");
        let tensors = store::tensors(&network).expect("values").into_iter();
        tensors.map(|tensor| (tensor.name, tensor.bytes)).collect()
    }

    #[test]
    fn two_devices_are_as_gradients_of_two_batches() {
        let (devices, accumulated, plain) = (weights(2, 1), weights(1, 2), weights(1, 1));
        let is_trained = |name: &str| !name.contains("running_");
        let trained = |weights: &BTreeMap<String, Vec<u8>>| -> Vec<(String, Vec<u8>)> {
            let trained = weights.iter().filter(|(name, _)| is_trained(name));
            trained.map(|(name, values)| (name.clone(), values.clone())).collect()
        };
        assert!(trained(&devices) == trained(&accumulated));
        // With twice as many steps something else comes out.
        assert!(trained(&devices) != trained(&plain));
        // The running statistics are those of the first device, which sees half of the batches.
        let size = |weights: &BTreeMap<String, Vec<u8>>| -> f32 {
            let values = weights["bn1.running_mean"].as_chunks().0.iter();
            values.map(|bytes| f32::from_le_bytes(*bytes).abs()).sum()
        };
        assert!(0.0 < size(&devices) && size(&devices) < size(&accumulated));
    }
}
