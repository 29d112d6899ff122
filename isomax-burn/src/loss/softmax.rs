use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay};
use burn::tensor::{Int, Tensor, backend::Backend};

use super::cross_entropy::cross_entropy;

/// Configuration of a [`SoftMaxLoss`], which has an example.
#[derive(Config, Debug, PartialEq)]
pub struct SoftMaxLossConfig {}

impl SoftMaxLossConfig {
    /// Initializes the loss.
    pub fn init(&self) -> SoftMaxLoss {
        SoftMaxLoss {}
    }
}

/// The baseline's loss: the mean cross-entropy of `softmax(logits)`.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Int, Tensor};
/// use isomax_burn::SoftMaxLossConfig;
///
/// let device = Default::default();
/// let logits = Tensor::<Flex, 2>::from_floats([[2.0, 1.0]], &device);
/// let targets = Tensor::<Flex, 1, Int>::from_ints([0], &device);
/// let loss = SoftMaxLossConfig::new().init().forward(logits, targets).into_scalar();
/// assert!((loss - 0.3133).abs() < 0.001); // -ln(e / (e + 1))
/// ```
#[derive(Module, Clone, Debug)]
#[module(custom_display)]
pub struct SoftMaxLoss {}

impl SoftMaxLoss {
    /// Computes the mean loss of the batch.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch_size, num_classes]`
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
        cross_entropy(logits, targets, 1.0)
    }
}

impl ModuleDisplay for SoftMaxLoss {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content.optional()
    }
}
