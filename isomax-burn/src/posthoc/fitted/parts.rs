//! What a fitted method holds, and how it lies in a file.

use burn::tensor::{Tensor, backend::Backend};

use super::{Gaussian, Neighbours};

#[derive(Debug, Clone)]
pub(in crate::posthoc) enum Parts<B: Backend> {
    /// The method reads logits alone.
    Nothing,
    /// Of the classes, and of all samples for relative distances.
    Gaussian { within: Gaussian<B>, all: Option<Gaussian<B>> },
    /// Training samples.
    Neighbours(Neighbours<B>),
    /// One row for each class, `[num_classes, num_features]`.
    Means(Tensor<B, 2>),
    /// A subspace, and what lies outside of it.
    Subspace {
        /// `[1, num_features]`
        origin: Tensor<B, 2>,
        /// Orthonormal columns, `[num_features, num_features − dims]`.
        residual: Tensor<B, 2>,
        /// What a unit outside counts.
        alpha: f64,
    },
    /// The planes of a head, and the mean sample on them.
    Boundaries {
        /// `[num_classes, num_features]`
        weights: Tensor<B, 2>,
        /// `[1, num_classes]`
        bias: Tensor<B, 2>,
        /// Whether the planes are of unit features.
        unit: bool,
        /// `[1, num_features]`
        mean: Tensor<B, 2>,
        /// For each pair of classes `1 / ((C − 1) ‖w − w'‖)`, `[num_classes, num_classes]`; 0 for planes that are the
        /// same.
        per_width: Tensor<B, 2>,
    },
    /// As boundaries, without their distances.
    Directions { weights: Tensor<B, 2>, bias: Tensor<B, 2>, unit: bool, mean: Tensor<B, 2> },
    /// The largest value of a feature.
    Clip(f64),
    /// The planes of a head, some of whose weights are zero.
    Weights { weights: Tensor<B, 2>, bias: Tensor<B, 2>, unit: bool },
}
