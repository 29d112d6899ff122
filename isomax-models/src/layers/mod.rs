//! The layers that the networks are made of, with PyTorch's names, semantics and initialisation.
//!
//! They use public operations of Burn, in the formulations that are fast on its CPU backends. With the
//! features `flex` and `tch`, 3 × 3 convolutions have gradients of their own on those backends.
//!
//! ```
//! use burn::backend::Flex;
//! use burn::tensor::{Tensor, activation::relu};
//! use isomax_models::layers::{BatchNormConfig, Conv1x1Config, global_average};
//!
//! let device = Default::default();
//! let norm = BatchNormConfig::new(16).init::<Flex>(&device);
//! let conv = Conv1x1Config::new([16, 32]).init::<Flex>(&device);
//! let maps = conv.forward(relu(norm.forward(Tensor::zeros([2, 16, 8, 8], &device))));
//! assert_eq!(global_average(maps).dims(), [2, 32]);
//! ```

mod batch_norm;
mod concat;
mod conv;
#[cfg(any(feature = "flex", feature = "tch"))]
mod conv3x3;
#[cfg(any(feature = "flex", feature = "tch"))]
mod fast_backends;
mod pool;
mod rows;

pub use batch_norm::{BatchNorm, BatchNormConfig};
pub use concat::concat_channels;
pub use conv::{Conv1x1, Conv1x1Config, convolve};
pub use pool::{average_2x2, global_average, subsample};

pub(crate) use conv::{conv3x3, conv7x7};
