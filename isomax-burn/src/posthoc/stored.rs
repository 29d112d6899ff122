//! Post-hoc detectors as safetensors files: the tensors of the method, and the rest as JSON in the metadata.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use burn::tensor::{DType, TensorData, backend::Backend};
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

#[derive(Deserialize)]
struct Header {
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    method: Method,
    head: StoredHead,
    threshold: Threshold,
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
        let FittedHead { name, sizes, temperature, confidence_temperature, probe } = &self.head;
        let stored = Stored {
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
        };
        let json = serde_json::to_string(&stored).unwrap_or_default();
        let tensors = self.fitted.parts.tensors();
        let tensors = tensors.iter().filter_map(|(name, data)| {
            let dtype = if data.dtype == DType::F64 { Dtype::F64 } else { Dtype::F32 };
            Some((*name, TensorView::new(dtype, data.shape.to_vec(), data.as_bytes()).ok()?))
        });
        // Views of whole tensors and a map of one text have no form that could fail.
        serialize(tensors, Some(HashMap::from([(KEY.to_owned(), json)]))).unwrap_or_default()
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
        // By itself: other fields of a foreign version may look like anything.
        let json_error = |error: serde_json::Error| malformed(error.to_string());
        let Header { version } = serde_json::from_str(json).map_err(json_error)?;
        if version != u64::from(Self::FORMAT_VERSION) {
            let newest = Self::FORMAT_VERSION;
            return Err(DetectorError::UnsupportedVersion { newest, found: version });
        }
        let Stored { method, head, threshold, .. } =
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
        let file = SafeTensors::deserialize(bytes).map_err(|error| malformed(error.to_string()))?;
        let parts =
            Parts::read(&method, sizes, &mut Tensors(&file), device).map_err(tensor_error)?;
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
        TensorError::Missing { name } => format!("no tensor '{name}' of 32 or 64 bits"),
        TensorError::Shape { name, expected, found } => {
            format!("the tensor '{name}' has shape {found:?}, expected {expected}")
        }
        TensorError::NotFinite { name } => {
            format!("the tensor '{name}' holds a value that is not finite")
        }
    })
}

struct Tensors<'a, 'b>(&'a SafeTensors<'b>);

impl Source for Tensors<'_, '_> {
    fn take(&mut self, name: &'static str) -> Option<TensorData> {
        let view = self.0.tensor(name).ok()?;
        let shape = view.shape().to_vec();
        let (fours, eights) = (view.data().as_chunks::<4>().0, view.data().as_chunks::<8>().0);
        match view.dtype() {
            Dtype::F32 => {
                let values = fours.iter().map(|bytes| f32::from_le_bytes(*bytes));
                Some(TensorData::new(values.collect::<Vec<f32>>(), shape))
            }
            Dtype::F64 => {
                let values = eights.iter().map(|bytes| f64::from_le_bytes(*bytes));
                Some(TensorData::new(values.collect::<Vec<f64>>(), shape))
            }
            _ => None,
        }
    }
}
