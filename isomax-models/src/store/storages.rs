//! The two containers of `torch.save`: ZIP archives since PyTorch 1.6, before that pickles and storages
//! one after the other.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;

use zip::ZipArchive;
use zip::result::ZipError;

use super::pickle::{Node, Pickle};
use super::pytorch::describe_storage;

/// How files before PyTorch 1.6 begin: a pickled number.
const OLD_MAGIC: [u8; 14] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// Largest pickle that is read, in bytes. Networks of a billion parameters have less than one million;
/// the values of a hostile one fill many times its size in memory.
const MAX_PICKLE: usize = 16 << 20;

/// Values of tensors, by the names of their storages.
pub(super) enum Storages {
    Archive {
        archive: ZipArchive<BufReader<File>>,
        /// Folder of all entries in the archive, with its slash.
        folder: String,
        /// The storage that was read last: tensors may share one.
        last: (String, Vec<u8>),
    },
    Old {
        bytes: Vec<u8>,
        places: BTreeMap<String, Range<usize>>,
    },
}

impl Storages {
    /// Opens a file, and reads the pickle that describes its contents.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, in words.
    pub fn open(file: File) -> Result<(Pickle, Self), String> {
        let mut file = BufReader::new(file);
        let start = file.fill_buf().map_err(|error| error.to_string())?;
        if start.starts_with(&OLD_MAGIC) {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
            return open_old(bytes);
        }
        let archive = ZipArchive::new(file)
            .map_err(|error| format!("it is no whole ZIP archive: {error}"))?;
        open_archive(archive)
    }

    /// The bytes of a storage.
    ///
    /// # Errors
    ///
    /// Why they cannot be read, in words.
    pub fn read(&mut self, name: &str) -> Result<&[u8], String> {
        match self {
            Self::Archive { archive, folder, last } => {
                if last.0 != name {
                    let bytes = read_entry(archive, &format!("{folder}data/{name}"))?;
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

fn open_archive(mut archive: ZipArchive<BufReader<File>>) -> Result<(Pickle, Storages), String> {
    let pickle_name = archive
        .file_names()
        .find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"))
        .ok_or("the archive has no data.pkl")?
        .to_owned();
    let folder = pickle_name.trim_end_matches("data.pkl").to_owned();
    let order = format!("{folder}byteorder");
    if archive.index_for_name(&order).is_some()
        && read_entry(&mut archive, &order)?.trim_ascii() != b"little"
    {
        return Err("its numbers are not little-endian".to_owned());
    }
    let (pickle, _) = parse(&read_entry(&mut archive, &pickle_name)?)?;
    Ok((pickle, Storages::Archive { archive, folder, last: Default::default() }))
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
    let sizes: BTreeMap<&str, usize> = references
        .filter_map(|node| describe_storage(&pickle, node).ok())
        .map(|(dtype, name)| (name, dtype.size()))
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
