use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::{TrainError, TrainingConfig};
use crate::data::OodSource;
use crate::results::{self, Recipe};

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
        let folder = Self::lock(path)?;
        remove_leftovers(&folder.path);
        remove_leftovers(&folder.path.join(results::CHECKPOINT));
        check_same(&cell.join(results::CONFIG), config)?;
        Ok(folder)
    }

    /// Keeps other processes out of the folder of an execution that is there.
    ///
    /// # Errors
    ///
    /// [`TrainError::InUse`] or [`TrainError::Io`].
    pub fn reopen(run: &Path) -> Result<Self, TrainError> {
        let path = fs::canonicalize(run)
            .map_err(|source| TrainError::Io { path: run.to_owned(), source })?;
        Self::lock(path)
    }

    fn lock(path: PathBuf) -> Result<Self, TrainError> {
        let lock_path = path.join(LOCK);
        let io = |source| TrainError::Io { path: lock_path.clone(), source };
        let lock = File::create(&lock_path).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(TrainError::InUse { path }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Writes the configuration into the folder of the cell, or adds its OOD sets to the one that is
    /// there. That is left to the moment when everything is known to be there: a slip is to leave
    /// nothing that stands in the way.
    ///
    /// # Errors
    ///
    /// [`TrainError::OtherConfig`], [`TrainError::Io`] or [`TrainError::Result`].
    pub fn keep_config(&self, config: &TrainingConfig) -> Result<(), TrainError> {
        let path = self.path.with_file_name(results::CONFIG);
        // Another execution of the cell may be at the same point.
        let lock_path = self.path.with_file_name(LOCK);
        let io = |source| TrainError::Io { path: lock_path.clone(), source };
        let lock = File::create(&lock_path).map_err(io)?;
        lock.lock().map_err(io)?;
        match path.exists() {
            true => {
                check_same(&path, config)?;
                // The sets to detect may be others than before: results of all stay.
                let mut saved: TrainingConfig = results::read(&path)?;
                let is_new = |set: &&OodSource| !saved.ood.contains(set);
                let new: Vec<_> = config.ood.iter().filter(is_new).cloned().collect();
                if new.is_empty() && saved.ood_every == config.ood_every {
                    return Ok(());
                }
                saved.ood.extend(new);
                saved.ood_every = config.ood_every;
                Ok(results::write(path, &saved)?)
            }
            false => Ok(results::write(path, config)?),
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
    let saved: TrainingConfig = results::read(saved_path)?;
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

/// The fields in which a configuration differs from a saved one, but for those that change no weight:
/// sets to detect can be added to results that are there.
fn differences(saved: &TrainingConfig, config: &TrainingConfig) -> Option<String> {
    let free = ["ood", "ood_every"];
    let (saved, given) = (Recipe::of(saved, &free), Recipe::of(config, &free));
    let mut fields: Vec<&str> = saved.fields().chain(given.fields()).collect();
    fields.sort_unstable();
    fields.dedup();
    let shown = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
    let differing = fields.into_iter().filter(|field| saved.get(field) != given.get(field));
    let lines: Vec<String> = differing
        .map(|field| {
            let (saved, given) = (shown(saved.get(field)), shown(given.get(field)));
            format!("{field}: {saved} there, {given} here")
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}
