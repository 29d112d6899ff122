use burn::module::AutodiffModule;
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};

use crate::Backbone;

/// ODIN, the out-of-distribution detector for neural networks: the largest probability at a high temperature, of an
/// image that was moved a little towards the class that the network gives it
/// ([arXiv:1706.02690](https://arxiv.org/abs/1706.02690)).
///
/// `x' = x − ε · sign(∇ₓ CE(l(x) / T, argmax l(x))) / std`, and the score is the largest softmax probability of
/// `l(x') / T`; the sign of zero is zero. It takes three times as long as a classification, and memory for gradients.
/// Parameters are usually chosen on OOD images, which no other score of this project asks for.
///
/// The network is left as it is, and computes as in evaluation: batch normalisations stand at their running statistics
/// while the gradient of the image is taken, those that [`Backbone::batch_norms_mut`] names, and nothing of what
/// [`Backbone::drop_probabilities_mut`] names is dropped. Burn's own batch normalisations would learn from the images.
/// The gradient is that of the formula of training where a head has another one for it, as
/// [`GOdinHead`](isomax_burn::GOdinHead) and [`T2fNormHead`](isomax_burn::T2fNormHead) have; the score is always that of
/// the evaluation.
///
/// ```
/// use burn::backend::{Autodiff, Flex};
/// use burn::tensor::Tensor;
/// use isomax_models::{CifarResNetConfig, Odin};
///
/// let device = Default::default();
/// let network = CifarResNetConfig::new(8, 10).init::<Autodiff<Flex>>(&device);
/// let images = Tensor::<Flex, 4>::zeros([2, 3, 32, 32], &device);
/// let scores = Odin::new().with_std(&[0.247, 0.243, 0.261]).scores(&network, images);
/// assert_eq!(scores.dims(), [2]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Odin {
    temperature: f64,
    noise: f64,
    std: Vec<f64>,
}

impl Default for Odin {
    fn default() -> Self {
        Self { temperature: 1000.0, noise: 0.0014, std: Vec::new() }
    }
}

impl Odin {
    /// A temperature of 1,000 and noise of 0.0014, the published values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the temperature T that logits are divided by.
    ///
    /// # Panics
    ///
    /// If it is not a positive number.
    pub fn with_temperature(mut self, temperature: f64) -> Self {
        assert!(temperature > 0.0 && temperature.is_finite(), "the temperature must be positive");
        self.temperature = temperature;
        self
    }

    /// Sets the noise ε, how far each value of an image moves, in the units of pixels in [0, 1] if
    /// [`with_std`](Self::with_std) says what they were divided by, else in those of the network's inputs.
    ///
    /// # Panics
    ///
    /// If it is negative or not finite.
    pub fn with_noise(mut self, noise: f64) -> Self {
        assert!(noise >= 0.0 && noise.is_finite(), "the noise must not be negative");
        self.noise = noise;
        self
    }

    /// Sets the standard deviation of each channel that pixels were divided by.
    ///
    /// # Panics
    ///
    /// If one is not a positive number.
    pub fn with_std(mut self, std: &[f64]) -> Self {
        assert!(std.iter().all(|std| *std > 0.0), "standard deviations must be positive");
        self.std = std.to_vec();
        self
    }

    /// The temperature T.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// The noise ε.
    pub fn noise(&self) -> f64 {
        self.noise
    }

    /// One score for each image, high = in-distribution.
    ///
    /// # Shapes
    ///
    /// - images: `[batch_size, channels, height, width]`, as the network takes them
    /// - output: `[batch_size]`, in `(0, 1]`
    ///
    /// # Panics
    ///
    /// If the network refuses the images, or if they have another number of channels than there are deviations.
    pub fn scores<B, N>(
        &self,
        network: &N,
        images: Tensor<B::InnerBackend, 4>,
    ) -> Tensor<B::InnerBackend, 1>
    where
        B: AutodiffBackend,
        N: Backbone<B, Input = Tensor<B, 4>> + AutodiffModule<B>,
        N::InnerModule: Backbone<B::InnerBackend, Input = Tensor<B::InnerBackend, 4>>,
    {
        let fixed = network.valid();
        let mut network = network.clone().no_grad();
        network.freeze_statistics(true);
        network.drop_probabilities_mut().into_iter().for_each(|probability| *probability = 0.0);
        let moved = images.clone() - self.step(&network, images);
        let logits = fixed.forward(moved);
        softmax(logits / self.temperature, 1).max_dim(1).squeeze_dim(1)
    }

    /// How far the images move.
    fn step<B, N>(
        &self,
        network: &N,
        images: Tensor<B::InnerBackend, 4>,
    ) -> Tensor<B::InnerBackend, 4>
    where
        B: AutodiffBackend,
        N: Backbone<B, Input = Tensor<B, 4>>,
    {
        let input = Tensor::from_inner(images.clone()).require_grad();
        let logits = network.forward(input.clone());
        let classes = logits.clone().argmax(1);
        let gradients =
            log_softmax(logits / self.temperature, 1).gather(1, classes).sum().neg().backward();
        // What the network does not look at stays where it is.
        let gradient = input.grad(&gradients).unwrap_or_else(|| images.zeros_like());
        gradient.sign() * self.noise / self.deviations(&images)
    }

    /// The deviations as `[1, channels or 1, 1, 1]`.
    fn deviations<B: Backend>(&self, images: &Tensor<B, 4>) -> Tensor<B, 4> {
        let std = if self.std.is_empty() { vec![1.0] } else { self.std.clone() };
        let (channels, found) = (images.dims()[1], std.len());
        assert!(
            found == 1 || found == channels,
            "{found} standard deviations do not fit images of {channels} channels"
        );
        Tensor::from_data(TensorData::new(std, [1, found, 1, 1]), &images.device())
    }
}
