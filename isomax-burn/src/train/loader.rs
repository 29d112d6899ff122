use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::{Tensor, backend::Backend};
use burn::train::ClassificationOutput;

use super::in_flight::InFlight;
use super::schedule::{Schedule, is_behind};
use super::{OodMetric, OodOutput, OodSetError, sets};
use crate::OodScore;

/// A validation loader that delivers every in-distribution batch together with its share of the
/// batches of the OOD sets. Give it to
/// [`SupervisedTraining::new`](burn::train::SupervisedTraining::new), as the [module](super) shows.
///
/// Any loaders will do, of any batch type, as long as all have the same. The labels of OOD samples
/// are never read.
///
/// ```
/// use burn::data::dataloader::DataLoader;
/// # use burn::backend::Flex;
/// # use burn::data::{dataloader::{DataLoaderBuilder, batcher::Batcher}, dataset::InMemDataset};
/// # use burn::tensor::backend::Backend;
/// use isomax_burn::train::{OodDataLoader, OodSetError};
///
/// # struct Batches;
/// # impl<B: Backend> Batcher<B, u32, Vec<u32>> for Batches {
/// #     fn batch(&self, items: Vec<u32>, _device: &B::Device) -> Vec<u32> { items }
/// # }
/// # let loader = |items: Vec<u32>| {
/// #     let builder = DataLoaderBuilder::<Flex, u32, Vec<u32>>::new(Batches).batch_size(2);
/// #     builder.build(InMemDataset::new(items))
/// # };
/// let valid = OodDataLoader::new(loader(vec![1, 2, 3, 4])).with_set("noise", loader(vec![7, 8]))?;
/// for batch in valid.iter() {
///     let sets: Vec<&str> = batch.ood().map(|(set, _)| set).collect();
///     assert_eq!(sets.is_empty(), batch.is_last()); // the only OOD batch comes with the first
/// }
/// let refused = valid.with_set("noise", loader(vec![9])).err();
/// assert_eq!(refused, Some(OodSetError::DuplicateName("noise".to_owned())));
/// # Ok::<(), OodSetError>(())
/// ```
///
/// After the last batch the iterator waits until Burn's metric thread has processed all outputs,
/// so that whoever asks for the values of the epoch next finds all of it. Without such a thread, as
/// where outputs are collected by hand, it waits for a second at most.
pub struct OodDataLoader<B: Backend, O> {
    id: Arc<dyn DataLoader<B, O>>,
    sets: Vec<OodSet<B, O>>,
    schedule: Schedule,
}

struct OodSet<B: Backend, O> {
    name: Arc<str>,
    loader: Arc<dyn DataLoader<B, O>>,
}

impl<B: Backend, O: Send + 'static> OodDataLoader<B, O> {
    /// Starts with the loader of in-distribution validation samples.
    pub fn new(id: Arc<dyn DataLoader<B, O>>) -> Self {
        Self { id, sets: Vec::new(), schedule: Schedule::default() }
    }

    /// Delivers the OOD sets only in epochs whose number this divides, to save time; without this
    /// call, and for 0, in all. In the epochs between, their metrics have no value, and none of these
    /// epochs is taken for the best one: see [`SyncMetricLogger`](super::SyncMetricLogger).
    pub fn every(mut self, epochs: usize) -> Self {
        self.schedule = self.schedule.every(epochs);
        self
    }

    /// For a training that is resumed after this epoch, the one given to
    /// [`SupervisedTraining::checkpoint`](burn::train::SupervisedTraining::checkpoint): epochs are
    /// counted from there.
    pub fn after_epoch(mut self, epoch: usize) -> Self {
        self.schedule = self.schedule.after_epoch(epoch);
        self
    }

    /// Adds an OOD set. Its name becomes part of the names of its metrics, and with them of files.
    ///
    /// # Errors
    ///
    /// [`OodSetError`] if the set is empty, or the name is taken or cannot be part of a file name.
    pub fn with_set(
        mut self,
        name: &str,
        loader: Arc<dyn DataLoader<B, O>>,
    ) -> Result<Self, OodSetError> {
        let others = self.sets.iter().map(|set| &*set.name);
        sets::check(name, loader.num_items(), others)?;
        self.sets.push(OodSet { name: name.into(), loader });
        Ok(self)
    }

    /// The metrics of all sets, by any score: AUROC, TNR@95TPR and FPR95 of the first set, then of
    /// the next. Call it once for each training: metrics of a second score would have the same names.
    pub fn metrics(&self, score: impl OodScore) -> Vec<OodMetric> {
        let score: Arc<dyn OodScore> = Arc::new(score);
        let of_set = |set: &OodSet<B, O>| OodMetric::of_set(&set.name, score.clone());
        self.sets.iter().flat_map(of_set).collect()
    }

    fn map(
        &self,
        id: Arc<dyn DataLoader<B, O>>,
        loader: impl Fn(&Arc<dyn DataLoader<B, O>>) -> Arc<dyn DataLoader<B, O>>,
    ) -> Arc<dyn DataLoader<B, OodBatch<O>>> {
        let set =
            |set: &OodSet<B, O>| OodSet { name: set.name.clone(), loader: loader(&set.loader) };
        Arc::new(Self {
            id,
            sets: self.sets.iter().map(set).collect(),
            schedule: self.schedule.clone(),
        })
    }
}

impl<B: Backend, O: Send + 'static> DataLoader<B, OodBatch<O>> for OodDataLoader<B, O> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<OodBatch<O>> + 'a> {
        let mut id = self.id.iter();
        let next_id = id.next();
        let stream = |set: &'a OodSet<B, O>| {
            let (batches, total) = (set.loader.iter(), set.loader.num_items());
            OodStream { name: set.name.clone(), batches, total }
        };
        let is_due = self.schedule.begin();
        let sets = self.sets.iter().filter(|_| is_due);
        Box::new(OodIterator {
            next_id,
            id,
            id_total: self.id.num_items(),
            delivered: 0,
            streams: sets.map(stream).collect(),
            in_flight: InFlight::default(),
        })
    }

    fn num_items(&self) -> usize {
        let sets = self.sets.iter().map(|set| set.loader.num_items());
        self.id.num_items() + sets.sum::<usize>()
    }

    fn to_device(&self, device: &B::Device) -> Arc<dyn DataLoader<B, OodBatch<O>>> {
        self.map(self.id.to_device(device), |loader| loader.to_device(device))
    }

    /// The range counts in-distribution items; the sets are cut in proportion.
    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, OodBatch<O>>> {
        let id_total = self.id.num_items().max(1);
        self.map(self.id.slice(start, end), |loader| {
            let scaled = |index: usize| index * loader.num_items() / id_total;
            loader.slice(scaled(start), scaled(end))
        })
    }
}

struct OodStream<'a, O> {
    name: Arc<str>,
    batches: Box<dyn DataLoaderIterator<O> + 'a>,
    total: usize,
}

struct OodIterator<'a, O> {
    /// One batch ahead, so that the last one is known to be the last.
    next_id: Option<O>,
    id: Box<dyn DataLoaderIterator<O> + 'a>,
    id_total: usize,
    /// In-distribution items delivered so far.
    delivered: usize,
    streams: Vec<OodStream<'a, O>>,
    in_flight: InFlight,
}

impl<O> Iterator for OodIterator<'_, O> {
    type Item = OodBatch<O>;

    fn next(&mut self) -> Option<OodBatch<O>> {
        let Some(id) = self.next_id.take() else {
            // Whoever asks for the values of this epoch next is to find all of it.
            self.in_flight.settle();
            return None;
        };
        self.delivered = self.id.progress().items_processed;
        self.next_id = self.id.next();
        let is_last = self.next_id.is_none();

        let mut ood = Vec::new();
        for stream in &mut self.streams {
            let behind = |done: usize| is_behind(done, stream.total, self.delivered, self.id_total);
            while is_last || behind(stream.batches.progress().items_processed) {
                let Some(batch) = stream.batches.next() else { break };
                ood.push((stream.name.clone(), batch));
            }
        }
        Some(OodBatch { id, ood, is_last, in_flight: self.in_flight.clone() })
    }
}

impl<O> DataLoaderIterator<OodBatch<O>> for OodIterator<'_, O> {
    fn progress(&self) -> Progress {
        let streams = || self.streams.iter();
        let ood = streams().map(|s| s.batches.progress().items_processed).sum::<usize>();
        let total = self.id_total + streams().map(|s| s.total).sum::<usize>();
        Progress::new(self.delivered + ood, total)
    }
}

/// An in-distribution batch and the OOD batches that come with it: what the validation step of a model
/// takes.
///
/// ```
/// # use burn::prelude::*;
/// # use burn::train::{ClassificationOutput, InferenceStep};
/// # use isomax_burn::{IsoMaxLossConfig, IsoMaxPlusHead};
/// use isomax_burn::train::{OodBatch, OodOutput};
///
/// # #[derive(Module, Debug)]
/// # struct Net<B: Backend> { head: IsoMaxPlusHead<B> }
/// # type Batch<B> = (Tensor<B, 2>, Tensor<B, 1, Int>);
/// # impl<B: Backend> Net<B> {
/// #     fn classify(&self, (inputs, targets): Batch<B>) -> ClassificationOutput<B> {
/// #         let logits = self.head.forward(inputs);
/// #         let loss = IsoMaxLossConfig::new().init().forward(logits.clone(), targets.clone());
/// #         ClassificationOutput::new(loss, logits, targets)
/// #     }
/// # }
/// impl<B: Backend> InferenceStep for Net<B> {
///     type Input = OodBatch<Batch<B>>; // was: Batch<B>
///     type Output = OodOutput<B>; // was: ClassificationOutput<B>
///
///     fn step(&self, batch: OodBatch<Batch<B>>) -> OodOutput<B> {
///         batch.evaluate(|id| self.classify(id), |(inputs, _)| self.head.forward(inputs))
///     }
/// }
/// ```
#[derive(Debug)]
pub struct OodBatch<O> {
    id: O,
    ood: Vec<(Arc<str>, O)>,
    is_last: bool,
    in_flight: InFlight,
}

impl<O> OodBatch<O> {
    /// Runs a model over all batches: the whole validation step.
    ///
    /// # Arguments
    ///
    /// - `classify`: what the step did before, for the in-distribution batch
    /// - `logits`: raw logits of an OOD batch, `[batch_size, num_classes]`
    pub fn evaluate<B: Backend>(
        self,
        classify: impl FnOnce(O) -> ClassificationOutput<B>,
        logits: impl Fn(O) -> Tensor<B, 2>,
    ) -> OodOutput<B> {
        let receipt = self.in_flight.receipt();
        let id = classify(self.id);
        let ood = self.ood.into_iter().map(|(name, batch)| (name, logits(batch))).collect();
        OodOutput::new(id, ood, self.is_last, receipt)
    }

    /// The in-distribution batch.
    pub fn id(&self) -> &O {
        &self.id
    }

    /// The OOD batches, each with the name of its set.
    pub fn ood(&self) -> impl Iterator<Item = (&str, &O)> {
        self.ood.iter().map(|(name, batch)| (&**name, batch))
    }

    /// Whether this is the last batch of the epoch.
    pub fn is_last(&self) -> bool {
        self.is_last
    }
}
