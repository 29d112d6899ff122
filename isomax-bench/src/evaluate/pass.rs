//! One pass of a network over a set of images.

use burn::tensor::{Tensor, backend::Backend};
use isomax_bundle::images_at_once;
use isomax_burn::{HostLogits, OodHead as _};

use super::posthoc::Scorer;
use super::{EvaluateError, NetworkWithGradients};
use crate::data::{ImageSource, Normalization, tensor_of};
use crate::progress::Progress;

/// Images that are computed at once.
const BATCH: usize = 200;

/// How images are brought before a network.
pub(super) struct Pass<'a, B: Backend> {
    pub(super) normalization: &'a Normalization,
    pub(super) device: &'a B::Device,
    pub(super) progress: &'a dyn Progress,
}

/// Images as the network takes them, and what it makes of them.
pub(super) struct Batch<B: Backend> {
    pub(super) images: Tensor<B, 4>,
    pub(super) features: Tensor<B, 2>,
    pub(super) logits: Tensor<B, 2>,
}

/// What a network makes of a set.
pub(super) struct Outputs {
    pub(super) logits: HostLogits,
    /// Of each method, one for each image.
    pub(super) scores: Vec<Vec<f64>>,
}

impl<B: Backend> Pass<'_, B> {
    /// Gives each batch in turn.
    pub(super) fn run(
        &self,
        network: &impl NetworkWithGradients<B>,
        set: &str,
        images: &dyn ImageSource,
        mut take: impl FnMut(Batch<B>) -> Result<(), EvaluateError>,
    ) -> Result<(), EvaluateError> {
        let [height, width] = images.size();
        let source = network.check_images([images.len(), 3, height, width]);
        source.map_err(|source| EvaluateError::Images { set: set.to_owned(), source })?;
        self.progress.start(images.len() as u64, &format!("evaluating {set}"));
        let batch = images_at_once([height, width], BATCH);
        for start in (0..images.len()).step_by(batch) {
            let indices = start..images.len().min(start + batch);
            let count = indices.len();
            let images = tensor_of(images, indices, self.normalization, self.device)?;
            let features = network.forward_features(images.clone());
            let logits = network.head().forward(features.clone());
            take(Batch { images, features, logits })?;
            self.progress.advance(count as u64);
        }
        self.progress.finish();
        Ok(())
    }

    /// The logits of a set, and the scores of methods.
    pub(super) fn scores(
        &self,
        network: &impl NetworkWithGradients<B>,
        set: &str,
        images: &dyn ImageSource,
        methods: &[&Scorer<B>],
    ) -> Result<Outputs, EvaluateError> {
        let (mut logits, mut num_classes) = (Vec::new(), 0);
        let mut scores = vec![Vec::new(); methods.len()];
        self.run(network, set, images, |batch| {
            for (method, scores) in methods.iter().zip(&mut scores) {
                scores.extend(method.score(network, &batch));
            }
            num_classes = batch.logits.dims()[1];
            logits.extend(batch.logits.into_data().iter::<f64>());
            Ok(())
        })?;
        let logits = HostLogits::new(logits, num_classes)
            .map_err(|source| EvaluateError::Metric { set: set.to_owned(), source })?;
        Ok(Outputs { logits, scores })
    }
}
