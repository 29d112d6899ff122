//! Has the world moved? A watch over the decisions of a running service.
//!
//! What a detector promises holds for samples that come from where its held-out samples came from.
//! A [`DriftWatch`] keeps the newest scores, 200 unless set, and tells whether they still look like
//! the held-out ones, and whether as many are rejected as was promised:
//!
//! ```
//! use isomax_burn::{DetectorConfig, DriftConfig, DriftReason};
//!
//! let held_out: Vec<f64> = (0..500).map(f64::from).collect();
//! let detector = DetectorConfig::new().fit_scores(&held_out)?;
//! let mut watch = DriftConfig::new().watch(&detector)?;
//!
//! // Requests like the held-out samples, in no order:
//! for i in 0..200 {
//!     let decision = detector.decide_scores(&[f64::from(i * 37 % 500)])?[0];
//!     watch.push(decision.score, decision.in_distribution);
//! }
//! assert!(!watch.report().alarm);
//!
//! // The same, with lower scores:
//! for i in 0..200 {
//!     let decision = detector.decide_scores(&[f64::from(i * 37 % 500) - 150.0])?[0];
//!     watch.push(decision.score, decision.in_distribution);
//! }
//! let report = watch.report();
//! assert!(report.alarm && report.rejects_more_than_promised);
//! assert_eq!(report.reasons, [DriftReason::ScoresMoved, DriftReason::RejectsMore]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Two tests
//!
//! - [`ScoresMoved`](DriftReason::ScoresMoved): the two-sample Kolmogorov–Smirnov test compares the
//!   whole distribution of the scores, upwards as well as downwards. Its p-value is that of the
//!   asymptotic distribution at `(√e + 0.12 + 0.11/√e) D`, where `D` is the largest difference of
//!   the two distributions, `e = n m / (n + m)`, and `n` and `m` are the numbers of scores in the
//!   window and held out (Stephens, *Use of the Kolmogorov–Smirnov, Cramér–von Mises and Related
//!   Statistics Without Extensive Tables*, 1970). From 100 held-out scores on it lies within a
//!   third of the exact one down to 10⁻⁵. With ties it is too large.
//! - [`RejectsMore`](DriftReason::RejectsMore): few OOD samples among many hardly move the whole
//!   distribution, but many of them are rejected. If `r` of the `m` held-out scores lie below the
//!   threshold, then of `n` new ones at least `k` do with a probability of at most `P(K ≥ k)`, `K`
//!   beta-binomial with `n`, `r + 1` and `m − r`, whatever the distribution of the
//!   scores (Wilks, *Statistical Prediction with Special Reference to the Problem of Tolerance
//!   Limits*, 1942). The uncertainty of the threshold is part of it.
//!
//! # One look and many looks
//!
//! Both p-values are those of one look at one window. A watch that is asked after each request
//! looks thousands of times, and each look is another chance of a false alarm. The alarm therefore
//! needs a p-value far below the usual 5 %: 10⁻⁵ unless set. With 500 held-out samples, a window of
//! 200 and a look after each request, 3 of 400 streams of 10,000 requests without drift had an
//! alarm; with 10⁻³ in its place it would have been three in ten.
//! `cargo run --example drift_simulation` measures this, and how many requests it takes until a
//! drift is seen.
//!
//! # What it cannot tell
//!
//! - Requests must be independent of each other. The frames of one film, or one image that is sent
//!   a hundred times, are alike without any drift, and raise the alarm.
//! - It sees scores alone. Inputs may change, and classes become wrong, while scores stay as they
//!   were.
//! - A drift that is small needs a large window, and then is seen late.
//! - It compares with the held-out samples. If these were never like the requests, the alarm comes
//!   at once, and rightly so: what was promised does not hold either.

mod config;
mod error;
mod held_out;
mod kolmogorov;
mod rejections;
mod report;
mod window;

pub use config::DriftConfig;
pub use error::DriftError;
use held_out::HeldOut;
pub use report::{DriftReason, DriftReport};
use window::{Request, Window};

/// The newest decisions of a service, compared with the held-out samples of its detector. Made by
/// [`DriftConfig::watch`]; the [module](self) has an example and says what an alarm means.
///
/// Its memory is proportional to the window: some 10 KiB for one of 200.
#[derive(Debug, Clone)]
pub struct DriftWatch {
    held_out: HeldOut,
    window: Window,
    promised_rejected: f64,
    alarm_p_value: f64,
    confidence: f64,
    nan_scores: u64,
}

/// What the two tests say of a window.
#[derive(Debug, Clone, Copy)]
struct Evidence {
    ks_distance: f64,
    ks_p_value: f64,
    rejected_p_value: f64,
}

impl DriftWatch {
    /// As long as the window holds fewer scores than this, nothing is said of them.
    pub const MIN_SCORES: usize = 30;

    /// Takes a decision of the detector in: its [`score`](crate::Decision::score) and whether it
    /// was taken as [`in_distribution`](crate::Decision::in_distribution). If the window is full,
    /// the oldest one leaves.
    ///
    /// Infinite scores are scores above or below all others. NaN has no place in an order: it is
    /// counted in [`DriftReport::nan_scores`] and does not enter the window.
    ///
    /// It costs a few binary searches, and moves at most as many numbers in memory as the window
    /// has scores.
    pub fn push(&mut self, score: f64, in_distribution: bool) {
        if score.is_nan() {
            self.nan_scores = self.nan_scores.saturating_add(1);
            return;
        }
        self.window.push(Request {
            score,
            rejected: !in_distribution,
            held_out_below: self.held_out.share_below(score),
            held_out_up_to: self.held_out.share_up_to(score),
        });
    }

    /// Compares the window with the held-out samples, in time linear in its size.
    pub fn report(&self) -> DriftReport {
        let (scores, rejected) = (self.window.len(), self.window.rejected());
        let evidence = self.evidence();
        let reasons = evidence.map(|evidence| self.reasons(evidence)).unwrap_or_default();
        let interval = evidence.map(|_| rejections::interval(rejected, scores, self.confidence));
        DriftReport {
            num_scores: scores,
            is_full: scores == self.window.capacity(),
            nan_scores: self.nan_scores,
            ks_distance: evidence.map(|evidence| evidence.ks_distance),
            ks_p_value: evidence.map(|evidence| evidence.ks_p_value),
            rejected: evidence.map(|_| rejected as f64 / scores as f64),
            rejected_interval: interval,
            rejected_p_value: evidence.map(|evidence| evidence.rejected_p_value),
            promised_rejected: self.promised_rejected,
            rejects_more_than_promised: interval
                .is_some_and(|[low, _]| low > self.promised_rejected),
            alarm: !reasons.is_empty(),
            reasons,
        }
    }

    /// [`DriftReport::alarm`] alone, without the interval: cheap enough to be asked after each
    /// request.
    pub fn alarm(&self) -> bool {
        self.evidence().is_some_and(|evidence| !self.reasons(evidence).is_empty())
    }

    /// Forgets all that was taken in. A new detector needs a new watch.
    pub fn reset(&mut self) {
        self.window.clear();
        self.nan_scores = 0;
    }

    fn evidence(&self) -> Option<Evidence> {
        let scores = self.window.len();
        if scores < Self::MIN_SCORES {
            return None;
        }
        let held_out = &self.held_out;
        let ks_distance = self.window.ks_distance();
        Some(Evidence {
            ks_distance,
            ks_p_value: kolmogorov::p_value(ks_distance, scores, held_out.num_samples()),
            rejected_p_value: rejections::p_value(
                self.window.rejected(),
                scores,
                held_out.rejected(),
                held_out.num_samples(),
            ),
        })
    }

    fn reasons(&self, evidence: Evidence) -> Vec<DriftReason> {
        [
            (DriftReason::ScoresMoved, evidence.ks_p_value),
            (DriftReason::RejectsMore, evidence.rejected_p_value),
        ]
        .into_iter()
        .filter(|&(_, p_value)| p_value <= self.alarm_p_value)
        .map(|(reason, _)| reason)
        .collect()
    }
}
