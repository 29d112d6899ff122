//! From named tensors to a network and back, the same for all formats.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ParamId};
use burn::tensor::{TensorData, backend::Backend};
use burn_store::{BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, TensorSnapshot};

use super::error::{Mismatch, ShapeMismatch, StoreError};
use super::names;
use super::report::LoadReport;
use super::values::{self, Role};
use super::wanted::{Wanted, last_part};

/// A file with named tensors. Shapes are known before values are read, so that no more is ever read
/// than a network has room for.
pub(super) trait TensorFile {
    fn path(&self) -> &Path;

    /// Where in the file the tensors are, such as `state_dict`; empty if nothing else is in it.
    fn section(&self) -> &str {
        ""
    }

    fn shapes(&self) -> BTreeMap<String, Vec<usize>>;

    /// The values of a tensor that [`shapes`](Self::shapes) names.
    fn read(&mut self, name: &str) -> Result<TensorData, StoreError>;
}

/// The heads of isomax-burn, as Burn names the types of modules.
const HEADS: [&str; 6] = [
    SOFTMAX_HEAD,
    "Struct:IsoMaxHead",
    "Struct:IsoMaxPlusHead",
    "Struct:DisMaxHead",
    "Struct:T2fNormHead",
    "Struct:GOdinHead",
];
const SOFTMAX_HEAD: &str = "Struct:SoftMaxHead";

/// What the heads of PyTorch need not have: see [the module](super).
const TEMPERATURE: &str = "temperature";

/// What batch normalisations call the mean of squares that they divide by the root of.
const VARIANCE: &str = "running_var";

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

/// What of a network is loaded.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// All of it. The parameter with this id, and the temperature of a head of isomax-burn, may be missing in the
    /// file; it is then 1.
    Whole(Option<ParamId>),
    /// All but the module that has the parameter with this id: the head, which has a temperature. Tensors may be
    /// missing in the file, and the file may have others.
    Body(ParamId),
}

/// Replaces all tensors of a part of a network that must be in the file, or none.
pub(super) fn load<B: Backend, M: Module<B>>(
    module: &mut M,
    file: &mut dyn TensorFile,
    part: Part,
) -> Result<LoadReport, StoreError> {
    let shapes = file.shapes();
    let (head, expected) = match part {
        Part::Whole(_) => (Vec::new(), collect(module)),
        Part::Body(temperature) => without_head(collect(module), temperature),
    };
    let wanted: Vec<Wanted> = expected.iter().map(want).collect();
    let matches = names::find(&wanted, shapes.keys().map(String::as_str))
        .map_err(|error| StoreError::format(file.path(), "one tensor of each name", error))?;

    let mut report = LoadReport { head, ..LoadReport::default() };
    let mut mismatch = Mismatch::default();
    match part {
        Part::Whole(_) => mismatch.unexpected = matches.unexpected,
        Part::Body(_) => report.skipped = matches.unexpected,
    }
    for (tensor, source) in expected.iter().zip(&matches.found) {
        let (name, shape) = (tensor.full_path(), tensor.shape.to_vec());
        match source.as_ref().and_then(|source| shapes.get(source)) {
            Some(found) if is_same_shape(&shape, found) => report.loaded.push(name),
            Some(found) => {
                let found = found.clone();
                mismatch.shapes.push(ShapeMismatch { name, expected: shape, found });
            }
            None if role(tensor, part) == Role::Temperature => report.loaded.push(name),
            None => match part {
                Part::Whole(_) => mismatch.missing.push(name),
                Part::Body(_) => report.missing.push(name),
            },
        }
    }
    if report.loaded.is_empty() {
        // Of another network altogether.
        mismatch.missing.append(&mut report.missing);
        mismatch.unexpected.append(&mut report.skipped);
    }
    if !mismatch.is_empty() {
        let (path, section) = (file.path().to_owned(), file.section().to_owned());
        return Err(StoreError::Mismatch { path, section, mismatch: Box::new(mismatch) });
    }

    let mut snapshots = Vec::with_capacity(expected.len());
    for (tensor, source) in expected.into_iter().zip(matches.found) {
        let data = match (source, part) {
            (Some(source), _) => file.read(&source)?,
            (None, Part::Whole(_)) => TensorData::ones::<f32, _>(tensor.shape.clone()),
            (None, Part::Body(_)) => continue,
        };
        let (name, role) = (tensor.full_path(), role(&tensor, part));
        let mut data = values::convert(data, tensor.dtype, role, &name, file.path())?;
        data.shape = tensor.shape.clone();
        let path = name.split('.').map(str::to_owned).collect();
        snapshots.push(TensorSnapshot::from_data(data, path, Vec::new(), ParamId::new()));
    }
    let result = module.apply(snapshots, None, Some(Box::new(PyTorchToBurnAdapter)), true);
    let is_whole = matches!(part, Part::Body(_)) || result.missing.is_empty();
    if result.errors.is_empty() && is_whole {
        Ok(report)
    } else {
        Err(StoreError::format(file.path(), "tensors that Burn takes", result))
    }
}

/// The names of the head's tensors, and the tensors of the body. The head is the module that the temperature
/// lies in.
fn without_head(
    tensors: Vec<TensorSnapshot>,
    temperature: ParamId,
) -> (Vec<String>, Vec<TensorSnapshot>) {
    let found = tensors.iter().find(|tensor| tensor.tensor_id == Some(temperature));
    let name = found.map(TensorSnapshot::full_path).unwrap_or_default();
    let head = name.strip_suffix(last_part(&name)).unwrap_or_default().to_owned();
    let (head, body): (Vec<_>, Vec<_>) = tensors
        .into_iter()
        .partition(|tensor| !head.is_empty() && tensor.full_path().starts_with(&head));
    (head.iter().map(TensorSnapshot::full_path).collect(), body)
}

/// Checks that the values of a module are ones that a network computes with.
pub(super) fn check_values<B: Backend, M: Module<B>>(
    module: &M,
    path: &Path,
) -> Result<(), StoreError> {
    for tensor in collect(module) {
        let name = tensor.full_path();
        let data = tensor.to_data().map_err(|error| {
            StoreError::format(path, "values of tensors", format_args!("{name}: {error:?}"))
        })?;
        let dtype = data.dtype;
        values::convert(data, dtype, role(&tensor, Part::Whole(None)), &name, path)?;
    }
    Ok(())
}

fn want(tensor: &TensorSnapshot) -> Wanted {
    let in_softmax = tensor.module_type().is_some_and(|kind| kind == SOFTMAX_HEAD);
    Wanted { name: tensor.full_path(), in_softmax }
}

/// What a tensor is. A parameter that happens to be called temperature is like any other.
fn role(tensor: &TensorSnapshot, part: Part) -> Role {
    let temperature = match part {
        Part::Whole(temperature) => temperature,
        Part::Body(_) => None,
    };
    let name = tensor.full_path();
    let is_in_head = || tensor.module_type().is_some_and(|kind| HEADS.contains(&kind.as_str()));
    let is_given = temperature.is_some() && tensor.tensor_id == temperature;
    match last_part(&name) {
        _ if is_given => Role::Temperature,
        TEMPERATURE if is_in_head() => Role::Temperature,
        VARIANCE => Role::Variance,
        _ => Role::Weights,
    }
}

/// A single value may have no dimension in one place and one in the other.
fn is_same_shape(expected: &[usize], found: &[usize]) -> bool {
    expected == found || (expected == [1] && found.is_empty())
}
