//! JSON files with the version of their form.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use isomax_burn::atomic_file;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a result cannot be read or written. See [`write()`] for an example.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{}: expected {expected}, but {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// The newest version of the JSON files, and the one that is written.
pub const VERSION: u32 = 1;

/// Why a file of a newer version is refused.
pub(crate) fn newer_version(found: u32) -> String {
    format!(
        "found version {found}, newer than the {VERSION} that this program knows: update the program"
    )
}

/// What is stored in a JSON file of its own, with the version of its form, by [`write()`] and
/// [`read`].
///
/// ```
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Notes {
///     text: String,
/// }
///
/// impl isomax_bench::results::Stored for Notes {
///     const WHAT: &'static str = "notes on a run";
/// }
/// ```
pub trait Stored: Serialize + DeserializeOwned {
    /// What the file holds, as errors say it.
    const WHAT: &'static str;

    /// Fills in what a file of before versions meant without saying it.
    fn complete(&mut self) {}
}

/// Reads a stored file.
///
/// ```no_run
/// # use isomax_bench::results;
/// let file = "results/cifar10_resnet-20_isomax+/run-1/history.json";
/// let history: results::History = results::read(file)?;
/// # Ok::<(), results::ResultError>(())
/// ```
///
/// # Errors
///
/// [`ResultError`] if it cannot be read, holds something else, or is of a newer version.
pub fn read<T: Stored>(path: impl AsRef<Path>) -> Result<T, ResultError> {
    let path = path.as_ref();
    let bytes =
        fs::read(path).map_err(|source| ResultError::Io { path: path.to_owned(), source })?;
    let malformed = |reason: String| ResultError::Malformed {
        path: path.to_owned(),
        expected: T::WHAT,
        reason,
    };
    let damaged = |error: serde_json::Error| malformed(error.to_string());
    let mut fields: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
    let version = fields.as_object_mut().and_then(|fields| fields.remove("version"));
    match version.map(serde_json::from_value::<u32>).transpose().map_err(damaged)? {
        Some(found) if found > VERSION => Err(malformed(newer_version(found))),
        Some(_) => serde_json::from_value(fields).map_err(damaged),
        None => {
            let mut value: T = serde_json::from_value(fields).map_err(damaged)?;
            value.complete();
            Ok(value)
        }
    }
}

/// Writes a stored file with its version; it appears whole or not at all.
///
/// ```
/// use isomax_bench::results::{self, History, ResultError, Training};
///
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join(results::HISTORY);
/// results::write(&path, &History::default())?;
/// assert_eq!(results::read::<History>(&path)?, History::default());
/// // It holds no training.
/// let error = results::read::<Training>(&path).unwrap_err();
/// assert!(matches!(error, ResultError::Malformed { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`ResultError::Io`].
pub fn write<T: Stored>(path: impl AsRef<Path>, value: &T) -> Result<(), ResultError> {
    #[derive(Serialize)]
    struct Versioned<'a, T> {
        version: u32,
        #[serde(flatten)]
        value: &'a T,
    }

    write_json(path, &Versioned { version: VERSION, value })
}

/// Writes any value as JSON, without a version; the file appears whole or not at all.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("numbers.json");
/// isomax_bench::results::write_json(&path, &[1, 2])?;
/// assert_eq!(std::fs::read_to_string(&path)?, "[\n  1,\n  2\n]\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`ResultError::Io`].
pub fn write_json<T: Serialize>(path: impl AsRef<Path>, value: &T) -> Result<(), ResultError> {
    let path = path.as_ref();
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| ResultError::Io { path: path.to_owned(), source: error.into() })?;
    bytes.push(b'\n');
    write_bytes(path, &bytes)
}

/// Writes a file, which appears whole or not at all.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("scores.txt");
/// isomax_bench::results::write_bytes(&path, b"0.9\n")?;
/// assert_eq!(std::fs::read(&path)?, b"0.9\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`ResultError::Io`].
pub fn write_bytes(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), ResultError> {
    let path = path.as_ref();
    atomic_file::write(path, |file| file.write_all(bytes))
        .map_err(|source| ResultError::Io { path: path.to_owned(), source })
}
