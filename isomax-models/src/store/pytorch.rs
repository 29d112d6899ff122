//! Files of `torch.save`: a pickle, which describes tensors, and storages, which hold their values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;

use super::StoreError;
use super::archive::EXPECTED;
use super::description::Description;
use super::names::is_counter;
use super::state_dict::StateDict;
use super::storages::Storages;
use super::tensors::TensorFile;

/// How many times larger than the tensors in it a compressed storage may be: tensors may be views of a
/// part of a storage, and a few bytes may stand for any number of zeros.
const MAX_SLACK: usize = 16;

/// Size that any compressed storage may have, in bytes.
const SMALL: usize = 64 << 20;

/// A state dict in a file.
pub(super) struct PytorchFile {
    path: PathBuf,
    storages: Storages,
    state_dict: StateDict,
    /// Bytes of all tensors in a storage, by its name.
    taken: BTreeMap<String, usize>,
}

impl PytorchFile {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let (pickle, storages) = Storages::open(path)?;
        let path = path.to_owned();
        match StateDict::find(&pickle) {
            Ok(state_dict) => {
                Ok(Self { path, storages, taken: bytes_taken(&state_dict.tensors), state_dict })
            }
            Err(found) => Err(StoreError::NotAStateDict { path, found }),
        }
    }
}

/// Bytes of all tensors in a storage, but for counters, which no network has: the sizes of all others
/// are those of a network by the time that values are read.
fn bytes_taken(tensors: &BTreeMap<String, Description>) -> BTreeMap<String, usize> {
    let mut taken = BTreeMap::<String, usize>::new();
    for (_, tensor) in tensors.iter().filter(|(name, _)| !is_counter(name)) {
        let bytes = taken.entry(tensor.storage.name.clone()).or_default();
        *bytes = bytes.saturating_add(tensor.bytes());
    }
    taken
}

impl TensorFile for PytorchFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn section(&self) -> &str {
        &self.state_dict.section
    }

    fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let shape = |(name, tensor): (&String, &Description)| (name.clone(), tensor.shape.clone());
        self.state_dict.tensors.iter().map(shape).collect()
    }

    fn read(&mut self, name: &str) -> Result<TensorData, StoreError> {
        let error = |found: String| {
            StoreError::format(&self.path, EXPECTED, format_args!("tensor {name}: {found}"))
        };
        let tensor =
            self.state_dict.tensors.get(name).ok_or_else(|| error("it is not there".to_owned()))?;
        let dtype = tensor.storage.dtype;
        if !dtype.is_float() {
            return Err(error(format!("it holds {dtype:?}, no real numbers")));
        }
        let taken = self.taken.get(&tensor.storage.name).copied().unwrap_or_default();
        let most = taken.saturating_mul(MAX_SLACK).max(SMALL);
        let limit = tensor.storage.bytes().map_or(most, |claimed| claimed.min(most));
        let storage = self.storages.read(&tensor.storage.name, limit).map_err(error)?;
        tensor.gather(storage).map_err(error)
    }
}
