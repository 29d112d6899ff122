use super::*;
use isomax_charts::Table;

use std::fs::{self, File};
use std::io::BufWriter;

use isomax_burn::metrics::{CalibrationMetrics, OodMetrics, PaperMetrics};
use isomax_burn::{HeadKind, Score};

use crate::results::{Calibrated, Detection, DetectorSummary, Epoch, History, ID, SCORES, WORST};

type TestResult = Result<(), Box<dyn std::error::Error>>;

const ID_SCORES: [f32; 4] = [-0.5, -0.75, -1.0, -2.0];
const OOD_SCORES: [f32; 3] = [-1.5, -3.0, f32::NEG_INFINITY];

fn training() -> Training {
    Training {
        seed: 1,
        epochs: 2,
        planned_epochs: 3,
        chosen_epoch: 2,
        selection: Selection::Test,
        train_images: 40,
        validation_images: 10,
        calibration_images: None,
        image_size: [32, 32],
        normalization: None,
        digest: String::new(),
        recipe: Default::default(),
        backend: "flex".into(),
        classes: vec!["one".to_owned(), "two".to_owned()],
    }
}

/// One run without files.
fn run(folder: &Path, id_data: &str, set: &str) -> Result<Run, Box<dyn std::error::Error>> {
    let classification = CalibrationMetrics::from_logits(&[2.0, 0.0, 0.0, 1.0], &[0, 0], 2, 15)?;
    let detection = Detection {
        set: set.to_owned(),
        source: String::new(),
        images: OOD_SCORES.len(),
        score: Score::MDS.to_string(),
        is_default: true,
        field: OodMetrics::from_scores(&ID_SCORES, &OOD_SCORES)?,
        paper: PaperMetrics::from_scores(&ID_SCORES, &OOD_SCORES)?,
        intervals: None,
        rejected: Some(2.0 / 3.0),

        tuned_on: None,
    };
    let detector = DetectorSummary {
        score: Score::MDS.to_string(),
        threshold: -1.75,
        target_tpr: 0.95,
        accepted: 0.75,
    };
    let evaluation = Evaluation {
        architecture: "resnet-20".to_owned(),
        head: HeadKind::IsoMaxPlus,
        fpr: false,
        id_data: id_data.to_owned(),
        data: IMAGE_FOLDER.into(),
        temperature: 1.0,
        normalization: None,
        training: Some(training()),
        classification: classification.clone(),
        calibrated: Some(Calibrated { temperature: 0.5, classification }),
        images: ID_SCORES.len(),
        detector: Some(detector),
        detection: vec![detection],
    };
    Ok(Run { folder: folder.to_owned(), number: 1, evaluation, history: None })
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
        Epoch { epoch, ranks: 1, learning_rate: 0.1, train, valid: values }
    };
    History { digest: None, epochs: vec![epoch(1), epoch(2)] }
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

/// One run with all files.
fn complete(folder: &Path) -> Result<Run, Box<dyn std::error::Error>> {
    for (set, scores) in [(ID, &ID_SCORES[..]), ("svhn", &OOD_SCORES[..])] {
        write_scores(folder, set, scores)?;
        write_picture(folder, set)?;
    }
    Ok(Run { history: Some(history("svhn")), ..run(folder, "cifar10", "svhn")? })
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
    let second = Run { number: 2, ..first.clone() };
    let path = folder.path().join("report.html");
    write(&path, &[second, first], &tables())?;
    let page = fs::read_to_string(path)?;

    // Loss, accuracy, AUROC, logits; scores, ROC; reliability.
    assert_eq!((count(&page, "<svg"), count(&page, "<img")), (7, 2));
    assert_eq!(count(&page, "<figure>"), count(&page, "<figcaption>"));
    assert_eq!((count(&page, "class=\"note\""), count(&page, "<table>")), (0, 1));
    assert!(page.contains("2 runs: accuracy 50.00 ± 0.00 %"));
    assert!(page.contains("run 1, the first"));
    assert!(page.contains("Infinite scores, not drawn: 1."));
    assert!(page.contains("2 of 3 planned"));
    assert!(!page.contains("NaN"));

    let links: Vec<&str> =
        page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(links, ["overview", "tables", "experiment-1", "reading"]);
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
    let mut bare = run(folder.path(), "cifar10", "svhn")?;
    let page = render(std::slice::from_ref(&bare), &[])?;
    assert_eq!((count(&page, "<svg"), count(&page, "<img")), (1, 0));
    assert!(page.contains("no history.json"));
    assert!(page.contains("no scores/id.MDS.txt"));
    assert!(page.contains("no pictures in the folder worst"));

    write_scores(folder.path(), ID, &ID_SCORES)?;
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
    assert!(render(&[], &[])?.contains("There are no runs"));
    Ok(())
}

#[test]
fn names_are_text_and_lead_nowhere() -> TestResult {
    let folder = tempfile::tempdir()?;
    let script = "<script>alert(1)</script>";
    let inner = folder.path().join("run-1");
    write_scores(&inner, ID, &ID_SCORES)?;
    write_scores(folder.path(), "svhn", &OOD_SCORES)?;
    let mut evil = run(&inner, script, script)?;
    evil.history = Some(history(script));
    evil.evaluation.data = script.to_owned();
    let mut ood = evil.evaluation.detection[0].clone();
    ood.set = "../../scores/svhn".to_owned();
    evil.evaluation.detection.push(ood);
    let page = render(&[evil], &named(script, script, script))?;
    assert!(!page.contains("<script"));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("../../scores/svhn.</p>"), "it must not be found");
    Ok(())
}

#[test]
fn damaged_files_are_named() -> TestResult {
    let folder = tempfile::tempdir()?;
    let run = complete(folder.path())?;
    let scores = folder.path().join(SCORES).join("svhn.MDS.txt");
    fs::write(&scores, "1.0\nNaN\n")?;
    let error = render(std::slice::from_ref(&run), &[]).err().ok_or("no error")?;
    assert!(matches!(error, ReportError::Scores(_)));
    assert!(error.to_string().contains("svhn.MDS.txt:2"), "{error}");

    fs::write(&scores, "1.0\n")?;
    fs::write(folder.path().join(WORST).join("id.png"), "GIF89a")?;
    let error = render(&[run], &[]).err().ok_or("no error")?;
    assert!(matches!(error, ReportError::NotAPicture { .. }));
    assert!(error.to_string().contains("id.png"), "{error}");
    Ok(())
}

#[test]
fn what_the_papers_did_not_do_is_said() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut run = run(folder.path(), "cifar10", "svhn")?;
    let reasons = reservations(std::slice::from_ref(&run)).join("\n");
    assert!(reasons.contains("1 of 1 runs had fewer than the 300 epochs"), "{reasons}");
    assert!(reasons.contains("cifar10: image folder"), "{reasons}");
    assert!(reasons.contains("cifar10: 4 of 10000 test images"), "{reasons}");
    assert!(reasons.contains("svhn: 3 of 26032 test images"), "{reasons}");
    assert!(reasons.contains("cifar10: 50 of 50000 training images"), "{reasons}");
    assert!(reasons.contains("accuracy on the test split"), "{reasons}");

    // Each run has its own training, or none.
    let mut untrained = run.clone();
    untrained.evaluation.training = None;
    untrained.evaluation.id_data = "svhn".to_owned();
    let both = reservations(&[untrained, run.clone()]).join("\n");
    assert!(both.contains("cifar10: 50 of 50000 training images"), "{both}");

    run.evaluation.training = Some(Training {
        epochs: 300,
        selection: Selection::Validation,
        train_images: 45_000,
        validation_images: 5_000,
        ..training()
    });
    run.evaluation.data = "official binary".into();
    run.evaluation.images = 10_000;
    run.evaluation.detection[0].images = 26_032;
    assert!(reservations(&[run]).is_empty());
    Ok(())
}

#[test]
fn images_of_ones_own_are_not_held_against_the_papers() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut run = run(folder.path(), "photos", "textures")?;
    let recipe = r#"{"init_sha256": "57934424aa", "prototypes": "class-means"}"#;
    let training = Training { recipe: serde_json::from_str(recipe)?, ..training() };
    run.evaluation.training = Some(Training { selection: Selection::Last, ..training });
    let reasons = reservations(std::slice::from_ref(&run)).join("\n");
    assert!(!reasons.contains("epochs") && !reasons.contains("published"), "{reasons}");
    assert!(reasons.contains("began at the class means"), "{reasons}");
    let page = render(&[run], &[])?;
    let start = "pretrained weights with the sum 57934424…, prototypes at the class means";
    assert!(page.contains(start));
    Ok(())
}

#[test]
fn runs_of_a_network_are_one_experiment() -> TestResult {
    let first = run(Path::new("a"), "cifar10", "svhn")?;
    let second = Run { number: 2, ..first.clone() };
    let mut other = first.clone();
    other.evaluation.fpr = true;
    let runs = [second, other, first];
    let numbers: Vec<Vec<usize>> = (experiments(&runs).iter())
        .map(|experiment| experiment.runs().iter().map(|run| run.number).collect())
        .collect();
    assert_eq!(numbers, [vec![1, 2], vec![1]]);
    Ok(())
}
