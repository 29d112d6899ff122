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
        groups.entry(key(&execution.evaluation)).or_default().push(execution);
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
fn key(evaluation: &Evaluation) -> impl Ord {
    let Evaluation { architecture, head, fpr, known, data, training, .. } = evaluation;
    let training = training
        .as_ref()
        .map(|t| (t.planned_epochs, t.selection as u8, t.train_images, t.validation_images));
    (known, architecture.to_string(), *head as u8, *fpr, data, training)
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
        let data = &self.evaluation().data;
        match self.training() {
            Some(training) => format!("{data}; {} training images", training.train_images),
            None => data.clone(),
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
mod tests {
    use std::error::Error;

    use isomax_burn::metrics::{CalibrationMetrics, OodMetrics, PaperMetrics};

    use super::*;
    use crate::results::{Calibrated, Epoch, History};

    /// Of two epochs, with two scores that are alike. Of each set so many of four samples are taken
    /// for known ones: `TNR = AUROC = 1 - wrong / 4`. Execution 1 has 3 of 4 classes right, any
    /// other has all; the ECE is `p - 3/4` and `1 - p`.
    pub(super) fn execution(head: HeadKind, number: usize, sets: &[(&str, usize)]) -> Execution {
        let known: Vec<f32> = (0..20_u8).map(|i| 100.0 + f32::from(i)).collect();
        let mut detection = Vec::new();
        for &(set, wrong) in sets {
            let out = [0, 1, 2, 3].map(|i| if i < wrong { 1000.0 } else { i as f32 });
            for score in [Score::default_for(head), Score::MPS] {
                detection.push(Detection {
                    set: set.to_owned(),
                    images: out.len(),
                    score,
                    is_default: score == Score::default_for(head),
                    field: OodMetrics::from_scores(&known, &out).expect("no score is NaN"),
                    paper: PaperMetrics::from_scores(&known, &out).expect("no score is NaN"),
                    rejected: None,
                });
            }
        }
        let labels = [0, 0, 0, usize::from(number == 1)];
        let logits = [2.0, 0.0, 2.0, 0.0, 2.0, 0.0, 2.0, 0.0];
        let classification =
            CalibrationMetrics::from_logits(&logits, &labels, 2, 15).expect("labels fit");
        let epoch = |epoch: usize| {
            let value = |at: usize| epoch as f64 + at as f64 / 100.0;
            let keys = csv_files::METRICS.iter().enumerate();
            let train: BTreeMap<String, f64> =
                keys.map(|(at, (_, key))| ((*key).to_owned(), value(at))).collect();
            let valid = train.iter().map(|(key, value)| (key.clone(), -value)).collect();
            Epoch { epoch, learning_rate: 0.1, train, valid }
        };
        Execution {
            folder: format!("results/{head}/execution-{number}").into(),
            number,
            evaluation: Evaluation {
                architecture: Architecture::DenseNetBc { depth: 100 },
                head,
                fpr: false,
                known: "cifar10".to_owned(),
                data: "image folder, 4 test images".to_owned(),
                temperature: 1.0,
                training: Some(Training {
                    seed: number as u64,
                    epochs: 2,
                    planned_epochs: 2,
                    chosen_epoch: 2,
                    selection: Selection::Validation,
                    train_images: 45_000,
                    validation_images: 5_000,
                    backend: "none".to_owned(),
                    classes: vec!["0".to_owned(), "1".to_owned()],
                }),
                classification: classification.clone(),
                calibrated: Some(Calibrated { temperature: 1.0, classification }),
                images: 4,
                detector: None,
                detection,
            },
            history: Some(History { epochs: vec![epoch(1), epoch(2)] }),
        }
    }

    pub(super) fn training(execution: &mut Execution) -> &mut Training {
        execution.evaluation.training.as_mut().expect("the builder gives one")
    }

    /// The cells of the rows below the column names.
    pub(super) fn rows(table: &NamedTable) -> Vec<Vec<String>> {
        let text = table.table.to_string();
        let cells = |line: &str| {
            line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        text.lines().skip(2).map(cells).collect()
    }

    fn two() -> Vec<Execution> {
        vec![
            execution(HeadKind::IsoMaxPlus, 2, &[("svhn", 1), ("lsun-resize", 1)]),
            execution(HeadKind::IsoMaxPlus, 1, &[("svhn", 0), ("lsun-resize", 2)]),
        ]
    }

    #[test]
    fn cells_are_sorted_and_named_apart() {
        let mut executions = two();
        let mut longer = execution(HeadKind::IsoMaxPlus, 1, &[]);
        training(&mut longer).planned_epochs = 3;
        let mut untold = execution(HeadKind::DisMax, 1, &[]);
        untold.evaluation.training = None;
        let told = execution(HeadKind::DisMax, 1, &[]);
        executions.extend([untold, told, longer, execution(HeadKind::SoftMax, 1, &[])]);
        let expected = [
            "cifar10 densenet-bc-100 softmax",
            "cifar10 densenet-bc-100 isomax+ [2 epochs]",
            "cifar10 densenet-bc-100 isomax+ [3 epochs]",
            "cifar10 densenet-bc-100 dismax [unknown training]",
            "cifar10 densenet-bc-100 dismax [2 epochs; best validation accuracy; \
             45000 + 5000 images]",
        ];
        for _ in 0..2 {
            let cells = cells(&executions);
            let labels: Vec<&str> = cells.iter().map(Cell::label).collect();
            assert_eq!(labels, expected);
            let numbers: Vec<usize> = cells[1].executions().iter().map(|e| e.number).collect();
            assert_eq!(numbers, [1, 2]);
            executions.reverse();
        }
        assert!(tables(&[]).is_empty());
    }

    #[test]
    fn summaries_hold_every_value() -> Result<(), Box<dyn Error>> {
        let mut executions = two();
        executions[0].evaluation.calibrated = None;
        let summary = summary(&executions);
        // Two sets, two scores, and the metrics of both conventions.
        assert_eq!(summary.rows.len(), 6 + 2 * 2 * (5 + 8));
        let row = |metric: &str, convention: Option<Convention>| {
            let of = convention.map(|_| "svhn");
            let rows = summary.rows.iter();
            rows.filter(|row| row.convention == convention && row.set.as_deref() == of)
                .find(|row| row.metric == metric)
                .ok_or_else(|| format!("no row of {metric}"))
        };
        for convention in [Convention::Papers, Convention::Field] {
            let auroc = row("AUROC", Some(convention))?;
            assert_eq!(auroc.score, Some(Score::MDS));
            assert_eq!((auroc.n, auroc.executions.as_slice()), (2, &[1, 2][..]));
            assert!((auroc.values[0] - 1.0).abs() < 1e-12);
            assert!((auroc.values[1] - 0.75).abs() < 1e-12);
            assert!((auroc.mean - 0.875).abs() < 1e-12);
            let std = auroc.std.ok_or("no deviation")?;
            assert!((std - 0.25 / 2_f64.sqrt()).abs() < 1e-12);
        }
        assert!((row("accuracy", None)?.mean - 0.875).abs() < 1e-12);
        let calibrated = row("ECE calibrated", None)?;
        assert_eq!((calibrated.n, calibrated.std), (1, None));

        let text = serde_json::to_string(&summary)?;
        assert!(text.contains(r#""convention":"papers""#) && text.contains(r#""std":null"#));
        assert_eq!(serde_json::from_str::<Summary>(&text)?, summary);
        Ok(())
    }

    #[test]
    fn averages_over_sets_come_before_those_over_executions() {
        let tables = tables(&two());
        let label = "cifar10 densenet-bc-100 isomax+";
        let first = rows(&tables[0]);
        let accuracy = &first[0][..8];
        let expected = [
            label,
            "2",
            "87.5 ± 17.7",
            "0.1250 ± 0.0082",
            accuracy[4].as_str(),
            "0.1250 ± 0.0082",
            "2",
            "best validation accuracy",
        ];
        assert_eq!(accuracy, expected);
        for detection in &tables[1..3] {
            let rows = rows(detection);
            // The first metric is TNR here and AUROC there, which are alike.
            let expected = [
                [label, "svhn", "MDS", "2", "87.5 ± 17.7"],
                [label, "lsun-resize", "MDS", "2", "62.5 ± 17.7"],
                [label, "average", "MDS", "2", "75.0 ± 0.0"],
            ];
            for (row, expected) in rows.iter().zip(expected) {
                assert_eq!(row[..5], expected, "{}", detection.title);
                assert_eq!(row.len(), 9);
            }
            assert_eq!(rows.len(), 3);
        }
        let all = rows(&tables[3]);
        assert_eq!(all.len(), 4);
        assert_eq!(all[1], [label, "svhn", "MPS", "2", "87.5 ± 17.7", "87.5 ± 17.7"]);
        let text = tables[3].to_string();
        let start = "## Detection with all scores, papers' convention\n\nIn percent.\n\n| cell ";
        assert!(text.starts_with(start), "{text}");
    }

    #[test]
    fn averages_say_which_sets_are_missing() {
        let executions = [
            execution(HeadKind::IsoMaxPlus, 1, &[("svhn", 0), ("noise", 2)]),
            execution(HeadKind::IsoMaxPlus, 2, &[("svhn", 1)]),
        ];
        let rows = rows(&tables(&executions)[1]);
        assert_eq!(rows[1][1..5], ["noise", "MDS", "1", "50.0"]);
        assert_eq!(rows[2][1..5], ["average of 1 of 2 sets", "MDS", "2", "87.5 ± 17.7"]);
    }

    #[test]
    fn selection_on_test_is_marked_in_every_table() {
        let mut executions = two();
        executions.iter_mut().for_each(|e| training(e).selection = Selection::Test);
        let tables = tables(&executions);
        assert_eq!(tables.len(), 5);
        for row in tables.iter().flat_map(rows) {
            assert_eq!(row[0], "cifar10 densenet-bc-100 isomax+ (selected on test)");
        }
    }
}
