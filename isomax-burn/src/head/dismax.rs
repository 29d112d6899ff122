use burn::config::Config;
use burn::module::{Content, DisplaySettings, Initializer, Module, ModuleDisplay, Param};
use burn::tensor::{Tensor, backend::Backend};

use super::{ClassPlanes, HeadKind, OodHead, check_features, display, distance, temperature};

/// Configuration of a [`DisMaxHead`], which has an example.
#[derive(Config, Debug, PartialEq)]
pub struct DisMaxHeadConfig {
    /// Width of the feature vectors.
    pub num_features: usize,
    /// Number of ID classes.
    pub num_classes: usize,
}

impl DisMaxHeadConfig {
    /// Initializes the head: prototypes drawn from N(0, 1), distance scale 1, temperature 1.
    pub fn init<B: Backend>(&self, device: &B::Device) -> DisMaxHead<B> {
        let normal = Initializer::Normal { mean: 0.0, std: 1.0 };
        DisMaxHead {
            prototypes: normal.init([self.num_classes, self.num_features], device),
            distance_scale: Initializer::Ones.init([1], device),
            temperature: temperature::unit(device),
        }
    }
}

/// Distinction maximization (DisMax): every logit also carries the mean distance to all classes.
///
/// `logits = -(d + mean_c d) / T`, where `d = |s| ‖x̂ - p̂‖ / √2` and `x̂ = x / ‖x‖`
///
/// Macêdo, Zanchettin, Ludermir, *Distinction Maximization Loss*,
/// [arXiv:2205.05874](https://arxiv.org/abs/2205.05874). Train it with
/// [`DisMaxLoss`](crate::DisMaxLoss), detect with [`Score::MMLES`](crate::Score::MMLES).
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Distribution, Tensor};
/// use isomax_burn::DisMaxHeadConfig;
///
/// let device = Default::default();
/// let head = DisMaxHeadConfig::new(64, 10).init::<Flex>(&device);
/// let logits = head.forward(Tensor::random([32, 64], Distribution::Default, &device));
/// assert_eq!(logits.dims(), [32, 10]);
/// assert!(logits.max().into_scalar() <= 0.0);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct DisMaxHead<B: Backend> {
    /// One prototype for each class, `[num_classes, num_features]`; only its direction counts.
    pub prototypes: Param<Tensor<B, 2>>,
    /// The learned distance scale `s`, `[1]`; its sign does not count.
    pub distance_scale: Param<Tensor<B, 1>>,
    /// The temperature `T`, `[1]`, which no optimizer moves.
    pub temperature: Param<Tensor<B, 1>>,
}

impl<B: Backend> DisMaxHead<B> {
    /// Computes the logits, which are never positive.
    ///
    /// The distance to the nearest prototype is exact to rounding; every other distance `d` has a
    /// relative error of about `ε √num_features / d²`. Memory is
    /// `O(batch_size × (classes + features))`.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, num_features]`
    /// - output: `[batch_size, num_classes]`
    ///
    /// # Panics
    ///
    /// If the features have another width than the prototypes.
    pub fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        check_features(&features, &self.prototypes);
        let distances = distance::euclidean_of_unit_vectors(features, self.prototypes.val());
        let scale = self.distance_scale.val().abs() * core::f64::consts::FRAC_1_SQRT_2;
        let with_mean = distances.clone() + distances.mean_dim(1);
        temperature::negate_and_scale(with_mean, scale, &self.temperature)
    }

    /// The hyperplanes between the classes, on unit features, as those of
    /// [`IsoMaxPlusHead`](crate::IsoMaxPlusHead): all classes share the mean distance.
    pub fn class_planes(&self) -> ClassPlanes<B> {
        ClassPlanes::of_directions(self.prototypes.val())
    }
}

impl<B: Backend> OodHead<B> for DisMaxHead<B> {
    fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        self.forward(features)
    }

    fn kind(&self) -> HeadKind {
        HeadKind::DisMax
    }

    fn num_classes(&self) -> usize {
        self.prototypes.dims()[0]
    }

    fn num_features(&self) -> usize {
        self.prototypes.dims()[1]
    }

    fn temperature_param(&self) -> &Param<Tensor<B, 1>> {
        &self.temperature
    }

    fn temperature_param_mut(&mut self) -> &mut Param<Tensor<B, 1>> {
        &mut self.temperature
    }

    fn prototypes_param(&self) -> Option<&Param<Tensor<B, 2>>> {
        Some(&self.prototypes)
    }

    fn prototypes_param_mut(&mut self) -> Option<&mut Param<Tensor<B, 2>>> {
        Some(&mut self.prototypes)
    }

    fn class_planes(&self) -> Option<ClassPlanes<B>> {
        Some(self.class_planes())
    }
}

impl<B: Backend> ModuleDisplay for DisMaxHead<B> {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        display::on_one_line()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        display::sizes(self, content)
    }
}
