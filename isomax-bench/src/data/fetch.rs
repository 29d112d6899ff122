//! Downloads the official archives, compares their sums and unpacks them. Nothing else here uses
//! the network.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use tar::EntryType;
use ureq::Agent;

use super::archives::{Archive, Unpack};

/// Why an archive cannot be fetched or verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process is fetching the same file.
    #[error("{}: another process is fetching it", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// In the place of what is to be fetched there is something else, which is left as it is.
    #[error(
        "{}: expected what the official archive holds, or nothing, but found something else; move \
         it away to fetch it",
        path.display()
    )]
    Occupied {
        /// The file or folder.
        path: PathBuf,
    },
    /// The server cannot be reached, or the connection broke. What has come is kept.
    #[error("{url}: {source}")]
    Http {
        /// The address.
        url: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server refuses.
    #[error("{url}: expected the file, but the server answered with status {status}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// The server sends another part of the file than the one that was lacking. What had come
    /// before is removed: the next attempt asks for all of it.
    #[error("{url}: expected the part from byte {expected}, but the server sends '{found}'")]
    Range {
        /// The address.
        url: String,
        /// Where the part was to begin.
        expected: u64,
        /// The part that the server names.
        found: String,
    },
    /// A file, or what an archive unpacks to, is larger than it can be.
    #[error("{}: expected at most {limit} bytes, but there are more", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is taken.
        limit: u64,
    },
    /// The connection ended before the file did. What has come is kept.
    #[error(
        "{}: expected {expected} bytes, but only {found} have come; the next attempt goes on from \
         there",
        path.display()
    )]
    Truncated {
        /// The unfinished file.
        path: PathBuf,
        /// Size of the file.
        expected: u64,
        /// Bytes of it that have come.
        found: u64,
    },
    /// What has come is not the official file. It is removed.
    #[error("{}: expected a file with the MD5 sum {expected}, but one with {found} came", path.display())]
    Checksum {
        /// Where the file was to go.
        path: PathBuf,
        /// The published sum.
        expected: String,
        /// The sum of what has come.
        found: String,
    },
    /// An archive cannot be read.
    #[error("{}: expected a tar.gz archive, but {source}", path.display())]
    Unpack {
        /// The archive.
        path: PathBuf,
        /// What the decoder says.
        source: io::Error,
    },
    /// An archive has an entry that might lead out of its folder. Nothing of it is kept.
    #[error("{}: expected plain files and folders, but '{entry}' {why}", archive.display())]
    UnsafeEntry {
        /// The archive.
        archive: PathBuf,
        /// The entry, as the archive names it.
        entry: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An archive has too many entries.
    #[error("{}: expected at most {limit} entries, but there are more", archive.display())]
    TooManyEntries {
        /// The archive.
        archive: PathBuf,
        /// The most that are taken.
        limit: u64,
    },
    /// An archive lacks the folder that it should hold.
    #[error("{}: expected a folder '{expected}' in it, but there is none", archive.display())]
    MissingFolder {
        /// The archive.
        archive: PathBuf,
        /// The folder.
        expected: &'static str,
    },
}

/// Where to fetch from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchOptions {
    /// An address that has all files below it, in place of the ones of their authors.
    pub mirror: Option<String>,
}

impl FetchOptions {
    fn url(&self, archive: &Archive) -> String {
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
    Limits { download: 4 << 30, entries: 200_000, file: 1 << 30, total: 4 << 30 };

/// Bytes that are moved at once.
const BUFFER: usize = 1 << 16;

/// A file in every folder that was unpacked here, which tells from what.
const MARKER: &str = ".fetched.json";

#[derive(Serialize, Deserialize)]
struct Marker {
    file: String,
    md5: String,
}

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
    check(archive, data_dir, &mut |_| ())
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
    let found = match check(archive, data_dir, progress)? {
        Verified::Unpacked { .. } => return Ok(Fetched { path, already_there: true }),
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

fn check(
    archive: &Archive,
    data_dir: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verified, FetchError> {
    let path = archive.path(data_dir);
    let compared = |path: PathBuf, found: String| {
        let expected = archive.md5.to_owned();
        if found == expected { None } else { Some(Verified::Different { path, expected, found }) }
    };
    let unpacked = archive.unpack != Unpack::No && exists(&path)?;
    if unpacked && let Some(marker) = read_marker(&path)? {
        let different = compared(path.clone(), marker.md5);
        return Ok(different.unwrap_or(Verified::Unpacked { path }));
    }
    // An archive that someone put into the folder that it was unpacked to counts as well.
    let inside = data_dir.join(archive.folder).join(archive.file);
    for file in [archive.download_path(data_dir), inside] {
        if exists(&file)? {
            let different = compared(file.clone(), md5_of(&file, progress)?);
            return Ok(different.unwrap_or(Verified::Matches { path: file }));
        }
    }
    Ok(if unpacked { Verified::Unmarked { path } } else { Verified::Absent })
}

fn read_marker(folder: &Path) -> Result<Option<Marker>, FetchError> {
    let path = folder.join(MARKER);
    match fs::read(&path) {
        Ok(json) => Ok(serde_json::from_slice(&json).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FetchError::Io { path, source }),
    }
}

/// Downloads a file, or what `.part` lacks of it, and compares its sum.
fn download(
    limits: &Limits,
    archive: &Archive,
    file: &Path,
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), FetchError> {
    let part = file.with_file_name(format!("{}.part", archive.file));
    let limit = archive.bytes.unwrap_or(limits.download);
    let start = match fs::metadata(&part) {
        // More than there can be is no beginning.
        Ok(metadata) => Some(metadata.len()).filter(|bytes| *bytes <= limit).unwrap_or(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(source) => return Err(FetchError::Io { path: part, source }),
    };
    if archive.bytes != Some(start) {
        receive(&options.url(archive), &part, start, limit, archive.bytes, progress)?;
    }
    let found = md5_of(&part, progress)?;
    if found != archive.md5 {
        fs::remove_file(&part).map_err(failed(&part))?;
        let (path, expected) = (file.to_owned(), archive.md5.to_owned());
        return Err(FetchError::Checksum { path, expected, found });
    }
    let written = File::options().append(true).open(&part);
    written.and_then(|part| part.sync_all()).map_err(failed(&part))?;
    fs::rename(&part, file).map_err(failed(file))
}

/// Downloads a file from byte `start` on, behind what `part` holds, or from its beginning if the
/// server has no parts.
fn receive(
    url: &str,
    part: &Path,
    start: u64,
    limit: u64,
    bytes: Option<u64>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), FetchError> {
    let broken =
        |source: ureq::Error| FetchError::Http { url: url.to_owned(), source: source.into() };
    let too_large = || FetchError::TooLarge { path: part.to_owned(), limit };
    // Compressed once more on its way, a file would have other lengths.
    let mut request = agent(url).get(url).header("Accept-Encoding", "identity");
    if start > 0 {
        request = request.header("Range", format!("bytes={start}-"));
    }
    let mut response = request.call().map_err(broken)?;
    let start = match response.status().as_u16() {
        200 => 0,
        206 if start > 0 => {
            let range = response.headers().get("Content-Range");
            let range = range.and_then(|range| range.to_str().ok()).unwrap_or_default();
            if range_start(range) != Some(start) {
                fs::remove_file(part).map_err(failed(part))?;
                let (url, found) = (url.to_owned(), range.to_owned());
                return Err(FetchError::Range { url, expected: start, found });
            }
            start
        }
        // The server has nothing behind what is there; the sum tells whether that is all.
        416 if start > 0 => return Ok(()),
        status => return Err(FetchError::Status { url: url.to_owned(), status }),
    };
    let declared = response.body().content_length().map(|length| start.saturating_add(length));
    let total = declared.or(bytes);
    if total.is_some_and(|total| total > limit) {
        return Err(too_large());
    }
    let mut options = File::options();
    options.create(true).write(true).append(start > 0).truncate(start == 0);
    let mut file = options.open(part).map_err(failed(part))?;
    let truncated = |expected, found| {
        let path = part.to_owned();
        FetchError::Truncated { path, expected, found }
    };
    let mut reader = response.body_mut().as_reader();
    let (mut buffer, mut done) = (vec![0; BUFFER], start);
    loop {
        progress(Progress::Download { done, total });
        let count = match (reader.read(&mut buffer), total) {
            (Ok(0), _) => break,
            (Ok(count), _) => count,
            (Err(error), Some(total)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(truncated(total, done));
            }
            (Err(error), _) => return Err(broken(error.into())),
        };
        done += count as u64;
        if done > limit {
            drop(file);
            fs::remove_file(part).map_err(failed(part))?;
            return Err(too_large());
        }
        file.write_all(&buffer[..count]).map_err(failed(part))?;
    }
    match bytes {
        // Of a body without a length, the end of the connection is the end. One of a wrong length
        // is another file, as its sum will tell.
        Some(bytes) if declared.is_none() && done < bytes => Err(truncated(bytes, done)),
        _ => Ok(()),
    }
}

fn agent(url: &str) -> Agent {
    const CONNECT: Duration = Duration::from_secs(30);
    const SILENCE: Duration = Duration::from_secs(60);
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("isomax-bench/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_per_read(Some(SILENCE));
    // No proxy leads to a mirror on this machine.
    let local = |host: &str| ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    if url.parse::<ureq::http::Uri>().is_ok_and(|url| url.host().is_some_and(local)) {
        config = config.proxy(None);
    }
    config.build().new_agent()
}

/// The first byte of a part, as in `bytes 5-9/10`.
fn range_start(range: &str) -> Option<u64> {
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// Unpacks an archive beside the folder that is to hold it, and puts all of it into place at once.
fn unpack(
    limits: &Limits,
    archive: &Archive,
    file: &Path,
    target: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), FetchError> {
    let staging = beside(target, "unpacking");
    remove_folder(&staging)?;
    let unpacked = unpack_into(&staging, limits, file, progress).and_then(|()| {
        let whole = match archive.unpack {
            Unpack::Folder => staging.join(archive.folder),
            Unpack::All | Unpack::No => staging.clone(),
        };
        if !whole.is_dir() {
            let (archive, expected) = (file.to_owned(), archive.folder);
            return Err(FetchError::MissingFolder { archive, expected });
        }
        let marker = Marker { file: archive.file.to_owned(), md5: archive.md5.to_owned() };
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
) -> Result<(), FetchError> {
    let broken = |source: io::Error| FetchError::Unpack { path: file.to_owned(), source };
    let too_large = |limit: u64| FetchError::TooLarge { path: file.to_owned(), limit };
    fs::create_dir(staging).map_err(failed(staging))?;
    let mut tar = tar::Archive::new(MultiGzDecoder::new(File::open(file).map_err(failed(file))?));
    let (mut entries, mut files, mut bytes) = (0, 0, 0);
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
        let path = staging.join(path);
        create_folder_of(&path)?;
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
            out.write_all(&buffer[..count]).map_err(failed(&path))?;
        }
        // The reader passes over an early end of the archive.
        if written != entry.size() {
            return Err(broken(io::ErrorKind::UnexpectedEof.into()));
        }
        files += 1;
        progress(Progress::Unpack { files, bytes });
    }
    Ok(())
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

/// Keeps other processes from fetching the same file, until it is dropped.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(file: &Path) -> Result<Self, FetchError> {
        let path = beside(file, "lock");
        let lock = File::create(&path).map_err(failed(&path))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Err(FetchError::Busy { path: file.to_owned() }),
            // Some file systems have no locks.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { path, _file: lock }),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // One that stays is taken by the next process.
        let _ = fs::remove_file(&self.path);
    }
}

/// The MD5 sum of a file, in lower case.
fn md5_of(path: &Path, progress: &mut dyn FnMut(Progress)) -> Result<String, FetchError> {
    let mut file = File::open(path).map_err(failed(path))?;
    let total = file.metadata().map_err(failed(path))?.len();
    let (mut md5, mut buffer, mut done) = (Md5::new(), vec![0; BUFFER], 0);
    loop {
        progress(Progress::Check { done, total });
        let count = file.read(&mut buffer).map_err(failed(path))?;
        if count == 0 {
            return Ok(hex(md5));
        }
        md5.update(&buffer[..count]);
        done += count as u64;
    }
}

fn hex(md5: Md5) -> String {
    md5.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the system says, with the path it says it of.
fn failed(path: &Path) -> impl FnOnce(io::Error) -> FetchError {
    move |source| FetchError::Io { path: path.to_owned(), source }
}

fn exists(path: &Path) -> Result<bool, FetchError> {
    path.try_exists().map_err(failed(path))
}

/// A hidden name in the same folder.
fn beside(path: &Path, what: &str) -> PathBuf {
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
