use serde::{Deserialize, Serialize};

/// The distribution of in-distribution scores: all of them, or 1,001 evenly spaced order
/// statistics of more, enough to tell a p-value to a thousandth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Quantiles {
    /// Ascending scores; the first is the smallest one, the last the largest.
    knots: Vec<f64>,
}

const MAX_KNOTS: usize = 1001;

impl Quantiles {
    /// `ascending` holds at least one score.
    pub(super) fn of(ascending: &[f64]) -> Self {
        let (last, knots) = (ascending.len() - 1, ascending.len().min(MAX_KNOTS));
        let knot = |k: usize| ascending[last * k / (knots - 1).max(1)];
        Self { knots: (0..knots).map(knot).collect() }
    }

    pub(super) fn of_knots(knots: Vec<f64>) -> Self {
        Self { knots }
    }

    /// The share of the scores that lie at or below `score`, in `[0, 1]`; `num_samples` is the
    /// number of scores that these quantiles are of.
    pub(super) fn rank(&self, score: f64, num_samples: usize) -> f64 {
        let below = self.knots.partition_point(|&knot| knot <= score);
        if below == 0 || self.knots.len() == num_samples {
            return below as f64 / num_samples as f64;
        }
        let Some(&above) = self.knots.get(below) else { return 1.0 };
        let floor = self.knots[below - 1];
        // Halves, since a difference of large scores may overflow.
        let along = (score / 2.0 - floor / 2.0) / (above / 2.0 - floor / 2.0);
        // A knot stands for the samples up to its own place in the order.
        let spacing = (num_samples - 1) as f64 / (self.knots.len() - 1) as f64;
        ((spacing * (below as f64 - 1.0 + along) + 1.0) / num_samples as f64).min(1.0)
    }

    /// At most how many of the scores lie at or below `score`: exact where every score is kept,
    /// otherwise counted up to the next higher knot.
    pub(super) fn count_up_to(&self, score: f64, num_samples: usize) -> usize {
        let below = self.knots.partition_point(|&knot| knot <= score);
        match self.knots.len() {
            all if all == num_samples => below,
            _ if below == 0 => 0,
            knots if below == knots => num_samples,
            // As `of` chooses them: so many scores stand before this knot.
            knots => (num_samples - 1) * below / (knots - 1),
        }
    }

    pub(super) fn are_of(&self, num_samples: usize) -> bool {
        self.knots.len() == num_samples.min(MAX_KNOTS)
            && self.knots.is_sorted()
            && self.knots.iter().all(|knot| knot.is_finite())
    }

    /// Ascending: all scores, or 1,001 of them.
    pub(super) fn knots(&self) -> &[f64] {
        &self.knots
    }

    /// The largest score; there must be one.
    pub(super) fn highest(&self) -> f64 {
        self.knots[self.knots.len() - 1]
    }
}
