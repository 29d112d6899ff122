use std::io;
use std::path::{Path, PathBuf};

use super::Promise;
use crate::UnknownName;
use crate::metrics::MetricError;
use crate::posthoc::FitError;

/// Why a detector cannot be fitted, read, written or used.
///
/// ```
/// use isomax_burn::{DetectorConfig, DetectorError, Promise};
///
/// let config = DetectorConfig::new().with_promise(Promise::Conformal);
/// let error = config.fit_scores(&[0.7, 0.8, 0.9]).unwrap_err();
/// assert!(matches!(error, DetectorError::TooFewSamples { needed: 19, got: 3, .. }));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectorError {
    /// There is nothing to fit, or a logit or score is not finite.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// No threshold on so few held-out samples keeps the promise.
    #[error(
        "the promise {promise} of {target_tpr} needs at least {needed} held-out samples, got {got}"
    )]
    TooFewSamples {
        /// The promise that was asked for.
        promise: Promise,
        /// The share to accept.
        target_tpr: f64,
        /// The smallest number of held-out samples that can keep it.
        needed: usize,
        /// The number that was given.
        got: usize,
    },
    /// The logits come from another head.
    #[error("the detector was fitted on logits of the head {expected}, these are of {got}")]
    HeadMismatch {
        /// The name of the head that it was fitted on.
        expected: String,
        /// The name of the head of the logits.
        got: String,
    },
    /// The logits come from a head with another temperature, where the threshold means nothing.
    #[error(
        "the detector was fitted on logits of temperature {expected}, these have temperature {got}"
    )]
    TemperatureMismatch {
        /// The temperature that the detector was fitted at.
        expected: f32,
        /// The temperature of the logits.
        got: f32,
    },
    /// The logits are over another number of classes.
    #[error("the detector was fitted on logits of {expected} classes, these have {got}")]
    ClassCountMismatch {
        /// The number of classes that the detector was fitted on.
        expected: usize,
        /// The number of classes of the logits.
        got: usize,
    },
    /// The features have another width.
    #[error("the detector was fitted on features of width {expected}, these have {got}")]
    FeatureWidth {
        /// The width that the detector was fitted on.
        expected: usize,
        /// The width of the features.
        got: usize,
    },
    /// The head is of the same kind and size, and another one.
    #[error(
        "the detector was fitted for a head {head} with other weights: fit it anew for this network"
    )]
    OtherWeights {
        /// Name of the head.
        head: String,
    },
    /// The method of a post-hoc detector does not suit the head.
    #[error(transparent)]
    Method(#[from] FitError),
    /// There is not one score for each row of logits.
    #[error("expected one score for each sample, got {scores} scores for {logits} samples")]
    SampleCountMismatch {
        /// Rows of logits.
        logits: usize,
        /// Scores.
        scores: usize,
    },
    /// Values cannot be read back from the device.
    #[error("the device gives no values back: {0}")]
    Device(String),
    /// The detector knows bare scores only.
    #[error(
        "the detector was fitted on bare scores, not on logits: decide with decide_scores, or fit it \
         with DetectorConfig::fit"
    )]
    NoHead,
    /// A detector holds values that contradict each other.
    #[error("{what} is {got}, expected {expected}")]
    InvalidField {
        /// Which value.
        what: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// A stored detector names a score that is not at hand.
    #[error("{0}; a score of your own is given to Detector::load_with")]
    UnknownScore(#[from] UnknownName),
    /// What is stored is no detector.
    #[error("expected {what}: {reason}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// What is wrong, and where.
        reason: String,
    },
    /// A detector was written by a version of this crate that stores detectors otherwise.
    #[error("expected detector format version 1 to {newest}, found {found}: update isomax-burn")]
    UnsupportedVersion {
        /// The newest version that this crate reads.
        newest: u32,
        /// The version that came.
        found: u64,
    },
    /// What a file holds is no detector that can be used.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<DetectorError>,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is too large to be a detector.
    #[error("{}: expected a detector of at most {limit} bytes, the file is larger", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The largest size that is read, in bytes.
        limit: u64,
    },
}

impl DetectorError {
    pub(crate) fn invalid(what: &'static str, expected: &str, got: impl ToString) -> Self {
        Self::InvalidField { what, expected: expected.to_owned(), got: got.to_string() }
    }

    pub(crate) fn in_file(self, path: &Path) -> Self {
        Self::File { path: path.to_owned(), source: Box::new(self) }
    }
}
