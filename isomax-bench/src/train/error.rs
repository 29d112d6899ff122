use std::io;
use std::path::PathBuf;

use isomax_burn::PrototypeError;
use isomax_burn::train::OodSetError;
use isomax_models::store::StoreError;

use super::{ConfigError, Divergence};
use crate::data::UnreadableImage;
use crate::ranks::RanksError;
use crate::results::ResultError;

/// Why a training did not end well. Started again, it goes on from its last checkpoint. See
/// [`RunFolder`](super::RunFolder) for an example.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The folder cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder or a file in it.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The images that Outlier Exposure is to train with were not brought along.
    #[error("the configuration names the outliers {0}, but the data of the experiment has none")]
    NoOutliers(String),
    /// Another process works in the folder.
    #[error("{}: another process is training here", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds results of another configuration.
    #[error(
        "{}: the folder holds results of another configuration, which differs in {differences}; \
         choose another --output, or the same values",
        path.display()
    )]
    OtherConfig {
        /// The saved configuration.
        path: PathBuf,
        /// Fields with the saved and the given value.
        differences: String,
    },
    /// The images differ from those that the folder was begun with.
    #[error(
        "{}: begun with other images, or with the same in another order: bring back that data set, or \
         choose another --output",
        folder.display()
    )]
    OtherData {
        /// The folder of the run.
        folder: PathBuf,
    },
    /// There are fewer training images than the configuration asks for.
    #[error("{set} has {found} training images, too few for {needed} of them to be held out")]
    TooFewImages {
        /// The training set.
        set: String,
        /// Images of its training split that may be used.
        found: usize,
        /// Images to hold out.
        needed: usize,
    },
    /// The backend has fewer devices.
    #[error("{wanted} devices are asked for, but the backend has {found}")]
    TooFewDevices {
        /// How many are asked for.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// The loss, or with several ranks a gradient, is no longer a number.
    #[error(
        "the loss is not finite in {0}; the checkpoints before it are kept (a lower --learning-rate \
         or --warm-up may help, with another --output)"
    )]
    Diverged(Divergence),
    /// An epoch has no step.
    #[error(
        "{wanted} batches make a step (--gradient-accumulation), but an epoch has {batches} of them{}",
        if *ranks > 1 { " for each rank" } else { "" }
    )]
    TooFewBatches {
        /// Batches of an epoch, on each device or rank.
        batches: usize,
        /// Batches of a step.
        wanted: usize,
        /// How many ranks there are.
        ranks: usize,
    },
    /// An epoch has fewer batches than there are ranks to train on them.
    #[error(
        "an epoch has {batches} batches, too few for {ranks} ranks: start fewer, or lower --batch-size"
    )]
    TooManyRanks {
        /// Batches of an epoch.
        batches: usize,
        /// How many ranks there are.
        ranks: usize,
    },
    /// Several ranks, and several devices for each.
    #[error("--devices is for a process by itself: start a rank for each device instead")]
    DevicesOfRanks,
    /// Ranks cannot train together.
    #[error(transparent)]
    Ranks(#[from] RanksError),
    /// Burn's Learner was stopped, as by a disk that is full.
    #[error("the training was stopped: {0}")]
    Stopped(String),
    /// A checkpoint is whole, but not of this training.
    #[error(
        "{}: expected a checkpoint of this network by this version of the program, but {reason}; an \
         unfinished training goes on from the epoch before, if this file is removed",
        path.display()
    )]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There are checkpoints, but nothing says which epochs they are of.
    #[error(
        "{}: expected the history of the checkpoints beside it, but it is gone; bring it back to go \
         on, or remove the folder of the run to train anew",
        path.display()
    )]
    NoHistory {
        /// Where it should be.
        path: PathBuf,
    },
    /// No epoch's weights can be read.
    #[error("{}: no checkpoint of a finished epoch can be read", folder.display())]
    NoCheckpoint {
        /// The folder of the run.
        folder: PathBuf,
    },
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An OOD set cannot be watched.
    #[error(transparent)]
    OodSet(#[from] OodSetError),
    /// A result cannot be read or written.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// The chosen weights cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An image file has gone during the training. What was trained before that epoch is kept.
    #[error(transparent)]
    Image(#[from] UnreadableImage),
    /// The head cannot begin at the class means.
    #[error(transparent)]
    Prototypes(#[from] PrototypeError),
    /// The network has no part of the name that training is to begin from.
    #[error("the network has no part '{part}' to train from (parts: {known})")]
    NoPart {
        /// The name.
        part: String,
        /// Names that it has.
        known: String,
    },
}
