use std::collections::HashMap;
use std::path::Path;

use burn::train::logger::{FileMetricLogger, MetricLogger};
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricAttributes, MetricDefinition, NumericEntry};

use super::{EpochMeans, WeightedMean};

/// Burn's [`FileMetricLogger`], whose reads see every write.
///
/// The file logger writes in the background, and reads files: a best epoch that is asked for right
/// after an epoch may be chosen without its last batches, or among those of an older run that used
/// the same directory. This one writes the same files and answers from memory, with one number for
/// each metric and epoch.
///
/// A metric has no value in an epoch in which its set was not
/// [due](super::OodDataLoader::every). Burn's strategies take the first such epoch for the last one
/// there is, and would then delete the best checkpoint. So of the epoch under way this logger says
/// that there is no value, which early stopping passes over, and of earlier ones that the value was
/// worse than any other, which keeps them from being the best.
///
/// A resumed training is to say so with [`resuming_after`](Self::resuming_after): the epochs before
/// are then read from their files, and the first new one is logged under its own number, where Burn
/// counts it as epoch 1 again.
///
/// ```
/// use burn::train::{LearningComponentsTypes, SupervisedTraining};
/// use isomax_burn::train::SyncMetricLogger;
///
/// fn resume<LC: LearningComponentsTypes>(
///     training: SupervisedTraining<LC>,
///     directory: &str,
/// ) -> SupervisedTraining<LC> {
///     let logger = SyncMetricLogger::new(directory).resuming_after(12);
///     training.with_metric_logger(logger).checkpoint(12)
/// }
/// ```
pub struct SyncMetricLogger {
    files: FileMetricLogger,
    means: EpochMeans,
    /// By the names of the metrics.
    higher_is_better: HashMap<String, bool>,
}

/// A value worse than any other, yet above the smallest number that Burn starts from.
const WORST: f64 = 1e300;

impl SyncMetricLogger {
    /// Logs into this directory, the one of the training.
    pub fn new(directory: impl AsRef<Path>) -> Self {
        Self {
            files: FileMetricLogger::new(directory),
            means: EpochMeans::default(),
            higher_is_better: HashMap::new(),
        }
    }

    /// For a training that is resumed after this epoch, the one given to
    /// [`SupervisedTraining::checkpoint`](burn::train::SupervisedTraining::checkpoint).
    pub fn resuming_after(mut self, epoch: usize) -> Self {
        self.means = EpochMeans::after(epoch);
        self
    }
}

impl MetricLogger for SyncMetricLogger {
    fn log(&mut self, update: MetricsUpdate, epoch: usize, split: &Split) {
        self.means.log(&update, epoch, split);
        self.files.log(update, self.means.number(epoch), split);
    }

    fn read_numeric(
        &mut self,
        name: &str,
        epoch: usize,
        split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        let entries = match self.means.is_past(epoch) {
            true => self.files.read_numeric(name, epoch, split)?,
            false => self.means.entries(name, epoch, split),
        };
        let mut mean = WeightedMean::default();
        entries.iter().for_each(|entry| mean.push(entry));
        if mean.count() > 0 {
            return Ok(entries);
        }
        let is_over = epoch < self.means.latest(split) && self.means.knows(name, split);
        let worst = self.higher_is_better.get(name).filter(|_| is_over);
        let value = |higher: &bool| if *higher { -WORST } else { WORST };
        Ok(worst.map(value).map(NumericEntry::Value).into_iter().collect())
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.means.define(&definition);
        if let MetricAttributes::Numeric(attributes) = &definition.attributes {
            self.higher_is_better.insert(definition.name.clone(), attributes.higher_is_better);
        }
        self.files.log_metric_definition(definition);
    }

    fn log_epoch_summary(&mut self, summary: EpochSummary) {
        self.files.log_epoch_summary(summary);
    }
}
