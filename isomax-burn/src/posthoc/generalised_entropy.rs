use crate::OodScore;

/// Generalised entropy ([`Method::Gen`](super::Method::Gen)) as a score of logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gen {
    pub(super) gamma: f64,
    pub(super) top: usize,
}

impl OodScore for Gen {
    fn name(&self) -> &str {
        "gen"
    }

    fn score(&self, logits: &[f64]) -> f64 {
        let mut sorted = logits.to_vec();
        let top = self.top.clamp(1, sorted.len());
        if top < sorted.len() {
            sorted.select_nth_unstable_by(top - 1, |a, b| b.total_cmp(a));
        }
        let largest = sorted.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let position = sorted.iter().position(|&logit| logit == largest).unwrap_or(0);
        sorted.swap(0, position);
        // ln p of the largest, and ln(1 - p) of it as the sum of the others: `1 - p` would be zero where it counts.
        let others: f64 = sorted[1..].iter().map(|logit| (logit - largest).exp()).sum();
        let log_partition = others.ln_1p();
        let log_others = match sorted[1..].iter().copied().fold(f64::NEG_INFINITY, f64::max) {
            second if second.is_finite() => {
                let rest = sorted[1..].iter().map(|logit| (logit - second).exp()).sum::<f64>();
                second - largest + rest.ln()
            }
            // One class alone: p = 1, and p (1 - p) is zero.
            _ => return 0.0,
        };
        let term = |log_p: f64, log_rest: f64| (self.gamma * (log_p + log_rest)).exp();
        let of_largest = term(-log_partition, log_others - log_partition);
        let of_others = sorted[1..top].iter().map(|logit| {
            let log_p = logit - largest - log_partition;
            // At most one half, so that nothing cancels.
            term(log_p, (-log_p.exp()).ln_1p())
        });
        -(of_largest + of_others.sum::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_gaps_are_told_apart() {
        let score = Gen { gamma: 0.1, top: 100 };
        let scores: Vec<f64> =
            [200.0, 40.0, 20.0].map(|gap| score.score(&[gap, 0.0, -1.0])).to_vec();
        assert!(scores.is_sorted_by(|a, b| a > b), "{scores:?}");
        assert_eq!(score.score(&[3.0]), 0.0);
    }
}
