use burn::tensor::{Tensor, backend::Backend};
use isomax_burn::{AnyDetector, Decision, DetectorError};
use isomax_models::{Backbone, ImageShapeError, Model};

use crate::{Bundle, BundleError, DecodeError, Preprocessing};

/// A network with its detector and its preprocessing: from image files to decisions.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Distribution, Tensor};
/// use isomax_bundle::{Normalization, Predictor, Preprocessing};
/// use isomax_burn::{DetectorConfig, HeadKind};
/// use isomax_models::{Backbone, CifarResNetConfig};
///
/// let device = Default::default();
/// let network = CifarResNetConfig::new(8, 3).with_head(HeadKind::IsoMaxPlus).init::<Flex>(&device);
/// let held_out = Tensor::random([20, 3, 32, 32], Distribution::Default, &device);
/// let detector = DetectorConfig::new().fit(network.head(), network.forward(held_out))?;
///
/// let preprocessing = Preprocessing::whole(32, Normalization::CIFAR10);
/// let predictor = Predictor::new(network, detector, preprocessing, &device)?;
/// let mut file = std::io::Cursor::new(Vec::new());
/// image::RgbImage::new(40, 30).write_to(&mut file, image::ImageFormat::Png)?;
/// assert!(predictor.decide_file(file.get_ref())?.class < 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Predictor<B: Backend, N> {
    network: N,
    detector: AnyDetector<B>,
    preprocessing: Preprocessing,
    device: B::Device,
}

/// How many images a network computes at once: as many pixels as `most` images of CIFAR have, or 8 photos.
///
/// ```
/// use isomax_bundle::images_at_once;
///
/// assert_eq!((images_at_once([32, 32], 64), images_at_once([224, 224], 64)), (64, 8));
/// ```
///
/// # Arguments
///
/// - `size`: height and width of an image, in pixels
/// - `most`: how many at most, at least 8
pub fn images_at_once([height, width]: [usize; 2], most: usize) -> usize {
    let pixels = height.saturating_mul(width).max(1);
    (most.saturating_mul(32 * 32) / pixels).clamp(8, most.max(8))
}

/// Why there is no decision on an image. See [`Predictor`] for an example.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecideError {
    /// It is no image.
    #[error("expected an image, but {0}")]
    Decode(#[from] DecodeError),
    /// The network overflows on it.
    #[error("the network gives logits that are not finite")]
    NotFinite,
    /// The network is not the one that the detector was fitted on, or the device gives no values back.
    #[error(transparent)]
    Detector(#[from] DetectorError),
}

/// Why a network, a detector and a preprocessing make no [`Predictor`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictorError {
    /// The network does not take images of the size that the preprocessing makes.
    #[error(transparent)]
    Images(#[from] ImageShapeError),
    /// The detector was fitted on another head or another temperature, or cannot be read.
    #[error(transparent)]
    Detector(#[from] DetectorError),
}

impl<B: Backend> Predictor<B, Model<B>> {
    /// The network of a bundle, which must be one of isomax-models; for others see [`Bundle::load_into`].
    ///
    /// # Errors
    ///
    /// [`BundleError`] if the network is another one, or if the bundle has no detector.
    pub fn from_bundle(bundle: &Bundle, device: &B::Device) -> Result<Self, BundleError> {
        Self::of_bundle(bundle, bundle.network(device)?, device)
    }

    /// As [`from_bundle`](Self::from_bundle), where values of the device can be waited for but not be had at once:
    /// WebGPU in a browser.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn from_bundle_async(
        bundle: &Bundle,
        device: &B::Device,
    ) -> Result<Self, BundleError> {
        let network = bundle.network::<B>(device)?;
        let preprocessing = bundle.manifest().preprocessing;
        check_images::<B, _>(&network, &preprocessing)
            .map_err(|source| BundleError::images(bundle.name(), source))?;
        let detector = bundle.detector(device)?;
        let checked = detector.check_head_async(network.head()).await;
        checked.map_err(|source| BundleError::detector(bundle.name(), source))?;
        Ok(Self { network, detector, preprocessing, device: device.clone() })
    }
}

impl<B: Backend, N: Backbone<B, Input = Tensor<B, 4>>> Predictor<B, N> {
    /// A network, the detector that was fitted on its outputs, of either kind, and what is done to images before.
    ///
    /// # Errors
    ///
    /// [`PredictorError`] if the detector was fitted on another head or another temperature, or if the network does
    /// not take images of the size that the preprocessing makes.
    pub fn new(
        network: N,
        detector: impl Into<AnyDetector<B>>,
        preprocessing: Preprocessing,
        device: &B::Device,
    ) -> Result<Self, PredictorError> {
        let detector = detector.into();
        check_images::<B, N>(&network, &preprocessing)?;
        detector.check_head(network.head())?;
        Ok(Self { network, detector, preprocessing, device: device.clone() })
    }

    /// A network with the weights of a bundle, and the detector and preprocessing of that.
    ///
    /// # Errors
    ///
    /// [`BundleError`] if the bundle has no detector or one of another head, or if the network does not take
    /// images of the size of the bundle.
    pub fn of_bundle(bundle: &Bundle, network: N, device: &B::Device) -> Result<Self, BundleError> {
        let detector = bundle.detector(device)?;
        Self::new(network, detector, bundle.manifest().preprocessing, device)
            .map_err(|source| BundleError::predictor(bundle.name(), source))
    }

    /// What is done to images before the network sees them.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// The detector.
    pub fn detector(&self) -> &AnyDetector<B> {
        &self.detector
    }

    /// The network.
    pub fn network(&self) -> &N {
        &self.network
    }

    /// From the bytes of an image file to what [`decide`](Self::decide) takes.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn read(&self, file: &[u8]) -> Result<Vec<u8>, DecodeError> {
        Ok(self.preprocessing.pixels(self.preprocessing.decode(file)?))
    }

    /// Decides on the bytes of one image file.
    ///
    /// # Errors
    ///
    /// [`DecideError`].
    pub fn decide_file(&self, file: &[u8]) -> Result<Decision, DecideError> {
        let pixels = self.read(file)?;
        let decisions = self.decide(&[&pixels])?;
        decisions.into_iter().next().flatten().ok_or(DecideError::NotFinite)
    }

    /// Decides on images, each as [`Preprocessing::pixels`] gives it, in one batch. There is no decision on an
    /// image whose features or logits are not finite; the others go on.
    ///
    /// # Errors
    ///
    /// [`DetectorError`] if the network has another number of classes than the detector, or if the device gives no
    /// values back.
    ///
    /// # Panics
    ///
    /// If an image has another size.
    pub fn decide(&self, images: &[&[u8]]) -> Result<Vec<Option<Decision>>, DetectorError> {
        match images.is_empty() {
            true => Ok(Vec::new()),
            false => self.detector.decide_rows(self.network.head(), self.features(images)),
        }
    }

    /// As [`decide_file`](Self::decide_file), where values of the device can be waited for but not be had at once:
    /// WebGPU in a browser.
    ///
    /// # Errors
    ///
    /// [`DecideError`].
    pub async fn decide_file_async(&self, file: &[u8]) -> Result<Decision, DecideError> {
        let pixels = self.read(file)?;
        let decisions = self.decide_async(&[&pixels]).await?;
        decisions.into_iter().next().flatten().ok_or(DecideError::NotFinite)
    }

    /// As [`decide`](Self::decide), where values of the device can be waited for but not be had at once.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// If an image has another size.
    pub async fn decide_async(
        &self,
        images: &[&[u8]],
    ) -> Result<Vec<Option<Decision>>, DetectorError> {
        match images.is_empty() {
            true => Ok(Vec::new()),
            false => {
                self.detector.decide_rows_async(self.network.head(), self.features(images)).await
            }
        }
    }

    fn features(&self, images: &[&[u8]]) -> Tensor<B, 2> {
        self.network.forward_features(self.preprocessing.tensor(images, &self.device))
    }
}

/// Makes sure that a network takes images of the size that a preprocessing makes.
fn check_images<B: Backend, N: Backbone<B>>(
    network: &N,
    preprocessing: &Preprocessing,
) -> Result<(), ImageShapeError> {
    let side = preprocessing.size as usize;
    network.check_images([1, crate::CHANNELS, side, side])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use burn::tensor::Distribution;
    use core::pin::pin;
    use core::task::{Context, Poll, Waker};
    use isomax_burn::{DetectorConfig, HeadKind};
    use isomax_models::CifarResNetConfig;

    /// What a future gives that waits for nothing.
    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("flex has values at once"),
        }
    }

    #[test]
    fn networks_must_take_the_size_of_the_images() -> Result<(), Box<dyn std::error::Error>> {
        let device = Default::default();
        let network = CifarResNetConfig::new(8, 3).with_head(HeadKind::IsoMaxPlus);
        let network = network.init::<Flex>(&device);
        let held_out = Tensor::random([20, 3, 32, 32], Distribution::Default, &device);
        let detector = DetectorConfig::new().fit(network.head(), network.forward(held_out))?;
        let preprocessing = Preprocessing::whole(2, crate::Normalization::CIFAR10);
        let error = Predictor::new(network, detector, preprocessing, &device).err();
        assert!(matches!(error, Some(PredictorError::Images(_))), "{error:?}");
        Ok(())
    }

    #[test]
    fn waiting_for_values_gives_the_same() -> Result<(), Box<dyn std::error::Error>> {
        let device = Default::default();
        let network = CifarResNetConfig::new(8, 3).with_head(HeadKind::IsoMaxPlus);
        let network = network.init::<Flex>(&device);
        let held_out = Tensor::random([20, 3, 32, 32], Distribution::Default, &device);
        let detector = DetectorConfig::new().fit(network.head(), network.forward(held_out))?;
        let preprocessing = Preprocessing::whole(32, crate::Normalization::CIFAR10);
        let predictor = Predictor::new(network, detector, preprocessing, &device)?;
        let images = [vec![7; 32 * 32 * 3], vec![200; 32 * 32 * 3]];
        let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        assert_eq!(now(predictor.decide_async(&images))?, predictor.decide(&images)?);
        let error = now(predictor.decide_file_async(b"no image")).err().ok_or("decided")?;
        assert!(matches!(error, DecideError::Decode(_)));
        Ok(())
    }
}
