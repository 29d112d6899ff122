use burn::config::Config;
use burn::module::{Content, DisplaySettings, Initializer, Module, ModuleDisplay, Param};
use burn::tensor::{Tensor, backend::Backend};

use super::{ClassPlanes, HeadKind, OodHead, check_features, display, distance, temperature};

/// Configuration of an [`IsoMaxHead`], which has an example.
#[derive(Config, Debug, PartialEq)]
pub struct IsoMaxHeadConfig {
    /// Width of the feature vectors.
    pub num_features: usize,
    /// Number of ID classes.
    pub num_classes: usize,
}

impl IsoMaxHeadConfig {
    /// Initializes the head: prototypes 0, temperature 1.
    pub fn init<B: Backend>(&self, device: &B::Device) -> IsoMaxHead<B> {
        IsoMaxHead {
            prototypes: Initializer::Zeros.init([self.num_classes, self.num_features], device),
            temperature: temperature::unit(device),
        }
    }
}

/// Isotropy maximization (IsoMax): logits are negative distances to one prototype for each class.
///
/// `logits = -‖x - p‖ / T`
///
/// Macêdo et al., *Isotropy Maximization Loss and Entropic Score*,
/// [arXiv:1908.05569](https://arxiv.org/abs/1908.05569). Train it with
/// [`IsoMaxLoss`](crate::IsoMaxLoss), detect with [`Score::ES`](crate::Score::ES).
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_burn::IsoMaxHeadConfig;
///
/// let device = Default::default();
/// let head = IsoMaxHeadConfig::new(4, 2).init::<Flex>(&device);
/// // All prototypes begin at the origin, which [1, 1, 1, 1] is 2 away from.
/// let logits: Vec<f32> = head.forward(Tensor::ones([1, 4], &device)).into_data().iter().collect();
/// assert_eq!(logits, [-2.0, -2.0]);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct IsoMaxHead<B: Backend> {
    /// One prototype for each class, `[num_classes, num_features]`.
    pub prototypes: Param<Tensor<B, 2>>,
    /// The temperature `T`, `[1]`, which no optimizer moves.
    pub temperature: Param<Tensor<B, 1>>,
}

impl<B: Backend> IsoMaxHead<B> {
    /// Computes the logits, which are never positive.
    ///
    /// The distance to the nearest prototype is exact to rounding; every other distance `d` has a
    /// relative error of about `ε √num_features (‖x‖² + ‖p‖²) / 2d²`. Memory is
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
        let distances = distance::euclidean(features, self.prototypes.val());
        temperature::divide(distances.neg(), &self.temperature)
    }

    /// The hyperplanes between the classes: `-‖x - p‖² = 2 p·x - ‖p‖² - ‖x‖²`, whose last term all
    /// classes share, so that `W = 2 p` and `b = -‖p‖²`.
    pub fn class_planes(&self) -> ClassPlanes<B> {
        let prototypes = self.prototypes.val();
        let squares = (prototypes.clone() * prototypes.clone()).sum_dim(1).squeeze_dim(1);
        ClassPlanes::new(false, prototypes * 2.0, squares.neg())
    }
}

impl<B: Backend> OodHead<B> for IsoMaxHead<B> {
    fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        self.forward(features)
    }

    fn kind(&self) -> HeadKind {
        HeadKind::IsoMax
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

impl<B: Backend> ModuleDisplay for IsoMaxHead<B> {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        display::on_one_line()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        display::sizes(self, content)
    }
}
