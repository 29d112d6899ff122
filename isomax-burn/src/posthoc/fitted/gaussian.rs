use burn::tensor::{Tensor, backend::Backend};

use crate::head::distance::euclidean;

/// Means in a space where a covariance is the unit matrix. Distances there are Mahalanobis distances, at the price
/// of one product for all means together.
#[derive(Debug, Clone)]
pub(in crate::posthoc) struct Gaussian<B: Backend> {
    /// What is taken off first, `[1, num_features]`: distances of large numbers lose digits.
    pub(in crate::posthoc) centre: Tensor<B, 2>,
    /// `[num_features, rank]`
    pub(in crate::posthoc) whitener: Tensor<B, 2>,
    /// Means that were whitened, `[means, rank]`.
    pub(in crate::posthoc) means: Tensor<B, 2>,
}

impl<B: Backend> Gaussian<B> {
    /// The squared distance to the nearest mean.
    pub(super) fn nearest(&self, features: Tensor<B, 2>) -> Tensor<B, 1> {
        let white = (features - self.centre.clone()).matmul(self.whitener.clone());
        let distance = euclidean(white, self.means.clone()).min_dim(1);
        (distance.clone() * distance).squeeze_dim(1)
    }
}
