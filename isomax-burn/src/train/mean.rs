use std::collections::{BTreeMap, HashMap};

use burn::train::metric::store::{MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};

/// The mean that Burn takes of the entries of an epoch, each weighted with its count.
///
/// ```
/// use burn::train::metric::NumericEntry;
/// use isomax_burn::train::WeightedMean;
///
/// let mut mean = WeightedMean::default();
/// mean.push(&NumericEntry::Value(1.0));
/// mean.push(&NumericEntry::Aggregated { aggregated_value: 2.0, count: 3 });
/// assert_eq!((mean.value(), mean.count()), (Some(1.75), 4));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct WeightedMean {
    sum: f64,
    count: usize,
}

impl WeightedMean {
    /// Takes an entry in.
    pub fn push(&mut self, entry: &NumericEntry) {
        let (value, count) = match *entry {
            NumericEntry::Value(value) => (value, 1),
            NumericEntry::Aggregated { aggregated_value, count } => (aggregated_value, count),
        };
        self.sum += value * count as f64;
        self.count += count;
    }

    /// The sum of the weights: of most metrics the number of samples.
    pub fn count(self) -> usize {
        self.count
    }

    /// The mean, if any entry had a weight.
    pub fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// One entry that stands for all.
    pub fn entry(self) -> Option<NumericEntry> {
        let aggregated_value = self.value()?;
        Some(NumericEntry::Aggregated { aggregated_value, count: self.count })
    }
}

/// What a [`MetricLogger`](burn::train::logger::MetricLogger) is told, as one mean for each metric,
/// split and epoch: for loggers of your own.
///
/// ```
/// use burn::train::logger::MetricLogger;
/// use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
/// use burn::train::metric::{MetricDefinition, NumericEntry};
/// use isomax_burn::train::EpochMeans;
///
/// /// Keeps all values in memory and writes no files.
/// #[derive(Default)]
/// struct InMemory(EpochMeans);
///
/// impl MetricLogger for InMemory {
///     fn log(&mut self, update: MetricsUpdate, epoch: usize, split: &Split) {
///         self.0.log(&update, epoch, split);
///     }
///
///     fn read_numeric(
///         &mut self,
///         name: &str,
///         epoch: usize,
///         split: &Split,
///     ) -> Result<Vec<NumericEntry>, String> {
///         Ok(self.0.entries(name, epoch, split))
///     }
///
///     fn log_metric_definition(&mut self, definition: MetricDefinition) {
///         self.0.define(&definition);
///     }
///
///     fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
/// }
/// ```
#[derive(Debug, Default)]
pub struct EpochMeans {
    /// The epoch that the training goes on after.
    after: usize,
    names: HashMap<MetricId, String>,
    means: HashMap<(Split, usize), BTreeMap<String, WeightedMean>>,
}

impl EpochMeans {
    /// For a training that is resumed after this epoch; 0 for a new one.
    pub fn after(epoch: usize) -> Self {
        Self { after: epoch, ..Self::default() }
    }

    /// Whether the epoch lies before the training that is logged here.
    pub fn is_past(&self, epoch: usize) -> bool {
        epoch <= self.after
    }

    /// The number of an epoch as Burn's event store gives it: it starts at 1 whatever epoch it is,
    /// and knows the number after that.
    pub fn number(&self, epoch: usize) -> usize {
        epoch.max(self.after + 1)
    }

    /// Whether the metric belongs to this split: whether anything, with or without weight, was logged
    /// of it.
    pub fn knows(&self, name: &str, split: &Split) -> bool {
        self.means.iter().any(|((of, _), means)| of == split && means.contains_key(name))
    }

    /// The last epoch that has begun.
    pub fn latest(&self, split: &Split) -> usize {
        let epochs = self.means.keys().filter(|(of, _)| of == split).map(|(_, epoch)| *epoch);
        epochs.max().unwrap_or(self.after)
    }

    /// Learns the name of a metric, before its values come.
    pub fn define(&mut self, definition: &MetricDefinition) {
        self.names.insert(definition.metric_id.clone(), definition.name.clone());
    }

    /// Takes values in; what is no number, or of no known metric, is left out.
    pub fn log(&mut self, update: &MetricsUpdate, epoch: usize, split: &Split) {
        let epoch = self.number(epoch);
        let numeric = update.entries_numeric.iter().map(|numeric| &numeric.entry);
        for entry in update.entries.iter().chain(numeric) {
            let value = NumericEntry::deserialize(&entry.serialized_entry.serialized);
            if let (Some(name), Ok(value)) = (self.names.get(&entry.metric_id), value) {
                let means = self.means.entry((split.clone(), epoch)).or_default();
                means.entry(name.clone()).or_default().push(&value);
            }
        }
    }

    /// The mean of a metric, if there is any value.
    pub fn mean(&self, name: &str, epoch: usize, split: &Split) -> Option<WeightedMean> {
        self.means.get(&(split.clone(), epoch))?.get(name).copied()
    }

    /// The mean as an entry, which a logger answers [`read_numeric`] with.
    ///
    /// [`read_numeric`]: burn::train::logger::MetricLogger::read_numeric
    pub fn entries(&self, name: &str, epoch: usize, split: &Split) -> Vec<NumericEntry> {
        self.mean(name, epoch, split).and_then(WeightedMean::entry).into_iter().collect()
    }

    /// Takes all means of an epoch out, by the names of their metrics.
    pub fn take(&mut self, epoch: usize, split: &Split) -> BTreeMap<String, WeightedMean> {
        self.means.remove(&(split.clone(), epoch)).unwrap_or_default()
    }
}
