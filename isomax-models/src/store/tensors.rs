//! From named tensors to a network and back, the same for all formats.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ParamId};
use burn::tensor::{TensorData, backend::Backend};
use burn_store::{BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, TensorSnapshot};

use super::error::{Mismatch, ShapeMismatch, StoreError};

/// A file with named tensors. Shapes are known before values are read, so that no more is ever read
/// than a network has room for.
pub(super) trait TensorFile {
    fn path(&self) -> &Path;

    fn shapes(&self) -> BTreeMap<String, Vec<usize>>;

    /// The values of a tensor that [`shapes`](Self::shapes) names.
    fn read(&mut self, name: &str) -> Result<TensorData, StoreError>;
}

/// Counters that PyTorch keeps and that nothing depends on.
const IGNORED: &str = "num_batches_tracked";

/// What the heads of PyTorch need not have: see [the module](super).
const TEMPERATURE: &str = "temperature";

/// What a head has beside its temperature.
const IN_HEADS: [&str; 2] = ["prototypes", "weights"];

/// The tensors of a network, by the names and in the layouts of PyTorch.
pub(super) fn collect<B: Backend, M: Module<B>>(module: &M) -> Vec<TensorSnapshot> {
    settle(module);
    module.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true)
}

/// Makes a network hold what it stands for.
///
/// Parameters are drawn when they are first used, and until then by each clone for itself. Running
/// statistics of the last training batch wait to be taken over, which a visit does not do, and which
/// would overwrite statistics that are loaded in the meantime; making a record does, for all clones.
pub(super) fn settle<B: Backend, M: Module<B>>(module: &M) {
    module.collect(None, None, true);
    drop(module.clone().into_record());
}

/// Replaces all tensors of a network, or none.
pub(super) fn load<B: Backend, M: Module<B>>(
    module: &mut M,
    file: &mut impl TensorFile,
) -> Result<(), StoreError> {
    let mut found = file.shapes();
    found.retain(|name, _| last_part(name) != IGNORED);
    let expected = collect(module);
    let names: Vec<String> = expected.iter().map(TensorSnapshot::full_path).collect();
    let mut mismatch = Mismatch::default();
    for tensor in &expected {
        let (name, shape) = (tensor.full_path(), tensor.shape.to_vec());
        match found.remove(&name) {
            Some(found) if is_same_shape(&shape, &found) => {}
            Some(found) => {
                mismatch.shapes.push(ShapeMismatch { name, expected: shape, found });
            }
            None if is_temperature(&name, &names) => {}
            None => mismatch.missing.push(name),
        }
    }
    mismatch.unexpected = found.into_keys().collect();
    if !mismatch.is_empty() {
        return Err(StoreError::Mismatch { path: file.path().to_owned(), mismatch });
    }
    let present = file.shapes();
    let mut snapshots = Vec::with_capacity(expected.len());
    for tensor in expected {
        let name = tensor.full_path();
        let mut data = if present.contains_key(&name) {
            file.read(&name)?
        } else {
            TensorData::ones::<f32, _>(tensor.shape.clone())
        };
        if is_temperature(&name, &names) {
            check_temperature(&name, &data, file.path())?;
        }
        data = data.convert_dtype(tensor.dtype);
        data.shape = tensor.shape.clone();
        let path = name.split('.').map(str::to_owned).collect();
        snapshots.push(TensorSnapshot::from_data(data, path, Vec::new(), ParamId::new()));
    }
    let result = module.apply(snapshots, None, Some(Box::new(PyTorchToBurnAdapter)), true);
    if result.errors.is_empty() && result.missing.is_empty() {
        Ok(())
    } else {
        Err(StoreError::format(file.path(), "tensors that Burn takes", result))
    }
}

/// Whether a tensor is the temperature of a head.
fn is_temperature(name: &str, names: &[String]) -> bool {
    let sibling = |field: &str| format!("{}{field}", name.trim_end_matches(TEMPERATURE));
    last_part(name) == TEMPERATURE && IN_HEADS.iter().any(|field| names.contains(&sibling(field)))
}

fn check_temperature(name: &str, data: &TensorData, path: &Path) -> Result<(), StoreError> {
    match data.iter::<f32>().find(|value| !(value.is_finite() && *value > 0.0)) {
        None => Ok(()),
        Some(value) => Err(StoreError::format(
            path,
            "a positive temperature",
            format_args!("{name} is {value}"),
        )),
    }
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// A single value may have no dimension in one place and one in the other.
fn is_same_shape(expected: &[usize], found: &[usize]) -> bool {
    expected == found || (expected == [1] && found.is_empty())
}
