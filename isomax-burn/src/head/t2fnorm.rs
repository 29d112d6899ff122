use burn::config::Config;
use burn::module::{Content, DisplaySettings, Initializer, Module, ModuleDisplay, Param};
use burn::tensor::{Tensor, backend::Backend};

use super::distance::unit_rows;
use super::{ClassPlanes, HeadKind, OodHead, check_features, display, temperature};

/// Configuration of a [`T2fNormHead`], which has an example.
#[derive(Config, Debug, PartialEq)]
pub struct T2fNormHeadConfig {
    /// Width of the feature vectors.
    pub num_features: usize,
    /// Number of ID classes.
    pub num_classes: usize,
    /// What features are divided by, `τ`, a positive number.
    #[config(default = 0.1)]
    pub feature_temperature: f64,
}

impl T2fNormHeadConfig {
    /// Initializes the head: weights uniform in `±1/√num_features`, bias 0, temperature 1.
    ///
    /// # Panics
    ///
    /// If the feature temperature is not a positive finite number.
    pub fn init<B: Backend>(&self, device: &B::Device) -> T2fNormHead<B> {
        let tau = self.feature_temperature;
        assert!(
            tau > 0.0 && tau.is_finite(),
            "A feature temperature must be a positive finite number, got {tau}"
        );
        let bound = 1.0 / (self.num_features as f64).sqrt();
        let uniform = Initializer::Uniform { min: -bound, max: bound };
        T2fNormHead {
            weights: uniform.init([self.num_classes, self.num_features], device),
            bias: Initializer::Zeros.init([self.num_classes], device),
            temperature: temperature::unit(device),
            feature_temperature: tau,
        }
    }
}

/// T2FNorm: an affine layer whose features have unit length in training, and their own at inference.
///
/// `logits = (x̂/τ·Wᵀ + b) / T` where gradients are computed, `(x/τ·Wᵀ + b) / T` elsewhere
///
/// Regmi et al., *T2FNorm: Train-time Feature Normalization for OOD Detection*,
/// [arXiv:2305.17797](https://arxiv.org/abs/2305.17797): a peer to compare with. Train it with
/// [`SoftMaxLoss`](crate::SoftMaxLoss), detect with [`Score::MPS`](crate::Score::MPS).
///
/// ```
/// use burn::backend::{Autodiff, Flex};
/// use burn::tensor::Tensor;
/// use isomax_burn::T2fNormHeadConfig;
///
/// let device = Default::default();
/// let head = T2fNormHeadConfig::new(64, 10).init::<Autodiff<Flex>>(&device);
/// // In training the length of features does not count.
/// let logits = |length| head.forward(Tensor::full([1, 64], length, &device)).into_data();
/// logits(1.0).assert_approx_eq::<f32>(&logits(5.0), Default::default());
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct T2fNormHead<B: Backend> {
    /// One row for each class, `[num_classes, num_features]`.
    pub weights: Param<Tensor<B, 2>>,
    /// One offset for each class, `[num_classes]`.
    pub bias: Param<Tensor<B, 1>>,
    /// The temperature `T`, `[1]`, which no optimizer moves.
    pub temperature: Param<Tensor<B, 1>>,
    /// What features are divided by, `τ`.
    pub feature_temperature: f64,
}

impl<B: Backend> T2fNormHead<B> {
    /// Computes the logits: as in training where the backend computes gradients.
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
        let trains = B::ad_enabled(&features.device());
        let features = if trains { unit_rows(features) } else { features };
        let features = features / self.feature_temperature;
        let logits = features.matmul(self.weights.val().transpose()) + self.bias.val().unsqueeze();
        temperature::divide(logits, &self.temperature)
    }

    /// The hyperplanes between the classes at inference: `x·Wᵀ/τ + b`.
    pub fn class_planes(&self) -> ClassPlanes<B> {
        let weights = self.weights.val() / self.feature_temperature;
        ClassPlanes::new(false, weights, self.bias.val())
    }
}

impl<B: Backend> OodHead<B> for T2fNormHead<B> {
    fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        self.forward(features)
    }

    fn kind(&self) -> HeadKind {
        HeadKind::SoftMax
    }

    fn name(&self) -> &str {
        "t2fnorm"
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

impl<B: Backend> ModuleDisplay for T2fNormHead<B> {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        display::on_one_line()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        display::sizes(self, content)
    }
}
