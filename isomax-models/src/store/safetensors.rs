//! The format of the safetensors library: a header of names, types and shapes, then the values.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Bytes, DType, TensorData, backend::Backend};
use burn_store::TensorSnapshot;
use isomax_burn::atomic_file;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, View};

use super::tensors::{TensorFile, collect};
use super::{StoreError, StoredTensor};

const EXPECTED: &str = "a safetensors file";

/// A file of named tensors.
pub(super) struct SafetensorsFile {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Length of what stands before the values.
    header: usize,
    metadata: Metadata,
}

impl SafetensorsFile {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::read(fs::read(path).map_err(|error| StoreError::io(path, error))?, path)
    }

    /// The bytes of a file that messages call `path`.
    pub fn read(bytes: Vec<u8>, path: &Path) -> Result<Self, StoreError> {
        let damaged = |error| StoreError::format(path, EXPECTED, error);
        // Reading it whole checks what the header says against the length of the file.
        SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let (length, metadata) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        Ok(Self { path: path.to_owned(), header: 8 + length, bytes, metadata })
    }
}

impl TensorFile for SafetensorsFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let tensors = self.metadata.tensors();
        tensors.into_iter().map(|(name, info)| (name, info.shape.clone())).collect()
    }

    fn read(&mut self, name: &str) -> Result<TensorData, StoreError> {
        let error = |found: String| StoreError::format(&self.path, EXPECTED, found);
        let info = self.metadata.info(name).ok_or_else(|| error(format!("no tensor {name}")))?;
        let dtype = match info.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => return Err(error(format!("tensor {name} holds {other}, no real numbers"))),
        };
        let (start, end) = info.data_offsets;
        let values = self.bytes[self.header..][start..end].to_vec();
        let bytes = Bytes::from_bytes_vec(values);
        Ok(TensorData { bytes, shape: info.shape.as_slice().into(), dtype })
    }
}

impl View for StoredTensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The tensors of a module as files have them; `path` is what messages say is written.
pub(super) fn stored<B: Backend, M: Module<B>>(
    module: &M,
    path: &Path,
) -> Result<Vec<StoredTensor>, StoreError> {
    let stored = |tensor: TensorSnapshot| {
        let name = tensor.full_path();
        let data = tensor.to_data().map_err(|error| {
            StoreError::format(path, EXPECTED, format_args!("{name}: {error:?}"))
        })?;
        let data = data.convert_dtype(DType::F32);
        let (shape, bytes) = (data.shape.to_vec(), data.as_bytes().to_vec());
        Ok(StoredTensor { name, shape, bytes })
    };
    collect(module).into_iter().map(stored).collect()
}

pub(super) fn save<B: Backend, M: Module<B>>(module: &M, path: &Path) -> Result<(), StoreError> {
    let tensors = stored(module, path)?;
    let tensors = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor));
    // The entry that tells Python's libraries whose layouts the tensors have.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(tensors, Some(metadata))
        .map_err(|error| StoreError::format(path, EXPECTED, error))?;
    atomic_file::write(path, |file| file.write_all(&bytes))
        .map_err(|error| StoreError::io(path, error))
}
