use burn::config::Config;
use burn::module::{Content, DisplaySettings, Initializer, Module, ModuleDisplay, Param};
use burn::tensor::{Tensor, backend::Backend};

use super::{ClassPlanes, HeadKind, OodHead, check_features, display, temperature};

/// Configuration of a [`SoftMaxHead`], which has an example.
#[derive(Config, Debug, PartialEq)]
pub struct SoftMaxHeadConfig {
    /// Width of the feature vectors.
    pub num_features: usize,
    /// Number of ID classes.
    pub num_classes: usize,
}

impl SoftMaxHeadConfig {
    /// Initializes the head: weights uniform in `±1/√num_features`, bias 0, temperature 1.
    pub fn init<B: Backend>(&self, device: &B::Device) -> SoftMaxHead<B> {
        let bound = 1.0 / (self.num_features as f64).sqrt();
        let uniform = Initializer::Uniform { min: -bound, max: bound };
        SoftMaxHead {
            weights: uniform.init([self.num_classes, self.num_features], device),
            bias: Initializer::Zeros.init([self.num_classes], device),
            temperature: temperature::unit(device),
        }
    }
}

/// The baseline: an affine layer, trained with [`SoftMaxLoss`](crate::SoftMaxLoss).
///
/// `logits = (x·Wᵀ + b) / T`
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_burn::SoftMaxHeadConfig;
///
/// let device = Default::default();
/// let head = SoftMaxHeadConfig::new(64, 10).init::<Flex>(&device);
/// let logits = head.forward(Tensor::ones([32, 64], &device));
/// assert_eq!(logits.dims(), [32, 10]);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct SoftMaxHead<B: Backend> {
    /// One row for each class, `[num_classes, num_features]`.
    pub weights: Param<Tensor<B, 2>>,
    /// One offset for each class, `[num_classes]`.
    pub bias: Param<Tensor<B, 1>>,
    /// The temperature `T`, `[1]`, which no optimizer moves.
    pub temperature: Param<Tensor<B, 1>>,
}

impl<B: Backend> SoftMaxHead<B> {
    /// Computes the logits.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, num_features]`
    /// - output: `[batch_size, num_classes]`
    ///
    /// # Panics
    ///
    /// If the features have another width than the weights.
    pub fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        check_features(&features, &self.weights);
        let logits = features.matmul(self.weights.val().transpose()) + self.bias.val().unsqueeze();
        temperature::divide(logits, &self.temperature)
    }

    /// The hyperplanes between the classes: `x·Wᵀ + b` itself.
    pub fn class_planes(&self) -> ClassPlanes<B> {
        ClassPlanes::new(false, self.weights.val(), self.bias.val())
    }
}

impl<B: Backend> OodHead<B> for SoftMaxHead<B> {
    fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        self.forward(features)
    }

    fn kind(&self) -> HeadKind {
        HeadKind::SoftMax
    }

    fn num_classes(&self) -> usize {
        self.weights.dims()[0]
    }

    fn num_features(&self) -> usize {
        self.weights.dims()[1]
    }

    fn temperature_param(&self) -> &Param<Tensor<B, 1>> {
        &self.temperature
    }

    fn temperature_param_mut(&mut self) -> &mut Param<Tensor<B, 1>> {
        &mut self.temperature
    }

    fn class_planes(&self) -> Option<ClassPlanes<B>> {
        Some(self.class_planes())
    }
}

impl<B: Backend> ModuleDisplay for SoftMaxHead<B> {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        display::on_one_line()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        display::sizes(self, content)
    }
}
