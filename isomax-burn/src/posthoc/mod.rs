//! Detectors for networks that are trained already: fitted on the features of their training samples, in one pass.
//!
//! The entropic losses need none of this; it is for networks that were trained otherwise, and for comparison. Which
//! methods there are, and where they come from, [`Method`] has in a table.
//!
//! 1. `FeatureStatistics` (feature `posthoc`) take the training samples in, batch by batch, in memory that does not
//!    grow with their number, for any number of methods at once.
//! 2. `FeatureStatistics::fit` makes a [`Fitted`] method of them, which turns features into scores.
//! 3. [`PostHocDetector`] puts a threshold on the scores of held-out samples, and decides.
//!
//! Without the feature, detectors that were saved are read and applied: a service needs no linear algebra.

mod detector;
mod error;
mod fitted;
mod generalised_entropy;
mod header;
#[cfg(feature = "posthoc")]
mod linalg;
mod method;
mod needs;
mod shape;
mod spelling;
#[cfg(feature = "posthoc")]
mod statistics;
mod stored;

pub use detector::PostHocDetector;
pub use error::FitError;
pub use fitted::Fitted;
pub use header::PostHocHeader;
pub use method::{Dims, Guide, Method, MethodError, Origin};
pub use needs::Needs;
pub use shape::Shape;
#[cfg(feature = "posthoc")]
pub use statistics::{BankConfig, FeatureStatistics};

/// What the names of a detector's tensors begin with in a file that has others as well, such as weights.
pub const TENSOR_PREFIX: &str = "isomax-posthoc.";
