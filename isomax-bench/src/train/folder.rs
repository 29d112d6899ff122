use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{TrainError, TrainingConfig};
use crate::data::OodSource;
use crate::ranks::{Ranks, Team};
use crate::results::{self, Recipe, ResultError, Training};

/// The folder of a run, which no other process can use as long as this is there.
///
/// ```
/// use isomax_bench::data::PublishedSet;
/// use isomax_bench::train::{RunFolder, TrainError, TrainingConfig};
/// use isomax_burn::HeadKind;
///
/// # let folder = tempfile::tempdir()?;
/// # let results = folder.path();
/// let config =
///     TrainingConfig::published(PublishedSet::Cifar10, "resnet-20".parse()?, HeadKind::IsoMaxPlus);
/// let own = RunFolder::open(results, &config, 1)?;
/// assert!(own.path().ends_with("cifar10_resnet-20_isomax+/run-1"));
///
/// let second = RunFolder::open(results, &config, 1);
/// assert!(matches!(second, Err(TrainError::InUse { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// None where rank 0 has it.
    _lock: Option<File>,
}

impl RunFolder {
    /// Checks a configuration, makes the folder of its experiment and of one of its runs, and keeps other
    /// processes out.
    ///
    /// # Arguments
    ///
    /// - `results`: the folder that the folders of experiments lie in
    /// - `number`: number of the run, from 1
    ///
    /// # Errors
    ///
    /// [`TrainError::Config`], [`TrainError::InUse`], [`TrainError::OtherConfig`], or
    /// [`TrainError::Io`].
    pub fn open(
        results: &Path,
        config: &TrainingConfig,
        number: usize,
    ) -> Result<Self, TrainError> {
        config.check()?;
        let path = Self::place(results, config, number);
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| TrainError::Io { path, source }
        };
        fs::create_dir_all(&path).map_err(io(&path))?;
        let folder = Self::lock(path)?;
        remove_leftovers(&folder.path);
        remove_leftovers(&folder.path.join(results::CHECKPOINT));
        check_same(&folder.path.with_file_name(results::CONFIG), config)?;
        Ok(folder)
    }

    /// The same for ranks, which all call this: rank 0 alone opens the folder, and the others know where it is.
    ///
    /// # Arguments
    ///
    /// - `ranks`: none for a process by itself
    /// - the others: as those of [`open`](Self::open)
    ///
    /// # Errors
    ///
    /// As those of [`open`](Self::open), and [`TrainError::Ranks`].
    pub fn open_by(
        ranks: Option<&Arc<dyn Ranks>>,
        results: &Path,
        config: &TrainingConfig,
        number: usize,
    ) -> Result<Self, TrainError> {
        let mut opened = None;
        Team::new(ranks.cloned()).decide(|| {
            opened = Some(Self::open(results, config, number)?);
            Ok::<_, TrainError>(())
        })?;
        let path = Self::place(results, config, number);
        Ok(opened.unwrap_or(Self { path, _lock: None }))
    }

    fn place(results: &Path, config: &TrainingConfig, number: usize) -> PathBuf {
        results.join(config.experiment_name()).join(format!("run-{number}"))
    }

    /// Keeps other processes out of the folder of a run that is there.
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
            Ok(()) => Ok(Self { path, _lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => Err(TrainError::InUse { path }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Writes the configuration into the folder of the experiment, or adds its OOD sets to the one that is
    /// there. That is left to the moment when everything is known to be there: a slip is to leave
    /// nothing that stands in the way.
    ///
    /// # Errors
    ///
    /// [`TrainError::OtherConfig`], [`TrainError::Io`] or [`TrainError::Result`].
    pub fn keep_config(&self, config: &TrainingConfig) -> Result<(), TrainError> {
        let path = self.path.with_file_name(results::CONFIG);
        // Another run of the experiment may be at the same point.
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
                let before = saved.clone();
                saved.ood.extend(new);
                saved.ood_every = config.ood_every;
                // They may have been moved.
                saved.id_path.clone_from(&config.id_path);
                saved.init.clone_from(&config.init);
                if saved == before {
                    return Ok(());
                }
                Ok(results::write(path, &saved)?)
            }
            false => Ok(results::write(path, config)?),
        }
    }

    /// Compares a configuration with the one that is there.
    ///
    /// # Errors
    ///
    /// [`TrainError::OtherConfig`] or [`TrainError::Result`].
    pub fn check_config(&self, config: &TrainingConfig) -> Result<(), TrainError> {
        check_same(&self.path.with_file_name(results::CONFIG), config)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The configuration of a run and how its training ended, by the folder of the run.
///
/// ```no_run
/// let run = std::path::Path::new("results/cifar10_resnet-20_isomax+/run-1");
/// let (config, training) = isomax_bench::train::open_run(run)?;
/// println!("{}: epoch {} of {}", config.experiment_name(), training.chosen_epoch, training.epochs);
/// # Ok::<(), isomax_bench::results::ResultError>(())
/// ```
///
/// # Errors
///
/// [`ResultError`] if there are none, or they are damaged.
pub fn open_run(run: &Path) -> Result<(TrainingConfig, Training), ResultError> {
    let training = results::read(run.join(results::TRAINING))?;
    // The folder of a run lies in that of its experiment.
    let folder =
        fs::canonicalize(run).map_err(|source| ResultError::Io { path: run.to_owned(), source })?;
    Ok((results::read(folder.with_file_name(results::CONFIG))?, training))
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
fn differences(saved_config: &TrainingConfig, config: &TrainingConfig) -> Option<String> {
    // Where images and weights lie changes nothing: their sums are compared.
    let free = ["ood_data", "ood_every", "id_path", "init"];
    let (saved, given) = (Recipe::of(saved_config, &free), Recipe::of(config, &free));
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
    // A set of the same name elsewhere is another one: its results would be taken for those of the first.
    let conflict = |set: &OodSource| {
        let other =
            saved_config.ood.iter().find(|other| other.name == set.name && *other != set)?;
        Some(format!("ood-data: {other} there, {set} here"))
    };
    let lines: Vec<String> =
        lines.into_iter().chain(config.ood.iter().filter_map(conflict)).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}
