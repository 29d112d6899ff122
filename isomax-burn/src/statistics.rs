//! Statistics of logits over an epoch, in constant memory: how far classes lie apart.

use burn::tensor::{Int, Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// Mean and spread of a stream of numbers (Welford's algorithm, in `f64`).
///
/// ```
/// use isomax_burn::Moments;
///
/// let mut moments: Moments = [1.0, 2.0].into_iter().collect();
/// moments.push(3.0);
/// assert_eq!((moments.mean(), moments.std()), (Some(2.0), Some(1.0)));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    count: u64,
    mean: f64,
    squared_deviations: f64,
}

impl Moments {
    /// Takes one number in.
    pub fn push(&mut self, value: f64) {
        self.count += 1;
        let deviation = value - self.mean;
        self.mean += deviation / self.count as f64;
        self.squared_deviations += deviation * (value - self.mean);
    }

    /// Takes in all that another stream has seen.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let count = self.count + other.count;
        let (own, others) = (self.count as f64, other.count as f64);
        let deviation = other.mean - self.mean;
        self.mean += deviation * others / count as f64;
        self.squared_deviations +=
            other.squared_deviations + deviation * deviation * own * others / count as f64;
        self.count = count;
    }

    /// How many numbers were taken in.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean, if there are numbers.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// The sample standard deviation (divisor `n - 1`), if there are at least two numbers.
    pub fn std(&self) -> Option<f64> {
        let divisor = self.count.checked_sub(1).filter(|&d| d > 0)? as f64;
        Some((self.squared_deviations / divisor).sqrt())
    }
}

impl FromIterator<f64> for Moments {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut moments = Self::default();
        values.into_iter().for_each(|value| moments.push(value));
        moments
    }
}

/// The logits that one class gets. See [`LogitStatistics`] for an example.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassLogits {
    /// From samples of this class.
    pub intra: Moments,
    /// From samples of all other classes.
    pub inter: Moments,
}

/// Intra-class and inter-class logits of an epoch, for each class and over all, and the entropy
/// of the outputs: what the published experiments log.
///
/// For distance heads a logit is a negative distance, so `intra` tells how compact the classes
/// are and `inter` how far apart. Memory is `O(num_classes)`.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Int, Tensor};
/// use isomax_burn::LogitStatistics;
///
/// let device = Default::default();
/// let logits = Tensor::<Flex, 2>::from_floats([[-1.0, -5.0], [-7.0, -2.0]], &device);
/// let targets = Tensor::<Flex, 1, Int>::from_ints([0, 1], &device);
/// let mut statistics = LogitStatistics::new(2);
/// statistics.update(logits, targets);
/// assert_eq!(statistics.intra().mean(), Some(-1.5));
/// assert_eq!(statistics.inter().mean(), Some(-6.0));
/// assert_eq!(statistics.classes()[0].inter.mean(), Some(-7.0));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogitStatistics {
    classes: Vec<ClassLogits>,
    entropy: Moments,
    max_probability: Moments,
}

impl LogitStatistics {
    /// Empty statistics.
    pub fn new(num_classes: usize) -> Self {
        Self {
            classes: vec![ClassLogits::default(); num_classes],
            entropy: Moments::default(),
            max_probability: Moments::default(),
        }
    }

    /// Takes a batch in.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch_size, num_classes]`, raw
    /// - targets: `[batch_size]`, class indices
    ///
    /// # Panics
    ///
    /// If the shapes do not fit each other or the number of classes, or a target is out of range.
    pub fn update<B: Backend>(&mut self, logits: Tensor<B, 2>, targets: Tensor<B, 1, Int>) {
        let (shape, labels, num_classes) = (logits.dims(), targets.dims(), self.classes.len());
        assert!(
            shape == [labels[0], num_classes],
            "Logits of shape {shape:?} do not fit targets of shape {labels:?} and \
             {num_classes} classes"
        );
        let entropies = crate::Score::ES.compute(logits.clone()).neg().into_data();
        entropies.iter::<f64>().for_each(|entropy| self.entropy.push(entropy));
        let largest = crate::Score::MPS.compute(logits.clone()).into_data();
        largest.iter::<f64>().for_each(|largest| self.max_probability.push(largest));

        let (logits, targets) = (logits.into_data(), targets.into_data());
        let mut logits = logits.iter::<f64>();
        for (row, target) in targets.iter::<i64>().enumerate() {
            assert!(
                (0..num_classes as i64).contains(&target),
                "Target {target} of row {row} is out of range for {num_classes} classes"
            );
            for (class, (statistics, logit)) in self.classes.iter_mut().zip(&mut logits).enumerate()
            {
                let of_target = class as i64 == target;
                let side = if of_target { &mut statistics.intra } else { &mut statistics.inter };
                side.push(logit);
            }
        }
    }

    /// Forgets everything, for the next epoch.
    pub fn reset(&mut self) {
        *self = Self::new(self.classes.len());
    }

    /// The statistics of each class.
    pub fn classes(&self) -> &[ClassLogits] {
        &self.classes
    }

    /// The logits of the true classes, over all classes.
    pub fn intra(&self) -> Moments {
        self.merged(|class| &class.intra)
    }

    /// The logits of all classes but the true one, over all classes.
    pub fn inter(&self) -> Moments {
        self.merged(|class| &class.inter)
    }

    /// The entropies of the softmax outputs, in nats.
    pub fn entropy(&self) -> Moments {
        self.entropy
    }

    /// The largest softmax probability of each sample.
    pub fn max_probability(&self) -> Moments {
        self.max_probability
    }

    /// Mean entropy of the softmax outputs as a share of the largest possible one, `ln C`: in
    /// `[0, 1]`. None without samples, and for a single class, whose entropy is always 0.
    pub fn mean_normalized_entropy(&self) -> Option<f64> {
        let largest = (self.classes.len() as f64).ln();
        (largest > 0.0).then_some(self.entropy.mean()? / largest)
    }

    fn merged(&self, side: impl Fn(&ClassLogits) -> &Moments) -> Moments {
        let mut all = Moments::default();
        self.classes.iter().for_each(|class| all.merge(side(class)));
        all
    }
}
