//! Files of `torch.save`: a ZIP archive of a pickle, which describes tensors, and of their values.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use burn::tensor::{Bytes, DType, TensorData};
use zip::ZipArchive;
use zip::result::ZipError;

use super::StoreError;
use super::pickle::{Node, Pickle};
use super::tensors::TensorFile;

const EXPECTED: &str = "a file of torch.save (PyTorch 1.6 or newer)";

/// How files before PyTorch 1.6 begin: a pickled number.
const OLD_MAGIC: [u8; 14] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// Largest pickle that is read, in bytes. Networks of a billion parameters have less than one million;
/// the values of a hostile one would fill some forty times its size in memory.
const MAX_PICKLE: usize = 16 << 20;

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
    archive: ZipArchive<BufReader<File>>,
    /// Folder of all entries in the archive, with its slash.
    folder: String,
    tensors: BTreeMap<String, Description>,
    /// The storage that was read last: tensors may share one.
    storage: (String, Vec<u8>),
}

impl PytorchFile {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let io_error = |error| StoreError::io(path, error);
        let mut file = BufReader::new(File::open(path).map_err(io_error)?);
        if file.fill_buf().map_err(io_error)?.starts_with(&OLD_MAGIC) {
            let found = "it is of a version older than 1.6, or saved in that format; load it in \
                         PyTorch and save it again";
            return Err(StoreError::format(path, EXPECTED, found));
        }
        let mut archive = ZipArchive::new(file).map_err(|error| {
            StoreError::format(path, EXPECTED, format_args!("it is no whole ZIP archive: {error}"))
        })?;
        let pickle_name = archive
            .file_names()
            .find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"))
            .ok_or_else(|| StoreError::format(path, EXPECTED, "the archive has no data.pkl"))?
            .to_owned();
        let folder = pickle_name.trim_end_matches("data.pkl").to_owned();
        let damaged = |error: String| StoreError::format(path, EXPECTED, error);
        if let Ok(order) = read_entry(&mut archive, &format!("{folder}byteorder"))
            && order.trim_ascii() != b"little"
        {
            return Err(damaged("its numbers are big-endian".to_owned()));
        }
        let pickle = read_entry(&mut archive, &pickle_name).map_err(damaged)?;
        if pickle.len() > MAX_PICKLE {
            return Err(damaged(format!(
                "data.pkl has {} bytes, more than any network's",
                pickle.len()
            )));
        }
        let pickle = Pickle::parse(&pickle)
            .map_err(|error| damaged(format!("data.pkl is no pickle: {error}")))?;
        let tensors = describe_state_dict(&pickle)
            .map_err(|found| StoreError::NotAStateDict { path: path.to_owned(), found })?;
        let path = path.to_owned();
        Ok(Self { path, archive, folder, tensors, storage: Default::default() })
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
        if self.storage.0 != tensor.storage {
            let entry = format!("{}data/{}", self.folder, tensor.storage);
            let values = read_entry(&mut self.archive, &entry).map_err(error)?;
            self.storage = (tensor.storage.clone(), values);
        }
        tensor.gather(&self.storage.1).map_err(error)
    }
}

/// Reads an entry that is stored as it is, which all of PyTorch's are: what is read can then never
/// be larger than the file.
fn read_entry(archive: &mut ZipArchive<BufReader<File>>, name: &str) -> Result<Vec<u8>, String> {
    let mut entry = archive.by_name(name).map_err(|error| match error {
        ZipError::FileNotFound => format!("the archive has no {name}"),
        error => format!("{name}: {error}"),
    })?;
    if entry.compression() != zip::CompressionMethod::Stored {
        return Err(format!("{name} is compressed"));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
    Ok(bytes)
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
    let has_tensors =
        |entries: &BTreeMap<&str, &Node>| entries.values().any(|value| is_tensor(pickle, value));
    let state_dict = if has_tensors(&entries) {
        entries
    } else {
        let nested = (NESTED.iter().filter_map(|key| entries.get(key)))
            .filter_map(|value| pickle.entries(value))
            .find(has_tensors);
        nested.ok_or_else(|| {
            let contents: Vec<_> = (entries.iter().take(10))
                .map(|(key, value)| format!("'{key}': {}", pickle.describe(value)))
                .collect();
            format!("a dictionary without tensors {{{}}}", contents.join(", "))
        })?
    };
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
            Ok(Description { dtype, storage, offset, shape, strides })
        }
        _ => Err("a tensor whose shape and strides are no lists of sizes".to_owned()),
    }
}

fn to_size(node: &Node) -> Option<usize> {
    if let Node::Int(value) = node { usize::try_from(*value).ok() } else { None }
}

/// The type of the values and the name of a storage, `("storage", type, name, device, length)`.
fn describe_storage(pickle: &Pickle, node: &Node) -> Result<(DType, String), String> {
    let id = if let Node::Persistent(id) = node { pickle.items(pickle.get(*id)) } else { None };
    let Some([_, Node::Global(kind), Node::Text(name), ..]) = id.as_deref() else {
        return Err("a tensor without storage".to_owned());
    };
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
    Ok((dtype, name.clone()))
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
