//! Which order statistic of the held-out scores keeps a promise.

use super::{DetectorError, Promise};

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
