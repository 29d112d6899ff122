//! A network with its loss, as Burn's Learner trains it.

use core::marker::PhantomData;

use burn::backend::Autodiff;
use burn::module::{AutodiffModule, HasAutodiffModule, ModuleDisplay};
use burn::prelude::*;
use burn::tensor::backend::AutodiffBackend;
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};
use isomax_burn::train::{OodBatch, OodOutput};
use isomax_burn::{
    HeadKind, LogitNormLossConfig, Loss, LossConfig, OutlierExposure, OutlierExposureConfig, fpr,
};
use isomax_models::Backbone;

use super::TrainingConfig;
use crate::data::ImageBatch;

/// A network for images, such as can be evaluated: a [`Backbone`] that is a module. There is nothing to
/// implement.
///
/// ```
/// use burn::tensor::{Int, Tensor, backend::Backend};
/// use isomax_bench::backend::{InferenceBackend, device};
/// use isomax_bench::train::ImageNetwork;
/// use isomax_models::{Backbone, CifarResNetConfig};
///
/// fn classes<B: Backend>(
///     network: &impl ImageNetwork<B>,
///     images: Tensor<B, 4>,
/// ) -> Tensor<B, 2, Int> {
///     network.forward(images).argmax(1)
/// }
///
/// let network = CifarResNetConfig::new(8, 10).init::<InferenceBackend>(&device());
/// let images = Tensor::zeros([2, 3, 32, 32], &device());
/// assert_eq!(classes::<InferenceBackend>(&network, images).dims(), [2, 1]);
/// ```
pub trait ImageNetwork<B: Backend>:
    Backbone<B, Input = Tensor<B, 4>> + Module<B> + ModuleDisplay
{
}

impl<B: Backend, N> ImageNetwork<B> for N where
    N: Backbone<B, Input = Tensor<B, 4>> + Module<B> + ModuleDisplay
{
}

/// A network for images that can take gradients as well, as ODIN does. There is nothing to implement: every
/// [`Backbone`] that derives Burn's `Module` is one.
///
/// ```
/// use burn::backend::Autodiff;
/// use burn::module::{AutodiffModule, HasAutodiffModule};
/// use burn::tensor::backend::Backend;
/// use isomax_bench::backend::{InferenceBackend, device};
/// use isomax_bench::train::NetworkWithGradients;
/// use isomax_models::CifarResNetConfig;
///
/// fn lift<B: Backend, N: NetworkWithGradients<B>>(
///     network: N,
/// ) -> <N as HasAutodiffModule<Autodiff<B>>>::TrainModule {
///     AutodiffModule::from_inner(network)
/// }
///
/// lift::<InferenceBackend, _>(CifarResNetConfig::new(8, 10).init(&device()));
/// ```
pub trait NetworkWithGradients<B: Backend>:
    ImageNetwork<B> + HasAutodiffModule<Autodiff<B>, TrainModule: ImageNetwork<Autodiff<B>>>
{
}

impl<B: Backend, N> NetworkWithGradients<B> for N where
    N: ImageNetwork<B> + HasAutodiffModule<Autodiff<B>, TrainModule: ImageNetwork<Autodiff<B>>>
{
}

/// A network for images that can be trained, here and without gradients. There is nothing to implement:
/// every [`Backbone`] that derives Burn's `Module` is one.
///
/// ```
/// use burn::tensor::backend::AutodiffBackend;
/// use isomax_bench::backend::{TrainingBackend, device};
/// use isomax_bench::train::TrainableNetwork;
/// use isomax_models::{CifarResNetConfig, num_trainable_params};
///
/// fn size<B: AutodiffBackend>(network: &impl TrainableNetwork<B>) -> usize {
///     num_trainable_params::<B, _>(network)
/// }
///
/// let network = CifarResNetConfig::new(8, 10).init::<TrainingBackend>(&device());
/// assert!(size::<TrainingBackend>(&network) > 10_000);
/// ```
pub trait TrainableNetwork<B: AutodiffBackend>:
    ImageNetwork<B> + AutodiffModule<B, InnerModule: NetworkWithGradients<B::InnerBackend>> + 'static
{
}

impl<B: AutodiffBackend, N> TrainableNetwork<B> for N where
    N: ImageNetwork<B>
        + AutodiffModule<B, InnerModule: NetworkWithGradients<B::InnerBackend>>
        + 'static
{
}

/// A network and the loss of its head: what Burn's Learner trains, and what its checkpoints hold.
///
/// ```
/// use isomax_bench::backend::{TrainingBackend, device};
/// use isomax_bench::data::PublishedSet;
/// use isomax_bench::train::{Classifier, TrainingConfig};
/// use isomax_burn::{HeadKind, OodHead};
/// use isomax_models::{Backbone, CifarResNetConfig};
///
/// let config =
///     TrainingConfig::published(PublishedSet::Cifar10, "resnet-8".parse()?, HeadKind::IsoMaxPlus);
/// let network = CifarResNetConfig::new(8, 10).with_head(config.head);
/// let network = network.init::<TrainingBackend>(&device());
/// let classifier = Classifier::<TrainingBackend, _>::new(&config, network);
/// assert_eq!(classifier.network.head().kind(), HeadKind::IsoMaxPlus);
/// # Ok::<(), isomax_burn::UnknownName>(())
/// ```
#[derive(Module, Debug)]
pub struct Classifier<B: Backend, N: Module<B>> {
    /// The network.
    pub network: N,
    loss: Loss,
    fpr: bool,
    /// The term of images that are of no class, if there are any.
    outliers: Option<OutlierExposure>,
    /// Gradients of so many batches are added up for a step.
    batches_per_step: usize,
    /// Each on so many ranks.
    ranks: usize,
    #[module(skip)]
    backend: PhantomData<B>,
}

impl<B: Backend, N: Module<B>> Classifier<B, N> {
    /// A network with the loss of a configuration.
    pub fn new(config: &TrainingConfig, network: N) -> Self {
        let loss = LossConfig::new(config.head).with_entropic_scale(config.entropic_scale);
        let loss = match config.logit_norm {
            Some(temperature) => {
                let config = LogitNormLossConfig::new().with_temperature(temperature);
                Loss::LogitNorm(config.init())
            }
            None => loss.init(),
        };
        let scale = match config.head {
            HeadKind::SoftMax => 1.0,
            _ => config.entropic_scale,
        };
        let outliers = OutlierExposureConfig { weight: config.outlier_weight, scale };
        Self {
            network,
            loss,
            fpr: config.fpr,
            outliers: config.outliers.is_some().then(|| outliers.init()),
            batches_per_step: config.gradient_accumulation * config.devices,
            ranks: 1,
            backend: PhantomData,
        }
    }

    /// Takes so much less of the loss that the gradients of so many ranks add up to their mean.
    pub fn with_ranks(mut self, ranks: usize) -> Self {
        self.ranks = ranks;
        self
    }
}

impl<B: Backend, N: ImageNetwork<B>> Classifier<B, N> {
    /// The plain step: every image as it is. What is shown of it is what has a class.
    fn classify(&self, batch: ImageBatch<B>) -> (Tensor<B, 1>, ClassificationOutput<B>) {
        let logits = self.network.forward(batch.images);
        let ([all, _], [count]) = (logits.dims(), batch.targets.dims());
        let (logits, outliers) = match all > count {
            true => {
                (logits.clone().narrow(0, 0, count), Some(logits.narrow(0, count, all - count)))
            }
            false => (logits, None),
        };
        let loss = self.loss.forward(logits.clone(), batch.targets.clone());
        let loss = match self.outliers.as_ref().zip(outliers) {
            Some((term, outliers)) => loss + term.forward(outliers),
            None => loss,
        };
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

impl<B: AutodiffBackend, N: TrainableNetwork<B>> TrainStep for Classifier<B, N> {
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
        // Burn adds gradients up: the mean keeps the learning rate and the weight decay what they are.
        let share = match self.batches_per_step * self.ranks {
            1 => loss,
            batches => loss / batches as f32,
        };
        TrainOutput::new(self, share.backward(), output)
    }
}

impl<B: Backend, N: ImageNetwork<B>> InferenceStep for Classifier<B, N> {
    type Input = OodBatch<ImageBatch<B>>;
    type Output = OodOutput<B>;

    fn step(&self, batch: OodBatch<ImageBatch<B>>) -> OodOutput<B> {
        batch.evaluate(
            |id| {
                let logits = self.network.forward(id.images);
                let loss = self.loss.forward_valid(logits.clone(), id.targets.clone());
                output(loss, logits, id.targets)
            },
            |ood| self.network.forward(ood.images),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::PublishedSet;
    use burn::backend::{Autodiff, Flex};
    use burn::tensor::{Distribution, Tolerance};
    use isomax_burn::HeadKind;
    use isomax_models::{Architecture, CifarResNet, CifarResNetConfig};

    type Trained = Autodiff<Flex>;

    /// The gradient of the first convolution after a step.
    fn gradient(
        network: &CifarResNet<Trained>,
        images: &Tensor<Trained, 4>,
        accumulation: usize,
        devices: usize,
    ) -> Tensor<Flex, 4> {
        let architecture = Architecture::CifarResNet { depth: 8 };
        let published =
            TrainingConfig::published(PublishedSet::Cifar10, architecture, HeadKind::IsoMaxPlus);
        let config = TrainingConfig { gradient_accumulation: accumulation, devices, ..published };
        let classifier = Classifier::<Trained, _>::new(&config, network.clone());
        let targets = Tensor::from_ints([0, 1, 2, 3], &images.device());
        let images = images.clone();
        let output = TrainStep::step(&classifier, ImageBatch { images, targets });
        let id = classifier.network.conv1.weight.id;
        output.grads.get::<Flex, 4>(id).expect("it is trained")
    }

    #[test]
    fn added_up_gradients_are_a_mean() {
        let device = Default::default();
        let network = CifarResNetConfig::new(8, 10).with_head(HeadKind::IsoMaxPlus).init(&device);
        let images = Tensor::random([4, 3, 32, 32], Distribution::Default, &device);
        // Weights are drawn when they are first read.
        network.forward(images.clone());
        let gradient = |accumulation, devices| gradient(&network, &images, accumulation, devices);
        let whole = gradient(1, 1);
        assert!(whole.clone().abs().max().into_scalar() > 1e-4);
        for (accumulation, devices) in [(4, 1), (2, 2)] {
            let share = gradient(accumulation, devices) * 4.0;
            share.into_data().assert_approx_eq::<f32>(&whole.to_data(), Tolerance::relative(1e-4));
        }
    }

    #[test]
    fn outliers_are_pushed_towards_no_class() {
        let architecture = Architecture::CifarResNet { depth: 8 };
        let published =
            TrainingConfig::published(PublishedSet::Cifar10, architecture, HeadKind::SoftMax);
        let source = Some("noise".parse().expect("a name"));
        let config = TrainingConfig { outliers: source, ..published.clone() };
        let device = Default::default();
        let network = CifarResNetConfig::new(8, 10).init(&device);
        let images = Tensor::random([6, 3, 32, 32], Distribution::Default, &device);
        let logits = network.forward(images.clone());
        let with_outliers = Classifier::<Trained, _>::new(&config, network.clone());
        let plain = Classifier::<Trained, _>::new(&published, network.clone());
        let targets = Tensor::from_ints([0, 1, 2, 3], &device);
        let batch = ImageBatch { images, targets };
        let term = OutlierExposureConfig::new().init().forward(logits.narrow(0, 4, 2));
        let (loss, shown) = with_outliers.classify(batch.clone());
        let (without, _) = plain.classify(batch);
        let term = term.into_data();
        (loss - without).into_data().assert_approx_eq::<f32>(&term, Tolerance::relative(1e-3));
        assert_eq!(shown.output.dims(), [4, 10]);
    }
}
