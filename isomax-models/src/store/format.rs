//! Which format a file of weights has: its content decides, whatever its name says.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::archive::{self, Archive};
use super::error::StoreError;
use super::foreign::Foreign;
use super::storages;

/// A format of weights.
///
/// ```
/// use burn::backend::Flex;
/// use isomax_models::store::{self, WeightFormat};
/// use isomax_models::CifarResNetConfig;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("weights");
/// let network = CifarResNetConfig::new(8, 10).init::<Flex>(&Default::default());
/// store::save_record(&network, &path)?;
/// assert_eq!(WeightFormat::detect(&path)?, WeightFormat::Record);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WeightFormat {
    /// What `torch.save` writes, of any version: `.pth`, `.pt`, `.pth.tar`, `.ckpt`, `.bin` and others.
    /// [`load_weights`](super::load_weights) reads it.
    PyTorch,
    /// What the safetensors library writes. [`load_weights`](super::load_weights) reads it.
    Safetensors,
    /// A named record of Burn, which [`load_record`](super::load_record) reads.
    Record,
}

/// As much of a file as tells its format: tar archives name theirs after 257 bytes.
const HEAD: u64 = 1_024;

/// Longest header of a safetensors file, with much room to spare: what is beyond is another format.
const MAX_HEADER: u64 = 1 << 40;

impl WeightFormat {
    /// Tells the format of a file by its content.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the file cannot be read, [`StoreError::Format`] if it is a damaged ZIP
    /// archive, [`StoreError::NotWeights`] if it is of another format: the message then names that, such
    /// as a Git LFS pointer or a web page, and what to do.
    pub fn detect(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let io = |error| StoreError::io(path, error);
        let mut head = Vec::new();
        File::open(path).map_err(io)?.take(HEAD).read_to_end(&mut head).map_err(io)?;
        if archive::is_zip(&head) {
            return Archive::open(path).map(|_| Self::PyTorch);
        }
        if storages::is_old(&head) {
            Ok(Self::PyTorch)
        } else if is_safetensors(&head) {
            Ok(Self::Safetensors)
        } else if is_record(&head) {
            Ok(Self::Record)
        } else {
            Err(Foreign::of(&head).error(path))
        }
    }
}

/// The length of a header in JSON, and its first brace.
fn is_safetensors(head: &[u8]) -> bool {
    let length = head.first_chunk::<8>().map(|length| u64::from_le_bytes(*length));
    length.is_some_and(|length| length < MAX_HEADER) && head.get(8) == Some(&b'{')
}

/// A map of MessagePack whose first key is one of a record.
fn is_record(head: &[u8]) -> bool {
    let Some((0x81..=0x8f, key)) = head.split_first() else { return false };
    // A text shorter than 32 bytes begins with its length.
    key.starts_with(b"\xa8metadata") || key.starts_with(b"\xa4item")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_told_apart() {
        assert!(is_safetensors(b"\x10\0\0\0\0\0\0\0{\"a\":1}"));
        assert!(!is_safetensors(b"\x10\0\0\0\0\0\0\0"));
        assert!(!is_safetensors(b"version {"));
        assert!(is_record(b"\x83\xa8metadata\x85"));
        assert!(is_record(b"\x81\xa4item\x80"));
        assert!(!is_record(b"\x81\xa6params\x80"));
        assert!(!is_record(b"\x80\x02}."));
        assert!(!is_record(b""));
    }
}
