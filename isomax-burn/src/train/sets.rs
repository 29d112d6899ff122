//! Names of out-of-distribution sets.

/// Why an OOD set cannot be added to a loader. See [`OodDataLoader`](super::OodDataLoader) for an
/// example.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OodSetError {
    /// The set has no samples, so that it has no metrics.
    #[error("the OOD set '{0}' is empty")]
    Empty(String),
    /// The name cannot be part of a file name, which the logs of its metrics need.
    #[error("'{0}' cannot name an OOD set: expected letters, digits, spaces, '-', '_', '+' or '.'")]
    InvalidName(String),
    /// A set of this name was added before.
    #[error("there are two OOD sets named '{0}'")]
    DuplicateName(String),
}

/// Checks a set before it joins others.
pub(super) fn check<'a>(
    name: &str,
    samples: usize,
    mut others: impl Iterator<Item = &'a str>,
) -> Result<(), OodSetError> {
    let is_allowed = |c: char| c.is_alphanumeric() || " -_+.".contains(c);
    if name.trim().is_empty() || !name.chars().all(is_allowed) {
        Err(OodSetError::InvalidName(name.to_owned()))
    } else if samples == 0 {
        Err(OodSetError::Empty(name.to_owned()))
    } else if others.any(|other| other == name) {
        Err(OodSetError::DuplicateName(name.to_owned()))
    } else {
        Ok(())
    }
}
