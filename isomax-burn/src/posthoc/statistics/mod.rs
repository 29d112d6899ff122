use std::sync::{Arc, OnceLock};

use burn::tensor::{Int, Tensor, backend::Backend};

use super::linalg::Eigen;
use super::{FitError, Needs};

mod bank;
mod fit;
mod moments;

use bank::Bank;
pub use bank::BankConfig;
use moments::Moments;

/// Everything that the methods need to know of the training samples, collected in one pass. Memory does not grow
/// with the number of samples.
///
/// Sums are kept in 64 bits in host memory: neither the size of batches nor their order counts, and parts that
/// were collected apart are [merged](Self::merge) exactly. Features should come from the training images without
/// augmentation, those that were held out left aside.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Distribution, Int, Tensor};
/// use isomax_burn::posthoc::{BankConfig, FeatureStatistics, Method, Needs};
/// use isomax_burn::{OodHead, SoftMaxHeadConfig};
///
/// let device = Default::default();
/// let head = SoftMaxHeadConfig::new(8, 2).init::<Flex>(&device);
/// let methods = [Method::Mahalanobis { unit: true, cutoff: None }, Method::Knn { k: 5 }];
/// let mut statistics = FeatureStatistics::new(Needs::of(&methods), 8, 2, BankConfig::new());
/// for _batch in 0..4 {
///     let features = Tensor::random([16, 8], Distribution::Default, &device);
///     let labels = Tensor::<Flex, 1, Int>::from_ints([0, 1], &device).repeat_dim(0, 8);
///     statistics.update(features.clone(), head.forward(features), labels)?;
/// }
/// for method in &methods {
///     let fitted = statistics.fit(method, &head)?;
///     let scores = fitted.score(Tensor::random([3, 8], Distribution::Default, &device), &head);
///     assert_eq!(scores.dims(), [3]);
/// }
/// # Ok::<(), isomax_burn::posthoc::FitError>(())
/// ```
#[derive(Debug, Clone)]
pub struct FeatureStatistics {
    needs: Needs,
    num_features: usize,
    num_classes: usize,
    raw: Moments,
    unit: Moments,
    /// Of the samples that are classified right.
    right: Moments,
    bank: Bank,
    /// Covariances within classes, of raw features and of unit ones, taken apart: several methods read them.
    within: [OnceLock<Arc<Eigen>>; 2],
    /// Of all samples.
    sum_of_largest_logits: f64,
    count: u64,
}

impl FeatureStatistics {
    /// Of no sample yet.
    pub fn new(needs: Needs, num_features: usize, num_classes: usize, bank: BankConfig) -> Self {
        // Where a part is not needed it has no classes, and takes no memory.
        let moments = |means: bool, scatter: bool| {
            let width = if means || scatter { num_features } else { 0 };
            Moments::new(width, num_classes, scatter)
        };
        Self {
            needs,
            num_features,
            num_classes,
            raw: moments(needs.means, needs.scatter),
            unit: moments(needs.unit_means, needs.unit_scatter),
            right: moments(needs.right_means, false),
            bank: Bank::new(bank, num_classes),
            within: Default::default(),
            sum_of_largest_logits: 0.0,
            count: 0,
        }
    }

    /// Takes a batch in.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, num_features]`
    /// - logits: `[batch_size, num_classes]`, what the head gives for them
    /// - labels: `[batch_size]`, class indices
    ///
    /// # Errors
    ///
    /// [`FitError::Shape`], [`FitError::Label`] or [`FitError::NotFinite`]. The batch is then not taken in.
    pub fn update<B: Backend>(
        &mut self,
        features: Tensor<B, 2>,
        logits: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
    ) -> Result<(), FitError> {
        let [batch_size, _] = features.dims();
        check("features", &features.dims(), &[batch_size, self.num_features])?;
        check("logits", &logits.dims(), &[batch_size, self.num_classes])?;
        check("labels", &labels.dims(), &[batch_size])?;
        let labels: Vec<i64> = labels.into_data().iter().collect();
        let rows: Vec<f64> = features.into_data().iter().collect();
        let logits: Vec<f64> = logits.into_data().iter().collect();
        self.update_host(&rows, &logits, &labels)
    }

    /// As [`update`](Self::update), of values that are in host memory, row after row.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn update_host(
        &mut self,
        features: &[f64],
        logits: &[f64],
        labels: &[i64],
    ) -> Result<(), FitError> {
        let (width, num_classes) = (self.num_features, self.num_classes);
        check("features", &[features.len()], &[labels.len() * width])?;
        check("logits", &[logits.len()], &[labels.len() * num_classes])?;
        let class = |&label: &i64| {
            let class = usize::try_from(label).ok().filter(|&class| class < num_classes);
            class.ok_or(FitError::Label { num_classes, found: label })
        };
        let classes = labels.iter().map(class).collect::<Result<Vec<usize>, FitError>>()?;
        for (what, values, width) in
            [("features", features, width), ("logits", logits, num_classes)]
        {
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                return Err(FitError::NotFinite { what, row: index / width });
            }
        }
        if classes.is_empty() || width == 0 {
            return Ok(());
        }
        self.within = Default::default();
        if self.needs.means || self.needs.scatter {
            self.raw.update(features, &classes);
        }
        if self.needs.unit_means || self.needs.unit_scatter {
            let mut unit = features.to_vec();
            unit.chunks_exact_mut(width).for_each(scale_to_unit);
            self.unit.update(&unit, &classes);
        }
        let largest = logits.chunks_exact(num_classes).map(crate::metrics::largest);
        if self.needs.right_means {
            let is_right = largest.clone().zip(&classes).map(|(largest, class)| largest == *class);
            let right = features.chunks_exact(width).zip(&classes).zip(is_right);
            let (rows, right): (Vec<&[f64]>, Vec<usize>) = right
                .filter(|(_, is_right)| *is_right)
                .map(|((row, class), _)| (row, *class))
                .unzip();
            self.right.update(&rows.concat(), &right);
        }
        if self.needs.bank {
            for (row, &class) in features.chunks_exact(width).zip(&classes) {
                self.bank.update(row, class);
            }
        }
        let rows = logits.chunks_exact(num_classes).zip(largest);
        self.sum_of_largest_logits += rows.map(|(row, largest)| row[largest]).sum::<f64>();
        self.count += classes.len() as u64;
        Ok(())
    }

    /// Joins what two have seen, as if one had seen it all.
    ///
    /// # Errors
    ///
    /// [`FitError::Merge`] if they are not of the same widths, needs and bank.
    pub fn merge(&mut self, other: Self) -> Result<(), FitError> {
        let same = |same: bool, what| if same { Ok(()) } else { Err(FitError::Merge { what }) };
        same(self.num_features == other.num_features, "width of features")?;
        same(self.num_classes == other.num_classes, "number of classes")?;
        same(self.needs == other.needs, "needs")?;
        same(self.bank.config() == other.bank.config(), "size and seed of the bank")?;
        self.within = Default::default();
        self.raw.absorb(other.raw);
        self.unit.absorb(other.unit);
        self.right.absorb(other.right);
        self.bank.absorb(other.bank);
        self.sum_of_largest_logits += other.sum_of_largest_logits;
        self.count += other.count;
        Ok(())
    }

    /// Number of samples that were seen.
    pub fn num_samples(&self) -> u64 {
        self.count
    }

    /// What is collected.
    pub fn needs(&self) -> Needs {
        self.needs
    }
}

fn check(what: &'static str, found: &[usize], expected: &[usize]) -> Result<(), FitError> {
    match found == expected {
        true => Ok(()),
        false => Err(FitError::Shape { what, expected: expected.to_vec(), found: found.to_vec() }),
    }
}

/// A row of nothing but zeros stays one.
pub(super) fn scale_to_unit(row: &mut [f64]) {
    let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt().max(1e-12);
    row.iter_mut().for_each(|value| *value /= norm);
}
