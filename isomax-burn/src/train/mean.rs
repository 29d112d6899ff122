use burn::train::metric::NumericEntry;

/// The mean that Burn takes of the entries of an epoch, each weighted with its count.
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
