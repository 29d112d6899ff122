//! From statistics to fitted methods.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData, backend::Backend};

use super::{FeatureStatistics, scale_to_unit};
use crate::posthoc::fitted::{Gaussian, Neighbours, Parts};
use crate::posthoc::linalg::{self, Eigen, Symmetric};
use crate::posthoc::{FitError, Fitted, Method, Origin, Shape};
use crate::{ClassPlanes, HeadKind, HostLogits, OodHead, Score};

impl FeatureStatistics {
    /// Fits a method for a head. Any number of methods may be fitted on the same statistics.
    ///
    /// # Errors
    ///
    /// [`FitError`]: the method does not suit the head, its statistics were not collected, or the samples do not
    /// allow it.
    pub fn fit<B: Backend>(
        &self,
        method: &Method,
        head: &impl OodHead<B>,
    ) -> Result<Fitted<B>, FitError> {
        method.suits(head)?;
        let (found, expected) =
            ([head.num_classes(), head.num_features()], [self.num_classes, self.num_features]);
        super::check("a head", &found, &expected)?;
        if !method.needs().is_empty() && self.count == 0 {
            return Err(FitError::NoSamples);
        }
        let fit = Fit { statistics: self, method: *method, head, device: device(head) };
        Ok(Fitted { method: *method, parts: fit.parts()? })
    }
}

fn device<B: Backend>(head: &impl OodHead<B>) -> B::Device {
    head.temperature_param().val().device()
}

/// One method being fitted.
struct Fit<'a, B: Backend, H> {
    statistics: &'a FeatureStatistics,
    method: Method,
    head: &'a H,
    device: B::Device,
}

impl<B: Backend, H: OodHead<B>> Fit<'_, B, H> {
    fn parts(&self) -> Result<Parts<B>, FitError> {
        match self.method {
            Method::Logit(_) | Method::Gen { .. } => Ok(Parts::Nothing),
            Method::Mahalanobis { unit, cutoff } => self.gaussian(unit, cutoff, false),
            Method::RelativeMahalanobis { unit, cutoff } => self.gaussian(unit, cutoff, true),
            Method::Knn { k } => self.neighbours(k, None),
            Method::NnGuide { k, guide } => self.neighbours(k, Some(guide.score(self.head.kind()))),
            Method::Ctm => {
                self.collected(
                    self.statistics.needs.means || self.statistics.needs.scatter,
                    "class means",
                )?;
                let mut means = self.class_means(&self.statistics.raw)?;
                means.chunks_exact_mut(self.statistics.num_features).for_each(scale_to_unit);
                Ok(Parts::Means(self.by_class(means)))
            }
            Method::She => {
                self.collected(
                    self.statistics.needs.right_means,
                    "means of what is classified right",
                )?;
                let means = self.statistics.right.class_means();
                let method = self.method;
                let means = means.map_err(|class| FitError::NoneRight { class, method })?;
                Ok(Parts::Means(self.by_class(means)))
            }
            Method::Vim { dims, origin } | Method::Residual { dims, origin } => {
                self.subspace(dims.of(self.statistics.num_features), origin)
            }
            Method::Fdbd => self.boundaries(),
            Method::Nci { .. } => Ok(Parts::Centre(self.row(self.mean_on_planes()?))),
            Method::Shaped { shape: Shape::React { share }, .. } => {
                self.samples()?;
                Ok(Parts::Clip(self.quantile_of_activations(share)))
            }
            Method::Shaped { shape: Shape::Dice { share }, .. } => self.dice(share),
            Method::Shaped { .. } => Ok(Parts::Nothing),
        }
    }

    fn collected(&self, is_there: bool, what: &'static str) -> Result<(), FitError> {
        match is_there {
            true => Ok(()),
            false => Err(self.not_collected(what)),
        }
    }

    /// Whether there are samples in the bank, which may have been made for none.
    fn samples(&self) -> Result<(), FitError> {
        self.collected(self.statistics.needs.bank, "samples")?;
        match self.statistics.bank.len() {
            0 => Err(FitError::NoSamples),
            _ => Ok(()),
        }
    }

    fn not_collected(&self, what: &'static str) -> FitError {
        FitError::NotCollected { method: self.method, what }
    }

    fn class_means(&self, moments: &super::Moments) -> Result<Vec<f64>, FitError> {
        let method = self.method;
        moments.class_means().map_err(|class| FitError::EmptyClass { class, method })
    }

    fn tensor(&self, values: Vec<f64>, shape: [usize; 2]) -> Tensor<B, 2> {
        let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }

    fn by_class(&self, values: Vec<f64>) -> Tensor<B, 2> {
        self.tensor(values, [self.statistics.num_classes, self.statistics.num_features])
    }

    fn row(&self, values: Vec<f64>) -> Tensor<B, 2> {
        let shape = [1, values.len()];
        self.tensor(values, shape)
    }

    fn degenerate(&self, reason: &'static str) -> FitError {
        FitError::Degenerate { method: self.method, reason }
    }

    fn gaussian(
        &self,
        unit: bool,
        cutoff: Option<f64>,
        is_relative: bool,
    ) -> Result<Parts<B>, FitError> {
        let statistics = self.statistics;
        let (moments, is_there) = match unit {
            true => (&statistics.unit, statistics.needs.unit_scatter),
            false => (&statistics.raw, statistics.needs.scatter),
        };
        self.collected(is_there, COVARIANCES)?;
        let class_means = self.class_means(moments)?;
        let mean = moments.mean();
        let cell = &statistics.within[usize::from(unit)];
        let within = match cell.get() {
            Some(eigen) => eigen,
            None => {
                let within = moments.within(&class_means);
                let within = within.ok_or_else(|| self.not_collected(COVARIANCES))?.eigen()?;
                cell.get_or_init(|| Arc::new(within))
            }
        };
        let within = self.whitened(within, &mean, &class_means, cutoff)?;
        let all = is_relative.then(|| moments.covariance_about(&mean)).flatten();
        let all = all.map(|all| all.eigen()).transpose()?;
        let all = all.map(|all| self.whitened(&all, &mean, &mean, cutoff)).transpose()?;
        Ok(Parts::Gaussian { within, all })
    }

    /// What makes a covariance the unit matrix: `V Λ^−½`, but for directions that hardly vary.
    fn whitened(
        &self,
        covariance: &Eigen,
        centre: &[f64],
        means: &[f64],
        cutoff: Option<f64>,
    ) -> Result<Gaussian<B>, FitError> {
        let Eigen { values, vectors } = covariance;
        let width = vectors.nrows();
        let largest = values.last().copied().unwrap_or_default();
        let smallest = largest * cutoff.unwrap_or(width as f64 * f64::EPSILON);
        let first = values.partition_point(|&value| value <= smallest);
        // Scaling samples that are all the same to unit length rounds some of them otherwise.
        let rounding = centre.iter().map(|value| value * value).sum::<f64>() * ROUNDING;
        if largest <= rounding || first == width {
            return Err(self.degenerate("the features of a class are all the same"));
        }
        let rank = width - first;
        let whitener = faer::Mat::from_fn(width, rank, |i, j| {
            vectors[(i, first + j)] / values[first + j].sqrt()
        });
        let centred: Vec<f64> = (means.chunks_exact(width))
            .flat_map(|mean| mean.iter().zip(centre).map(|(mean, centre)| mean - centre))
            .collect();
        let rows = centred.len() / width;
        let means = linalg::rows_times(&centred, whitener.as_ref());
        Ok(Gaussian {
            centre: self.row(centre.to_vec()),
            whitener: self.tensor(linalg::row_by_row(whitener.as_ref()), [width, rank]),
            means: self.tensor(means, [rows, rank]),
        })
    }

    /// The bank as unit vectors, each times the confidence of its sample if that is to guide.
    fn neighbours(&self, k: usize, guide: Option<Score>) -> Result<Parts<B>, FitError> {
        self.samples()?;
        let (bank, method) = (self.statistics.bank.len(), self.method);
        if k > bank {
            return Err(FitError::TooFewNeighbours { method, k, bank });
        }
        let width = self.statistics.num_features;
        let mut rows: Vec<f32> = Vec::with_capacity(bank * width);
        let mut smallest = usize::MAX;
        for (_, class) in self.statistics.bank.rows() {
            smallest = smallest.min(class.len());
            // As many at once as a batch, so that logits of many classes do not take much memory.
            for samples in class.chunks(1024) {
                let confidences = match guide {
                    Some(score) => self.confidences(samples, score)?,
                    None => vec![1.0; samples.len()],
                };
                for (sample, confidence) in samples.iter().zip(confidences) {
                    let mut row: Vec<f64> = sample.iter().map(|&value| f64::from(value)).collect();
                    scale_to_unit(&mut row);
                    rows.extend(row.iter().map(|value| (value * confidence) as f32));
                }
            }
        }
        if k > smallest {
            log::warn!("{method}: the smallest class has {smallest} samples, fewer than k");
        }
        let rows = Tensor::from_data(TensorData::new(rows, [bank, width]), &self.device);
        Ok(Parts::Neighbours(Neighbours { rows }))
    }

    fn logits(&self, samples: &[&[f32]]) -> Result<HostLogits, FitError> {
        let shape = [samples.len(), self.statistics.num_features];
        let samples = Tensor::from_data(TensorData::new(samples.concat(), shape), &self.device);
        let logits = HostLogits::read(self.head.forward(samples));
        logits.map_err(|_| FitError::NotFinite { what: "logits", row: 0 })
    }

    fn confidences(&self, samples: &[&[f32]], score: Score) -> Result<Vec<f64>, FitError> {
        Ok(self.logits(samples)?.scores(&score))
    }

    fn subspace(&self, dims: usize, origin: Origin) -> Result<Parts<B>, FitError> {
        let (width, method) = (self.statistics.num_features, self.method);
        method.check_dims(width)?;
        let moments = &self.statistics.raw;
        let is_affine = self.head.kind() == HeadKind::SoftMax;
        let origin = match origin {
            Origin::Planes => self.zero_of_planes()?,
            Origin::Auto if is_affine => self.zero_of_planes()?,
            Origin::Auto | Origin::Mean => moments.mean(),
        };
        let covariance = moments.covariance_about(&origin);
        let covariance = covariance.ok_or_else(|| self.not_collected(COVARIANCES))?;
        if covariance.is_zero() {
            return Err(self.degenerate("the features are all the same"));
        }
        let vectors = covariance.eigen()?.vectors;
        let residual = vectors.subcols(0, width - dims);
        let alpha = match method {
            Method::Vim { .. } => {
                let outside = self.mean_outside(&origin, residual)?;
                let largest = self.statistics.sum_of_largest_logits / self.statistics.count as f64;
                // Distance heads have negative logits, and what lies outside counts against a sample there too.
                (largest / outside).abs()
            }
            _ => 0.0,
        };
        if !alpha.is_finite() {
            return Err(self.degenerate("no feature leaves the main subspace: take fewer dims"));
        }
        Ok(Parts::Subspace {
            origin: self.row(origin),
            residual: self.tensor(linalg::row_by_row(residual), [width, width - dims]),
            alpha,
        })
    }

    /// The mean length outside of the main subspace. The bank stands for all samples, each of its rows for as many as
    /// its class has for each row.
    fn mean_outside(
        &self,
        origin: &[f64],
        residual: faer::MatRef<'_, f64>,
    ) -> Result<f64, FitError> {
        self.samples()?;
        let (mut sum, mut weights) = (0.0, 0.0);
        for (class, samples) in self.statistics.bank.rows() {
            let of_class = self.statistics.raw.counts()[class] as f64;
            let weight = of_class / samples.len().max(1) as f64;
            for samples in samples.chunks(1024) {
                let centred: Vec<f64> = (samples.iter())
                    .flat_map(|row| {
                        row.iter().zip(origin).map(|(value, origin)| f64::from(*value) - origin)
                    })
                    .collect();
                let outside = linalg::rows_times(&centred, residual);
                let norm = |row: &[f64]| row.iter().map(|value| value * value).sum::<f64>().sqrt();
                sum += weight * outside.chunks_exact(residual.ncols()).map(norm).sum::<f64>();
                weights += weight * samples.len() as f64;
            }
        }
        Ok(sum / weights)
    }

    fn planes(&self) -> Result<ClassPlanes<B>, FitError> {
        self.head.class_planes().ok_or_else(|| FitError::Unsuitable {
            method: self.method,
            head: self.head.name().to_owned(),
            reason: "it reads the class planes, and the head has none",
        })
    }

    /// `−W⁺ b`, by the eigenvectors of `W Wᵀ`.
    fn zero_of_planes(&self) -> Result<Vec<f64>, FitError> {
        let planes = self.planes()?;
        let [classes, width] = planes.weights.dims();
        let weights: Vec<f64> = planes.weights.into_data().iter().collect();
        let bias: Vec<f64> = planes.bias.into_data().iter().collect();
        let weights = faer::MatRef::from_row_major_slice(&weights, classes, width);
        let mut gram = Symmetric::zeros(classes);
        gram.add_rows(&linalg::row_by_row(weights.transpose()), 1.0);
        let Eigen { values, vectors } = gram.eigen()?;
        let largest = values.last().copied().unwrap_or_default();
        let smallest = largest * classes.max(width) as f64 * f64::EPSILON;
        // (W Wᵀ)⁺ b
        let mut solved = vec![0.0; classes];
        for (j, &value) in values.iter().enumerate().filter(|(_, value)| **value > smallest) {
            let along: f64 = (0..classes).map(|i| vectors[(i, j)] * bias[i]).sum();
            (0..classes).for_each(|i| solved[i] += vectors[(i, j)] * along / value);
        }
        Ok(linalg::rows_times(&solved, weights).into_iter().map(|value| -value).collect())
    }

    /// The mean of the training features, as the planes take them.
    fn mean_on_planes(&self) -> Result<Vec<f64>, FitError> {
        let (moments, is_there) = match self.planes()?.unit {
            true => (
                &self.statistics.unit,
                self.statistics.needs.unit_means || self.statistics.needs.unit_scatter,
            ),
            false => {
                (&self.statistics.raw, self.statistics.needs.means || self.statistics.needs.scatter)
            }
        };
        self.collected(is_there, "means")?;
        Ok(moments.mean())
    }

    fn boundaries(&self) -> Result<Parts<B>, FitError> {
        let weights = self.planes()?.weights;
        let [classes, width] = weights.dims();
        let rows: Vec<f64> = weights.into_data().iter().collect();
        let row = |class: usize| &rows[class * width..][..width];
        let per_width = |a: usize, b: usize| {
            let squares = row(a).iter().zip(row(b)).map(|(a, b)| (a - b) * (a - b));
            let width = squares.sum::<f64>().sqrt();
            if width > 0.0 { 1.0 / (width * (classes - 1) as f64) } else { 0.0 }
        };
        let per_width =
            (0..classes * classes).map(|pair| per_width(pair / classes, pair % classes));
        Ok(Parts::Boundaries {
            mean: self.row(self.mean_on_planes()?),
            per_width: self.tensor(per_width.collect(), [classes, classes]),
        })
    }

    fn dice(&self, share: f64) -> Result<Parts<B>, FitError> {
        let (planes, mean) = (self.planes()?, self.mean_on_planes()?);
        let values: Vec<f64> = planes.weights.into_data().iter().collect();
        let contributions = values.chunks_exact(mean.len());
        let contributions =
            contributions.flat_map(|row| row.iter().zip(&mean).map(|(w, mean)| w * mean));
        let contributions: Vec<f64> = contributions.collect();
        let mut ascending = contributions.clone();
        ascending.sort_unstable_by(f64::total_cmp);
        let threshold = interpolated(share, ascending.len(), |rank| ascending[rank]);
        let masked = values.iter().zip(&contributions);
        let masked =
            masked.map(|(w, contribution)| if *contribution > threshold { *w } else { 0.0 });
        Ok(Parts::Weights(self.by_class(masked.collect())))
    }

    /// A quantile of all values of all samples of the bank.
    fn quantile_of_activations(&self, share: f64) -> f64 {
        let rows: Vec<&[f32]> = self.statistics.bank.rows().flat_map(|(_, rows)| rows).collect();
        let count = rows.len() * self.statistics.num_features;
        interpolated(share, count, |rank| f64::from(order_statistic(&rows, rank)))
    }
}

const COVARIANCES: &str = "covariances";

/// The variance that rounding in 64 bits leaves of numbers that are the same, relatively to their square.
const ROUNDING: f64 = 1e-24;

/// A quantile between two order statistics, as NumPy interpolates.
fn interpolated(share: f64, count: usize, order_statistic: impl Fn(usize) -> f64) -> f64 {
    let place = share * count.saturating_sub(1) as f64;
    let (below, along) = (place.floor() as usize, place.fract());
    let lower = order_statistic(below);
    if along == 0.0 { lower } else { lower + along * (order_statistic(below + 1) - lower) }
}

/// The value of a rank, from 0, among all values: counted by the upper and then by the lower half of their bits,
/// without a copy of them.
fn order_statistic(rows: &[&[f32]], rank: usize) -> f32 {
    // Unsigned numbers in the order of the floats.
    let key = |value: f32| {
        let bits = value.to_bits();
        if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
    };
    let keys = || rows.iter().flat_map(|row| row.iter()).map(|&value| key(value));
    let find = |digit: &dyn Fn(u32) -> Option<u32>, rank: usize| {
        let mut counts = vec![0_usize; 1 << 16];
        keys().filter_map(digit).for_each(|digit| counts[digit as usize] += 1);
        let mut left = rank;
        for (digit, count) in counts.into_iter().enumerate() {
            if left < count {
                return (digit as u32, left);
            }
            left -= count;
        }
        (0, 0)
    };
    let (upper, left) = find(&|key| Some(key >> 16), rank);
    let (lower, _) = find(&|key| (key >> 16 == upper).then_some(key & 0xffff), left);
    let key = upper << 16 | lower;
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_statistics_are_those_of_sorting() {
        let values: Vec<f32> = (0..200).map(|i| ((i * 7919 % 200) as f32 - 80.0) * 0.37).collect();
        let rows: Vec<&[f32]> = values.chunks(8).collect();
        let mut sorted = values.clone();
        sorted.sort_by(f32::total_cmp);
        for (rank, value) in sorted.iter().enumerate() {
            assert_eq!(order_statistic(&rows, rank), *value);
        }
    }
}
