use serde::{Deserialize, Serialize};

/// What a detector says of one sample.
///
/// ```
/// # use burn::backend::Flex;
/// # use burn::tensor::{Distribution, Tensor};
/// # use isomax_burn::{DetectorConfig, HeadConfig, HeadKind};
/// # let device = Default::default();
/// # let head = HeadConfig::new(HeadKind::IsoMaxPlus, 64, 10).init::<Flex>(&device);
/// # let logits = head.forward(Tensor::random([200, 64], Distribution::Default, &device));
/// # let detector = DetectorConfig::new().fit(&head, logits.clone())?;
/// for decision in detector.decide(&head, logits)? {
///     match decision.in_distribution {
///         true => println!("class {}, confidence {:.2}", decision.class, decision.confidence),
///         false => println!("OOD, p-value {:.3}", decision.p_value),
///     }
///     assert_eq!(decision.in_distribution, decision.score >= detector.threshold());
/// }
/// # Ok::<(), isomax_burn::DetectorError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decision {
    /// The class with the largest logit, meant for samples that are in distribution.
    pub class: usize,
    /// The softmax probability of that class at the calibrated temperature, in `[1/C, 1]`; at the
    /// temperature of the head if the detector was not
    /// [calibrated](crate::Detector::calibrate). It tells how likely the class is right for a sample
    /// that is in distribution, not whether the sample is.
    pub confidence: f64,
    /// The detection score, high = in-distribution.
    pub score: f64,
    /// Share of held-out samples that score no higher, in `[0, 1]`. Exact for up to 1,001 held-out
    /// samples, interpolated between as many of them otherwise.
    pub quantile: f64,
    /// The conformal p-value `(k + 1) / (n + 1)`, where `k` of `n` held-out samples score no higher:
    /// for in-distribution samples it is at most `α` with a probability of at most `α`. Exact for up to
    /// 1,001 held-out samples, otherwise too large by a thousandth at most.
    pub p_value: f64,
    /// Whether the score reaches the threshold.
    pub in_distribution: bool,
}

/// What a detector says of a bare score. See [`DetectorConfig`](crate::DetectorConfig) for an example.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScoreDecision {
    /// The score, high = in-distribution.
    pub score: f64,
    /// As [`Decision::quantile`].
    pub quantile: f64,
    /// As [`Decision::p_value`].
    pub p_value: f64,
    /// Whether the score reaches the threshold.
    pub in_distribution: bool,
}
