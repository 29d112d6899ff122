use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay};
use burn::tensor::{Int, Tensor, backend::Backend};

use super::cross_entropy::cross_entropy;

/// Configuration of a [`LogitNormLoss`], which has an example.
#[derive(Config, Debug, PartialEq)]
pub struct LogitNormLossConfig {
    /// What unit logits are divided by, `τ`, a positive number.
    #[config(default = 0.04)]
    pub temperature: f64,
}

impl LogitNormLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// If the temperature is not a positive finite number.
    pub fn init(&self) -> LogitNormLoss {
        let temperature = self.temperature;
        assert!(
            temperature > 0.0 && temperature.is_finite(),
            "A temperature must be a positive finite number, got {temperature}"
        );
        LogitNormLoss { temperature }
    }
}

/// LogitNorm: the mean cross-entropy of `softmax(l̂ / τ)`, `l̂` the logits scaled to unit length, so that training
/// does not make them ever longer.
///
/// Wei et al., *Mitigating Neural Network Overconfidence with Logit Normalization*,
/// [arXiv:2205.09310](https://arxiv.org/abs/2205.09310): a peer to compare with, on a
/// [`SoftMaxHead`](crate::SoftMaxHead). At inference the logits are used as they are, with
/// [`Score::MPS`](crate::Score::MPS).
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Int, Tensor};
/// use isomax_burn::LogitNormLossConfig;
///
/// let loss = LogitNormLossConfig::new().with_temperature(0.5).init();
/// let targets = Tensor::<Flex, 1, Int>::from_ints([0], &Default::default());
/// let of = |a: f32, b: f32| {
///     let logits = Tensor::<Flex, 2>::from_floats([[a, b]], &Default::default());
///     loss.forward(logits, targets.clone()).into_scalar()
/// };
/// assert!((of(3.0, 4.0) - of(30.0, 40.0)).abs() < 1e-5); // their length does not count
/// assert!((of(3.0, 4.0) - 0.9130).abs() < 1e-3); // ln(1 + exp((0.8 - 0.6) / 0.5))
/// ```
#[derive(Module, Clone, Debug)]
#[module(custom_display)]
pub struct LogitNormLoss {
    /// The temperature `τ`.
    pub temperature: f64,
}

/// Added to lengths, as published.
const SMALLEST_LENGTH: f64 = 1e-7;

impl LogitNormLoss {
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
        // The gradient of a root has no value at zero.
        let square = logits.clone().powi_scalar(2).sum_dim(1).clamp_min(1e-24);
        let unit = logits / (square.sqrt() + SMALLEST_LENGTH);
        cross_entropy(unit, targets, 1.0 / self.temperature)
    }
}

impl ModuleDisplay for LogitNormLoss {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content.add("temperature", &self.temperature).optional()
    }
}
