//! Notes what the Learner measures, epoch by epoch.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};
use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{
    Adaptor, Metric, MetricDefinition, MetricMetadata, MetricName, NumericEntry, SerializedEntry,
};
use burn::train::{ClassificationOutput, Interrupter};
use isomax_burn::train::{EpochMeans, OodOutput, WeightedMean};
use isomax_burn::{LogitStatistics, Moments};
use serde::{Deserialize, Serialize};

use crate::results::{Epoch, History};

/// The values of a training, shared by the logger and the metrics that gather them and by the
/// checkpoints that save them.
#[derive(Clone)]
pub(super) struct HistoryRecorder(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    logged: Condvar,
}

struct State {
    history: History,
    num_classes: usize,
    /// Images of a validation: an epoch is complete when the loss of all of them is logged.
    valid_images: usize,
    means: EpochMeans,
    statistics: HashMap<(Split, usize), LogitStatistics>,
    learning_rates: HashMap<usize, f64>,
    diverged: Option<Divergence>,
    /// How many processes train.
    ranks: usize,
}

/// Where a training was lost: a part of [`TrainError::Diverged`](super::TrainError::Diverged), which
/// prints it, such as `epoch 3, step 17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// The epoch.
    pub epoch: usize,
    /// The batch of the epoch, from 1.
    pub step: usize,
    /// Whether it is one of the validation: the last step of the training was the one too many.
    pub in_validation: bool,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, step, in_validation } = self;
        let which = if *in_validation { "validation step" } else { "step" };
        write!(f, "epoch {epoch}, {which} {step}")
    }
}

impl HistoryRecorder {
    /// Goes on after the epochs that there are.
    pub(super) fn new(
        history: History,
        num_classes: usize,
        valid_images: usize,
        ranks: usize,
    ) -> Self {
        let means = EpochMeans::after(history.epochs.len());
        let state = State {
            history,
            num_classes,
            valid_images,
            means,
            statistics: HashMap::new(),
            learning_rates: HashMap::new(),
            diverged: None,
            ranks,
        };
        Self(Arc::new(Shared { state: Mutex::new(state), logged: Condvar::new() }))
    }

    pub(super) fn logger(&self) -> HistoryLogger {
        HistoryLogger(self.clone())
    }

    pub(super) fn metric(&self, split: Split, interrupter: Interrupter) -> StatisticsMetric {
        StatisticsMetric { recorder: self.clone(), split, interrupter }
    }

    pub(super) fn diverged(&self) -> Option<Divergence> {
        self.state().diverged
    }

    /// Notes that the training is lost, unless it was before.
    pub(super) fn diverge(&self, place: Divergence) {
        self.state().diverged.get_or_insert(place);
    }

    pub(super) fn history(&self) -> History {
        self.state().history.clone()
    }

    /// Puts the values of an epoch that has ended into the history. Burn computes and logs them in
    /// threads of its own, which may be behind: what is missing is waited for as long as it comes.
    pub(super) fn finish(&self, epoch: usize) -> Result<History, String> {
        let mut state = self.state();
        loop {
            let seen = state.validated(epoch);
            let all = state.valid_images;
            if seen >= all {
                break;
            }
            let stands_still = |state: &mut State| state.validated(epoch) == seen;
            let waiting = self.0.logged.wait_timeout_while(state, PATIENCE, stands_still);
            let (next, result) = waiting.unwrap_or_else(PoisonError::into_inner);
            if result.timed_out() {
                return Err(format!(
                    "the metrics of epoch {epoch} cover {seen} of {all} validation images, and no \
                     more after {PATIENCE:?}"
                ));
            }
            state = next;
        }
        let train = state.values(Split::Train, epoch);
        let valid = state.values(Split::Valid, epoch);
        let learning_rate = state.learning_rates.remove(&epoch).unwrap_or_default();
        let ranks = state.ranks;
        state.history.epochs.push(Epoch { epoch, ranks, learning_rate, train, valid });
        Ok(state.history.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the end of an epoch waits for the next metrics: a step of a slow device.
const PATIENCE: Duration = Duration::from_secs(600);

impl State {
    /// Validation images of an epoch whose loss is logged, and with it, in one update, all else.
    fn validated(&self, epoch: usize) -> usize {
        self.means.mean("Loss", epoch, &Split::Valid).map_or(0, WeightedMean::count)
    }

    fn values(&mut self, split: Split, epoch: usize) -> BTreeMap<String, f64> {
        let mut values = BTreeMap::new();
        for (name, mean) in self.means.take(epoch, &split) {
            // Burn's own metrics bear capitals; those of OOD sets are named after the set.
            let name = match name.as_str() {
                "Loss" | "Accuracy" => name.to_lowercase(),
                _ => name,
            };
            values.extend(mean.value().map(|value| (name, value)));
        }
        if let Some(statistics) = self.statistics.remove(&(split, epoch)) {
            let per_class = (self.num_classes as f64).ln();
            let mut note = |name: &str, moments: Moments, unit: f64| {
                values.extend(moments.mean().map(|mean| (format!("{name}_mean"), mean / unit)));
                values.extend(moments.std().map(|std| (format!("{name}_std"), std / unit)));
            };
            note("intra_logits", statistics.intra(), 1.0);
            note("inter_logits", statistics.inter(), 1.0);
            note("max_probs", statistics.max_probability(), 1.0);
            note("entropies", statistics.entropy(), per_class);
        }
        values.retain(|_, value| value.is_finite());
        values
    }
}

/// Takes the numeric entries of Burn's metrics in.
pub(super) struct HistoryLogger(HistoryRecorder);

impl MetricLogger for HistoryLogger {
    fn log(&mut self, update: MetricsUpdate, epoch: usize, split: &Split) {
        let Self(recorder) = self;
        recorder.state().means.log(&update, epoch, split);
        recorder.0.logged.notify_all();
    }

    fn read_numeric(
        &mut self,
        name: &str,
        epoch: usize,
        split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        Ok(self.0.state().means.entries(name, epoch, split))
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.0.state().means.define(&definition);
    }

    fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
}

/// What a [`StatisticsMetric`] reads.
pub(super) struct StatisticsInput<B: Backend> {
    loss: Tensor<B, 1>,
    logits: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
}

impl<B: Backend> Adaptor<StatisticsInput<B>> for ClassificationOutput<B> {
    fn adapt(&self) -> StatisticsInput<B> {
        StatisticsInput {
            loss: self.loss.clone(),
            logits: self.output.clone(),
            targets: self.targets.clone(),
        }
    }
}

impl<B: Backend> Adaptor<StatisticsInput<B>> for OodOutput<B> {
    fn adapt(&self) -> StatisticsInput<B> {
        self.id().adapt()
    }
}

/// Gathers what the published experiments log beside loss and accuracy, and stops a training whose
/// loss is no longer a number.
#[derive(Clone)]
pub(super) struct StatisticsMetric {
    recorder: HistoryRecorder,
    split: Split,
    interrupter: Interrupter,
}

impl Metric for StatisticsMetric {
    type Input = StatisticsInput<burn::backend::Flex>;

    fn name(&self) -> MetricName {
        Arc::new("Logits".to_owned())
    }

    fn update(&mut self, input: &Self::Input, metadata: &MetricMetadata) -> SerializedEntry {
        let epoch = metadata.global_progress.items_processed;
        let mut state = self.recorder.state();
        let loss = input.loss.clone().sum().into_scalar();
        if !loss.is_finite() {
            let step = metadata.iteration.unwrap_or_default();
            let in_validation = self.split == Split::Valid;
            state.diverged.get_or_insert(Divergence { epoch, step, in_validation });
            self.interrupter.stop(Some("the loss is not finite"));
        }
        if let Some(rate) = metadata.lr {
            state.learning_rates.insert(epoch, rate);
        }
        let num_classes = state.num_classes;
        let statistics = state.statistics.entry((self.split.clone(), epoch));
        let statistics = statistics.or_insert_with(|| LogitStatistics::new(num_classes));
        if input.targets.dims()[0] > 0 {
            statistics.update(input.logits.clone(), input.targets.clone());
        }
        let shown = |moments: Moments| moments.mean().unwrap_or_default();
        let (intra, inter) = (shown(statistics.intra()), shown(statistics.inter()));
        let text = format!("true class {intra:.3}, others {inter:.3}");
        SerializedEntry::new(text.clone(), text)
    }

    fn clear(&mut self) {}
}
