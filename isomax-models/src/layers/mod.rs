//! The layers that the networks are made of, with PyTorch's names, semantics and initialisation.
//!
//! They use public operations of Burn, in the formulations that are fast on its CPU backends. With the
//! feature `flex`, convolutions and batch normalisation on that backend are kernels of `isomax-kernels`, with
//! `tch` they have libtorch's own gradients on that one.
//!
//! ```
//! use burn::backend::Flex;
//! use burn::tensor::Tensor;
//! use isomax_models::layers::{Activation, BatchNormConfig, Conv1x1Config, ConvNorm, global_average};
//!
//! let device = Default::default();
//! let conv = Conv1x1Config::new([16, 32]).init::<Flex>(&device);
//! let norm = BatchNormConfig::new(32).init::<Flex>(&device);
//! let layer = ConvNorm::new(&conv, &norm).with_activation(Activation::Relu);
//! let maps = layer.forward(Tensor::zeros([2, 16, 8, 8], &device));
//! assert_eq!(global_average(maps).dims(), [2, 32]);
//! ```

mod activation;
mod batch_norm;
mod concat;
mod conv;
mod conv_norm;
mod fast_backends;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "tch")]
mod libtorch;
mod pool;
mod rows;

pub use activation::Activation;
pub use batch_norm::{BatchNorm, BatchNormConfig};
pub use concat::concat_channels;
pub use conv::{AnyConv, Conv1x1, Conv1x1Config, convolve};
pub use conv_norm::ConvNorm;
pub use pool::{average_2x2, global_average, subsample};

pub(crate) use conv::{conv_same, conv3x3, conv7x7};
