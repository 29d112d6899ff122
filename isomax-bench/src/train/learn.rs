//! Burn's Learner, from the end of a history to the end of a training.

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
use burn::tensor::backend::AutodiffBackend;
use burn::train::metric::store::{EventStoreClient, Split as LearnerSplit};
use burn::train::metric::{AccuracyMetric, LossMetric};
use burn::train::{
    EarlyStoppingStrategy, ExecutionStrategy, Interrupter, Learner, MultiDeviceOptim,
    SupervisedTraining, TrainingStrategy,
};
use isomax_burn::Score;
use isomax_burn::train::{EpochRenderer, OodDataLoader, OodTraining};
use serde::{Deserialize, Serialize};

use super::checkpoints::{
    CheckedRecorder, CheckpointPolicy, OPTIMIZER, SCHEDULER, read_model, read_part,
};
use super::data::Batches;
use super::recorder::HistoryRecorder;
use super::together::{Components, Lead, follow, load_checkpoint};
use super::{
    Classifier, Divergence, OptimizerKind, RunOptions, Schedule, TrainError, TrainableNetwork,
    TrainingConfig, batches_per_epoch, body, flat,
};
use crate::data::{ImageBatch, ImageBatches, ImageLoader, UnreadableImage};
use crate::ranks::Team;
use crate::results::{self, History, Selection};

type Inner<B> = <B as AutodiffBackend>::InnerBackend;

/// A training on its way.
pub(super) struct Run<'a, B: AutodiffBackend, N> {
    pub config: &'a TrainingConfig,
    pub seed: u64,
    pub init: &'a dyn Fn(&B::Device) -> N,
    pub path: &'a Path,
    pub options: &'a RunOptions,
    pub team: &'a Team,
    /// At least one.
    pub devices: &'a [B::Device],
    pub num_classes: usize,
}

impl<B: AutodiffBackend, N: TrainableNetwork<B>> Run<'_, B, N> {
    /// Burn's Learner from the end of a history to the end of the training, by the optimizer of the configuration.
    pub(super) fn learn(
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
            Some(_) => flat::bytes_of(flat::all(&classifier)),
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

/// What there is when the Learner has returned: all epochs, or a reason why not.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    Whole(History),
    Diverged(Divergence),
    Stopped(String),
}

impl Outcome {
    pub(super) fn into_result(self) -> Result<History, TrainError> {
        match self {
            Self::Whole(history) => Ok(history),
            Self::Diverged(place) => Err(TrainError::Diverged(place)),
            Self::Stopped(reason) => Err(TrainError::Stopped(reason)),
        }
    }
}

pub(super) fn outcome(
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
pub(super) fn is_over(config: &TrainingConfig, history: &History) -> bool {
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

pub(super) fn patience_is_over(history: &History, patience: Option<usize>) -> bool {
    let best = results::best_epoch(&history.epochs);
    patience.zip(best).is_some_and(|(patience, best)| history.epochs.len() >= best + patience)
}
