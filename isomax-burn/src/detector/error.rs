use std::io;
use std::path::PathBuf;

use crate::metrics::MetricError;

/// Why a detector cannot be fitted, read, written or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectorError {
    /// There is nothing to fit, or a logit is not finite.
    #[error(transparent)]
    Metric(#[from] MetricError),
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
    /// A file is not a detector in JSON.
    #[error("{}: expected a detector in JSON: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// A file was written by a version of this crate that stores detectors otherwise.
    #[error("{}: expected detector format version {expected}, found {found}", path.display())]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// The version that this crate reads.
        expected: u32,
        /// The version in the file.
        found: u64,
    },
}
