use burn::tensor::{Tensor, backend::Backend};

use super::Method;
use crate::head::distance::unit_rows;
use crate::{OodHead, Score};

use super::generalised_entropy::Gen;

mod gaussian;
mod neighbours;
pub(super) mod parts;

pub(super) use gaussian::Gaussian;
pub(super) use neighbours::Neighbours;
pub(super) use parts::Parts;

/// A method with what it knows of the training samples: from features to scores.
///
/// Made by `FeatureStatistics::fit` (feature `posthoc`), or read with a
/// [`PostHocDetector`](super::PostHocDetector). It belongs to the network whose features it was fitted on.
#[derive(Debug, Clone)]
pub struct Fitted<B: Backend> {
    pub(super) method: Method,
    pub(super) parts: Parts<B>,
}

impl<B: Backend> Fitted<B> {
    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Computes the scores, high = in-distribution.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, num_features]`
    /// - output: `[batch_size]`
    ///
    /// # Panics
    ///
    /// If the features have another width than those that it was fitted on.
    pub fn score(&self, features: Tensor<B, 2>, head: &impl OodHead<B>) -> Tensor<B, 1> {
        if features.dims()[0] == 0 {
            return Tensor::zeros([0], &features.device());
        }
        match (&self.parts, self.method) {
            (Parts::Nothing, Method::Logit(score)) => score.compute(head.forward(features)),
            (Parts::Nothing, Method::Gen { gamma, top }) => {
                crate::OodScore::compute(&Gen { gamma, top }, head.forward(features))
            }
            (Parts::Nothing, Method::Shaped { shape, score }) => {
                score.compute(head.forward(shape.apply(features)))
            }
            (Parts::Clip(threshold), Method::Shaped { score, .. }) => {
                score.compute(head.forward(features.clamp_max(*threshold)))
            }
            (Parts::Weights { weights, bias, unit }, Method::Shaped { score, .. }) => {
                let features = if *unit { unit_rows(features) } else { features };
                let logits = features.matmul(weights.clone().transpose()) + bias.clone();
                score.compute(logits / f64::from(head.temperature()))
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
                bank.mean_of_largest_products(unit_rows(features), k) * confidence
            }
            (Parts::Neighbours(bank), Method::Knn { k }) => {
                bank.distance(unit_rows(features), k).neg()
            }
            (Parts::Means(means), Method::She) => {
                let classes = head.forward(features.clone()).argmax(1).squeeze_dim(1);
                (features * means.clone().select(0, classes)).sum_dim(1).squeeze_dim(1)
            }
            (Parts::Means(means), _) => {
                unit_rows(features).matmul(means.clone().transpose()).max_dim(1).squeeze_dim(1)
            }
            (Parts::Subspace { origin, residual, alpha }, method) => {
                let outside = norms((features.clone() - origin.clone()).matmul(residual.clone()));
                match method {
                    Method::Vim { .. } => {
                        Score::Energy.compute(head.forward(features))
                            - outside.squeeze_dim(1) * *alpha
                    }
                    _ => outside.squeeze_dim(1).neg(),
                }
            }
            (Parts::Boundaries { weights, bias, unit, mean, per_width }, _) => {
                let features = if *unit { unit_rows(features) } else { features };
                let values = features.clone().matmul(weights.clone().transpose()) + bias.clone();
                let classes = values.clone().argmax(1).squeeze_dim(1);
                let gaps = values.clone().max_dim(1) - values;
                let per_width = per_width.clone().select(0, classes);
                let distance = (gaps * per_width).sum_dim(1);
                (distance / norms(features - mean.clone()).clamp_min(1e-12)).squeeze_dim(1)
            }
            (Parts::Directions { weights, bias, unit, mean }, method) => {
                let alpha = if let Method::Nci { alpha } = method { alpha } else { 0.0 };
                let features = if *unit { unit_rows(features) } else { features };
                let values = features.clone().matmul(weights.clone().transpose()) + bias.clone();
                let own = weights.clone().select(0, values.argmax(1).squeeze_dim(1));
                let centred = features.clone() - mean.clone();
                let along = (own * centred.clone()).sum_dim(1) / norms(centred).clamp_min(1e-12);
                (along + features.abs().sum_dim(1) * alpha).squeeze_dim(1)
            }
            // `parts::read` and `FeatureStatistics::fit` make no others.
            (parts, method) => unreachable!("{method} with the parts {parts:?}"),
        }
    }
}

/// `[batch_size, 1]`
fn norms<B: Backend>(rows: Tensor<B, 2>) -> Tensor<B, 2> {
    (rows.clone() * rows).sum_dim(1).sqrt()
}
