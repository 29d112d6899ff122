//! Samples that are kept as they are: a few of each class.

use std::collections::BinaryHeap;

use crate::random::mix;

/// How many samples are kept, and which.
///
/// ```
/// use isomax_burn::posthoc::BankConfig;
///
/// assert_eq!(BankConfig::new().rows, 50_000);
/// assert_eq!(BankConfig::new().with_rows(1_000).with_seed(7).seed, 7);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BankConfig {
    /// How many at most (default: 50,000, all images of CIFAR). Classes share them evenly, and those that have fewer
    /// samples leave the rest to the others.
    pub rows: usize,
    /// Picks among more samples.
    pub seed: u64,
}

impl Default for BankConfig {
    fn default() -> Self {
        Self { rows: 50_000, seed: 0 }
    }
}

impl BankConfig {
    /// 50,000 samples.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps all samples: memory then grows with them.
    pub fn all() -> Self {
        Self { rows: usize::MAX, ..Self::default() }
    }

    /// Keeps so many samples.
    pub fn with_rows(mut self, rows: usize) -> Self {
        self.rows = rows;
        self
    }

    /// Picks others.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// A sample with a number that the seed and its values give. Those with the smallest numbers are kept, so that
/// neither batches nor the order of samples decide, and banks can be joined.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    priority: u64,
    row: Box<[f32]>,
}

impl Eq for Entry {}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        let by_row = || self.row.iter().zip(&other.row).map(|(a, b)| a.total_cmp(b));
        self.priority
            .cmp(&other.priority)
            .then_with(|| by_row().find(|o| o.is_ne()).unwrap_or(core::cmp::Ordering::Equal))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The samples that are kept.
#[derive(Debug, Clone)]
pub(super) struct Bank {
    config: BankConfig,
    /// Of each class, the one with the largest number on top.
    classes: Vec<BinaryHeap<Entry>>,
    len: usize,
}

impl Bank {
    pub(super) fn new(config: BankConfig, num_classes: usize) -> Self {
        Self { config, classes: vec![BinaryHeap::new(); num_classes], len: 0 }
    }

    pub(super) fn config(&self) -> BankConfig {
        self.config
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn update(&mut self, row: &[f64], class: usize) {
        // Zeros have a sign that must not count.
        let row: Box<[f32]> = row.iter().map(|value| *value as f32 + 0.0).collect();
        let priority = row
            .iter()
            .fold(mix(self.config.seed), |hash, value| mix(hash ^ u64::from(value.to_bits())));
        self.insert(Entry { priority, row }, class);
    }

    pub(super) fn absorb(&mut self, other: Self) {
        for (class, entries) in other.classes.into_iter().enumerate() {
            entries.into_iter().for_each(|entry| self.insert(entry, class));
        }
    }

    fn insert(&mut self, entry: Entry, class: usize) {
        self.classes[class].push(entry);
        self.len += 1;
        if self.len > self.config.rows {
            // The fullest class gives one away; of equal ones the last, so that counts alone decide.
            let fullest = self.classes.iter_mut().max_by_key(|entries| entries.len());
            fullest.and_then(BinaryHeap::pop);
            self.len -= 1;
        }
    }

    /// Class by class, in the order of their numbers: the class of each, and how many samples it stands for.
    pub(super) fn rows(&self) -> impl Iterator<Item = (usize, Vec<&[f32]>)> {
        self.classes.iter().enumerate().map(|(class, entries)| {
            let mut entries: Vec<&Entry> = entries.iter().collect();
            entries.sort();
            (class, entries.into_iter().map(|entry| &*entry.row).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(config: BankConfig, rows: &[(f64, usize)]) -> Bank {
        let mut bank = Bank::new(config, 4);
        rows.iter().for_each(|&(value, class)| bank.update(&[value, -value], class));
        bank
    }

    fn kept(bank: &Bank) -> Vec<(usize, Vec<Vec<f32>>)> {
        bank.rows()
            .map(|(class, rows)| (class, rows.iter().map(|row| row.to_vec()).collect()))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_same_rows_stay_in_any_order_and_classes_share_evenly(
            values in prop::collection::vec((-9.0..9.0_f64, 0_usize..4), 1..80),
            rows in 1_usize..40,
            seed: u64,
            cut in 0_usize..80,
        ) {
            let config = BankConfig::new().with_rows(rows).with_seed(seed);
            let bank = of(config, &values);
            prop_assert_eq!(bank.len(), values.len().min(rows));

            let reversed: Vec<_> = values.iter().rev().copied().collect();
            prop_assert_eq!(kept(&of(config, &reversed)), kept(&bank));
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = of(config, left);
            merged.absorb(of(config, right));
            prop_assert_eq!(kept(&merged), kept(&bank));

            // A class that gives samples away has no fewer than any other, but for one.
            let count = |class: usize| values.iter().filter(|(_, of)| *of == class).count();
            let sizes: Vec<usize> = kept(&bank).iter().map(|(_, rows)| rows.len()).collect();
            let largest = sizes.iter().copied().max().unwrap_or_default();
            for (class, &size) in sizes.iter().enumerate() {
                prop_assert!(size == count(class) || size + 1 >= largest, "{:?}", sizes);
            }
        }
    }

    #[test]
    fn the_seed_picks() {
        let rows: Vec<(f64, usize)> = (0..100).map(|i| (f64::from(i), 0)).collect();
        let pick = |seed| kept(&of(BankConfig::new().with_rows(10).with_seed(seed), &rows));
        assert_eq!(pick(1), pick(1));
        assert_ne!(pick(1), pick(2));
    }
}
