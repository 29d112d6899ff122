//! Downloads the official archives of data sets and the published weights, compares their sums and
//! unpacks them. Nothing else here uses the network.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};
use sha2::Sha256;

use super::archives::{Archive, Checksum, Unpack};

mod download;
mod error;
mod marker;
mod unpack;

pub use error::FetchError;

use download::download;
use marker::Marker;
use unpack::unpack;

/// Where to fetch from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchOptions {
    /// An address that has all files below it, in place of the ones of their authors.
    pub mirror: Option<String>,
}

impl FetchOptions {
    /// Where an archive is fetched from.
    pub fn url(&self, archive: &Archive) -> String {
        match &self.mirror {
            Some(mirror) => format!("{}/{}", mirror.trim_end_matches('/'), archive.file),
            None => archive.url.to_owned(),
        }
    }
}

/// How far a fetch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The file is being downloaded.
    Download {
        /// Bytes that have come, in this attempt or an earlier one.
        done: u64,
        /// Bytes of the file, if known.
        total: Option<u64>,
    },
    /// The sum of the file is being computed.
    Check {
        /// Bytes that have been read.
        done: u64,
        /// Bytes of the file.
        total: u64,
    },
    /// The archive is being unpacked.
    Unpack {
        /// Files that have been written.
        files: u64,
        /// Bytes that have been written.
        bytes: u64,
    },
}

/// What has been fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The file, or the folder of what was in the archive.
    pub path: PathBuf,
    /// Whether it was there before, so that nothing had to be done.
    pub already_there: bool,
}

/// What is there of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// Nothing.
    Absent,
    /// The file, with the published sum.
    Matches {
        /// The file.
        path: PathBuf,
    },
    /// The folder of what was in an archive whose sum was the published one when it was unpacked.
    Unpacked {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that was not made here: there is nothing to compare it with.
    Unmarked {
        /// The folder.
        path: PathBuf,
    },
    /// A file with another sum, or a folder that was unpacked from one.
    Different {
        /// The file or folder.
        path: PathBuf,
        /// The published sum.
        expected: String,
        /// The sum of the file.
        found: String,
    },
}

/// Bounds for what comes from elsewhere.
struct Limits {
    /// Bytes of a file whose size is not known.
    download: u64,
    /// Entries of an archive.
    entries: u64,
    /// Bytes of a file in an archive.
    file: u64,
    /// Bytes of all files in an archive.
    total: u64,
}

const LIMITS: Limits =
    Limits { download: 4 << 30, entries: 200_000, file: 1 << 30, total: 2 << 30 };

/// How often a lock is looked for that others remove. A file system on which no file is the same twice must not make
/// this go on for ever.
const ATTEMPTS: usize = 100;

/// Bytes that are moved at once.
const BUFFER: usize = 1 << 16;

/// Downloads an archive into the data folder, compares its sum and unpacks it; does nothing if that
/// has been done. `progress` is called every now and then.
///
/// A download that breaks off leaves a file with the ending `.part`, from where the next one goes
/// on. Nothing appears under its final name before it is complete. An archive is removed when it has
/// been unpacked, unless it was there before.
///
/// # Errors
///
/// [`FetchError`].
pub fn fetch(
    archive: &Archive,
    data_dir: &Path,
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Fetched, FetchError> {
    fetch_within(&LIMITS, archive, data_dir, options, progress)
}

/// Compares what is there of an archive with the published sum.
///
/// # Errors
///
/// [`FetchError::Io`] if it cannot be read.
pub fn verify(archive: &Archive, data_dir: &Path) -> Result<Verified, FetchError> {
    check(archive, data_dir, true, &mut |_| ())
}

fn fetch_within(
    limits: &Limits,
    archive: &Archive,
    data_dir: &Path,
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Fetched, FetchError> {
    let (path, plain) = (archive.path(data_dir), archive.unpack == Unpack::No);
    // Before anything is written: the folder of a finished set may be read-only.
    let found = match check(archive, data_dir, false, progress)? {
        Verified::Unpacked { .. } => {
            // Of a process that was killed after it had put all into place.
            let _ = remove_folder(&sibling(&path, "unpacking"));
            return Ok(Fetched { path, already_there: true });
        }
        Verified::Matches { .. } if plain => return Ok(Fetched { path, already_there: true }),
        Verified::Matches { path: file } => Some(file),
        Verified::Absent => None,
        Verified::Unmarked { path } | Verified::Different { path, .. } => {
            return Err(FetchError::Occupied { path });
        }
    };
    if exists(&path)? {
        return Err(FetchError::Occupied { path });
    }
    let file = archive.download_path(data_dir);
    create_folder_of(&file)?;
    let _lock = Lock::take(&file)?;
    // Another process may have been faster.
    if exists(&path)? {
        return Err(FetchError::Busy { path });
    }
    if found.is_none() {
        download(limits, archive, &file, options, progress)?;
    }
    if !plain {
        unpack(limits, archive, found.as_ref().unwrap_or(&file), &path, progress)?;
        if found.is_none() {
            fs::remove_file(&file).map_err(failed(&file))?;
        }
    }
    Ok(Fetched { path, already_there: false })
}

/// `with_sums` reads what was unpacked once more; otherwise sizes have to do.
fn check(
    archive: &Archive,
    data_dir: &Path,
    with_sums: bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verified, FetchError> {
    let path = archive.path(data_dir);
    let compared = |path: PathBuf, found: String| {
        let expected = archive.checksum.digits().to_owned();
        if found == expected { None } else { Some(Verified::Different { path, expected, found }) }
    };
    let unpacked = archive.unpack != Unpack::No && exists(&path)?;
    if unpacked && let Some(marker) = Marker::read(&path)? {
        let different = match compared(path.clone(), marker.sum.clone()) {
            None => marker.difference(&path, with_sums, progress)?,
            different => different,
        };
        return Ok(different.unwrap_or(Verified::Unpacked { path }));
    }
    // An archive that someone put into the folder that it was unpacked to counts as well.
    let inside = data_dir.join(archive.folder).join(archive.file);
    for file in [archive.download_path(data_dir), inside] {
        if exists(&file)? {
            let different = compared(file.clone(), sum_of(archive.checksum, &file, progress)?);
            return Ok(different.unwrap_or(Verified::Matches { path: file }));
        }
    }
    Ok(if unpacked { Verified::Unmarked { path } } else { Verified::Absent })
}

/// Keeps other processes from fetching the same file, until it is dropped.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(file: &Path) -> Result<Self, FetchError> {
        for _ in 0..ATTEMPTS {
            if let Some(lock) = Self::of(Self::open(file)?, file)? {
                return Ok(lock);
            }
        }
        Err(FetchError::Busy { path: file.to_owned() })
    }

    fn open(file: &Path) -> Result<File, FetchError> {
        let path = sibling(file, "lock");
        plain_or_absent(&path)?;
        let opened = File::options().write(true).create(true).truncate(false).open(&path);
        opened.map_err(failed(&path))
    }

    /// Takes the lock that was opened, unless its holder has removed it since: the next one makes a new one, and takes
    /// that as well.
    fn of(opened: File, file: &Path) -> Result<Option<Self>, FetchError> {
        let path = sibling(file, "lock");
        match opened.try_lock() {
            Err(TryLockError::WouldBlock) => Err(FetchError::Busy { path: file.to_owned() }),
            Ok(()) if !is_at(&opened, &path).map_err(failed(&path))? => Ok(None),
            // Some file systems have no locks.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(Self { path, _file: opened })),
        }
    }
}

/// Whether an open file still is the one of that name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match same_file::Handle::from_path(path) {
        Ok(named) => Ok(named == same_file::Handle::from_file(file.try_clone()?)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // One that stays is taken by the next process.
        let _ = fs::remove_file(&self.path);
    }
}

/// The sum of a file, of the kind that is published for it, in lower case.
fn sum_of(
    published: Checksum,
    path: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<String, FetchError> {
    match published {
        Checksum::Md5(_) => hash_of::<Md5>(path, progress),
        Checksum::Sha256(_) => hash_of::<Sha256>(path, progress),
    }
}

/// The sum of a file by an algorithm, in lower case.
fn hash_of<D: Digest>(
    path: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<String, FetchError> {
    let mut file = File::open(path).map_err(failed(path))?;
    let total = file.metadata().map_err(failed(path))?.len();
    let (mut hash, mut buffer, mut done) = (D::new(), vec![0; BUFFER], 0);
    loop {
        progress(Progress::Check { done, total });
        let count = file.read(&mut buffer).map_err(failed(path))?;
        if count == 0 {
            return Ok(hex(hash));
        }
        hash.update(&buffer[..count]);
        done += count as u64;
    }
}

fn hex(hash: impl Digest) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the system says, with the path it says it of.
fn failed(path: &Path) -> impl FnOnce(io::Error) -> FetchError {
    move |source| FetchError::Io { path: path.to_owned(), source }
}

/// Refuses a link, which might lead to a file of someone else.
fn plain_or_absent(path: &Path) -> Result<(), FetchError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(FetchError::Occupied { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(failed(path)(source)),
    }
}

fn exists(path: &Path) -> Result<bool, FetchError> {
    path.try_exists().map_err(failed(path))
}

/// A hidden name in the same folder.
fn sibling(path: &Path, what: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{what}"))
}

fn create_folder_of(path: &Path) -> Result<(), FetchError> {
    match path.parent() {
        Some(folder) => fs::create_dir_all(folder).map_err(failed(folder)),
        None => Ok(()),
    }
}

fn remove_folder(path: &Path) -> Result<(), FetchError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed(path)),
    }
}

#[cfg(test)]
mod tests;
