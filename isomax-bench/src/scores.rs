//! Score files: one number a line, as the published code writes them.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Why a score file cannot be read.
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
    /// A line is not a number.
    #[error("{}:{line}: expected one score a line, found '{found}'", path.display())]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What stands there, cut to 40 characters.
        found: String,
    },
    /// The file has no line with a score.
    #[error("{}: expected one score a line, found none", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a score file. Blank lines are passed over; `inf` is a number, NaN is not.
///
/// # Errors
///
/// [`ScoreFileError`].
pub fn read(path: impl AsRef<Path>) -> Result<Vec<f32>, ScoreFileError> {
    let path = path.as_ref();
    let io = |source| ScoreFileError::Io { path: path.to_owned(), source };
    let mut scores = Vec::new();
    for (index, line) in BufReader::new(File::open(path).map_err(io)?).lines().enumerate() {
        let line = line.map_err(io)?;
        let text = line.trim();
        if !text.is_empty() {
            let score = text.parse().ok().filter(|score: &f32| !score.is_nan());
            scores.push(score.ok_or_else(|| ScoreFileError::NotANumber {
                path: path.to_owned(),
                line: index + 1,
                found: text.chars().take(40).collect(),
            })?);
        }
    }
    if scores.is_empty() {
        return Err(ScoreFileError::Empty { path: path.to_owned() });
    }
    Ok(scores)
}
