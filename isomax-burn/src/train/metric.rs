use core::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::backend::Flex;
use burn::tensor::Tensor;
use burn::train::metric::{
    Adaptor, ItemLazy, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric,
    NumericAttributes, NumericEntry, SerializedEntry,
};
use burn::train::{InferenceStep, LearningComponentsTypes, SupervisedTraining};

use super::OodInput;
use super::accumulator::{Accumulator, Rows};
use crate::OodScore;
use crate::metrics::OodMetrics;

/// What an [`OodMetric`] measures, in percent.
///
/// ```
/// use isomax_burn::train::OodMeasure;
///
/// assert_eq!(OodMeasure::FprAt95Tpr.to_string(), "FPR95");
/// assert!(!OodMeasure::FprAt95Tpr.higher_is_better());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OodMeasure {
    /// [`OodMetrics::auroc`], high is good.
    Auroc,
    /// [`OodMetrics::tnr_at_95_tpr`], high is good.
    TnrAt95Tpr,
    /// [`OodMetrics::fpr_at_95_tpr`], low is good.
    FprAt95Tpr,
}

impl OodMeasure {
    /// All measures.
    pub const ALL: [Self; 3] = [Self::Auroc, Self::TnrAt95Tpr, Self::FprAt95Tpr];

    /// Whether a larger value is a better one.
    pub fn higher_is_better(self) -> bool {
        self != Self::FprAt95Tpr
    }

    fn of(self, metrics: &OodMetrics) -> f64 {
        match self {
            Self::Auroc => metrics.auroc,
            Self::TnrAt95Tpr => metrics.tnr_at_95_tpr,
            Self::FprAt95Tpr => metrics.fpr_at_95_tpr,
        }
    }
}

impl fmt::Display for OodMeasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auroc => "AUROC",
            Self::TnrAt95Tpr => "TNR@95TPR",
            Self::FprAt95Tpr => "FPR95",
        })
    }
}

/// A detection metric of one out-of-distribution set over a whole validation epoch, for Burn's
/// Learner. Made by [`OodDataLoader::metrics`](super::OodDataLoader::metrics), for one training.
///
/// It is named after the set and the measure, such as `noise AUROC`. Its entries carry the running
/// value with weight zero and, on the last batch, the exact value of the epoch: the weighted mean
/// that Burn takes of them is that value. A model that gives NaN scores has no AUROC: the value is
/// NaN then, which is never a best one. In an epoch without the set it has no value at all.
///
/// The metrics of a set share its scores: each batch is scored once.
///
/// ```
/// use std::sync::Arc;
/// use burn::train::metric::Metric;
/// use isomax_burn::Score;
/// use isomax_burn::train::OodMetric;
///
/// let metrics = OodMetric::of_set("noise", Arc::new(Score::MDS));
/// let names = metrics.map(|metric| metric.name().to_string());
/// assert_eq!(names, ["noise AUROC", "noise TNR@95TPR", "noise FPR95"]);
/// ```
#[derive(Debug, Clone)]
pub struct OodMetric {
    name: MetricName,
    measure: OodMeasure,
    scores: Arc<Mutex<Accumulator>>,
}

impl OodMetric {
    /// The metrics of the set that has this name in the loader, one for each [`OodMeasure`].
    pub fn of_set(set: &str, score: Arc<dyn OodScore>) -> [Self; 3] {
        let scores = Arc::new(Mutex::new(Accumulator::new(set.into(), score)));
        OodMeasure::ALL.map(|measure| Self {
            name: Arc::new(format!("{set} {measure}")),
            measure,
            scores: scores.clone(),
        })
    }

    /// What it measures.
    pub fn measure(&self) -> OodMeasure {
        self.measure
    }

    fn scores(&self) -> MutexGuard<'_, Accumulator> {
        self.scores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn percent(&self, scores: &Accumulator) -> f64 {
        scores.metrics().map_or(f64::NAN, |metrics| 100.0 * self.measure.of(metrics))
    }
}

fn rows(logits: &Tensor<Flex, 2>) -> Rows {
    let [_, num_classes] = logits.dims();
    Rows { values: logits.to_data().iter().collect(), num_classes }
}

impl Metric for OodMetric {
    type Input = OodInput;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn description(&self) -> Option<String> {
        let (measure, scores) = (self.measure, self.scores());
        let (set, score) = (scores.set(), scores.score_name());
        Some(format!("{measure} of the validation set against '{set}', by the {score} score"))
    }

    fn attributes(&self) -> MetricAttributes {
        let higher_is_better = self.measure.higher_is_better();
        NumericAttributes { unit: Some("%".to_owned()), higher_is_better }.into()
    }

    fn update(&mut self, input: &OodInput, _metadata: &MetricMetadata) -> SerializedEntry {
        let mut scores = self.scores();
        let set = scores.set().to_owned();
        let ood = || input.ood.iter().filter(|(name, _)| **name == *set).map(|(_, l)| rows(l));
        scores.take(input.batch, input.is_last, || rows(&input.id), ood);
        let (percent, weight) = (self.percent(&scores), scores.weight());
        // Zero times NaN would be NaN for the whole epoch.
        let value = if weight > 0 || percent.is_finite() { percent } else { 0.0 };
        let entry = NumericEntry::Aggregated { aggregated_value: value, count: weight };
        SerializedEntry::new(format!("epoch {percent:.2} %"), entry.serialize())
    }

    fn clear(&mut self) {
        self.scores().clear();
    }
}

impl Numeric for OodMetric {
    /// The running value with the weight that plots need; what is logged is the entry of
    /// [`update`](Metric::update).
    fn value(&self) -> NumericEntry {
        let scores = self.scores();
        let count = scores.evaluated().max(1);
        NumericEntry::Aggregated { aggregated_value: self.percent(&scores), count }
    }

    fn running_value(&self) -> NumericEntry {
        self.value()
    }
}

/// Registers detection metrics with Burn's [`SupervisedTraining`].
///
/// ```
/// use burn::tensor::backend::Backend;
/// use isomax_burn::Score;
/// use isomax_burn::train::{OodDataLoader, OodTraining};
///
/// fn watch<T: OodTraining, B: Backend, O: Send + 'static>(
///     training: T,
///     valid: &OodDataLoader<B, O>,
/// ) -> T {
///     training.ood_metrics(valid.metrics(Score::MDS))
/// }
/// ```
pub trait OodTraining {
    /// Registers the metrics, as those of [`OodDataLoader::metrics`](super::OodDataLoader::metrics),
    /// for validation.
    fn ood_metrics(self, metrics: impl IntoIterator<Item = OodMetric>) -> Self;
}

impl<LC: LearningComponentsTypes> OodTraining for SupervisedTraining<LC>
where
    <<LC::InferenceModel as InferenceStep>::Output as ItemLazy>::ItemSync: Adaptor<OodInput>,
{
    fn ood_metrics(self, metrics: impl IntoIterator<Item = OodMetric>) -> Self {
        metrics.into_iter().fold(self, |training, metric| training.metric_valid_numeric(metric))
    }
}
