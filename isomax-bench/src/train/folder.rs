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
    /// Checks a configuration, makes the folder of its cell and of one of its executions, and keeps
    /// other processes out.
    ///
    /// # Errors
    ///
    /// [`TrainError::Config`], [`TrainError::InUse`], [`TrainError::OtherConfig`], or
    /// [`TrainError::Io`].
    pub fn open(
        results: &Path,
        config: &TrainingConfig,
        execution: usize,
    ) -> Result<Self, TrainError> {
        config.check()?;
        let cell = results.join(config.cell_name());
        let path = cell.join(format!("execution-{execution}"));
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| TrainError::Io { path, source }
        };
        fs::create_dir_all(&path).map_err(io(&path))?;
        let lock_path = path.join(LOCK);
        let lock = File::create(&lock_path).map_err(io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(TrainError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(io(&lock_path)(source)),
        }
        remove_leftovers(&path);
        remove_leftovers(&path.join(results::CHECKPOINT));
        check_same(&cell.join(results::CONFIG), config)?;
        Ok(Self { path, _lock: lock })
    }

    /// Writes the configuration into the folder of the cell. That is left to the moment when
    /// everything is known to be there: a slip is to leave nothing that stands in the way.
    ///
    /// # Errors
    ///
    /// [`TrainError::OtherConfig`], [`TrainError::Io`] or [`TrainError::Result`].
    pub(super) fn keep_config(&self, config: &TrainingConfig) -> Result<(), TrainError> {
        let path = self.path.with_file_name(results::CONFIG);
        // Another execution of the cell may be at the same point.
        let lock_path = self.path.with_file_name(LOCK);
        let io = |source| TrainError::Io { path: lock_path.clone(), source };
        let lock = File::create(&lock_path).map_err(io)?;
        lock.lock().map_err(io)?;
        match path.exists() {
            true => check_same(&path, config),
            false => Ok(results::write_json(path, config)?),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

const LOCK: &str = "lock";

/// Compares a configuration with the saved one, if there is one.
fn check_same(saved_path: &Path, config: &TrainingConfig) -> Result<(), TrainError> {
    if !saved_path.exists() {
        return Ok(());
    }
    let saved: serde_json::Value = results::read_json(saved_path, "a configuration")?;
    match differences(&saved, config) {
        None => Ok(()),
        Some(differences) => {
            Err(TrainError::OtherConfig { path: saved_path.to_owned(), differences })
        }
    }
}

/// Removes the temporary files of a process that was killed while it wrote them. Whoever has the lock
/// is the only one who writes here.
fn remove_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(".tmp") {
            // What cannot be removed costs room only.
            let _ = fs::remove_file(entry.path());
        }
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
