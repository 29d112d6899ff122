//! Batches of images, made in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use chacha20::ChaCha8Rng;
use isomax_bundle::{CHANNELS, Normalization, NormalizationTable, resize_part};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::augment::{Augmentation, ShiftAndFlip, draw_part, write_image};
use super::source::{ImageSource, UnreadableImage};

/// A batch of images with the labels of their classes.
#[derive(Debug, Clone)]
pub struct ImageBatch<B: Backend> {
    /// `[batch_size + num_outliers, 3, height, width]`, normalised: behind those that have a class the
    /// [outliers](ImageBatches::with_outliers).
    pub images: Tensor<B, 4>,
    /// `[batch_size]`, class indices.
    pub targets: Tensor<B, 1, Int>,
}

/// A batch in host memory.
#[derive(Debug, Clone, PartialEq)]
struct HostBatch {
    pixels: Vec<f32>,
    labels: Vec<i32>,
}

/// Which batches there are and how they are made: all of a loader but the device.
///
/// ```
/// use std::sync::Arc;
/// use burn::backend::Flex;
/// use burn::data::dataloader::DataLoader;
/// use isomax_bench::data::{Augmentation, ImageBatches, ImageLoader, Images, Normalization};
///
/// let images = Arc::new(Images {
///     size: [32, 32],
///     bytes: vec![0; 10 * 32 * 32 * 3],
///     labels: vec![0; 10],
///     classes: vec!["black".to_owned()],
/// });
/// let batches = ImageBatches::new(images, Normalization::CIFAR10, 4)
///     .shuffled(42)
///     .augmented(Augmentation::PUBLISHED)
///     .with_workers(2);
/// let loader = ImageLoader::<Flex>::new(batches, &Default::default());
/// let sizes: Vec<_> = loader.iter().map(|batch| batch.targets.dims()[0]).collect();
/// assert_eq!(sizes, [4, 4, 2]);
/// ```
#[derive(Debug, Clone)]
pub struct ImageBatches {
    images: Arc<dyn ImageSource>,
    indices: Arc<Vec<u32>>,
    table: Arc<NormalizationTable>,
    batch_size: usize,
    seed: Option<u64>,
    augmentation: Option<Augmentation>,
    workers: usize,
    first_epoch: u64,
    outliers: Option<Outliers>,
    /// Which of several parts of each epoch this is, from 0, and how many there are.
    part: (usize, usize),
}

/// Images of no class, and how many are drawn for each batch.
#[derive(Debug, Clone)]
struct Outliers {
    images: Arc<dyn ImageSource>,
    per_batch: usize,
}

/// Batches that each worker may be ahead: enough to hide a hiccup, little memory.
const AHEAD: usize = 4;

impl ImageBatches {
    /// All images, in their order, unchanged but for the normalisation.
    ///
    /// # Panics
    ///
    /// If the batch size is 0.
    pub fn new(
        images: Arc<dyn ImageSource>,
        normalization: Normalization,
        batch_size: usize,
    ) -> Self {
        assert!(batch_size > 0, "a batch holds at least one image");
        Self {
            indices: Arc::new((0..images.len() as u32).collect()),
            images,
            table: Arc::new(normalization.table()),
            batch_size,
            seed: None,
            augmentation: None,
            workers: 1,
            first_epoch: 1,
            outliers: None,
            part: (0, 1),
        }
    }

    /// Every Nth batch alone, beginning with the Ith, from 0: the parts of an epoch have equally many batches, so
    /// that a few at its end may be in none. What is in a batch does not change.
    ///
    /// # Panics
    ///
    /// If `part` is not below `parts`.
    pub fn part(mut self, part: usize, parts: usize) -> Self {
        assert!(part < parts, "there is no part {part} of {parts}");
        self.part = (part, parts);
        self
    }

    /// Puts images of no class behind those of each batch, drawn at random, and changed as these are.
    ///
    /// # Panics
    ///
    /// If there are none, or if they have another size.
    pub fn with_outliers(mut self, images: Arc<dyn ImageSource>, per_batch: usize) -> Self {
        assert!(!images.is_empty(), "outliers are drawn from at least one image");
        let (expected, found) = (self.images.size(), images.size());
        assert!(expected == found, "outliers of the size {found:?} beside images of {expected:?}");
        self.outliers = Some(Outliers { images, per_batch });
        self
    }

    /// These images only.
    ///
    /// # Panics
    ///
    /// If there is no image of an index.
    pub fn with_indices(mut self, indices: Vec<u32>) -> Self {
        assert!(
            indices.iter().all(|&index| (index as usize) < self.images.len()),
            "an index is not below the number of images, {}",
            self.images.len()
        );
        self.indices = Arc::new(indices);
        self
    }

    /// Puts images into a new random order in each epoch. Order and [augmentation](Self::augmented)
    /// follow from this seed, the epoch and the batch alone, however many workers there are.
    pub fn shuffled(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Changes images at random, differently in each epoch.
    pub fn augmented(mut self, augmentation: Augmentation) -> Self {
        self.augmentation = Some(augmentation);
        self
    }

    /// Number of background threads, at least 1.
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Goes on after an epoch: what is iterated over next is the one that follows it.
    pub fn after_epoch(mut self, epoch: usize) -> Self {
        self.first_epoch = epoch as u64 + 1;
        self
    }

    /// Number of images of an epoch.
    pub fn num_images(&self) -> usize {
        let (part, parts) = self.part;
        let images = |batch| self.batch_size.min(self.indices.len() - batch * self.batch_size);
        (part..self.num_batches() * parts).step_by(parts).map(images).sum()
    }

    /// Number of batches of an epoch.
    pub fn num_batches(&self) -> usize {
        self.indices.len().div_ceil(self.batch_size) / self.part.1
    }

    fn order(&self, epoch: u64) -> Arc<Vec<u32>> {
        match self.seed {
            None => self.indices.clone(),
            Some(_) => {
                let mut indices = self.indices.as_ref().clone();
                indices.shuffle(&mut self.rng(epoch, None));
                Arc::new(indices)
            }
        }
    }

    /// A generator of its own for the order of an epoch, and for each of its batches.
    fn rng(&self, epoch: u64, batch: Option<usize>) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed.unwrap_or_default());
        rng.set_stream((epoch << 32) | batch.map_or(0, |batch| batch as u64 + 1));
        rng
    }

    fn make(&self, epoch: u64, batch: usize, order: &[u32]) -> Result<HostBatch, UnreadableImage> {
        let members = &order[batch * self.batch_size..];
        let members = &members[..members.len().min(self.batch_size)];
        let [height, width] = self.images.size();
        let image_len = height * width * CHANNELS;
        let mut rng = self.rng(epoch, Some(batch));
        let outliers = self.outliers.as_ref();
        let all = members.len() + outliers.map_or(0, |outliers| outliers.per_batch);
        let mut pixels = vec![0.0; all * image_len];
        let (classes, others) = pixels.split_at_mut(members.len() * image_len);
        for (&index, out) in members.iter().zip(classes.chunks_exact_mut(image_len)) {
            self.write(&*self.images, index as usize, &mut rng, out)?;
        }
        // Drawn behind the others, whose changes are the same without outliers.
        if let Some(Outliers { images, .. }) = outliers {
            for out in others.chunks_exact_mut(image_len) {
                let index = rng.random_range(0..images.len());
                self.write(&**images, index, &mut rng, out)?;
            }
        }
        let labels = self.images.labels();
        let label = |&index: &u32| i32::from(labels[index as usize]);
        Ok(HostBatch { pixels, labels: members.iter().map(label).collect() })
    }

    /// Writes one image, changed at random.
    fn write(
        &self,
        images: &dyn ImageSource,
        index: usize,
        rng: &mut ChaCha8Rng,
        out: &mut [f32],
    ) -> Result<(), UnreadableImage> {
        let size = images.size();
        match self.augmentation {
            Some(Augmentation::ResizedCrop { scale, ratio, flip }) => {
                let picture = images.picture(index)?;
                let (width, height) = picture.dimensions();
                let part = draw_part([width, height], scale, ratio, rng);
                let flipped = flip && rng.random::<bool>();
                let small = resize_part(&picture, part, size[0] as u32);
                let change = ShiftAndFlip { flipped, ..ShiftAndFlip::default() };
                write_image(&small, size, change, &self.table, out);
            }
            augmentation => {
                let change = match augmentation {
                    Some(Augmentation::CropAndFlip { padding, flip }) => {
                        ShiftAndFlip::draw(padding, flip, rng)
                    }
                    _ => ShiftAndFlip::default(),
                };
                write_image(&images.pixels(index)?, size, change, &self.table, out);
            }
        }
        Ok(())
    }

    /// Starts the workers on the batches of an epoch. The worker `w` of `n` makes the batches
    /// `w`, `w + n`, … of this part, so that whoever asks them in turns has the batches in order.
    fn start(&self, epoch: u64) -> HostBatches {
        let order = self.order(epoch);
        let worker = |worker: usize| {
            let (sender, batches) = sync_channel(AHEAD);
            let (plan, order) = (self.clone(), order.clone());
            let thread = thread::spawn(move || plan.work(epoch, worker, &order, &sender));
            Worker { batches, thread: Some(thread) }
        };
        let workers = (0..self.workers.min(self.num_batches())).map(worker).collect();
        HostBatches { workers, next: 0, num_batches: self.num_batches() }
    }

    fn work(&self, epoch: u64, worker: usize, order: &[u32], sender: &SyncSender<HostBatch>) {
        let (part, parts) = self.part;
        for batch in (worker..self.num_batches()).step_by(self.workers) {
            let batch = match self.make(epoch, batch * parts + part, order) {
                Ok(batch) => batch,
                // Burn's loaders cannot fail: whoever trains looks for this payload.
                Err(error) => std::panic::resume_unwind(Box::new(error)),
            };
            // Nobody receives any more if the epoch is given up.
            if sender.send(batch).is_err() {
                return;
            }
        }
    }
}

struct Worker {
    batches: Receiver<HostBatch>,
    thread: Option<JoinHandle<()>>,
}

/// The batches of an epoch, in order.
struct HostBatches {
    workers: Vec<Worker>,
    next: usize,
    num_batches: usize,
}

impl Iterator for HostBatches {
    type Item = HostBatch;

    fn next(&mut self) -> Option<HostBatch> {
        if self.next == self.num_batches {
            return None;
        }
        let count = self.workers.len();
        let worker = &mut self.workers[self.next % count];
        self.next += 1;
        match worker.batches.recv() {
            Ok(batch) => Some(batch),
            Err(_) => {
                // An epoch must not end early without a word.
                if let Some(Err(panic)) = worker.thread.take().map(JoinHandle::join) {
                    std::panic::resume_unwind(panic);
                }
                panic!("a loader thread ended before its batches were made");
            }
        }
    }
}

/// Loads [`ImageBatches`] onto a device, for Burn's Learner.
///
/// Background threads make batches in host memory only; whoever iterates puts them onto the device,
/// so that no other thread ever holds a stream or memory of the device.
///
/// # Panics
///
/// Iteration ends with an [`UnreadableImage`] as payload if a file can no longer be read: Burn's loaders have no
/// other way to fail.
pub struct ImageLoader<B: Backend> {
    batches: ImageBatches,
    device: B::Device,
    epoch: AtomicU64,
}

impl<B: Backend> ImageLoader<B> {
    /// A loader for a device. Each iteration is one epoch.
    pub fn new(batches: ImageBatches, device: &B::Device) -> Self {
        let epoch = AtomicU64::new(batches.first_epoch);
        Self { batches, device: device.clone(), epoch }
    }
}

impl<B: Backend> DataLoader<B, ImageBatch<B>> for ImageLoader<B> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<ImageBatch<B>> + 'a> {
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed);
        Box::new(DeviceBatches {
            host: self.batches.start(epoch),
            size: self.batches.images.size(),
            device: &self.device,
            progress: Progress::new(0, self.batches.num_images()),
        })
    }

    fn num_items(&self) -> usize {
        self.batches.num_images()
    }

    fn to_device(&self, device: &B::Device) -> Arc<dyn DataLoader<B, ImageBatch<B>>> {
        Arc::new(Self::new(self.batches.clone(), device))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, ImageBatch<B>>> {
        let mut batches = self.batches.clone();
        assert!(batches.part == (0, 1), "a part of the batches is no range of images");
        batches.indices = Arc::new(self.batches.indices[start..end].to_vec());
        // Parts of a step are changed each in its own way.
        batches.seed = batches.seed.map(|seed| seed.wrapping_add(start as u64));
        Arc::new(Self::new(batches, &self.device))
    }
}

struct DeviceBatches<'a, B: Backend> {
    host: HostBatches,
    size: [usize; 2],
    device: &'a B::Device,
    progress: Progress,
}

impl<B: Backend> Iterator for DeviceBatches<'_, B> {
    type Item = ImageBatch<B>;

    fn next(&mut self) -> Option<ImageBatch<B>> {
        let HostBatch { pixels, labels } = self.host.next()?;
        let count = labels.len();
        self.progress.items_processed += count;
        let [height, width] = self.size;
        let shape = [pixels.len() / (CHANNELS * height * width), CHANNELS, height, width];
        Some(ImageBatch {
            images: Tensor::from_data(TensorData::new(pixels, shape), self.device),
            targets: Tensor::from_data(TensorData::new(labels, [count]), self.device),
        })
    }
}

impl<B: Backend> DataLoaderIterator<ImageBatch<B>> for DeviceBatches<'_, B> {
    fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Images, tensor_of};
    use burn::backend::Flex;

    /// Images that differ in every pixel, 6 × 5.
    fn images(count: usize) -> Arc<dyn ImageSource> {
        let byte = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) as u8;
        Arc::new(Images {
            size: [6, 5],
            bytes: (0..count * 90).map(byte).collect(),
            labels: (0..count as u16).collect(),
            classes: (0..count).map(|i| i.to_string()).collect(),
        })
    }

    #[test]
    fn outliers_stand_behind_images_that_stay_as_they_are() {
        let plain = plan(10);
        let plan = plain.clone().with_outliers(images(4), 5);
        let image_len = 6 * 5 * CHANNELS;
        for epoch in 1..3 {
            let batches = self::epoch(&plan, epoch);
            for (batch, plain) in batches.iter().zip(self::epoch(&plain, epoch)) {
                let (classes, outliers) = batch.pixels.split_at(plain.pixels.len());
                assert!(classes == plain.pixels && batch.labels == plain.labels);
                assert_eq!(outliers.len(), 5 * image_len);
            }
            assert!(batches == self::epoch(&plan.clone().with_workers(3), epoch));
        }
        assert!(self::epoch(&plan, 1) != self::epoch(&plan, 2));
        let loader = ImageLoader::<Flex>::new(plan, &Default::default());
        let shapes: Vec<_> =
            loader.iter().map(|batch| (batch.images.dims()[0], batch.targets.dims()[0])).collect();
        assert_eq!(shapes, [(12, 7), (8, 3)]);
    }

    fn plan(count: usize) -> ImageBatches {
        ImageBatches::new(images(count), Normalization::SVHN, 7)
            .shuffled(3)
            .augmented(Augmentation::PUBLISHED)
    }

    fn epoch(plan: &ImageBatches, epoch: u64) -> Vec<HostBatch> {
        plan.start(epoch).collect()
    }

    #[test]
    fn batches_follow_from_seed_epoch_and_batch_alone() {
        let one = plan(40);
        let expected = epoch(&one, 2);
        assert_eq!(expected.len(), 6);
        for workers in [2, 3, 7, 50] {
            assert_eq!(epoch(&one.clone().with_workers(workers), 2), expected);
        }
        assert_ne!(epoch(&one, 3), expected);
        assert_ne!(epoch(&one.clone().shuffled(4), 2), expected);
        // The images of a batch do not depend on those before it.
        assert_eq!(one.make(2, 4, &one.order(2)).ok().as_ref(), Some(&expected[4]));
    }

    #[test]
    fn parts_of_an_epoch_have_its_batches_in_turns() {
        // 40 images: six batches, of seven and one of five.
        let whole = epoch(&plan(40), 2);
        for (parts, workers) in [(2, 1), (3, 2), (4, 3)] {
            for part in 0..parts {
                let plan = plan(40).with_workers(workers).part(part, parts);
                let batches = epoch(&plan, 2);
                let expected: Vec<_> =
                    whole.iter().skip(part).step_by(parts).take(6 / parts).cloned().collect();
                assert!(batches == expected && batches.len() == plan.num_batches());
                let images: usize = batches.iter().map(|batch| batch.labels.len()).sum();
                assert_eq!(images, plan.num_images());
            }
        }
    }

    #[test]
    fn every_image_comes_once_in_each_epoch() {
        for number in 1..4 {
            let batches = epoch(&plan(40), number);
            let mut labels: Vec<_> = batches.iter().flat_map(|b| b.labels.clone()).collect();
            labels.sort_unstable();
            assert_eq!(labels, (0..40).collect::<Vec<_>>());
        }
    }

    #[test]
    fn loaders_count_epochs_from_where_they_go_on() {
        let device = Default::default();
        let labels = |loader: &dyn DataLoader<Flex, ImageBatch<Flex>>| -> Vec<i64> {
            loader.iter().flat_map(|b| b.targets.into_data().iter().collect::<Vec<_>>()).collect()
        };
        let whole = ImageLoader::<Flex>::new(plan(40), &device);
        let (_, second, third) = (labels(&whole), labels(&whole), labels(&whole));
        assert_ne!(second, third);
        let resumed = ImageLoader::<Flex>::new(plan(40).after_epoch(1), &device).to_device(&device);
        assert_eq!((labels(&*resumed), labels(&*resumed)), (second, third));
    }

    #[test]
    fn slices_and_selections_hold_their_images() {
        let device = Default::default();
        let plan = ImageBatches::new(images(10), Normalization::SVHN, 4);
        let chosen = ImageLoader::<Flex>::new(plan.with_indices(vec![9, 2, 4]), &device);
        let part = chosen.slice(1, 3);
        assert_eq!((chosen.num_items(), part.num_items()), (3, 2));
        let mut batches = part.iter();
        let batch = batches.next();
        assert_eq!(batches.progress().items_processed, 2);
        let Some(batch) = batch else { panic!("no batch") };
        assert_eq!(batch.targets.into_data().iter::<i64>().collect::<Vec<_>>(), [2, 4]);
        let (images, indices) = (images(10), [2, 4].into_iter());
        let expected = tensor_of::<Flex>(&*images, indices, &Normalization::SVHN, &device);
        let expected = expected.unwrap_or_else(|error| panic!("{error}"));
        batch.images.into_data().assert_eq(&expected.into_data(), true);
    }

    #[test]
    fn giving_an_epoch_up_ends_its_workers() {
        let plan = plan(4000).with_workers(2);
        let mut batches = plan.start(1);
        batches.next();
        let threads: Vec<_> = batches.workers.iter_mut().map(|w| w.thread.take()).collect();
        drop(batches);
        for thread in threads.into_iter().flatten() {
            assert!(thread.join().is_ok());
        }
    }
}
