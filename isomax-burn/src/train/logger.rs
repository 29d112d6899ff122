use std::collections::HashMap;
use std::path::Path;

use burn::train::logger::{FileMetricLogger, MetricLogger};
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};

use super::mean::WeightedMean;

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
    first_epoch: usize,
    names: HashMap<MetricId, String>,
    means: HashMap<(Split, usize, String), WeightedMean>,
}

impl SyncMetricLogger {
    /// Logs into this directory, the one of the training.
    pub fn new(directory: impl AsRef<Path>) -> Self {
        Self {
            files: FileMetricLogger::new(directory),
            first_epoch: 1,
            names: HashMap::new(),
            means: HashMap::new(),
        }
    }

    /// Goes on after this epoch, the one given to
    /// [`SupervisedTraining::checkpoint`](burn::train::SupervisedTraining::checkpoint).
    pub fn resuming_after(mut self, epoch: usize) -> Self {
        self.first_epoch = epoch + 1;
        self
    }
}

impl MetricLogger for SyncMetricLogger {
    fn log(&mut self, update: MetricsUpdate, epoch: usize, split: &Split) {
        // Burn's event store starts at 1 whatever epoch it is; after that it knows the number.
        let epoch = epoch.max(self.first_epoch);
        let numeric = update.entries_numeric.iter().map(|numeric| &numeric.entry);
        for entry in update.entries.iter().chain(numeric) {
            let value = NumericEntry::deserialize(&entry.serialized_entry.serialized);
            if let (Some(name), Ok(value)) = (self.names.get(&entry.metric_id), value) {
                self.means.entry((split.clone(), epoch, name.clone())).or_default().push(&value);
            }
        }
        self.files.log(update, epoch, split);
    }

    fn read_numeric(
        &mut self,
        name: &str,
        epoch: usize,
        split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        if epoch < self.first_epoch {
            return self.files.read_numeric(name, epoch, split);
        }
        let mean = self.means.get(&(split.clone(), epoch, name.to_owned()));
        Ok(mean.and_then(|mean| mean.entry()).into_iter().collect())
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.names.insert(definition.metric_id.clone(), definition.name.clone());
        self.files.log_metric_definition(definition);
    }

    fn log_epoch_summary(&mut self, summary: EpochSummary) {
        self.files.log_epoch_summary(summary);
    }
}
