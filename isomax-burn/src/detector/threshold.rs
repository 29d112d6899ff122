//! The lowest score that is accepted, and the held-out scores it was put among.

use serde::{Deserialize, Serialize};

use super::quantiles::Quantiles;
use super::{Decision, DetectorError, Promise, ScoreDecision, check_no_nan};
use crate::HostLogits;
use crate::metrics::{MetricError, ScoreSet};

/// A threshold between held-out scores, with what it promises: what detectors of every kind have.
///
/// ```
/// use isomax_burn::DetectorConfig;
/// use isomax_burn::detector::Threshold;
///
/// let held_out: Vec<f64> = (0..100).map(f64::from).collect();
/// let detector = DetectorConfig::new().fit_scores(&held_out)?;
/// let threshold: &Threshold = detector.as_ref();
/// assert_eq!((threshold.value(), threshold.num_samples()), (4.5, 100));
/// # Ok::<(), isomax_burn::DetectorError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    pub(super) promise: Promise,
    pub(super) target_tpr: f64,
    pub(super) value: f64,
    pub(super) num_samples: usize,
    pub(super) quantiles: Quantiles,
}

impl Threshold {
    /// Scores at or above this count as in-distribution. It lies between held-out scores.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// The share of in-distribution samples that it was fitted to accept.
    pub fn target_tpr(&self) -> f64 {
        self.target_tpr
    }

    /// What it promises.
    pub fn promise(&self) -> Promise {
        self.promise
    }

    /// The number of held-out samples that it was fitted on.
    pub fn num_samples(&self) -> usize {
        self.num_samples
    }

    /// The held-out scores, ascending: all of them up to 1,001, otherwise 1,001 evenly spaced order statistics, from
    /// the smallest score to the largest.
    pub fn held_out_scores(&self) -> &[f64] {
        self.quantiles.knots()
    }

    /// Puts a threshold below the lowest score that the promise must accept: half-way to the next
    /// lower score, and far enough for `rounding` of that sample, so that the last bit of a batch
    /// does not decide.
    pub(super) fn fit(
        scores: &[f64],
        promise: Promise,
        target_tpr: f64,
        rounding: impl Fn(usize) -> f64,
    ) -> Result<Self, DetectorError> {
        check_scores(scores)?;
        let rank = promise.rank(target_tpr, scores.len())?;
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_unstable_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let lowest = order[rank - 1];
        let accepted = scores[lowest];
        let below = order[..rank].iter().rev().map(|&i| scores[i]).find(|&s| s < accepted);
        let half_way = below.map_or(0.0, |below| accepted / 2.0 - below / 2.0);
        let value = (accepted - half_way.max(rounding(lowest))).min(accepted.next_down());
        let ascending: Vec<f64> = order.into_iter().map(|i| scores[i]).collect();
        Ok(Self {
            promise,
            target_tpr,
            value,
            num_samples: scores.len(),
            quantiles: Quantiles::of(&ascending),
        })
    }

    /// One of an older file, where the threshold was a score.
    pub(super) fn of_version_1(
        target_tpr: f64,
        value: f32,
        num_samples: usize,
        quantiles: Quantiles,
    ) -> Self {
        let promise = Promise::Empirical;
        Self { promise, target_tpr, value: value.into(), num_samples, quantiles }
    }

    /// Where a score lies among the held-out ones.
    pub(crate) fn decide_score(&self, score: f64) -> ScoreDecision {
        let quantile = self.quantiles.rank(score, self.num_samples);
        let count = self.quantiles.count_up_to(score, self.num_samples);
        ScoreDecision {
            score,
            quantile,
            p_value: (count + 1) as f64 / (self.num_samples + 1) as f64,
            in_distribution: score >= self.value,
        }
    }

    /// Decides on samples by their scores; classes and confidences are those of the logits divided by `factor`.
    pub(crate) fn decide(
        &self,
        logits: &HostLogits,
        factor: f64,
        scores: &[f64],
    ) -> Result<Vec<Decision>, DetectorError> {
        check_no_nan(scores)?;
        let samples = logits.classes().into_iter().zip(logits.confidences(factor)).zip(scores);
        let decide = |((class, confidence), &score): ((usize, f64), &f64)| {
            let ScoreDecision { score, quantile, p_value, in_distribution } =
                self.decide_score(score);
            Decision { class, confidence, score, quantile, p_value, in_distribution }
        };
        Ok(samples.map(decide).collect())
    }

    /// Checks that the values fit each other, as those of a file need not.
    pub(crate) fn check(&self) -> Result<(), DetectorError> {
        let require = |valid: bool, what, expected: &str, got: &dyn ToString| match valid {
            true => Ok(()),
            false => Err(DetectorError::invalid(what, expected, got.to_string())),
        };
        let in_range = |share: f64| share > 0.0 && share <= 1.0;
        let (tpr, value) = (self.target_tpr, self.value);
        require(in_range(tpr), "target TPR", "a number in (0, 1]", &tpr)?;
        if let Promise::Tolerance { confidence } = self.promise {
            let valid = in_range(confidence) && confidence < 1.0;
            require(valid, "confidence", "a number in (0, 1)", &confidence)?;
        }
        // Ranks are computed with it in integers.
        let is_number = self.num_samples > 0 && self.num_samples as u64 <= MOST_SAMPLES;
        require(is_number, "number of samples", "from 1 to 2^48", &self.num_samples)?;
        require(value.is_finite(), "threshold", "a finite number", &value)?;
        let one_each = "ascending finite numbers, one for each sample up to 1001";
        let unordered = "infinite, out of order, or of another number";
        require(self.quantiles.are_of(self.num_samples), "quantiles", one_each, &unordered)?;
        let highest = self.quantiles.highest();
        require(value <= highest, "threshold", "at most the largest quantile", &value)
    }
}

/// More held-out samples than anybody has.
const MOST_SAMPLES: u64 = 1 << 48;

fn check_scores(scores: &[f64]) -> Result<(), MetricError> {
    let set = ScoreSet::In;
    if scores.is_empty() {
        return Err(MetricError::EmptyScores(set));
    }
    match scores.iter().enumerate().find(|(_, score)| !score.is_finite()) {
        None => Ok(()),
        Some((index, score)) if score.is_nan() => Err(MetricError::NanScore { set, index }),
        Some((index, &value)) => Err(MetricError::InfiniteScore { set, index, value }),
    }
}
