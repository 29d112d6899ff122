use burn::tensor::{Tensor, backend::Backend};

use super::{Gaussian, Neighbours};

/// What a fitted method holds.
#[derive(Debug, Clone)]
pub(in crate::posthoc) enum Parts<B: Backend> {
    /// The method reads logits alone, or shapes each sample by itself.
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
    /// The mean sample, and how far the planes of a head are from each other.
    Boundaries {
        /// As the planes take features, `[1, num_features]`.
        mean: Tensor<B, 2>,
        /// For each pair of classes `1 / ((C − 1) ‖w − w'‖)`, `[num_classes, num_classes]`; 0 for planes that are the
        /// same.
        per_width: Tensor<B, 2>,
    },
    /// The mean sample, as the planes of a head take features, `[1, num_features]`.
    Centre(Tensor<B, 2>),
    /// The largest value of a feature.
    Clip(f64),
    /// The weights of the planes of a head, some of which are zero, `[num_classes, num_features]`.
    Weights(Tensor<B, 2>),
}
