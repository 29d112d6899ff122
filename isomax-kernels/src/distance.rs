//! Euclidean distances between rows and prototypes from their products, forward and backward.
//!
//! With a factor `s` for each row `x` and `t` for each prototype `p`, a distance is
//! `d = ‖s x − t p‖`, and `d² = ‖s x‖² + ‖t p‖² − 2 s t x·p`. Factors of 1 give distances of the rows as they
//! are, `1 / ‖x‖` and `1 / ‖p‖` those of directions. The products `x·p` are the caller's.
//!
//! ```
//! use isomax_kernels::distance::{Pairs, distances};
//!
//! let one = [1.0];
//! let pairs = Pairs {
//!     num_features: 2,
//!     rows: &[0.0, 0.0],
//!     row_factors: &one,
//!     row_norms: &[0.0],
//!     prototypes: &[3.0, 4.0],
//!     prototype_factors: &one,
//!     prototype_norms: &[25.0],
//! };
//! let mut products = [0.0];
//! distances(pairs, &mut products);
//! assert_eq!(products, [5.0]);
//! ```

use rayon::prelude::*;

use crate::simd::{arch, sum};

/// Operations that are worth a thread's while.
const WORK: usize = 16_384;
/// Rows whose sums over each column are taken together.
const ROWS: usize = 32;

/// Rows and prototypes.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'a> {
    /// Width of rows and prototypes.
    pub num_features: usize,
    /// `[num_rows, num_features]`.
    pub rows: &'a [f32],
    /// Factor of each row.
    pub row_factors: &'a [f32],
    /// Square of the norm of each row, times its factor.
    pub row_norms: &'a [f32],
    /// `[num_prototypes, num_features]`.
    pub prototypes: &'a [f32],
    /// Factor of each prototype.
    pub prototype_factors: &'a [f32],
    /// Square of the norm of each prototype, times its factor.
    pub prototype_norms: &'a [f32],
}

impl Pairs<'_> {
    #[track_caller]
    fn check(&self, matrix: &[f32]) {
        let [rows, prototypes] = [self.row_factors.len(), self.prototype_factors.len()];
        assert!(
            self.rows.len() == rows * self.num_features
                && self.prototypes.len() == prototypes * self.num_features
                && self.row_norms.len() == rows
                && self.prototype_norms.len() == prototypes
                && matrix.len() == rows * prototypes,
            "{} rows and {} prototypes of {} features need {} and {} values, a norm and a factor each, and a \
             matrix of {}; got {}, {} and {}",
            rows,
            prototypes,
            self.num_features,
            rows * self.num_features,
            prototypes * self.num_features,
            rows * prototypes,
            self.rows.len(),
            self.prototypes.len(),
            matrix.len(),
        );
    }
}

/// The square of the norm of each row, `width` values long.
///
/// # Panics
///
/// If the last row is not whole.
pub fn squared_norms(rows: &[f32], width: usize) -> Vec<f32> {
    if width == 0 {
        return Vec::new();
    }
    assert!(rows.len().is_multiple_of(width), "{} values are no rows of {width}", rows.len());
    let square = |row: &[f32]| arch().dispatch(|| sum(row, row, |a, _| a * a));
    rows.par_chunks_exact(width).with_min_len(WORK.div_ceil(width)).map(square).collect()
}

/// The distances, written over the products `[num_rows, num_prototypes]` of the values as they are.
///
/// The nearest prototype of each row is taken from the products, and its distance anew from the difference:
/// that one is exact to rounding. No distance is below the root of the smallest normal number.
///
/// # Panics
///
/// If the slices do not fit each other.
pub fn distances(pairs: Pairs<'_>, products: &mut [f32]) {
    pairs.check(products);
    let width = pairs.prototype_factors.len();
    if products.is_empty() {
        return;
    }
    products
        .par_chunks_exact_mut(width)
        .with_min_len((WORK / (width + pairs.num_features)).max(1))
        .enumerate()
        .for_each(|(row, values)| arch().dispatch(|| distances_of_row(pairs, row, values)));
}

#[inline(always)]
fn distances_of_row(pairs: Pairs<'_>, row: usize, values: &mut [f32]) {
    let [factor, norm] = [pairs.row_factors[row], pairs.row_norms[row]];
    let of_prototypes = pairs.prototype_factors.iter().zip(pairs.prototype_norms);
    for (value, (&other, &other_norm)) in values.iter_mut().zip(of_prototypes) {
        *value = norm + other_norm - *value * (factor * other * 2.0);
    }
    let mut nearest = 0;
    for (index, &value) in values.iter().enumerate() {
        // Comparisons with NaN are false.
        if value < values[nearest] || values[nearest].is_nan() {
            nearest = index;
        }
    }
    let width = pairs.num_features;
    let (x, p) =
        (&pairs.rows[row * width..][..width], &pairs.prototypes[nearest * width..][..width]);
    let other = pairs.prototype_factors[nearest];
    values[nearest] = sum(x, p, |x, p| {
        let difference = x * factor - p * other;
        difference * difference
    });
    for value in values {
        *value = if *value < f32::MIN_POSITIVE { f32::MIN_POSITIVE } else { *value }.sqrt();
    }
}

/// What the gradients of rows and prototypes are made of: `row_shares · row − weights × prototypes`, and
/// `prototype_shares · prototype − weightsᵀ × rows`.
#[derive(Debug, Clone, PartialEq)]
pub struct Backward {
    /// `[num_rows, num_prototypes]`.
    pub weights: Vec<f32>,
    /// One for each row.
    pub row_shares: Vec<f32>,
    /// One for each prototype.
    pub prototype_shares: Vec<f32>,
}

/// What rows and prototypes are to a gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gradient {
    /// Values that move: factors are constants.
    OfValues,
    /// Values of which only the direction counts: factors are the inverses of their norms, and follow them.
    OfDirections,
}

/// The backward pass, from distances and their gradients, each `[num_rows, num_prototypes]`. A distance of
/// zero passes none.
///
/// # Panics
///
/// If the slices do not fit each other.
pub fn backward(
    pairs: Pairs<'_>,
    distances: &[f32],
    upstream: &[f32],
    gradient: Gradient,
) -> Backward {
    pairs.check(distances);
    pairs.check(upstream);
    let [num_rows, width] = [pairs.row_factors.len(), pairs.prototype_factors.len()];
    let mut weights = vec![0.0; upstream.len()];
    let mut row_shares = vec![0.0; num_rows];
    let mut prototype_shares = vec![0.0; width];
    if upstream.is_empty() {
        return Backward { weights, row_shares, prototype_shares };
    }
    let of_columns: Vec<Vec<f32>> = weights
        .par_chunks_mut(ROWS * width)
        .zip(row_shares.par_chunks_mut(ROWS))
        .enumerate()
        .map(|(chunk, (weights, shares))| {
            let mut of_columns = vec![0.0; width];
            for (index, (weights, share)) in weights.chunks_exact_mut(width).zip(shares).enumerate()
            {
                let row = chunk * ROWS + index;
                let at = row * width..(row + 1) * width;
                let (distances, upstream) = (&distances[at.clone()], &upstream[at]);
                *share = arch().dispatch(|| {
                    of_row(pairs, gradient, row, distances, upstream, weights, &mut of_columns)
                });
            }
            of_columns
        })
        .collect();
    // In the order of the rows, however many threads there are.
    for of_columns in of_columns {
        prototype_shares.iter_mut().zip(of_columns).for_each(|(total, part)| *total += part);
    }
    for (share, factor) in prototype_shares.iter_mut().zip(pairs.prototype_factors) {
        *share *= factor * factor;
    }
    Backward { weights, row_shares, prototype_shares }
}

/// The weights of a row, its share, and what it adds to those of the prototypes.
#[inline(always)]
fn of_row(
    pairs: Pairs<'_>,
    gradient: Gradient,
    row: usize,
    distances: &[f32],
    upstream: &[f32],
    weights: &mut [f32],
    of_columns: &mut [f32],
) -> f32 {
    let smallest = f32::MIN_POSITIVE.sqrt();
    for ((weight, &distance), &upstream) in weights.iter_mut().zip(distances).zip(upstream) {
        *weight = if distance <= smallest { 0.0 } else { upstream / distance };
    }
    let [factor, norm] = [pairs.row_factors[row], pairs.row_norms[row]];
    let share = match gradient {
        Gradient::OfValues => {
            of_columns.iter_mut().zip(&*weights).for_each(|(sum, weight)| *sum += weight);
            sum(weights, weights, |weight, _| weight)
        }
        Gradient::OfDirections => {
            // The projection on the direction itself: the weight times the cosine.
            let cosine = |distance: f32, other: f32| 0.5 * (norm + other - distance * distance);
            let mut share = 0.0;
            let columns = weights.iter().zip(distances).zip(pairs.prototype_norms);
            for (((&weight, &distance), &other), sum) in columns.zip(of_columns) {
                let product = weight * cosine(distance, other);
                *sum += product;
                share += product;
            }
            share
        }
    };
    for (weight, other) in weights.iter_mut().zip(pairs.prototype_factors) {
        *weight *= factor * other;
    }
    share * factor * factor
}

/// `shares · rows − products`, row by row, written over the products.
///
/// # Panics
///
/// If the slices do not fit each other.
pub fn combine(shares: &[f32], rows: &[f32], products: &mut [f32]) {
    let width = rows.len().checked_div(shares.len()).unwrap_or(0);
    assert!(
        rows.len() == products.len() && rows.len() == shares.len() * width,
        "{} products do not fit {} rows of together {} values",
        products.len(),
        shares.len(),
        rows.len()
    );
    if width == 0 {
        return;
    }
    products
        .par_chunks_exact_mut(width)
        .with_min_len(WORK.div_ceil(width))
        .zip(rows.par_chunks_exact(width).zip(shares))
        .for_each(|(products, (row, &share))| {
            arch().dispatch(|| {
                for (product, &value) in products.iter_mut().zip(row) {
                    *product = share * value - *product;
                }
            });
        });
}
