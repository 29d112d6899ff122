use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay};
use burn::tensor::{Int, Tensor, backend::Backend};

use super::cross_entropy::{Labels, LogSoftMax, check_shapes, cross_entropy};
use super::fpr::{mix_second_half, mixed_targets, shuffle, split};
use super::{DEFAULT_ENTROPIC_SCALE, check_entropic_scale};

/// Configuration of a [`DisMaxLoss`], which has an example.
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
///
/// Without it, for inputs of any form ([`prepare_fpr`](Self::prepare_fpr) has an example with it):
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Int, Tensor};
/// use isomax_burn::DisMaxLossConfig;
///
/// let device = Default::default();
/// let logits = Tensor::<Flex, 2>::from_floats([[-1.0, -1.1]], &device);
/// let targets = Tensor::<Flex, 1, Int>::from_ints([0], &device);
/// let loss = DisMaxLossConfig::new().init();
/// let training = loss.forward(logits.clone(), targets.clone()).into_scalar();
/// let validation = loss.forward_valid(logits, targets).into_scalar();
/// // The gap of 0.1 counts tenfold in training, and as it is in validation.
/// assert!((training - 0.3133).abs() < 0.001 && (validation - 0.6444).abs() < 0.001);
/// ```
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
    /// If the shapes do not fit each other. A target that names no class is no panic: it makes the
    /// loss NaN, on every backend.
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

    /// Makes a batch of images one for [`forward_fpr`](Self::forward_fpr): shuffles it, and mixes
    /// the images of its second half. Draws from the random numbers of the backend.
    ///
    /// ```
    /// use burn::backend::{Autodiff, Flex};
    /// use burn::tensor::{Distribution, Int, Tensor};
    /// use isomax_burn::DisMaxLossConfig;
    /// type B = Autodiff<Flex>;
    ///
    /// let device = Default::default();
    /// let images = Tensor::<B, 4>::random([8, 3, 32, 32], Distribution::Default, &device);
    /// let targets = Tensor::<B, 1, Int>::from_ints([0, 1, 2, 3, 4, 5, 6, 7], &device);
    /// # let model = |images: Tensor<B, 4>| images.mean_dim(1).reshape([8, 1024]).slice([0..8, 0..10]);
    /// let loss = DisMaxLossConfig::new().init();
    /// let (images, targets) = loss.prepare_fpr(images, targets);
    /// let value = loss.forward_fpr(model(images), targets);
    /// # assert!(value.into_scalar().is_finite());
    /// ```
    ///
    /// # Shapes
    ///
    /// - images: `[batch_size, channels, height, width]`
    /// - targets: `[batch_size]`, class indices
    /// - output: as given
    ///
    /// # Panics
    ///
    /// If the batch has fewer than 2 images, or the images fewer than 2 rows or columns.
    pub fn prepare_fpr<B: Backend>(
        &self,
        images: Tensor<B, 4>,
        targets: Tensor<B, 1, Int>,
    ) -> (Tensor<B, 4>, Tensor<B, 1, Int>) {
        let (images, targets) = shuffle(images, targets);
        (mix_second_half(images), targets)
    }

    /// Computes the training loss of a batch that [`prepare_fpr`](Self::prepare_fpr) has made, or
    /// [`mix_second_half`] of one that is in random order already:
    ///
    /// `½ (mean CE of the first half + mean KL(target ‖ softmax(Eₛ · logits)) of the second)`
    ///
    /// # Shapes
    ///
    /// - logits: `[batch_size, num_classes]`, raw, of the mixed batch
    /// - targets: `[batch_size]`, the class indices of the batch, unmixed
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
