//! What an unpacked folder was unpacked from, and what was in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use md5::Md5;
use serde::{Deserialize, Serialize};

use super::{FetchError, Progress, Verified, failed, hash_of};

/// A file in every folder that was unpacked here.
pub(super) const MARKER: &str = ".fetched.json";

#[derive(Serialize, Deserialize)]
pub(super) struct Marker {
    /// The archive, and the sum that is published for it. The field has its name from when all of
    /// these were MD5 sums.
    pub file: String,
    #[serde(rename = "md5")]
    pub sum: String,
    /// Every file of the folder, by its path in it.
    pub files: BTreeMap<String, FileSum>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct FileSum {
    pub bytes: u64,
    pub md5: String,
}

impl Marker {
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, FetchError> {
        let path = folder.join(MARKER);
        match fs::read(&path) {
            Ok(json) => Ok(serde_json::from_slice(&json).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FetchError::Io { path, source }),
        }
    }

    /// The first file that is no longer as it was unpacked: by its size, and by its sum if that is
    /// asked for.
    pub(super) fn difference(
        &self,
        folder: &Path,
        with_sums: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<Verified>, FetchError> {
        for (name, sum) in &self.files {
            let path = folder.join(name);
            let bytes = match fs::metadata(&path) {
                Ok(metadata) => Some(metadata.len()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(source) => return Err(failed(&path)(source)),
            };
            let found = match bytes {
                None => "no file".to_owned(),
                Some(bytes) if bytes != sum.bytes => format!("that of another {bytes} bytes"),
                Some(_) if with_sums => hash_of::<Md5>(&path, progress)?,
                Some(_) => continue,
            };
            if found != sum.md5 {
                return Ok(Some(Verified::Different { path, expected: sum.md5.clone(), found }));
            }
        }
        Ok(None)
    }
}
