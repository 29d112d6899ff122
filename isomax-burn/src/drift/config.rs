use super::{DriftError, DriftWatch, HeldOut, Window, kolmogorov};
use crate::detector::Threshold;

/// How to watch a stream of decisions: over how many of them, and how unlike the held-out samples
/// they must be for an alarm.
///
/// ```
/// use isomax_burn::{DetectorConfig, DriftConfig};
///
/// let held_out: Vec<f64> = (0..500).map(f64::from).collect();
/// let detector = DetectorConfig::new().fit_scores(&held_out)?;
/// let mut watch = DriftConfig::new().with_window(500).watch(&detector)?;
/// watch.push(250.0, true);
/// assert_eq!(watch.report().num_scores, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DriftConfig {
    window: usize,
    alarm_p_value: f64,
    confidence: f64,
}

impl Default for DriftConfig {
    fn default() -> Self {
        Self { window: 200, alarm_p_value: 1e-5, confidence: 0.95 }
    }
}

impl DriftConfig {
    /// The largest window.
    pub const MAX_WINDOW: usize = 100_000;

    /// The newest 200 scores, an alarm at a p-value of 10⁻⁵, intervals of 95 %.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compares so many of the newest scores, from [`DriftWatch::MIN_SCORES`] to
    /// [`MAX_WINDOW`](Self::MAX_WINDOW). Without this call 200. A larger window sees a smaller
    /// drift, but sees a large one later.
    pub fn with_window(mut self, window: usize) -> Self {
        self.window = window;
        self
    }

    /// Raises the alarm if one of the two p-values is no larger than this, in `(0, 1)`. Without
    /// this call 10⁻⁵. It is meant for one look at the window; the [module](super) says what it
    /// means for many.
    pub fn with_alarm_p_value(mut self, alarm_p_value: f64) -> Self {
        self.alarm_p_value = alarm_p_value;
        self
    }

    /// Gives [`rejected_interval`](super::DriftReport::rejected_interval) this confidence, in
    /// `(0, 1)`. Without this call 0.95.
    pub fn with_confidence(mut self, confidence: f64) -> Self {
        self.confidence = confidence;
        self
    }

    /// Begins to watch decisions of a detector of any kind.
    ///
    /// # Errors
    ///
    /// [`DriftError::Window`] or [`DriftError::NotAProbability`] for a value out of range, and
    /// [`DriftError::NeverAlarms`] if there are so few held-out samples that the
    /// Kolmogorov–Smirnov test cannot raise the alarm.
    pub fn watch(&self, detector: &impl AsRef<Threshold>) -> Result<DriftWatch, DriftError> {
        let Self { window, alarm_p_value, confidence } = *self;
        let (least, most) = (DriftWatch::MIN_SCORES, Self::MAX_WINDOW);
        if !(least..=most).contains(&window) {
            return Err(DriftError::Window { least, most, got: window });
        }
        for (what, got) in [("p-value of an alarm", alarm_p_value), ("confidence", confidence)] {
            if !(got > 0.0 && got < 1.0) {
                return Err(DriftError::NotAProbability { what, got });
            }
        }
        let held_out = HeldOut::of(detector.as_ref());
        if kolmogorov::p_value(1.0, window, held_out.num_samples()) > alarm_p_value {
            let held_out = detector.as_ref().num_samples();
            return Err(DriftError::NeverAlarms { held_out, window, alarm_p_value });
        }
        Ok(DriftWatch {
            held_out,
            window: Window::new(window),
            promised_rejected: 1.0 - detector.as_ref().target_tpr(),
            alarm_p_value,
            confidence,
            nan_scores: 0,
        })
    }
}
