//! The two containers of `torch.save`: ZIP archives since PyTorch 1.6, before that pickles and storages
//! one after the other.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use super::archive::{self, Archive, EXPECTED};
use super::error::StoreError;
use super::pickle::{Node, Pickle};
use super::rebuild::describe_storage;

/// The number that files before PyTorch 1.6 begin with, as pickles of protocol 2 and later have it.
const OLD_MAGIC: [u8; 12] = *b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
/// The same in older protocols.
const OLD_MAGIC_IN_DIGITS: &[u8] = b"L119547037146038801333356L\n";

/// Largest pickle that is read, in bytes. Networks of a billion parameters have less than one million;
/// the values of a hostile one fill many times its size in memory.
const MAX_PICKLE: usize = 16 << 20;

/// Most bytes of the entry that names the order of bytes.
const MAX_ORDER: usize = 64;

/// Values of tensors, by the names of their storages.
pub(super) enum Storages {
    Archive {
        archive: Archive,
        /// The storage that was read last: tensors may share one.
        last: (String, Vec<u8>),
    },
    Old {
        bytes: Vec<u8>,
        places: BTreeMap<String, Range<usize>>,
    },
}

/// Whether a file begins as those before PyTorch 1.6.
pub(super) fn is_old(head: &[u8]) -> bool {
    // Protocol 4 and later put the length of what follows before the number.
    let number = match head {
        [0x80, 2..=5, 0x95, _, _, _, _, _, _, _, _, rest @ ..] | [0x80, 2..=5, rest @ ..] => rest,
        _ => return head.starts_with(OLD_MAGIC_IN_DIGITS),
    };
    number.starts_with(&OLD_MAGIC)
}

impl Storages {
    /// Opens a file, and reads the pickle that describes its contents.
    pub fn open(path: &Path) -> Result<(Pickle, Self), StoreError> {
        let io = |error| StoreError::io(path, error);
        let damaged = |found: String| StoreError::format(path, EXPECTED, found);
        let mut file = File::open(path).map_err(io)?;
        let mut bytes = Vec::new();
        file.by_ref().take(4).read_to_end(&mut bytes).map_err(io)?;
        if archive::is_zip(&bytes) {
            return open_archive(Archive::open(path)?).map_err(damaged);
        }
        file.read_to_end(&mut bytes).map_err(io)?;
        open_old(bytes).map_err(damaged)
    }

    /// The bytes of a storage, of which a compressed one may have up to `limit`.
    ///
    /// # Errors
    ///
    /// Why they cannot be read, in words.
    pub fn read(&mut self, name: &str, limit: usize) -> Result<&[u8], String> {
        match self {
            Self::Archive { archive, last } => {
                if last.0 != name {
                    let bytes = archive.read(&format!("data/{name}"), limit)?;
                    *last = (name.to_owned(), bytes);
                }
                Ok(&last.1)
            }
            Self::Old { bytes, places } => {
                let place =
                    places.get(name).ok_or_else(|| format!("there is no storage {name}"))?;
                Ok(&bytes[place.clone()])
            }
        }
    }
}

fn open_archive(mut archive: Archive) -> Result<(Pickle, Storages), String> {
    let order = "byteorder";
    if archive.has(order) && archive.read(order, MAX_ORDER)?.trim_ascii() != b"little" {
        return Err("its numbers are not little-endian".to_owned());
    }
    let (pickle, _) = parse(&archive.pickle(MAX_PICKLE)?)?;
    Ok((pickle, Storages::Archive { archive, last: Default::default() }))
}

fn parse(bytes: &[u8]) -> Result<(Pickle, usize), String> {
    let bytes = &bytes[..bytes.len().min(MAX_PICKLE)];
    Pickle::parse(bytes).map_err(|error| format!("its pickle cannot be read: {error}"))
}

/// Pickles of a magic number, a version, the system, the contents and a list of storages; then each
/// storage: the number of its values in eight bytes, and the values.
fn open_old(bytes: Vec<u8>) -> Result<(Pickle, Storages), String> {
    let mut position = 0;
    let mut next = || -> Result<(Pickle, usize), String> {
        let (pickle, length) = parse(&bytes[position..])?;
        position += length;
        Ok((pickle, position))
    };
    for _ in ["magic number", "version", "system"] {
        next()?;
    }
    let (pickle, _) = next()?;
    let (names, mut position) = next()?;

    // How large a value is stands with the tensors alone.
    let references = pickle.nodes().iter().filter(|node| matches!(node, Node::Persistent(_)));
    let sizes: BTreeMap<String, usize> = references
        .filter_map(|node| describe_storage(&pickle, node).ok())
        .map(|storage| (storage.name, storage.dtype.size()))
        .collect();
    let Node::List(names_at) = names.root() else {
        return Err("it has no list of storages".to_owned());
    };
    let mut places = BTreeMap::new();
    for name in names_at {
        let Node::Text(name) = names.get(*name) else {
            return Err("it has a storage without a name".to_owned());
        };
        let size = sizes.get(name.as_str()).ok_or_else(|| format!("storage {name} is unknown"))?;
        let count = bytes.get(position..).and_then(|rest| rest.first_chunk::<8>());
        let end = count
            .and_then(|count| usize::try_from(u64::from_le_bytes(*count)).ok())
            .and_then(|count| count.checked_mul(*size)?.checked_add(position + 8))
            .filter(|end| *end <= bytes.len())
            .ok_or_else(|| format!("it ends early, after {} bytes", bytes.len()))?;
        places.insert(name.clone(), position + 8..end);
        position = end;
    }
    Ok((pickle, Storages::Old { bytes, places }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_files_are_known_in_all_protocols() {
        let number = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
        let framed = [b"\x80\x04\x95\x0d\0\0\0\0\0\0\0".as_slice(), number].concat();
        let plain = [b"\x80\x02".as_slice(), number].concat();
        assert!(is_old(&plain) && is_old(&framed));
        assert!(is_old(b"L119547037146038801333356L\n."));
        assert!(!is_old(b"\x80\x02}q\0.") && !is_old(b"\x80\x02") && !is_old(b""));
    }
}
