use serde::{Deserialize, Serialize};

use super::sorted::SortedScores;
use super::{MetricError, ScoreValue};
use crate::random::SplitMix;

/// How far two metrics would be off if other images of the same kind had been taken: percentile intervals of the
/// bootstrap, over ID and OOD samples.
///
/// They say nothing of what another training of the network would change.
///
/// ```
/// use isomax_burn::metrics::{BootstrapIntervals, OodMetrics};
///
/// let (id, ood): (Vec<f64>, Vec<f64>) = ((20..120).map(f64::from).collect(), (0..60).map(f64::from).collect());
/// let intervals = BootstrapIntervals::from_scores(&id, &ood, 0.95)?;
/// let auroc = OodMetrics::from_scores(&id, &ood)?.auroc;
/// assert!(intervals.auroc[0] < auroc && auroc < intervals.auroc[1]);
/// # Ok::<(), isomax_burn::MetricError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BootstrapIntervals {
    /// The share of resamples whose values lie in each interval.
    pub level: f64,
    /// Of [`OodMetrics::auroc`](super::OodMetrics::auroc), from the lower to the upper end.
    pub auroc: [f64; 2],
    /// Of [`OodMetrics::fpr_at_95_tpr`](super::OodMetrics::fpr_at_95_tpr).
    pub fpr_at_95_tpr: [f64; 2],
}

/// How often samples are drawn.
const RESAMPLES: usize = 1000;

impl BootstrapIntervals {
    /// Draws both sets 1,000 times anew, with replacement. The same scores give the same intervals.
    ///
    /// # Arguments
    ///
    /// - `in_scores`: scores of in-distribution samples, high = in-distribution
    /// - `out_scores`: scores of OOD samples
    /// - `level`: the share of resamples in the intervals, such as 0.95
    ///
    /// # Errors
    ///
    /// As [`OodMetrics::from_scores`](super::OodMetrics::from_scores).
    ///
    /// # Panics
    ///
    /// If the level does not lie in `(0, 1)`.
    pub fn from_scores<T: ScoreValue>(
        in_scores: &[T],
        out_scores: &[T],
        level: f64,
    ) -> Result<Self, MetricError> {
        assert!(level > 0.0 && level < 1.0, "A level lies between 0 and 1, got {level}");
        SortedScores::new(in_scores, out_scores)?;
        let mut places: Vec<f64> =
            in_scores.iter().chain(out_scores).map(|&score| score.into()).collect();
        places.sort_unstable_by(f64::total_cmp);
        places.dedup();
        let place = |score: &T| places.partition_point(|&place| place < (*score).into());
        let id: Vec<usize> = in_scores.iter().map(place).collect();
        let ood: Vec<usize> = out_scores.iter().map(place).collect();

        let mut random = SplitMix::new(0);
        let mut counts = vec![[0_u32; 2]; places.len()];
        let (mut aurocs, mut fprs) = (Vec::new(), Vec::new());
        for _ in 0..RESAMPLES {
            counts.fill([0; 2]);
            id.iter().for_each(|_| counts[id[random.below(id.len())]][0] += 1);
            ood.iter().for_each(|_| counts[ood[random.below(ood.len())]][1] += 1);
            let (auroc, fpr) = of_counts(&counts, id.len(), ood.len());
            aurocs.push(auroc);
            fprs.push(fpr);
        }
        let interval = |mut values: Vec<f64>| {
            values.sort_unstable_by(f64::total_cmp);
            let outside = ((1.0 - level) / 2.0 * RESAMPLES as f64) as usize;
            [values[outside], values[RESAMPLES - 1 - outside]]
        };
        Ok(Self { level, auroc: interval(aurocs), fpr_at_95_tpr: interval(fprs) })
    }
}

/// AUROC and FPR at 95 % TPR of ID and OOD samples that were counted at each score, in ascending order.
fn of_counts(counts: &[[u32; 2]], num_in: usize, num_out: usize) -> (f64, f64) {
    let caught = (0.95 * num_out as f64 - 1e-9).ceil() as u64;
    let (mut in_order, mut id_below, mut ood_below) = (0_u64, 0_u64, 0_u64);
    let mut flagged = None;
    for &[id, ood] in counts {
        let (id, ood) = (u64::from(id), u64::from(ood));
        // Twice the pairs, so that halves are whole.
        in_order += id * (2 * ood_below + ood);
        id_below += id;
        ood_below += ood;
        if ood_below >= caught {
            flagged.get_or_insert(id_below);
        }
    }
    let pairs = 2.0 * num_in as f64 * num_out as f64;
    let flagged = flagged.unwrap_or(id_below);
    (in_order as f64 / pairs, flagged as f64 / num_in as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::OodMetrics;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn counting_gives_the_metrics_themselves(
            id in prop::collection::vec(0_u8..30, 1..60),
            ood in prop::collection::vec(0_u8..30, 1..60),
        ) {
            let mut counts = vec![[0; 2]; 30];
            id.iter().for_each(|&score| counts[usize::from(score)][0] += 1);
            ood.iter().for_each(|&score| counts[usize::from(score)][1] += 1);
            let (auroc, fpr) = of_counts(&counts, id.len(), ood.len());
            let scores = |of: &[u8]| of.iter().map(|&score| f64::from(score)).collect::<Vec<f64>>();
            let metrics = OodMetrics::from_scores(&scores(&id), &scores(&ood)).expect("numbers");
            prop_assert!((auroc - metrics.auroc).abs() < 1e-12);
            prop_assert!((fpr - metrics.fpr_at_95_tpr).abs() < 1e-12, "{} {}", fpr, metrics.fpr_at_95_tpr);
        }
    }

    /// Of a normal shift the standard error of the AUROC is known (Hanley and McNeil, 1982).
    #[test]
    fn intervals_are_as_wide_as_theory_has_it() {
        let quantile = |i: usize, n: usize| ((i as f64 + 0.5) / n as f64 - 0.5) * 4.0;
        let id: Vec<f64> = (0..400).map(|i| quantile(i, 400) + 1.0).collect();
        let ood: Vec<f64> = (0..300).map(|i| quantile(i, 300)).collect();
        let auroc = OodMetrics::from_scores(&id, &ood).expect("numbers").auroc;
        let intervals = BootstrapIntervals::from_scores(&id, &ood, 0.95).expect("numbers");
        let (q1, q2) = (auroc / (2.0 - auroc), 2.0 * auroc * auroc / (1.0 + auroc));
        let square = auroc * auroc;
        let variance = (auroc * (1.0 - auroc) + 399.0 * (q1 - square) + 299.0 * (q2 - square))
            / (400.0 * 300.0);
        let width = intervals.auroc[1] - intervals.auroc[0];
        let expected = 2.0 * 1.96 * variance.sqrt();
        assert!((width / expected - 1.0).abs() < 0.2, "{width}, expected {expected}");
    }
}
