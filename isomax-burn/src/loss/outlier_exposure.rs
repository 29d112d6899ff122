use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay};
use burn::tensor::{Tensor, backend::Backend};

use super::cross_entropy::LogSoftMax;

/// Configuration of an [`OutlierExposure`], which has an example.
#[derive(Config, Debug, PartialEq)]
pub struct OutlierExposureConfig {
    /// What the term counts beside the loss of the classes, not negative.
    #[config(default = 0.5)]
    pub weight: f64,
    /// What the loss of the classes multiplies logits by: the entropic scale, 1 for SoftMax.
    #[config(default = 1.0)]
    pub scale: f64,
}

impl OutlierExposureConfig {
    /// Initializes the term.
    ///
    /// # Panics
    ///
    /// If the weight is negative or not finite, or the scale is not a positive finite number.
    pub fn init(&self) -> OutlierExposure {
        let Self { weight, scale } = *self;
        assert!(weight >= 0.0 && weight.is_finite(), "A weight must not be negative, got {weight}");
        super::check_entropic_scale(scale);
        OutlierExposure { weight, scale }
    }
}

/// Outlier Exposure: a term beside any loss that asks for the same probability of every class on images that are of
/// none.
///
/// `λ · mean(ln Σ exp l − mean l)`, the cross-entropy of the uniform distribution but for a constant
///
/// Hendrycks et al., *Deep Anomaly Detection with Outlier Exposure*,
/// [arXiv:1812.04606](https://arxiv.org/abs/1812.04606): a peer to compare with, that needs such images in training.
/// Published with SoftMax; with an entropic loss give its scale. The outliers are best computed in one batch with the
/// others, as published, so that batch normalisation sees both.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_burn::OutlierExposureConfig;
///
/// let term = OutlierExposureConfig::new().init();
/// let logits = Tensor::<Flex, 2>::from_floats([[2.0, 0.0]], &Default::default());
/// let value = term.forward(logits).into_scalar();
/// assert!((value - 0.5 * 1.1269).abs() < 1e-3); // ln(e² + 1) - 1
/// ```
#[derive(Module, Clone, Debug)]
#[module(custom_display)]
pub struct OutlierExposure {
    /// What the term counts, `λ`.
    pub weight: f64,
    /// What logits are multiplied by.
    pub scale: f64,
}

impl OutlierExposure {
    /// Computes the term, to be added to the loss of the classes.
    ///
    /// # Shapes
    ///
    /// - logits: `[num_outliers, num_classes]`, raw
    /// - output: `[1]`
    pub fn forward<B: Backend>(&self, logits: Tensor<B, 2>) -> Tensor<B, 1> {
        LogSoftMax::new(logits, self.scale).of_all().mean() * -self.weight
    }
}

impl ModuleDisplay for OutlierExposure {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content.add("weight", &self.weight).add("scale", &self.scale).optional()
    }
}
