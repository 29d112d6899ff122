//! Evaluations as text.

use isomax_burn::Score;
use isomax_charts::Table;

use crate::data::Normalization;
use crate::measures::{FIELD_FPR95, PAPERS};
use crate::results::{Calibrated, Detection, Evaluation};

/// An evaluation as text.
///
/// ```no_run
/// # use isomax_bench::{evaluate::summary, results};
/// let file = "results/cifar10_resnet-20_isomax+/run-1/evaluation.json";
/// println!("{}", summary(&results::read(file)?));
/// # Ok::<(), results::ResultError>(())
/// ```
pub fn summary(evaluation: &Evaluation) -> String {
    let percent = |value: f64| format!("{:.2}", 100.0 * value);
    let classes = &evaluation.classification;
    let mut text = format!(
        "{} with {} on {} ({}): accuracy {} %, ECE {:.4}, NLL {:.4}\n",
        evaluation.architecture,
        evaluation.head.title(),
        evaluation.id_data,
        evaluation.data,
        percent(classes.accuracy),
        classes.ece,
        classes.nll,
    );
    if let Some(Normalization { mean, std }) = evaluation.normalization {
        text += &format!("pixels normalised with mean {mean:?} and std {std:?}\n");
    }
    if let Some(Calibrated { temperature, classification }) = &evaluation.calibrated {
        let ece = classification.ece;
        text += &format!("at temperature {temperature:.3}, from held-out images: ECE {ece:.4}\n");
    }
    if let Some(detector) = &evaluation.detector {
        text += &format!(
            "detector {} ≥ {:.4}, for {} % of held-out images, accepts {} % of the test images\n",
            detector.score,
            detector.threshold,
            percent(detector.target_tpr),
            percent(detector.accepted),
        );
    }
    let measures = PAPERS.into_iter().chain([FIELD_FPR95]);
    let names = measures.clone().map(|measure| measure.name);
    let mut table =
        Table::new(["OOD set", "images", "score"].into_iter().chain(names).chain(["rejected"]));
    let is_posthoc = |detection: &Detection| detection.score.parse::<Score>().is_err();
    for detection in evaluation.detection.iter().filter(|detection| !is_posthoc(detection)) {
        let mark = if detection.is_default { " (default)" } else { "" };
        let score = format!("{}{mark}", detection.score);
        let mut row = vec![detection.set.clone(), detection.images.to_string(), score];
        row.extend(measures.clone().map(|measure| percent((measure.of)(detection))));
        row.push(detection.rejected.map_or_else(|| "–".to_owned(), percent));
        table.row(row);
    }
    if !evaluation.detection.is_empty() {
        text += "in percent: FPR95 in the field's convention (OOD positive), the others in the papers'\n";
        text += &format!("\n{table}");
    }
    text + &methods(evaluation).unwrap_or_default()
}

/// All scores and methods, one column for each set: AUROC with its interval, and FPR95; none without methods.
fn methods(evaluation: &Evaluation) -> Option<String> {
    let detections = &evaluation.detection;
    let mut names: Vec<(&str, Option<&str>)> = Vec::new();
    let mut sets: Vec<&str> = Vec::new();
    for Detection { set, score, tuned_on, .. } in detections {
        let name = (score.as_str(), tuned_on.as_deref());
        if !names.contains(&name) {
            names.push(name);
        }
        if !sets.contains(&set.as_str()) {
            sets.push(set);
        }
    }
    names.iter().find(|(name, tuned)| tuned.is_some() || name.parse::<Score>().is_err())?;
    let columns = ["method", "parameters"].into_iter().chain(sets.iter().copied());
    let mut table = Table::new(columns.chain(["mean"]));
    for (name, tuned_on) in names {
        let parameters = tuned_on.map_or("default".to_owned(), |set| format!("tuned on {set}"));
        let mut row = vec![name.to_owned(), parameters];
        let mut found = Vec::new();
        for set in &sets {
            let of_set = |detection: &&Detection| {
                detection.set == *set
                    && detection.score == name
                    && detection.tuned_on.as_deref() == tuned_on
            };
            let detection = detections.iter().find(of_set);
            row.push(detection.map_or("–".to_owned(), cell));
            found.extend(detection);
        }
        let mean = |of: fn(&Detection) -> f64| {
            100.0 * found.iter().map(|detection| of(detection)).sum::<f64>()
                / found.len().max(1) as f64
        };
        let (auroc, fpr) = (mean(|d| d.field.auroc), mean(|d| d.field.fpr_at_95_tpr));
        row.push(match found.len() == sets.len() {
            true => format!("{auroc:.2} / {fpr:.2}"),
            false => "–".to_owned(),
        });
        table.row(row);
    }
    let note = "AUROC / FPR95 in percent, in the field's conventions; ± half of the 95 % interval over images \
                (bootstrap)";
    Some(format!("\n{note}\n\n{table}"))
}

fn cell(detection: &Detection) -> String {
    let half = |[low, high]: [f64; 2]| format!(" ± {:.2}", 50.0 * (high - low));
    let auroc = detection.intervals.map(|intervals| half(intervals.auroc)).unwrap_or_default();
    let fpr =
        detection.intervals.map(|intervals| half(intervals.fpr_at_95_tpr)).unwrap_or_default();
    let field = &detection.field;
    format!("{:.2}{auroc} / {:.2}{fpr}", 100.0 * field.auroc, 100.0 * field.fpr_at_95_tpr)
}
