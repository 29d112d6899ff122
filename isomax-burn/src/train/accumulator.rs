//! The scores of an epoch and what they give, for one out-of-distribution set.

use std::sync::Arc;

use crate::OodScore;
use crate::metrics::{MetricError, OodMetrics};

/// Both score sets of an epoch, computed once for all measures of a set.
#[derive(Debug)]
pub(super) struct Accumulator {
    set: Arc<str>,
    score: Arc<dyn OodScore>,
    id: Vec<f64>,
    ood: Vec<f64>,
    /// The last batch that was taken in: every measure brings each batch.
    last_batch: Option<u64>,
    /// Number of scores at the last evaluation.
    evaluated: usize,
    metrics: Option<OodMetrics>,
    is_final: bool,
}

/// Logits in host memory, row after row.
pub(super) struct Rows {
    pub(super) values: Vec<f64>,
    pub(super) num_classes: usize,
}

impl Accumulator {
    pub(super) fn new(set: Arc<str>, score: Arc<dyn OodScore>) -> Self {
        Self {
            set,
            score,
            id: Vec::new(),
            ood: Vec::new(),
            last_batch: None,
            evaluated: 0,
            metrics: None,
            is_final: false,
        }
    }

    pub(super) fn set(&self) -> &str {
        &self.set
    }

    pub(super) fn score_name(&self) -> &str {
        self.score.name()
    }

    /// Takes a batch in, unless another measure has brought it already.
    pub(super) fn take<I: IntoIterator<Item = Rows>>(
        &mut self,
        batch: u64,
        is_last: bool,
        id: impl FnOnce() -> Rows,
        ood: impl FnOnce() -> I,
    ) {
        if self.last_batch.replace(batch) == Some(batch) {
            return;
        }
        let Self { score, .. } = self;
        let scores = |rows: Rows| -> Vec<f64> {
            let row = |row: &[f64]| match row.iter().all(|logit| logit.is_finite()) {
                true => score.score(row),
                // A diverged network: there is no score, and no metric.
                false => f64::NAN,
            };
            rows.values.chunks_exact(rows.num_classes.max(1)).map(row).collect()
        };
        self.id.extend(scores(id()));
        self.ood.extend(ood().into_iter().flat_map(scores));
        self.is_final = is_last;
        if self.is_due() {
            self.evaluate();
        }
    }

    /// Sorting all scores at every batch would be quadratic: until the last batch it is done
    /// whenever they have grown by a tenth.
    fn is_due(&self) -> bool {
        let scores = self.id.len() + self.ood.len();
        self.is_final || scores * 10 >= self.evaluated * 11
    }

    fn evaluate(&mut self) {
        self.evaluated = self.id.len() + self.ood.len();
        self.metrics = match OodMetrics::from_scores(&self.id, &self.ood) {
            Ok(metrics) => Some(metrics),
            Err(MetricError::EmptyScores(_)) => None,
            Err(error) => {
                log::warn!("{}: {error}", self.set);
                None
            }
        };
    }

    /// The metrics of what was taken in so far; none without scores of both kinds, or if one is NaN.
    pub(super) fn metrics(&self) -> Option<&OodMetrics> {
        self.metrics.as_ref()
    }

    /// Number of samples that the value of the whole epoch stands for: none before the last batch,
    /// nor in an epoch without samples of the set.
    pub(super) fn weight(&self) -> usize {
        let is_whole = self.is_final && !self.ood.is_empty();
        if is_whole { self.evaluated } else { 0 }
    }

    /// Number of samples of the running value.
    pub(super) fn evaluated(&self) -> usize {
        self.evaluated
    }

    /// Forgets the epoch.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.set.clone(), self.score.clone());
    }
}
