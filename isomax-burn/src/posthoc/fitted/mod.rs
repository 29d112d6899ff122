use burn::tensor::{Tensor, TensorData, backend::Backend};

use super::Method;
use super::generalised_entropy::Gen;
use crate::head::distance::unit_rows;
use crate::head::temperature;
use crate::{ClassPlanes, HostLogits, OodHead, Score};

mod gaussian;
mod neighbours;
mod parts;
mod tensors;

pub(super) use gaussian::Gaussian;
pub(super) use neighbours::Neighbours;
pub(super) use parts::Parts;
pub(super) use tensors::{Sizes, Source, TensorError};

/// A method with what it knows of the training samples: from features to scores.
///
/// Made by `FeatureStatistics::fit` (feature `posthoc`), or read with a
/// [`PostHocDetector`](super::PostHocDetector). It belongs to the network whose features it was fitted on.
#[derive(Debug, Clone)]
pub struct Fitted<B: Backend> {
    pub(super) method: Method,
    pub(super) parts: Parts<B>,
}

/// What a device says when values cannot be read back.
pub(super) type Unread = String;

impl<B: Backend> Fitted<B> {
    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Computes the scores, high = in-distribution. What is not finite in a row of features makes its score NaN.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, num_features]`
    /// - output: `[batch_size]`
    ///
    /// # Panics
    ///
    /// If features or head have other shapes than those that it was fitted on, or if the device cannot be waited for:
    /// see [`score_async`](Self::score_async).
    pub fn score(&self, features: Tensor<B, 2>, head: &impl OodHead<B>) -> Tensor<B, 1> {
        match burn::tensor::try_read_sync(self.score_async(features, head)) {
            Some(Ok(scores)) => scores,
            Some(Err(error)) => panic!("The device gives no values back: {error}"),
            None => panic!("This device cannot be waited for: use score_async"),
        }
    }

    /// As [`score`](Self::score), where values of the device can be waited for but not be had at once: WebGPU in a
    /// browser. Nearest neighbours, ASH, SCALE and GEN read values back.
    ///
    /// # Errors
    ///
    /// What the device says when it gives no values back.
    ///
    /// # Panics
    ///
    /// If features or head have other shapes than those that it was fitted on.
    pub async fn score_async(
        &self,
        features: Tensor<B, 2>,
        head: &impl OodHead<B>,
    ) -> Result<Tensor<B, 1>, Unread> {
        if features.dims()[0] == 0 {
            return Ok(Tensor::zeros([0], &features.device()));
        }
        Ok(match (&self.parts, self.method) {
            (Parts::Nothing, Method::Logit(score)) => score.compute(head.forward(features)),
            (Parts::Nothing, Method::Gen { gamma, top }) => {
                generalised_entropy(head.forward(features), Gen { gamma, top }).await?
            }
            // What is cut off may be what is not finite.
            (Parts::Nothing, Method::Shaped { shape, score }) => {
                let nothing = nothing_or_nan(features.clone());
                score.compute(head.forward(shape.apply(features).await?)) + nothing
            }
            (Parts::Clip(threshold), Method::Shaped { score, .. }) => {
                let nothing = nothing_or_nan(features.clone());
                score.compute(head.forward(features.clamp_max(*threshold))) + nothing
            }
            (Parts::Weights(weights), Method::Shaped { score, .. }) => {
                let ClassPlanes { unit, bias, .. } = planes(head);
                let values = ClassPlanes::new(unit, weights.clone(), bias).forward(features);
                score.compute(temperature::divide(values, head.temperature_param()))
            }
            (Parts::Gaussian { within, all }, method) => {
                let features = if method.is_unit() { unit_rows(features) } else { features };
                let nearest = within.nearest(features.clone());
                match all {
                    None => nearest.neg(),
                    Some(all) => all.nearest(features) - nearest,
                }
            }
            (Parts::Neighbours(bank), Method::NnGuide { k, guide }) => {
                let confidence = guide.score(head.kind()).compute(head.forward(features.clone()));
                bank.mean_of_largest_products(unit_rows(features), k).await? * confidence
            }
            (Parts::Neighbours(bank), Method::Knn { k }) => {
                bank.distance(unit_rows(features), k).await?.neg()
            }
            (Parts::Means(means), Method::She) => {
                let classes = largest(head.forward(features.clone()));
                (features * means.clone().select(0, classes)).sum_dim(1).squeeze_dim(1)
            }
            (Parts::Means(means), Method::Ctm) => {
                unit_rows(features).matmul(means.clone().transpose()).max_dim(1).squeeze_dim(1)
            }
            (Parts::Subspace { origin, residual, alpha }, method) => {
                let outside = norms((features.clone() - origin.clone()).matmul(residual.clone()));
                let outside = outside.squeeze_dim(1);
                match method {
                    Method::Vim { .. } => {
                        Score::Energy.compute(head.forward(features)) - outside * *alpha
                    }
                    _ => outside.neg(),
                }
            }
            (Parts::Boundaries { mean, per_width }, Method::Fdbd) => {
                let planes = planes(head);
                let features = if planes.unit { unit_rows(features) } else { features };
                let values = planes.forward(features.clone());
                let gaps = values.clone().max_dim(1) - values.clone();
                let distance = (gaps * per_width.clone().select(0, largest(values))).sum_dim(1);
                (distance / norms(features - mean.clone()).clamp_min(1e-12)).squeeze_dim(1)
            }
            (Parts::Centre(mean), Method::Nci { alpha }) => {
                let planes = planes(head);
                let features = if planes.unit { unit_rows(features) } else { features };
                let own =
                    planes.weights.clone().select(0, largest(planes.forward(features.clone())));
                let centred = features.clone() - mean.clone();
                let along = (own * centred.clone()).sum_dim(1) / norms(centred).clamp_min(1e-12);
                (along + features.abs().sum_dim(1) * alpha).squeeze_dim(1)
            }
            // `Parts::read` and `FeatureStatistics::fit` make no others.
            (parts, method) => unreachable!("{method} with the parts {parts:?}"),
        })
    }
}

async fn generalised_entropy<B: Backend>(
    logits: Tensor<B, 2>,
    score: Gen,
) -> Result<Tensor<B, 1>, Unread> {
    let ([_, width], device, dtype) = (logits.dims(), logits.device(), logits.dtype());
    let rows = read(logits).await?;
    let score = |row: &[f64]| match HostLogits::new(row.to_vec(), width) {
        Ok(logits) => logits.scores(&score)[0],
        Err(_) => f64::NAN,
    };
    let scores: Vec<f64> = rows.chunks_exact(width.max(1)).map(score).collect();
    let shape = [scores.len()];
    Ok(Tensor::from_data(TensorData::new(scores, shape).convert_dtype(dtype), &device))
}

/// The values of a tensor in 64 bits, row after row.
async fn read<B: Backend>(tensor: Tensor<B, 2>) -> Result<Vec<f64>, Unread> {
    let data = tensor.into_data_async().await.map_err(|error| format!("{error:?}"))?;
    Ok(data.iter().collect())
}

/// A method that reads planes suits no head without them.
fn planes<B: Backend>(head: &impl OodHead<B>) -> ClassPlanes<B> {
    let Some(planes) = head.class_planes() else {
        panic!("The head {} has no class planes", head.name())
    };
    planes
}

/// Where the largest value of each row is.
fn largest<B: Backend>(values: Tensor<B, 2>) -> Tensor<B, 1, burn::tensor::Int> {
    let [_, width] = values.dims();
    // Of a row that is all NaN some GPU backends give an index outside of it.
    values.argmax(1).clamp(0, width as i64 - 1).squeeze_dim(1)
}

/// `[batch_size, 1]`
fn norms<B: Backend>(rows: Tensor<B, 2>) -> Tensor<B, 2> {
    (rows.clone() * rows).sum_dim(1).sqrt()
}

/// Zero for each row whose values are finite, and NaN for others.
fn nothing_or_nan<B: Backend>(features: Tensor<B, 2>) -> Tensor<B, 1> {
    (features.clone() - features).sum_dim(1).squeeze_dim(1)
}
