use crate::detector::Threshold;

/// The distribution of the held-out scores. It is exact where the detector keeps all of them;
/// otherwise the scores between two kept ones count half, so that no share is off by 1/2000 or
/// more.
#[derive(Debug, Clone)]
pub(super) struct HeldOut {
    /// Ascending.
    kept: Vec<f64>,
    num_samples: f64,
    rejected: f64,
}

impl HeldOut {
    pub(super) fn of(threshold: &Threshold) -> Self {
        let num_samples = threshold.num_samples() as f64;
        // The threshold lies between those that are rejected and those that are not.
        let rejected = threshold.decide_score(threshold.value()).quantile * num_samples;
        Self {
            kept: threshold.held_out_scores().to_vec(),
            num_samples,
            rejected: rejected.round().min(num_samples - 1.0),
        }
    }

    /// How many there are, at least 1.
    pub(super) fn num_samples(&self) -> f64 {
        self.num_samples
    }

    /// How many of them the detector rejects, fewer than all: exact where it keeps all of them,
    /// otherwise interpolated.
    pub(super) fn rejected(&self) -> f64 {
        self.rejected
    }

    /// The share of them that is lower than `score`, in `[0, 1]`.
    pub(super) fn share_below(&self, score: f64) -> f64 {
        self.share(self.kept.partition_point(|&kept| kept < score))
    }

    /// The share of them that is no higher than `score`, in `[0, 1]`.
    pub(super) fn share_up_to(&self, score: f64) -> f64 {
        self.share(self.kept.partition_point(|&kept| kept <= score))
    }

    /// The share of all scores that a cut between kept ones parts off, so many of which lie below
    /// it.
    fn share(&self, below: usize) -> f64 {
        match below {
            0 => 0.0,
            all if all == self.kept.len() => 1.0,
            // At least the score before the cut and all that are before that one, at most all that
            // are before the next one: the middle. The two are one where all are kept.
            _ => (self.place(below - 1) + 1.0 + self.place(below)) / (2.0 * self.num_samples),
        }
    }

    /// How many scores stand before a kept one, as the detector chooses them. Two are kept at
    /// least.
    fn place(&self, kept: usize) -> f64 {
        ((self.num_samples - 1.0) * kept as f64 / (self.kept.len() - 1) as f64).floor()
    }
}
