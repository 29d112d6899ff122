use std::sync::Arc;

use burn::backend::Flex;
use burn::tensor::{Tensor, backend::Backend};
use burn::train::ClassificationOutput;
use burn::train::metric::{
    AccuracyInput, Adaptor, AurocInput, ConfusionStatsInput, ItemLazy, LossInput, PerplexityInput,
    TopKAccuracyInput,
};

use super::in_flight::Receipt;

/// The output of a validation step over an [`OodBatch`](super::OodBatch).
///
/// Burn's own metrics see the in-distribution part only; the loss counts with the number of its
/// samples, so that the epoch's loss is the mean over samples, not over batches.
pub struct OodOutput<B: Backend> {
    known: ClassificationOutput<B>,
    others: Vec<(Arc<str>, Tensor<B, 2>)>,
    is_last: bool,
    receipt: Receipt,
}

impl<B: Backend> OodOutput<B> {
    pub(super) fn new(
        known: ClassificationOutput<B>,
        others: Vec<(Arc<str>, Tensor<B, 2>)>,
        is_last: bool,
        receipt: Receipt,
    ) -> Self {
        Self { known, others, is_last, receipt }
    }

    /// The output for the in-distribution samples.
    pub fn known(&self) -> &ClassificationOutput<B> {
        &self.known
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
            known: self.known.sync(),
            others: self.others.into_iter().map(host).collect(),
            is_last: self.is_last,
            receipt: self.receipt,
        }
    }
}

/// What an [`OodMetric`](super::OodMetric) reads: raw logits of both kinds.
pub struct OodInput {
    pub(super) known: Tensor<Flex, 2>,
    pub(super) others: Vec<(Arc<str>, Tensor<Flex, 2>)>,
    pub(super) is_last: bool,
}

impl Adaptor<OodInput> for OodOutput<Flex> {
    fn adapt(&self) -> OodInput {
        OodInput {
            known: self.known.output.clone(),
            others: self.others.clone(),
            is_last: self.is_last,
        }
    }
}

impl<B: Backend> Adaptor<LossInput<B>> for OodOutput<B> {
    fn adapt(&self) -> LossInput<B> {
        let [samples, _] = self.known.output.dims();
        LossInput::new(match self.known.loss.dims() {
            [1] => self.known.loss.clone().expand([samples]),
            _ => self.known.loss.clone(),
        })
    }
}

/// Metrics that see the in-distribution output as they would see it alone.
macro_rules! adapt_known {
    ($($input:ident),+) => {
        $(impl<B: Backend> Adaptor<$input<B>> for OodOutput<B> {
            fn adapt(&self) -> $input<B> {
                self.known.adapt()
            }
        })+
    };
}

adapt_known!(AccuracyInput, AurocInput, ConfusionStatsInput, PerplexityInput, TopKAccuracyInput);
