//! Score files: the detection scores of a set, high = in-distribution, in double precision.
//!
//! What a file is, its content says, not its name:
//!
//! - text with one score a line, as the published code and `numpy.savetxt` write it: in UTF-8 or
//!   UTF-16, with a byte order mark or without, lines of any system; blank lines and what follows a
//!   `#` are passed over
//! - an array of NumPy (`.npy`) of floating-point numbers or integers, of one dimension or column
//!
//! Scores near 1, or far from 0, differ where 32 bits cannot tell them apart; hence `f64`.
//!
//! ```
//! use isomax_bench::scores;
//! use isomax_burn::OodMetrics;
//!
//! # let folder = tempfile::tempdir()?;
//! # let [id, ood] = ["id.txt", "ood.txt"].map(|name| folder.path().join(name));
//! std::fs::write(&id, "# one score a line\n0.9\n0.8\n")?;
//! std::fs::write(&ood, "0.1\n")?;
//! let metrics = OodMetrics::from_scores(&scores::read(&id)?, &scores::read(&ood)?)?;
//! assert_eq!(metrics.auroc, 1.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::contents::Contents;

pub(crate) mod npy;
mod text;

pub use npy::NpyError;

/// Why a score file cannot be read.
///
/// ```
/// use isomax_bench::scores::{self, ScoreFileError};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("scores.txt");
/// std::fs::write(&path, "0.9\n0,8\n")?;
/// let error = scores::read(&path).unwrap_err();
/// assert!(matches!(error, ScoreFileError::NotANumber { line: 2, .. }));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreFileError {
    /// The file cannot be opened or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line is not a number, or one that has no place in an order.
    #[error(
        "{}:{line}: expected one score a line, found '{found}'{}",
        path.display(),
        after(advice)
    )]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What stands there, cut to 40 characters.
        found: String,
        /// What can be done; empty if only a look at the line can tell.
        advice: &'static str,
    },
    /// The file has no scores.
    #[error("{}: expected one score a line, found none", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is of a format that scores are not read from.
    #[error(
        "{}: expected scores, one a line or in a .npy file, but found {found}{}",
        path.display(),
        after(advice)
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What the file is.
        found: String,
        /// How to make a score file of it.
        advice: &'static str,
    },
    /// An array of NumPy does not hold scores.
    #[error("{}: {source}", path.display())]
    Npy {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: NpyError,
    },
    /// The file is larger than any file of scores.
    #[error("{}: expected at most {most} bytes of scores, but found more", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes that a file may have.
        most: u64,
    },
}

/// Advice behind what was found.
fn after(advice: &str) -> String {
    if advice.is_empty() { String::new() } else { format!("; {advice}") }
}

/// Bytes that a file may have: a hundred million scores with all their digits.
const MOST_BYTES: u64 = 1 << 32;

/// Reads a score file, see the [module](self). `inf` and `-inf` are scores; NaN has no place in an
/// order.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("scores.txt");
/// std::fs::write(&path, "0.9\n-inf # an image that overflows\n")?;
/// assert_eq!(isomax_bench::scores::read(&path)?, [0.9, f64::NEG_INFINITY]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`ScoreFileError`].
pub fn read(path: impl AsRef<Path>) -> Result<Vec<f64>, ScoreFileError> {
    let path = path.as_ref();
    let bytes =
        bytes_of(path).map_err(|source| ScoreFileError::Io { path: path.to_owned(), source })?;
    match bytes {
        Some(bytes) => parse(path, &bytes),
        None => Err(ScoreFileError::TooLarge { path: path.to_owned(), most: MOST_BYTES }),
    }
}

/// The content of a file, or nothing if it is too large.
fn bytes_of(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = File::open(path)?;
    // A pipe has no length.
    if file.metadata()?.len() > MOST_BYTES {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MOST_BYTES).then_some(bytes))
}

/// The scores in a file of these bytes.
fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<f64>, ScoreFileError> {
    let path = || path.to_owned();
    let format = |found: String, advice| ScoreFileError::Format { path: path(), found, advice };
    let scores = match Contents::of(bytes) {
        Some(Contents::Npy) => {
            npy::read(bytes).map_err(|source| ScoreFileError::Npy { path: path(), source })?
        }
        Some(contents) => return Err(format(contents.to_string(), conversion(contents))),
        None => {
            let text = text::decode(bytes).ok_or_else(|| {
                let advice = "write one score a line, or save an array by numpy.save";
                format("bytes that are no text".to_owned(), advice)
            })?;
            text::parse(&text).map_err(|text::BadLine { line, found, advice }| {
                ScoreFileError::NotANumber { path: path(), line, found, advice }
            })?
        }
    };
    if scores.is_empty() {
        return Err(ScoreFileError::Empty { path: path() });
    }
    Ok(scores)
}

/// How scores in files of other formats become a score file.
fn conversion(contents: Contents) -> &'static str {
    match contents {
        Contents::Npz => "save the array alone: numpy.save('scores.npy', numpy.load(FILE)[NAME])",
        Contents::Level5Mat => {
            "save the array alone: numpy.save('scores.npy', scipy.io.loadmat(FILE)[NAME].ravel())"
        }
        Contents::Hdf5 => {
            "save the array alone: numpy.save('scores.npy', h5py.File(FILE)[NAME][()].ravel())"
        }
        Contents::Pickle => {
            "if you trust it: numpy.save('scores.npy', numpy.array(pickle.load(open(FILE, 'rb')), \
             dtype=float).ravel())"
        }
        Contents::Torch => {
            "save the tensor as an array: numpy.save('scores.npy', \
             torch.load(FILE).double().cpu().numpy().ravel())"
        }
        Contents::Workbook => "save the column of scores as text, one a line",
        Contents::Zip | Contents::Gzip => "unpack it first",
        Contents::Page => "download the file itself",
        Contents::Empty | Contents::LfsPointer | Contents::Npy => "",
    }
}

#[cfg(test)]
mod tests;
