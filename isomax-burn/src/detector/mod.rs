//! A detector: everything that a deployed classifier needs in order to say "I do not know this".

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use burn::config::Config;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

use crate::metrics::{MetricError, ScoreSet};
use crate::{HeadKind, Score, atomic_file};

mod error;
mod quantiles;

pub use error::DetectorError;
use quantiles::Quantiles;

/// What to fit a [`Detector`] for.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Distribution, Tensor};
/// use isomax_burn::{DetectorConfig, HeadConfig, HeadKind};
///
/// let device = Default::default();
/// let head = HeadConfig::new(HeadKind::IsoMaxPlus, 64, 10).init::<Flex>(&device);
/// let known = Tensor::random([500, 64], Distribution::Default, &device);
/// let detector = DetectorConfig::new(head.kind())
///     .with_target_tpr(0.9)
///     .fit(head.forward(known.clone()), head.temperature())?;
///
/// let decisions = detector.decide(head.forward(known), head.temperature())?;
/// assert_eq!(decisions.iter().filter(|d| d.in_distribution).count(), 450);
/// # Ok::<(), isomax_burn::DetectorError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct DetectorConfig {
    /// The head that gives the logits.
    pub head: HeadKind,
    /// The score, by default [`Score::default_for`] the head.
    pub score: Option<Score>,
    /// Share of in-distribution samples to accept, in `(0, 1]`.
    #[config(default = 0.95)]
    pub target_tpr: f64,
}

impl DetectorConfig {
    /// Fits the threshold on in-distribution validation samples. It needs no OOD samples.
    ///
    /// The threshold is the largest score that accepts at least the target share of the given
    /// samples; with distinct scores it accepts less than one sample more.
    ///
    /// # Arguments
    ///
    /// - `logits`: what the head gives for held-out in-distribution samples,
    ///   `[num_samples, num_classes]`
    /// - `temperature`: the temperature of that head
    ///
    /// # Errors
    ///
    /// [`DetectorError::Metric`] without samples or if a logit is not finite,
    /// [`DetectorError::InvalidField`] for a target or temperature out of range.
    pub fn fit<B: Backend>(
        &self,
        logits: Tensor<B, 2>,
        temperature: f32,
    ) -> Result<Detector, DetectorError> {
        let [num_samples, num_classes] = logits.dims();
        let score = self.score.unwrap_or(Score::default_for(self.head));
        if num_samples == 0 {
            return Err(MetricError::EmptyScores(ScoreSet::In).into());
        }
        check_finite(&logits)?;
        let mut scores: Vec<f32> = score.compute(logits).into_data().iter().collect();
        scores.sort_unstable_by(f32::total_cmp);
        // A product such as 0.55 · 100 may lie a rounding error above the whole number it means.
        let accepted = (self.target_tpr * num_samples as f64 - 1e-9).ceil() as usize;
        let threshold = scores[num_samples - accepted.clamp(1, num_samples)];
        let stored = Stored {
            format: Format::Detector,
            version: Detector::FORMAT_VERSION,
            head: self.head,
            score,
            temperature,
            num_classes,
            target_tpr: self.target_tpr,
            threshold,
            num_samples,
            quantiles: Quantiles::of(&scores),
        };
        stored.try_into()
    }
}

/// A score, the temperature it belongs to, a threshold, and the distribution of in-distribution
/// scores: fitted once on validation samples, saved beside the weights, applied to every input.
///
/// Stored as JSON with a format version; reading checks that the values fit each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Detector(Stored);

/// What a detector says of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The class with the largest logit, meant for samples that are in distribution.
    pub class: usize,
    /// The detection score, high = in-distribution.
    pub score: f32,
    /// Share of in-distribution validation samples that score no higher, in `[0, 1]`: like a
    /// p-value, small for samples unlike the known ones. Exact for up to 1,001 validation samples,
    /// interpolated between as many of them otherwise.
    pub quantile: f64,
    /// Whether the score reaches the threshold.
    pub in_distribution: bool,
}

impl Detector {
    /// The version of the stored format.
    pub const FORMAT_VERSION: u32 = 1;

    /// Decides on a batch.
    ///
    /// # Arguments
    ///
    /// - `logits`: raw logits of the head, `[batch_size, num_classes]`
    /// - `temperature`: the temperature of the head that gave them,
    ///   [`Head::temperature`](crate::Head::temperature)
    ///
    /// # Errors
    ///
    /// [`DetectorError::TemperatureMismatch`] if the temperatures differ by more than the rounding
    /// of weights saved in half precision, [`DetectorError::ClassCountMismatch`], and
    /// [`DetectorError::Metric`] if a logit is not finite.
    pub fn decide<B: Backend>(
        &self,
        logits: Tensor<B, 2>,
        temperature: f32,
    ) -> Result<Vec<Decision>, DetectorError> {
        let [batch_size, num_classes] = logits.dims();
        let distance = (temperature / self.0.temperature - 1.0).abs();
        if distance.is_nan() || distance > HALF_PRECISION {
            let expected = self.0.temperature;
            return Err(DetectorError::TemperatureMismatch { expected, got: temperature });
        }
        if num_classes != self.0.num_classes {
            let expected = self.0.num_classes;
            return Err(DetectorError::ClassCountMismatch { expected, got: num_classes });
        }
        if batch_size == 0 {
            return Ok(Vec::new());
        }
        check_finite(&logits)?;
        let classes = logits.clone().argmax(1).into_data();
        let scores = self.0.score.compute(logits).into_data();
        Ok((classes.iter::<i64>().zip(scores.iter::<f32>()))
            .map(|(class, score)| Decision {
                class: class as usize,
                score,
                quantile: self.0.quantiles.rank(score, self.0.num_samples),
                in_distribution: score >= self.0.threshold,
            })
            .collect())
    }

    /// The head that gives the logits.
    pub fn head(&self) -> HeadKind {
        self.0.head
    }

    /// The score that is compared with the threshold.
    pub fn score(&self) -> Score {
        self.0.score
    }

    /// The temperature that the logits must have.
    pub fn temperature(&self) -> f32 {
        self.0.temperature
    }

    /// The number of classes that the logits must have.
    pub fn num_classes(&self) -> usize {
        self.0.num_classes
    }

    /// The share of in-distribution samples that the threshold was fitted to accept.
    pub fn target_tpr(&self) -> f64 {
        self.0.target_tpr
    }

    /// The lowest score that counts as in-distribution.
    pub fn threshold(&self) -> f32 {
        self.0.threshold
    }

    /// The number of validation samples that the detector was fitted on.
    pub fn num_samples(&self) -> usize {
        self.0.num_samples
    }

    /// Writes the detector as JSON. The file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// [`DetectorError::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), DetectorError> {
        let path = path.as_ref();
        let write = |file: &mut File| {
            let mut file = BufWriter::new(file);
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.flush()
        };
        atomic_file::write(path, write)
            .map_err(|source| DetectorError::Io { path: path.to_owned(), source })
    }

    /// Reads a detector that was written by [`save`](Self::save).
    ///
    /// # Errors
    ///
    /// [`DetectorError::Io`], [`DetectorError::TooLarge`], [`DetectorError::UnsupportedVersion`],
    /// and [`DetectorError::Malformed`] for anything that is not a whole and consistent detector.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, DetectorError> {
        let path = path.as_ref();
        let malformed = |source| DetectorError::Malformed { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes))
            .map_err(|source| DetectorError::Io { path: path.to_owned(), source })?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(DetectorError::TooLarge { path: path.to_owned(), limit: LARGEST_FILE });
        }
        // The version is read by itself: other fields of a foreign version may look like anything.
        let Header { version, .. } = serde_json::from_slice(&bytes).map_err(malformed)?;
        if version != u64::from(Self::FORMAT_VERSION) {
            return Err(DetectorError::UnsupportedVersion {
                path: path.to_owned(),
                expected: Self::FORMAT_VERSION,
                found: version,
            });
        }
        serde_json::from_slice(&bytes).map_err(malformed)
    }
}

/// Looks at logits on the host: what a GPU makes of NaN, in a maximum for one, is not defined.
fn check_finite<B: Backend>(logits: &Tensor<B, 2>) -> Result<(), MetricError> {
    let [_, num_classes] = logits.dims();
    let data = logits.to_data();
    match data.iter::<f32>().enumerate().find(|(_, logit)| !logit.is_finite()) {
        None => Ok(()),
        Some((at, value)) => {
            let (index, class) = (at / num_classes, at % num_classes);
            Err(MetricError::NonFiniteLogit { index, class, value })
        }
    }
}

/// How far saving weights in half precision may move a temperature, relatively.
const HALF_PRECISION: f32 = 1e-3;

/// No detector is nearly as large; a larger file is something else.
const LARGEST_FILE: u64 = 1 << 20;

/// Marks a file as a detector.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "isomax-detector")]
    Detector,
}

/// The part of the stored form that every version shares.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "format")]
    _format: Format,
    version: u64,
}

/// The stored form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: Format,
    version: u32,
    head: HeadKind,
    score: Score,
    temperature: f32,
    num_classes: usize,
    target_tpr: f64,
    threshold: f32,
    num_samples: usize,
    quantiles: Quantiles,
}

impl From<Detector> for Stored {
    fn from(Detector(stored): Detector) -> Self {
        stored
    }
}

impl TryFrom<Stored> for Detector {
    type Error = DetectorError;

    /// The one place where a detector comes into being: its values fit each other.
    fn try_from(stored: Stored) -> Result<Self, DetectorError> {
        let require = |valid: bool, what, expected: &str, got: &dyn ToString| {
            let (expected, got) = (expected.to_owned(), got.to_string());
            if valid { Ok(()) } else { Err(DetectorError::InvalidField { what, expected, got }) }
        };
        let version_is_known = stored.version == Self::FORMAT_VERSION;
        let temperature_is_valid = stored.temperature > 0.0 && stored.temperature.is_finite();
        let tpr_is_valid = stored.target_tpr > 0.0 && stored.target_tpr <= 1.0;
        let version = Self::FORMAT_VERSION.to_string();
        require(version_is_known, "detector format version", &version, &stored.version)?;
        require(temperature_is_valid, "temperature", "a positive number", &stored.temperature)?;
        require(tpr_is_valid, "target TPR", "a number in (0, 1]", &stored.target_tpr)?;
        require(stored.num_classes > 0, "number of classes", "at least 1", &stored.num_classes)?;
        require(stored.num_samples > 0, "number of samples", "at least 1", &stored.num_samples)?;
        require(stored.threshold.is_finite(), "threshold", "a finite number", &stored.threshold)?;
        let Stored { quantiles, threshold, num_samples, .. } = &stored;
        let unordered = "infinite, out of order, or of another number";
        let one_each = "ascending finite numbers, one for each sample up to 1001";
        require(quantiles.are_of(*num_samples), "quantiles", one_each, &unordered)?;
        let within = "within the quantiles";
        require(quantiles.range().contains(threshold), "threshold", within, threshold)?;
        Ok(Self(stored))
    }
}
