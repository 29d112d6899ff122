//! Detectors as JSON. Version 1, of older files, is read as well.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::quantiles::Quantiles;
use super::threshold::Threshold;
use super::{Detector, DetectorError, Fitted, Source, check_temperature};
use crate::{HeadKind, OodScore, Score, UnknownName};

/// Marks JSON as a detector.
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: Format,
    version: u32,
    score: Option<String>,
    head: Option<StoredHead>,
    threshold: Threshold,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredHead {
    name: String,
    num_classes: usize,
    temperature: f32,
    confidence_temperature: f32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredV1 {
    #[serde(rename = "format")]
    _format: Format,
    #[serde(rename = "version")]
    _version: u32,
    head: HeadKind,
    score: Score,
    temperature: f32,
    num_classes: usize,
    target_tpr: f64,
    threshold: f32,
    num_samples: usize,
    /// 32-bit numbers, whose shortest decimals are others in 64 bits.
    quantiles: Vec<f32>,
}

impl From<StoredV1> for Stored {
    fn from(old: StoredV1) -> Self {
        let StoredV1 { temperature, num_classes, target_tpr, num_samples, quantiles, .. } = old;
        Self {
            format: Format::Detector,
            version: Detector::FORMAT_VERSION,
            score: Some(old.score.to_string()),
            head: Some(StoredHead {
                name: old.head.to_string(),
                num_classes,
                temperature,
                confidence_temperature: temperature,
            }),
            threshold: Threshold::of_version_1(
                target_tpr,
                old.threshold,
                num_samples,
                Quantiles::of_knots(quantiles.into_iter().map(f64::from).collect()),
            ),
        }
    }
}

impl Detector {
    /// The detector as JSON: what [`save`](Self::save) writes.
    pub fn to_json(&self) -> String {
        let head = self.fitted().ok().map(|fitted| StoredHead {
            name: fitted.head.clone(),
            num_classes: fitted.num_classes,
            temperature: fitted.temperature,
            confidence_temperature: fitted.confidence_temperature,
        });
        let stored = Stored {
            format: Format::Detector,
            version: Self::FORMAT_VERSION,
            score: self.score_name().map(str::to_owned),
            head,
            threshold: self.threshold.clone(),
        };
        // Structs of numbers and strings have no JSON that could fail.
        serde_json::to_string_pretty(&stored).unwrap_or_default() + "\n"
    }

    /// Reads JSON of [`to_json`](Self::to_json), as bytes from anywhere, whose score is one of
    /// [`Score`].
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load) but for files.
    pub fn from_json(bytes: &[u8]) -> Result<Self, DetectorError> {
        build(bytes, |name| {
            let score: Score = name.parse()?;
            Ok(Arc::new(score))
        })
    }

    /// As [`from_json`](Self::from_json), for a score of your own.
    ///
    /// # Errors
    ///
    /// As there, with [`DetectorError::UnknownScore`] if another score is named.
    pub fn from_json_with(bytes: &[u8], score: impl OodScore) -> Result<Self, DetectorError> {
        let score: Arc<dyn OodScore> = Arc::new(score);
        build(bytes, |name| match name == score.name() {
            true => Ok(score.clone()),
            false => Err(UnknownName {
                what: "score",
                found: name.to_owned(),
                known: vec![score.name().to_owned()],
            }),
        })
    }
}

fn build(
    bytes: &[u8],
    find_score: impl FnOnce(&str) -> Result<Arc<dyn OodScore>, UnknownName>,
) -> Result<Detector, DetectorError> {
    let Stored { score, head, threshold, .. } = parse(bytes)?;
    threshold.check()?;
    let Some(head) = head else {
        return Ok(Detector { source: Source::Scores { name: score }, threshold });
    };
    for temperature in [head.temperature, head.confidence_temperature] {
        check_temperature(temperature)?;
    }
    if head.num_classes == 0 {
        return Err(DetectorError::invalid("number of classes", "at least 1", 0));
    }
    let name = score.ok_or_else(|| DetectorError::invalid("score", "a name", "null"))?;
    let source = Source::Head(Fitted {
        head: head.name,
        num_classes: head.num_classes,
        temperature: head.temperature,
        confidence_temperature: head.confidence_temperature,
        score: find_score(&name)?,
    });
    Ok(Detector { source, threshold })
}

/// The version is read by itself: other fields of a foreign version may look like anything.
fn parse(bytes: &[u8]) -> Result<Stored, DetectorError> {
    let malformed = |error: serde_json::Error| DetectorError::Malformed {
        what: "a detector in JSON",
        reason: error.to_string(),
    };
    let Header { version, .. } = serde_json::from_slice(bytes).map_err(malformed)?;
    match version {
        1 => Ok(serde_json::from_slice::<StoredV1>(bytes).map_err(malformed)?.into()),
        2 => serde_json::from_slice(bytes).map_err(malformed),
        found => Err(DetectorError::UnsupportedVersion { newest: Detector::FORMAT_VERSION, found }),
    }
}
