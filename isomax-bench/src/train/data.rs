//! The images of an experiment, and the batches that the Learner is fed with.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

use super::{RunOptions, TrainError, TrainingConfig};
use crate::data::{
    DataError, DataFolder, ImageBatches, Images, NamedImages, Split, digest, held_out_indices,
};
use crate::results::Selection;

/// The images of an experiment, read once for all its executions.
#[derive(Debug, Clone)]
pub struct ExperimentData {
    /// The training split of the known classes.
    pub train: Arc<Images>,
    /// Their test split.
    pub test: Arc<Images>,
    /// What is to be detected.
    pub ood: Vec<NamedImages>,
    /// What kind of copy the known images are, for captions.
    pub source: String,
    /// Tells these known images, in this order, from all others.
    pub digest: String,
}

impl ExperimentData {
    /// Reads all sets of a configuration.
    ///
    /// # Errors
    ///
    /// [`DataError`] if one is absent or damaged.
    pub fn load(config: &TrainingConfig, folder: &DataFolder) -> Result<Self, DataError> {
        let mut train = folder.known(config.known, Split::Train)?;
        if let Some(count) = config.train_images.filter(|&count| count < train.images.len()) {
            // Folders and archives may be ordered by class: take images from everywhere.
            let mut indices: Vec<u32> = (0..train.images.len() as u32).collect();
            indices.shuffle(&mut ChaCha8Rng::seed_from_u64(config.seed));
            indices.truncate(count);
            indices.sort_unstable();
            train.images = train.images.select(&indices);
        }
        let test = folder.known(config.known, Split::Test)?;
        if train.images.classes != test.images.classes {
            return Err(DataError::ClassNames {
                name: config.known.to_string(),
                train: train.images.classes,
                test: test.images.classes,
            });
        }
        Ok(Self {
            ood: folder.ood_sets(&config.ood)?,
            digest: digest([&train.images, &test.images]),
            train: Arc::new(train.images),
            source: test.source.to_owned(),
            test: Arc::new(test.images),
        })
    }

    /// The images of the training split, parted by a seed: those to train on, and those that are
    /// held out, `(training, held out)`.
    ///
    /// # Errors
    ///
    /// [`TrainError::TooFewImages`] if none would be left to train on.
    pub fn part(
        &self,
        config: &TrainingConfig,
        seed: u64,
    ) -> Result<(Vec<u32>, Vec<u32>), TrainError> {
        let (found, needed) = (self.train.len(), config.validation_images);
        held_out_indices(found, needed, seed).ok_or_else(|| {
            let set = config.known.to_string();
            TrainError::TooFewImages { set, found, needed }
        })
    }
}

/// What the Learner is fed with.
pub(super) struct Batches {
    pub train: ImageBatches,
    pub valid: ImageBatches,
    pub ood: Vec<(String, ImageBatches)>,
}

impl Batches {
    pub(super) fn new(
        config: &TrainingConfig,
        data: &ExperimentData,
        training: Vec<u32>,
        held_out: Vec<u32>,
        seed: u64,
        options: &RunOptions,
    ) -> Self {
        let mut training = training;
        if config.devices > 1 {
            // Each device gets a part of the indices, which must not be a part of the classes.
            training.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        }
        let normalization = config.known.normalization();
        let batches = |images: &Arc<Images>| {
            ImageBatches::new(images.clone(), normalization, config.batch_size)
                .with_workers(options.workers)
        };
        // Without held-out images the test images are watched; the results say so.
        let valid = match config.selection {
            Selection::Validation => batches(&data.train).with_indices(held_out),
            Selection::Last if !held_out.is_empty() => batches(&data.train).with_indices(held_out),
            Selection::Last | Selection::Test => batches(&data.test),
        };
        Self {
            train: batches(&data.train)
                .with_indices(training)
                .shuffled(seed)
                .augmented(config.augmentation),
            valid,
            ood: match config.ood_every {
                0 => Vec::new(),
                _ => data.ood.iter().map(|set| (set.name.clone(), batches(&set.images))).collect(),
            },
        }
    }
}
