use std::collections::HashMap;
use std::path::Path;

use burn::train::logger::{FileMetricLogger, MetricLogger};
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};

use super::mean::WeightedMean;

/// Burn's [`FileMetricLogger`], whose reads see every write.
///
/// The file logger writes in the background, and reads files: a best epoch that is asked for right
/// after an epoch may be chosen without its last batches. This one writes the same files, and
/// answers from memory for the epochs of this run, from the files for those of an earlier run
/// that is resumed. It keeps one number for each metric and epoch.
pub struct SyncMetricLogger {
    files: FileMetricLogger,
    names: HashMap<MetricId, String>,
    means: HashMap<(Split, usize, String), WeightedMean>,
}

impl SyncMetricLogger {
    /// Logs into this directory, the one of the training.
    pub fn new(directory: impl AsRef<Path>) -> Self {
        Self {
            files: FileMetricLogger::new(directory),
            names: HashMap::new(),
            means: HashMap::new(),
        }
    }
}

impl MetricLogger for SyncMetricLogger {
    fn log(&mut self, update: MetricsUpdate, epoch: usize, split: &Split) {
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
        match self.means.get(&(split.clone(), epoch, name.to_owned())) {
            Some(mean) => Ok(mean.entry().into_iter().collect()),
            None => self.files.read_numeric(name, epoch, split),
        }
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.names.insert(definition.metric_id.clone(), definition.name.clone());
        self.files.log_metric_definition(definition);
    }

    fn log_epoch_summary(&mut self, summary: EpochSummary) {
        self.files.log_epoch_summary(summary);
    }
}
