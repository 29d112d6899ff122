//! Weights as people have them: from any training program, under any name, packed again, or no weights
//! at all. What loads is bit by bit the network that was saved; what does not is named.

use std::fs;
use std::path::{Path, PathBuf};

use burn::backend::Flex;
use isomax_burn::HeadKind;
use isomax_models::DenseNetBc;
use isomax_models::store::{self, StoreError};

mod files;
mod names;
mod tensors;
mod torch_save;

use crate::support::{config, device, values};
use torch_save::{Code, Named, TorchFile, dict, number};

fn softmax() -> DenseNetBc<Flex> {
    config().with_head(HeadKind::SoftMax).init(&device())
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Loads a file into a new network.
fn load(bytes: &[u8]) -> Result<DenseNetBc<Flex>, StoreError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    fs::write(&path, bytes).unwrap();
    let mut network = softmax();
    let before = values(&network);
    let result = store::load_weights(&mut network, &path);
    assert!(result.is_ok() || values(&network) == before, "a file that is refused changes nothing");
    result.map(|()| network)
}

#[track_caller]
fn loads_as(original: &DenseNetBc<Flex>, bytes: &[u8]) {
    let loaded = load(bytes).unwrap_or_else(|error| panic!("{error}"));
    assert!(values(&loaded) == values(original));
}

/// A checkpoint with state dicts under some keys, and the number of an epoch.
fn checkpoint(state_dicts: &[(&str, &[Named])]) -> Vec<u8> {
    let mut file = TorchFile::default();
    let mut entries: Vec<(&str, Code)> =
        state_dicts.iter().map(|(key, tensors)| (*key, file.state_dict(tensors))).collect();
    entries.push(("epoch", number(3)));
    file.write(&dict(&entries))
}
