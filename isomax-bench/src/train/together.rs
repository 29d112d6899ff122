//! A training by several ranks: the loops of rank 0, by Burn's Learner, and of the others, which follow.
//!
//! A step has one batch of each rank, as one with accumulated gradients has several: batches, order and the
//! mean of the gradients are the same, and so are the weights but for rounding. What follows from single
//! batches is not: each rank keeps running statistics of its own batches, and all go on with their mean
//! after each epoch.

use std::marker::PhantomData;
use std::sync::Arc;

use burn::data::dataloader::Progress;
use burn::module::{AutodiffModule as _, Module as _};
use burn::optim::{GradientsAccumulator, GradientsParams, Optimizer};
use burn::record::{FullPrecisionSettings, NamedMpkBytesRecorder, Record, Recorder};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor, TensorData};
use burn::train::{
    ClassificationOutput, EventProcessorTraining as _, InferenceStep as _, Interrupter, Learner,
    LearnerEvent, LearningComponentsMarker, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainOutput, TrainingComponents, TrainingItem,
    ValidLoader,
};

use super::checkpoints::{MODEL, OPTIMIZER, SCHEDULER, checked_bytes};
use super::flat::{bytes_of, gradients_of, push_gradients, statistics, values_of, with_statistics};
use super::recorder::HistoryRecorder;
use super::{Classifier, Divergence, Schedule, TrainError, TrainableNetwork};
use crate::ranks::{Ranks, RanksError, Team};

pub(super) type Components<B, N, O> = LearningComponentsMarker<B, Schedule, Classifier<B, N>, O>;

/// How the training part of an epoch ended, the same on all ranks.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ended {
    Whole,
    /// The loss or a gradient of some rank is not finite.
    Diverged,
    Stopped,
}

/// What one batch shows, on its way to rank 0.
struct Shown {
    loss: Vec<f32>,
    logits: Vec<f32>,
    targets: Vec<f32>,
}

impl Shown {
    /// As one row; classes are exact in 32 bits.
    fn row<B: Backend>(output: ClassificationOutput<B>) -> Vec<f32> {
        let mut row: Vec<f32> = output.loss.into_data().iter::<f32>().collect();
        row.extend(output.output.into_data().iter::<f32>());
        row.extend(output.targets.into_data().iter::<i64>().map(|class| class as f32));
        row
    }

    fn of_row(mut row: Vec<f32>, num_classes: usize) -> Self {
        let count = row.len() / (num_classes + 2);
        let targets = row.split_off(count * (num_classes + 1));
        let logits = row.split_off(count);
        Self { loss: row, logits, targets }
    }

    fn output<B: Backend>(self, num_classes: usize, device: &B::Device) -> ClassificationOutput<B> {
        let count = self.loss.len();
        let targets: Vec<i64> = self.targets.into_iter().map(|class| class as i64).collect();
        let logits = TensorData::new(self.logits, [count, num_classes]);
        ClassificationOutput::new(
            Tensor::from_data(TensorData::new(self.loss, [count]), device),
            Tensor::from_data(logits, device),
            Tensor::<B, 1, Int>::from_data(TensorData::new(targets, [count]), device),
        )
    }
}

/// One rank's part in the steps of a training.
struct Stepper {
    ranks: Arc<dyn Ranks>,
    /// Batches of each rank that make a step.
    accumulation: usize,
    num_classes: usize,
}

impl Stepper {
    /// The training part of an epoch. Rank 0 is shown the batches of all ranks, in the order of the epoch, each with
    /// its number from 1 and the learning rate.
    fn epoch<
        B: AutodiffBackend,
        N: TrainableNetwork<B>,
        O: Optimizer<Classifier<B, N>, B> + 'static,
    >(
        &self,
        learner: &mut Learner<Components<B, N, O>>,
        loader: &TrainLoader<Components<B, N, O>>,
        wants_stop: impl Fn() -> bool,
        mut show: impl FnMut(usize, Shown, f64),
    ) -> Ended {
        let mut accumulator = GradientsAccumulator::new();
        let (mut waiting, mut batches) = (0, 0);
        for batch in loader.iter() {
            // As one process that accumulates goes on by a step for each of its batches.
            (0..self.ranks.count()).for_each(|_| learner.lr_step());
            let TrainOutput { grads, item } = learner.train_step(batch);
            let shown = self.ranks.gather(Shown::row(item)).unwrap_or_default();
            for (row, number) in shown.into_iter().zip(batches + 1..) {
                show(number, Shown::of_row(row, self.num_classes), learner.lr_current());
            }
            batches += self.ranks.count();
            accumulator.accumulate(&learner.model(), grads);
            waiting += 1;
            if waiting < self.accumulation {
                continue;
            }
            waiting = 0;
            match self.sum(&learner.model(), accumulator.grads(), wants_stop()) {
                Ok(gradients) => learner.optimizer_step(gradients),
                Err(ended) => return ended,
            }
        }
        Ended::Whole
    }

    /// The sum of the gradients of all ranks, which is their mean, since each took its share of the loss; or why
    /// there is to be no step.
    fn sum<B: AutodiffBackend, N: TrainableNetwork<B>>(
        &self,
        classifier: &Classifier<B, N>,
        own: GradientsParams,
        wants_stop: bool,
    ) -> Result<GradientsParams, Ended> {
        // One exchange for all: the word of those who want to stop travels in front.
        let mut values = vec![f32::from(u8::from(wants_stop))];
        push_gradients(classifier, &own, &mut values);
        self.ranks.sum(&mut values);
        match &values[..] {
            [stops, ..] if *stops > 0.0 => Err(Ended::Stopped),
            [_, sums @ ..] if sums.iter().all(|value| value.is_finite()) => {
                Ok(gradients_of(classifier, sums))
            }
            _ => Err(Ended::Diverged),
        }
    }

    /// Gives all ranks the mean of their running statistics.
    fn average_statistics<B: AutodiffBackend, N: TrainableNetwork<B>, O>(
        &self,
        learner: &mut Learner<Components<B, N, O>>,
    ) where
        O: Optimizer<Classifier<B, N>, B> + 'static,
    {
        let model = learner.model();
        // Burn keeps the last update of running statistics back until a network without gradients is made.
        drop(model.valid());
        let mean = self.ranks.gather(statistics(&model)).map(|all| {
            // In 64 bits: what is the same on all ranks, as frozen statistics are, stays so bit by bit.
            let mean = |place| {
                let sum: f64 = all.iter().map(|values| f64::from(values[place])).sum();
                (sum / all.len() as f64) as f32
            };
            bytes_of((0..all[0].len()).map(mean))
        });
        let mean = values_of(&self.ranks.broadcast(mean));
        learner.load_model(with_statistics(model, &mean).into_record());
    }
}

/// How Burn's Learner trains on rank 0.
pub(super) struct Lead<B: AutodiffBackend, N> {
    stepper: Stepper,
    device: B::Device,
    /// Told where the training is lost.
    diverge: Box<dyn Fn(Divergence)>,
    network: PhantomData<fn() -> N>,
}

impl<B: AutodiffBackend, N> Lead<B, N> {
    pub(super) fn new(
        ranks: Arc<dyn Ranks>,
        accumulation: usize,
        num_classes: usize,
        device: &B::Device,
    ) -> Self {
        let stepper = Stepper { ranks, accumulation, num_classes };
        Self { stepper, device: device.clone(), diverge: Box::new(|_| ()), network: PhantomData }
    }

    pub(super) fn with_recorder(self, recorder: HistoryRecorder) -> Self {
        Self { diverge: Box::new(move |place| recorder.diverge(place)), ..self }
    }
}

impl<B, N, O> SupervisedLearningStrategy<Components<B, N, O>> for Lead<B, N>
where
    B: AutodiffBackend,
    N: TrainableNetwork<B>,
    O: Optimizer<Classifier<B, N>, B> + 'static,
{
    fn fit(
        &self,
        parts: TrainingComponents<Components<B, N, O>>,
        mut learner: Learner<Components<B, N, O>>,
        train: TrainLoader<Components<B, N, O>>,
        valid: ValidLoader<Components<B, N, O>>,
        first: usize,
    ) -> (Classifier<B, N>, SupervisedTrainingEventProcessor<Components<B, N, O>>) {
        let TrainingComponents {
            num_epochs,
            interrupter,
            mut checkpointer,
            mut early_stopping,
            event_processor: mut events,
            event_store: store,
            ..
        } = parts;
        learner.fork(&self.device);
        let num_classes = self.stepper.num_classes;
        let all = train.num_items() * self.stepper.ranks.count();
        for epoch in first..=num_epochs {
            let epochs = Progress::new(epoch, num_epochs);
            let (mut seen, mut last, mut diverged) = (0, 0, None);
            let show = |number: usize, shown: Shown, rate: f64| {
                (seen, last) = (seen + shown.loss.len(), number);
                if shown.loss.iter().any(|loss| !loss.is_finite()) {
                    diverged.get_or_insert(number);
                }
                let progress = Progress::new(seen, all.max(seen));
                let item = shown.output(num_classes, &self.device);
                let item =
                    TrainingItem::new(item, progress, epochs.clone(), Some(number), Some(rate));
                events.process_train(LearnerEvent::ProcessedItem(item));
            };
            let stops = || interrupter.should_stop();
            let ended = self.stepper.epoch(&mut learner, &train, stops, show);
            events.process_train(LearnerEvent::EndEpoch(epoch));
            match ended {
                Ended::Whole => {}
                Ended::Stopped => break,
                Ended::Diverged => {
                    // Without a loss that is not finite it is a gradient, of any batch of the step.
                    let step = diverged.unwrap_or(last);
                    (self.diverge)(Divergence { epoch, step, in_validation: false });
                    interrupter.stop(Some("the loss is not finite"));
                    break;
                }
            }
            self.stepper.average_statistics(&mut learner);
            let mut goes_on = !interrupter.should_stop();
            if goes_on {
                validate(&learner, &valid, &epochs, &mut events, &interrupter);
                if let Some(checkpointer) = &mut checkpointer {
                    checkpointer.checkpoint(&learner, epoch, &store);
                }
                let is_over =
                    early_stopping.as_mut().is_some_and(|stop| stop.should_stop(epoch, &store));
                goes_on = !is_over && epoch < num_epochs && !interrupter.should_stop();
            }
            // What it tells, it can write.
            let told =
                Team::new(Some(self.stepper.ranks.clone())).tell(Ok::<_, RanksError>(goes_on));
            if !told.is_ok_and(|goes_on| goes_on) {
                break;
            }
        }
        (learner.model(), events)
    }
}

/// As Burn's own strategies validate.
fn validate<B, N, O>(
    learner: &Learner<Components<B, N, O>>,
    loader: &ValidLoader<Components<B, N, O>>,
    epochs: &Progress,
    events: &mut SupervisedTrainingEventProcessor<Components<B, N, O>>,
    interrupter: &Interrupter,
) where
    B: AutodiffBackend,
    N: TrainableNetwork<B>,
    O: Optimizer<Classifier<B, N>, B> + 'static,
{
    let model = learner.model().valid();
    let mut batches = loader.iter();
    let mut number = 0;
    while let Some(batch) = batches.next() {
        number += 1;
        let (item, progress) = (model.step(batch), batches.progress());
        let item = TrainingItem::new(item, progress, epochs.clone(), Some(number), None);
        events.process_valid(LearnerEvent::ProcessedItem(item));
        if interrupter.should_stop() {
            break;
        }
    }
    events.process_valid(LearnerEvent::EndEpoch(epochs.items_processed));
}

/// The training of a rank that follows: it makes its steps, and is told when to end.
pub(super) fn follow<B, N, O>(
    ranks: Arc<dyn Ranks>,
    accumulation: usize,
    num_classes: usize,
    mut learner: Learner<Components<B, N, O>>,
    loader: &TrainLoader<Components<B, N, O>>,
) -> Result<(), RanksError>
where
    B: AutodiffBackend,
    N: TrainableNetwork<B>,
    O: Optimizer<Classifier<B, N>, B> + 'static,
{
    let team = Team::new(Some(ranks.clone()));
    let stepper = Stepper { ranks, accumulation, num_classes };
    loop {
        let ended = stepper.epoch(&mut learner, loader, || false, |_, _, _| {});
        if ended != Ended::Whole {
            return Ok(());
        }
        stepper.average_statistics(&mut learner);
        if !team.hear::<bool>()? {
            return Ok(());
        }
    }
}

/// The checkpoint of an epoch, as rank 0 reads it, in the learner of a rank that follows: no folder need be shared.
pub(super) fn load_checkpoint<B, N, O>(
    team: &Team,
    folder: &std::path::Path,
    epoch: usize,
    mut learner: Learner<Components<B, N, O>>,
    device: &B::Device,
) -> Result<Learner<Components<B, N, O>>, TrainError>
where
    B: AutodiffBackend,
    N: TrainableNetwork<B>,
    O: Optimizer<Classifier<B, N>, B> + 'static,
{
    fn part<B: Backend, R: Record<B>>(
        team: &Team,
        folder: &std::path::Path,
        part: &str,
        epoch: usize,
        device: &B::Device,
    ) -> Result<Option<R>, TrainError> {
        let bytes = team.share(|| checked_bytes(folder, part, epoch))?;
        if team.leads() {
            // Burn's Learner reads the files.
            return Ok(None);
        }
        let recorder = NamedMpkBytesRecorder::<FullPrecisionSettings>::new();
        let read = Recorder::<B>::load(&recorder, bytes, device);
        Ok(Some(read.map_err(|error| RanksError::Message(error.to_string()))?))
    }

    if let Some(record) = part::<B, _>(team, folder, MODEL, epoch, device)? {
        learner.load_model(record);
    }
    if let Some(record) = part::<B, _>(team, folder, OPTIMIZER, epoch, device)? {
        learner.load_optim(record);
    }
    if let Some(record) = part::<B, _>(team, folder, SCHEDULER, epoch, device)? {
        learner.load_scheduler(record);
    }
    Ok(learner)
}
