use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::{TrainError, TrainingConfig};
use crate::results;

/// The folder of an execution, which no other process uses.
#[derive(Debug)]
pub struct ExecutionFolder {
    path: PathBuf,
    _lock: File,
}

impl ExecutionFolder {
    /// Makes the folder of a cell and of one of its executions, and keeps other processes out.
    ///
    /// # Errors
    ///
    /// [`TrainError::InUse`], [`TrainError::OtherConfig`], or [`TrainError::Io`].
    pub fn open(
        results: &Path,
        config: &TrainingConfig,
        execution: usize,
    ) -> Result<Self, TrainError> {
        let cell = results.join(config.cell_name());
        let path = cell.join(format!("execution-{execution}"));
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| TrainError::Io { path, source }
        };
        fs::create_dir_all(&path).map_err(io(&path))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(TrainError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(io(&lock_path)(source)),
        }
        let saved_path = cell.join(results::CONFIG);
        if saved_path.exists() {
            let saved: serde_json::Value = results::read_json(&saved_path, "a configuration")?;
            if let Some(differences) = differences(&saved, config) {
                return Err(TrainError::OtherConfig { path: saved_path, differences });
            }
        }
        Ok(Self { path, _lock: lock })
    }

    /// Writes the configuration into the folder of the cell. That is left to the moment when
    /// everything is known to be there: a slip is to leave nothing that stands in the way.
    ///
    /// # Errors
    ///
    /// [`TrainError::Result`].
    pub(super) fn keep_config(&self, config: &TrainingConfig) -> Result<(), TrainError> {
        let path = self.path.with_file_name(results::CONFIG);
        Ok(match path.exists() {
            true => (),
            false => results::write_json(path, config)?,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The fields in which a configuration differs from a saved one.
fn differences(saved: &serde_json::Value, config: &TrainingConfig) -> Option<String> {
    let given = serde_json::to_value(config).unwrap_or_default();
    let empty = serde_json::Map::new();
    let (saved, given) = (saved.as_object().unwrap_or(&empty), given.as_object().unwrap_or(&empty));
    let mut keys: Vec<&String> = saved.keys().chain(given.keys()).collect();
    keys.sort();
    keys.dedup();
    let shown = |value: Option<&serde_json::Value>| {
        value.map_or_else(|| "nothing".to_owned(), ToString::to_string)
    };
    let differing = keys.into_iter().filter(|key| saved.get(*key) != given.get(*key));
    let lines: Vec<String> = differing
        .map(|key| {
            format!("{key}: {} there, {} here", shown(saved.get(key)), shown(given.get(key)))
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}
