//! What is wrong with an entry of a pickle, before the name of the file is known.

use std::path::Path;

use super::CifarError;

/// An error without the name of the file.
#[derive(Debug)]
pub(super) enum FormatError {
    Value { expected: String, found: String },
    Label { index: u64, classes: u8, found: i64 },
}

impl FormatError {
    /// The error of an entry.
    pub(super) fn of(self, name: &str) -> Self {
        match self {
            Self::Value { expected, found } => {
                Self::Value { expected: format!("{expected} as '{name}'"), found }
            }
            label => label,
        }
    }

    pub fn at(self, path: &Path) -> CifarError {
        let path = path.to_owned();
        match self {
            Self::Value { expected, found } => CifarError::Python { path, expected, found },
            Self::Label { index, classes, found } => {
                CifarError::Label { path, index, classes, found }
            }
        }
    }
}

pub(super) fn unexpected<T>(
    expected: impl Into<String>,
    found: impl Into<String>,
) -> Result<T, FormatError> {
    Err(FormatError::Value { expected: expected.into(), found: found.into() })
}
