use serde::{Deserialize, Serialize};

use super::curve::{Cut, PrAreas, PrPoint, roc_points};
use super::sorted::SortedScores;
use super::{MetricError, Positive, ScoreValue};

/// The standard detection metrics of one in-distribution and one out-of-distribution score set.
///
/// All values lie in `[0, 1]`. Ties count one half in the AUROC and are accepted or rejected
/// together elsewhere, so that every value is independent of the order of the input.
///
/// ```
/// use isomax_burn::metrics::OodMetrics;
///
/// let metrics = OodMetrics::from_scores(&[0.9, 0.8, 0.4], &[0.5, 0.1])?;
/// assert_eq!(metrics.auroc, 5.0 / 6.0); // 5 of the 6 pairs are in the right order
/// # Ok::<(), isomax_burn::metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OodMetrics {
    /// Area under the ROC curve: the probability that an in-distribution sample scores higher than
    /// an OOD one, ties counting one half. Symmetric in the choice of the positive class.
    pub auroc: f64,
    /// Share of OOD rejected at the first cut that accepts at least 95 % of in-distribution
    /// ([`Positive::InDistribution`], [`Cut::AtLeast`]). High is good.
    pub tnr_at_95_tpr: f64,
    /// Share of in-distribution flagged at the first cut that catches at least 95 % of OOD
    /// ([`Positive::OutOfDistribution`], [`Cut::AtLeast`]): the FPR95 of OpenOOD v1.5 and
    /// pytorch-ood. Low is good. It is *not* `1 - tnr_at_95_tpr`.
    pub fpr_at_95_tpr: f64,
    /// The best detection accuracy over all cuts, both kinds weighing the same:
    /// `max ½ (TPR + TNR)`.
    pub detection_accuracy: f64,
    /// Area under the precision-recall curve with in-distribution as positive, trapezoid rule.
    pub aupr_in: f64,
    /// Area under the precision-recall curve with OOD as positive, trapezoid rule.
    pub aupr_out: f64,
    /// Average precision (step rule, as scikit-learn) with in-distribution as positive.
    pub average_precision_in: f64,
    /// Average precision (step rule, as scikit-learn) with OOD as positive.
    pub average_precision_out: f64,
    /// Number of in-distribution samples.
    pub num_in: usize,
    /// Number of OOD samples.
    pub num_out: usize,
}

impl OodMetrics {
    /// Computes all metrics in `O(n log n)` time.
    ///
    /// # Arguments
    ///
    /// - `in_scores`: scores of in-distribution samples, high = in-distribution
    /// - `out_scores`: scores of OOD samples
    ///
    /// # Errors
    ///
    /// [`MetricError::EmptyScores`] or [`MetricError::NanScore`].
    pub fn from_scores<T: ScoreValue>(
        in_scores: &[T],
        out_scores: &[T],
    ) -> Result<Self, MetricError> {
        let sorted = SortedScores::new(in_scores, out_scores)?;
        let fpr_at_95 = |positive| Cut::AtLeast.fpr_at(roc_points(&sorted, positive), 0.95);
        let pr_areas = |positive| {
            let (positives, _) = sorted.sizes(positive);
            PrAreas::of(sorted.cuts(positive).map(|cut| PrPoint::new(cut, positives)))
        };
        let pr_in = pr_areas(Positive::InDistribution);
        let pr_out = pr_areas(Positive::OutOfDistribution);
        Ok(Self {
            auroc: auroc(&sorted),
            tnr_at_95_tpr: 1.0 - fpr_at_95(Positive::InDistribution),
            fpr_at_95_tpr: fpr_at_95(Positive::OutOfDistribution),
            detection_accuracy: roc_points(&sorted, Positive::InDistribution)
                .map(|point| 0.5 * (point.tpr + 1.0 - point.fpr))
                .fold(0.5, f64::max),
            aupr_in: pr_in.trapezoid,
            aupr_out: pr_out.trapezoid,
            average_precision_in: pr_in.step,
            average_precision_out: pr_out.step,
            num_in: in_scores.len(),
            num_out: out_scores.len(),
        })
    }
}

/// Counts the pairs in the right order, half for ties: exact up to 2⁵² pairs.
fn auroc(sorted: &SortedScores) -> f64 {
    let (positives, negatives) = sorted.sizes(Positive::InDistribution);
    let (mut true_positives, mut false_positives) = (0, 0);
    let twice_in_order = sorted.cuts(Positive::InDistribution).fold(0.0, |pairs, cut| {
        let fresh = (cut.false_positives - false_positives) as f64;
        let below = (cut.true_positives + true_positives) as f64;
        (true_positives, false_positives) = (cut.true_positives, cut.false_positives);
        pairs + fresh * below
    });
    twice_in_order / (2.0 * positives * negatives)
}
