use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Instant;

use burn::train::metric::{MetricDefinition, MetricEntry, MetricId, NumericEntry};
use burn::train::renderer::{
    EvaluationName, EvaluationProgress, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining, ProgressType, TrainingProgress,
};
use burn::train::{LearnerSummary, metric::MetricAttributes};

use super::mean::WeightedMean;

/// Prints one line for each epoch, with the values of all numeric metrics: for logs, pipes and
/// small trainings, where Burn's full-screen view is too much and its plain one prints a line for
/// each batch without any value.
///
/// ```text
/// epoch  3/10 · 2.1 s · train: Accuracy 97.10 %, Loss 0.11 · valid: Accuracy 96.40 %, noise AUROC 99.21 %
/// ```
///
/// Every tenth epoch and the last, each line beginning with `resnet-20`:
///
/// ```
/// use burn::train::{LearningComponentsTypes, SupervisedTraining};
/// use isomax_burn::train::EpochRenderer;
///
/// fn render<LC: LearningComponentsTypes>(training: SupervisedTraining<LC>) -> SupervisedTraining<LC> {
///     training.renderer(EpochRenderer::new().with_label("resnet-20").every(10))
/// }
/// ```
pub struct EpochRenderer<W = io::Stderr> {
    out: W,
    label: String,
    every: usize,
    definitions: HashMap<MetricId, MetricDefinition>,
    train: SplitValues,
    valid: SplitValues,
    /// Epoch and number of epochs of the values, from the first batch of the epoch on.
    epoch: Option<(usize, usize)>,
    started: Instant,
}

/// The values of one split, in the order in which the metrics were registered.
type SplitValues = Vec<(MetricId, WeightedMean)>;

impl EpochRenderer {
    /// Prints to standard error.
    pub fn new() -> Self {
        Self::to(io::stderr())
    }
}

impl Default for EpochRenderer {
    fn default() -> Self {
        Self::new()
    }
}

impl<W: Write> EpochRenderer<W> {
    /// Prints to any writer.
    pub fn to(out: W) -> Self {
        Self {
            out,
            label: String::new(),
            every: 1,
            definitions: HashMap::new(),
            train: Vec::new(),
            valid: Vec::new(),
            epoch: None,
            started: Instant::now(),
        }
    }

    /// Puts a text before every line, to tell several trainings apart.
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Prints only epochs whose number this divides, and the last one always.
    pub fn every(mut self, epochs: usize) -> Self {
        self.every = epochs.max(1);
        self
    }

    fn note(values: &mut SplitValues, state: MetricState) {
        let MetricState::Numeric(MetricEntry { metric_id, serialized_entry }, _) = state else {
            return;
        };
        let Ok(value) = NumericEntry::deserialize(&serialized_entry.serialized) else { return };
        let known = values.iter().position(|(id, _)| *id == metric_id);
        let index = known.unwrap_or_else(|| {
            values.push((metric_id, WeightedMean::default()));
            values.len() - 1
        });
        values[index].1.push(&value);
    }

    fn begin(&mut self, progress: &TrainingProgress) {
        let epoch = &progress.global_progress;
        let current = Some((epoch.items_processed, epoch.items_total));
        if self.epoch != current {
            self.finish();
            self.epoch = current;
            self.started = Instant::now();
        }
    }

    /// Ends the epoch, if there is one under way, and prints its line.
    fn finish(&mut self) {
        let Some((epoch, epochs)) = self.epoch.take() else { return };
        if epoch % self.every == 0 || epoch == epochs {
            self.print(epoch, epochs);
        }
        self.train.clear();
        self.valid.clear();
    }

    fn print(&mut self, epoch: usize, epochs: usize) {
        let width = epochs.to_string().len();
        let mut line = String::new();
        if !self.label.is_empty() {
            line.push_str(&self.label);
            line.push_str(" · ");
        }
        // Writing to a string cannot fail.
        let _ = write!(line, "epoch {epoch:>width$}/{epochs}");
        let _ = write!(line, " · {:.1} s", self.started.elapsed().as_secs_f64());
        for (name, values) in [("train", &self.train), ("valid", &self.valid)] {
            let values: Vec<_> = values.iter().filter_map(|value| self.describe(value)).collect();
            if !values.is_empty() {
                let _ = write!(line, " · {name}: {}", values.join(", "));
            }
        }
        // A closed pipe is no reason to stop a training.
        let _ = writeln!(self.out, "{line}");
    }

    fn describe(&self, (id, mean): &(MetricId, WeightedMean)) -> Option<String> {
        let definition = self.definitions.get(id)?;
        let value = mean.value()?;
        let unit = match &definition.attributes {
            MetricAttributes::Numeric(attributes) => attributes.unit.as_deref(),
            MetricAttributes::None => None,
        };
        let number = match unit {
            Some(unit) => format!("{value:.2} {unit}"),
            None => format!("{value:.4}"),
        };
        Some(format!("{} {number}", definition.name))
    }
}

impl<W: Write + Send + Sync> MetricsRendererTraining for EpochRenderer<W> {
    fn update_train(&mut self, state: MetricState) {
        Self::note(&mut self.train, state);
    }

    fn update_valid(&mut self, state: MetricState) {
        Self::note(&mut self.valid, state);
    }

    fn render_train(&mut self, item: TrainingProgress, _indicators: Vec<ProgressType>) {
        self.begin(&item);
    }

    fn render_valid(&mut self, item: TrainingProgress, _indicators: Vec<ProgressType>) {
        let is_complete = |p: &burn::data::dataloader::Progress| p.items_processed >= p.items_total;
        if item.progress.as_ref().is_some_and(is_complete) {
            self.finish();
        }
    }

    fn on_train_end(
        &mut self,
        summary: Option<LearnerSummary>,
    ) -> Result<(), Box<dyn core::error::Error>> {
        self.finish();
        match summary {
            Some(summary) => Ok(writeln!(self.out, "{summary}")?),
            None => Ok(()),
        }
    }
}

impl<W: Write + Send + Sync> MetricsRendererEvaluation for EpochRenderer<W> {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}

    fn render_test(&mut self, _item: EvaluationProgress, _indicators: Vec<ProgressType>) {}
}

impl<W: Write + Send + Sync> MetricsRenderer for EpochRenderer<W> {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.definitions.insert(definition.metric_id.clone(), definition);
    }
}
