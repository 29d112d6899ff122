//! From a manifest and tensors to bytes, and back.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use burn::tensor::TensorData;
use isomax_models::store::StoredTensor;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorInfo};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Bundle, BundleError, Manifest};

/// Keys of the header of the file.
const FORMAT: &str = "format";
const MANIFEST: &str = "isomax_bundle";
const SUM: &str = "isomax_sha256";
/// What tells Python's libraries whose layouts the tensors have.
const PYTORCH: &str = "pt";

/// The manifest with the version of the format, which is read first and by itself.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

pub(super) fn write(manifest: &Manifest, tensors: Vec<StoredTensor>) -> Result<Vec<u8>, String> {
    write_value(serde_json::to_value(manifest).map_err(|error| error.to_string())?, tensors)
}

/// As [`write`], of a manifest that may say anything, its version included.
pub(super) fn write_value(
    mut manifest: serde_json::Value,
    mut tensors: Vec<StoredTensor>,
) -> Result<Vec<u8>, String> {
    if let serde_json::Value::Object(fields) = &mut manifest {
        fields.entry("version").or_insert(Bundle::VERSION.into());
    }
    let text = manifest.to_string();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let parts = tensors.iter().map(|t| (t.name.as_str(), "F32", &t.shape[..], &t.bytes[..]));
    let sum = sum(&text, parts);
    let metadata = HashMap::from([
        (FORMAT.to_owned(), PYTORCH.to_owned()),
        (MANIFEST.to_owned(), text),
        (SUM.to_owned(), sum),
    ]);
    let tensors = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor));
    safetensors::serialize(tensors, Some(metadata)).map_err(|error| error.to_string())
}

pub(super) fn read(bytes: &[u8], name: &Path) -> Result<Manifest, BundleError> {
    let name = || name.to_owned();
    let other = |found: &str| BundleError::NotABundle { name: name(), found: found.to_owned() };
    let damaged = |what: &str| BundleError::Damaged { name: name(), what: what.to_owned() };
    SafeTensors::deserialize(bytes)
        .map_err(|error| other(&format!("it is no whole safetensors file: {error}")))?;
    let (header, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| damaged(&error.to_string()))?;
    let entries = metadata.metadata().clone().unwrap_or_default();
    let Some(text) = entries.get(MANIFEST) else {
        return Err(other("it is a safetensors file without a manifest: weights by themselves"));
    };
    let keys: BTreeSet<&str> = entries.keys().map(String::as_str).collect();
    if keys != BTreeSet::from([FORMAT, MANIFEST, SUM]) || entries[FORMAT] != PYTORCH {
        return Err(damaged("its header has other entries than a bundle"));
    }
    // A newer version may take its sum otherwise.
    let Versioned { version, rest } = serde_json::from_str(text)
        .map_err(|error| damaged(&format!("its manifest is no JSON of one: {error}")))?;
    if version != Bundle::VERSION {
        return Err(BundleError::Version { name: name(), newest: Bundle::VERSION, found: version });
    }
    let mut infos: Vec<(String, &TensorInfo)> = metadata.tensors().into_iter().collect();
    infos.sort_by(|a, b| a.0.cmp(&b.0));
    let values = &bytes[8 + header..];
    let parts = infos.iter().map(|(name, info)| {
        let (start, end) = info.data_offsets;
        (name.as_str(), dtype(info), &info.shape[..], &values[start..end])
    });
    if sum(text, parts) != entries[SUM] {
        return Err(damaged("its sum does not fit, so that something in it was changed"));
    }
    if !is_filled_with_blanks(&bytes[8..8 + header]) {
        return Err(damaged("its header does not end as it was written"));
    }
    serde_json::from_value(serde_json::Value::Object(rest))
        .map_err(|error| BundleError::Invalid { name: name(), what: error.to_string() })
}

/// A tensor of 32-bit numbers, of a file that has been read before.
pub(super) fn floats(bytes: &[u8], name: &str) -> Option<TensorData> {
    let file = SafeTensors::deserialize(bytes).ok()?;
    let view = file.tensor(name).ok().filter(|view| view.dtype() == Dtype::F32)?;
    let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    Some(TensorData::new(values.collect::<Vec<f32>>(), view.shape().to_vec()))
}

/// Number of values of all tensors of a file that has been read before.
pub(super) fn num_values(bytes: &[u8]) -> u64 {
    let Ok((_, metadata)) = SafeTensors::read_metadata(bytes) else { return 0 };
    let count = |info: &TensorInfo| info.shape.iter().map(|&n| n as u64).product::<u64>();
    metadata.tensors().into_values().map(count).sum()
}

/// The name of a type, as the header has it.
fn dtype(info: &TensorInfo) -> String {
    info.dtype.to_string()
}

/// Whether a header ends with its brace and nothing but the blanks that fill it up: what stands there is in no
/// sum.
fn is_filled_with_blanks(header: &[u8]) -> bool {
    let end = header.iter().rposition(|&byte| byte != b' ');
    end.is_some_and(|end| header[end] == b'}' && header.len() - end <= 8)
}

/// The sum over a manifest and tensors in the order of their names.
fn sum<'a, D: AsRef<str>>(
    manifest: &str,
    tensors: impl Iterator<Item = (&'a str, D, &'a [usize], &'a [u8])>,
) -> String {
    let mut hash = Sha256::new_with_prefix("isomax-bundle\n");
    hash.update(manifest);
    hash.update("\n");
    for (name, dtype, shape, values) in tensors {
        let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
        hash.update(format!("{name} {} {}\n", dtype.as_ref(), shape.join("x")));
        hash.update(values);
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
