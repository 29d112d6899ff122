use core::fmt;

/// Which of the two score sets an error speaks of. See [`MetricError`] for an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreSet {
    /// Scores of in-distribution samples.
    In,
    /// Scores of out-of-distribution samples.
    Out,
}

impl fmt::Display for ScoreSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in-distribution",
            Self::Out => "out-of-distribution",
        })
    }
}

/// Why a metric has no value.
///
/// ```
/// use isomax_burn::metrics::{MetricError, OodMetrics, ScoreSet};
///
/// let error = OodMetrics::from_scores(&[0.9, f64::NAN], &[0.1]).unwrap_err();
/// assert_eq!(error, MetricError::NanScore { set: ScoreSet::In, index: 1 });
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// One of the two score sets has no sample: no rate can be formed over it.
    #[error("the {0} score set is empty: detection metrics need samples of both kinds")]
    EmptyScores(ScoreSet),
    /// A score is NaN, which has no place in an order.
    #[error("{set} score {index} is NaN: the model has diverged or the score is undefined there")]
    NanScore {
        /// The set that holds it.
        set: ScoreSet,
        /// Its position in the slice that was given.
        index: usize,
    },
    /// A score is infinite where a threshold is to be fitted.
    #[error("{set} score {index} is {value}: a threshold needs finite scores")]
    InfiniteScore {
        /// The set that holds it.
        set: ScoreSet,
        /// Its position in the slice that was given.
        index: usize,
        /// The value that came.
        value: f64,
    },
    /// A rate such as the target TPR lies outside its range.
    #[error("{name} must lie in {range}, got {value}")]
    OutOfRange {
        /// What was given.
        name: &'static str,
        /// The range it must lie in.
        range: &'static str,
        /// The value that came.
        value: f64,
    },
    /// There are no samples to compute a classification metric from.
    #[error("no samples: classification metrics need at least one")]
    NoSamples,
    /// Rows of logits hold no logit.
    #[error("logits of no classes: expected at least one logit for each sample")]
    NoClasses,
    /// Logits and labels do not describe the same samples.
    #[error("{logits} logits are not {labels} rows of {classes} classes")]
    ShapeMismatch {
        /// Number of logits given.
        logits: usize,
        /// Number of labels given.
        labels: usize,
        /// Number of classes given.
        classes: usize,
    },
    /// A label names no class.
    #[error("label {label} of sample {index} is not below the number of classes, {classes}")]
    LabelOutOfRange {
        /// Position of the sample.
        index: usize,
        /// Its label.
        label: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A logit is NaN or infinite.
    #[error("logit {class} of sample {index} is {value}: probabilities need finite logits")]
    NonFiniteLogit {
        /// Position of the sample.
        index: usize,
        /// Position of the logit in its row.
        class: usize,
        /// The value that came.
        value: f64,
    },
}
