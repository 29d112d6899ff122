use core::fmt;

use serde::{Deserialize, Serialize};

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

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empirical => f.write_str("empirical"),
            Self::Conformal => f.write_str("conformal"),
            Self::Tolerance { confidence } => write!(f, "tolerance (confidence {confidence})"),
        }
    }
}
