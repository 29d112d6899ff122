//! Evaluations as text.

use isomax_charts::Table;

use crate::data::Normalization;
use crate::measures::{FIELD_FPR95, PAPERS};
use crate::methods_table::{NOTE, methods_table};
use crate::results::{Calibrated, Evaluation};

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
    for detection in evaluation.detection.iter().filter(|detection| !detection.is_method()) {
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
    match methods_table(&[evaluation]) {
        Some(table) => text + &format!("\n{NOTE}\n\n{table}"),
        None => text,
    }
}
