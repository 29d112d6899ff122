use serde::{Deserialize, Serialize};

use super::sorted::SortedScores;
use super::{MetricError, ScoreValue};

/// The detection metrics of the published IsoMax, IsoMax+ and DisMax experiments, with the
/// conventions of their code, so that a reproduction can be compared digit by digit.
///
/// Against [`OodMetrics`](super::OodMetrics): the curve is walked one sample at a time and an OOD
/// sample loses every tie, the 95 % cut is the one whose TPR is *nearest*, and the
/// precision-recall areas have artificial end points. With continuous scores and thousands of
/// samples the two agree to about 0.1 points; with ties they do not.
///
/// All values lie in `[0, 1]`; in-distribution is the positive class.
///
/// ```
/// use isomax_burn::metrics::{OodMetrics, PaperMetrics};
///
/// // One of the four pairs is tied. It counts one half in the field, nothing in the papers.
/// let (id, ood) = ([0.9, 0.5], [0.5, 0.1]);
/// assert_eq!(OodMetrics::from_scores(&id, &ood)?.auroc, 0.875);
/// assert_eq!(PaperMetrics::from_scores(&id, &ood)?.auroc, 0.75);
/// # Ok::<(), isomax_burn::MetricError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PaperMetrics {
    /// Share of OOD rejected at the cut whose TPR is nearest 0.95 (the laxest such cut).
    pub tnr: f64,
    /// Area under the ROC curve; ties count nothing.
    pub auroc: f64,
    /// Best detection accuracy, `max ½ (TPR + TNR)`.
    pub dtacc: f64,
    /// Area under the precision-recall curve with in-distribution as positive.
    pub auin: f64,
    /// Area under the precision-recall curve with OOD as positive.
    pub auout: f64,
}

impl PaperMetrics {
    /// Computes all five in `O(n log n)` time.
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
        let (num_in, num_out) = (in_scores.len() as f64, out_scores.len() as f64);

        // Accepted samples of both kinds: all at first, then after each rejected sample.
        let walk = || {
            let (mut tp, mut fp) = (num_in, num_out);
            let rejections = sorted.ascending().map(move |is_out| {
                *if is_out { &mut fp } else { &mut tp } -= 1.0;
                (tp, fp)
            });
            core::iter::once((num_in, num_out)).chain(rejections)
        };
        let steps = in_scores.len() + out_scores.len();

        let mut nearest = (f64::INFINITY, 0.0);
        let mut dtacc = f64::NEG_INFINITY;
        for (tp, fp) in walk() {
            let gap = (tp / num_in - 0.95).abs();
            if gap < nearest.0 {
                nearest = (gap, fp);
            }
            dtacc = dtacc.max(0.5 * (tp / num_in + 1.0 - fp / num_out));
        }

        // The published code puts an artificial point before and after each curve, and leaves the
        // one step out at which a precision has nothing to be formed of.
        let roc = walk().map(|(tp, fp)| (tp / num_in, 1.0 - fp / num_out));
        let precision_in = walk().take(steps).map(|(tp, fp)| (tp / num_in, tp / (tp + fp)));
        let precision_out = walk()
            .skip(1)
            .map(|(tp, fp)| (1.0 - fp / num_out, (num_out - fp) / (num_in - tp + num_out - fp)));

        Ok(Self {
            tnr: 1.0 - nearest.1 / num_out,
            auroc: -trapezoid((1.0, 0.0), roc, (0.0, 1.0), steps + 2),
            dtacc,
            auin: -trapezoid((1.0, 0.5), precision_in, (0.0, 0.0), steps + 1),
            auout: trapezoid((0.0, 0.0), precision_out, (1.0, 0.5), steps + 1),
        })
    }
}

/// Area under the `(x, y)` points `first`, `walk`, `last`, which bound `strips` strips;
/// negative where `x` falls.
fn trapezoid(
    first: (f64, f64),
    walk: impl Iterator<Item = (f64, f64)>,
    last: (f64, f64),
    strips: usize,
) -> f64 {
    let mut previous = first;
    let mut areas = walk.chain(core::iter::once(last)).map(|point| {
        let strip = (point.0 - previous.0) * (point.1 + previous.1) / 2.0;
        previous = point;
        strip
    });
    pairwise_sum(&mut areas, strips)
}

/// Sums the next `n` values in the order in which NumPy sums, so that the last digit agrees too.
fn pairwise_sum(values: &mut impl Iterator<Item = f64>, n: usize) -> f64 {
    const LANES: usize = 8;
    const BLOCK: usize = 128;
    if n > BLOCK {
        let left = n / 2 - n / 2 % LANES;
        return pairwise_sum(values, left) + pairwise_sum(values, n - left);
    }
    let blocks = n / LANES;
    let mut lanes = [-0.0; LANES];
    for _ in 0..blocks {
        lanes.iter_mut().zip(values.by_ref()).for_each(|(lane, v)| *lane += v);
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    let sum = ((a + b) + (c + d)) + ((e + f) + (g + h));
    values.take(n - blocks * LANES).fold(sum, |sum, v| sum + v)
}
