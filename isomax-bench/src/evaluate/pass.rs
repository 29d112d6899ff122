//! One pass of a network over a set of images.

use burn::tensor::{Tensor, backend::Backend};
use isomax_burn::posthoc::Fitted;
use isomax_burn::{HostLogits, OodHead as _};

use super::EvaluateError;
use crate::data::{ImageSource, Normalization, tensor_of};
use crate::progress::Progress;
use crate::train::ImageNetwork;

/// Images that are computed at once.
const BATCH: usize = 200;

/// How images are brought before a network.
pub(super) struct Pass<'a, B: Backend> {
    pub(super) normalization: &'a Normalization,
    pub(super) device: &'a B::Device,
    pub(super) progress: &'a dyn Progress,
}

/// What a network makes of a set.
pub(super) struct Outputs {
    pub(super) logits: HostLogits,
    /// Of each method, one for each image.
    pub(super) scores: Vec<Vec<f64>>,
}

impl<B: Backend> Pass<'_, B> {
    /// Gives features and logits of each batch in turn.
    pub(super) fn run(
        &self,
        network: &impl ImageNetwork<B>,
        set: &str,
        images: &dyn ImageSource,
        mut take: impl FnMut(Tensor<B, 2>, Tensor<B, 2>) -> Result<(), EvaluateError>,
    ) -> Result<(), EvaluateError> {
        let [height, width] = images.size();
        let source = network.check_images([images.len(), 3, height, width]);
        source.map_err(|source| EvaluateError::Images { set: set.to_owned(), source })?;
        self.progress.start(images.len() as u64, &format!("evaluating {set}"));
        // As many pixels as so many images of CIFAR have, or 8 photos.
        let batch = (BATCH * 32 * 32 / (height * width).max(1)).clamp(8, BATCH);
        for start in (0..images.len()).step_by(batch) {
            let indices = start..images.len().min(start + batch);
            let count = indices.len();
            let batch = tensor_of(images, indices, self.normalization, self.device)?;
            let features = network.forward_features(batch);
            take(features.clone(), network.head().forward(features))?;
            self.progress.advance(count as u64);
        }
        self.progress.finish();
        Ok(())
    }

    /// The logits of a set, and the scores of methods.
    pub(super) fn scores(
        &self,
        network: &impl ImageNetwork<B>,
        set: &str,
        images: &dyn ImageSource,
        methods: &[&Fitted<B>],
    ) -> Result<Outputs, EvaluateError> {
        let (mut logits, mut num_classes) = (Vec::new(), 0);
        let mut scores = vec![Vec::new(); methods.len()];
        self.run(network, set, images, |features, batch| {
            for (method, scores) in methods.iter().zip(&mut scores) {
                scores.extend(
                    method.score(features.clone(), network.head()).into_data().iter::<f64>(),
                );
            }
            num_classes = batch.dims()[1];
            logits.extend(batch.into_data().iter::<f64>());
            Ok(())
        })?;
        let logits = HostLogits::new(logits, num_classes)
            .map_err(|source| EvaluateError::Metric { set: set.to_owned(), source })?;
        Ok(Outputs { logits, scores })
    }
}
