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

mod backbone;
mod batch_norm;
mod cifar_resnet;
mod init;
mod pool;

pub use backbone::{Backbone, num_trainable_params};
pub use batch_norm::{BatchNorm, BatchNormConfig};
pub use cifar_resnet::{BasicBlock, CifarResNet, CifarResNetConfig};
