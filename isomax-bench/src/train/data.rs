//! The images of an experiment, and the batches that the Learner is fed with.

use std::sync::Arc;

use chacha20::ChaCha8Rng;
use rand::SeedableRng;
use rand::seq::SliceRandom;

use super::{RunOptions, TrainError, TrainingConfig};
use crate::data::{
    DataError, DataFolder, HeldOut, IdSet, ImageBatches, Images, NamedImages, Split, digest,
};
use crate::results::Selection;

/// The images of an experiment, read once for all its runs: of the published sets by
/// [`load`](Self::load), of sets of your own by [`new`](Self::new).
///
/// ```
/// use isomax_bench::data::Images;
/// use isomax_bench::train::ExperimentData;
///
/// let black = |count: usize| Images {
///     size: [8, 8],
///     bytes: vec![0; count * 8 * 8 * 3],
///     labels: vec![0; count],
///     classes: vec!["black".to_owned()],
/// };
/// let data = ExperimentData::new("night", black(20), black(10), Vec::new(), "made up")?;
/// assert_eq!((data.train.len(), data.test.len()), (20, 10));
/// # Ok::<(), isomax_bench::data::DataError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExperimentData {
    /// The training split of the ID classes.
    pub train: Arc<Images>,
    /// Their test split.
    pub test: Arc<Images>,
    /// What is to be detected.
    pub ood: Vec<NamedImages>,
    /// What kind of copy the ID images are, for captions.
    pub source: String,
    /// Tells these ID images, in this order, from all others.
    pub digest: String,
}

impl ExperimentData {
    /// Images of your own.
    ///
    /// # Arguments
    ///
    /// - `name`: what errors call the set
    /// - `train`, `test`: the splits of the classes that are learned
    /// - `ood`: what is to be detected
    /// - `source`: what kind of copy this is, for captions
    ///
    /// # Errors
    ///
    /// [`DataError::ClassNames`] if the splits have other classes.
    pub fn new(
        name: &str,
        train: Images,
        test: Images,
        ood: Vec<NamedImages>,
        source: &str,
    ) -> Result<Self, DataError> {
        if train.classes != test.classes {
            let name = name.to_owned();
            let (train, test) = (train.classes, test.classes);
            return Err(DataError::ClassNames { name, train, test });
        }
        Ok(Self {
            digest: digest([&train, &test]),
            train: Arc::new(train),
            test: Arc::new(test),
            ood,
            source: source.to_owned(),
        })
    }

    /// Reads all sets of a configuration, whose set must be a published one, by its decoder of JPEG
    /// images.
    ///
    /// # Errors
    ///
    /// [`DataError`] if one is absent or damaged.
    pub fn load(config: &TrainingConfig, folder: &DataFolder) -> Result<Self, DataError> {
        let id_data: IdSet = config.id_data.parse()?;
        let folder = folder.clone().with_jpeg_decoder(config.jpeg_decoder);
        let mut train = folder.id_set(id_data, Split::Train)?;
        if let Some(count) = config.train_images.filter(|&count| count < train.images.len()) {
            // Folders and archives may be ordered by class: take images from everywhere.
            let mut indices: Vec<u32> = (0..train.images.len() as u32).collect();
            indices.shuffle(&mut ChaCha8Rng::seed_from_u64(config.seed));
            indices.truncate(count);
            indices.sort_unstable();
            train.images = train.images.select(&indices);
        }
        let test = folder.id_set(id_data, Split::Test)?;
        let (name, ood) = (id_data.name(), folder.ood_sets(&config.ood)?);
        Self::new(name, train.images, test.images, ood, test.source)
    }

    /// Divides the training split, by a seed, into images to train on and images that are held out.
    ///
    /// # Errors
    ///
    /// [`TrainError::TooFewImages`] if none would be left to train on.
    pub fn split(&self, config: &TrainingConfig, seed: u64) -> Result<HeldOut, TrainError> {
        let validation = config.validation_images;
        let calibration = config.calibration_images;
        let parts = match config.stratified {
            true => HeldOut::stratified(&self.train.labels, validation, calibration, seed),
            false => HeldOut::random(self.train.len(), validation, calibration, seed),
        };
        parts.ok_or_else(|| TrainError::TooFewImages {
            set: config.id_data.clone(),
            found: self.train.len(),
            needed: validation.saturating_add(calibration),
        })
    }

    /// The images that thresholds and temperatures are fitted on: held out for that, or shared with
    /// the choice of the epoch if the configuration says so. `None` without such images.
    ///
    /// # Errors
    ///
    /// As [`split`](Self::split).
    pub fn calibration_images(
        &self,
        config: &TrainingConfig,
        seed: u64,
    ) -> Result<Option<Images>, TrainError> {
        let parts = self.split(config, seed)?;
        let indices = match config.share_held_out {
            true => parts.validation,
            false => parts.calibration,
        };
        Ok((!indices.is_empty()).then(|| self.train.select(&indices)))
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
        parts: HeldOut,
        seed: u64,
        options: &RunOptions,
    ) -> Result<Self, TrainError> {
        let HeldOut { mut training, validation, .. } = parts;
        if config.devices > 1 {
            // Each device gets a part of the indices, which must not be a part of the classes.
            training.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        }
        let normalization = config.normalization()?;
        let batches = |images: &Arc<Images>| {
            ImageBatches::new(images.clone(), normalization, config.batch_size)
                .with_workers(options.workers)
        };
        // Without held-out images the test images are watched; the results say so.
        let valid = match config.selection {
            Selection::Validation => batches(&data.train).with_indices(validation),
            Selection::Last if !validation.is_empty() => {
                batches(&data.train).with_indices(validation)
            }
            Selection::Last | Selection::Test => batches(&data.test),
        };
        Ok(Self {
            train: batches(&data.train)
                .with_indices(training)
                .shuffled(seed)
                .augmented(config.augmentation),
            valid,
            ood: match config.ood_every {
                0 => Vec::new(),
                _ => data.ood.iter().map(|set| (set.name.clone(), batches(&set.images))).collect(),
            },
        })
    }
}
