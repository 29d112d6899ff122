//! A page that shows results as tables, charts and pictures: one HTML file that needs nothing
//! beside itself, on a screen or on paper.

mod charts;
mod html;
mod svg;

use std::io;
use std::path::{Path, PathBuf};

use isomax_burn::metrics::MetricError;

use self::html::Page;
use crate::analyze::NamedTable;
use crate::results::{self, Evaluation, Execution, ResultError, Selection, Training};
use crate::scores::ScoreFileError;
use crate::table::MeanStd;

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
    /// The page cannot be written.
    #[error(transparent)]
    Write(#[from] ResultError),
}

/// Epochs of the papers' networks.
const PUBLISHED_EPOCHS: usize = 300;
/// Sizes of test splits.
const TEST_IMAGES: [(&str, usize); 3] =
    [("cifar10", 10_000), ("cifar100", 10_000), ("svhn", 26_032)];
/// Words by which [`Evaluation::data`] says that the data may differ from what was published.
const COPIES: [&str; 5] = ["image folder", "copy", "sample", "subset", "synthetic"];
/// Bytes of PNG files that a page may hold; in Base64 they are a third longer.
const PICTURE_BYTES: u64 = 3 << 20;

/// Executions of the same network on the same set: never none, in the order of their numbers.
struct Cell<'a> {
    executions: Vec<&'a Execution>,
}

impl<'a> Cell<'a> {
    fn first(&self) -> &'a Execution {
        self.executions[0]
    }
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
    executions: &[Execution],
    tables: &[NamedTable],
) -> Result<(), ReportError> {
    results::write_bytes(path, render(executions, tables)?.as_bytes())?;
    Ok(())
}

/// Makes a page as HTML.
///
/// # Arguments
///
/// - `executions`: what is shown, with the score files and pictures in their folders; where there
///   are none, the page says so
/// - `tables`: shown as they are
///
/// # Errors
///
/// [`ReportError`] if a score file or a picture is damaged.
pub fn render(executions: &[Execution], tables: &[NamedTable]) -> Result<String, ReportError> {
    let cells = cells(executions);
    let mut page = Page::new("Out-of-distribution detection");
    page.section("overview", "What was run", &overview(executions));
    let tables: String = (tables.iter())
        .map(|named| html::table(&named.title, named.note.as_deref(), named.table.rows()))
        .collect();
    if !tables.is_empty() {
        page.section("tables", "Tables", &tables);
    }
    let mut room = PICTURE_BYTES;
    for (index, cell) in cells.iter().enumerate() {
        let evaluation = &cell.first().evaluation;
        let heading = format!("{} on {}", network(evaluation), evaluation.known);
        page.section(&format!("cell-{}", index + 1), &heading, &figures(cell, &mut room)?);
    }
    page.section("reading", "How to read it", &reading());
    Ok(page.finish())
}

fn cells(executions: &[Execution]) -> Vec<Cell<'_>> {
    let mut cells: Vec<Cell<'_>> = Vec::new();
    for execution in executions {
        let new = &execution.evaluation;
        let same = |cell: &Cell<'_>| {
            let old = &cell.first().evaluation;
            (old.architecture, old.head, old.fpr) == (new.architecture, new.head, new.fpr)
                && old.known == new.known
        };
        match cells.iter().position(same) {
            Some(index) => cells[index].executions.push(execution),
            None => cells.push(Cell { executions: vec![execution] }),
        }
    }
    for cell in &mut cells {
        cell.executions.sort_by_key(|execution| execution.number);
    }
    cells
}

fn network(evaluation: &Evaluation) -> String {
    let fpr = if evaluation.fpr { " and FPR" } else { "" };
    format!("{} with {}{fpr}", evaluation.architecture, evaluation.head.title())
}

fn overview(executions: &[Execution]) -> String {
    if executions.is_empty() {
        return html::note("There are no executions.");
    }
    let evaluations = || executions.iter().map(|execution| &execution.evaluation);
    let trained = |text: fn(&Training) -> String| {
        let text = |e: &Evaluation| e.training.as_ref().map_or("not recorded".to_owned(), text);
        distinct(evaluations().map(text))
    };
    let epochs = |training: &Training| match training.epochs < training.planned_epochs {
        true => format!("{} of {} planned", training.epochs, training.planned_epochs),
        false => training.epochs.to_string(),
    };
    let sets = evaluations().flat_map(charts::set_names).map(str::to_owned);
    let facts = [
        ("Networks", distinct(evaluations().map(network))),
        ("Known sets", distinct(evaluations().map(|e| format!("{} ({})", e.known, e.data)))),
        ("OOD sets", distinct(sets)),
        ("Epochs", trained(epochs)),
        ("Weights", trained(|training| training.selection.description().to_owned())),
        ("Backend", trained(|training| training.backend.clone())),
        ("Executions", executions.len().to_string()),
    ];
    let reasons = reservations(executions);
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

/// What sets the executions apart from those of the papers.
fn reservations(executions: &[Execution]) -> Vec<String> {
    let mut reasons = Vec::new();
    let trainings = || executions.iter().filter_map(|e| e.evaluation.training.as_ref());

    let epochs = || trainings().map(|t| t.epochs).filter(|&epochs| epochs < PUBLISHED_EPOCHS);
    if let (Some(fewest), Some(most)) = (epochs().min(), epochs().max()) {
        let range = if fewest == most { fewest.to_string() } else { format!("{fewest} to {most}") };
        reasons.push(format!(
            "{} of {} executions had fewer than the {PUBLISHED_EPOCHS} epochs of the papers \
             ({range}): their numbers are no reproduction.",
            epochs().count(),
            executions.len()
        ));
    }

    let mut parts = Vec::new();
    for Execution { evaluation, .. } in executions {
        let data = evaluation.data.to_lowercase();
        if COPIES.iter().any(|word| data.contains(*word)) {
            parts.push(format!("{}: {}", evaluation.known, evaluation.data));
        }
        let known = (evaluation.known.as_str(), evaluation.images);
        let unknown = evaluation.detection.iter().map(|d| (d.set.as_str(), d.images));
        for (set, images) in unknown.chain([known]) {
            let name = set.to_lowercase().replace(['-', '_'], "");
            let published = TEST_IMAGES.iter().find(|(published, _)| *published == name);
            if let Some((_, all)) = published.filter(|(_, all)| images < *all) {
                parts.push(format!("{set}: {images} of {all} test images"));
            }
        }
    }
    if !parts.is_empty() {
        let parts = distinct(parts.into_iter());
        reasons.push(format!("Some data is a copy or a part of what was published ({parts})."));
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

/// All there is to see of a cell.
fn figures(cell: &Cell<'_>, room: &mut u64) -> Result<String, ReportError> {
    let first = cell.first();
    let Evaluation { data, temperature, .. } = &first.evaluation;
    let accuracies = cell.executions.iter().map(|e| 100.0 * e.evaluation.classification.accuracy);
    let accuracy: MeanStd = accuracies.collect();
    let count = match cell.executions.len() {
        1 => "One execution".to_owned(),
        count => format!("{count} executions"),
    };
    let summary = format!(
        "{count}: accuracy {accuracy:.2} %, temperature {temperature}, data: {data}. Figures of a \
         single network show execution {}, the first.",
        first.number
    );
    Ok([
        html::paragraph(&summary),
        html::heading("Training"),
        charts::training(cell),
        html::heading("Detection"),
        charts::detection(first)?,
        html::heading("Calibration"),
        charts::reliability(first),
        html::heading("Images that are told apart worst"),
        charts::worst(first, room)?,
    ]
    .concat())
}

fn reading() -> String {
    let terms = [
        (
            "Score",
            "A number for each image, high for images of the known classes. A detector accepts \
             images whose score is at least its threshold.",
        ),
        (
            "TNR@TPR95",
            "The share of OOD images that is rejected at the threshold that accepts 95 % of the \
             known images. High is good.",
        ),
        (
            "AUROC",
            "The probability that a known image scores higher than an OOD image; 50 % is guessing. \
             High is good.",
        ),
        (
            "DTACC",
            "Detection accuracy: the best mean of the shares of known images accepted and of OOD \
             images rejected, over all thresholds. High is good.",
        ),
        (
            "AUIN, AUOUT",
            "The areas under the precision-recall curves with known images as positive (AUIN) and \
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
            "Known images are positive, except for FPR95, where OOD images are. The threshold is \
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
mod tests {
    use super::*;
    use crate::table::Table;

    use std::fs::{self, File};
    use std::io::BufWriter;

    use isomax_burn::metrics::{CalibrationMetrics, OodMetrics, PaperMetrics};
    use isomax_burn::{HeadKind, Score};

    use crate::results::{
        Calibrated, Detection, DetectorSummary, Epoch, History, KNOWN, SCORES, WORST,
    };

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    const INSIDE: [f32; 4] = [-0.5, -0.75, -1.0, -2.0];
    const OUTSIDE: [f32; 3] = [-1.5, -3.0, f32::NEG_INFINITY];

    fn training() -> Training {
        Training {
            seed: 1,
            epochs: 2,
            planned_epochs: 3,
            chosen_epoch: 2,
            selection: Selection::Test,
            train_images: 40,
            validation_images: 10,
            backend: "flex".into(),
            classes: vec!["one".to_owned(), "two".to_owned()],
        }
    }

    /// One execution without files.
    fn execution(
        folder: &Path,
        known: &str,
        set: &str,
    ) -> Result<Execution, Box<dyn std::error::Error>> {
        let classification =
            CalibrationMetrics::from_logits(&[2.0, 0.0, 0.0, 1.0], &[0, 0], 2, 15)?;
        let detection = Detection {
            set: set.to_owned(),
            images: OUTSIDE.len(),
            score: Score::MDS,
            is_default: true,
            field: OodMetrics::from_scores(&INSIDE, &OUTSIDE)?,
            paper: PaperMetrics::from_scores(&INSIDE, &OUTSIDE)?,
            rejected: Some(2.0 / 3.0),
        };
        let detector = DetectorSummary {
            score: Score::MDS,
            threshold: -1.75,
            target_tpr: 0.95,
            accepted: 0.75,
        };
        let evaluation = Evaluation {
            architecture: "resnet-20".parse()?,
            head: HeadKind::IsoMaxPlus,
            fpr: false,
            known: known.to_owned(),
            data: "a small copy".into(),
            temperature: 1.0,
            training: Some(training()),
            classification: classification.clone(),
            calibrated: Some(Calibrated { temperature: 0.5, classification }),
            images: INSIDE.len(),
            detector: Some(detector),
            detection: vec![detection],
        };
        Ok(Execution { folder: folder.to_owned(), number: 1, evaluation, history: None })
    }

    fn history(set: &str) -> History {
        let epoch = |epoch: usize| {
            let mut values: std::collections::BTreeMap<String, f64> = [
                ("loss", 1.0),
                ("accuracy", 50.0),
                ("intra_logits_mean", -1e3),
                ("intra_logits_std", 1.0),
                ("inter_logits_mean", -2e3),
                ("inter_logits_std", 1.0),
            ]
            .map(|(key, value)| (key.to_owned(), value / epoch as f64))
            .into();
            let train = values.clone();
            values.insert(format!("{set} AUROC"), 99.0);
            Epoch { epoch, learning_rate: 0.1, train, valid: values }
        };
        History { epochs: vec![epoch(1), epoch(2)] }
    }

    fn write_scores(folder: &Path, set: &str, scores: &[f32]) -> io::Result<()> {
        fs::create_dir_all(folder.join(SCORES))?;
        let lines: String = scores.iter().map(|score| format!("{score}\n")).collect();
        fs::write(folder.join(SCORES).join(format!("{set}.MDS.txt")), lines)
    }

    fn write_picture(folder: &Path, set: &str) -> TestResult {
        fs::create_dir_all(folder.join(WORST))?;
        let file = File::create(folder.join(WORST).join(format!("{set}.png")))?;
        let mut encoder = png::Encoder::new(BufWriter::new(file), 2, 1);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&[0, 1, 2, 3, 4, 5])?;
        writer.finish()?;
        Ok(())
    }

    /// One execution with all files.
    fn complete(folder: &Path) -> Result<Execution, Box<dyn std::error::Error>> {
        for (set, scores) in [(KNOWN, &INSIDE[..]), ("svhn", &OUTSIDE[..])] {
            write_scores(folder, set, scores)?;
            write_picture(folder, set)?;
        }
        Ok(Execution { history: Some(history("svhn")), ..execution(folder, "cifar10", "svhn")? })
    }

    fn named(title: &str, note: &str, cell: &str) -> Vec<NamedTable> {
        let mut table = Table::new([cell, "AUROC"]);
        table.row([cell, "97.0"]);
        vec![NamedTable { title: title.to_owned(), note: Some(note.to_owned()), table }]
    }

    fn tables() -> Vec<NamedTable> {
        named("Detection", "in percent", "network")
    }

    fn count(page: &str, text: &str) -> usize {
        page.matches(text).count()
    }

    #[test]
    fn a_page_has_all_figures_and_needs_nothing_else() -> TestResult {
        let folder = tempfile::tempdir()?;
        let first = complete(folder.path())?;
        let second = Execution { number: 2, ..first.clone() };
        let path = folder.path().join("report.html");
        write(&path, &[second, first], &tables())?;
        let page = fs::read_to_string(path)?;

        // Loss, accuracy, AUROC, logits; scores, ROC; reliability.
        assert_eq!((count(&page, "<svg"), count(&page, "<img")), (7, 2));
        assert_eq!(count(&page, "<figure>"), count(&page, "<figcaption>"));
        assert_eq!((count(&page, "class=\"note\""), count(&page, "<table>")), (0, 1));
        assert!(page.contains("2 executions: accuracy 50.00 ± 0.00 %"));
        assert!(page.contains("execution 1, the first"));
        assert!(page.contains("Infinite scores, not drawn: 1."));
        assert!(page.contains("2 of 3 planned"));
        assert!(!page.contains("NaN"));

        let links: Vec<&str> =
            page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(links, ["overview", "tables", "cell-1", "reading"]);
        for link in links {
            assert_eq!(count(&page, &format!(" id=\"{link}\"")), 1, "{link}");
        }
        assert_eq!(count(&page, "href="), 4);
        assert_eq!(count(&page, "src="), count(&page, "src=\"data:image/png;base64,"));
        assert!(!page.contains("http://") && !page.contains("https://"));
        assert!(!page.contains("url(") && !page.contains("@import"));
        Ok(())
    }

    #[test]
    fn what_is_missing_is_left_out() -> TestResult {
        let folder = tempfile::tempdir()?;
        let mut bare = execution(folder.path(), "cifar10", "svhn")?;
        let page = render(std::slice::from_ref(&bare), &[])?;
        assert_eq!((count(&page, "<svg"), count(&page, "<img")), (1, 0));
        assert!(page.contains("no history.json"));
        assert!(page.contains("no scores/known.MDS.txt"));
        assert!(page.contains("no pictures in the folder worst"));

        write_scores(folder.path(), KNOWN, &INSIDE)?;
        bare.history = Some(History::default());
        bare.evaluation.calibrated = None;
        bare.evaluation.training = None;
        let page = render(std::slice::from_ref(&bare), &[])?;
        assert!(page.contains("no files with MDS of: svhn"));
        assert!(page.contains("not recorded"));

        bare.evaluation.detection.clear();
        bare.evaluation.classification.bins.clear();
        let page = render(&[bare], &[])?;
        assert_eq!((count(&page, "<svg"), count(&page, "<img")), (0, 0));
        assert!(render(&[], &[])?.contains("There are no executions"));
        Ok(())
    }

    #[test]
    fn names_are_text_and_lead_nowhere() -> TestResult {
        let folder = tempfile::tempdir()?;
        let script = "<script>alert(1)</script>";
        let inner = folder.path().join("execution-1");
        write_scores(&inner, KNOWN, &INSIDE)?;
        write_scores(folder.path(), "svhn", &OUTSIDE)?;
        let mut evil = execution(&inner, script, script)?;
        evil.history = Some(history(script));
        evil.evaluation.data = script.to_owned();
        let mut outside = evil.evaluation.detection[0].clone();
        outside.set = "../../scores/svhn".to_owned();
        evil.evaluation.detection.push(outside);
        let page = render(&[evil], &named(script, script, script))?;
        assert!(!page.contains("<script"));
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(page.contains("../../scores/svhn.</p>"), "it must not be found");
        Ok(())
    }

    #[test]
    fn damaged_files_are_named() -> TestResult {
        let folder = tempfile::tempdir()?;
        let execution = complete(folder.path())?;
        let scores = folder.path().join(SCORES).join("svhn.MDS.txt");
        fs::write(&scores, "1.0\nNaN\n")?;
        let error = render(std::slice::from_ref(&execution), &[]).err().ok_or("no error")?;
        assert!(matches!(error, ReportError::Scores(_)));
        assert!(error.to_string().contains("svhn.MDS.txt:2"), "{error}");

        fs::write(&scores, "1.0\n")?;
        fs::write(folder.path().join(WORST).join("known.png"), "GIF89a")?;
        let error = render(&[execution], &[]).err().ok_or("no error")?;
        assert!(matches!(error, ReportError::NotAPicture { .. }));
        assert!(error.to_string().contains("known.png"), "{error}");
        Ok(())
    }

    #[test]
    fn what_the_papers_did_not_do_is_said() -> TestResult {
        let folder = tempfile::tempdir()?;
        let mut execution = execution(folder.path(), "CIFAR-10", "svhn")?;
        let reasons = reservations(std::slice::from_ref(&execution)).join("\n");
        assert!(reasons.contains("1 of 1 executions had fewer than the 300 epochs"), "{reasons}");
        assert!(reasons.contains("CIFAR-10: a small copy"), "{reasons}");
        assert!(reasons.contains("CIFAR-10: 4 of 10000 test images"), "{reasons}");
        assert!(reasons.contains("svhn: 3 of 26032 test images"), "{reasons}");
        assert!(reasons.contains("accuracy on the test split"), "{reasons}");

        let trained = Training { epochs: 300, selection: Selection::Validation, ..training() };
        execution.evaluation.training = Some(trained);
        execution.evaluation.data = "binary files, 10000 test images".into();
        execution.evaluation.images = 10_000;
        execution.evaluation.detection[0].images = 26_032;
        assert!(reservations(&[execution]).is_empty());
        Ok(())
    }

    #[test]
    fn executions_of_a_network_are_one_cell() -> TestResult {
        let first = execution(Path::new("a"), "cifar10", "svhn")?;
        let second = Execution { number: 2, ..first.clone() };
        let mut other = first.clone();
        other.evaluation.fpr = true;
        let executions = [second, other, first];
        let numbers: Vec<Vec<usize>> = (cells(&executions).iter())
            .map(|cell| cell.executions.iter().map(|execution| execution.number).collect())
            .collect();
        assert_eq!(numbers, [vec![1, 2], vec![1]]);
        Ok(())
    }
}
