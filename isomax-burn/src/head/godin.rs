use burn::config::Config;
use burn::module::{Content, DisplaySettings, Initializer, Module, ModuleDisplay, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Tensor, backend::Backend};

use super::{ClassPlanes, HeadKind, OodHead, check_features, display, temperature};

/// Configuration of a [`GOdinHead`], which has an example.
#[derive(Config, Debug, PartialEq)]
pub struct GOdinHeadConfig {
    /// Width of the feature vectors.
    pub num_features: usize,
    /// Number of ID classes.
    pub num_classes: usize,
}

impl GOdinHeadConfig {
    /// Initializes the head: rows of `h` as He et al. have it, `g` as an affine layer, temperature 1.
    pub fn init<B: Backend>(&self, device: &B::Device) -> GOdinHead<B> {
        let width = self.num_features;
        let rows = Initializer::Normal { mean: 0.0, std: (2.0 / width as f64).sqrt() };
        let bound = 1.0 / (width as f64).sqrt();
        let uniform = Initializer::Uniform { min: -bound, max: bound };
        GOdinHead {
            directions: rows.init([self.num_classes, width], device),
            domain_weights: uniform.init([1, width], device),
            domain_bias: uniform.init([1], device),
            domain_scale: Initializer::Ones.init([1], device),
            domain_offset: Initializer::Zeros.init([1], device),
            temperature: temperature::unit(device),
        }
    }
}

/// G-ODIN, the cosine variant: the logits of training are those of the classes, `h`, divided by what says how
/// probable the sample is at all, `g`.
///
/// `logits = h / g / T` where gradients are computed, `h / T` elsewhere, `h = cos(x, w)`,
/// `g = σ(γ · norm(v·x + c) + β)`, where `norm` makes mean and variance of the batch 0 and 1
///
/// Hsu et al., *Generalized ODIN*, [arXiv:2002.11297](https://arxiv.org/abs/2002.11297): a peer to compare with. Train
/// it with [`SoftMaxLoss`](crate::SoftMaxLoss), which is [`IsoMaxLoss`](crate::IsoMaxLoss) with an entropic scale of 1;
/// detect with [`Score::MDS`](crate::Score::MDS), the largest `h`. Since
/// `g` is positive and the same for all classes, the class is that of the largest `h`, and nothing at inference depends
/// on a batch. The paper also moves the images along a gradient, and takes no weight decay on `h`.
///
/// ```
/// use burn::backend::{Autodiff, Flex};
/// use burn::tensor::{Distribution, Tensor};
/// use isomax_burn::GOdinHeadConfig;
///
/// let device = Default::default();
/// let head = GOdinHeadConfig::new(64, 10).init::<Flex>(&device);
/// let cosines = head.forward(Tensor::random([32, 64], Distribution::Default, &device));
/// assert!(cosines.abs().max().into_scalar() <= 1.0);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct GOdinHead<B: Backend> {
    /// One row for each class, `[num_classes, num_features]`; only its direction counts.
    pub directions: Param<Tensor<B, 2>>,
    /// `v`, `[1, num_features]`.
    pub domain_weights: Param<Tensor<B, 2>>,
    /// `c`, `[1]`.
    pub domain_bias: Param<Tensor<B, 1>>,
    /// `γ`, `[1]`.
    pub domain_scale: Param<Tensor<B, 1>>,
    /// `β`, `[1]`.
    pub domain_offset: Param<Tensor<B, 1>>,
    /// The temperature `T`, `[1]`, which no optimizer moves.
    pub temperature: Param<Tensor<B, 1>>,
}

/// Added to lengths, as published.
const SMALLEST_LENGTH: f64 = 1e-4;
/// Added to variances, as batch normalisation has it.
const SMALLEST_VARIANCE: f64 = 1e-5;

impl<B: Backend> GOdinHead<B> {
    /// Computes the logits: as in training where the backend computes gradients.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, num_features]`
    /// - output: `[batch_size, num_classes]`
    ///
    /// # Panics
    ///
    /// If the features have another width than the rows of the head.
    pub fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        check_features(&features, &self.directions);
        let cosines = unit(features.clone()).matmul(unit(self.directions.val()).transpose());
        let logits = match B::ad_enabled(&features.device()) {
            true => cosines / self.domain(features),
            false => cosines,
        };
        temperature::divide(logits, &self.temperature)
    }

    /// How probable the samples of a batch are at all, `g`, `[batch_size, 1]`.
    fn domain(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        let value = features.matmul(self.domain_weights.val().transpose())
            + self.domain_bias.val().unsqueeze();
        let centred = value.clone() - value.mean_dim(0);
        let variance = centred.clone().powi_scalar(2).mean_dim(0);
        let normal = centred / (variance + SMALLEST_VARIANCE).sqrt();
        sigmoid(normal * self.domain_scale.val().unsqueeze() + self.domain_offset.val().unsqueeze())
    }

    /// The hyperplanes between the classes, in unit space.
    pub fn class_planes(&self) -> ClassPlanes<B> {
        ClassPlanes::of_directions(self.directions.val())
    }
}

fn unit<B: Backend>(rows: Tensor<B, 2>) -> Tensor<B, 2> {
    // The gradient of a root has no value at zero.
    let square = rows.clone().powi_scalar(2).sum_dim(1).clamp_min(1e-24);
    rows / (square.sqrt() + SMALLEST_LENGTH)
}

impl<B: Backend> OodHead<B> for GOdinHead<B> {
    fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        self.forward(features)
    }

    /// Its planes are those of IsoMax+, and it detects with the same score.
    fn kind(&self) -> HeadKind {
        HeadKind::IsoMaxPlus
    }

    fn name(&self) -> &str {
        "godin"
    }

    fn num_classes(&self) -> usize {
        self.directions.dims()[0]
    }

    fn num_features(&self) -> usize {
        self.directions.dims()[1]
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

impl<B: Backend> ModuleDisplay for GOdinHead<B> {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        display::on_one_line()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        display::sizes(self, content)
    }
}
