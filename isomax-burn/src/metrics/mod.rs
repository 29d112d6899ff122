//! Detection and calibration metrics on plain slices of `f32` or `f64`: no tensors, exact, in `f64`,
//! `O(n log n)`.
//!
//! Scores follow one rule everywhere in this crate: **high means in-distribution**.
//!
//! | type | what it answers |
//! |---|---|
//! | [`OodMetrics`] | the field's standard detection metrics of one pair of score sets |
//! | [`PaperMetrics`] | the same pair with the conventions of the code published with the papers |
//! | [`RocCurve`], [`PrCurve`] | any other operating point, and the curves for a plot |
//! | [`BootstrapIntervals`] | how far AUROC and FPR95 would be off with other samples |
//! | [`CalibrationMetrics`] | accuracy, ECE, MCE, NLL and reliability bins of a classifier |
//!
//! ```
//! use isomax_burn::metrics::{Cut, OodMetrics, Positive, RocCurve};
//!
//! let (id, ood) = ([0.9, 0.8, 0.4], [0.5, 0.1]);
//! let metrics = OodMetrics::from_scores(&id, &ood)?;
//! assert_eq!(metrics.tnr_at_95_tpr, 0.5);
//!
//! let roc = RocCurve::from_scores(&id, &ood, Positive::InDistribution)?;
//! assert_eq!(roc.tnr_at_tpr(0.6, Cut::AtLeast)?, 1.0);
//! # Ok::<(), isomax_burn::MetricError>(())
//! ```
//!
//! # Conventions
//!
//! "TNR at 95 % TPR" has no single meaning: which class is positive, and which cut counts when none
//! gives exactly 95 %, differ from code to code and move the number by points. Hence the names:
//! a [`RocCurve`] knows its [`Positive`] class, and a [`Cut`] says how the operating point is chosen.
//!
//! | source | positive | cut | ties |
//! |---|---|---|---|
//! | [`OodMetrics::tnr_at_95_tpr`] | in-distribution | first cut with TPR ≥ 0.95 | accepted together |
//! | [`OodMetrics::fpr_at_95_tpr`] (OpenOOD v1.5) | OOD | first cut with TPR ≥ 0.95 | accepted together |
//! | [`PaperMetrics::tnr`] | in-distribution | the TPR nearest 0.95, walking single samples | OOD loses every tie |
//!
//! # Infinite scores
//!
//! `+∞` and `−∞` are ordinary scores above and below every finite one, and equal to themselves.
//! NaN has no place in an order: it is an error, as are empty score sets.

mod bootstrap;
mod calibration;
mod curve;
mod error;
mod ood;
mod paper;
mod positive;
mod sorted;

pub use bootstrap::BootstrapIntervals;
pub use calibration::{CalibrationMetrics, ReliabilityBin};
pub(crate) use calibration::{LabelledLogits, check_finite, largest};
pub use curve::{Cut, PrCurve, PrPoint, RocCurve, RocPoint};
pub use error::{MetricError, ScoreSet};
pub use ood::OodMetrics;
pub use paper::PaperMetrics;
pub use positive::Positive;

/// A number that is a score or a logit, `f32` or `f64` as a rule. All arithmetic is done in `f64`.
/// There is nothing to implement.
///
/// ```
/// use isomax_burn::metrics::{MetricError, OodMetrics, ScoreValue};
///
/// fn auroc<T: ScoreValue>(id: &[T], ood: &[T]) -> Result<f64, MetricError> {
///     Ok(OodMetrics::from_scores(id, ood)?.auroc)
/// }
///
/// assert_eq!(auroc(&[2.0_f32, 3.0], &[1.0]), auroc(&[2.0_f64, 3.0], &[1.0]));
/// ```
pub trait ScoreValue: Copy + Into<f64> {}

impl<T: Copy + Into<f64>> ScoreValue for T {}
