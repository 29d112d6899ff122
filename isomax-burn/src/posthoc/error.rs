use super::Method;

/// Why a method cannot be fitted or applied.
///
/// ```
/// use burn::backend::Flex;
/// use isomax_burn::posthoc::{FitError, Method};
/// use isomax_burn::{HeadConfig, HeadKind};
///
/// let head = HeadConfig::new(HeadKind::IsoMaxPlus, 64, 10).init::<Flex>(&Default::default());
/// let error = "scale".parse::<Method>()?.suits(&head).unwrap_err();
/// assert!(matches!(error, FitError::Unsuitable { .. }));
/// # Ok::<(), isomax_burn::posthoc::MethodError>(())
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// The method makes no sense on the features of this head.
    #[error("{method} does not suit the head {head}: {reason}")]
    Unsuitable {
        /// The method.
        method: Method,
        /// Name of the head.
        head: String,
        /// Why not, and what to do.
        reason: &'static str,
    },
    /// The statistics were collected for other methods.
    #[error("the statistics hold no {what}, which {method} needs: name the method when they begin")]
    NotCollected {
        /// The method.
        method: Method,
        /// What is not there.
        what: &'static str,
    },
    /// Features, logits or labels of another shape.
    #[error("expected {what} of shape {expected:?}, found {found:?}")]
    Shape {
        /// What has the shape.
        what: &'static str,
        /// What it must be.
        expected: Vec<usize>,
        /// What it is.
        found: Vec<usize>,
    },
    /// A label beyond the classes.
    #[error("expected class indices below {num_classes}, found {found}")]
    Label {
        /// Number of classes.
        num_classes: usize,
        /// The first label that is none.
        found: i64,
    },
    /// A feature or a logit is infinite or no number.
    #[error("the {what} hold a value that is not finite, in row {row} of the batch")]
    NotFinite {
        /// Features or logits.
        what: &'static str,
        /// The first such row.
        row: usize,
    },
    /// No sample was seen.
    #[error("no sample was seen")]
    NoSamples,
    /// A class of which no sample was seen.
    #[error("no sample of class {class} was seen, which {method} needs")]
    EmptyClass {
        /// The first one.
        class: usize,
        /// The method.
        method: Method,
    },
    /// A class of which no sample is classified as such.
    #[error("no sample of class {class} is classified right, which {method} needs")]
    NoneRight {
        /// The first one.
        class: usize,
        /// The method.
        method: Method,
    },
    /// More neighbours than samples.
    #[error("{method} asks for {k} neighbours, and the bank holds {bank} samples")]
    TooFewNeighbours {
        /// The method.
        method: Method,
        /// Neighbours.
        k: usize,
        /// Samples in the bank.
        bank: usize,
    },
    /// A subspace that is none, or everything.
    #[error(
        "{method} asks for {dims} dimensions, expected 1 or more, and fewer than the {num_features} of the features"
    )]
    Dims {
        /// The method.
        method: Method,
        /// Dimensions.
        dims: usize,
        /// Width of the features.
        num_features: usize,
    },
    /// The features do not vary, or not in the way that the method measures.
    #[error("{method} cannot be fitted: {reason}")]
    Degenerate {
        /// The method.
        method: Method,
        /// What does not vary.
        reason: &'static str,
    },
    /// Statistics of another kind cannot be merged.
    #[error("expected statistics of the same {what} to merge")]
    Merge {
        /// What differs.
        what: &'static str,
    },
    /// The eigenvectors that the solver gave are none.
    #[error("no eigenvectors of a {size} × {size} matrix were found: {reason}")]
    Eigen {
        /// Rows of the matrix.
        size: usize,
        /// What failed.
        reason: &'static str,
    },
}
