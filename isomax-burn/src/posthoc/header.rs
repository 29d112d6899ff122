use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Method;
use super::detector::{FittedHead, PROBES};
use super::fitted::Sizes;
use super::stored::malformed;
use crate::DetectorError;
use crate::detector::{Threshold, check_temperature};

/// All of a stored [`PostHocDetector`](super::PostHocDetector) but its tensors: what it is, and what it belongs to.
/// Files that hold more than a detector have it as JSON.
#[derive(Debug, Clone)]
pub struct PostHocHeader {
    pub(super) method: Method,
    pub(super) head: FittedHead,
    pub(super) threshold: Threshold,
    /// What of the method is no tensor.
    pub(super) numbers: BTreeMap<String, f64>,
}

/// Marks JSON as a post-hoc detector.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "isomax-posthoc")]
    PostHoc,
}

#[derive(Deserialize)]
struct Start {
    #[serde(rename = "format")]
    _format: Format,
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: Format,
    version: u32,
    method: Method,
    head: StoredHead,
    threshold: Threshold,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    numbers: BTreeMap<String, f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredHead {
    name: String,
    num_classes: usize,
    num_features: usize,
    temperature: f32,
    confidence_temperature: f32,
    probe: Vec<f32>,
}

impl PostHocHeader {
    /// The version of the stored format.
    pub const FORMAT_VERSION: u32 = 1;

    /// Whether JSON says that it is one, rather than a [`Detector`](crate::Detector).
    pub fn is_named_in(json: &serde_json::Value) -> bool {
        json.get("format").is_some_and(|format| Format::deserialize(format).is_ok())
    }

    pub(super) fn to_json(&self) -> String {
        let FittedHead { name, sizes, temperature, confidence_temperature, probe } = &self.head;
        let stored = Stored {
            format: Format::PostHoc,
            version: Self::FORMAT_VERSION,
            method: self.method,
            head: StoredHead {
                name: name.clone(),
                num_classes: sizes.num_classes,
                num_features: sizes.num_features,
                temperature: *temperature,
                confidence_temperature: *confidence_temperature,
                probe: probe.clone(),
            },
            threshold: self.threshold.clone(),
            numbers: self.numbers.clone(),
        };
        // Structs of numbers and strings have no JSON that could fail.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Reads what [`PostHocDetector::to_json`](super::PostHocDetector::to_json) gives.
    ///
    /// # Errors
    ///
    /// [`DetectorError::UnsupportedVersion`], and [`DetectorError::Malformed`] or [`DetectorError::InvalidField`] for
    /// anything that is not whole and consistent.
    pub fn from_json(json: &str) -> Result<Self, DetectorError> {
        // By itself: other fields of a foreign version may look like anything.
        let json_error = |error: serde_json::Error| malformed(error.to_string());
        let Start { version, .. } = serde_json::from_str(json).map_err(json_error)?;
        if version != u64::from(Self::FORMAT_VERSION) {
            let newest = Self::FORMAT_VERSION;
            return Err(DetectorError::UnsupportedVersion { newest, found: version });
        }
        let Stored { method, head, threshold, numbers, .. } =
            serde_json::from_str(json).map_err(json_error)?;
        threshold.check()?;
        check_temperature(head.temperature)?;
        check_temperature(head.confidence_temperature)?;
        let sizes = Sizes { num_classes: head.num_classes, num_features: head.num_features };
        for (what, size) in
            [("number of classes", sizes.num_classes), ("number of features", sizes.num_features)]
        {
            if size == 0 {
                return Err(DetectorError::invalid(what, "at least 1", 0));
            }
        }
        let is_whole = sizes.num_classes.checked_mul(PROBES) == Some(head.probe.len());
        if !is_whole || !head.probe.iter().all(|logit| logit.is_finite()) {
            let expected = "finite numbers, four for each class";
            return Err(DetectorError::invalid("probe", expected, head.probe.len()));
        }
        method.check_dims(sizes.num_features)?;
        let head = FittedHead {
            name: head.name,
            sizes,
            temperature: head.temperature,
            confidence_temperature: head.confidence_temperature,
            probe: head.probe,
        };
        Ok(Self { method, head, threshold, numbers })
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The name of the head.
    pub fn head(&self) -> &str {
        &self.head.name
    }

    /// Number of classes of the head.
    pub fn num_classes(&self) -> usize {
        self.head.sizes.num_classes
    }
}
