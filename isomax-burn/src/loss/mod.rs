//! Losses: what turns logits and labels into the number that training minimizes.
//!
//! A loss takes the place of [`CrossEntropyLoss`](burn::nn::loss::CrossEntropyLoss). All of them
//! are the cross-entropy of scaled logits; the entropic scale is what lets the distance heads be
//! trained to small losses while their outputs keep a high entropy.
//!
//! Each loss has a type of its own, such as [`IsoMaxLoss`]; [`Loss`] is that of a head which is chosen
//! when the program runs.
//!
//! # Labels out of range
//!
//! A target that is negative, or not below the number of classes, makes the loss NaN, whatever the
//! backend. Looking at the labels would make every step wait for the device; a NaN loss costs nothing
//! and stops every training that watches its loss.
//!
//! ```
//! use burn::backend::Flex;
//! use burn::tensor::{Int, Tensor};
//! use isomax_burn::IsoMaxLossConfig;
//!
//! let logits = Tensor::<Flex, 2>::zeros([2, 3], &Default::default());
//! let targets = Tensor::<Flex, 1, Int>::from_ints([0, 3], &Default::default());
//! assert!(IsoMaxLossConfig::new().init().forward(logits, targets).into_scalar().is_nan());
//! ```

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Int, Tensor, backend::Backend};

use crate::HeadKind;

mod cross_entropy;
mod dismax;
pub mod fpr;
#[cfg(feature = "flex")]
mod fused_cross_entropy;
mod isomax;
mod logit_norm;
mod outlier_exposure;
mod softmax;

pub use dismax::{DisMaxLoss, DisMaxLossConfig};
pub use isomax::{IsoMaxLoss, IsoMaxLossConfig};
pub use logit_norm::{LogitNormLoss, LogitNormLossConfig};
pub use outlier_exposure::{OutlierExposure, OutlierExposureConfig};
pub use softmax::{SoftMaxLoss, SoftMaxLossConfig};

/// The entropic scale of all published experiments. Configurations such as [`LossConfig`] have it
/// unless another one is given.
pub const DEFAULT_ENTROPIC_SCALE: f64 = 10.0;

/// Configuration of a [`Loss`] for a head of any kind. See there for an example.
#[derive(Config, Debug, PartialEq)]
pub struct LossConfig {
    /// The head that is trained.
    pub kind: HeadKind,
    /// The entropic scale `Eₛ`, a positive number; SoftMax has none.
    #[config(default = "DEFAULT_ENTROPIC_SCALE")]
    pub entropic_scale: f64,
}

impl LossConfig {
    /// Initializes the loss that belongs to the head.
    ///
    /// # Panics
    ///
    /// If the entropic scale is not a positive finite number.
    pub fn init(&self) -> Loss {
        let entropic_scale = self.entropic_scale;
        match self.kind {
            HeadKind::SoftMax => Loss::SoftMax(SoftMaxLossConfig::new().init()),
            HeadKind::IsoMax | HeadKind::IsoMaxPlus => {
                Loss::IsoMax(IsoMaxLossConfig { entropic_scale }.init())
            }
            HeadKind::DisMax => Loss::DisMax(DisMaxLossConfig { entropic_scale }.init()),
        }
    }
}

/// The loss of a head of any kind, chosen when the program runs.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Int, Tensor};
/// use isomax_burn::{HeadKind, LossConfig};
///
/// let device = Default::default();
/// let logits = Tensor::<Flex, 2>::from_floats([[-0.1, -1.2], [-1.3, -0.2]], &device);
/// let targets = Tensor::<Flex, 1, Int>::from_ints([0, 1], &device);
/// let loss = LossConfig::new(HeadKind::DisMax).init();
/// let training = loss.forward(logits.clone(), targets.clone()).into_scalar();
/// // DisMax validates without the entropic scale, which makes the right classes less certain.
/// let validation = loss.forward_valid(logits, targets).into_scalar();
/// assert!(training < 0.001 && validation > 0.2);
/// ```
#[derive(Module, Clone, Debug)]
#[non_exhaustive]
pub enum Loss {
    /// For the baseline.
    SoftMax(SoftMaxLoss),
    /// For IsoMax and IsoMax+.
    IsoMax(IsoMaxLoss),
    /// For DisMax.
    DisMax(DisMaxLoss),
    /// For the baseline's head, as a peer.
    LogitNorm(LogitNormLoss),
}

impl Loss {
    /// Computes the mean training loss of the batch.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch_size, num_classes]`, raw
    /// - targets: `[batch_size]`, class indices
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not fit each other. A target that names no class is no panic: it makes the
    /// loss NaN, on every backend.
    pub fn forward<B: Backend>(
        &self,
        logits: Tensor<B, 2>,
        targets: Tensor<B, 1, Int>,
    ) -> Tensor<B, 1> {
        match self {
            Self::SoftMax(loss) => loss.forward(logits, targets),
            Self::IsoMax(loss) => loss.forward(logits, targets),
            Self::DisMax(loss) => loss.forward(logits, targets),
            Self::LogitNorm(loss) => loss.forward(logits, targets),
        }
    }

    /// Computes the mean validation loss, as the published experiments do: DisMax leaves its
    /// entropic scale out, IsoMax and IsoMax+ keep it. Shapes and panics as
    /// [`forward`](Self::forward).
    pub fn forward_valid<B: Backend>(
        &self,
        logits: Tensor<B, 2>,
        targets: Tensor<B, 1, Int>,
    ) -> Tensor<B, 1> {
        match self {
            Self::DisMax(loss) => loss.forward_valid(logits, targets),
            Self::SoftMax(_) | Self::IsoMax(_) | Self::LogitNorm(_) => {
                self.forward(logits, targets)
            }
        }
    }
}

fn check_entropic_scale(scale: f64) -> f64 {
    assert!(
        scale > 0.0 && scale.is_finite(),
        "An entropic scale must be a positive finite number, got {scale}"
    );
    scale
}
