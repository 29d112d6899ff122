use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay};
use burn::tensor::{Int, Tensor, backend::Backend};

use super::cross_entropy::{Labels, LogSoftMax, check_shapes, cross_entropy};
use super::fpr::{mixed_targets, split};
use super::{DEFAULT_ENTROPIC_SCALE, check_entropic_scale};

/// Configuration of a [`DisMaxLoss`].
#[derive(Config, Debug, PartialEq)]
pub struct DisMaxLossConfig {
    /// The entropic scale `Eₛ`, a positive number.
    #[config(default = "DEFAULT_ENTROPIC_SCALE")]
    pub entropic_scale: f64,
}

impl DisMaxLossConfig {
    /// Initializes the loss.
    ///
    /// # Panics
    ///
    /// If the entropic scale is not a positive finite number.
    pub fn init(&self) -> DisMaxLoss {
        DisMaxLoss { entropic_scale: check_entropic_scale(self.entropic_scale) }
    }
}

/// The loss of [`DisMaxHead`](crate::DisMaxHead), with or without fractional probability
/// regularisation ([arXiv:2205.05874](https://arxiv.org/abs/2205.05874)).
#[derive(Module, Clone, Debug)]
#[module(custom_display)]
pub struct DisMaxLoss {
    /// The entropic scale `Eₛ`, which exists in training only.
    pub entropic_scale: f64,
}

impl DisMaxLoss {
    /// Computes the training loss without regularisation: the mean cross-entropy of
    /// `softmax(Eₛ · logits)`.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch_size, num_classes]`, raw
    /// - targets: `[batch_size]`, class indices
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not fit each other, or a target is out of range on a device that computes
    /// in host memory (on other devices the loss is NaN then).
    pub fn forward<B: Backend>(
        &self,
        logits: Tensor<B, 2>,
        targets: Tensor<B, 1, Int>,
    ) -> Tensor<B, 1> {
        cross_entropy(logits, targets, self.entropic_scale)
    }

    /// Computes the validation loss, which DisMax takes without the entropic scale: the mean
    /// cross-entropy of `softmax(logits)`. Shapes and panics as [`forward`](Self::forward).
    pub fn forward_valid<B: Backend>(
        &self,
        logits: Tensor<B, 2>,
        targets: Tensor<B, 1, Int>,
    ) -> Tensor<B, 1> {
        cross_entropy(logits, targets, 1.0)
    }

    /// Computes the training loss of a batch whose second half was mixed by
    /// [`mix_second_half`](crate::fpr::mix_second_half):
    ///
    /// `½ (mean CE of the first half + mean KL(target ‖ softmax(Eₛ · logits)) of the second)`
    ///
    /// # Shapes
    ///
    /// - logits: `[batch_size, num_classes]`, raw, of the mixed batch
    /// - targets: `[batch_size]`, the class indices before mixing
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward), and if the batch has fewer than 2 samples.
    pub fn forward_fpr<B: Backend>(
        &self,
        logits: Tensor<B, 2>,
        targets: Tensor<B, 1, Int>,
    ) -> Tensor<B, 1> {
        check_shapes(&logits, &targets);
        let [batch_size, num_classes] = logits.dims();
        let half = split(batch_size);
        // All labels are looked at before any is used, so that a panic names the row in the batch.
        let labels = Labels::new(targets.clone(), num_classes);
        let first = cross_entropy(
            logits.clone().slice(0..half),
            targets.slice(0..half),
            self.entropic_scale,
        );

        // KL(t ‖ p) = Σ t ln t − Σ t ln p; shares are 0 or at least a quarter, and 0 ln 0 = 0.
        let shares = mixed_targets(labels.indices.clone(), num_classes);
        let log_probabilities =
            LogSoftMax::new(logits.slice(half..batch_size), self.entropic_scale).of_all();
        let log_ratios = shares.clone().clamp_min(0.25).log() - log_probabilities;
        let divergence = (shares * log_ratios).sum_dim(1).squeeze_dim(1);
        let labels = labels.slice(half..batch_size);
        (first + labels.poison(divergence).mean()) / 2.0
    }
}

impl ModuleDisplay for DisMaxLoss {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content.add("entropic_scale", &self.entropic_scale).optional()
    }
}
