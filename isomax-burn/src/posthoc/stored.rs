//! Post-hoc detectors as safetensors files: the tensors of the method, and the rest as JSON in the metadata.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use burn::tensor::{TensorData, backend::Backend};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};

use super::detector::{FittedHead, PROBES};
use super::fitted::{Parts, Sizes, Source, TensorError};
use super::{Fitted, Method, PostHocDetector};
use crate::detector::{Threshold, check_temperature};
use crate::{DetectorError, atomic_file};

/// The key of the metadata.
const KEY: &str = "isomax-posthoc";

/// No bank is nearly as large; a larger file is something else.
const LARGEST_FILE: u64 = 8 << 30;

/// Marks JSON as a post-hoc detector.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "isomax-posthoc")]
    PostHoc,
}

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
    method: Method,
    head: StoredHead,
    threshold: Threshold,
    /// What of the method is no tensor.
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

impl<B: Backend> PostHocDetector<B> {
    /// The version of the stored format.
    pub const FORMAT_VERSION: u32 = 1;

    /// Writes the detector. The file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// [`DetectorError::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), DetectorError> {
        let path = path.as_ref();
        let bytes = self.to_bytes();
        atomic_file::write(path, |file| file.write_all(&bytes))
            .map_err(|source| DetectorError::Io { path: path.to_owned(), source })
    }

    /// What [`save`](Self::save) writes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let tensors = self.tensors();
        let tensors = tensors.iter().filter_map(|(name, data)| {
            Some((*name, TensorView::new(Dtype::F32, data.shape.to_vec(), data.as_bytes()).ok()?))
        });
        // Views of whole tensors and a map of one text have no form that could fail.
        serialize(tensors, Some(HashMap::from([(KEY.to_owned(), self.to_json())])))
            .unwrap_or_default()
    }

    /// All but the tensors, as JSON: for files that hold more than a detector.
    pub fn to_json(&self) -> String {
        let FittedHead { name, sizes, temperature, confidence_temperature, probe } = &self.head;
        let numbers = self.fitted.parts.numbers();
        let stored = Stored {
            format: Format::PostHoc,
            version: Self::FORMAT_VERSION,
            method: self.fitted.method,
            head: StoredHead {
                name: name.clone(),
                num_classes: sizes.num_classes,
                num_features: sizes.num_features,
                temperature: *temperature,
                confidence_temperature: *confidence_temperature,
                probe: probe.clone(),
            },
            threshold: self.threshold.clone(),
            numbers: numbers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        };
        // Structs of numbers and strings have no JSON that could fail.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// The tensors with their names, each of 32-bit floats and two dimensions.
    pub fn tensors(&self) -> Vec<(&'static str, TensorData)> {
        self.fitted.parts.tensors()
    }

    /// Reads a detector that [`save`](Self::save) has written.
    ///
    /// # Errors
    ///
    /// [`DetectorError::Io`], [`DetectorError::TooLarge`], [`DetectorError::UnsupportedVersion`], and
    /// [`DetectorError::Malformed`] or [`DetectorError::InvalidField`] for anything that is not a whole and consistent
    /// detector.
    pub fn load(path: impl AsRef<Path>, device: &B::Device) -> Result<Self, DetectorError> {
        let path = path.as_ref();
        let io = |source| DetectorError::Io { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(io)?;
        file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(DetectorError::TooLarge { path: path.to_owned(), limit: LARGEST_FILE });
        }
        Self::from_bytes(&bytes, device).map_err(|error| error.in_file(path))
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gives, as bytes from anywhere.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load) but for files.
    pub fn from_bytes(bytes: &[u8], device: &B::Device) -> Result<Self, DetectorError> {
        let (_, metadata) =
            SafeTensors::read_metadata(bytes).map_err(|error| malformed(error.to_string()))?;
        let json = metadata.metadata().as_ref().and_then(|texts| texts.get(KEY));
        let json = json.ok_or_else(|| malformed(format!("its metadata have no key '{KEY}'")))?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| malformed(error.to_string()))?;
        Self::from_parts(json, |name| tensor(&file, name), device)
    }

    /// Reads what [`to_json`](Self::to_json) and [`tensors`](Self::tensors) give.
    ///
    /// # Arguments
    ///
    /// - `tensor`: gives the tensor of a name
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load) but for files.
    pub fn from_parts(
        json: &str,
        tensor: impl FnMut(&'static str) -> Option<TensorData>,
        device: &B::Device,
    ) -> Result<Self, DetectorError> {
        // By itself: other fields of a foreign version may look like anything.
        let json_error = |error: serde_json::Error| malformed(error.to_string());
        let Header { version, .. } = serde_json::from_str(json).map_err(json_error)?;
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
        let mut source = Stock { tensor, numbers };
        let parts = Parts::read(&method, sizes, &mut source, device).map_err(tensor_error)?;
        let head = FittedHead {
            name: head.name,
            sizes,
            temperature: head.temperature,
            confidence_temperature: head.confidence_temperature,
            probe: head.probe,
        };
        Ok(Self { fitted: Fitted { method, parts }, threshold, head })
    }
}

fn malformed(reason: String) -> DetectorError {
    DetectorError::Malformed { what: "a post-hoc detector in safetensors", reason }
}

fn tensor_error(error: TensorError) -> DetectorError {
    malformed(match error {
        TensorError::Missing { name } => format!("no '{name}' of 32-bit floats"),
        TensorError::Shape { name, expected, found } => {
            format!("the tensor '{name}' has shape {found:?}, expected {expected}")
        }
        TensorError::NotFinite { name } => {
            format!("'{name}' holds a value that is not finite")
        }
    })
}

/// What a file holds.
struct Stock<F> {
    tensor: F,
    numbers: BTreeMap<String, f64>,
}

impl<F: FnMut(&'static str) -> Option<TensorData>> Source for Stock<F> {
    fn tensor(&mut self, name: &'static str) -> Option<TensorData> {
        (self.tensor)(name)
    }

    fn number(&mut self, name: &'static str) -> Option<f64> {
        self.numbers.get(name).copied()
    }
}

fn tensor(file: &SafeTensors<'_>, name: &str) -> Option<TensorData> {
    let view = file.tensor(name).ok().filter(|view| view.dtype() == Dtype::F32)?;
    let (values, _) = view.data().as_chunks::<4>();
    let values: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Some(TensorData::new(values, view.shape().to_vec()))
}
