use std::sync::Arc;

use burn::tensor::{Tensor, backend::Backend};

use super::threshold::Threshold;
use super::{Detector, DetectorError, Fitted, Promise, Source, check_temperature};
use crate::metrics::ScoreValue;
use crate::{HostLogits, OodHead, OodScore, Score};

/// How to fit a [`Detector`]: which share of in-distribution samples it is to accept, what that
/// promises, and by which score.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Distribution, Tensor};
/// use isomax_burn::{DetectorConfig, HeadConfig, HeadKind, Promise};
///
/// let device = Default::default();
/// let head = HeadConfig::new(HeadKind::IsoMaxPlus, 64, 10).init::<Flex>(&device);
/// let held_out = head.forward(Tensor::random([500, 64], Distribution::Default, &device));
///
/// let detector = DetectorConfig::new().with_target_tpr(0.9).fit(&head, held_out.clone())?;
/// let decisions = detector.decide(&head, held_out.clone())?;
/// assert_eq!(decisions.iter().filter(|d| d.in_distribution).count(), 450);
///
/// // At least 90 % of new samples, in 19 of 20 cases:
/// let careful = DetectorConfig::new()
///     .with_target_tpr(0.9)
///     .with_promise(Promise::Tolerance { confidence: 0.95 })
///     .fit(&head, held_out)?;
/// assert!(careful.threshold() < detector.threshold());
/// # Ok::<(), isomax_burn::DetectorError>(())
/// ```
///
/// Scores of any origin do as well:
///
/// ```
/// use isomax_burn::DetectorConfig;
///
/// let held_out: Vec<f64> = (0..100).map(f64::from).collect();
/// let detector = DetectorConfig::new().with_target_tpr(0.95).fit_scores(&held_out)?;
/// assert_eq!(detector.threshold(), 4.5);
/// assert!(!detector.decide_scores(&[4.0])?[0].in_distribution);
/// # Ok::<(), isomax_burn::DetectorError>(())
/// ```
#[derive(Debug, Clone)]
pub struct DetectorConfig {
    score: Option<Arc<dyn OodScore>>,
    target_tpr: f64,
    promise: Promise,
}

impl Default for DetectorConfig {
    fn default() -> Self {
        Self { score: None, target_tpr: 0.95, promise: Promise::default() }
    }
}

impl DetectorConfig {
    /// 95 % of the held-out samples, by the default score of the head.
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts this share of in-distribution samples, in `(0, 1]`; 1 is for
    /// [`Promise::Empirical`] alone. Without this call 0.95.
    pub fn with_target_tpr(mut self, target_tpr: f64) -> Self {
        self.target_tpr = target_tpr;
        self
    }

    /// Detects by this score, in place of [`Score::default_for`] the head.
    pub fn with_score(mut self, score: impl OodScore) -> Self {
        self.score = Some(Arc::new(score));
        self
    }

    /// Chooses what the threshold promises. Without this call [`Promise::Empirical`].
    pub fn with_promise(mut self, promise: Promise) -> Self {
        self.promise = promise;
        self
    }

    /// Fits the threshold on held-out in-distribution samples. It needs no OOD samples. The samples
    /// must not be those that the network was trained on, nor those that chose its epoch: on such
    /// samples it does better than on new ones.
    ///
    /// # Shapes
    ///
    /// - logits: `[num_samples, num_classes]`, what this head gives for the held-out samples
    ///
    /// # Errors
    ///
    /// [`DetectorError::Metric`] without samples or if a logit is not finite,
    /// [`DetectorError::TooFewSamples`] if the promise cannot be kept with so few samples,
    /// [`DetectorError::InvalidField`] for a target, a confidence or a temperature out of range.
    pub fn fit<B: Backend>(
        &self,
        head: &impl OodHead<B>,
        logits: Tensor<B, 2>,
    ) -> Result<Detector, DetectorError> {
        self.fit_host(head, &HostLogits::read(logits)?)
    }

    /// As [`fit`](Self::fit), on logits that are in host memory already.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn fit_host<B: Backend>(
        &self,
        head: &impl OodHead<B>,
        logits: &HostLogits,
    ) -> Result<Detector, DetectorError> {
        let temperature = head.temperature();
        check_temperature(temperature)?;
        let default = || -> Arc<dyn OodScore> { Arc::new(Score::default_for(head.kind())) };
        let score = self.score.clone().unwrap_or_else(default);
        let scores = logits.scores(&*score);
        let rounding = |sample| logits.rounding(sample, &*score);
        let threshold = self.threshold(&scores, rounding)?;
        let source = Source::Head(Fitted {
            head: head.name().to_owned(),
            num_classes: logits.num_classes(),
            temperature,
            confidence_temperature: temperature,
            score,
        });
        Ok(Detector { source, threshold })
    }

    /// Fits the threshold on bare held-out scores of in-distribution samples, high =
    /// in-distribution. The detector then decides on bare scores alone.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit); a score that is NaN or infinite is a [`DetectorError::Metric`].
    pub fn fit_scores<T: ScoreValue>(&self, scores: &[T]) -> Result<Detector, DetectorError> {
        let scores: Vec<f64> = scores.iter().map(|&score| score.into()).collect();
        let is_single = size_of::<T>() <= size_of::<f32>();
        let epsilon = if is_single { f64::from(f32::EPSILON) } else { f64::EPSILON };
        let rounding = |sample: usize| 4.0 * epsilon * scores[sample].abs();
        let threshold = self.threshold(&scores, rounding)?;
        let name = self.score_name().map(str::to_owned);
        Ok(Detector { source: Source::Scores { name }, threshold })
    }

    pub(crate) fn threshold(
        &self,
        scores: &[f64],
        rounding: impl Fn(usize) -> f64,
    ) -> Result<Threshold, DetectorError> {
        Threshold::fit(scores, self.promise, self.target_tpr, rounding)
    }

    pub(crate) fn score_name(&self) -> Option<&str> {
        self.score.as_ref().map(|score| score.name())
    }
}
