//! Heads: the last layer of a classifier, from feature vectors to logits.
//!
//! A head takes the place of [`nn::Linear`](burn::nn::Linear). The distance heads make the logits
//! out of distances to one learned prototype for each class, so that a feature vector far from
//! every prototype gives low logits for every class: that is what detection reads.
//!
//! Each head has a type and a configuration of its own, such as [`IsoMaxPlusHead`]. [`Head`] is any
//! of them, chosen when the program runs:
//!
//! ```
//! use burn::backend::Flex;
//! use burn::tensor::Tensor;
//! use isomax_burn::head::{HeadConfig, HeadKind, OodHead};
//!
//! let (kind, device) = ("isomax+".parse::<HeadKind>()?, Default::default());
//! let head = HeadConfig::new(kind, 64, 10).init::<Flex>(&device);
//! let logits = head.forward(Tensor::ones([32, 64], &device));
//! assert_eq!(logits.dims(), [32, head.num_classes()]);
//! # Ok::<(), isomax_burn::UnknownName>(())
//! ```

use burn::module::Param;
use burn::tensor::{Tensor, backend::Backend};

mod any;
mod dismax;
mod display;
pub(crate) mod distance;
#[cfg(feature = "flex")]
mod fused_distance;
mod godin;
mod isomax;
mod isomax_plus;
mod kind;
mod ood_head;
mod planes;
pub mod prototypes;
mod softmax;
mod t2fnorm;
pub mod temperature;

pub use any::{Head, HeadConfig, OtherHead};
pub use dismax::{DisMaxHead, DisMaxHeadConfig};
pub use godin::{GOdinHead, GOdinHeadConfig};
pub use isomax::{IsoMaxHead, IsoMaxHeadConfig};
pub use isomax_plus::{IsoMaxPlusHead, IsoMaxPlusHeadConfig};
pub use kind::HeadKind;
pub use ood_head::OodHead;
pub use planes::ClassPlanes;
pub use prototypes::{ClassMeans, PrototypeError};
pub use softmax::{SoftMaxHead, SoftMaxHeadConfig};
pub use t2fnorm::{T2fNormHead, T2fNormHeadConfig};

fn check_features<B: Backend>(features: &Tensor<B, 2>, class_rows: &Param<Tensor<B, 2>>) {
    let (given, [classes, expected]) = (features.dims(), class_rows.dims());
    assert!(
        given[1] == expected,
        "Features of shape {given:?} do not fit a head of shape {:?} (classes, features)",
        [classes, expected],
    );
}
