use std::path::Path;

use burn::train::logger::{FileMetricLogger, MetricLogger};
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, NumericEntry};

use super::EpochMeans;

/// Burn's [`FileMetricLogger`], whose reads see every write.
///
/// The file logger writes in the background, and reads files: a best epoch that is asked for right
/// after an epoch may be chosen without its last batches, or among those of an older run that used
/// the same directory. This one writes the same files and answers from memory, with one number for
/// each metric and epoch.
///
/// A resumed training is to say so with [`resuming_after`](Self::resuming_after): the epochs before
/// are then read from their files, and the first new one is logged under its own number, where Burn
/// counts it as epoch 1 again.
pub struct SyncMetricLogger {
    files: FileMetricLogger,
    means: EpochMeans,
}

impl SyncMetricLogger {
    /// Logs into this directory, the one of the training.
    pub fn new(directory: impl AsRef<Path>) -> Self {
        Self { files: FileMetricLogger::new(directory), means: EpochMeans::default() }
    }

    /// Goes on after this epoch, the one given to
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
        match self.means.is_past(epoch) {
            true => self.files.read_numeric(name, epoch, split),
            false => Ok(self.means.entries(name, epoch, split)),
        }
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.means.define(&definition);
        self.files.log_metric_definition(definition);
    }

    fn log_epoch_summary(&mut self, summary: EpochSummary) {
        self.files.log_epoch_summary(summary);
    }
}
