//! What a fitted method holds, as tensors with names.

use burn::tensor::{DType, Tensor, TensorData, backend::Backend};

use super::{Gaussian, Neighbours, Parts};
use crate::posthoc::{Method, Shape};

/// The sizes of the head that a method was fitted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::posthoc) struct Sizes {
    pub(in crate::posthoc) num_classes: usize,
    pub(in crate::posthoc) num_features: usize,
}

/// Why a tensor of a file is not the one that a method needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::posthoc) enum TensorError {
    Missing { name: &'static str },
    Shape { name: &'static str, expected: String, found: Vec<usize> },
    NotFinite { name: &'static str },
}

/// Gives tensors and numbers by their names.
pub(in crate::posthoc) trait Source {
    fn tensor(&mut self, name: &'static str) -> Option<TensorData>;
    fn number(&mut self, name: &'static str) -> Option<f64>;
}

impl<B: Backend> Parts<B> {
    /// Every number with its name.
    pub(in crate::posthoc) fn numbers(&self) -> Vec<(&'static str, f64)> {
        match self {
            Self::Subspace { alpha, .. } => vec![("alpha", *alpha)],
            Self::Clip(threshold) => vec![("clip", *threshold)],
            _ => Vec::new(),
        }
    }

    /// Every tensor with its name.
    pub(in crate::posthoc) fn tensors(&self) -> Vec<(&'static str, TensorData)> {
        let data = |tensor: &Tensor<B, 2>| tensor.to_data().convert::<f32>();
        match self {
            Self::Nothing | Self::Clip(_) => Vec::new(),
            Self::Gaussian { within, all } => {
                let names = [WITHIN, ALL].into_iter();
                let gaussians = names.zip(core::iter::once(within).chain(all));
                gaussians
                    .flat_map(|([centre, whitener, means], gaussian)| {
                        [
                            (centre, data(&gaussian.centre)),
                            (whitener, data(&gaussian.whitener)),
                            (means, data(&gaussian.means)),
                        ]
                    })
                    .collect()
            }
            Self::Neighbours(bank) => vec![("bank", data(&bank.rows))],
            Self::Means(means) => vec![("means", data(means))],
            Self::Subspace { origin, residual, .. } => {
                vec![("origin", data(origin)), ("residual", data(residual))]
            }
            Self::Boundaries { mean, per_width } => {
                vec![("mean", data(mean)), ("per_width", data(per_width))]
            }
            Self::Centre(mean) => vec![("mean", data(mean))],
            Self::Weights(weights) => vec![("weights", data(weights))],
        }
    }

    /// The parts of a method, each checked to be finite and of the shape that the method needs.
    pub(in crate::posthoc) fn read(
        method: &Method,
        sizes: Sizes,
        source: &mut impl Source,
        device: &B::Device,
    ) -> Result<Self, TensorError> {
        let Sizes { num_classes: classes, num_features: features } = sizes;
        let (classes, features) = (Length::Exactly(classes), Length::Exactly(features));
        let one = Length::Exactly(1);
        let mut file = Reader { source, device };
        Ok(match *method {
            Method::Logit(_) | Method::Gen { .. } => Self::Nothing,
            Method::Mahalanobis { .. } => {
                Self::Gaussian { within: file.gaussian(WITHIN, classes, sizes)?, all: None }
            }
            Method::RelativeMahalanobis { .. } => Self::Gaussian {
                within: file.gaussian(WITHIN, classes, sizes)?,
                all: Some(file.gaussian(ALL, one, sizes)?),
            },
            Method::Knn { k } | Method::NnGuide { k, .. } => {
                let rows = file.matrix("bank", [Length::AtLeast(k), features])?;
                Self::Neighbours(Neighbours { rows })
            }
            Method::Ctm | Method::She => Self::Means(file.matrix("means", [classes, features])?),
            Method::Vim { dims, .. } | Method::Residual { dims, .. } => {
                let outside = sizes.num_features.saturating_sub(dims.of(sizes.num_features));
                Self::Subspace {
                    origin: file.matrix("origin", [one, features])?,
                    residual: file.matrix("residual", [features, Length::Exactly(outside)])?,
                    alpha: file.number("alpha")?,
                }
            }
            Method::Fdbd => Self::Boundaries {
                mean: file.matrix("mean", [one, features])?,
                per_width: file.matrix("per_width", [classes, classes])?,
            },
            Method::Nci { .. } => Self::Centre(file.matrix("mean", [one, features])?),
            Method::Shaped { shape: Shape::React { .. }, .. } => Self::Clip(file.number("clip")?),
            Method::Shaped { shape: Shape::Dice { .. }, .. } => {
                Self::Weights(file.matrix("weights", [classes, features])?)
            }
            Method::Shaped { .. } => Self::Nothing,
        })
    }
}

const WITHIN: [&str; 3] = ["within.centre", "within.whitener", "within.means"];
const ALL: [&str; 3] = ["all.centre", "all.whitener", "all.means"];

/// How long a side of a tensor is.
#[derive(Debug, Clone, Copy)]
enum Length {
    Exactly(usize),
    AtLeast(usize),
}

impl Length {
    fn fits(self, length: usize) -> bool {
        match self {
            Self::Exactly(expected) => length == expected,
            Self::AtLeast(least) => length >= least.max(1),
        }
    }
}

impl core::fmt::Display for Length {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Exactly(expected) => write!(f, "{expected}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
        }
    }
}

struct Reader<'a, B: Backend, S> {
    source: &'a mut S,
    device: &'a B::Device,
}

impl<B: Backend, S: Source> Reader<'_, B, S> {
    fn data(
        &mut self,
        name: &'static str,
        lengths: [Length; 2],
    ) -> Result<TensorData, TensorError> {
        let data = self.source.tensor(name).ok_or(TensorError::Missing { name })?;
        let found = data.shape.to_vec();
        if found.len() != 2
            || !lengths.iter().zip(&found).all(|(length, &found)| length.fits(found))
        {
            let expected = format!("[{}, {}]", lengths[0], lengths[1]);
            return Err(TensorError::Shape { name, expected, found });
        }
        let is_finite = data.iter::<f64>().all(f64::is_finite);
        if is_finite { Ok(data) } else { Err(TensorError::NotFinite { name }) }
    }

    fn matrix(
        &mut self,
        name: &'static str,
        lengths: [Length; 2],
    ) -> Result<Tensor<B, 2>, TensorError> {
        let data = self.data(name, lengths)?.convert_dtype(DType::F32);
        Ok(Tensor::from_data(data, self.device))
    }

    fn number(&mut self, name: &'static str) -> Result<f64, TensorError> {
        let number = self.source.number(name).ok_or(TensorError::Missing { name })?;
        if number.is_finite() { Ok(number) } else { Err(TensorError::NotFinite { name }) }
    }

    fn gaussian(
        &mut self,
        [centre, whitener, means]: [&'static str; 3],
        rows: Length,
        sizes: Sizes,
    ) -> Result<Gaussian<B>, TensorError> {
        let features = Length::Exactly(sizes.num_features);
        let whitener = self.matrix(whitener, [features, Length::AtLeast(1)])?;
        let rank = Length::Exactly(whitener.dims()[1]);
        Ok(Gaussian {
            centre: self.matrix(centre, [Length::Exactly(1), features])?,
            means: self.matrix(means, [rows, rank])?,
            whitener,
        })
    }
}
