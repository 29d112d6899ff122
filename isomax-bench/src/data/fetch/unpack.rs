//! From an archive to a folder, never outside of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use md5::{Digest, Md5};
use tar::EntryType;

use super::marker::{FileSum, MARKER, Marker};
use super::{
    BUFFER, FetchError, Limits, Progress, create_folder_of, failed, hex, remove_folder, sibling,
};
use crate::data::archives::{Archive, Unpack};

/// Bytes that headers, names and padding of an archive may take beside its files.
const OVERHEAD: u64 = 1 << 28;

/// Unpacks an archive beside the folder that is to hold it, and puts all of it into place at once.
pub(super) fn unpack(
    limits: &Limits,
    archive: &Archive,
    file: &Path,
    target: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), FetchError> {
    let staging = sibling(target, "unpacking");
    remove_folder(&staging)?;
    let unpacked = unpack_into(&staging, limits, file, progress).and_then(|sums| {
        let whole = match archive.unpack {
            Unpack::Folder => staging.join(archive.folder),
            Unpack::All | Unpack::No => staging.clone(),
        };
        if !whole.is_dir() {
            let (archive, expected) = (file.to_owned(), archive.folder);
            return Err(FetchError::MissingFolder { archive, expected });
        }
        // Names as they are below the folder that is kept.
        let inside = |(path, sum): (PathBuf, FileSum)| {
            let name = staging.join(path).strip_prefix(&whole).ok()?.to_str()?.to_owned();
            Some((name, sum))
        };
        let marker = Marker {
            file: archive.file.to_owned(),
            sum: archive.checksum.digits().to_owned(),
            files: sums.into_iter().filter_map(inside).collect(),
        };
        let (json, path) =
            (serde_json::to_vec(&marker).map_err(io::Error::from), whole.join(MARKER));
        json.and_then(|json| fs::write(&path, json)).map_err(failed(&path))?;
        fs::rename(&whole, target).map_err(failed(target))
    });
    let removed = remove_folder(&staging);
    // Why unpacking failed says more than why cleaning up did.
    unpacked.and(removed)
}

fn unpack_into(
    staging: &Path,
    limits: &Limits,
    file: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<BTreeMap<PathBuf, FileSum>, FetchError> {
    let broken = |source: io::Error| FetchError::Unpack { path: file.to_owned(), source };
    let too_large = |limit: u64| FetchError::TooLarge { path: file.to_owned(), limit };
    fs::create_dir(staging).map_err(failed(staging))?;
    // Names and padding count as well: long names are read into memory before they can be counted.
    let decoder = MultiGzDecoder::new(File::open(file).map_err(failed(file))?);
    let mut tar = tar::Archive::new(decoder.take(limits.total.saturating_add(OVERHEAD)));
    let (mut entries, mut files, mut bytes) = (0, 0, 0);
    let mut sums = BTreeMap::new();
    let mut buffer = vec![0; BUFFER];
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        entries += 1;
        if entries > limits.entries {
            return Err(FetchError::TooManyEntries {
                archive: file.to_owned(),
                limit: limits.entries,
            });
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let refused = |why: &'static str| FetchError::UnsafeEntry {
            archive: file.to_owned(),
            entry: name.clone(),
            why,
        };
        let is_folder = match entry.header().entry_type() {
            EntryType::Directory => true,
            // Old archives mark folders by a slash alone.
            EntryType::Regular => name.ends_with('/'),
            // A comment on the entries to come.
            EntryType::XGlobalHeader => continue,
            EntryType::Link | EntryType::Symlink => return Err(refused("is a link")),
            _ => return Err(refused("is of another kind")),
        };
        let path = safe_path(&entry.path().map_err(broken)?).map_err(refused)?;
        if is_folder {
            let path = staging.join(path);
            fs::create_dir_all(&path).map_err(failed(&path))?;
            continue;
        }
        if path.as_os_str().is_empty() {
            return Err(refused("has no name"));
        }
        let name = path.clone();
        let path = staging.join(path);
        create_folder_of(&path)?;
        let mut md5 = Md5::new();
        let mut out = File::create(&path).map_err(failed(&path))?;
        let mut written = 0;
        loop {
            let count = entry.read(&mut buffer).map_err(broken)?;
            if count == 0 {
                break;
            }
            written += count as u64;
            bytes += count as u64;
            for (size, limit) in [(written, limits.file), (bytes, limits.total)] {
                if size > limit {
                    return Err(too_large(limit));
                }
            }
            md5.update(&buffer[..count]);
            out.write_all(&buffer[..count]).map_err(failed(&path))?;
        }
        // The reader passes over an early end of the archive.
        if written != entry.size() {
            return Err(broken(io::ErrorKind::UnexpectedEof.into()));
        }
        // The archive is removed when its files are on the disk.
        out.sync_all().map_err(failed(&path))?;
        sums.insert(name, FileSum { bytes: written, md5: hex(md5) });
        files += 1;
        progress(Progress::Unpack { files, bytes });
    }
    Ok(sums)
}

/// A path that stays below the folder it is joined to, as long as there are no links in it.
fn safe_path(path: &Path) -> Result<PathBuf, &'static str> {
    let mut safe = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => safe.push(name),
            Component::CurDir => {}
            Component::ParentDir => return Err("has '..' in its path"),
            Component::RootDir | Component::Prefix(_) => return Err("has an absolute path"),
        }
    }
    Ok(safe)
}
