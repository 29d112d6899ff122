//! Backbones for out-of-distribution detection, each ending in any head of [`isomax_burn`].
//!
//! ```
//! use burn::tensor::Tensor;
//! use isomax_burn::HeadKind;
//! use isomax_models::{Backbone, CifarResNetConfig};
//! use burn::backend::Flex;
//!
//! let device = Default::default();
//! let model = CifarResNetConfig::new(20, 10).with_head(HeadKind::IsoMaxPlus).init::<Flex>(&device);
//! let logits = model.forward(Tensor::zeros([2, 3, 32, 32], &device));
//! assert_eq!(logits.dims(), [2, 10]);
//! ```
//!
//! - [`Architecture`], [`ModelConfig`], [`Model`]: networks by name, such as `densenet-bc-100`
//! - [`Backbone`]: what training and evaluation code asks of a network, one of these or one of yours
//! - [`Odin`]: the detector that looks at gradients of images
//! - [`layers`]: layers with PyTorch's semantics that are fast on Burn's CPU backends
//! - `store` (feature `store`): weights of PyTorch, safetensors files, records of Burn
//!
//! With the features `flex` and `tch`, layers on these backends are kernels of `isomax-kernels`, or have the gradients
//! of libtorch.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod architecture;
mod backbone;
mod cifar_resnet;
mod densenet;
mod efficientnet_lite;
pub mod layers;
mod odin;
mod residual_block;
mod resnet;
mod stages;
#[cfg(feature = "store")]
pub mod store;
mod wide_resnet;

pub use architecture::{Architecture, Model, ModelConfig};
pub use backbone::{Backbone, num_trainable_params};
pub use cifar_resnet::{BasicBlock, CifarResNet, CifarResNetConfig};
pub use densenet::{BottleneckLayer, DenseBlock, DenseNetBc, DenseNetBcConfig, Transition};
pub use efficientnet_lite::{EfficientNetLite, EfficientNetLiteConfig, InvertedResidual};
pub use layers::{BatchNorm, BatchNormConfig};
pub use odin::Odin;
pub use residual_block::{BlockKind, BottleneckBlock, ProjectedBlock, ResidualBlock};
pub use resnet::{ResNet, ResNetConfig, Stem};
pub use stages::ImageShapeError;
pub use wide_resnet::{PreactivatedBlock, WideResNet, WideResNetConfig};
