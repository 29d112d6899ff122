use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::backend::Flex;
use burn::tensor::{Tensor, backend::Backend};
use burn::train::ClassificationOutput;
use burn::train::metric::{
    AccuracyInput, Adaptor, AurocInput, ConfusionStatsInput, ItemLazy, LossInput, PerplexityInput,
    TopKAccuracyInput,
};

use super::in_flight::Receipt;

/// The output of a validation step over an [`OodBatch`](super::OodBatch), which has an example.
///
/// Burn's own metrics see the in-distribution part only; the loss counts with the number of its
/// samples, so that the epoch's loss is the mean over samples, not over batches.
pub struct OodOutput<B: Backend> {
    id: ClassificationOutput<B>,
    ood: Vec<(Arc<str>, Tensor<B, 2>)>,
    is_last: bool,
    receipt: Receipt,
    /// Tells this output from all others, since several metrics read it.
    batch: u64,
}

impl<B: Backend> OodOutput<B> {
    pub(super) fn new(
        id: ClassificationOutput<B>,
        ood: Vec<(Arc<str>, Tensor<B, 2>)>,
        is_last: bool,
        receipt: Receipt,
    ) -> Self {
        static BATCHES: AtomicU64 = AtomicU64::new(0);
        let batch = BATCHES.fetch_add(1, Ordering::Relaxed);
        Self { id, ood, is_last, receipt, batch }
    }

    /// The output for the in-distribution samples.
    pub fn id(&self) -> &ClassificationOutput<B> {
        &self.id
    }
}

impl<B: Backend> ItemLazy for OodOutput<B> {
    type ItemSync = OodOutput<Flex>;

    fn sync(self) -> OodOutput<Flex> {
        self.receipt.acknowledge();
        let device = Default::default();
        let host = |(name, logits): (Arc<str>, Tensor<B, 2>)| {
            (name, Tensor::from_data(logits.into_data().convert::<f32>(), &device))
        };
        OodOutput {
            id: self.id.sync(),
            ood: self.ood.into_iter().map(host).collect(),
            is_last: self.is_last,
            receipt: self.receipt,
            batch: self.batch,
        }
    }
}

/// What an [`OodMetric`](super::OodMetric) reads: raw logits of both kinds. Burn makes it from an
/// [`OodOutput`]: the code of a model never meets it.
pub struct OodInput {
    pub(super) id: Tensor<Flex, 2>,
    pub(super) ood: Vec<(Arc<str>, Tensor<Flex, 2>)>,
    pub(super) is_last: bool,
    pub(super) batch: u64,
}

impl Adaptor<OodInput> for OodOutput<Flex> {
    fn adapt(&self) -> OodInput {
        OodInput {
            id: self.id.output.clone(),
            ood: self.ood.clone(),
            is_last: self.is_last,
            batch: self.batch,
        }
    }
}

impl<B: Backend> Adaptor<LossInput<B>> for OodOutput<B> {
    fn adapt(&self) -> LossInput<B> {
        let [samples, _] = self.id.output.dims();
        LossInput::new(match self.id.loss.dims() {
            [1] => self.id.loss.clone().expand([samples]),
            _ => self.id.loss.clone(),
        })
    }
}

/// Metrics that see the in-distribution output as they would see it alone.
macro_rules! adapt_id {
    ($($input:ident),+) => {
        $(impl<B: Backend> Adaptor<$input<B>> for OodOutput<B> {
            fn adapt(&self) -> $input<B> {
                self.id.adapt()
            }
        })+
    };
}

adapt_id!(AccuracyInput, AurocInput, ConfusionStatsInput, PerplexityInput, TopKAccuracyInput);
