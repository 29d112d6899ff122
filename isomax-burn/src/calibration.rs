//! Temperature scaling: one number, fitted on validation logits, that makes confidences honest
//! (Guo et al., 2017, [arXiv:1706.04599](https://arxiv.org/abs/1706.04599)).
//!
//! [`OodHead::calibrate`](crate::OodHead::calibrate) stores the temperature in the head, so that its
//! logits and scores change; [`Detector::calibrate`](crate::Detector::calibrate) changes the
//! confidences of the decisions alone.
//!
//! ```
//! use burn::backend::Flex;
//! use burn::tensor::{Distribution, Int, Tensor};
//! use isomax_burn::{HeadConfig, HeadKind, OodHead, TemperatureObjective};
//!
//! let device = Default::default();
//! let head = HeadConfig::new(HeadKind::IsoMaxPlus, 64, 10).init::<Flex>(&device);
//! let held_out = head.forward(Tensor::random([100, 64], Distribution::Default, &device));
//! let labels = Tensor::<Flex, 1, Int>::zeros([100], &device);
//!
//! let (head, fit) = head.calibrate(held_out, labels, TemperatureObjective::Ece)?;
//! assert_eq!(head.temperature(), fit.temperature);
//! assert!(fit.after <= fit.before);
//! # Ok::<(), isomax_burn::MetricError>(())
//! ```

use serde::{Deserialize, Serialize};

use crate::metrics::{CalibrationMetrics, LabelledLogits, MetricError, ScoreValue};

/// What a temperature is to minimize. See [`TemperatureFit`] for an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TemperatureObjective {
    /// Expected calibration error over 15 bins, as the DisMax paper does.
    Ece,
    /// Negative log-likelihood, smooth and with a single minimum.
    Nll,
}

impl TemperatureObjective {
    fn of<T: ScoreValue>(
        self,
        samples: &LabelledLogits<'_, T>,
        temperature: f64,
    ) -> Result<f64, MetricError> {
        let metrics = samples.calibration(temperature, CalibrationMetrics::DEFAULT_BINS)?;
        Ok(match self {
            Self::Ece => metrics.ece,
            Self::Nll => metrics.nll,
        })
    }

    /// The worst value nearby. The calibration error jumps where a confidence crosses the edge of
    /// a bin; a minimum right beside a jump would be gone with the next rounding error.
    fn of_neighbourhood<T: ScoreValue>(
        self,
        samples: &LabelledLogits<'_, T>,
        temperature: f64,
    ) -> Result<f64, MetricError> {
        let mut worst = self.of(samples, temperature)?;
        if self == Self::Ece {
            for factor in [1.0 - RESOLUTION, 1.0 + RESOLUTION] {
                worst = worst.max(self.of(samples, temperature * factor)?);
            }
        }
        Ok(worst)
    }

    fn least_improvement(self, samples: usize) -> f64 {
        match self {
            Self::Ece => 1.0 / samples as f64,
            Self::Nll => LEAST_NLL_IMPROVEMENT,
        }
    }
}

/// A fitted temperature and what it did to its objective. Temperatures from 0.01 to 100 are searched.
///
/// ```
/// use isomax_burn::{TemperatureFit, TemperatureObjective};
///
/// // Four samples of two classes. Each is said to be of class 0 with a confidence of 98 %, but only
/// // three of them are: a confidence of 75 % would be honest.
/// let logits = [4.0, 0.0, 4.0, 0.0, 4.0, 0.0, 4.0, 0.0];
/// let fit = TemperatureFit::new(&logits, &[0, 0, 0, 1], 2, 1.0, TemperatureObjective::Nll)?;
/// let confidence = 1.0 / (1.0 + f32::exp(-4.0 / fit.temperature));
/// assert!((confidence - 0.75).abs() < 0.001);
/// assert!(fit.after < fit.before);
/// # Ok::<(), isomax_burn::MetricError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TemperatureFit {
    /// The temperature to divide unscaled logits by.
    pub temperature: f32,
    /// The objective at the temperature that the logits came with.
    pub before: f64,
    /// The objective at the fitted temperature, never above `before`.
    pub after: f64,
}

/// Temperatures are searched in this range, which spans outputs 100 times too timid and too bold.
const RANGE: (f64, f64) = (0.01, 100.0);
/// Points of the search over the range, evenly spaced in the logarithm.
const COARSE_STEPS: usize = 80;
/// Points of each refinement between the neighbours of the best point so far.
const FINE_STEPS: usize = 16;
/// Refinements: each narrows the bracket eightfold, four of them to a relative width of 1e-4.
const REFINEMENTS: usize = 4;
/// Temperatures this near to each other, relatively, count as the same.
const RESOLUTION: f64 = 1e-4;
/// A likelihood improved by less than this is rounding noise of `f32` logits.
const LEAST_NLL_IMPROVEMENT: f64 = 1e-6;

impl TemperatureFit {
    /// Fits a temperature on validation samples. It stays as it is unless another one improves the
    /// likelihood by 1e-6 nats, or the calibration error by as much as one sample can change.
    ///
    /// # Arguments
    ///
    /// - `logits`: row after row, `labels.len() × num_classes` values, as a head gave them at
    ///   temperature `current`
    /// - `labels`: class indices
    /// - `current`: the temperature that the logits were divided by, 1 if by none
    ///
    /// # Errors
    ///
    /// [`MetricError`] if there are no samples, a logit is not finite, a label names no class, or
    /// `current` is not positive and finite.
    pub fn new<T: ScoreValue>(
        logits: &[T],
        labels: &[usize],
        num_classes: usize,
        current: f32,
        objective: TemperatureObjective,
    ) -> Result<Self, MetricError> {
        if !(current > 0.0 && current.is_finite()) {
            let value = f64::from(current);
            return Err(MetricError::OutOfRange { name: "temperature", range: "(0, ∞)", value });
        }
        let samples = LabelledLogits::new(logits, labels, num_classes)?;
        // Temperatures are those of unscaled logits, so that a second fit, which is given scaled
        // ones, compares the same candidates and ends where the first did.
        let relative = |temperature: f64| f64::from(temperature as f32) / f64::from(current);
        let loss = |temperature| objective.of(&samples, relative(temperature));
        let stable = |temperature| objective.of_neighbourhood(&samples, relative(temperature));

        let own = f64::from(current);
        let (temperature, best) = minimize(stable)?;
        let (before, after) = (loss(own)?, loss(temperature)?);
        let gain = stable(own)? - best;
        Ok(if gain > objective.least_improvement(labels.len()) && after <= before {
            Self { temperature: temperature as f32, before, after }
        } else {
            Self { temperature: current, before, after: before }
        })
    }
}

/// The best temperature in [`RANGE`] and its loss: a search over the whole range, since the
/// calibration error has many local minima, refined around the best point.
fn minimize(loss: impl Fn(f64) -> Result<f64, MetricError>) -> Result<(f64, f64), MetricError> {
    let (mut low, mut high) = (RANGE.0.ln(), RANGE.1.ln());
    let mut best = (1.0, f64::INFINITY);
    for round in 0..=REFINEMENTS {
        let steps = if round == 0 { COARSE_STEPS } else { FINE_STEPS };
        let width = (high - low) / steps as f64;
        for step in 0..=steps {
            let temperature = (low + width * step as f64).exp();
            let value = loss(temperature)?;
            if value < best.1 {
                best = (temperature, value);
            }
        }
        let centre = f64::ln(best.0);
        (low, high) = (centre - width, centre + width);
    }
    Ok(best)
}
