use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::{Tensor, backend::Backend};
use burn::train::ClassificationOutput;

use super::in_flight::InFlight;
use super::{OodMeasure, OodMetric, OodOutput};
use crate::Score;

/// Why an out-of-distribution set cannot be added to a loader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OodSetError {
    /// The set has no samples, so that it has no metrics.
    #[error("the OOD set '{0}' is empty")]
    Empty(String),
    /// The name cannot be part of a file name, which the logs of its metrics need.
    #[error("'{0}' cannot name an OOD set: expected letters, digits, spaces, '-', '_', '+' or '.'")]
    InvalidName(String),
    /// A set of this name was added before.
    #[error("there are two OOD sets named '{0}'")]
    DuplicateName(String),
}

/// A validation loader that delivers every in-distribution batch together with its share of the
/// batches of the out-of-distribution sets. Give it to
/// [`SupervisedTraining::new`](burn::train::SupervisedTraining::new).
///
/// Any loaders will do, of any batch type, as long as all have the same. The labels of OOD samples
/// are never read.
///
/// After the last batch the iterator waits until Burn's metric thread has processed all outputs,
/// so that whoever asks for the values of the epoch next finds all of it. Without such a thread, as
/// where outputs are collected by hand, it waits for a second at most.
pub struct OodDataLoader<B: Backend, O> {
    known: Arc<dyn DataLoader<B, O>>,
    sets: Vec<OodSet<B, O>>,
    /// The sets are delivered in epochs that this divides.
    every: usize,
    /// Epochs begun so far.
    epoch: AtomicUsize,
}

struct OodSet<B: Backend, O> {
    name: Arc<str>,
    loader: Arc<dyn DataLoader<B, O>>,
}

impl<B: Backend, O: Send + 'static> OodDataLoader<B, O> {
    /// Starts with the loader of in-distribution validation samples.
    pub fn new(known: Arc<dyn DataLoader<B, O>>) -> Self {
        Self { known, sets: Vec::new(), every: 1, epoch: AtomicUsize::new(0) }
    }

    /// Delivers the out-of-distribution sets every so many epochs only, to save time. In the epochs
    /// between, their metrics have no value.
    pub fn every(mut self, epochs: usize) -> Self {
        self.every = epochs.max(1);
        self
    }

    /// Goes on after this epoch, the one given to
    /// [`SupervisedTraining::checkpoint`](burn::train::SupervisedTraining::checkpoint): epochs are
    /// counted from there.
    pub fn after_epoch(mut self, epoch: usize) -> Self {
        self.epoch = AtomicUsize::new(epoch);
        self
    }

    /// Adds an out-of-distribution set. Its name becomes part of the names of its metrics.
    ///
    /// # Errors
    ///
    /// [`OodSetError`] if the set is empty, or the name is taken or cannot be part of a file name.
    pub fn with_set(
        mut self,
        name: &str,
        loader: Arc<dyn DataLoader<B, O>>,
    ) -> Result<Self, OodSetError> {
        let is_allowed = |c: char| c.is_alphanumeric() || " -_+.".contains(c);
        if name.trim().is_empty() || !name.chars().all(is_allowed) {
            return Err(OodSetError::InvalidName(name.to_owned()));
        }
        if loader.num_items() == 0 {
            return Err(OodSetError::Empty(name.to_owned()));
        }
        if self.sets.iter().any(|set| &*set.name == name) {
            return Err(OodSetError::DuplicateName(name.to_owned()));
        }
        self.sets.push(OodSet { name: name.into(), loader });
        Ok(self)
    }

    /// The metrics of all sets: AUROC, TNR@95TPR and FPR95 of the first set, then of the next.
    pub fn metrics(&self, score: Score) -> Vec<OodMetric> {
        let of_set = |set: &OodSet<B, O>| {
            OodMeasure::ALL.map(|measure| OodMetric::new(&set.name, measure, score))
        };
        self.sets.iter().flat_map(of_set).collect()
    }

    fn map(
        &self,
        known: Arc<dyn DataLoader<B, O>>,
        loader: impl Fn(&Arc<dyn DataLoader<B, O>>) -> Arc<dyn DataLoader<B, O>>,
    ) -> Arc<dyn DataLoader<B, OodBatch<O>>> {
        let set =
            |set: &OodSet<B, O>| OodSet { name: set.name.clone(), loader: loader(&set.loader) };
        Arc::new(Self {
            known,
            sets: self.sets.iter().map(set).collect(),
            every: self.every,
            epoch: AtomicUsize::new(self.epoch.load(Ordering::Relaxed)),
        })
    }
}

impl<B: Backend, O: Send + 'static> DataLoader<B, OodBatch<O>> for OodDataLoader<B, O> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<OodBatch<O>> + 'a> {
        let mut known = self.known.iter();
        let next_known = known.next();
        let stream = |set: &'a OodSet<B, O>| {
            let (batches, total) = (set.loader.iter(), set.loader.num_items());
            OodStream { name: set.name.clone(), batches, total }
        };
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        let is_due = epoch.is_multiple_of(self.every);
        let sets = self.sets.iter().filter(|_| is_due);
        Box::new(OodIterator {
            next_known,
            known,
            known_total: self.known.num_items(),
            delivered: 0,
            streams: sets.map(stream).collect(),
            in_flight: InFlight::default(),
        })
    }

    fn num_items(&self) -> usize {
        let sets = self.sets.iter().map(|set| set.loader.num_items());
        self.known.num_items() + sets.sum::<usize>()
    }

    fn to_device(&self, device: &B::Device) -> Arc<dyn DataLoader<B, OodBatch<O>>> {
        self.map(self.known.to_device(device), |loader| loader.to_device(device))
    }

    /// The range counts in-distribution items; the sets are cut in proportion.
    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, OodBatch<O>>> {
        let known_total = self.known.num_items().max(1);
        self.map(self.known.slice(start, end), |loader| {
            let scaled = |index: usize| index * loader.num_items() / known_total;
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
    next_known: Option<O>,
    known: Box<dyn DataLoaderIterator<O> + 'a>,
    known_total: usize,
    /// In-distribution items delivered so far.
    delivered: usize,
    streams: Vec<OodStream<'a, O>>,
    in_flight: InFlight,
}

impl<O> Iterator for OodIterator<'_, O> {
    type Item = OodBatch<O>;

    fn next(&mut self) -> Option<OodBatch<O>> {
        let Some(known) = self.next_known.take() else {
            // Whoever asks for the values of this epoch next is to find all of it.
            self.in_flight.settle();
            return None;
        };
        self.delivered = self.known.progress().items_processed;
        self.next_known = self.known.next();
        let is_last = self.next_known.is_none();

        let mut others = Vec::new();
        for stream in &mut self.streams {
            // The sets keep pace with the known samples, the first batch of each coming at once.
            let behind = |done: usize| done * self.known_total < self.delivered * stream.total;
            while is_last || behind(stream.batches.progress().items_processed) {
                let Some(batch) = stream.batches.next() else { break };
                others.push((stream.name.clone(), batch));
            }
        }
        Some(OodBatch { known, others, is_last, in_flight: self.in_flight.clone() })
    }
}

impl<O> DataLoaderIterator<OodBatch<O>> for OodIterator<'_, O> {
    fn progress(&self) -> Progress {
        let streams = || self.streams.iter();
        let others = streams().map(|s| s.batches.progress().items_processed).sum::<usize>();
        let total = self.known_total + streams().map(|s| s.total).sum::<usize>();
        Progress::new(self.delivered + others, total)
    }
}

/// An in-distribution batch and the out-of-distribution batches that come with it.
#[derive(Debug)]
pub struct OodBatch<O> {
    known: O,
    others: Vec<(Arc<str>, O)>,
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
        let known = classify(self.known);
        let others = self.others.into_iter().map(|(name, batch)| (name, logits(batch))).collect();
        OodOutput::new(known, others, self.is_last, receipt)
    }

    /// The in-distribution batch.
    pub fn known(&self) -> &O {
        &self.known
    }

    /// The OOD batches, each with the name of its set.
    pub fn others(&self) -> impl Iterator<Item = (&str, &O)> {
        self.others.iter().map(|(name, batch)| (&**name, batch))
    }

    /// Whether this is the last batch of the epoch.
    pub fn is_last(&self) -> bool {
        self.is_last
    }
}
