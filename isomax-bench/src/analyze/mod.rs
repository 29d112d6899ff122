//! From executions to tables: means and standard deviations over the executions of each cell.

pub mod csv_files;
pub mod published;

use std::collections::BTreeMap;
use std::fmt;

use isomax_burn::{HeadKind, Moments, Score};
use isomax_models::Architecture;
use serde::{Deserialize, Serialize};

use crate::results::{Detection, Evaluation, Execution, Selection, Training};
use crate::table::{MeanStd, Table};

/// Executions that differ in their seeds alone: the same network, head and add-on, the same data,
/// the same planned epochs and the same way to choose the weights.
#[derive(Debug, Clone)]
pub struct Cell<'a> {
    label: String,
    /// At least one.
    executions: Vec<&'a Execution>,
}

/// Groups executions into cells: sorted by known set, network, head and then by what else tells
/// them apart, whatever the order of the executions is.
pub fn cells(executions: &[Execution]) -> Vec<Cell<'_>> {
    let mut groups = BTreeMap::<_, Vec<&Execution>>::new();
    for execution in executions {
        groups.entry(key(execution)).or_default().push(execution);
    }
    let mut cells = Vec::new();
    for mut executions in groups.into_values() {
        executions.sort_by(|a, b| (a.number, &a.folder).cmp(&(b.number, &b.folder)));
        cells.push(Cell { label: String::new(), executions });
    }
    let names: Vec<(String, [String; 4])> = cells.iter().map(Cell::name).collect();
    for (cell, (name, own)) in cells.iter_mut().zip(&names) {
        // Short labels: only what differs among the cells of one name is said.
        let differs =
            |at: &usize| names.iter().any(|(other, its)| other == name && its[*at] != own[*at]);
        let mut apart: Vec<&str> =
            (0..own.len()).filter(differs).map(|at| own[at].as_str()).collect();
        apart.dedup();
        cell.label = match apart.is_empty() {
            true => name.clone(),
            false => format!("{name} [{}]", apart.join("; ")),
        };
        if cell.selection() == Some(Selection::Test) {
            cell.label.push_str(" (selected on test)");
        }
    }
    cells
}

/// What executions of one cell have in common.
fn key(execution: &Execution) -> impl Ord {
    let evaluation = &execution.evaluation;
    let Evaluation { architecture, head, fpr, known, data, training, .. } = evaluation;
    let training = training
        .as_ref()
        .map(|t| (t.planned_epochs, t.selection as u8, t.train_images, t.validation_images));
    (known, architecture.to_string(), *head as u8, *fpr, data, training, &execution.recipe)
}

/// Takes a value out of a detection.
type Pick = fn(&Detection) -> f64;
/// A detection metric and its name.
type Metric = (&'static str, Pick);
/// A classification metric and its name.
type ClassificationMetric = (&'static str, fn(&Evaluation) -> Option<f64>);

/// The first four are in a table.
const CLASSIFICATION: &[ClassificationMetric] = &[
    ("accuracy", |e| Some(e.classification.accuracy)),
    ("ECE", |e| Some(e.classification.ece)),
    ("NLL", |e| Some(e.classification.nll)),
    ("ECE calibrated", |e| Some(e.calibrated.as_ref()?.classification.ece)),
    ("NLL calibrated", |e| Some(e.calibrated.as_ref()?.classification.nll)),
    ("MCE", |e| Some(e.classification.mce)),
];
/// In the papers' convention; the first two are in the table of all scores.
const PAPERS: &[Metric] = &[
    ("TNR@TPR95", |d| d.paper.tnr),
    ("AUROC", |d| d.paper.auroc),
    ("DTACC", |d| d.paper.dtacc),
    ("AUIN", |d| d.paper.auin),
    ("AUOUT", |d| d.paper.auout),
];
/// In the field's convention; the first five are in a table.
const FIELD: &[Metric] = &[
    ("AUROC", |d| d.field.auroc),
    ("TNR@95TPR", |d| d.field.tnr_at_95_tpr),
    ("FPR95", |d| d.field.fpr_at_95_tpr),
    ("AUPR in", |d| d.field.aupr_in),
    ("AUPR out", |d| d.field.aupr_out),
    ("AP in", |d| d.field.average_precision_in),
    ("AP out", |d| d.field.average_precision_out),
    ("detection accuracy", |d| d.field.detection_accuracy),
];

/// The numbers of the executions that have a value, and the values.
type Values = (Vec<usize>, Vec<f64>);

impl<'a> Cell<'a> {
    /// Known set, network and head, then what tells the cell from others of this name, and a mark
    /// if the weights were selected on the test split.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// At least one, in the order of their numbers.
    pub fn executions(&self) -> &[&'a Execution] {
        &self.executions
    }

    /// Of the first execution: for what all have in common.
    pub fn evaluation(&self) -> &'a Evaluation {
        &self.executions[0].evaluation
    }

    fn training(&self) -> Option<&'a Training> {
        self.evaluation().training.as_ref()
    }

    fn selection(&self) -> Option<Selection> {
        self.training().map(|training| training.selection)
    }

    /// The name, and what may tell the cell from others of this name.
    fn name(&self) -> (String, [String; 4]) {
        let Evaluation { architecture, head, fpr, known, data, .. } = self.evaluation();
        let fpr = if *fpr { " with FPR" } else { "" };
        let say = |text: fn(&Training) -> String| {
            self.training().map_or_else(|| "unknown training".to_owned(), text)
        };
        let apart = [
            data.clone(),
            say(|t| format!("{} epochs", t.planned_epochs)),
            say(|t| t.selection.description().to_owned()),
            say(|t| format!("{} + {} images", t.train_images, t.validation_images)),
        ];
        (format!("{known} {architecture} {head}{fpr}"), apart)
    }

    /// Epochs that were trained, as `300`, or as `30 of 300 epochs` if they are not `whole`.
    fn epochs_of(&self, whole: usize) -> String {
        let trainings = self.executions.iter().filter_map(|e| e.evaluation.training.as_ref());
        let epochs: Vec<usize> = trainings.map(|training| training.epochs).collect();
        match (epochs.iter().min(), epochs.iter().max()) {
            (Some(&least), Some(&most)) if least == most && most == whole => whole.to_string(),
            (Some(least), Some(most)) if least == most => format!("{most} of {whole} epochs"),
            (Some(least), Some(most)) => format!("{least}–{most} of {whole} epochs"),
            _ => "unknown".to_owned(),
        }
    }

    /// What was trained on and evaluated.
    fn data(&self) -> String {
        let Evaluation { data, images, .. } = self.evaluation();
        match self.training() {
            Some(training) => {
                let training = training.train_images;
                format!("{data}; {training} training, {images} test images")
            }
            None => format!("{data}; {images} test images"),
        }
    }

    fn values(&self, value: impl Fn(&Execution) -> Option<f64>) -> Values {
        let values = self.executions.iter();
        values.filter_map(|&execution| Some((execution.number, value(execution)?))).unzip()
    }

    /// Sets and scores that any execution has, in their order.
    fn pairs(&self, keep: impl Fn(&Detection) -> bool) -> Vec<(&'a str, Score)> {
        let mut pairs = Vec::new();
        for detection in self.executions.iter().copied().flat_map(|e| &e.evaluation.detection) {
            let pair = (detection.set.as_str(), detection.score);
            if keep(detection) && !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        pairs
    }

    fn detection_row(
        &self,
        (set, score): (&str, Score),
        metrics: &[Metric],
        value: impl Fn(&Execution, Pick) -> Option<f64>,
    ) -> Vec<String> {
        let column = |&(_, pick): &Metric| self.values(|execution| value(execution, pick)).1;
        let columns: Vec<Vec<f64>> = metrics.iter().map(column).collect();
        let n = columns.first().map_or(0, Vec::len);
        let mut row = vec![self.label.clone(), set.to_owned(), score.to_string(), n.to_string()];
        row.extend(columns.iter().map(|values| percent(values)));
        row
    }

    /// The mean over sets is formed for each execution first, so it must be over the same sets.
    fn average_row(&self, pairs: &[(&'a str, Score)], metrics: &[Metric]) -> Vec<String> {
        let everywhere =
            |pair: (&str, Score)| self.executions.iter().all(|e| find(e, pair).is_some());
        let shared: Vec<_> = pairs.iter().copied().filter(|&pair| everywhere(pair)).collect();
        let set = match shared.len() == pairs.len() {
            true => "average".to_owned(),
            false => format!("average of {} of {} sets", shared.len(), pairs.len()),
        };
        self.detection_row((set.as_str(), pairs[0].1), metrics, |execution, pick| {
            let found = shared.iter().filter_map(|&pair| find(execution, pair));
            found.map(pick).collect::<Moments>().mean()
        })
    }

    fn summary_row(
        &self,
        metric: &str,
        of: Option<(&str, Score, Convention)>,
        (executions, values): Values,
    ) -> Option<SummaryRow> {
        let (evaluation, training) = (self.evaluation(), self.training());
        let moments: Moments = values.iter().copied().collect();
        Some(SummaryRow {
            architecture: evaluation.architecture,
            head: evaluation.head,
            fpr: evaluation.fpr,
            known: evaluation.known.clone(),
            data: evaluation.data.clone(),
            planned_epochs: training.map(|t| t.planned_epochs),
            selection: self.selection(),
            train_images: training.map(|t| t.train_images),
            validation_images: training.map(|t| t.validation_images),
            metric: metric.to_owned(),
            set: of.map(|(set, _, _)| set.to_owned()),
            score: of.map(|(_, score, _)| score),
            convention: of.map(|(_, _, convention)| convention),
            n: values.len(),
            mean: moments.mean()?,
            std: moments.std(),
            executions,
            values,
        })
    }
}

fn find<'a>(execution: &'a Execution, (set, score): (&str, Score)) -> Option<&'a Detection> {
    execution.evaluation.detection.iter().find(|d| d.set == set && d.score == score)
}

/// Whose conventions a detection metric follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Convention {
    /// Those of the field, [`OodMetrics`](isomax_burn::metrics::OodMetrics).
    Field,
    /// Those of the papers' code, [`PaperMetrics`](isomax_burn::metrics::PaperMetrics).
    Papers,
}

/// All metrics of all cells, tidy: one row for each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Cell after cell, in the order of [`cells`].
    pub rows: Vec<SummaryRow>,
}

/// One metric of one cell. Shares lie in `[0, 1]`, as in the evaluations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SummaryRow {
    /// The network.
    pub architecture: Architecture,
    /// Its last layer.
    pub head: HeadKind,
    /// Whether it was trained with fractional probability regularisation.
    pub fpr: bool,
    /// The in-distribution set.
    pub known: String,
    /// Which copy of it.
    pub data: String,
    /// Epochs that were planned, if that is known.
    pub planned_epochs: Option<usize>,
    /// How the weights were chosen, if that is known.
    pub selection: Option<Selection>,
    /// Number of training images, if that is known.
    pub train_images: Option<usize>,
    /// Number of images held out of the training split, if that is known.
    pub validation_images: Option<usize>,
    /// Such as `accuracy` or `AUROC`.
    pub metric: String,
    /// The OOD set of a detection metric.
    pub set: Option<String>,
    /// The score of a detection metric.
    pub score: Option<Score>,
    /// The convention of a detection metric.
    pub convention: Option<Convention>,
    /// Number of executions that have the metric, at least 1.
    pub n: usize,
    /// Mean over them.
    pub mean: f64,
    /// Sample standard deviation (divisor `n - 1`); none for one execution.
    pub std: Option<f64>,
    /// Their numbers.
    pub executions: Vec<usize>,
    /// Their values, in the same order.
    pub values: Vec<f64>,
}

/// Computes all metrics of all cells.
pub fn summary(executions: &[Execution]) -> Summary {
    let mut rows = Vec::new();
    for cell in cells(executions) {
        for &(metric, pick) in CLASSIFICATION {
            let values = cell.values(|execution| pick(&execution.evaluation));
            rows.extend(cell.summary_row(metric, None, values));
        }
        for (set, score) in cell.pairs(|_| true) {
            let conventions = [(Convention::Papers, PAPERS), (Convention::Field, FIELD)];
            for (convention, metrics) in conventions {
                for &(metric, pick) in metrics {
                    let values = cell.values(|e| find(e, (set, score)).map(pick));
                    rows.extend(cell.summary_row(metric, Some((set, score, convention)), values));
                }
            }
        }
    }
    Summary { rows }
}

/// A table with a heading.
#[derive(Debug, Clone)]
pub struct NamedTable {
    /// The heading.
    pub title: String,
    /// What a reader needs to know of it.
    pub note: Option<String>,
    /// The table.
    pub table: Table,
}

impl fmt::Display for NamedTable {
    /// As Markdown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n", self.title)?;
        if let Some(note) = &self.note {
            writeln!(f, "{note}\n")?;
        }
        write!(f, "{}", self.table)
    }
}

/// Makes all tables that have a row: classification, detection with the default scores in both
/// conventions, detection with all scores, and what the papers print beside it.
pub fn tables(executions: &[Execution]) -> Vec<NamedTable> {
    let cells = cells(executions);
    let averages = "In percent, with the score that the papers use with the head. An average is \
                    formed for each execution first, over the sets that all executions of the \
                    cell have.";
    let tables = [
        classification(&cells),
        detection(&cells, "Detection, papers' convention", averages, PAPERS, true),
        detection(&cells, "Detection, field's convention", averages, &FIELD[..5], true),
        detection(
            &cells,
            "Detection with all scores, papers' convention",
            "In percent.",
            &PAPERS[..2],
            false,
        ),
        published::beside(&cells),
    ];
    tables.into_iter().flatten().collect()
}

fn classification(cells: &[Cell<'_>]) -> Option<NamedTable> {
    let row = |cell: &Cell<'_>| {
        let n = cell.executions.len();
        let values = |at: usize| cell.values(|e| CLASSIFICATION[at].1(&e.evaluation)).1;
        let mut row = vec![cell.label.clone(), n.to_string(), percent(&values(0))];
        row.extend((1..4).map(|at| number(&values(at), n)));
        row.push(cell.epochs_of(cell.training().map_or(0, |training| training.planned_epochs)));
        row.push(cell.selection().map_or("unknown", Selection::description).to_owned());
        row.push(cell.data());
        row
    };
    let columns = [
        "cell",
        "n",
        "accuracy %",
        "ECE",
        "NLL",
        "ECE calibrated",
        "epochs",
        "weights chosen by",
        "data",
    ];
    let note = "On test images of known classes: mean ± sample standard deviation over n \
                executions. The temperature of the calibrated ECE was fitted on held-out images.";
    named("Classification", note, columns, cells.iter().map(row).collect())
}

fn detection(
    cells: &[Cell<'_>],
    title: &str,
    note: &str,
    metrics: &[Metric],
    default_only: bool,
) -> Option<NamedTable> {
    let mut rows = Vec::new();
    for cell in cells {
        let pairs = cell.pairs(|detection| detection.is_default || !default_only);
        for &pair in &pairs {
            rows.push(cell.detection_row(pair, metrics, |e, pick| find(e, pair).map(pick)));
        }
        if default_only && pairs.len() > 1 {
            rows.push(cell.average_row(&pairs, metrics));
        }
    }
    let columns = ["cell", "set", "score", "n"].into_iter();
    named(title, note, columns.chain(metrics.iter().map(|&(name, _)| name)), rows)
}

/// No table without rows.
fn named<'a>(
    title: &str,
    note: &str,
    columns: impl IntoIterator<Item = &'a str>,
    rows: Vec<Vec<String>>,
) -> Option<NamedTable> {
    if rows.is_empty() {
        return None;
    }
    let mut table = Table::new(columns);
    rows.into_iter().for_each(|row| table.row(row));
    Some(NamedTable { title: title.to_owned(), note: Some(note.to_owned()), table })
}

fn percent(shares: &[f64]) -> String {
    shares.iter().map(|share| 100.0 * share).collect::<MeanStd>().to_string()
}

/// Says how many of the `n` executions have a value, if some do not.
fn number(values: &[f64], n: usize) -> String {
    let text = format!("{:.4}", values.iter().copied().collect::<MeanStd>());
    match values.len() {
        0 => text,
        some if some == n => text,
        some => format!("{text} ({some} of {n})"),
    }
}

#[cfg(test)]
mod tests;
