//! The ZIP archives of `torch.save`, also those that were unpacked and zipped again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::error::StoreError;
use super::foreign::Foreign;

/// What messages call the format.
pub(super) const EXPECTED: &str = "a file of torch.save";

/// The pickle that describes the tensors.
const PICKLE: &str = "data.pkl";

/// An archive with a pickle in it.
pub(super) struct Archive {
    archive: ZipArchive<BufReader<File>>,
    /// Places of the entries, by their names as PyTorch writes them.
    entries: BTreeMap<String, usize>,
    /// Folder of all entries, with its slash.
    folder: String,
}

/// Whether a file begins as ZIP archives do, those without entries included.
pub(super) fn is_zip(head: &[u8]) -> bool {
    [b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"].iter().any(|magic| head.starts_with(*magic))
}

impl Archive {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let damaged = |found: String| StoreError::format(path, EXPECTED, found);
        let file = File::open(path).map_err(|error| StoreError::io(path, error))?;
        let archive = ZipArchive::new(BufReader::new(file))
            .map_err(|error| damaged(format!("it is no whole ZIP archive: {error}")))?;
        let entries = entries(&archive).map_err(damaged)?;
        let Some(folder) = folder(&entries).map_err(damaged)? else {
            return Err(Foreign::of_archive(entries.keys().map(String::as_str)).error(path));
        };
        let (constants, code) = (format!("{folder}constants.pkl"), format!("{folder}code/"));
        if entries.contains_key(&constants) || entries.keys().any(|name| name.starts_with(&code)) {
            return Err(Foreign::script().error(path));
        }
        Ok(Self { archive, entries, folder })
    }

    /// The bytes of the pickle.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub fn pickle(&mut self, limit: usize) -> Result<Vec<u8>, String> {
        self.read(PICKLE, limit)
    }

    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(&format!("{}{name}", self.folder))
    }

    /// The bytes of an entry. One that is stored as it is, which all of PyTorch's are, is never larger
    /// than the file; a compressed one is read up to `limit` bytes, whatever it claims.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, in words.
    pub fn read(&mut self, name: &str, limit: usize) -> Result<Vec<u8>, String> {
        let name = format!("{}{name}", self.folder);
        let place = *self.entries.get(&name).ok_or_else(|| format!("the archive has no {name}"))?;
        let entry = self.archive.by_index(place).map_err(|error| unreadable(&name, &error))?;
        let is_stored = entry.compression() == CompressionMethod::Stored;
        let limit = if is_stored { u64::MAX } else { limit as u64 };
        let mut bytes = Vec::new();
        // One more than the limit: the checksum is looked at where an entry ends.
        (entry.take(limit.saturating_add(1)).read_to_end(&mut bytes))
            .map_err(|error| format!("{name}: {error}"))?;
        if bytes.len() as u64 > limit {
            return Err(format!("{name} is compressed, and has more than {limit} bytes"));
        }
        Ok(bytes)
    }
}

fn unreadable(name: &str, error: &ZipError) -> String {
    match error {
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => {
            format!(
                "{name}: {error}; zip the files with deflate or as they are, without a password"
            )
        }
        error => format!("{name}: {error}"),
    }
}

/// The entries by their names as PyTorch writes them.
fn entries(archive: &ZipArchive<BufReader<File>>) -> Result<BTreeMap<String, usize>, String> {
    let mut entries = BTreeMap::new();
    for place in 0..archive.len() {
        let Some(name) = archive.name_for_index(place) else { continue };
        if name.ends_with(['/', '\\']) {
            continue;
        }
        let name = plain(name);
        if entries.insert(name.clone(), place).is_some() {
            return Err(format!("the archive has two entries {name}"));
        }
    }
    Ok(entries)
}

/// A name without what archivers add: `./` before it, or the backslashes of Windows.
fn plain(name: &str) -> String {
    let name = name.replace('\\', "/");
    let parts: Vec<&str> = name.split('/').filter(|part| !["", "."].contains(part)).collect();
    parts.join("/")
}

/// The folder of the pickle with its slash, or nothing if there is no pickle.
fn folder(entries: &BTreeMap<String, usize>) -> Result<Option<String>, String> {
    let depth = |folder: &str| folder.matches('/').count();
    let folders = || {
        let folders = entries.keys().filter_map(|name| name.strip_suffix(PICKLE));
        folders.filter(|folder| folder.is_empty() || folder.ends_with('/'))
    };
    let Some(first) = folders().min_by_key(|folder| depth(folder)) else { return Ok(None) };
    let mut others = folders().filter(|folder| depth(folder) == depth(first) && *folder != first);
    match others.next() {
        None => Ok(Some(first.to_owned())),
        Some(other) => {
            Err(format!("the archive has two sets of weights, {first}{PICKLE} and {other}{PICKLE}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_of(names: &[&str]) -> Result<Option<String>, String> {
        folder(&names.iter().map(|name| (plain(name), 0)).collect())
    }

    #[test]
    fn the_pickle_is_found_wherever_it_lies() {
        for (names, expected) in [
            (["archive/data.pkl", "archive/data/0"], Some("archive/")),
            (["./data.pkl", "./data/0"], Some("")),
            (["net\\data.pkl", "net\\data\\0"], Some("net/")),
            (["a/b/data.pkl", "__MACOSX/a/b/._data.pkl"], Some("a/b/")),
            (["x/data.pkl", "x/extra/data.pkl"], Some("x/")),
            (["x/other_data.pkl", "x/data/0"], None),
        ] {
            assert_eq!(folder_of(&names), Ok(expected.map(str::to_owned)));
        }
        assert!(folder_of(&["a/data.pkl", "b/data.pkl"]).is_err());
    }
}
