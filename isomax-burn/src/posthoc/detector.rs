use core::fmt;

use burn::tensor::{Tensor, TensorData, backend::Backend};

use super::fitted::Sizes;
use super::{Fitted, Method};
use crate::detector::{Threshold, check_temperature, check_temperatures};
use crate::{
    Decision, DetectorConfig, DetectorError, HostLogits, OodHead, Promise, TemperatureFit,
    TemperatureObjective,
};

/// A fitted method, a threshold, and what both belong to: what a network that is trained already needs in order to
/// say "I do not know this". For scores of logits, [`Detector`](crate::Detector) does the same in a file of JSON.
///
/// Stored as one safetensors file without any pickle; reading checks that its values fit each other.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Distribution, Int, Tensor};
/// use isomax_burn::posthoc::{BankConfig, FeatureStatistics, Method, PostHocDetector};
/// use isomax_burn::{DetectorConfig, OodHead, SoftMaxHeadConfig};
///
/// let device = Default::default();
/// let head = SoftMaxHeadConfig::new(8, 2).init::<Flex>(&device);
/// let features = |n| Tensor::<Flex, 2>::random([n, 8], Distribution::Default, &device);
/// let labels = Tensor::<Flex, 1, Int>::from_ints([0, 1], &device).repeat_dim(0, 50);
///
/// let method: Method = "mahalanobis:unit".parse()?;
/// let mut statistics = FeatureStatistics::new(method.needs(), 8, 2, BankConfig::new());
/// let training = features(100);
/// statistics.update(training.clone(), head.forward(training), labels)?;
/// let fitted = statistics.fit(&method, &head)?;
///
/// let config = DetectorConfig::new().with_target_tpr(0.95);
/// let detector = PostHocDetector::fit(&config, fitted, &head, features(200))?;
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("detector.safetensors");
/// detector.save(&path)?;
///
/// let detector = PostHocDetector::load(&path, &device)?;
/// for decision in detector.decide(&head, features(3))? {
///     println!("class {}, in distribution: {}", decision.class, decision.in_distribution);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct PostHocDetector<B: Backend> {
    pub(super) fitted: Fitted<B>,
    pub(super) threshold: Threshold,
    pub(super) head: FittedHead,
}

/// What the detector belongs to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FittedHead {
    pub(super) name: String,
    pub(super) sizes: Sizes,
    /// The temperature that the logits were divided by.
    pub(super) temperature: f32,
    /// The temperature that confidences are computed at.
    pub(super) confidence_temperature: f32,
    /// What the head makes of a few features that are always the same, at temperature 1.
    pub(super) probe: Vec<f32>,
}

/// How many features tell one head from another.
pub(super) const PROBES: usize = 4;

/// How far saving weights in half precision may move a logit, relatively to the largest.
const HALF_PRECISION: f32 = 2e-3;

impl<B: Backend> PostHocDetector<B> {
    /// Puts a threshold on the scores of held-out in-distribution samples. It needs no OOD samples. The samples must
    /// not be those that the method was fitted on.
    ///
    /// # Arguments
    ///
    /// - `config`: the share to accept and what is promised; the method is the score, so it must name none
    /// - `features`: those of the held-out samples, `[num_samples, num_features]`
    ///
    /// # Errors
    ///
    /// [`DetectorError`], as [`DetectorConfig::fit`] has it.
    pub fn fit(
        config: &DetectorConfig,
        fitted: Fitted<B>,
        head: &impl OodHead<B>,
        features: Tensor<B, 2>,
    ) -> Result<Self, DetectorError> {
        check_width(head.num_features(), &features)?;
        let scores: Vec<f64> = fitted.score(features, head).into_data().iter().collect();
        Self::fit_host(config, fitted, head, &scores)
    }

    /// As [`fit`](Self::fit), on scores that were computed before.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn fit_host(
        config: &DetectorConfig,
        fitted: Fitted<B>,
        head: &impl OodHead<B>,
        scores: &[f64],
    ) -> Result<Self, DetectorError> {
        let temperature = head.temperature();
        check_temperature(temperature)?;
        if let Some(score) = config.score_name() {
            let expected = "none, since the method gives the scores";
            return Err(DetectorError::invalid("score", expected, score));
        }
        let threshold = config.threshold(scores, |sample| 16.0 * EPSILON * scores[sample].abs())?;
        let sizes = Sizes { num_classes: head.num_classes(), num_features: head.num_features() };
        let probe = probe_logits(head, temperature);
        let head = FittedHead {
            name: head.name().to_owned(),
            sizes,
            temperature,
            confidence_temperature: temperature,
            probe,
        };
        Ok(Self { fitted, threshold, head })
    }

    /// Decides on a batch.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, num_features]`, those that the head gets
    ///
    /// # Errors
    ///
    /// What [`check_head`](Self::check_head) says, [`DetectorError::FeatureWidth`], and [`DetectorError::Metric`] if a
    /// logit is not finite.
    pub fn decide(
        &self,
        head: &impl OodHead<B>,
        features: Tensor<B, 2>,
    ) -> Result<Vec<Decision>, DetectorError> {
        self.check_head(head)?;
        check_width(self.head.sizes.num_features, &features)?;
        if features.dims()[0] == 0 {
            return Ok(Vec::new());
        }
        let scores = self.fitted.score(features.clone(), head);
        let logits = HostLogits::read(head.forward(features))?;
        let scores: Vec<f64> = scores.into_data().iter().collect();
        self.decide_host(&logits, &scores)
    }

    /// Decides on logits and scores that are in host memory already. That they are those of the right head is for
    /// [`check_head`](Self::check_head) to say.
    ///
    /// # Errors
    ///
    /// [`DetectorError::ClassCountMismatch`], [`DetectorError::SampleCountMismatch`] if there is not one score for each
    /// sample, and [`DetectorError::Metric`] if one is NaN.
    pub fn decide_host(
        &self,
        logits: &HostLogits,
        scores: &[f64],
    ) -> Result<Vec<Decision>, DetectorError> {
        let (expected, got) = (self.head.sizes.num_classes, logits.num_classes());
        if expected != got {
            return Err(DetectorError::ClassCountMismatch { expected, got });
        }
        if scores.len() != logits.len() {
            let (logits, scores) = (logits.len(), scores.len());
            return Err(DetectorError::SampleCountMismatch { logits, scores });
        }
        self.threshold.decide(logits, self.confidence_factor(), scores)
    }

    fn confidence_factor(&self) -> f64 {
        f64::from(self.head.confidence_temperature) / f64::from(self.head.temperature)
    }

    /// Checks that a head is the one that the detector was fitted for: by its name, its sizes, what it makes of a few
    /// features, and, of a method whose scores depend on it, the temperature.
    ///
    /// A network with the same head on other features is not told apart.
    ///
    /// # Errors
    ///
    /// [`DetectorError::HeadMismatch`], [`DetectorError::ClassCountMismatch`], [`DetectorError::FeatureWidth`],
    /// [`DetectorError::TemperatureMismatch`] or [`DetectorError::OtherWeights`].
    pub fn check_head(&self, head: &impl OodHead<B>) -> Result<(), DetectorError> {
        self.check_sizes(head)?;
        let temperature = head.temperature();
        self.check_probe(head, temperature, &probe_logits(head, temperature))
    }

    /// As [`check_head`](Self::check_head), where values of the device can be waited for but not be had at once: WebGPU
    /// in a browser.
    ///
    /// # Errors
    ///
    /// As there, and [`DetectorError::Device`].
    pub async fn check_head_async(&self, head: &impl OodHead<B>) -> Result<(), DetectorError> {
        self.check_sizes(head)?;
        let unread = |error| DetectorError::Device(format!("{error:?}"));
        let temperature = head.temperature_param().val().into_data_async().await.map_err(unread)?;
        let temperature = temperature.iter::<f32>().next().unwrap_or(f32::NAN);
        let logits = head.forward(probe(head)).into_data_async().await.map_err(unread)?;
        self.check_probe(head, temperature, &at_temperature_1(&logits, temperature))
    }

    fn check_sizes(&self, head: &impl OodHead<B>) -> Result<(), DetectorError> {
        if head.name() != self.head.name {
            let expected = self.head.name.clone();
            return Err(DetectorError::HeadMismatch { expected, got: head.name().to_owned() });
        }
        let Sizes { num_classes, num_features } = self.head.sizes;
        let (expected, got) = (num_classes, head.num_classes());
        if expected != got {
            return Err(DetectorError::ClassCountMismatch { expected, got });
        }
        let (expected, got) = (num_features, head.num_features());
        if expected != got {
            return Err(DetectorError::FeatureWidth { expected, got });
        }
        Ok(self.fitted.method.suits(head)?)
    }

    fn check_probe(
        &self,
        head: &impl OodHead<B>,
        temperature: f32,
        probe: &[f32],
    ) -> Result<(), DetectorError> {
        if self.fitted.method.reads_temperature() {
            check_temperatures(self.head.temperature, temperature)?;
        }
        let largest = self.head.probe.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
        let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= HALF_PRECISION * largest;
        match probe.len() == self.head.probe.len()
            && probe.iter().zip(&self.head.probe).all(is_near)
        {
            true => Ok(()),
            false => Err(DetectorError::OtherWeights { head: head.name().to_owned() }),
        }
    }

    /// Fits the temperature that [`Decision::confidence`] is computed at, on held-out logits of the head. Score and
    /// threshold stay as they are.
    ///
    /// # Errors
    ///
    /// [`DetectorError::Metric`] if there are no samples, or not one label of a class for each;
    /// [`DetectorError::ClassCountMismatch`].
    pub fn calibrate(
        mut self,
        logits: &HostLogits,
        labels: &[usize],
        objective: TemperatureObjective,
    ) -> Result<(Self, TemperatureFit), DetectorError> {
        let (expected, got) = (self.head.sizes.num_classes, logits.num_classes());
        if expected != got {
            return Err(DetectorError::ClassCountMismatch { expected, got });
        }
        let fit = logits.fit_temperature(labels, self.head.temperature, objective)?;
        self.head.confidence_temperature = fit.temperature;
        Ok((self, fit))
    }

    /// Sets the temperature that [`Decision::confidence`] is computed at.
    ///
    /// # Errors
    ///
    /// [`DetectorError::InvalidField`] unless it is a positive finite number.
    pub fn with_confidence_temperature(mut self, value: f32) -> Result<Self, DetectorError> {
        check_temperature(value)?;
        self.head.confidence_temperature = value;
        Ok(self)
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.fitted.method
    }

    /// The method with what it knows of the training samples.
    pub fn fitted(&self) -> &Fitted<B> {
        &self.fitted
    }

    /// The name of the head.
    pub fn head(&self) -> &str {
        &self.head.name
    }

    /// Number of classes of the head.
    pub fn num_classes(&self) -> usize {
        self.head.sizes.num_classes
    }

    /// Width of the features.
    pub fn num_features(&self) -> usize {
        self.head.sizes.num_features
    }

    /// The temperature that confidences are computed at.
    pub fn confidence_temperature(&self) -> f32 {
        self.head.confidence_temperature
    }

    /// The share of in-distribution samples that the threshold was fitted to accept.
    pub fn target_tpr(&self) -> f64 {
        self.threshold.target_tpr()
    }

    /// What the threshold promises.
    pub fn promise(&self) -> Promise {
        self.threshold.promise()
    }

    /// Scores at or above this count as in-distribution. It lies between held-out scores.
    pub fn threshold(&self) -> f64 {
        self.threshold.value()
    }

    /// The number of held-out samples that the threshold was fitted on.
    pub fn num_samples(&self) -> usize {
        self.threshold.num_samples()
    }

    /// The held-out scores, as [`Detector::held_out_scores`](crate::Detector::held_out_scores) has them.
    pub fn held_out_scores(&self) -> &[f64] {
        self.threshold.held_out_scores()
    }
}

impl<B: Backend> AsRef<Threshold> for PostHocDetector<B> {
    fn as_ref(&self) -> &Threshold {
        &self.threshold
    }
}

impl<B: Backend> fmt::Display for PostHocDetector<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.fitted.method, self.head.name)
    }
}

const EPSILON: f64 = f32::EPSILON as f64;

fn check_width<B: Backend>(expected: usize, features: &Tensor<B, 2>) -> Result<(), DetectorError> {
    let [_, got] = features.dims();
    match expected == got {
        true => Ok(()),
        false => Err(DetectorError::FeatureWidth { expected, got }),
    }
}

/// Features that are the same for all heads of a width: numbers in `[0, 1)`, as features after a ReLU are.
fn probe<B: Backend>(head: &impl OodHead<B>) -> Tensor<B, 2> {
    let width = head.num_features();
    // Multiples of the golden ratio, whose fractions are spread evenly.
    let value = |i: usize| ((i + 1) as f64 * 0.618_033_988_749_894_9).fract() as f32;
    let values: Vec<f32> = (0..PROBES * width).map(value).collect();
    let device = head.temperature_param().val().device();
    Tensor::from_data(TensorData::new(values, [PROBES, width]), &device)
}

fn probe_logits<B: Backend>(head: &impl OodHead<B>, temperature: f32) -> Vec<f32> {
    at_temperature_1(&head.forward(probe(head)).into_data(), temperature)
}

fn at_temperature_1(logits: &TensorData, temperature: f32) -> Vec<f32> {
    logits.iter::<f32>().map(|logit| logit * temperature).collect()
}
