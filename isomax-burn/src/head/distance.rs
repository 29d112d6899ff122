//! Euclidean distances between feature rows and class prototypes, from one matrix product.
//!
//! # Which formulation, and its error
//!
//! `d² = ‖x‖² + ‖p‖² − 2 x·p` needs one matrix product, `O(N·C)` memory and nothing that grows
//! with `N·C·D`. Its weakness is cancellation: `d²` carries a rounding error of about
//! `ε √D (‖x‖² + ‖p‖²)`, so a distance far smaller than the two norms loses its digits, and the
//! distance to the *nearest* prototype is the one that detection scores are made of.
//!
//! Hence the prototype that the product gives as nearest is gathered for every row, and its
//! distance taken anew from the difference `x − p`, which costs `O(N·D)`: it is exact to rounding,
//! and zero where a feature equals a prototype. What remains, in `f32`:
//!
//! - Every other distance of unit vectors has a relative error below `1e-6` at `d ≈ 1.4`, where
//!   other classes lie as a rule, and of up to `2e-5` at `d = 0.3` with `D = 2048`.
//! - Gradients come from the product alone. They are zero at distance zero, as PyTorch's `cdist`
//!   has it, and finite everywhere; that of a very small distance is off by about `ε √D ‖x‖ / d`.
//! - Of two prototypes that are nearer to each other than the error, the wrong one may be taken.
//!
//! The alternatives are exact everywhere and much slower; `cargo bench -p isomax-burn --bench heads
//! -- distance` compares them. On two CPU cores, flex backend, `[batch, features, classes]`:
//!
//! | formulation | [64, 342, 10] | [256, 512, 100] | [256, 2048, 1000] | peak memory of the last |
//! |---|---|---|---|---|
//! | product, nearest anew (in use) | 27 µs | 0.44 ms | 8.0 ms | 8 MB |
//! | chunked over classes | 80 µs | 4.2 ms | 154 ms | 5 MB |
//! | broadcast | 2,784 µs | 239 ms | 9,223 ms | 4,000 MB |
//!
//! Read the times as ratios: the machine was a shared one.

use burn::tensor::{IndexingUpdateOp, Int, Tensor, backend::Backend};
#[cfg(feature = "flex")]
use isomax_kernels::distance::Gradient;

#[cfg(feature = "flex")]
use super::fused_distance::distances_on_flex;

/// Norms below this count as this (the guard of PyTorch's `normalize`).
pub(super) const SMALLEST_NORM: f64 = 1e-12;

/// Distances between the rows of `features` and of `prototypes`.
///
/// # Shapes
///
/// - features: `[batch_size, num_features]`
/// - prototypes: `[num_classes, num_features]`
/// - output: `[batch_size, num_classes]`
pub(crate) fn euclidean<B: Backend>(
    features: Tensor<B, 2>,
    prototypes: Tensor<B, 2>,
) -> Tensor<B, 2> {
    #[cfg(feature = "flex")]
    if let Some(distances) = distances_on_flex(&features, &prototypes, Gradient::OfValues) {
        return distances;
    }
    let norms = squared_norms(features.clone()) + squared_norms(prototypes.clone()).transpose();
    let products = features.clone().matmul(prototypes.clone().transpose());
    let squared = norms - products * 2.0;
    finish(squared, |nearest| features.detach() - prototypes.detach().select(0, nearest))
}

/// As [`euclidean`], with the rows of both scaled to unit length first: values in `[0, 2]`.
///
/// A zero row stays zero; its distance to every unit vector is 1.
pub(super) fn euclidean_of_unit_vectors<B: Backend>(
    features: Tensor<B, 2>,
    prototypes: Tensor<B, 2>,
) -> Tensor<B, 2> {
    #[cfg(feature = "flex")]
    if let Some(distances) = distances_on_flex(&features, &prototypes, Gradient::OfDirections) {
        return distances;
    }
    let (features, prototypes) = (UnitRows::new(features), UnitRows::new(prototypes));
    // Scaling the products costs N·C where scaling the rows would cost (N + C)·D.
    let products = features.rows.clone().matmul(prototypes.rows.clone().transpose())
        * (features.scale.clone() * 2.0)
        * prototypes.scale.clone().transpose();
    let norms = features.squared_norms.clone() + prototypes.squared_norms.clone().transpose();
    let (features, prototypes) = (features.detach(), prototypes.detach());
    finish(norms - products, |nearest| features.scaled() - prototypes.select(nearest).scaled())
}

/// Rows scaled to unit length; a zero row stays zero.
pub(crate) fn unit_rows<B: Backend>(rows: Tensor<B, 2>) -> Tensor<B, 2> {
    UnitRows::new(rows).scaled()
}

/// Rows, and what scales them to unit length.
struct UnitRows<B: Backend> {
    rows: Tensor<B, 2>,
    scale: Tensor<B, 2>,
    /// Of the scaled rows: 1, or 0 for a zero row; constant, so without a gradient.
    squared_norms: Tensor<B, 2>,
}

impl<B: Backend> UnitRows<B> {
    fn new(rows: Tensor<B, 2>) -> Self {
        let squared_norms = squared_norms(rows.clone());
        let smallest = (SMALLEST_NORM * SMALLEST_NORM).max(smallest_positive(&rows));
        let scale = squared_norms.clone().clamp_min(smallest).powf_scalar(-0.5);
        let squared_norms = (squared_norms * scale.clone().powi_scalar(2)).detach();
        Self { rows, scale, squared_norms }
    }

    fn detach(self) -> Self {
        Self { rows: self.rows.detach(), scale: self.scale.detach(), ..self }
    }

    fn select(self, indices: Tensor<B, 1, Int>) -> Self {
        Self {
            rows: self.rows.select(0, indices.clone()),
            scale: self.scale.select(0, indices.clone()),
            squared_norms: self.squared_norms.select(0, indices),
        }
    }

    fn scaled(self) -> Tensor<B, 2> {
        self.rows * self.scale
    }
}

/// The root of squared distances, after the nearest one of each row has been taken anew from
/// the difference between the row and its nearest prototype.
fn finish<B: Backend>(
    squared: Tensor<B, 2>,
    difference: impl FnOnce(Tensor<B, 1, Int>) -> Tensor<B, 2>,
) -> Tensor<B, 2> {
    let rounded = squared.clone().detach();
    let [_, num_classes] = squared.dims();
    // Of a row that is all NaN or infinite some GPU backends give an index outside of it.
    let nearest = rounded.clone().argmin(1).clamp(0, num_classes as i64 - 1);
    let exact = squared_norms(difference(nearest.clone().squeeze_dim(1)));
    let correction = exact - rounded.gather(1, nearest.clone());
    let smallest = smallest_positive(&squared);
    let squared = squared.scatter(1, nearest, correction, IndexingUpdateOp::Add);
    // The clamp gives distance zero, whose root has no gradient, the gradient zero.
    squared.clamp_min(smallest).sqrt()
}

fn squared_norms<B: Backend>(rows: Tensor<B, 2>) -> Tensor<B, 2> {
    (rows.clone() * rows).sum_dim(1)
}

fn smallest_positive<B: Backend>(tensor: &Tensor<B, 2>) -> f64 {
    tensor.dtype().finfo().map_or(f64::from(f32::MIN_POSITIVE), |info| info.min_positive)
}
