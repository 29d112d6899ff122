use core::fmt;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData, backend::Backend};

/// What turns the raw logits of a sample into one number, **high = in-distribution**: what a score of
/// your own implements to join detectors, Learner hooks and evaluation. [`Score`](crate::Score) has
/// those of the papers.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_burn::OodScore;
///
/// /// How far the largest logit lies above the second.
/// #[derive(Debug)]
/// struct Margin;
///
/// impl OodScore for Margin {
///     fn name(&self) -> &str {
///         "margin"
///     }
///
///     fn score(&self, logits: &[f64]) -> f64 {
///         let mut sorted = logits.to_vec();
///         sorted.sort_by(|a, b| b.total_cmp(a));
///         sorted[0] - sorted.get(1).unwrap_or(&f64::NEG_INFINITY)
///     }
/// }
///
/// let logits = Tensor::<Flex, 2>::from_floats([[-1.0, -5.0]], &Default::default());
/// assert_eq!(Margin.compute(logits).into_scalar(), 4.0);
/// ```
pub trait OodScore: fmt::Debug + Send + Sync + 'static {
    /// The name in files and tables: letters, digits, `-`, `_`, `+` and `.`.
    fn name(&self) -> &str;

    /// The score of one sample.
    ///
    /// # Arguments
    ///
    /// - `logits`: raw and finite, one for each class, at least one
    fn score(&self, logits: &[f64]) -> f64;

    /// The scores of a batch on the device of its logits. Without an implementation of its own it
    /// reads the logits back, and no gradient goes through it.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch_size, num_classes]`, raw
    /// - output: `[batch_size]`
    fn compute<B: Backend>(&self, logits: Tensor<B, 2>) -> Tensor<B, 1>
    where
        Self: Sized,
    {
        let ([batch_size, num_classes], device) = (logits.dims(), logits.device());
        let dtype = logits.dtype();
        let values: Vec<f64> = logits.into_data().iter().collect();
        let scores = values.chunks_exact(num_classes.max(1)).map(|row| self.score(row));
        let scores = TensorData::new(scores.collect::<Vec<f64>>(), [batch_size]);
        Tensor::from_data(scores.convert_dtype(dtype), &device)
    }
}

impl<T: OodScore + ?Sized> OodScore for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn score(&self, logits: &[f64]) -> f64 {
        (**self).score(logits)
    }
}
