//! Histograms of scores, for pictures and pages.

use isomax_burn::metrics::ScoreValue;

/// Number of bins over the range of all scores.
pub const BINS: usize = 50;

/// The range of the finite scores, if there are any; wide enough to be parted even if all are equal.
pub fn finite_range<'a, T: ScoreValue + 'a>(
    scores: impl Iterator<Item = &'a T>,
) -> Option<(f64, f64)> {
    let finite = scores.map(|&score| score.into()).filter(|score: &f64| score.is_finite());
    let range = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), score| {
        (low.min(score), high.max(score))
    });
    (range.0 <= range.1).then(|| widen(range))
}

/// The range itself, or one around it if it has no length.
pub(crate) fn widen((low, high): (f64, f64)) -> (f64, f64) {
    let size = low.abs().max(high.abs());
    if high - low > (1e-9 * size).max(1e-90) {
        return (low, high);
    }
    let margin = if size > 1e-80 { 0.05 * size } else { 0.5 };
    (low - margin, high + margin)
}

/// Bars `[from, to, share of all scores]`; scores that are not finite are in none.
pub fn shares<T: ScoreValue>(scores: &[T], (low, high): (f64, f64)) -> Vec<[f64; 3]> {
    let mut counts = [0_usize; BINS];
    for score in scores.iter().map(|&score| score.into()).filter(|score| score.is_finite()) {
        let along = (score - low) / (high - low);
        counts[((along * BINS as f64) as usize).min(BINS - 1)] += 1;
    }
    let edge = |bin: usize| low + (high - low) * bin as f64 / BINS as f64;
    let share = |count: usize| count as f64 / scores.len().max(1) as f64;
    counts.iter().enumerate().map(|(i, &n)| [edge(i), edge(i + 1), share(n)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_one_and_the_largest_score_has_a_bin() {
        let bars = shares(&[0.0, 0.5, 1.0, 1.0], (0.0, 1.0));
        assert_eq!((bars[0][2], bars[BINS - 1][2]), (0.25, 0.5));
        assert!((bars.iter().map(|bar| bar[2]).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(bars.windows(2).all(|pair| pair[0][1] == pair[1][0]));
    }

    #[test]
    fn ranges_pass_over_infinite_scores() {
        let range = |scores: &[f32]| finite_range(scores.iter());
        assert_eq!(range(&[f32::NEG_INFINITY, -1e3, 2.0, f32::INFINITY]), Some((-1e3, 2.0)));
        assert_eq!(range(&[f32::INFINITY]), None);
        assert!(range(&[3.0, 3.0]).is_some_and(|(low, high)| low < 3.0 && 3.0 < high));
    }
}
