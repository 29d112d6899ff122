use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay};
use burn::tensor::{Int, Tensor, backend::Backend};

use super::{DEFAULT_ENTROPIC_SCALE, check_entropic_scale, cross_entropy::cross_entropy};

/// Configuration of an [`IsoMaxLoss`], which has an example.
#[derive(Config, Debug, PartialEq)]
pub struct IsoMaxLossConfig {
    /// The entropic scale `Eₛ`, a positive number.
    #[config(default = "DEFAULT_ENTROPIC_SCALE")]
    pub entropic_scale: f64,
}

impl IsoMaxLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// If the entropic scale is not a positive finite number.
    pub fn init(&self) -> IsoMaxLoss {
        IsoMaxLoss { entropic_scale: check_entropic_scale(self.entropic_scale) }
    }
}

/// The loss of [`IsoMaxHead`](crate::IsoMaxHead) and [`IsoMaxPlusHead`](crate::IsoMaxPlusHead):
/// the mean cross-entropy of `softmax(Eₛ · logits)`.
///
/// The entropic scale `Eₛ` exists in training only; at inference the logits are used as they are,
/// so that the outputs keep a high entropy (entropic scale:
/// [arXiv:1908.05569](https://arxiv.org/abs/1908.05569)).
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Int, Tensor};
/// use isomax_burn::IsoMaxLossConfig;
///
/// let device = Default::default();
/// let logits = Tensor::<Flex, 2>::from_floats([[-1.0, -1.1]], &device);
/// let targets = Tensor::<Flex, 1, Int>::from_ints([0], &device);
/// let loss = IsoMaxLossConfig::new().init().forward(logits, targets).into_scalar();
/// // The gap of 0.1 counts tenfold: -ln(e / (e + 1)).
/// assert!((loss - 0.3133).abs() < 0.001);
/// ```
#[derive(Module, Clone, Debug)]
#[module(custom_display)]
pub struct IsoMaxLoss {
    /// The entropic scale `Eₛ`.
    pub entropic_scale: f64,
}

impl IsoMaxLoss {
    /// Computes the mean loss of the batch, in training and in validation.
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
        cross_entropy(logits, targets, self.entropic_scale)
    }
}

impl ModuleDisplay for IsoMaxLoss {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content.add("entropic_scale", &self.entropic_scale).optional()
    }
}
