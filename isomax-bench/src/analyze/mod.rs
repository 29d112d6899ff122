//! From runs to tables: means and standard deviations over the runs of each experiment.

pub mod csv_files;
pub mod published;

use std::collections::BTreeMap;
use std::fmt;

use isomax_burn::{HeadKind, Moments};
use isomax_models::Architecture;
use serde::{Deserialize, Serialize};

use crate::measures::{
    ACCURACY, CALIBRATION, CALIBRATION_OTHERS, ClassificationMeasure, FIELD, FIELD_OTHERS, Measure,
    PAPERS, PAPERS_AUROC, PAPERS_TNR,
};
use crate::methods_table::{NOTE, methods_table};
use crate::results::{Detection, Evaluation, Recipe, Run, Selection, Training};
use isomax_charts::{MeanStd, Table};

/// Runs that differ in their seeds alone: the same network, head and add-on, the same data, and
/// the same recipe.
#[derive(Debug, Clone)]
pub struct Experiment<'a> {
    label: String,
    /// At least one.
    runs: Vec<&'a Run>,
}

/// Groups runs into experiments: sorted by ID set, network, head and then by what else tells
/// them apart, whatever the order of the runs is.
pub fn experiments(runs: &[Run]) -> Vec<Experiment<'_>> {
    let mut groups = BTreeMap::<_, Vec<&Run>>::new();
    for run in runs {
        groups.entry(key(run)).or_default().push(run);
    }
    let mut experiments = Vec::new();
    for mut runs in groups.into_values() {
        runs.sort_by(|a, b| (a.number, &a.folder).cmp(&(b.number, &b.folder)));
        experiments.push(Experiment { label: String::new(), runs });
    }
    let names: Vec<Name> = experiments.iter().map(Experiment::name).collect();
    for (experiment, name) in experiments.iter_mut().zip(&names) {
        experiment.label = name.label(&names);
        if experiment.selection() == Some(Selection::Test) {
            experiment.label.push_str(" (selected on test)");
        }
    }
    experiments
}

/// What tells an experiment from others.
struct Name {
    title: String,
    /// What of the title's experiments is told apart by, in words.
    facts: [String; 4],
    recipe: Recipe,
}

impl Name {
    /// A short label: only what differs among the experiments of one title is said, and the fields of the
    /// recipe only where nothing else differs.
    fn label(&self, all: &[Self]) -> String {
        let others = || all.iter().filter(|other| other.title == self.title);
        let differs = |at: &usize| others().any(|other| other.facts[*at] != self.facts[*at]);
        let facts = (0..self.facts.len()).filter(differs).map(|at| self.facts[at].clone());
        let alike = || others().filter(|other| other.facts == self.facts);
        let mut fields: Vec<&str> = alike().flat_map(|other| other.recipe.fields()).collect();
        fields.sort_unstable();
        fields.dedup();
        fields.retain(|field| alike().any(|o| o.recipe.get(field) != self.recipe.get(field)));
        let fields = fields.into_iter().map(|field| match self.recipe.get(field).as_deref() {
            Some("null") => format!("{} none", field.replace('_', " ")),
            Some(value) => format!("{} {value}", field.replace('_', " ")),
            None => format!("{} not recorded", field.replace('_', " ")),
        });
        let mut apart: Vec<String> = facts.chain(fields).collect();
        apart.dedup();
        match apart.is_empty() {
            true => self.title.clone(),
            false => format!("{} [{}]", self.title, apart.join("; ")),
        }
    }
}

/// What runs of one experiment have in common.
fn key(run: &Run) -> impl Ord {
    let evaluation = &run.evaluation;
    let Evaluation { architecture, head, fpr, id_data, data, training, .. } = evaluation;
    let training = training.as_ref().map(|t| {
        let images = (t.train_images, t.validation_images);
        (t.planned_epochs, t.selection, images, t.recipe.to_string())
    });
    // Published networks before those of users, smaller ones before larger ones.
    let published = architecture.parse::<Architecture>().ok();
    (id_data, (published.is_none(), published, architecture), *head, *fpr, data, training)
}

/// The numbers of the runs that have a value, and the values.
type Values = (Vec<usize>, Vec<f64>);

impl<'a> Experiment<'a> {
    /// ID set, network and head, then what tells the experiment from others of this name, and a mark
    /// if the weights were selected on the test split.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// At least one, in the order of their numbers.
    pub fn runs(&self) -> &[&'a Run] {
        &self.runs
    }

    /// Of the first run: for what all have in common.
    pub fn evaluation(&self) -> &'a Evaluation {
        &self.runs[0].evaluation
    }

    fn training(&self) -> Option<&'a Training> {
        self.evaluation().training.as_ref()
    }

    fn selection(&self) -> Option<Selection> {
        self.training().map(|training| training.selection)
    }

    fn name(&self) -> Name {
        let Evaluation { architecture, head, fpr, id_data, data, .. } = self.evaluation();
        let fpr = if *fpr { " with FPR" } else { "" };
        let say = |text: fn(&Training) -> String| {
            self.training().map_or_else(|| "unknown training".to_owned(), text)
        };
        let facts = [
            data.clone(),
            say(|t| format!("{} epochs", t.planned_epochs)),
            say(|t| t.selection.description().to_owned()),
            say(|t| format!("{} + {} images", t.train_images, t.validation_images)),
        ];
        let recipe = self.training().map(|training| training.recipe.clone()).unwrap_or_default();
        Name { title: format!("{id_data} {architecture} {head}{fpr}"), facts, recipe }
    }

    /// Epochs that were trained, as `300`, or as `30 of 300 epochs` if they are not `whole`.
    fn epochs_of(&self, whole: usize) -> String {
        let trainings = self.runs.iter().filter_map(|e| e.evaluation.training.as_ref());
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

    fn values(&self, value: impl Fn(&Run) -> Option<f64>) -> Values {
        let values = self.runs.iter();
        values.filter_map(|&run| Some((run.number, value(run)?))).unzip()
    }

    /// Sets and scores that any run has, in their order.
    fn pairs(&self, keep: impl Fn(&Detection) -> bool) -> Vec<Pair<'a>> {
        let mut pairs = Vec::new();
        for detection in self.runs.iter().copied().flat_map(|e| &e.evaluation.detection) {
            let pair = Pair::of(detection);
            if keep(detection) && !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        pairs
    }

    /// The name of a set, and which copy of it, if runs have different ones.
    fn set_label(&self, pair: &Pair<'a>) -> String {
        let copies =
            self.pairs(|detection| detection.set == pair.set && detection.label() == pair.score);
        match copies.len() {
            0 | 1 => pair.set.to_owned(),
            _ => format!("{} ({}, {} images)", pair.set, pair.source, pair.images),
        }
    }

    fn detection_row(
        &self,
        (set, score): (String, &str),
        measures: &[Measure],
        value: impl Fn(&Run, &Measure) -> Option<f64>,
    ) -> Vec<String> {
        let column = |measure| self.values(|run| value(run, measure)).1;
        let columns: Vec<Vec<f64>> = measures.iter().map(column).collect();
        let n = columns.first().map_or(0, Vec::len);
        let mut row = vec![self.label.clone(), set, score.to_string(), n.to_string()];
        row.extend(columns.iter().map(|values| percent(values)));
        row
    }

    /// The mean over sets is formed for each run first, so it must be over the same sets.
    fn average_row(&self, pairs: &[Pair<'a>], measures: &[Measure]) -> Vec<String> {
        let everywhere = |pair: &Pair| self.runs.iter().all(|e| find(e, pair).is_some());
        let shared: Vec<_> = pairs.iter().filter(|pair| everywhere(pair)).collect();
        let set = match shared.len() == pairs.len() {
            true => "average".to_owned(),
            false => format!("average of {} of {} sets", shared.len(), pairs.len()),
        };
        self.detection_row((set, &pairs[0].score), measures, |run, measure| {
            let found = shared.iter().filter_map(|pair| find(run, pair));
            found.map(measure.of).collect::<Moments>().mean()
        })
    }

    fn summary_row(
        &self,
        metric: &str,
        of: Option<(&Pair, Convention)>,
        (runs, values): Values,
    ) -> Option<SummaryRow> {
        let (evaluation, training) = (self.evaluation(), self.training());
        let moments: Moments = values.iter().copied().collect();
        Some(SummaryRow {
            experiment: self.label.clone(),
            architecture: evaluation.architecture.clone(),
            head: evaluation.head,
            fpr: evaluation.fpr,
            id_data: evaluation.id_data.clone(),
            data: evaluation.data.clone(),
            planned_epochs: training.map(|t| t.planned_epochs),
            selection: self.selection(),
            train_images: training.map(|t| t.train_images),
            validation_images: training.map(|t| t.validation_images),
            metric: metric.to_owned(),
            set: of.map(|(pair, _)| pair.set.to_owned()),
            source: of.map(|(pair, _)| pair.source.to_owned()),
            images: of.map(|(pair, _)| pair.images),
            score: of.map(|(pair, _)| pair.score.clone()),
            convention: of.map(|(_, convention)| convention),
            n: values.len(),
            mean: moments.mean()?,
            std: moments.std(),
            runs,
            values,
        })
    }
}

/// A set and a score. Another copy of a set, as a sample of it, is another set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair<'a> {
    set: &'a str,
    source: &'a str,
    images: usize,
    score: String,
}

impl<'a> Pair<'a> {
    fn of(detection: &'a Detection) -> Self {
        let Detection { set, source, images, .. } = detection;
        Self { set, source, images: *images, score: detection.label() }
    }
}

fn find<'a>(run: &'a Run, pair: &Pair) -> Option<&'a Detection> {
    run.evaluation.detection.iter().find(|detection| Pair::of(detection) == *pair)
}

/// Whose conventions a detection metric follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Convention {
    /// Those of the field, [`OodMetrics`](isomax_burn::metrics::OodMetrics).
    Field,
    /// Those of the papers' code, [`PaperMetrics`](isomax_burn::metrics::PaperMetrics).
    Papers,
}

/// All metrics of all experiments, tidy: one row for each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// Experiment after experiment, in the order of [`experiments`].
    pub rows: Vec<SummaryRow>,
}

/// One metric of one experiment. Shares lie in `[0, 1]`, as in the evaluations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SummaryRow {
    /// The label of the experiment, as in the tables.
    pub experiment: String,
    /// The network.
    pub architecture: String,
    /// Its last layer.
    pub head: HeadKind,
    /// Whether it was trained with fractional probability regularisation.
    pub fpr: bool,
    /// The in-distribution set.
    pub id_data: String,
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
    /// Which copy of the OOD set.
    pub source: Option<String>,
    /// Number of images of the OOD set.
    pub images: Option<usize>,
    /// The score of a detection metric.
    pub score: Option<String>,
    /// The convention of a detection metric.
    pub convention: Option<Convention>,
    /// Number of runs that have the metric, at least 1.
    pub n: usize,
    /// Mean over them.
    pub mean: f64,
    /// Sample standard deviation (divisor `n - 1`); none for one run.
    pub std: Option<f64>,
    /// Their numbers.
    pub runs: Vec<usize>,
    /// Their values, in the same order.
    pub values: Vec<f64>,
}

/// Computes all metrics of all experiments.
pub fn summary(runs: &[Run]) -> Summary {
    let mut rows = Vec::new();
    for experiment in experiments(runs) {
        let classification = [ACCURACY].into_iter().chain(CALIBRATION).chain(CALIBRATION_OTHERS);
        for ClassificationMeasure { name, of } in classification {
            let values = experiment.values(|run| of(&run.evaluation));
            rows.extend(experiment.summary_row(name, None, values));
        }
        let papers = PAPERS.map(|measure| (Convention::Papers, measure)).into_iter();
        let field = FIELD.into_iter().chain(FIELD_OTHERS);
        let measures = papers.chain(field.map(|measure| (Convention::Field, measure)));
        for pair in experiment.pairs(|_| true) {
            for (convention, Measure { name, of }) in measures.clone() {
                let values = experiment.values(|e| find(e, &pair).map(of));
                rows.extend(experiment.summary_row(name, Some((&pair, convention)), values));
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
/// conventions, detection with all scores, what the papers print beside it, and post-hoc methods by sets.
pub fn tables(runs: &[Run]) -> Vec<NamedTable> {
    let experiments = experiments(runs);
    let averages = "In percent, with the score that the papers use with the head. An average is \
                    formed for each run first, over the sets that all runs of the \
                    experiment have.";
    let tables = [
        classification(&experiments),
        detection(&experiments, "Detection, papers' convention", averages, &PAPERS, true),
        detection(&experiments, "Detection, field's convention", averages, &FIELD, true),
        detection(
            &experiments,
            "Detection with all scores, papers' convention",
            "In percent.",
            &[PAPERS_TNR, PAPERS_AUROC],
            false,
        ),
        published::comparison(&experiments),
    ];
    tables.into_iter().flatten().chain(experiments.iter().filter_map(methods)).collect()
}

fn classification(experiments: &[Experiment<'_>]) -> Option<NamedTable> {
    let row = |experiment: &Experiment<'_>| {
        let n = experiment.runs.len();
        let values =
            |measure: ClassificationMeasure| experiment.values(|e| (measure.of)(&e.evaluation)).1;
        let mut row = vec![experiment.label.clone(), n.to_string(), percent(&values(ACCURACY))];
        row.extend(CALIBRATION.map(|measure| number(&values(measure), n)));
        row.push(
            experiment
                .epochs_of(experiment.training().map_or(0, |training| training.planned_epochs)),
        );
        row.push(experiment.selection().map_or("unknown", Selection::description).to_owned());
        row.push(experiment.data());
        row
    };
    let columns = [
        "experiment",
        "n",
        "accuracy %",
        "ECE",
        "NLL",
        "ECE calibrated",
        "epochs",
        "weights chosen by",
        "data",
    ];
    let note = "On test images of ID classes: mean ± sample standard deviation over n \
                runs. The temperature of the calibrated ECE was fitted on held-out images.";
    named("Classification", note, columns, experiments.iter().map(row).collect())
}

fn detection(
    experiments: &[Experiment<'_>],
    title: &str,
    note: &str,
    measures: &[Measure],
    default_only: bool,
) -> Option<NamedTable> {
    let mut rows = Vec::new();
    for experiment in experiments {
        let pairs = experiment
            .pairs(|detection| detection.is_default || !(default_only || detection.is_method()));
        for pair in &pairs {
            rows.push(experiment.detection_row(
                (experiment.set_label(pair), &pair.score),
                measures,
                |e, measure| find(e, pair).map(measure.of),
            ));
        }
        if default_only && pairs.len() > 1 {
            rows.push(experiment.average_row(&pairs, measures));
        }
    }
    let columns = ["experiment", "set", "score", "n"].into_iter();
    named(title, note, columns.chain(measures.iter().map(|measure| measure.name)), rows)
}

/// Post-hoc methods of an experiment beside its scores.
fn methods(experiment: &Experiment<'_>) -> Option<NamedTable> {
    let evaluations: Vec<&Evaluation> = experiment.runs.iter().map(|run| &run.evaluation).collect();
    let table = methods_table(&evaluations)?;
    let title = format!("Methods, {}", experiment.label);
    let runs = experiment.runs.len();
    let s = if runs == 1 { "" } else { "s" };
    Some(NamedTable { title, note: Some(format!("{runs} run{s}. {NOTE}")), table })
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

/// Says how many of the `n` runs have a value, if some do not.
fn number(values: &[f64], n: usize) -> String {
    let text = format!("{:.4}", values.iter().copied().collect::<MeanStd>());
    match values.len() {
        0 => text,
        some if some == n => text,
        some => format!("{text} ({some} of {n})"),
    }
}

#[cfg(test)]
pub(crate) mod tests;
