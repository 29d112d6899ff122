use burn::config::Config;
use burn::module::{
    Content, DisplaySettings, Initializer, Module, ModuleDisplay, Param, RunningState,
};
use burn::tensor::{Tensor, backend::Backend};

use super::Activation;
use super::conv::Geometry;
use super::fast_backends::{self, BatchNormalization, Normalized};
use super::rows::Rows;

/// Configuration of a [`BatchNorm`], which has an example.
#[derive(Config, Debug, PartialEq)]
pub struct BatchNormConfig {
    /// Number of channels.
    pub num_features: usize,
    /// Added to variances, so that no division is by zero.
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Share of the current batch in the running statistics, as PyTorch counts it.
    #[config(default = 0.1)]
    pub momentum: f64,
}

impl BatchNormConfig {
    /// Initializes the layer: weight 1, bias 0, running mean 0, running variance 1.
    pub fn init<B: Backend>(&self, device: &B::Device) -> BatchNorm<B> {
        let shape = [self.num_features];
        BatchNorm {
            weight: Initializer::Ones.init(shape, device),
            bias: Initializer::Zeros.init(shape, device),
            running_mean: RunningState::new(Tensor::zeros(shape, device)),
            running_var: RunningState::new(Tensor::ones(shape, device)),
            epsilon: self.epsilon,
            momentum: self.momentum,
            frozen: false,
        }
    }
}

/// Batch normalisation over images with PyTorch's statistics
/// ([arXiv:1502.03167](https://arxiv.org/abs/1502.03167)).
///
/// Against [`burn::nn::BatchNorm`]: the running variance is the unbiased one, the fields are named
/// after PyTorch's state dict, and all work on pixels is done on rows of a matrix, one for each
/// image and channel, which the CPU backends do many times faster than broadcasting over
/// four dimensions. Normalizes with batch statistics on backends with gradients, with the running
/// ones on others, or everywhere if it is [frozen](Self::frozen).
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::BatchNormConfig;
///
/// let device = Default::default();
/// let norm = BatchNormConfig::new(16).init::<Flex>(&device);
/// // Running statistics begin at a mean of 0 and a variance of 1, which change nothing.
/// let maps = norm.forward(Tensor::ones([2, 16, 8, 8], &device));
/// assert!((maps.mean().into_scalar() - 1.0).abs() < 0.001);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct BatchNorm<B: Backend> {
    /// Scale of each channel, `[channels]`.
    pub weight: Param<Tensor<B, 1>>,
    /// Offset of each channel, `[channels]`.
    pub bias: Param<Tensor<B, 1>>,
    /// Running mean of each channel, `[channels]`.
    pub running_mean: RunningState<Tensor<B, 1>>,
    /// Running unbiased variance of each channel, `[channels]`.
    pub running_var: RunningState<Tensor<B, 1>>,
    /// Added to variances.
    pub epsilon: f64,
    /// Share of the current batch in the running statistics.
    pub momentum: f64,
    /// Whether training, too, normalizes by the running statistics and leaves them as they are. Weight and bias
    /// take gradients all the same. See [`freeze_statistics`](crate::Backbone::freeze_statistics).
    pub frozen: bool,
}

impl<B: Backend> BatchNorm<B> {
    /// Normalizes a batch.
    ///
    /// # Shapes
    ///
    /// - images: `[batch_size, channels, height, width]`
    /// - output: as given
    ///
    /// # Panics
    ///
    /// If the images have another number of channels than the layer, or if there is a single value
    /// for each channel to form batch statistics of.
    pub fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        self.normalize(images, None, Activation::Identity)
    }

    /// Normalizes a batch and takes an activation of it, in one pass over the pixels where the backend has it.
    ///
    /// # Shapes
    ///
    /// As [`BatchNorm::forward`].
    ///
    /// # Panics
    ///
    /// As [`BatchNorm::forward`].
    pub fn forward_with(&self, images: Tensor<B, 4>, activation: Activation) -> Tensor<B, 4> {
        self.normalize(images, None, activation)
    }

    /// Normalizes a batch, adds maps to it and takes an activation of the sum.
    pub(super) fn normalize(
        &self,
        images: Tensor<B, 4>,
        shortcut: Option<Tensor<B, 4>>,
        activation: Activation,
    ) -> Tensor<B, 4> {
        self.check_channels(images.dims()[1]);
        if self.uses_batch(&images.device()) {
            self.normalize_with_batch(images, shortcut, activation)
        } else {
            self.normalize_with_running(images, shortcut, activation)
        }
    }

    /// Whether the statistics are those of the batch.
    pub(super) fn uses_batch(&self, device: &B::Device) -> bool {
        !self.frozen && B::ad_enabled(device)
    }

    pub(super) fn check_channels(&self, channels: usize) {
        let [expected] = self.weight.dims();
        assert!(
            channels == expected,
            "Images of {channels} channels do not fit a batch normalisation of {expected} channels"
        );
    }

    /// Scale and shift of each channel by the running statistics.
    pub(super) fn affine(&self, device: &B::Device) -> (Tensor<B, 1>, Tensor<B, 1>) {
        // Clones of a network on other devices share their running statistics. If it was frozen after a training step,
        // that one's wait to be taken over.
        let mean = self.running_mean.value_sync().to_device(device);
        let variance = self.running_var.value_sync().to_device(device) + self.epsilon;
        let scale = self.weight.val() / variance.sqrt();
        let shift = self.bias.val() - mean * scale.clone();
        (scale, shift)
    }

    fn normalize_with_running(
        &self,
        images: Tensor<B, 4>,
        shortcut: Option<Tensor<B, 4>>,
        activation: Activation,
    ) -> Tensor<B, 4> {
        let (scale, shift) = self.affine(&images.device());
        let output = fast_backends::affine(&images, &scale, &shift, shortcut.as_ref(), activation);
        if let Some(output) = output {
            return output;
        }
        let rows = Rows::new(images);
        let (scale, shift) = (rows.spread(scale.unsqueeze()), rows.spread(shift.unsqueeze()));
        finished(rows.map(|values| values * scale + shift), shortcut, activation)
    }

    /// Values are taken relative to the batch mean `k`, a constant: the variance
    /// `E[(x - k)²] - E[x - k]²` is then free of cancellation, and exact for its gradient, since a
    /// variance is the same for any `k`.
    ///
    /// One factor of the square is a constant as well, `q = E[(x - k) · const(x - k)]`, which has half
    /// the gradient of `E[(x - k)²]` at half the work; `2 q - const(q)` has the same value and all of it.
    fn normalize_with_batch(
        &self,
        images: Tensor<B, 4>,
        shortcut: Option<Tensor<B, 4>>,
        activation: Activation,
    ) -> Tensor<B, 4> {
        let [batch_size, _, height, width] = images.dims();
        let count = batch_size * height * width;
        check_count(count);
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let norm = BatchNormalization {
            weight: &weight,
            bias: &bias,
            epsilon: self.epsilon,
            shortcut: shortcut.as_ref(),
            activation,
        };
        if let Some(normalized) = fast_backends::normalize(&images, &norm) {
            return self.take(normalized);
        }
        let rows = Rows::new(images);
        let mean = rows.channel_means(rows.values.clone().detach());
        let spread_mean = rows.spread(mean.clone());
        let centred = rows.values.clone() - spread_mean;

        let offset = rows.channel_means(centred.clone());
        let half = rows.channel_means(centred.clone() * centred.clone().detach());
        let squares = half.clone() * 2.0 - half.detach();
        let variance = squares - offset.clone() * offset.clone();
        let scale = weight.unsqueeze() / (variance.clone() + self.epsilon).sqrt();
        let shift = bias.unsqueeze() - offset.clone() * scale.clone();
        let mean = (mean + offset.detach()).squeeze_dim::<1>(0);
        let unbiased = variance.detach() * (count as f64 / (count - 1) as f64);
        self.update_both(mean, unbiased.squeeze_dim::<1>(0));

        let (scale, shift) = (rows.spread(scale), rows.spread(shift));
        finished(rows.map(|_| centred * scale + shift), shortcut, activation)
    }

    /// Computes a convolution and normalizes its output by the statistics of the batch, as one operation where the
    /// backend has it.
    pub(super) fn normalize_convolution(
        &self,
        images: &Tensor<B, 4>,
        weight: &Tensor<B, 4>,
        geometry: Geometry,
        shortcut: Option<&Tensor<B, 4>>,
        activation: Activation,
    ) -> Option<Tensor<B, 4>> {
        let norm = BatchNormalization {
            weight: &self.weight.val(),
            bias: &self.bias.val(),
            epsilon: self.epsilon,
            shortcut,
            activation,
        };
        let normalized = fast_backends::convolve_and_normalize(images, weight, geometry, &norm)?;
        let [batch_size, _, height, width] = normalized.maps.dims();
        check_count(batch_size * height * width);
        Some(self.take(normalized))
    }

    /// Takes the moments of a batch into the running ones, and gives its maps.
    fn take(&self, normalized: Normalized<B>) -> Tensor<B, 4> {
        self.update_both(normalized.mean, normalized.unbiased_variance);
        normalized.maps
    }

    fn update_both(&self, mean: Tensor<B, 1>, unbiased_variance: Tensor<B, 1>) {
        self.update(&self.running_mean, mean);
        self.update(&self.running_var, unbiased_variance);
    }

    fn update(&self, running: &RunningState<Tensor<B, 1>>, batch: Tensor<B, 1>) {
        let old = running.value_sync().to_device(&batch.device()) * (1.0 - self.momentum);
        running.update((old + batch * self.momentum).detach());
    }
}

fn check_count(count: usize) {
    assert!(count > 1, "Batch statistics need more than one value for each channel");
}

fn finished<B: Backend>(
    maps: Tensor<B, 4>,
    shortcut: Option<Tensor<B, 4>>,
    activation: Activation,
) -> Tensor<B, 4> {
    activation.forward(match shortcut {
        Some(shortcut) => maps + shortcut,
        None => maps,
    })
}

impl<B: Backend> ModuleDisplay for BatchNorm<B> {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [num_features] = self.weight.shape().dims();
        content
            .add("num_features", &num_features)
            .add("epsilon", &self.epsilon)
            .add("momentum", &self.momentum)
            .add("frozen", &self.frozen)
            .optional()
    }
}
