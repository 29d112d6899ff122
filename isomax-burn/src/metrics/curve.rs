use serde::{Deserialize, Serialize};

use super::sorted::{Flagged, SortedScores};
use super::{MetricError, Positive, ScoreValue};

/// How an operating point is chosen when no cut gives exactly the wanted true positive rate.
///
/// ```
/// use isomax_burn::metrics::{Cut, Positive, RocCurve};
///
/// let (id, ood) = ([4.0, 3.0, 2.0, 1.0], [2.0, 0.0]);
/// let roc = RocCurve::from_scores(&id, &ood, Positive::InDistribution)?;
/// // The neighbours of a TPR of 0.5625 are 0.5, with an FPR of 0, and 0.75, with one of 0.5.
/// assert_eq!(roc.fpr_at_tpr(0.5625, Cut::AtLeast)?, 0.5);
/// assert_eq!(roc.fpr_at_tpr(0.5625, Cut::Nearest)?, 0.0);
/// assert_eq!(roc.fpr_at_tpr(0.5625, Cut::Interpolated)?, 0.125);
/// # Ok::<(), isomax_burn::MetricError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cut {
    /// The strictest cut whose TPR is at least the target. A detector can really use it.
    AtLeast,
    /// The cut whose TPR is nearest to the target; of two equally near ones the higher TPR.
    Nearest,
    /// Linear interpolation between the two neighbouring points of the ROC curve.
    Interpolated,
}

impl Cut {
    /// The FPR where this rule puts the target TPR.
    /// `points` run from the strictest cut to the laxest, whose TPR is 1.
    pub(super) fn fpr_at(self, points: impl Iterator<Item = RocPoint>, tpr: f64) -> f64 {
        // The last point below the target, and the strictest of those with the same TPR.
        let (mut last, mut strictest) = (RocPoint::NOTHING, RocPoint::NOTHING);
        for point in points {
            if point.tpr >= tpr {
                return match self {
                    Self::Nearest if tpr - last.tpr < point.tpr - tpr => strictest.fpr,
                    Self::AtLeast | Self::Nearest => point.fpr,
                    Self::Interpolated => {
                        let along = (tpr - last.tpr) / (point.tpr - last.tpr);
                        last.fpr + along * (point.fpr - last.fpr)
                    }
                };
            }
            if point.tpr > last.tpr {
                strictest = point;
            }
            last = point;
        }
        last.fpr
    }
}

/// A point of a [`RocCurve`]: the rates of one cut. With in-distribution as positive, the cut flags
/// scores from `threshold` upwards, with OOD as positive from `threshold` downwards.
///
/// ```
/// use isomax_burn::metrics::{Positive, RocCurve};
///
/// let roc = RocCurve::from_scores(&[3.0, 1.0], &[2.0], Positive::InDistribution)?;
/// let strictest = roc.points[0];
/// assert_eq!((strictest.threshold, strictest.tpr, strictest.fpr), (3.0, 0.5, 0.0));
/// # Ok::<(), isomax_burn::MetricError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RocPoint {
    /// Share of the negative class that is flagged.
    pub fpr: f64,
    /// Share of the positive class that is flagged.
    pub tpr: f64,
    /// The score at the cut.
    pub threshold: f64,
}

impl RocPoint {
    const NOTHING: Self = Self { fpr: 0.0, tpr: 0.0, threshold: f64::NAN };
}

/// The receiver operating characteristic, one point for each distinct score.
///
/// Points run from the strictest cut to `(1, 1)`; the origin, where nothing is flagged, belongs to
/// no score and is implied.
///
/// ```
/// use isomax_burn::metrics::{Cut, Positive, RocCurve};
///
/// let roc = RocCurve::from_scores(&[3.0, 2.0, 1.0, 0.5], &[1.5, 0.0], Positive::InDistribution)?;
/// assert_eq!(roc.tnr_at_tpr(0.75, Cut::AtLeast)?, 0.5);
/// assert_eq!(roc.auc(), 0.75);
/// # Ok::<(), isomax_burn::metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RocCurve {
    /// The class counted as positive.
    pub positive: Positive,
    /// The points, `fpr` and `tpr` never falling.
    pub points: Vec<RocPoint>,
}

impl RocCurve {
    /// Computes the curve in `O(n log n)` time.
    ///
    /// # Errors
    ///
    /// [`MetricError::EmptyScores`] or [`MetricError::NanScore`].
    pub fn from_scores<T: ScoreValue>(
        in_scores: &[T],
        out_scores: &[T],
        positive: Positive,
    ) -> Result<Self, MetricError> {
        let sorted = SortedScores::new(in_scores, out_scores)?;
        Ok(Self { positive, points: roc_points(&sorted, positive).collect() })
    }

    /// Area under the curve by the trapezoid rule: tied scores count one half.
    pub fn auc(&self) -> f64 {
        let mut last = RocPoint::NOTHING;
        self.points.iter().fold(0.0, |area, &point| {
            let strip = (point.fpr - last.fpr) * (point.tpr + last.tpr) / 2.0;
            last = point;
            area + strip
        })
    }

    /// False positive rate where `cut` puts the target true positive rate.
    ///
    /// # Errors
    ///
    /// [`MetricError::OutOfRange`] unless `0 < tpr <= 1`.
    pub fn fpr_at_tpr(&self, tpr: f64, cut: Cut) -> Result<f64, MetricError> {
        if !(tpr > 0.0 && tpr <= 1.0) {
            return Err(MetricError::OutOfRange {
                name: "target TPR",
                range: "(0, 1]",
                value: tpr,
            });
        }
        Ok(cut.fpr_at(self.points.iter().copied(), tpr))
    }

    /// True negative rate, `1 - FPR`, where `cut` puts the target true positive rate.
    ///
    /// # Errors
    ///
    /// As [`fpr_at_tpr`](Self::fpr_at_tpr).
    pub fn tnr_at_tpr(&self, tpr: f64, cut: Cut) -> Result<f64, MetricError> {
        self.fpr_at_tpr(tpr, cut).map(|fpr| 1.0 - fpr)
    }

    /// The points at which the curve turns: the same picture with far fewer points.
    pub fn corners(&self) -> Vec<RocPoint> {
        let direction = |a: RocPoint, b: RocPoint| (b.tpr - a.tpr).atan2(b.fpr - a.fpr);
        let mut last = RocPoint::NOTHING;
        let mut corners = Vec::new();
        for pair in self.points.windows(2) {
            if (direction(last, pair[0]) - direction(pair[0], pair[1])).abs() > 1e-9 {
                corners.push(pair[0]);
                last = pair[0];
            }
        }
        corners.extend(self.points.last());
        corners
    }
}

pub(super) fn roc_points(
    sorted: &SortedScores,
    positive: Positive,
) -> impl Iterator<Item = RocPoint> + '_ {
    let (positives, negatives) = sorted.sizes(positive);
    sorted.cuts(positive).map(move |cut| RocPoint {
        fpr: cut.false_positives as f64 / negatives,
        tpr: cut.true_positives as f64 / positives,
        threshold: cut.threshold,
    })
}

/// A point of a [`PrCurve`], which has an example.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PrPoint {
    /// Share of the positive class that is flagged.
    pub recall: f64,
    /// Share of the flagged samples that are positive.
    pub precision: f64,
    /// The score at the cut.
    pub threshold: f64,
}

impl PrPoint {
    pub(super) fn new(cut: Flagged, positives: f64) -> Self {
        Self {
            recall: cut.true_positives as f64 / positives,
            precision: cut.true_positives as f64
                / (cut.true_positives + cut.false_positives) as f64,
            threshold: cut.threshold,
        }
    }
}

/// The precision-recall curve, one point for each distinct score.
///
/// Points run from the strictest cut to a recall of 1; the start at recall 0 and precision 1,
/// where nothing is flagged, is implied.
///
/// ```
/// use isomax_burn::metrics::{Positive, PrCurve};
///
/// let curve = PrCurve::from_scores(&[3.0, 1.0], &[2.0], Positive::InDistribution)?;
/// let precisions: Vec<f64> = curve.points.iter().map(|point| point.precision).collect();
/// assert_eq!(precisions, [1.0, 0.5, 2.0 / 3.0]);
/// assert!((curve.average_precision() - 5.0 / 6.0).abs() < 1e-9);
/// # Ok::<(), isomax_burn::MetricError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrCurve {
    /// The class counted as positive.
    pub positive: Positive,
    /// The points, `recall` never falling.
    pub points: Vec<PrPoint>,
}

impl PrCurve {
    /// Computes the curve in `O(n log n)` time.
    ///
    /// # Errors
    ///
    /// [`MetricError::EmptyScores`] or [`MetricError::NanScore`].
    pub fn from_scores<T: ScoreValue>(
        in_scores: &[T],
        out_scores: &[T],
        positive: Positive,
    ) -> Result<Self, MetricError> {
        let sorted = SortedScores::new(in_scores, out_scores)?;
        let (positives, _) = sorted.sizes(positive);
        let points = sorted.cuts(positive).map(|cut| PrPoint::new(cut, positives)).collect();
        Ok(Self { positive, points })
    }

    /// Area under the curve by the trapezoid rule.
    pub fn auc(&self) -> f64 {
        self.areas().trapezoid
    }

    /// Average precision: area under the curve by the step rule, as scikit-learn.
    pub fn average_precision(&self) -> f64 {
        self.areas().step
    }

    fn areas(&self) -> PrAreas {
        PrAreas::of(self.points.iter().copied())
    }
}

/// The two usual areas under a precision-recall curve.
pub(super) struct PrAreas {
    pub(super) trapezoid: f64,
    pub(super) step: f64,
}

impl PrAreas {
    pub(super) fn of(points: impl Iterator<Item = PrPoint>) -> Self {
        let (mut recall, mut precision) = (0.0, 1.0);
        let mut areas = Self { trapezoid: 0.0, step: 0.0 };
        for point in points {
            let width = point.recall - recall;
            areas.trapezoid += width * (point.precision + precision) / 2.0;
            areas.step += width * point.precision;
            (recall, precision) = (point.recall, point.precision);
        }
        areas
    }
}
