//! The layers that the networks are made of, with PyTorch's names, semantics and initialisation.
//!
//! They use public operations of Burn, in the formulations that are fast on its CPU backends. With the
//! feature `flex`, convolutions and batch normalisation on that backend are kernels of `isomax-kernels`, with
//! `tch` 3 × 3 convolutions on that one have gradients of their own.
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
#[cfg(feature = "tch")]
mod conv3x3;
mod fast_backends;
#[cfg(feature = "flex")]
mod flex;
mod pool;
mod rows;

pub use batch_norm::{BatchNorm, BatchNormConfig};
pub use concat::concat_channels;
pub use conv::{Conv1x1, Conv1x1Config, convolve};
pub use pool::{average_2x2, global_average, subsample};

pub(crate) use conv::{conv3x3, conv7x7};
