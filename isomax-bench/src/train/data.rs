//! The images of an experiment, and the batches that the Learner is fed with.

use std::sync::Arc;

use chacha20::ChaCha8Rng;
use rand::SeedableRng;
use rand::seq::SliceRandom;

use super::{RunOptions, TrainError, TrainingConfig};
use crate::data::{
    Augmentation, DataError, DataFolder, HeldOut, ImageBatches, ImageSource, NamedImages,
    Normalization, OodSource, PublishedSet, Split, Subset, digest,
};
use crate::ranks::Team;
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
    pub train: Arc<dyn ImageSource>,
    /// How many images at its end whoever made the set holds out, to choose and to calibrate with; 0 if they are to
    /// be drawn.
    pub held_out: usize,
    /// Their test split.
    pub test: Arc<dyn ImageSource>,
    /// What is to be detected.
    pub ood: Vec<NamedImages>,
    /// What Outlier Exposure trains with.
    pub outliers: Option<NamedImages>,
    /// What kind of copy the ID images are, for captions.
    pub source: String,
    /// Tells these ID images, in this order, from all others.
    pub digest: String,
    /// Mean and standard deviation of the pixels of the training split, if they were measured.
    pub measured: Option<Normalization>,
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
        train: impl ImageSource + 'static,
        test: impl ImageSource + 'static,
        ood: Vec<NamedImages>,
        source: &str,
    ) -> Result<Self, DataError> {
        Self::of(name, Arc::new(train), Arc::new(test), ood, source)
    }

    fn of(
        name: &str,
        train: Arc<dyn ImageSource>,
        test: Arc<dyn ImageSource>,
        ood: Vec<NamedImages>,
        source: &str,
    ) -> Result<Self, DataError> {
        if train.classes() != test.classes() {
            let name = name.to_owned();
            let (train, test) = (train.classes().to_vec(), test.classes().to_vec());
            return Err(DataError::ClassNames { name, train, test });
        }
        let digest = digest([&*train, &*test]);
        let source = source.to_owned();
        Ok(Self { digest, train, held_out: 0, test, ood, outliers: None, source, measured: None })
    }

    /// Reads all sets of a configuration, a published one or a folder or CSV file of images of your own, as its
    /// preprocessing says.
    ///
    /// # Errors
    ///
    /// [`DataError`] if one is absent or damaged.
    pub fn load(config: &TrainingConfig, folder: &DataFolder) -> Result<Self, DataError> {
        // Nothing is normalized yet.
        let preprocessing = config.preprocessing(Some(Normalization::CIFAR10));
        let folder = match preprocessing {
            Ok(preprocessing) => folder.clone().with_preprocessing(&preprocessing),
            Err(_) => folder.clone(),
        };
        let outliers: Vec<OodSource> = config.outliers.iter().cloned().collect();
        let outliers = folder.ood_sets(&outliers)?.into_iter().next();
        let name = &config.id_data;
        let Some(path) = &config.id_path else {
            let set: PublishedSet = name.parse()?;
            let train = folder.id_set(set, Split::Train)?.images;
            let test = folder.id_set(set, Split::Test)?;
            let ood = folder.ood_sets(&config.ood)?;
            let data = Self::of(name, some_of(train, config), test.images, ood, test.source)?;
            return Ok(Self { outliers, ..data });
        };
        let is_cut = matches!(config.augmentation, Augmentation::ResizedCrop { .. });
        let own = folder.own_set(path, config.seed, is_cut)?;
        let ood = folder.ood_sets(&config.ood)?;
        // What its maker holds out is used whole, however many images are trained on.
        let first = own.train.len() - own.held_out;
        let train = match config.train_images.filter(|&count| count < first) {
            None => own.train,
            Some(count) => {
                let mut indices = drawn(first, count, config.seed);
                indices.extend(first as u32..own.train.len() as u32);
                Arc::new(Subset::new(own.train, indices))
            }
        };
        let data = Self::of(name, train, own.test, ood, own.source)?;
        Ok(Self { held_out: own.held_out, outliers, measured: Some(own.measured), ..data })
    }

    /// Divides the training split, by a seed, into images to train on and images that are held out.
    ///
    /// # Errors
    ///
    /// [`TrainError::TooFewImages`] if none would be left to train on.
    pub fn split(&self, config: &TrainingConfig, seed: u64) -> Result<HeldOut, TrainError> {
        if self.held_out > 0 {
            return Ok(self.split_of_its_maker(config, seed));
        }
        let found = self.train.len();
        let validation = config.validation_images.of(found);
        let calibration = config.calibration_images.of(found);
        let parts = match config.stratified {
            true => HeldOut::stratified(self.train.labels(), validation, calibration, seed),
            false => HeldOut::random(found, validation, calibration, seed),
        };
        parts.ok_or_else(|| TrainError::TooFewImages {
            set: config.id_data.clone(),
            found,
            needed: validation.saturating_add(calibration),
        })
    }

    /// The images that whoever made the set holds out choose the epoch, fit the detector, or half do each.
    fn split_of_its_maker(&self, config: &TrainingConfig, seed: u64) -> HeldOut {
        let first = self.train.len() - self.held_out;
        let (chooses, fits) =
            (!config.validation_images.is_none(), !config.calibration_images.is_none());
        let calibration = match (chooses, fits) {
            (true, true) => self.held_out / 2,
            (false, true) => self.held_out,
            (_, false) => 0,
        };
        let labels = &self.train.labels()[first..];
        // As there, with those that fit the detector as what is drawn, and those that choose as the rest.
        let drawn = HeldOut::stratified(labels, calibration, 0, seed);
        let (fit, choose) = match drawn {
            Some(HeldOut { training, validation, .. }) => (validation, training),
            None => ((0..self.held_out as u32).collect(), Vec::new()),
        };
        let behind = |indices: Vec<u32>| -> Vec<u32> {
            indices.into_iter().map(|index| index + first as u32).collect()
        };
        HeldOut {
            training: (0..first as u32).collect(),
            validation: behind(choose),
            calibration: behind(fit),
        }
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
    ) -> Result<Option<Subset>, TrainError> {
        let parts = self.split(config, seed)?;
        let indices = match config.share_held_out {
            true => parts.validation,
            false => parts.calibration,
        };
        Ok((!indices.is_empty()).then(|| Subset::new(Arc::clone(&self.train), indices)))
    }
}

/// The images of the training split that are used, if not all are.
fn some_of(train: Arc<dyn ImageSource>, config: &TrainingConfig) -> Arc<dyn ImageSource> {
    match config.train_images.filter(|&count| count < train.len()) {
        None => train,
        Some(count) => {
            let indices = drawn(train.len(), count, config.seed);
            Arc::new(Subset::new(train, indices))
        }
    }
}

/// Some of so many images: folders and archives may be ordered by class, so they are taken from everywhere.
fn drawn(images: usize, count: usize, seed: u64) -> Vec<u32> {
    let mut indices: Vec<u32> = (0..images as u32).collect();
    indices.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    indices.truncate(count);
    indices.sort_unstable();
    indices
}

/// What the Learner is fed with.
pub(super) struct Batches {
    /// Those of this rank.
    pub train: ImageBatches,
    /// Images of an epoch, of all ranks.
    pub train_images: usize,
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
        let normalization = config.preprocessing(data.measured)?.normalization;
        let batches = |images: &Arc<dyn ImageSource>| {
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
        let (train_images, team) = (training.len(), Team::new(options.ranks.clone()));
        let train = batches(&data.train)
            .with_indices(training)
            .part(team.rank(), team.count())
            .shuffled(seed)
            .augmented(config.augmentation);
        let train = match (&config.outliers, &data.outliers) {
            (Some(_), Some(outliers)) => {
                train.with_outliers(outliers.images.clone(), config.outliers_per_batch())
            }
            (Some(outliers), None) => return Err(TrainError::NoOutliers(outliers.name.clone())),
            (None, _) => train,
        };
        Ok(Self {
            train,
            train_images,
            valid,
            ood: match config.ood_every {
                0 => Vec::new(),
                _ => data.ood.iter().map(|set| (set.name.clone(), batches(&set.images))).collect(),
            },
        })
    }
}
