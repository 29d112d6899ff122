use core::fmt;
use std::sync::Arc;

use burn::backend::Flex;
use burn::tensor::Tensor;
use burn::train::metric::{
    Adaptor, ItemLazy, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric,
    NumericAttributes, NumericEntry, SerializedEntry,
};
use burn::train::{InferenceStep, LearningComponentsTypes, SupervisedTraining};

use super::OodInput;
use crate::Score;
use crate::metrics::{MetricError, OodMetrics};

/// What an [`OodMetric`] measures, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
/// Learner. Made by [`OodDataLoader::metrics`](super::OodDataLoader::metrics).
///
/// It is named after the set and the measure, such as `noise AUROC`. Its entries carry the running
/// value with weight zero and, on the last batch, the exact value of the epoch: the weighted mean
/// that Burn takes of them is that value. A model that gives NaN scores has no AUROC: the value is
/// NaN then, which is never a best one.
#[derive(Debug, Clone)]
pub struct OodMetric {
    name: MetricName,
    set: Arc<str>,
    measure: OodMeasure,
    score: Score,
    in_scores: Vec<f32>,
    out_scores: Vec<f32>,
    /// Number of scores at the last evaluation.
    evaluated: usize,
    percent: f64,
    is_final: bool,
}

impl OodMetric {
    /// A metric of the set that has this name in the loader.
    pub fn new(set: &str, measure: OodMeasure, score: Score) -> Self {
        Self {
            name: Arc::new(format!("{set} {measure}")),
            set: set.into(),
            measure,
            score,
            in_scores: Vec::new(),
            out_scores: Vec::new(),
            evaluated: 0,
            percent: f64::NAN,
            is_final: false,
        }
    }

    fn scores(&self, logits: Tensor<Flex, 2>) -> Vec<f32> {
        self.score.compute(logits).into_data().iter().collect()
    }

    /// Sorting all scores at every batch would be quadratic: until the last batch it is done
    /// whenever they have grown by a tenth.
    fn is_due(&self) -> bool {
        let scores = self.in_scores.len() + self.out_scores.len();
        self.is_final || scores * 10 >= self.evaluated * 11
    }

    fn evaluate(&mut self) {
        self.evaluated = self.in_scores.len() + self.out_scores.len();
        self.percent = match OodMetrics::from_scores(&self.in_scores, &self.out_scores) {
            Ok(metrics) => 100.0 * self.measure.of(&metrics),
            Err(MetricError::EmptyScores(_)) => f64::NAN,
            Err(error) => {
                log::warn!("{}: {error}", self.name);
                f64::NAN
            }
        };
    }

    /// The entry that is logged: it counts on the last batch only, and not at all in an epoch
    /// without samples of the set.
    fn entry(&self) -> NumericEntry {
        let counts = self.is_final && !self.out_scores.is_empty();
        let count = if counts { self.evaluated } else { 0 };
        // Zero times NaN would be NaN for the whole epoch.
        let value = if counts || self.percent.is_finite() { self.percent } else { 0.0 };
        NumericEntry::Aggregated { aggregated_value: value, count }
    }
}

impl Metric for OodMetric {
    type Input = OodInput;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn description(&self) -> Option<String> {
        let Self { measure, score, set, .. } = self;
        Some(format!("{measure} of the validation set against '{set}', by the {score} score"))
    }

    fn attributes(&self) -> MetricAttributes {
        let higher_is_better = self.measure != OodMeasure::FprAt95Tpr;
        NumericAttributes { unit: Some("%".to_owned()), higher_is_better }.into()
    }

    fn update(&mut self, input: &OodInput, _metadata: &MetricMetadata) -> SerializedEntry {
        let known = self.scores(input.known.clone());
        self.in_scores.extend(known);
        for (_, logits) in input.others.iter().filter(|(set, _)| *set == self.set) {
            let others = self.scores(logits.clone());
            self.out_scores.extend(others);
        }
        self.is_final = input.is_last;
        if self.is_due() {
            self.evaluate();
        }
        SerializedEntry::new(format!("epoch {:.2} %", self.percent), self.entry().serialize())
    }

    fn clear(&mut self) {
        *self = Self::new(&self.set, self.measure, self.score);
    }
}

impl Numeric for OodMetric {
    /// The running value with the weight that plots need; what is logged is the entry of
    /// [`update`](Metric::update).
    fn value(&self) -> NumericEntry {
        NumericEntry::Aggregated { aggregated_value: self.percent, count: self.evaluated.max(1) }
    }

    fn running_value(&self) -> NumericEntry {
        self.value()
    }
}

/// Registers detection metrics with Burn's [`SupervisedTraining`].
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
