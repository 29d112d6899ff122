//! The device of the tests, a small network, and ways to look at it.

use burn::prelude::*;
use isomax_burn::HeadKind;
use isomax_models::store::{self, StoreError};
use isomax_models::{DenseNetBc, DenseNetBcConfig};

/// The device that every test computes on.
pub fn device<D: Default>() -> D {
    D::default()
}

pub fn config() -> DenseNetBcConfig {
    DenseNetBcConfig::new(10, 3).with_growth_rate(2).with_head(HeadKind::IsoMaxPlus)
}

pub fn network<B: Backend>() -> DenseNetBc<B> {
    config().init(&device())
}

#[track_caller]
pub fn refused<T>(result: Result<T, StoreError>) -> String {
    result.err().expect("an error").to_string()
}

/// All values of a network.
pub fn values<B: Backend, M: Module<B>>(module: &M) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("values");
    store::save_safetensors(module, &path).unwrap();
    std::fs::read(path).unwrap()
}
