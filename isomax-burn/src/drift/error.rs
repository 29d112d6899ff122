/// Why a stream cannot be watched.
///
/// ```
/// use isomax_burn::{DetectorConfig, DriftConfig, DriftError};
///
/// let detector = DetectorConfig::new().fit_scores(&[0.7, 0.8, 0.9])?;
/// let error = DriftConfig::new().watch(&detector).unwrap_err();
/// assert!(matches!(error, DriftError::NeverAlarms { held_out: 3, window: 200, .. }));
/// # Ok::<(), isomax_burn::DetectorError>(())
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DriftError {
    /// The window is too small to say anything of, or larger than anything that slides.
    #[error("a window holds {least} to {most} scores, got {got}")]
    Window {
        /// The smallest window.
        least: usize,
        /// The largest window.
        most: usize,
        /// The one that was asked for.
        got: usize,
    },
    /// A probability lies outside its range.
    #[error("the {what} must lie in (0, 1), got {got}")]
    NotAProbability {
        /// Which one.
        what: &'static str,
        /// The value that came.
        got: f64,
    },
    /// The Kolmogorov–Smirnov test cannot raise the alarm: not even scores that all lie above or
    /// below the held-out ones have so small a p-value.
    #[error(
        "with {held_out} held-out samples and a window of {window} no p-value is as small as \
         {alarm_p_value}: fit the detector on more samples"
    )]
    NeverAlarms {
        /// The number of held-out samples of the detector.
        held_out: usize,
        /// The number of scores in the window.
        window: usize,
        /// The p-value that was asked for.
        alarm_p_value: f64,
    },
}
