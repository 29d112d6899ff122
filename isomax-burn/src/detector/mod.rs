//! A detector: everything that a deployed classifier needs in order to say "I do not know this".
//!
//! Fit it once on held-out samples, save it beside the weights, load it where the classifier runs:
//!
//! ```
//! use burn::backend::Flex;
//! use burn::tensor::{Distribution, Tensor};
//! use isomax_burn::detector::{Detector, DetectorConfig};
//! use isomax_burn::{HeadConfig, HeadKind};
//!
//! # let device = Default::default();
//! # let head = HeadConfig::new(HeadKind::IsoMaxPlus, 64, 10).init::<Flex>(&device);
//! # let features = |n| Tensor::random([n, 64], Distribution::Default, &device);
//! # let (held_out_features, new_features) = (features(200), features(3));
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("detector.json");
//! DetectorConfig::new().fit(&head, head.forward(held_out_features))?.save(&path)?;
//!
//! let detector = Detector::load(&path)?;
//! let decisions = detector.decide(&head, head.forward(new_features))?;
//! assert_eq!(decisions.len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`DetectorConfig`] shows what can be chosen, [`Promise`] what the threshold then promises.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Int, Tensor, backend::Backend};

use crate::metrics::MetricError;
use crate::{HostLogits, OodHead, OodScore, TemperatureFit, TemperatureObjective, atomic_file};

mod any;
mod config;
mod decision;
mod error;
mod promise;
mod quantiles;
mod rank;
mod stored;
mod threshold;

pub use any::AnyDetector;
pub use config::DetectorConfig;
pub use decision::{Decision, ScoreDecision};
pub use error::DetectorError;
pub use promise::Promise;
pub use threshold::Threshold;

/// A score, the head it belongs to, a threshold, and the distribution of held-out scores: fitted once
/// on in-distribution samples, saved beside the weights, applied to every input.
///
/// Made by [`DetectorConfig`]. Stored as JSON with a format version; reading checks that the values
/// fit each other.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Distribution, Tensor};
/// use isomax_burn::{Detector, DetectorConfig, DetectorError, HeadConfig, HeadKind, OodHead};
///
/// let device = Default::default();
/// let head = HeadConfig::new(HeadKind::IsoMaxPlus, 64, 10).init::<Flex>(&device);
/// let held_out = head.forward(Tensor::random([200, 64], Distribution::Default, &device));
/// let detector = DetectorConfig::new().fit(&head, held_out.clone())?;
/// assert_eq!((detector.head(), detector.score_name()), (Some("isomax+"), Some("MDS")));
///
/// // JSON that is kept elsewhere than in a file:
/// let detector = Detector::from_json(detector.to_json().as_bytes())?;
///
/// // A threshold means nothing for logits of another temperature:
/// let refused = detector.decide(&head.with_temperature(2.0), held_out);
/// assert!(matches!(refused, Err(DetectorError::TemperatureMismatch { .. })));
/// # Ok::<(), DetectorError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Detector {
    source: Source,
    threshold: Threshold,
}

/// Where the scores come from.
#[derive(Debug, Clone)]
enum Source {
    /// From the logits of a head.
    Head(Fitted),
    /// From anywhere; whoever decides brings them.
    Scores { name: Option<String> },
}

/// What the logits of a head must have, and what is made of them.
#[derive(Debug, Clone)]
struct Fitted {
    head: String,
    num_classes: usize,
    /// The temperature that the logits were divided by.
    temperature: f32,
    /// The temperature that confidences are computed at.
    confidence_temperature: f32,
    score: Arc<dyn OodScore>,
}

impl Detector {
    /// The version of the stored format.
    pub const FORMAT_VERSION: u32 = 2;

    /// Decides on a batch.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch_size, num_classes]`, what this head gives
    ///
    /// # Errors
    ///
    /// [`DetectorError::HeadMismatch`], [`DetectorError::TemperatureMismatch`] if the temperatures
    /// differ by more than the rounding of weights saved in half precision,
    /// [`DetectorError::ClassCountMismatch`], [`DetectorError::NoHead`] if the detector was fitted on
    /// bare scores, and [`DetectorError::Metric`] if a logit is not finite.
    pub fn decide<B: Backend>(
        &self,
        head: &impl OodHead<B>,
        logits: Tensor<B, 2>,
    ) -> Result<Vec<Decision>, DetectorError> {
        let [batch_size, num_classes] = logits.dims();
        self.check_head(head.name(), head.temperature())?;
        self.fitted()?.check_classes(num_classes)?;
        match batch_size {
            0 => Ok(Vec::new()),
            _ => self.decide_host(&HostLogits::read(logits)?),
        }
    }

    /// As [`decide`](Self::decide), for logits that are in host memory already. That they are those
    /// of the right head is for [`check_head`](Self::check_head) to say.
    ///
    /// # Errors
    ///
    /// [`DetectorError::ClassCountMismatch`] or [`DetectorError::NoHead`].
    pub fn decide_host(&self, logits: &HostLogits) -> Result<Vec<Decision>, DetectorError> {
        let fitted = self.fitted()?;
        fitted.check_classes(logits.num_classes())?;
        let scores = logits.scores(&*fitted.score);
        let factor = f64::from(fitted.confidence_temperature) / f64::from(fitted.temperature);
        self.threshold.decide(logits, factor, &scores)
    }

    /// Decides on bare scores, which must come from where those came from that the detector was
    /// fitted on.
    ///
    /// # Errors
    ///
    /// [`DetectorError::Metric`] if a score is NaN.
    pub fn decide_scores<T: crate::metrics::ScoreValue>(
        &self,
        scores: &[T],
    ) -> Result<Vec<ScoreDecision>, DetectorError> {
        let scores: Vec<f64> = scores.iter().map(|&score| score.into()).collect();
        check_no_nan(&scores)?;
        Ok(scores.into_iter().map(|score| self.threshold.decide_score(score)).collect())
    }

    /// Checks that logits of a head are such as the detector was fitted on.
    ///
    /// # Arguments
    ///
    /// - `name`: [`OodHead::name`]
    /// - `temperature`: [`OodHead::temperature`]
    ///
    /// # Errors
    ///
    /// [`DetectorError::HeadMismatch`], [`DetectorError::TemperatureMismatch`] or
    /// [`DetectorError::NoHead`].
    pub fn check_head(&self, name: &str, temperature: f32) -> Result<(), DetectorError> {
        let fitted = self.fitted()?;
        if name != fitted.head {
            let expected = fitted.head.clone();
            return Err(DetectorError::HeadMismatch { expected, got: name.to_owned() });
        }
        check_temperatures(fitted.temperature, temperature)
    }

    /// Fits the temperature that [`Decision::confidence`] is computed at, on held-out logits of the
    /// head. The temperature of the head, and with it score and threshold, stay as they are.
    ///
    /// # Shapes
    ///
    /// - logits: `[num_samples, num_classes]`
    /// - targets: `[num_samples]`, class indices
    ///
    /// # Errors
    ///
    /// [`DetectorError::Metric`] if there are no samples, a logit is not finite, or a label names no
    /// class; [`DetectorError::NoHead`] and [`DetectorError::ClassCountMismatch`].
    pub fn calibrate<B: Backend>(
        self,
        logits: Tensor<B, 2>,
        targets: Tensor<B, 1, Int>,
        objective: TemperatureObjective,
    ) -> Result<(Self, TemperatureFit), DetectorError> {
        let fitted = self.fitted()?;
        fitted.check_classes(logits.dims()[1])?;
        let logits = HostLogits::read(logits)?;
        let fit = logits.fit_temperature_to(targets, fitted.temperature, objective)?;
        Ok((self.with_confidence_temperature(fit.temperature)?, fit))
    }

    /// Sets the temperature that [`Decision::confidence`] is computed at, as
    /// [`TemperatureFit`] gives it.
    ///
    /// # Errors
    ///
    /// [`DetectorError::InvalidField`] unless it is a positive finite number, and
    /// [`DetectorError::NoHead`].
    pub fn with_confidence_temperature(mut self, value: f32) -> Result<Self, DetectorError> {
        self.fitted()?;
        check_temperature(value)?;
        if let Source::Head(fitted) = &mut self.source {
            fitted.confidence_temperature = value;
        }
        Ok(self)
    }

    fn fitted(&self) -> Result<&Fitted, DetectorError> {
        match &self.source {
            Source::Head(fitted) => Ok(fitted),
            Source::Scores { .. } => Err(DetectorError::NoHead),
        }
    }

    /// The name of the head that gives the logits, unless the detector was fitted on bare scores.
    pub fn head(&self) -> Option<&str> {
        self.fitted().ok().map(|fitted| fitted.head.as_str())
    }

    /// The name of the score that is compared with the threshold, if it has one.
    pub fn score_name(&self) -> Option<&str> {
        match &self.source {
            Source::Head(fitted) => Some(fitted.score.name()),
            Source::Scores { name } => name.as_deref(),
        }
    }

    /// The temperature that the logits must have, unless the detector was fitted on bare scores.
    pub fn temperature(&self) -> Option<f32> {
        self.fitted().ok().map(|fitted| fitted.temperature)
    }

    /// The temperature that confidences are computed at, unless the detector was fitted on bare
    /// scores.
    pub fn confidence_temperature(&self) -> Option<f32> {
        self.fitted().ok().map(|fitted| fitted.confidence_temperature)
    }

    /// The number of classes that the logits must have, unless the detector was fitted on bare
    /// scores.
    pub fn num_classes(&self) -> Option<usize> {
        self.fitted().ok().map(|fitted| fitted.num_classes)
    }

    /// The share of in-distribution samples that the threshold was fitted to accept.
    pub fn target_tpr(&self) -> f64 {
        self.threshold.target_tpr
    }

    /// What the threshold promises.
    pub fn promise(&self) -> Promise {
        self.threshold.promise
    }

    /// Scores at or above this count as in-distribution. It lies between held-out scores.
    pub fn threshold(&self) -> f64 {
        self.threshold.value
    }

    /// The number of held-out samples that the detector was fitted on.
    pub fn num_samples(&self) -> usize {
        self.threshold.num_samples
    }

    /// The held-out scores that the detector was fitted on, ascending: all of them up to 1,001,
    /// otherwise 1,001 evenly spaced order statistics, from the smallest score to the largest.
    pub fn held_out_scores(&self) -> &[f64] {
        self.threshold.held_out_scores()
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
            file.write_all(self.to_json().as_bytes())?;
            file.flush()
        };
        atomic_file::write(path, write)
            .map_err(|source| DetectorError::Io { path: path.to_owned(), source })
    }

    /// Reads a detector that [`save`](Self::save) has written, whose score is one of
    /// [`Score`](crate::Score).
    ///
    /// # Errors
    ///
    /// [`DetectorError::Io`], [`DetectorError::TooLarge`], [`DetectorError::UnsupportedVersion`],
    /// [`DetectorError::UnknownScore`] for a score that is none of this crate's, and
    /// [`DetectorError::Malformed`] for anything that is not a whole and consistent detector.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, DetectorError> {
        let path = path.as_ref();
        Self::from_json(&read(path)?).map_err(|error| error.in_file(path))
    }

    /// Reads a detector whose score is one of your own.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), with [`DetectorError::UnknownScore`] if the file names another
    /// score.
    pub fn load_with(path: impl AsRef<Path>, score: impl OodScore) -> Result<Self, DetectorError> {
        let path = path.as_ref();
        Self::from_json_with(&read(path)?, score).map_err(|error| error.in_file(path))
    }
}

/// The bytes of a file that is no larger than a detector can be.
fn read(path: &Path) -> Result<Vec<u8>, DetectorError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes))
        .map_err(|source| DetectorError::Io { path: path.to_owned(), source })?;
    match bytes.len() as u64 > LARGEST_FILE {
        true => Err(DetectorError::TooLarge { path: path.to_owned(), limit: LARGEST_FILE }),
        false => Ok(bytes),
    }
}

impl Fitted {
    fn check_classes(&self, got: usize) -> Result<(), DetectorError> {
        match got == self.num_classes {
            true => Ok(()),
            false => Err(DetectorError::ClassCountMismatch { expected: self.num_classes, got }),
        }
    }
}

impl AsRef<Threshold> for Detector {
    fn as_ref(&self) -> &Threshold {
        &self.threshold
    }
}

impl PartialEq for Detector {
    /// Scores are the same if their names are.
    fn eq(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }
}

pub(crate) fn check_temperature(value: f32) -> Result<(), DetectorError> {
    match value > 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err(DetectorError::invalid("temperature", "a positive number", value)),
    }
}

/// Checks that a temperature is the one that something was fitted at.
pub(crate) fn check_temperatures(expected: f32, got: f32) -> Result<(), DetectorError> {
    let distance = (got / expected - 1.0).abs();
    match distance <= HALF_PRECISION {
        true => Ok(()),
        false => Err(DetectorError::TemperatureMismatch { expected, got }),
    }
}

fn check_no_nan(scores: &[f64]) -> Result<(), MetricError> {
    let set = crate::metrics::ScoreSet::In;
    match scores.iter().position(|score| score.is_nan()) {
        Some(index) => Err(MetricError::NanScore { set, index }),
        None => Ok(()),
    }
}

/// How far saving weights in half precision may move a temperature, relatively.
const HALF_PRECISION: f32 = 1e-3;

/// No detector is nearly as large; a larger file is something else.
const LARGEST_FILE: u64 = 1 << 20;
