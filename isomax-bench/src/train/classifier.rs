//! A network with its loss, as Burn's Learner trains it.

use burn::prelude::*;
use burn::tensor::backend::AutodiffBackend;
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};
use isomax_burn::train::{OodBatch, OodOutput};
use isomax_burn::{Loss, LossConfig, fpr};
use isomax_models::{Model, ModelConfig};

use super::TrainingConfig;
use crate::data::ImageBatch;

/// A network and the loss of its head.
#[derive(Module, Debug)]
pub struct Classifier<B: Backend> {
    /// The network.
    pub network: Model<B>,
    loss: Loss,
    fpr: bool,
}

impl<B: Backend> Classifier<B> {
    /// A new network, drawn from the random numbers of the backend.
    pub fn new(config: &TrainingConfig, device: &B::Device) -> Self {
        let loss = LossConfig::new(config.head).with_entropic_scale(config.entropic_scale);
        Self {
            network: ModelConfig::new(config.architecture, config.known.num_classes())
                .with_head(config.head)
                .init(device),
            loss: loss.init(),
            fpr: config.fpr,
        }
    }

    /// The plain step: every image as it is.
    fn classify(&self, batch: ImageBatch<B>) -> (Tensor<B, 1>, ClassificationOutput<B>) {
        let logits = self.network.forward(batch.images);
        let loss = self.loss.forward(logits.clone(), batch.targets.clone());
        (loss.clone(), output(loss, logits, batch.targets))
    }

    /// The step of fractional probability regularisation. The loader has put the images into a
    /// random order, so that the halves are other ones in each epoch. What is shown of it is the
    /// half that is left alone: mixed images have no class to be right about.
    fn classify_mixed(
        &self,
        loss: &isomax_burn::DisMaxLoss,
        batch: ImageBatch<B>,
    ) -> (Tensor<B, 1>, ClassificationOutput<B>) {
        let [count] = batch.targets.dims();
        let logits = self.network.forward(fpr::mix_second_half(batch.images));
        let value = loss.forward_fpr(logits.clone(), batch.targets.clone());
        let half = 0..count / 2;
        let shown =
            output(value.clone(), logits.slice([half.clone()]), batch.targets.slice([half]));
        (value, shown)
    }
}

/// The loss once for each image, so that the loss of an epoch is the mean over images.
fn output<B: Backend>(
    loss: Tensor<B, 1>,
    logits: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
) -> ClassificationOutput<B> {
    let count = targets.dims()[0];
    ClassificationOutput::new(loss.detach().expand([count]), logits.detach(), targets)
}

impl<B: AutodiffBackend> TrainStep for Classifier<B> {
    type Input = ImageBatch<B>;
    type Output = ClassificationOutput<B>;

    fn step(&self, batch: ImageBatch<B>) -> TrainOutput<ClassificationOutput<B>> {
        let (loss, output) = match &self.loss {
            // A last batch of one image has no second half.
            Loss::DisMax(loss) if self.fpr && batch.targets.dims()[0] >= 2 => {
                self.classify_mixed(loss, batch)
            }
            _ => self.classify(batch),
        };
        TrainOutput::new(self, loss.backward(), output)
    }
}

impl<B: Backend> InferenceStep for Classifier<B> {
    type Input = OodBatch<ImageBatch<B>>;
    type Output = OodOutput<B>;

    fn step(&self, batch: OodBatch<ImageBatch<B>>) -> OodOutput<B> {
        batch.evaluate(
            |known| {
                let logits = self.network.forward(known.images);
                let loss = self.loss.forward_valid(logits.clone(), known.targets.clone());
                output(loss, logits, known.targets)
            },
            |other| self.network.forward(other.images),
        )
    }
}
