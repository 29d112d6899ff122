use core::fmt;

use serde::{Deserialize, Serialize};

/// How the newest scores compare with the held-out ones. See the [module](super) for an example.
///
/// Options are `None` as long as the window holds fewer than
/// [`MIN_SCORES`](super::DriftWatch::MIN_SCORES) scores; there is no alarm then either. All is
/// about the scores in the window, but for `nan_scores`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DriftReport {
    /// The number of scores in the window, from 0 to its size.
    pub num_scores: usize,
    /// Whether the window holds as many scores as it can.
    pub is_full: bool,
    /// The number of scores that were NaN since the watch began or was reset. They are not in the
    /// window. Any is a fault of the network or of its input.
    pub nan_scores: u64,
    /// The largest difference between the distribution of the scores and that of the held-out ones,
    /// in `[0, 1]`, 0 if they are the same. Exact for up to 1,001 held-out samples, otherwise off
    /// by less than 1/2000.
    pub ks_distance: Option<f64>,
    /// The probability of such a distance or a larger one without drift, in `[0, 1]`, by the
    /// two-sample Kolmogorov–Smirnov test.
    pub ks_p_value: Option<f64>,
    /// The share of the scores that was rejected, in `[0, 1]`.
    pub rejected: Option<f64>,
    /// Lower and upper limit, in `[0, 1]`, for the share of all requests like these that is rejected,
    /// with the [confidence](super::DriftConfig::with_confidence) that was set: the exact interval
    /// of Clopper and Pearson.
    pub rejected_interval: Option<[f64; 2]>,
    /// The probability that so many or more are rejected without drift, in `[0, 1]`, given how many
    /// of the held-out samples are; of more than 1,001 this number is interpolated.
    pub rejected_p_value: Option<f64>,
    /// The share of in-distribution samples that the detector was to reject at most, in `[0, 1)`:
    /// 1 − [target TPR](crate::Detector::target_tpr).
    pub promised_rejected: f64,
    /// Whether the whole `rejected_interval` lies above `promised_rejected`. Without drift this is
    /// so at 1 of 40 looks at most (with a confidence of 95 %), if what is rejected is what was
    /// promised. [`Promise::Empirical`](crate::Promise::Empirical) promises nothing of new samples.
    pub rejects_more_than_promised: bool,
    /// Whether the scores are too unlike the held-out ones for chance: `reasons` is not empty.
    pub alarm: bool,
    /// What raised the alarm, each reason once.
    pub reasons: Vec<DriftReason>,
}

/// What raises an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DriftReason {
    /// [`ks_p_value`](DriftReport::ks_p_value) is too small: the scores are distributed otherwise
    /// than the held-out ones. They may be lower, higher, or wider spread.
    ScoresMoved,
    /// [`rejected_p_value`](DriftReport::rejected_p_value) is too small: more is rejected than of
    /// the held-out samples.
    RejectsMore,
}

impl fmt::Display for DriftReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ScoresMoved => "the scores are distributed otherwise than the held-out ones",
            Self::RejectsMore => "more is rejected than of the held-out samples",
        })
    }
}
