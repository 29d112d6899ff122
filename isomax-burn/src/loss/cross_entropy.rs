//! The one softmax cross-entropy behind every loss, and the checks of its input.

use core::ops::Range;

use burn::tensor::{Bool, Int, Tensor, backend::Backend};

#[cfg(feature = "flex")]
use super::fused_cross_entropy::cross_entropy_on_flex;

/// Log-probabilities of `softmax(scale · logits)`, kept as the two parts they are the difference
/// of, so that a loss which needs one class of each row does not compute them all.
pub(super) struct LogSoftMax<B: Backend> {
    scaled: Tensor<B, 2>,
    log_partition: Tensor<B, 2>,
}

impl<B: Backend> LogSoftMax<B> {
    /// Finite, with finite gradients, for any finite logits. Taking the logarithm of a softmax
    /// instead underflows in `f32` from a scaled gap of 89 on; gaps so wide that their scaled sums
    /// would overflow are cut to the square root of the largest number.
    pub(super) fn new(logits: Tensor<B, 2>, scale: f64) -> Self {
        let largest = logits.clone().detach().max_dim(1);
        let widest = logits.dtype().finfo().map_or(f64::from(f32::MAX), |info| info.max).sqrt();
        let scaled = (logits - largest).clamp_min(-widest / scale) * scale;
        let log_partition = scaled.clone().exp().sum_dim(1).log();
        Self { scaled, log_partition }
    }

    /// Log-probabilities of one class of each row, `[batch_size]`.
    pub(super) fn of(self, targets: Tensor<B, 1, Int>) -> Tensor<B, 1> {
        let picked = self.scaled.gather(1, targets.unsqueeze_dim(1));
        (picked - self.log_partition).squeeze_dim(1)
    }

    /// Log-probabilities of all classes, `[batch_size, num_classes]`.
    pub(super) fn of_all(self) -> Tensor<B, 2> {
        self.scaled - self.log_partition
    }
}

/// Mean cross-entropy of `softmax(scale · logits)`, `[1]`.
///
/// # Panics
///
/// See [`check_shapes`].
pub(super) fn cross_entropy<B: Backend>(
    logits: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
    scale: f64,
) -> Tensor<B, 1> {
    check_shapes(&logits, &targets);
    #[cfg(feature = "flex")]
    if let Some(loss) = cross_entropy_on_flex(&logits, &targets, scale) {
        return loss;
    }
    let [_, num_classes] = logits.dims();
    let labels = Labels::new(targets, num_classes);
    let log_probabilities = LogSoftMax::new(logits, scale).of(labels.indices.clone());
    labels.poison(log_probabilities).mean().neg()
}

/// # Panics
///
/// If there is not one target for each row of logits, or no row at all.
pub(super) fn check_shapes<B: Backend>(logits: &Tensor<B, 2>, targets: &Tensor<B, 1, Int>) {
    let (rows, labels) = (logits.dims(), targets.dims());
    assert!(
        rows[0] == labels[0] && rows[0] > 0,
        "Logits of shape {rows:?} need one target for each row, and at least one row; \
         the targets have shape {labels:?}"
    );
}

/// Class indices that are safe to gather with, and where the given ones were not.
pub(super) struct Labels<B: Backend> {
    pub(super) indices: Tensor<B, 1, Int>,
    out_of_range: Tensor<B, 1, Bool>,
}

impl<B: Backend> Labels<B> {
    /// Looking at the labels would make every step wait for the device, so that no panic can name
    /// the first one that is out of range; [`poison`](Self::poison) tells of it instead.
    pub(super) fn new(targets: Tensor<B, 1, Int>, num_classes: usize) -> Self {
        let out_of_range = targets
            .clone()
            .lower_elem(0)
            .bool_or(targets.clone().greater_equal_elem(num_classes as i64));
        Self { indices: targets.clamp(0, num_classes as i64 - 1), out_of_range }
    }

    pub(super) fn slice(self, rows: Range<usize>) -> Self {
        Self {
            indices: self.indices.slice(rows.clone()),
            out_of_range: self.out_of_range.slice(rows),
        }
    }

    /// Makes the values of rows with an impossible label NaN, so that no loss hides them.
    pub(super) fn poison(&self, values: Tensor<B, 1>) -> Tensor<B, 1> {
        values.mask_fill(self.out_of_range.clone(), f32::NAN)
    }
}
