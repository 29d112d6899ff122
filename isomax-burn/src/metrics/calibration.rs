use serde::{Deserialize, Serialize};

use super::{MetricError, ScoreValue};

/// One bin of a reliability diagram: the samples whose confidence lies in `(lower, upper]`. See
/// [`CalibrationMetrics`] for an example.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReliabilityBin {
    /// Lower edge, excluded.
    pub lower: f64,
    /// Upper edge, included.
    pub upper: f64,
    /// Number of samples.
    pub count: usize,
    /// Mean confidence of the samples, 0 in an empty bin.
    pub confidence: f64,
    /// Share of the samples that are classified correctly, 0 in an empty bin.
    pub accuracy: f64,
}

impl ReliabilityBin {
    /// `|accuracy - confidence|`, 0 in an empty bin.
    pub fn gap(&self) -> f64 {
        (self.accuracy - self.confidence).abs()
    }
}

/// Accuracy and calibration of a classifier on labelled in-distribution samples.
///
/// The confidence of a sample is its largest softmax probability (Guo et al., 2017,
/// [arXiv:1706.04599](https://arxiv.org/abs/1706.04599)), computed and binned in `f64`.
/// Pass raw logits: the entropic scale exists in training only.
///
/// ```
/// use isomax_burn::metrics::CalibrationMetrics;
///
/// // Two samples are said to be of class 0, both with a confidence of 0.88; one is.
/// let metrics = CalibrationMetrics::from_logits(&[2.0, 0.0, 2.0, 0.0], &[0, 1], 2, 15)?;
/// assert_eq!(metrics.accuracy, 0.5);
/// assert!((metrics.ece - 0.38).abs() < 0.01);
/// assert_eq!(metrics.bins.iter().filter(|bin| bin.count > 0).count(), 1);
/// # Ok::<(), isomax_burn::MetricError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CalibrationMetrics {
    /// Share of samples whose largest logit is that of their label; of equal logits the first wins.
    pub accuracy: f64,
    /// Mean negative log-likelihood of the labels, in nats.
    pub nll: f64,
    /// Expected calibration error: mean gap of the bins, weighted by their counts.
    pub ece: f64,
    /// Maximum calibration error: the largest gap of a bin that is not empty.
    pub mce: f64,
    /// The bins, of equal width over `[0, 1]`.
    pub bins: Vec<ReliabilityBin>,
}

impl CalibrationMetrics {
    /// The usual number of bins.
    pub const DEFAULT_BINS: usize = 15;

    /// Computes all metrics.
    ///
    /// # Arguments
    ///
    /// - `logits`: raw logits, row after row, `labels.len() × num_classes` values
    /// - `labels`: class indices
    /// - `num_bins`: at least 1, [`DEFAULT_BINS`](Self::DEFAULT_BINS) as a rule
    ///
    /// # Errors
    ///
    /// [`MetricError::NoSamples`], [`MetricError::ShapeMismatch`],
    /// [`MetricError::LabelOutOfRange`], [`MetricError::NonFiniteLogit`], and
    /// [`MetricError::OutOfRange`] for `num_bins == 0`.
    pub fn from_logits<T: ScoreValue>(
        logits: &[T],
        labels: &[usize],
        num_classes: usize,
        num_bins: usize,
    ) -> Result<Self, MetricError> {
        let samples = LabelledLogits::new(logits, labels, num_classes)?;
        samples.calibration(1.0, num_bins)
    }
}

/// Logits and labels that have been checked to fit each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LabelledLogits<'a, T> {
    logits: &'a [T],
    labels: &'a [usize],
    num_classes: usize,
}

/// What calibration needs to know of one sample.
struct Prediction {
    confidence: f64,
    correct: bool,
    negative_log_likelihood: f64,
}

impl<'a, T: ScoreValue> LabelledLogits<'a, T> {
    pub(crate) fn new(
        logits: &'a [T],
        labels: &'a [usize],
        num_classes: usize,
    ) -> Result<Self, MetricError> {
        if labels.is_empty() || num_classes == 0 {
            return Err(MetricError::NoSamples);
        }
        if Some(logits.len()) != labels.len().checked_mul(num_classes) {
            return Err(MetricError::ShapeMismatch {
                logits: logits.len(),
                labels: labels.len(),
                classes: num_classes,
            });
        }
        if let Some(index) = labels.iter().position(|&label| label >= num_classes) {
            let label = labels[index];
            return Err(MetricError::LabelOutOfRange { index, label, classes: num_classes });
        }
        check_finite(logits, num_classes)?;
        Ok(Self { logits, labels, num_classes })
    }

    /// Metrics of the logits divided by `temperature`.
    pub(crate) fn calibration(
        &self,
        temperature: f64,
        num_bins: usize,
    ) -> Result<CalibrationMetrics, MetricError> {
        if num_bins == 0 {
            return Err(MetricError::OutOfRange {
                name: "number of bins",
                range: "[1, ∞)",
                value: 0.0,
            });
        }
        let mut sums = vec![(0_usize, 0.0, 0_usize); num_bins];
        let (mut nll, mut correct) = (0.0, 0_usize);
        for sample in self.predictions(temperature) {
            let (count, confidence, hits) = &mut sums[bin_of(sample.confidence, num_bins)];
            *count += 1;
            *confidence += sample.confidence;
            *hits += usize::from(sample.correct);
            correct += usize::from(sample.correct);
            nll += sample.negative_log_likelihood;
        }
        let edge = |i: usize| i as f64 / num_bins as f64;
        let bins: Vec<_> = (sums.iter().enumerate())
            .map(|(i, &(count, confidence, hits))| ReliabilityBin {
                lower: edge(i),
                upper: edge(i + 1),
                count,
                confidence: confidence / count.max(1) as f64,
                accuracy: hits as f64 / count.max(1) as f64,
            })
            .collect();
        let samples = self.labels.len() as f64;
        Ok(CalibrationMetrics {
            accuracy: correct as f64 / samples,
            nll: nll / samples,
            ece: bins.iter().map(|b| b.count as f64 / samples * b.gap()).sum(),
            mce: bins.iter().map(ReliabilityBin::gap).fold(0.0, f64::max),
            bins,
        })
    }

    fn predictions(&self, temperature: f64) -> impl Iterator<Item = Prediction> + '_ {
        self.logits.chunks_exact(self.num_classes).zip(self.labels).map(move |(row, &label)| {
            let best = largest(row);
            let shifted = |logit: T| (logit.into() - row[best].into()) / temperature;
            let partition: f64 = row.iter().map(|&l| shifted(l).exp()).sum();
            Prediction {
                confidence: 1.0 / partition,
                correct: best == label,
                negative_log_likelihood: partition.ln() - shifted(row[label]),
            }
        })
    }
}

/// Where the largest logit of a row is; of equal ones the first.
pub(crate) fn largest<T: ScoreValue>(row: &[T]) -> usize {
    (1..row.len()).fold(0, |best, c| if row[c].into() > row[best].into() { c } else { best })
}

/// Probabilities and scores are defined for finite logits; `num_classes` is at least 1.
pub(crate) fn check_finite<T: ScoreValue>(
    logits: &[T],
    num_classes: usize,
) -> Result<(), MetricError> {
    match logits.iter().position(|&logit| !logit.into().is_finite()) {
        None => Ok(()),
        Some(at) => {
            let (index, class) = (at / num_classes, at % num_classes);
            Err(MetricError::NonFiniteLogit { index, class, value: logits[at].into() })
        }
    }
}

/// The bin `(lower, upper]` of a confidence in `(0, 1]`.
fn bin_of(confidence: f64, num_bins: usize) -> usize {
    let edge = |i: usize| i as f64 / num_bins as f64;
    let mut bin = ((confidence * num_bins as f64) as usize).min(num_bins - 1);
    // The product is rounded: let the edges themselves decide.
    while bin > 0 && confidence <= edge(bin) {
        bin -= 1;
    }
    while bin + 1 < num_bins && confidence > edge(bin + 1) {
        bin += 1;
    }
    bin
}
