use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn::tensor::{Tensor, backend::Backend};

use super::{Decision, Detector, DetectorError, Threshold};
use crate::posthoc::PostHocDetector;
use crate::{HostLogits, OodHead};

/// A detector of either kind: by the logits of a head alone, or by a method that was fitted on features.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Distribution, Tensor};
/// use isomax_burn::{AnyDetector, DetectorConfig, HeadConfig, HeadKind};
///
/// let device = Default::default();
/// let head = HeadConfig::new(HeadKind::IsoMaxPlus, 64, 10).init::<Flex>(&device);
/// let features = |n| Tensor::<Flex, 2>::random([n, 64], Distribution::Default, &device);
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("detector.json");
/// DetectorConfig::new().fit(&head, head.forward(features(200)))?.save(&path)?;
///
/// let detector = AnyDetector::<Flex>::load(&path, &device)?; // or one of another kind
/// let decisions = detector.decide_rows(&head, features(3))?;
/// assert_eq!(decisions.len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub enum AnyDetector<B: Backend> {
    /// By logits.
    Logits(Detector),
    /// By a method.
    PostHoc(Box<PostHocDetector<B>>),
}

impl<B: Backend> From<Detector> for AnyDetector<B> {
    fn from(detector: Detector) -> Self {
        Self::Logits(detector)
    }
}

impl<B: Backend> From<PostHocDetector<B>> for AnyDetector<B> {
    fn from(detector: PostHocDetector<B>) -> Self {
        Self::PostHoc(Box::new(detector))
    }
}

impl<B: Backend> AsRef<Threshold> for AnyDetector<B> {
    fn as_ref(&self) -> &Threshold {
        match self {
            Self::Logits(detector) => detector.as_ref(),
            Self::PostHoc(detector) => (**detector).as_ref(),
        }
    }
}

impl<B: Backend> AnyDetector<B> {
    /// Reads a detector of either kind, told by the content of the file.
    ///
    /// # Errors
    ///
    /// Those of [`Detector::load`] or of [`PostHocDetector::load`].
    pub fn load(path: impl AsRef<Path>, device: &B::Device) -> Result<Self, DetectorError> {
        let path = path.as_ref();
        // Safetensors files begin with the length of a header, whose brace follows.
        let mut start = [0; 9];
        let read = File::open(path).and_then(|mut file| file.read(&mut start));
        let length = read.map_err(|source| DetectorError::Io { path: path.to_owned(), source })?;
        match length == start.len() && start[8] == b'{' && start[0] != b'{' {
            true => Ok(PostHocDetector::load(path, device)?.into()),
            false => Ok(Detector::load(path)?.into()),
        }
    }

    /// The score or the method, if it has a name.
    pub fn score_name(&self) -> Option<String> {
        match self {
            Self::Logits(detector) => detector.score_name().map(str::to_owned),
            Self::PostHoc(detector) => Some(detector.method().to_string()),
        }
    }

    /// The name of the head that it belongs to, unless it was fitted on bare scores.
    pub fn head(&self) -> Option<&str> {
        match self {
            Self::Logits(detector) => detector.head(),
            Self::PostHoc(detector) => Some(detector.head()),
        }
    }

    /// The number of classes of that head.
    pub fn num_classes(&self) -> Option<usize> {
        match self {
            Self::Logits(detector) => detector.num_classes(),
            Self::PostHoc(detector) => Some(detector.num_classes()),
        }
    }

    /// The temperature that confidences are computed at, unless it was fitted on bare scores.
    pub fn confidence_temperature(&self) -> Option<f32> {
        match self {
            Self::Logits(detector) => detector.confidence_temperature(),
            Self::PostHoc(detector) => Some(detector.confidence_temperature()),
        }
    }

    /// The threshold, and what it promises.
    pub fn threshold(&self) -> &Threshold {
        self.as_ref()
    }

    /// Checks that a head is the one that it belongs to.
    ///
    /// # Errors
    ///
    /// Those of [`Detector::check_head`] or of [`PostHocDetector::check_head`].
    pub fn check_head(&self, head: &impl OodHead<B>) -> Result<(), DetectorError> {
        match self {
            Self::Logits(detector) => detector.check_head(head.name(), head.temperature()),
            Self::PostHoc(detector) => detector.check_head(head),
        }
    }

    /// As [`check_head`](Self::check_head), where values of the device can be waited for but not be had at once: WebGPU
    /// in a browser.
    ///
    /// # Errors
    ///
    /// As there, and [`DetectorError::Device`].
    pub async fn check_head_async(&self, head: &impl OodHead<B>) -> Result<(), DetectorError> {
        match self {
            Self::Logits(detector) => {
                let temperature = head.temperature_param().val().into_data_async().await;
                let temperature = temperature.map_err(unread)?.iter::<f32>().next();
                detector.check_head(head.name(), temperature.unwrap_or(f32::NAN))
            }
            Self::PostHoc(detector) => detector.check_head_async(head).await,
        }
    }

    /// Decides on each row of features by itself: there is none for a row that is not finite, or whose logits are not.
    /// That the head is the right one is for [`check_head`](Self::check_head) to say.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, num_features]`
    ///
    /// # Errors
    ///
    /// [`DetectorError::ClassCountMismatch`], [`DetectorError::NoHead`] or [`DetectorError::Device`].
    ///
    /// # Panics
    ///
    /// If the features have another width than the head takes, or if the device cannot be waited for.
    pub fn decide_rows(
        &self,
        head: &impl OodHead<B>,
        features: Tensor<B, 2>,
    ) -> Result<Vec<Option<Decision>>, DetectorError> {
        burn::tensor::try_read_sync(self.decide_rows_async(head, features))
            .unwrap_or_else(|| panic!("This device cannot be waited for: use decide_rows_async"))
    }

    /// As [`decide_rows`](Self::decide_rows), where values of the device can be waited for but not be had at once.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// If the features have another width than the head takes.
    pub async fn decide_rows_async(
        &self,
        head: &impl OodHead<B>,
        features: Tensor<B, 2>,
    ) -> Result<Vec<Option<Decision>>, DetectorError> {
        if features.dims()[0] == 0 {
            return Ok(Vec::new());
        }
        let logits = head.forward(features.clone());
        let [count, num_classes] = logits.dims();
        let logits: Vec<f64> =
            logits.into_data_async().await.map_err(unread)?.iter::<f64>().collect();
        let scores: Vec<f64> = match self {
            Self::Logits(_) => vec![0.0; count],
            Self::PostHoc(detector) => {
                let scores = detector.fitted().score_async(features, head).await;
                let scores = scores.map_err(DetectorError::Device)?.into_data_async().await;
                scores.map_err(unread)?.iter().collect()
            }
        };
        let rows = logits.chunks_exact(num_classes.max(1)).zip(&scores);
        let is_finite: Vec<bool> = rows
            .map(|(row, score)| row.iter().all(|logit| logit.is_finite()) && !score.is_nan())
            .collect();
        let kept = |width: usize, values: &[f64]| -> Vec<f64> {
            let rows = values.chunks_exact(width).zip(&is_finite);
            rows.filter(|(_, finite)| **finite).flat_map(|(row, _)| row.iter().copied()).collect()
        };
        let finite = kept(num_classes.max(1), &logits);
        let mut decisions = if finite.is_empty() {
            Vec::new()
        } else {
            let logits = HostLogits::new(finite, num_classes)?;
            match self {
                Self::Logits(detector) => detector.decide_host(&logits)?,
                Self::PostHoc(detector) => detector.decide_host(&logits, &kept(1, &scores))?,
            }
        }
        .into_iter();
        let decide = |finite: bool| if finite { decisions.next() } else { None };
        Ok(is_finite.into_iter().map(decide).collect())
    }
}

fn unread(error: impl core::fmt::Debug) -> DetectorError {
    DetectorError::Device(format!("{error:?}"))
}
