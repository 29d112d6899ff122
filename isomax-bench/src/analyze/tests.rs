use std::error::Error;

use isomax_burn::metrics::{CalibrationMetrics, OodMetrics, PaperMetrics};

use isomax_burn::Score;

use super::*;
use crate::results::{Calibrated, Epoch, History};

/// Of two epochs, with two scores that are alike. Of each set so many of four samples are taken
/// for ID ones: `TNR = AUROC = 1 - wrong / 4`. Run 1 has 3 of 4 classes right, any
/// other has all; the ECE is `p - 3/4` and `1 - p`.
pub(crate) fn run(head: HeadKind, number: usize, sets: &[(&str, usize)]) -> Run {
    let id: Vec<f32> = (0..20_u8).map(|i| 100.0 + f32::from(i)).collect();
    let mut detection = Vec::new();
    for &(set, wrong) in sets {
        let out = [0, 1, 2, 3].map(|i| if i < wrong { 1000.0 } else { i as f32 });
        for score in [Score::default_for(head), Score::MPS] {
            detection.push(Detection {
                set: set.to_owned(),
                source: String::new(),
                images: out.len(),
                score: score.to_string(),
                is_default: score == Score::default_for(head),
                field: OodMetrics::from_scores(&id, &out).expect("no score is NaN"),
                paper: PaperMetrics::from_scores(&id, &out).expect("no score is NaN"),
                intervals: None,
                rejected: None,
                tuned_on: None,
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
        Epoch { epoch, ranks: 1, learning_rate: 0.1, train, valid }
    };
    Run {
        folder: format!("results/{head}/run-{number}").into(),
        number,
        evaluation: Evaluation {
            architecture: "densenet-bc-100".to_owned(),
            head,
            fpr: false,
            id_data: "cifar10".to_owned(),
            data: "image folder".to_owned(),
            temperature: 1.0,
            normalization: None,
            training: Some(Training {
                seed: number as u64,
                epochs: 2,
                planned_epochs: 2,
                chosen_epoch: 2,
                selection: Selection::Validation,
                train_images: 45_000,
                validation_images: 5_000,
                calibration_images: None,
                image_size: [32, 32],
                normalization: None,
                digest: String::new(),
                recipe: Default::default(),
                backend: "none".to_owned(),
                classes: vec!["0".to_owned(), "1".to_owned()],
            }),
            classification: classification.clone(),
            calibrated: Some(Calibrated { temperature: 1.0, classification }),
            images: 4,
            detector: None,
            detection,
        },
        history: Some(History { digest: None, epochs: vec![epoch(1), epoch(2)] }),
    }
}

pub(super) fn training(run: &mut Run) -> &mut Training {
    run.evaluation.training.as_mut().expect("the builder gives one")
}

/// The cells of the rows below the column names.
pub(super) fn rows(table: &NamedTable) -> Vec<Vec<String>> {
    let text = table.table.to_string();
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    text.lines().skip(2).map(cells).collect()
}

fn two() -> Vec<Run> {
    vec![
        run(HeadKind::IsoMaxPlus, 2, &[("svhn", 1), ("lsun-resize", 1)]),
        run(HeadKind::IsoMaxPlus, 1, &[("svhn", 0), ("lsun-resize", 2)]),
    ]
}

#[test]
fn experiments_are_sorted_and_named_apart() {
    let mut runs = two();
    let mut longer = run(HeadKind::IsoMaxPlus, 1, &[]);
    training(&mut longer).planned_epochs = 3;
    let mut untold = run(HeadKind::DisMax, 1, &[]);
    untold.evaluation.training = None;
    let told = run(HeadKind::DisMax, 1, &[]);
    runs.extend([untold, told, longer, run(HeadKind::SoftMax, 1, &[])]);
    let expected = [
        "cifar10 densenet-bc-100 softmax",
        "cifar10 densenet-bc-100 isomax+ [2 epochs]",
        "cifar10 densenet-bc-100 isomax+ [3 epochs]",
        "cifar10 densenet-bc-100 dismax [unknown training]",
        "cifar10 densenet-bc-100 dismax [2 epochs; best validation accuracy; \
         45000 + 5000 images]",
    ];
    for _ in 0..2 {
        let experiments = experiments(&runs);
        let labels: Vec<&str> = experiments.iter().map(Experiment::label).collect();
        assert_eq!(labels, expected);
        let numbers: Vec<usize> = experiments[1].runs().iter().map(|e| e.number).collect();
        assert_eq!(numbers, [1, 2]);
        runs.reverse();
    }
    assert!(tables(&[]).is_empty());
}

#[test]
fn recipes_are_told_apart() {
    let with_rate = |number, rate: f64| {
        let mut run = run(HeadKind::IsoMaxPlus, number, &[]);
        let recipe = serde_json::json!({ "learning_rate": rate, "batch_size": 64 });
        training(&mut run).recipe = Recipe::of(&recipe, &[]);
        run
    };
    let labels = |runs: &[Run]| -> Vec<String> {
        experiments(runs).iter().map(|experiment| experiment.label().to_owned()).collect()
    };
    let name = "cifar10 densenet-bc-100 isomax+";
    assert_eq!(labels(&[with_rate(1, 0.1), with_rate(2, 0.1)]), [name]);
    let expected = ["learning rate 0.05", "learning rate 0.1"].map(|r| format!("{name} [{r}]"));
    assert_eq!(labels(&[with_rate(1, 0.1), with_rate(1, 0.05), with_rate(2, 0.1)]), expected);
    // Longer ones differ in the number of epochs, which is said already.
    let mut longer = with_rate(1, 0.1);
    training(&mut longer).planned_epochs = 3;
    let expected = ["2 epochs", "3 epochs"].map(|epochs| format!("{name} [{epochs}]"));
    assert_eq!(labels(&[longer, with_rate(1, 0.05)]), expected);
}

#[test]
fn summaries_hold_every_value() -> Result<(), Box<dyn Error>> {
    let mut runs = two();
    runs[0].evaluation.calibrated = None;
    let summary = summary(&runs);
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
        assert_eq!(auroc.score, Some("MDS".to_owned()));
        assert_eq!((auroc.n, auroc.runs.as_slice()), (2, &[1, 2][..]));
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
fn averages_over_sets_come_before_those_over_runs() {
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
    let start = "## Detection with all scores, papers' convention\n\nIn percent.\n\n| experiment ";
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn averages_say_which_sets_are_missing() {
    let runs = [
        run(HeadKind::IsoMaxPlus, 1, &[("svhn", 0), ("noise", 2)]),
        run(HeadKind::IsoMaxPlus, 2, &[("svhn", 1)]),
    ];
    let rows = rows(&tables(&runs)[1]);
    assert_eq!(rows[1][1..5], ["noise", "MDS", "1", "50.0"]);
    assert_eq!(rows[2][1..5], ["average of 1 of 2 sets", "MDS", "2", "87.5 ± 17.7"]);
}

#[test]
fn another_copy_of_a_set_is_another_set() {
    let mut runs = two();
    for detection in &mut runs[0].evaluation.detection {
        if detection.set == "svhn" {
            detection.source = "official .mat".to_owned();
        }
    }
    let rows = rows(&tables(&runs)[1]);
    let sets: Vec<[&str; 2]> = rows.iter().map(|row| [row[1].as_str(), row[3].as_str()]).collect();
    let expected = [
        ["svhn (, 4 images)", "1"],
        ["lsun-resize", "2"],
        ["svhn (official .mat, 4 images)", "1"],
        ["average of 1 of 3 sets", "2"],
    ];
    assert_eq!(sets, expected);
}

#[test]
fn selection_on_test_is_marked_in_every_table() {
    let mut runs = two();
    runs.iter_mut().for_each(|e| training(e).selection = Selection::Test);
    let tables = tables(&runs);
    assert_eq!(tables.len(), 5);
    for row in tables.iter().flat_map(rows) {
        assert_eq!(row[0], "cifar10 densenet-bc-100 isomax+ (selected on test)");
    }
}

#[test]
fn methods_have_a_table_of_their_own_with_intervals_over_runs() -> Result<(), Box<dyn Error>> {
    let mut runs =
        [1, 2, 3].map(|number| run(HeadKind::IsoMaxPlus, number, &[("svhn", number), ("dtd", 1)]));
    let without = tables(&runs);
    assert!(without.iter().all(|table| !table.title.starts_with("Methods")));
    for (run, best) in runs.iter_mut().zip(["knn:k=5", "knn:k=10", "knn"]) {
        let scores = run.evaluation.detection.clone();
        let of_default = || scores.iter().filter(|detection| detection.is_default);
        for (score, tuned_on) in [("knn", None), (best, Some("tin".to_owned()))] {
            run.evaluation.detection.extend(of_default().map(|detection| Detection {
                score: score.to_owned(),
                is_default: false,
                tuned_on: tuned_on.clone(),
                ..detection.clone()
            }));
        }
    }
    let tables = tables(&runs);
    // The others are as they were.
    assert_eq!(tables.len(), without.len() + 1);
    for (table, before) in tables.iter().zip(&without) {
        assert_eq!(table.to_string(), before.to_string());
    }
    let text = tables.last().ok_or("no table")?.to_string();
    // AUROCs of 75, 50 and 25 %: a deviation of 25, and 4.303 / √3 of it on each side.
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).ok_or("no line");
    assert!(line("| knn ")?.contains("50.00 ± 62.11 /"), "{text}");
    assert!(line("| knn ")?.contains("75.00 ± 0.00 /"), "{text}");
    // Of each run the parameters that it was given.
    assert!(line("| knn (tuned on tin)")?.contains("knn:k=5, knn:k=10, knn "), "{text}");
    Ok(())
}
