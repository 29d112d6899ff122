//! The layers that the networks are made of, with PyTorch's names, semantics and initialisation.
//!
//! They use public operations of Burn, in the formulations that are fast on its processor backends. With the
//! features `flex` and `tch`, 3 × 3 convolutions have gradients of their own on those backends.

mod batch_norm;
mod concat;
mod conv;
#[cfg(any(feature = "flex", feature = "tch"))]
mod conv3x3;
mod pool;
mod rows;

pub use batch_norm::{BatchNorm, BatchNormConfig};
pub use concat::concat_channels;
pub use conv::{Conv1x1, Conv1x1Config, convolve};
pub use pool::{average_2x2, global_average, subsample};

pub(crate) use conv::{conv3x3, conv7x7};
