use burn::tensor::{Int, Tensor, backend::Backend};

use crate::metrics::{CalibrationMetrics, MetricError, check_finite, largest};
use crate::{OodScore, TemperatureFit, TemperatureObjective};

/// Raw logits in host memory, read back from the device once, checked, and kept for everything that
/// is asked of them: classes, scores, confidences, calibration.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_burn::{HostLogits, Score};
///
/// let logits = Tensor::<Flex, 2>::from_floats([[-1.0, -5.0], [-7.0, -2.0]], &Default::default());
/// let logits = HostLogits::read(logits)?;
/// assert_eq!(logits.classes(), [0, 1]);
/// assert_eq!(logits.scores(&Score::MDS), [-1.0, -2.0]);
/// # Ok::<(), isomax_burn::MetricError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct HostLogits {
    values: Vec<f64>,
    num_classes: usize,
}

impl HostLogits {
    /// Reads logits back. NaN and infinities are looked for here, on the host: on a GPU, what becomes of
    /// NaN, in a maximum for instance, is not defined.
    ///
    /// # Shapes
    ///
    /// - logits: `[num_samples, num_classes]`, raw
    ///
    /// # Errors
    ///
    /// [`MetricError::NonFiniteLogit`], and [`MetricError::NoClasses`] for rows without logits.
    pub fn read<B: Backend>(logits: Tensor<B, 2>) -> Result<Self, MetricError> {
        let [_, num_classes] = logits.dims();
        Self::new(logits.into_data().iter().collect(), num_classes)
    }

    /// Takes logits that are in host memory, row after row.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and [`MetricError::ShapeMismatch`] if the last row is not whole.
    pub fn new(values: Vec<f64>, num_classes: usize) -> Result<Self, MetricError> {
        if num_classes == 0 {
            return Err(MetricError::NoClasses);
        }
        let (logits, labels) = (values.len(), values.len() / num_classes);
        if logits != labels * num_classes {
            return Err(MetricError::ShapeMismatch { logits, labels, classes: num_classes });
        }
        check_finite(&values, num_classes)?;
        Ok(Self { values, num_classes })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.values.len() / self.num_classes
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Number of logits of each sample.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// The logits of each sample.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.num_classes)
    }

    /// The class of the largest logit of each sample; of equal ones the first.
    pub fn classes(&self) -> Vec<usize> {
        self.rows().map(largest).collect()
    }

    /// The score of each sample, high = in-distribution.
    pub fn scores(&self, score: &dyn OodScore) -> Vec<f64> {
        self.rows().map(|row| score.score(row)).collect()
    }

    /// The largest softmax probability of each sample, in `[1/C, 1]`, of the logits divided by `factor`,
    /// a positive number.
    pub fn confidences(&self, factor: f64) -> Vec<f64> {
        let confidence = |row: &[f64]| {
            let most = row[largest(row)];
            1.0 / row.iter().map(|logit| ((logit - most) / factor).exp()).sum::<f64>()
        };
        self.rows().map(confidence).collect()
    }

    /// Accuracy and calibration of the logits divided by `factor`, a positive number.
    ///
    /// # Errors
    ///
    /// [`MetricError`] without samples, or if there is not one label of a class for each.
    pub fn calibration(
        &self,
        labels: &[usize],
        factor: f64,
    ) -> Result<CalibrationMetrics, MetricError> {
        let scaled: Vec<f64> = self.values.iter().map(|logit| logit / factor).collect();
        let bins = CalibrationMetrics::DEFAULT_BINS;
        CalibrationMetrics::from_logits(&scaled, labels, self.num_classes, bins)
    }

    /// Fits a temperature: see [`TemperatureFit::new`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn fit_temperature(
        &self,
        labels: &[usize],
        current: f32,
        objective: TemperatureObjective,
    ) -> Result<TemperatureFit, MetricError> {
        TemperatureFit::new(&self.values, labels, self.num_classes, current, objective)
    }

    /// As [`fit_temperature`](Self::fit_temperature), with labels on a device.
    pub(crate) fn fit_temperature_to<B: Backend>(
        &self,
        targets: Tensor<B, 1, Int>,
        current: f32,
        objective: TemperatureObjective,
    ) -> Result<TemperatureFit, MetricError> {
        // A negative label becomes one that is too large, and is refused as such.
        let labels: Vec<usize> = targets.into_data().iter::<i64>().map(|l| l as usize).collect();
        self.fit_temperature(&labels, current, objective)
    }

    /// How far the rounding of its logits may move the score of a sample. The same sample gets
    /// logits with other last bits in a batch of another size.
    pub(crate) fn rounding(&self, sample: usize, score: &dyn OodScore) -> f64 {
        let row = &self.values[sample * self.num_classes..][..self.num_classes];
        let most = largest(row);
        let magnitude = row.iter().fold(0.0, |most: f64, logit| most.max(logit.abs()));
        let score_at = |step: f64| {
            let mut row = row.to_vec();
            row[most] += step * ROUNDING * magnitude;
            score.score(&row)
        };
        let here = score.score(row);
        let moved = (score_at(1.0) - here).abs().max((score_at(-1.0) - here).abs());
        if moved.is_finite() { moved } else { 0.0 }
    }
}

/// Relative error of logits in `f32`, summed over features in another order: 64 units in the last
/// place.
const ROUNDING: f64 = 64.0 * f32::EPSILON as f64 / 2.0;
