use std::io;
use std::path::PathBuf;

use crate::data::archives::Checksum;

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
    /// The server's file has another length.
    #[error("{url}: expected a file of {expected} bytes, but the server has one of {found}")]
    Length {
        /// The address.
        url: String,
        /// Bytes that the published file has.
        expected: u64,
        /// Bytes that the server announces.
        found: u64,
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
    #[error("{}: expected a file with the {expected}, but one with {found} came", path.display())]
    Checksum {
        /// Where the file was to go.
        path: PathBuf,
        /// The published sum.
        expected: Checksum,
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
