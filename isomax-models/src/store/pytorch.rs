//! Files of `torch.save`: a pickle, which describes tensors, and storages, which hold their values.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use burn::tensor::{Bytes, DType, TensorData};

use super::StoreError;
use super::pickle::{Node, Pickle};
use super::storages::Storages;
use super::tensors::TensorFile;

const EXPECTED: &str = "a file of torch.save";

/// Keys under which training programs keep the state dict, beside optimizers and epochs.
const NESTED: [&str; 4] = ["state_dict", "model", "model_state_dict", "net"];

/// A tensor as the pickle describes it.
#[derive(Debug, Clone)]
struct Description {
    dtype: DType,
    /// Name of the storage in the archive.
    storage: String,
    /// Place of the first value in the storage, in values.
    offset: usize,
    shape: Vec<usize>,
    /// Distances between neighbours along each dimension, in values.
    strides: Vec<usize>,
}

/// A state dict in a file.
pub(super) struct PytorchFile {
    path: PathBuf,
    storages: Storages,
    tensors: BTreeMap<String, Description>,
}

impl PytorchFile {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(|error| StoreError::io(path, error))?;
        let (pickle, storages) =
            Storages::open(file).map_err(|found| StoreError::format(path, EXPECTED, found))?;
        let path = path.to_owned();
        match describe_state_dict(&pickle) {
            Ok(tensors) => Ok(Self { path, storages, tensors }),
            Err(found) => Err(StoreError::NotAStateDict { path, found }),
        }
    }
}

impl TensorFile for PytorchFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let shape = |(name, tensor): (&String, &Description)| (name.clone(), tensor.shape.clone());
        self.tensors.iter().map(shape).collect()
    }

    fn read(&mut self, name: &str) -> Result<TensorData, StoreError> {
        let error = |found: String| {
            StoreError::format(&self.path, EXPECTED, format_args!("tensor {name}: {found}"))
        };
        let tensor = self.tensors.get(name).ok_or_else(|| error("it is not there".to_owned()))?;
        if !tensor.dtype.is_float() {
            return Err(error(format!("it holds {:?}, no real numbers", tensor.dtype)));
        }
        let storage = self.storages.read(&tensor.storage).map_err(error)?;
        tensor.gather(storage).map_err(error)
    }
}

/// Finds the tensors of a state dict, as it is or nested in a checkpoint, by their names without
/// the prefix that `DataParallel` gives them.
///
/// # Errors
///
/// What was found in place of a state dict.
fn describe_state_dict(pickle: &Pickle) -> Result<BTreeMap<String, Description>, String> {
    let root = pickle.root();
    let entries = pickle.entries(root).ok_or_else(|| pickle.describe(root))?;
    let has_tensors = |node: &Node| {
        let entries = pickle.entries(node).unwrap_or_default();
        entries.values().any(|value| is_tensor(pickle, value))
    };
    // A checkpoint may hold tensors beside its state dict, such as the best accuracy; a state dict
    // holds no dictionaries.
    let nested = NESTED.iter().filter_map(|key| entries.get(key).copied());
    let state_dict = nested.chain([root]).find(|node| has_tensors(node)).ok_or_else(|| {
        let contents: Vec<_> = (entries.iter().take(10))
            .map(|(key, value)| format!("'{key}': {}", pickle.describe(value)))
            .collect();
        format!("a dictionary without tensors {{{}}}", contents.join(", "))
    })?;
    if let Some(key) = pickle.other_key(state_dict) {
        return Err(format!("a dictionary with {} for a name", pickle.describe(key)));
    }
    let state_dict = pickle.entries(state_dict).unwrap_or_default();
    if state_dict.len() > MAX_TENSORS {
        return Err(format!("a dictionary of {} entries", state_dict.len()));
    }
    let prefix = "module.";
    let is_parallel = state_dict.keys().all(|name| name.starts_with(prefix));
    let describe = |(name, value): (&str, &Node)| {
        let name = if is_parallel { &name[prefix.len()..] } else { name };
        let tensor =
            describe_tensor(pickle, value).map_err(|error| format!("'{name}': {error}"))?;
        Ok((name.to_owned(), tensor))
    };
    state_dict.into_iter().map(describe).collect()
}

const REBUILDS: [&str; 2] = ["torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"];
/// Most tensors of a network, far beyond any; the same one may stand under many names.
const MAX_TENSORS: usize = 100_000;
/// Longest name of a storage or of its type, which are short; the same long one may stand in many tensors.
const MAX_NAME: usize = 255;
const PARAMETER: &str = "torch._utils._rebuild_parameter";

fn is_tensor(pickle: &Pickle, node: &Node) -> bool {
    (pickle.call(node)).is_some_and(|(name, _)| name == PARAMETER || REBUILDS.contains(&name))
}

fn describe_tensor(pickle: &Pickle, node: &Node) -> Result<Description, String> {
    let mut call = pickle.call(node);
    if let Some((PARAMETER, arguments)) = &call {
        call = arguments.first().and_then(|tensor| pickle.call(tensor));
    }
    let arguments = match call {
        Some((name, arguments)) if REBUILDS.contains(&name) => arguments,
        _ => return Err(pickle.describe(node)),
    };
    let [storage, offset, shape, strides, ..] = arguments.as_slice() else {
        return Err("a tensor without shape and strides".to_owned());
    };
    let (dtype, storage) = describe_storage(pickle, storage)?;
    let sizes =
        |node| -> Option<Vec<usize>> { pickle.items(node)?.into_iter().map(to_size).collect() };
    match (to_size(offset), sizes(shape), sizes(strides)) {
        (Some(offset), Some(shape), Some(strides)) if shape.len() == strides.len() => {
            let storage = storage.to_owned();
            Ok(Description { dtype, storage, offset, shape, strides })
        }
        _ => Err("a tensor whose shape and strides are no lists of sizes".to_owned()),
    }
}

fn to_size(node: &Node) -> Option<usize> {
    if let Node::Int(value) = node { usize::try_from(*value).ok() } else { None }
}

/// The type of the values and the name of a storage, `("storage", type, name, device, length)`.
pub(super) fn describe_storage<'a>(
    pickle: &'a Pickle,
    node: &Node,
) -> Result<(DType, &'a str), String> {
    let id = if let Node::Persistent(id) = node { pickle.items(pickle.get(*id)) } else { None };
    let Some([_, Node::Global(kind), Node::Text(name), ..]) = id.as_deref() else {
        return Err("a tensor without storage".to_owned());
    };
    if kind.len().max(name.len()) > MAX_NAME {
        return Err("a tensor whose storage has an endless name".to_owned());
    }
    if let Some(Node::Tuple(_)) = id.as_deref().and_then(|id| id.get(5)) {
        return Err("a tensor in a view of a storage, as before PyTorch 0.4".to_owned());
    }
    let dtype = match kind.strip_prefix("torch.") {
        Some("FloatStorage") => DType::F32,
        Some("DoubleStorage") => DType::F64,
        Some("HalfStorage") => DType::F16,
        Some("BFloat16Storage") => DType::BF16,
        Some("LongStorage") => DType::I64,
        Some("IntStorage") => DType::I32,
        Some("ShortStorage") => DType::I16,
        Some("CharStorage") => DType::I8,
        Some("ByteStorage" | "BoolStorage") => DType::U8,
        _ => return Err(format!("a tensor of {kind}")),
    };
    Ok((dtype, name))
}

impl Description {
    /// The values in the order of their indices, whatever their order in the storage.
    fn gather(&self, storage: &[u8]) -> Result<TensorData, String> {
        let size = self.dtype.size();
        let last =
            self.shape.iter().zip(&self.strides).try_fold(self.offset, |last, (n, stride)| {
                last.checked_add(n.saturating_sub(1).checked_mul(*stride)?)
            });
        let is_empty = self.shape.contains(&0);
        let fits = last.is_some_and(|last| last < storage.len() / size);
        if !is_empty && !fits {
            return Err(format!("its storage of {} bytes is too short", storage.len()));
        }
        let shape = self.shape.as_slice().into();
        if !is_empty && self.is_contiguous() {
            let count: usize = self.shape.iter().product();
            let values = storage[self.offset * size..][..count * size].to_vec();
            return Ok(TensorData {
                bytes: Bytes::from_bytes_vec(values),
                shape,
                dtype: self.dtype,
            });
        }
        let mut starts = if is_empty { Vec::new() } else { vec![self.offset] };
        for (n, stride) in self.shape.iter().zip(&self.strides) {
            let along = |start: usize| (0..*n).map(move |i| start + i * stride);
            starts = starts.into_iter().flat_map(along).collect();
        }
        let values = starts.iter().flat_map(|start| &storage[start * size..][..size]);
        let bytes = Bytes::from_bytes_vec(values.copied().collect());
        Ok(TensorData { bytes, shape, dtype: self.dtype })
    }

    /// Whether the values lie in the storage in the order of their indices.
    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(n, stride)| {
            let follows = *n == 1 || *stride == expected;
            expected *= n;
            follows
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(shape: &[usize], strides: &[usize], offset: usize) -> Result<Vec<f32>, String> {
        let storage: Vec<u8> = (0..12).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let tensor = Description {
            dtype: DType::F32,
            storage: "0".to_owned(),
            offset,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
        };
        // Three bytes more are no value.
        let data = tensor.gather(&[storage, vec![1; 3]].concat())?;
        assert_eq!(data.shape.to_vec(), shape);
        Ok(data.iter().collect())
    }

    #[test]
    fn values_are_gathered_by_strides() {
        assert_eq!(values(&[], &[], 3), Ok(vec![3.0]));
        assert_eq!(values(&[2, 2], &[2, 1], 1), Ok(vec![1.0, 2.0, 3.0, 4.0]));
        assert_eq!(values(&[2, 2], &[1, 2], 1), Ok(vec![1.0, 3.0, 2.0, 4.0]));
        assert_eq!(values(&[2, 1, 2], &[5, 77, 3], 0), Ok(vec![0.0, 3.0, 5.0, 8.0]));
        assert_eq!(values(&[3], &[0], 7), Ok(vec![7.0; 3]));
        assert_eq!(values(&[2, 0], &[1, 1], 99), Ok(vec![]));
        assert_eq!(values(&[2], &[1], 10), Ok(vec![10.0, 11.0]));
    }

    #[test]
    fn values_outside_of_the_storage_are_refused() {
        for (shape, strides, offset) in [
            ([2, 1], [1, 1], 11),
            ([3, 5], [5, 1], 0),
            ([1, 1], [1, 1], usize::MAX),
            ([2, 1], [usize::MAX, 1], 1),
            ([usize::MAX, 2], [2, 1], 0),
        ] {
            let error = values(&shape, &strides, offset).err();
            assert_eq!(error.as_deref(), Some("its storage of 51 bytes is too short"));
        }
    }

    fn pickle_of(name: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let mut archive =
            zip::ZipArchive::new(File::open(path).expect("a file")).expect("an archive");
        let folder = name.trim_end_matches(".pth");
        let mut bytes = Vec::new();
        let mut entry = archive.by_name(&format!("{folder}/data.pkl")).expect("a pickle");
        std::io::Read::read_to_end(&mut entry, &mut bytes).expect("a stored entry");
        bytes
    }

    #[test]
    fn endless_tensors_are_refused() {
        let tensor = b"ctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\n";
        let of = |name: &[u8], sizes: &[u8]| {
            let head = [b"}Vx\n".as_slice(), tensor, b"V", name, b"\nVcpu\nK\x01tQK\x00("].concat();
            let pickle = [head, sizes.to_vec(), b"t(".to_vec(), sizes.to_vec(), b"ttRs.".to_vec()];
            describe_state_dict(&Pickle::parse(&pickle.concat()).expect("a pickle").0)
        };
        assert!(of(b"0", b"K\x01").is_ok());
        assert!(of(&[b'0'; 300], b"K\x01").is_err_and(|error| error.contains("endless name")));
        assert!(
            of(b"0", &b"K\x01".repeat(17)).is_err_and(|error| error.contains("no lists of sizes"))
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Checksums of archives stop damage before it gets here; a hostile file has right ones.
        #[test]
        fn damaged_pickles_are_described_or_refused(
            name in prop::sample::select(vec!["plain.pth", "nested_model.pth", "parameters.pth"]),
            places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = pickle_of(name);
            for (place, value) in places {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            if let Ok((pickle, _)) = Pickle::parse(&bytes)
                && let Ok(tensors) = describe_state_dict(&pickle)
            {
                for tensor in tensors.values() {
                    let len = tensor.shape.iter().try_fold(1_usize, |len, n| len.checked_mul(*n));
                    // What a network has room for; more is refused before values are read.
                    if len.is_some_and(|len| len < 100_000) {
                        let _ = tensor.gather(&[0; 1_000]);
                    }
                }
            }
        }
    }
}
