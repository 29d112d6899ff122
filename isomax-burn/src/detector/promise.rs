//! What a threshold promises, and which order statistic of the held-out scores keeps the promise.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::DetectorError;

/// What a fitted threshold promises about new in-distribution samples, of which it is to accept the
/// share `t`, the target TPR.
///
/// The threshold is put just below the `r`-th smallest of `n` held-out scores; the promises differ in
/// `r` alone. The larger the promise, the smaller `r`, and the more OOD samples pass.
///
/// | promise | what holds | `r` | smallest `n` at `t = 0.95` |
/// |---|---|---|---|
/// | [`Empirical`](Self::Empirical) | at least `t` of the *held-out* samples are accepted | `n − ⌈t n⌉ + 1` | 1 |
/// | [`Conformal`](Self::Conformal) | a new sample is accepted with probability at least `t`, on average over held-out sets | `⌊(1 − t)(n + 1)⌋` | 19 |
/// | [`Tolerance`](Self::Tolerance) | with the stated confidence, the held-out set is one for which at least `t` of all new samples are accepted | largest `r` with `P(Bin(n, 1 − t) ≥ r) ≥ confidence` | 59 (confidence 0.95) |
///
/// The last two hold for new samples that are exchangeable with the held-out ones, whatever the
/// distribution of their scores: a threshold promises nothing about data that has drifted. With small
/// `n` the three differ much; they meet as `n` grows.
///
/// - *conformal*: the p-value of a new sample is `(k + 1) / (n + 1)`, where `k` held-out samples score
///   no higher; it is accepted if that is above `1 − t` (Vovk, Gammerman, Shafer, *Algorithmic Learning
///   in a Random World*, 2005; Bates et al., [arXiv:2104.08279](https://arxiv.org/abs/2104.08279))
/// - *tolerance*: a one-sided tolerance limit without a distribution (Wilks, *Determination of Sample
///   Sizes for Setting Tolerance Limits*, 1941)
///
/// ```
/// use isomax_burn::{DetectorConfig, DetectorError, Promise};
///
/// let held_out: Vec<f64> = (0..200).map(f64::from).collect();
/// let threshold = |promise| -> Result<f64, DetectorError> {
///     let config = DetectorConfig::new().with_target_tpr(0.95).with_promise(promise);
///     Ok(config.fit_scores(&held_out)?.threshold())
/// };
/// // 10, 9 and 4 of the 200 held-out samples are rejected.
/// assert_eq!(threshold(Promise::Empirical)?, 9.5);
/// assert_eq!(threshold(Promise::Conformal)?, 8.5);
/// assert_eq!(threshold(Promise::Tolerance { confidence: 0.95 })?, 3.5);
/// # Ok::<(), DetectorError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Promise {
    /// At least the target share of the held-out samples themselves.
    #[default]
    Empirical,
    /// New samples with at least the target probability, on average.
    Conformal,
    /// At least the target share of new samples, with a stated confidence.
    Tolerance {
        /// Share of held-out sets for which it holds, in `(0, 1)`.
        confidence: f64,
    },
}

/// A product such as `0.55 · 100` may lie a rounding error beside the whole number it means.
const ROUNDING: f64 = 1e-9;

impl Promise {
    /// Which of `n` ascending scores is the lowest that must be accepted, from 1.
    ///
    /// # Errors
    ///
    /// [`DetectorError::TooFewSamples`] if no threshold on so few samples keeps the promise, and
    /// [`DetectorError::InvalidField`] for a target or a confidence out of range.
    pub(super) fn rank(self, target_tpr: f64, n: usize) -> Result<usize, DetectorError> {
        let miss = 1.0 - target_tpr;
        let require = |valid: bool, what, expected: &str, got: f64| match valid {
            true => Ok(()),
            false => Err(DetectorError::invalid(what, expected, got)),
        };
        let within = |value: f64| value > 0.0 && value < 1.0;
        if self == Self::Empirical {
            let valid = within(target_tpr) || target_tpr == 1.0;
            require(valid, "target TPR", "a number in (0, 1]", target_tpr)?;
            let accepted = (target_tpr * n as f64 - ROUNDING).ceil() as usize;
            return Ok(n - accepted.clamp(1, n) + 1);
        }
        require(
            within(target_tpr),
            "target TPR",
            "a number in (0, 1) for this promise",
            target_tpr,
        )?;
        let (rank, needed) = match self {
            Self::Empirical => unreachable!("it has returned"),
            Self::Conformal => {
                let rank = (miss * (n as f64 + 1.0) + ROUNDING).floor() as usize;
                (rank, (1.0 / miss - 1.0 - ROUNDING).ceil())
            }
            Self::Tolerance { confidence } => {
                require(within(confidence), "confidence", "a number in (0, 1)", confidence)?;
                let needed = ((1.0 - confidence).ln() / target_tpr.ln() - ROUNDING).ceil();
                (largest_rank(n, miss, confidence), needed)
            }
        };
        match rank {
            0 => Err(DetectorError::TooFewSamples {
                promise: self,
                target_tpr,
                needed: needed.max(1.0) as usize,
                got: n,
            }),
            rank => Ok(rank.min(n)),
        }
    }
}

/// The largest `r` with `P(Bin(n, miss) ≥ r) ≥ confidence`, 0 if there is none.
fn largest_rank(n: usize, miss: f64, confidence: f64) -> usize {
    // P(Bin ≥ r) is one minus the probabilities of 0 … r − 1, each made from the one before.
    let (odds, mut below) = ((miss / (1.0 - miss)).ln(), 0.0);
    let mut log_probability = n as f64 * (1.0 - miss).ln();
    for count in 0..=n {
        below += log_probability.exp();
        if 1.0 - below < confidence {
            return count;
        }
        log_probability += ((n - count) as f64 / (count + 1) as f64).ln() + odds;
    }
    n
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empirical => f.write_str("empirical"),
            Self::Conformal => f.write_str("conformal"),
            Self::Tolerance { confidence } => write!(f, "tolerance (confidence {confidence})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(promise: Promise, target_tpr: f64, n: usize) -> Option<usize> {
        promise.rank(target_tpr, n).ok()
    }

    #[test]
    fn ranks_are_those_of_the_tables() {
        assert_eq!(rank(Promise::Empirical, 0.95, 100), Some(6));
        assert_eq!(rank(Promise::Empirical, 0.55, 100), Some(46));
        assert_eq!(rank(Promise::Empirical, 1.0, 7), Some(1));
        assert_eq!(rank(Promise::Conformal, 0.95, 18), None);
        assert_eq!(rank(Promise::Conformal, 0.95, 19), Some(1));
        assert_eq!(rank(Promise::Conformal, 0.95, 199), Some(10));
        // Wilks: 59 samples for 95 % with confidence 95 %, 93 for the second smallest.
        let tolerance = Promise::Tolerance { confidence: 0.95 };
        assert_eq!(rank(tolerance, 0.95, 58), None);
        assert_eq!(rank(tolerance, 0.95, 59), Some(1));
        assert_eq!(rank(tolerance, 0.95, 92), Some(1));
        assert_eq!(rank(tolerance, 0.95, 93), Some(2));
        assert_eq!(rank(tolerance, 0.9, 29), Some(1));
        assert_eq!(rank(tolerance, 0.95, 1_000_000), Some(49_642));
    }

    #[test]
    fn errors_name_the_smallest_number_that_is_enough() {
        for (promise, target) in [
            (Promise::Conformal, 0.95),
            (Promise::Conformal, 0.5),
            (Promise::Conformal, 0.999),
            (Promise::Tolerance { confidence: 0.99 }, 0.9),
            (Promise::Tolerance { confidence: 0.5 }, 0.99),
        ] {
            let mut n = 1;
            while let Err(error) = promise.rank(target, n) {
                let DetectorError::TooFewSamples { needed, .. } = error else {
                    panic!("{promise}: {error}")
                };
                assert!(promise.rank(target, needed - 1).is_err(), "{promise}: {needed}");
                assert!(promise.rank(target, needed).is_ok(), "{promise}: {needed}");
                n += 1;
            }
        }
    }
}
