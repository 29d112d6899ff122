//! The softmax cross-entropy of class indices, with its gradient.
//!
//! ```
//! use isomax_kernels::cross_entropy::cross_entropy;
//!
//! let (losses, gradients) = cross_entropy(&[0.0, 0.0], 2, &[1], 1.0);
//! assert!((losses[0] - 2.0_f32.ln()).abs() < 1e-6);
//! assert_eq!(gradients, [0.5, -0.5]);
//! ```

use rayon::prelude::*;

use crate::simd::{arch, exp_of_negative, largest, sum};

/// Operations that are worth a thread's while.
const WORK: usize = 4_096;

/// The cross-entropy of `softmax(scale · logits)` of each row, and the gradient of each by its row of logits.
///
/// Logits so far below the largest one that their square would be no number count as if they were at that
/// border, and have no gradient. A target that is no class gives NaN, without a gradient.
///
/// # Shapes
///
/// - logits: `[batch_size, num_classes]`
/// - targets: `[batch_size]`
/// - output: `[batch_size]`, and `[batch_size, num_classes]`
///
/// # Arguments
///
/// - `scale`: a positive number
///
/// # Panics
///
/// If there is not one target for each row.
pub fn cross_entropy(
    logits: &[f32],
    num_classes: usize,
    targets: &[i64],
    scale: f32,
) -> (Vec<f32>, Vec<f32>) {
    assert!(
        logits.len() == targets.len() * num_classes,
        "{} logits do not fit {} targets of {num_classes} classes",
        logits.len(),
        targets.len()
    );
    let mut gradients = vec![0.0; logits.len()];
    if num_classes == 0 {
        return (vec![f32::NAN; targets.len()], gradients);
    }
    let losses = gradients
        .par_chunks_exact_mut(num_classes)
        .with_min_len(WORK.div_ceil(num_classes))
        .zip(logits.par_chunks_exact(num_classes).zip(targets))
        .map(|(gradient, (logits, &target))| {
            arch().dispatch(|| of_row(logits, target, scale, gradient))
        })
        .collect();
    (losses, gradients)
}

#[inline(always)]
fn of_row(logits: &[f32], target: i64, scale: f32, gradient: &mut [f32]) -> f32 {
    let Some(target) = usize::try_from(target).ok().filter(|&target| target < logits.len()) else {
        return f32::NAN;
    };
    let largest = largest(logits);
    let lowest = -f32::MAX.sqrt() / scale;
    let scaled = |logit: f32| {
        let below = logit - largest;
        // NaN stays NaN: a comparison with it is false.
        (if below < lowest { lowest } else { below }) * scale
    };
    for (share, &logit) in gradient.iter_mut().zip(logits) {
        *share = exp_of_negative(scaled(logit));
    }
    let partition = sum(gradient, gradient, |share, _| share);
    let factor = scale / partition;
    gradient.iter_mut().for_each(|share| *share *= factor);
    if logits[target] - largest >= lowest {
        gradient[target] -= scale;
    }
    partition.ln() - scaled(logits[target])
}
