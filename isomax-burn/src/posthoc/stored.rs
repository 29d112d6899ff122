//! Post-hoc detectors as safetensors files: the tensors of the method, and the rest as JSON in the metadata.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use burn::tensor::{TensorData, backend::Backend};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use super::fitted::{Parts, Source, TensorError};
use super::{Fitted, PostHocDetector, PostHocHeader};
use crate::{DetectorError, atomic_file};

/// The key of the metadata.
const KEY: &str = "isomax-posthoc";

/// No bank is nearly as large; a larger file is something else.
const LARGEST_FILE: u64 = 8 << 30;

impl<B: Backend> PostHocDetector<B> {
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

    /// All but the tensors, as JSON: for files that hold more than a detector. [`PostHocHeader`] reads it.
    pub fn to_json(&self) -> String {
        let numbers = self.fitted.parts.numbers();
        PostHocHeader {
            method: self.fitted.method,
            head: self.head.clone(),
            threshold: self.threshold.clone(),
            numbers: numbers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
        .to_json()
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
        Self::from_parts(PostHocHeader::from_json(json)?, |name| tensor(&file, name), device)
    }

    /// Puts together what [`to_json`](Self::to_json) and [`tensors`](Self::tensors) give.
    ///
    /// # Arguments
    ///
    /// - `tensor`: gives the tensor of a name
    ///
    /// # Errors
    ///
    /// [`DetectorError::Malformed`] if a tensor is missing, has another shape, or holds a value that is not finite.
    pub fn from_parts(
        header: PostHocHeader,
        tensor: impl FnMut(&'static str) -> Option<TensorData>,
        device: &B::Device,
    ) -> Result<Self, DetectorError> {
        let PostHocHeader { method, head, threshold, numbers } = header;
        let mut source = Stock { tensor, numbers };
        let parts = Parts::read(&method, head.sizes, &mut source, device).map_err(tensor_error)?;
        Ok(Self { fitted: Fitted { method, parts }, threshold, head })
    }
}

pub(super) fn malformed(reason: String) -> DetectorError {
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
