//! Checkpoints that are whole or not there, and the way back to them.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleDisplay};
use burn::record::{
    FileRecorder, FullPrecisionSettings, NamedMpkBytesRecorder, Record, Recorder, RecorderError,
};
use burn::tensor::backend::Backend;
use burn::train::Interrupter;
use burn::train::checkpoint::{CheckpointingAction, CheckpointingStrategy};
use burn::train::metric::store::EventStoreClient;
use isomax_burn::atomic_file;
use isomax_models::store;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::recorder::HistoryRecorder;
use super::{Classifier, TrainError};
use crate::results::{self, History};

/// The parts of a checkpoint, each a file of its own, as Burn's Learner names them.
const PARTS: [&str; 3] = [MODEL, OPTIMIZER, SCHEDULER];
pub(super) const MODEL: &str = "model";
pub(super) const OPTIMIZER: &str = "optim";
pub(super) const SCHEDULER: &str = "scheduler";
const EXTENSION: &str = "mpk";
const DIGEST: usize = 32;

fn part_path(folder: &Path, part: &str, epoch: usize) -> PathBuf {
    folder.join(results::CHECKPOINT).join(format!("{part}-{epoch}.{EXTENSION}"))
}

/// Burn's records in full precision, named MessagePack, with a SHA-256 of them behind: a reader of
/// MessagePack stops before it. Files appear whole or not at all.
#[derive(Debug, Clone, Default)]
pub(super) struct CheckedRecorder(NamedMpkBytesRecorder<FullPrecisionSettings>);

impl<B: Backend> FileRecorder<B> for CheckedRecorder {
    fn file_extension() -> &'static str {
        EXTENSION
    }
}

impl<B: Backend> Recorder<B> for CheckedRecorder {
    type Settings = FullPrecisionSettings;
    type RecordArgs = PathBuf;
    type RecordOutput = ();
    type LoadArgs = PathBuf;

    fn save_item<I: Serialize>(&self, item: I, path: PathBuf) -> Result<(), RecorderError> {
        let path = path.with_extension(EXTENSION);
        let bytes = Recorder::<B>::save_item(&self.0, item, ())?;
        let write = |file: &mut fs::File| {
            file.write_all(&bytes)?;
            file.write_all(&Sha256::digest(&bytes))
        };
        atomic_file::write(&path, write)
            .map_err(|error| RecorderError::Unknown(format!("{}: {error}", path.display())))
    }

    fn load_item<I: DeserializeOwned>(&self, path: &mut PathBuf) -> Result<I, RecorderError> {
        let mut bytes = read_checked(&path.with_extension(EXTENSION))
            .map_err(|error| RecorderError::Unknown(error.to_string()))?;
        Recorder::<B>::load_item(&self.0, &mut bytes)
    }
}

/// Why a file of a checkpoint cannot be read.
#[derive(Debug)]
enum ReadError {
    /// It is not there, or not what was written.
    Damaged(String),
    /// The system refuses.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(reason) => f.write_str(reason),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// Reads a file without its checksum, if that fits.
fn read_checked(path: &Path) -> Result<Vec<u8>, ReadError> {
    let mut bytes = fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ReadError::Damaged(format!("{}: {error}", path.display())),
        _ => ReadError::Io(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    })?;
    let length = bytes.len().saturating_sub(DIGEST);
    let digest = bytes.split_off(length);
    if Sha256::digest(&bytes).as_slice() != digest {
        let path = path.display();
        return Err(ReadError::Damaged(format!(
            "{path}: its checksum does not fit: the file is damaged"
        )));
    }
    Ok(bytes)
}

/// The bytes of a part of the checkpoint of an epoch, without its checksum.
///
/// # Errors
///
/// [`TrainError::Checkpoint`] if it is not there, or damaged.
pub(super) fn checked_bytes(
    folder: &Path,
    part: &str,
    epoch: usize,
) -> Result<Vec<u8>, TrainError> {
    let path = part_path(folder, part, epoch);
    read_checked(&path).map_err(|error| TrainError::Checkpoint { path, reason: error.to_string() })
}

/// Reads a part of the checkpoint of an epoch.
///
/// # Errors
///
/// [`TrainError::Checkpoint`] if it is not there, damaged, or of another network or version.
pub(super) fn read_part<B: Backend, R: Record<B>>(
    folder: &Path,
    part: &str,
    epoch: usize,
    device: &B::Device,
) -> Result<R, TrainError> {
    let path = part_path(folder, part, epoch);
    let read = Recorder::<B>::load(&CheckedRecorder::default(), path.clone(), device);
    read.map_err(|error| TrainError::Checkpoint { path, reason: error.to_string() })
}

/// Reads the weights of the checkpoint of an epoch into a network, if all of them fit.
///
/// # Errors
///
/// As those of [`read_part`].
pub(super) fn read_model<B: Backend, N: Module<B> + ModuleDisplay>(
    classifier: &mut Classifier<B, N>,
    folder: &Path,
    epoch: usize,
) -> Result<(), TrainError> {
    let path = part_path(folder, MODEL, epoch);
    let read = read_checked(&path)
        .map_err(|error| error.to_string())
        .and_then(|_| store::load_record(classifier, &path).map_err(|error| error.to_string()));
    read.map_err(|reason| TrainError::Checkpoint { path, reason })
}

/// Whether the weights of an epoch are there and whole.
pub(super) fn has_model(folder: &Path, epoch: usize) -> bool {
    read_checked(&part_path(folder, MODEL, epoch)).is_ok()
}

/// The last epoch whose checkpoint is whole, and the history up to it. Damaged checkpoints are
/// warned of; what lies after the one to go on from is removed, for it will be made again.
///
/// # Errors
///
/// [`TrainError::Result`] for a damaged history, [`TrainError::NoHistory`] if there are checkpoints
/// but no history of them, [`TrainError::Io`] if the system refuses to read one.
pub(super) fn resume(folder: &Path) -> Result<History, TrainError> {
    let path = folder.join(results::HISTORY);
    let epochs = existing(folder);
    let mut history: History = match path.exists() {
        true => results::read(&path)?,
        // A kill at the first epoch leaves neither: the history is written first.
        false if !epochs.is_empty() => return Err(TrainError::NoHistory { path }),
        false => History::default(),
    };
    let known = epochs.iter().rev().filter(|&&epoch| epoch <= history.epochs.len());
    let mut from = 0;
    for &epoch in known {
        let mut damage = Vec::new();
        for part in PARTS {
            let path = part_path(folder, part, epoch);
            match read_checked(&path) {
                Ok(_) => {}
                Err(ReadError::Damaged(reason)) => damage.push(reason),
                // It may be whole: nothing is to be made again, or removed, for that.
                Err(ReadError::Io(source)) => return Err(TrainError::Io { path, source }),
            }
        }
        if damage.is_empty() {
            from = epoch;
            break;
        }
        log::warn!("the checkpoint of epoch {epoch} is left out: {}", damage.join("; "));
    }
    if from == 0 && !history.epochs.is_empty() {
        let (folder, epochs) = (folder.display(), history.epochs.len());
        log::warn!("{folder}: no checkpoint of {epochs} epochs is left: the training starts anew");
    }
    for &epoch in epochs.iter().filter(|&&epoch| epoch > from) {
        for part in PARTS {
            // Another file of the three may be all that there is.
            let _ = fs::remove_file(part_path(folder, part, epoch));
        }
    }
    history.epochs.truncate(from);
    Ok(history)
}

/// Epochs of which there is any part.
fn existing(folder: &Path) -> BTreeSet<usize> {
    let entries = fs::read_dir(folder.join(results::CHECKPOINT)).into_iter().flatten().flatten();
    let epoch = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let (part, epoch) = name.strip_suffix(&format!(".{EXTENSION}"))?.split_once('-')?;
        PARTS.contains(&part).then(|| epoch.parse().ok()).flatten()
    };
    entries.filter_map(epoch).collect()
}

/// Saves every epoch, and keeps what a resumed training may ask for.
///
/// Burn's Learner saves the three parts in threads of their own. When the checkpoint of epoch `e` is
/// ordered, that of `e − 1` may be under way, but that of `e − 2` is whole. A training that ends now
/// goes on from `e − 2` or later, or, if that file is damaged, from the one before. So the last four
/// stay, and the best epoch as seen from each of them.
pub(super) struct CheckpointPolicy {
    recorder: HistoryRecorder,
    interrupter: Interrupter,
    folder: PathBuf,
    on_disk: BTreeSet<usize>,
    keeps_best: bool,
}

/// How many of the last checkpoints stay.
const LAST: usize = 4;

impl CheckpointPolicy {
    pub(super) fn new(
        recorder: HistoryRecorder,
        interrupter: Interrupter,
        folder: &Path,
        keeps_best: bool,
    ) -> Self {
        let (folder, on_disk) = (folder.to_owned(), existing(folder));
        Self { recorder, interrupter, folder, on_disk, keeps_best }
    }

    fn kept(&self, history: &History) -> BTreeSet<usize> {
        let epochs = history.epochs.len();
        let last = epochs.saturating_sub(LAST - 1)..=epochs;
        let mut kept: BTreeSet<usize> = last.clone().collect();
        if self.keeps_best {
            kept.extend(last.filter_map(|upto| results::best_epoch(&history.epochs[..upto])));
        }
        kept
    }
}

impl CheckpointingStrategy for CheckpointPolicy {
    fn checkpointing(
        &mut self,
        epoch: usize,
        _collector: &EventStoreClient,
    ) -> Vec<CheckpointingAction> {
        // Weights that are not numbers are worth no file, nor is an epoch that was broken off.
        if self.recorder.diverged().is_some() || self.interrupter.should_stop() {
            return Vec::new();
        }
        // The history is on the disk before the checkpoint that relies on it.
        let written = self.recorder.finish(epoch).and_then(|history| {
            let path = self.folder.join(results::HISTORY);
            results::write(path, &history).map_err(|error| error.to_string())?;
            Ok(history)
        });
        let history = match written {
            Ok(history) => history,
            Err(error) => {
                self.interrupter.stop(Some(&error));
                return Vec::new();
            }
        };
        // The loss of the last steps may have been looked at only now.
        if self.recorder.diverged().is_some() {
            return Vec::new();
        }
        let kept = self.kept(&history);
        let old: Vec<usize> = self.on_disk.difference(&kept).copied().collect();
        self.on_disk.retain(|epoch| kept.contains(epoch));
        self.on_disk.insert(epoch);
        let mut actions: Vec<_> = old.into_iter().map(CheckpointingAction::Delete).collect();
        actions.push(CheckpointingAction::Save);
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Epoch;
    use burn::backend::Flex;
    use std::collections::BTreeMap;
    use std::error::Error;

    type Tested = Result<(), Box<dyn Error>>;

    fn history(accuracies: &[f64]) -> History {
        let epoch = |(i, accuracy): (usize, &f64)| Epoch {
            ranks: 1,
            epoch: i + 1,
            learning_rate: 0.1,
            train: BTreeMap::new(),
            valid: BTreeMap::from([("accuracy".to_owned(), *accuracy)]),
        };
        History { digest: None, epochs: accuracies.iter().enumerate().map(epoch).collect() }
    }

    fn save(folder: &Path, epoch: usize) -> Tested {
        fs::create_dir_all(folder.join("checkpoint"))?;
        for part in PARTS {
            let path = folder.join("checkpoint").join(format!("{part}-{epoch}"));
            Recorder::<Flex>::save_item(&CheckedRecorder::default(), vec![epoch; 9], path)?;
        }
        Ok(())
    }

    #[test]
    fn every_flipped_bit_and_every_missing_byte_is_noticed() -> Tested {
        let folder = tempfile::tempdir()?;
        save(folder.path(), 3)?;
        let path = part_path(folder.path(), MODEL, 3);
        let whole = fs::read(&path)?;
        let load = || -> Result<Vec<usize>, _> {
            Recorder::<Flex>::load_item(&CheckedRecorder::default(), &mut path.clone())
        };
        assert_eq!(load()?, vec![3; 9]);
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                fs::write(&path, bytes)?;
                assert!(load().is_err(), "bit {bit} of byte {at}");
            }
            fs::write(&path, &whole[..at])?;
            assert!(load().is_err(), "{at} bytes");
        }
        Ok(())
    }

    #[test]
    fn a_damaged_checkpoint_falls_back_to_the_one_before() -> Tested {
        let folder = tempfile::tempdir()?;
        let resume = || resume(folder.path());
        assert_eq!(resume()?, History::default());
        let all = history(&[10.0, 30.0, 20.0]);
        results::write(folder.path().join(results::HISTORY), &all)?;
        for epoch in 1..=3 {
            save(folder.path(), epoch)?;
        }
        assert_eq!(resume()?, all);
        // A checkpoint that the history does not know of belongs to no finished epoch.
        save(folder.path(), 4)?;
        assert_eq!(resume()?, all);
        assert!(!has_model(folder.path(), 4));
        fs::write(part_path(folder.path(), "optim", 3), "half")?;
        assert_eq!(resume()?, history(&[10.0, 30.0]));
        assert!(!has_model(folder.path(), 3));
        fs::remove_file(part_path(folder.path(), "scheduler", 2))?;
        assert_eq!(resume()?, history(&[10.0]));
        fs::remove_file(part_path(folder.path(), "model", 1))?;
        assert_eq!(resume()?, History::default());
        save(folder.path(), 1)?;
        fs::write(folder.path().join(results::HISTORY), "{")?;
        assert!(matches!(resume(), Err(TrainError::Result(_))));
        // Checkpoints are worth more than to be lost with their history.
        fs::remove_file(folder.path().join(results::HISTORY))?;
        assert!(matches!(resume(), Err(TrainError::NoHistory { .. })));
        assert!(has_model(folder.path(), 1));
        Ok(())
    }

    #[test]
    fn the_best_epoch_stays_as_seen_from_each_that_may_be_gone_on_from() {
        let policy = |keeps_best| {
            let recorder = HistoryRecorder::new(History::default(), 10, 0, 1);
            CheckpointPolicy::new(recorder, Interrupter::new(), Path::new("nowhere"), keeps_best)
        };
        let kept = |best, accuracies: &[f64]| -> Vec<usize> {
            policy(best).kept(&history(accuracies)).into_iter().collect()
        };
        let falling = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0];
        assert_eq!(kept(false, &falling), [3, 4, 5, 6]);
        assert_eq!(kept(true, &falling), [1, 3, 4, 5, 6]);
        // Seen from epochs 3 to 5 the first is the best, seen from the last it is the last.
        assert_eq!(kept(true, &[9.0, 8.0, 7.0, 6.0, 5.0, 10.0]), [1, 3, 4, 5, 6]);
        assert_eq!(kept(true, &[1.0, 5.0, 6.0, 2.0, 2.0, 7.0, 7.0]), [3, 4, 5, 6, 7]);
    }
}
