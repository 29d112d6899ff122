//! The table that compares detection methods: a row for each, a column for each OOD set.

use isomax_burn::Moments;
use isomax_charts::Table;

use crate::results::{Detection, Evaluation};

/// What a reader needs to know of the table.
pub(crate) const NOTE: &str = "AUROC / FPR95 in percent, in the field's conventions, of one run ± half of the 95 % \
                               interval over images (bootstrap), of several ± half of the 95 % interval of their mean \
                               (Student's t). Parameters that were tuned on OOD images are of their own kind: nobody has \
                               these images who does not know what is to come.";

/// All scores and methods of runs of one experiment; none unless there is a method that is not one of the scores.
pub(crate) fn methods_table(evaluations: &[&Evaluation]) -> Option<Table> {
    let (mut labels, mut sets) = (Vec::new(), Vec::new());
    let detections = || evaluations.iter().flat_map(|evaluation| &evaluation.detection);
    for detection in detections() {
        let (label, set) = (detection.label(), detection.set.as_str());
        if !labels.contains(&label) {
            labels.push(label);
        }
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    detections().find(|detection| detection.is_method())?;
    let columns = ["method", "parameters"].into_iter().chain(sets.iter().copied());
    let mut table = Table::new(columns.chain(["mean"]));
    for label in &labels {
        let of_label = || detections().filter(|detection| detection.label() == *label);
        let mut row = vec![label.clone(), parameters(of_label())];
        let mut means = Vec::new();
        for set in &sets {
            let found: Vec<&Detection> =
                of_label().filter(|detection| detection.set == *set).collect();
            row.push(cell(&found));
            means.extend(mean(&found));
        }
        row.push(match means.len() == sets.len() {
            true => {
                let mean = |of: fn(&[f64; 2]) -> f64| {
                    means.iter().map(of).collect::<Moments>().mean().unwrap_or_default()
                };
                format!("{:.2} / {:.2}", mean(|[auroc, _]| *auroc), mean(|[_, fpr]| *fpr))
            }
            false => "–".to_owned(),
        });
        table.row(row);
    }
    Some(table)
}

/// As the label says, or those that tuning has found.
fn parameters<'a>(detections: impl Iterator<Item = &'a Detection>) -> String {
    let mut found: Vec<&str> = Vec::new();
    for detection in detections.filter(|detection| detection.tuned_on.is_some()) {
        if !found.contains(&detection.score.as_str()) {
            found.push(&detection.score);
        }
    }
    if found.is_empty() { "default".to_owned() } else { found.join(", ") }
}

/// AUROC and FPR95 in percent.
const MEASURES: [fn(&Detection) -> f64; 2] =
    [|detection| 100.0 * detection.field.auroc, |detection| 100.0 * detection.field.fpr_at_95_tpr];

fn mean(detections: &[&Detection]) -> Option<[f64; 2]> {
    let mean = |of: fn(&Detection) -> f64| {
        detections.iter().map(|detection| of(detection)).collect::<Moments>().mean()
    };
    let [auroc, fpr] = MEASURES.map(mean);
    Some([auroc?, fpr?])
}

fn cell(detections: &[&Detection]) -> String {
    let Some([auroc, fpr]) = mean(detections) else { return "–".to_owned() };
    let halves = match detections {
        [one] => one
            .intervals
            .map(|of| [of.auroc, of.fpr_at_95_tpr].map(|[low, high]| 50.0 * (high - low))),
        several => {
            let [a, b] = MEASURES
                .map(|of| half_of_mean(several.iter().map(|detection| of(detection)).collect()));
            a.zip(b).map(|(a, b)| [a, b])
        }
    };
    match halves {
        Some([a, b]) => format!("{auroc:.2} ± {a:.2} / {fpr:.2} ± {b:.2}"),
        None => format!("{auroc:.2} / {fpr:.2}"),
    }
}

/// Half of the 95 % interval of a mean.
fn half_of_mean(moments: Moments) -> Option<f64> {
    let count = moments.count();
    let freedom = usize::try_from(count).ok()?.checked_sub(1)?;
    Some(student(freedom)? * moments.std()? / (count as f64).sqrt())
}

/// The 97.5 % quantile of Student's t distribution; beyond 30 degrees of freedom to within 0.002.
fn student(freedom: usize) -> Option<f64> {
    const QUANTILES: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    match freedom.checked_sub(1)? {
        below if below < QUANTILES.len() => Some(QUANTILES[below]),
        _ => Some(1.96 + 2.45 / freedom as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_means_are_those_of_student() {
        // 1, 2, 3: a mean of 2, a deviation of 1, and 4.303 / √3 on each side.
        let half = half_of_mean([1.0, 2.0, 3.0].into_iter().collect());
        assert!((half.unwrap_or_default() - 4.303 / 3.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(half_of_mean([1.0].into_iter().collect()), None);
        // As tables have it.
        for (freedom, expected) in [(40, 2.021), (60, 2.000), (120, 1.980)] {
            assert!((student(freedom).unwrap_or_default() - expected).abs() < 2e-3, "{freedom}");
        }
    }
}
