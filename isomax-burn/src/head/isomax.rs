use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Tensor, backend::Backend};

use super::{check_features, common_to_heads, distance, temperature};

/// Configuration of an [`IsoMaxHead`].
#[derive(Config, Debug, PartialEq)]
pub struct IsoMaxHeadConfig {
    /// Width of the feature vectors.
    pub num_features: usize,
    /// Number of known classes.
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
}

common_to_heads!(IsoMaxHead, prototypes);
