use serde::{Deserialize, Serialize};

/// The distribution of in-distribution scores, kept as at most [`MAX_KNOTS`](Self::MAX_KNOTS)
/// evenly spaced order statistics: enough to tell a p-value to a thousandth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Quantiles {
    /// Ascending scores; the first is the smallest one, the last the largest.
    knots: Vec<f32>,
}

impl Quantiles {
    pub(super) const MAX_KNOTS: usize = 1001;

    /// `ascending` holds at least one score.
    pub(super) fn of(ascending: &[f32]) -> Self {
        let (last, knots) = (ascending.len() - 1, ascending.len().min(Self::MAX_KNOTS));
        let knot = |k: usize| ascending[last * k / (knots - 1).max(1)];
        Self { knots: (0..knots).map(knot).collect() }
    }

    /// The share of in-distribution scores that lie at or below `score`, in `[0, 1]`, linear
    /// between knots.
    pub(super) fn rank(&self, score: f32) -> f64 {
        let below = self.knots.partition_point(|&knot| knot <= score);
        if below == 0 {
            return 0.0;
        }
        let Some(&above) = self.knots.get(below) else { return 1.0 };
        let floor = self.knots[below - 1];
        let along = (f64::from(score) - f64::from(floor)) / (f64::from(above) - f64::from(floor));
        (below as f64 - 1.0 + along) / (self.knots.len() as f64 - 1.0)
    }

    pub(super) fn is_valid(&self) -> bool {
        !self.knots.is_empty()
            && self.knots.is_sorted()
            && self.knots.iter().all(|knot| knot.is_finite())
    }
}
