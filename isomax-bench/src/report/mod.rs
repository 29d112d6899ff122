//! A page that shows results as tables, charts and pictures: one HTML file that needs nothing
//! beside itself, on a screen or on paper.

mod charts;
mod html;

use std::io;
use std::path::{Path, PathBuf};

use isomax_burn::metrics::MetricError;

use self::html::Page;
use crate::analyze::published::EPOCHS;
use crate::analyze::{Experiment, NamedTable, csv_files, experiments, tables};
use crate::data::{IMAGE_FOLDER, PublishedSet};
use crate::results::{self, Evaluation, ResultError, Run, Selection, Training};
use crate::scores::ScoreFileError;
use crate::train::Prototypes;
use isomax_charts::MeanStd;

/// Why a page cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A score file is damaged.
    #[error(transparent)]
    Scores(#[from] ScoreFileError),
    /// Scores have no ROC curve.
    #[error("{}: {source}", path.display())]
    Metric {
        /// The file with the scores of the OOD set.
        path: PathBuf,
        /// What is wrong with them.
        source: MetricError,
    },
    /// A picture cannot be read.
    #[error("{}: {source}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A picture is something else.
    #[error("{}: expected a PNG file", path.display())]
    NotAPicture {
        /// The file.
        path: PathBuf,
    },
    /// A result cannot be read, or the page cannot be written.
    #[error(transparent)]
    Result(#[from] ResultError),
}

/// Sizes of test splits.
const TEST_IMAGES: [(&str, usize); 5] = [
    ("cifar10", 10_000),
    ("cifar100", 10_000),
    ("svhn", 26_032),
    ("tiny-imagenet-resize", 10_000),
    ("lsun-resize", 10_000),
];
/// Images of the training splits as published.
const TRAINING_IMAGES: [(&str, usize); 3] =
    [("cifar10", 50_000), ("cifar100", 50_000), ("svhn", 73_257)];
/// Bytes of PNG files that a page may hold; in Base64 they are a third longer.
const PICTURE_BYTES: u64 = 3 << 20;

/// The name of the page in a folder of results.
pub const PAGE: &str = "report.html";

/// Writes all that can be made of a folder of results into it: the [`csv_files`] and the page; and
/// returns the tables.
///
/// # Errors
///
/// [`ReportError`].
pub fn publish(folder: &Path) -> Result<Vec<NamedTable>, ReportError> {
    let runs = results::find_runs(&[folder.to_owned()])?;
    let tables = tables(&runs);
    csv_files::write(folder, &runs)?;
    write(folder.join(PAGE), &runs, &tables)?;
    Ok(tables)
}

/// Writes a page, which appears whole or not at all.
///
/// # Arguments
///
/// As those of [`render`].
///
/// # Errors
///
/// [`ReportError`].
pub fn write(
    path: impl AsRef<Path>,
    runs: &[Run],
    tables: &[NamedTable],
) -> Result<(), ReportError> {
    results::write_bytes(path, render(runs, tables)?.as_bytes())?;
    Ok(())
}

/// Makes a page as HTML.
///
/// # Arguments
///
/// - `runs`: what is shown, with the score files and pictures in their folders; where there
///   are none, the page says so
/// - `tables`: shown as they are
///
/// # Errors
///
/// [`ReportError`] if a score file or a picture is damaged.
pub fn render(runs: &[Run], tables: &[NamedTable]) -> Result<String, ReportError> {
    let experiments = experiments(runs);
    let mut page = Page::new("Out-of-distribution detection");
    page.section("overview", "What was run", &overview(runs));
    let tables: String = (tables.iter())
        .map(|named| html::table(&named.title, named.note.as_deref(), named.table.rows()))
        .collect();
    if !tables.is_empty() {
        page.section("tables", "Tables", &tables);
    }
    let mut bytes_left = PICTURE_BYTES;
    for (index, experiment) in experiments.iter().enumerate() {
        let figures = figures(experiment, &mut bytes_left)?;
        page.section(&format!("experiment-{}", index + 1), experiment.label(), &figures);
    }
    page.section("reading", "How to read it", &reading());
    Ok(page.finish())
}

fn network(evaluation: &Evaluation) -> String {
    let fpr = if evaluation.fpr { " and FPR" } else { "" };
    format!("{} with {}{fpr}", evaluation.architecture, evaluation.head.title())
}

fn overview(runs: &[Run]) -> String {
    if runs.is_empty() {
        return html::note("There are no runs.");
    }
    let evaluations = || runs.iter().map(|run| &run.evaluation);
    let trained = |text: fn(&Training) -> String| {
        let text = |e: &Evaluation| e.training.as_ref().map_or("not recorded".to_owned(), text);
        distinct(evaluations().map(text))
    };
    let epochs = |training: &Training| match training.epochs < training.planned_epochs {
        true => format!("{} of {} planned", training.epochs, training.planned_epochs),
        false => training.epochs.to_string(),
    };
    let detections = evaluations().flat_map(|evaluation| &evaluation.detection);
    let sets = detections.map(|detection| format!("{} ({})", detection.set, detection.source));
    let facts = [
        ("Networks", distinct(evaluations().map(network))),
        ("ID sets", distinct(evaluations().map(|e| format!("{} ({})", e.id_data, e.data)))),
        ("OOD sets", distinct(sets)),
        ("Start", trained(start)),
        ("Epochs", trained(epochs)),
        ("Weights", trained(|training| training.selection.description().to_owned())),
        ("Backend", trained(|training| training.backend.clone())),
        ("Runs", runs.len().to_string()),
    ];
    let reasons = reservations(runs);
    html::warning("Before you compare these numbers with others:", &reasons)
        + &html::definitions(&facts)
}

/// The texts, each once.
fn distinct(texts: impl Iterator<Item = String>) -> String {
    let mut seen: Vec<String> = Vec::new();
    for text in texts {
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen.join("; ")
}

/// What sets the runs apart from those of the papers.
fn reservations(runs: &[Run]) -> Vec<String> {
    let mut reasons = Vec::new();
    let trainings = || runs.iter().filter_map(|e| e.evaluation.training.as_ref());
    // Of images of one's own, nothing is published to compare with.
    let published = || runs.iter().filter(|run| is_published(&run.evaluation.id_data));
    let of_published = || published().filter_map(|run| run.evaluation.training.as_ref());

    let epochs = || of_published().map(|t| t.epochs).filter(|&epochs| epochs < EPOCHS);
    if let (Some(fewest), Some(most)) = (epochs().min(), epochs().max()) {
        let range = if fewest == most { fewest.to_string() } else { format!("{fewest} to {most}") };
        reasons.push(format!(
            "{} of {} runs had fewer than the {EPOCHS} epochs of the papers \
             ({range}): their numbers are no reproduction.",
            epochs().count(),
            published().count()
        ));
    }

    let mut parts = Vec::new();
    for Run { evaluation, .. } in runs {
        // Folders of OOD images do not tell: that is how some are published.
        if evaluation.data == IMAGE_FOLDER && is_published(&evaluation.id_data) {
            parts.push(format!("{}: {}", evaluation.id_data, evaluation.data));
        }
        let id = (evaluation.id_data.as_str(), evaluation.images);
        let ood = evaluation.detection.iter().map(|d| (d.set.as_str(), d.images));
        for (set, images) in ood.chain([id]) {
            let published = TEST_IMAGES.iter().find(|(published, _)| *published == set);
            if let Some((_, all)) = published.filter(|(_, all)| images < *all) {
                parts.push(format!("{set}: {images} of {all} test images"));
            }
        }
    }
    if !parts.is_empty() {
        let parts = distinct(parts.into_iter());
        reasons.push(format!("Some data is a copy or a part of what was published ({parts})."));
    }

    let parts = runs.iter().filter_map(|run| {
        let Evaluation { id_data, training, .. } = &run.evaluation;
        let training = training.as_ref()?;
        let (_, all) = TRAINING_IMAGES.iter().find(|(set, _)| set == id_data)?;
        let used = training.train_images + training.validation_images;
        (used < *all).then(|| format!("{id_data}: {used} of {all} training images"))
    });
    let parts = distinct(parts);
    if !parts.is_empty() {
        reasons
            .push(format!("Some networks were trained on a part of the published set ({parts})."));
    }

    if trainings().any(|training| training.recipe.get("prototypes") == Some(text_of(CLASS_MEANS))) {
        reasons.push(
            "Some prototypes began at the class means, which is not the papers' initialisation; \
             a nearest class mean without training gives a part of what is seen."
                .to_owned(),
        );
    }

    if trainings().any(Training::is_validated_on_test) {
        reasons.push(
            "Some trainings were validated on the test images, as their curves say.".to_owned(),
        );
    }

    if trainings().any(|training| training.selection == Selection::Test) {
        reasons.push(
            "Weights were chosen by their accuracy on the test split, as in the published code: \
             the test accuracy is not that of unseen images."
                .to_owned(),
        );
    }
    reasons
}

/// The name in files of prototypes that begin at the class means.
const CLASS_MEANS: &str = Prototypes::ClassMeans.name();

/// A text as recipes have it.
fn text_of(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether a set is one that the papers used.
fn is_published(id_data: &str) -> bool {
    id_data.parse::<PublishedSet>().is_ok()
}

/// What the weights and the prototypes of a training began with.
fn start(training: &Training) -> String {
    let field = |name: &str| training.recipe.get(name).unwrap_or_default();
    let (sum, prototypes) = (field("init_sha256"), field("prototypes"));
    let sum: String = sum.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    let weights = match field("init_sha256").starts_with('"') {
        true => format!("pretrained weights with the sum {sum}…"),
        false => "weights at random".to_owned(),
    };
    match prototypes == text_of(CLASS_MEANS) {
        true => format!("{weights}, prototypes at the class means"),
        false => weights,
    }
}

/// All there is to see of an experiment.
fn figures(experiment: &Experiment<'_>, bytes_left: &mut u64) -> Result<String, ReportError> {
    let first = experiment.runs()[0];
    let Evaluation { data, temperature, .. } = &first.evaluation;
    let accuracies = experiment.runs().iter().map(|e| 100.0 * e.evaluation.classification.accuracy);
    let accuracy: MeanStd = accuracies.collect();
    let count = match experiment.runs().len() {
        1 => "One run".to_owned(),
        count => format!("{count} runs"),
    };
    let summary = format!(
        "{count}: accuracy {accuracy:.2} %, temperature {temperature}, data: {data}. Figures of a \
         single network show run {}, the first.",
        first.number
    );
    Ok([
        html::paragraph(&summary),
        html::heading("Training"),
        charts::training(experiment),
        html::heading("Detection"),
        charts::detection(first)?,
        html::heading("Calibration"),
        charts::reliability(first),
        html::heading("Images that are told apart worst"),
        charts::worst(first, bytes_left)?,
    ]
    .concat())
}

fn reading() -> String {
    let terms = [
        (
            "Score",
            "A number for each image, high for images of the ID classes. A detector accepts \
             images whose score is at least its threshold.",
        ),
        (
            "TNR@TPR95",
            "The share of OOD images that is rejected at the threshold that accepts 95 % of the \
             ID images. High is good.",
        ),
        (
            "AUROC",
            "The probability that an ID image scores higher than an OOD image; 50 % is guessing. \
             High is good.",
        ),
        (
            "DTACC",
            "Detection accuracy: the best mean of the shares of ID images accepted and of OOD \
             images rejected, over all thresholds. High is good.",
        ),
        (
            "AUIN, AUOUT",
            "The areas under the precision-recall curves with ID images as positive (AUIN) and \
             with OOD images as positive (AUOUT). Both depend on the sizes of the sets.",
        ),
        (
            "ECE, MCE",
            "Expected calibration error: how far confidence and accuracy lie apart, as a mean over \
             bins of confidence, weighted by their images; MCE is the largest such gap. Low is \
             good.",
        ),
        (
            "Conventions of the field",
            "ID images are positive, except for FPR95, where OOD images are. The threshold is \
             the strictest that accepts at least 95 %. Equal scores are accepted together and \
             count one half in the AUROC.",
        ),
        (
            "Conventions of the papers",
            "As the published code computes: the threshold is the one that accepts nearest to \
             95 %, equal scores count against the detector, and precision-recall curves have \
             artificial ends. With thousands of images of different scores both \
             conventions agree to about 0.1 points, with many equal scores they do not.",
        ),
    ];
    html::definitions(&terms.map(|(term, text)| (term, text.to_owned())))
}

#[cfg(test)]
mod tests;
