use burn::tensor::{Tensor, backend::Backend};

use super::distance::unit_rows;

/// The hyperplanes that separate the classes of a head: sample `x` belongs to the class whose
/// `W·x + b` is largest.
///
/// All heads of this crate have such planes, whatever their logits: what is not linear in a distance
/// is the same for all classes. Detectors that read weights work on them.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_burn::{ClassPlanes, SoftMaxHeadConfig};
///
/// let device = Default::default();
/// let planes = SoftMaxHeadConfig::new(2, 10).init::<Flex>(&device).class_planes();
/// assert_eq!(planes.weights.dims(), [10, 2]);
///
/// // Of a head of your own: x belongs to class 0 where its first value is the larger one.
/// let weights = Tensor::<Flex, 2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
/// let planes = ClassPlanes::new(false, weights, Tensor::zeros([2], &device));
/// let values = planes.forward(Tensor::from_floats([[3.0, 5.0]], &device));
/// assert_eq!(values.argmax(1).into_scalar(), 1);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClassPlanes<B: Backend> {
    /// Whether `x` is the feature vector scaled to unit length.
    pub unit: bool,
    /// `W`, one row for each class, `[num_classes, num_features]`.
    pub weights: Tensor<B, 2>,
    /// `b`, `[num_classes]`.
    pub bias: Tensor<B, 1>,
}

impl<B: Backend> ClassPlanes<B> {
    /// Planes for a head of your own.
    ///
    /// # Shapes
    ///
    /// - weights: `[num_classes, num_features]`
    /// - bias: `[num_classes]`
    ///
    /// # Panics
    ///
    /// If there is not one bias for each row of weights.
    pub fn new(unit: bool, weights: Tensor<B, 2>, bias: Tensor<B, 1>) -> Self {
        let (rows, biases) = (weights.dims(), bias.dims());
        assert!(
            rows[0] == biases[0],
            "Class planes need one bias for each row of weights; the weights have shape {rows:?}, \
             the biases {biases:?}"
        );
        Self { unit, weights, bias }
    }

    /// Planes through the origin, one for the direction of each prototype.
    pub(super) fn of_directions(prototypes: Tensor<B, 2>) -> Self {
        let [num_classes, _] = prototypes.dims();
        let bias = Tensor::zeros([num_classes], &prototypes.device());
        Self::new(true, unit_rows(prototypes), bias)
    }

    /// The values whose largest one names the class.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, num_features]`, as the head takes them
    /// - output: `[batch_size, num_classes]`
    pub fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        let features = if self.unit { unit_rows(features) } else { features };
        features.matmul(self.weights.clone().transpose()) + self.bias.clone().unsqueeze()
    }
}
