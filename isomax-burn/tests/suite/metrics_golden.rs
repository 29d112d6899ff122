//! Parity with the published detection code and with scikit-learn on eight pairs of score sets.

use isomax_burn::metrics::Positive::{InDistribution, OutOfDistribution};
use isomax_burn::metrics::{CalibrationMetrics, Cut, OodMetrics, PaperMetrics, PrCurve, RocCurve};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    scores_in: Vec<f32>,
    scores_out: Vec<f32>,
    seed: Published,
    field: Field,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
struct Published {
    tnr: f64,
    auroc: f64,
    dtacc: f64,
    auin: f64,
    auout: f64,
}

#[derive(Deserialize)]
struct Field {
    auroc: f64,
    fpr_at_95_tpr_ood_positive: f64,
    tnr_at_95_tpr_id_positive_first: f64,
    detection_accuracy_max: f64,
    aupr_in_trapezoid: f64,
    aupr_out_trapezoid: f64,
    average_precision_in: f64,
    average_precision_out: f64,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("golden/metrics.json")).expect("the golden file is valid")
}

#[track_caller]
fn close(case: &str, name: &str, ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() < 1e-12, "{case}: {name} is {ours}, expected {theirs}");
}

#[test]
fn paper_metrics_equal_the_published_code_to_the_last_digit() {
    for Case { name, scores_in, scores_out, seed, .. } in cases() {
        let ours = PaperMetrics::from_scores(&scores_in, &scores_out).expect("valid scores");
        let theirs = [seed.tnr, seed.auroc, seed.dtacc, seed.auin, seed.auout];
        assert_eq!([ours.tnr, ours.auroc, ours.dtacc, ours.auin, ours.auout], theirs, "{name}");
    }
}

#[test]
fn ood_metrics_agree_with_scikit_learn() {
    for Case { name, scores_in, scores_out, field, .. } in cases() {
        let ours = OodMetrics::from_scores(&scores_in, &scores_out).expect("valid scores");
        close(&name, "AUROC", ours.auroc, field.auroc);
        close(&name, "TNR", ours.tnr_at_95_tpr, field.tnr_at_95_tpr_id_positive_first);
        close(&name, "FPR", ours.fpr_at_95_tpr, field.fpr_at_95_tpr_ood_positive);
        close(&name, "DTACC", ours.detection_accuracy, field.detection_accuracy_max);
        close(&name, "AUPR in", ours.aupr_in, field.aupr_in_trapezoid);
        close(&name, "AUPR out", ours.aupr_out, field.aupr_out_trapezoid);
        close(&name, "AP in", ours.average_precision_in, field.average_precision_in);
        close(&name, "AP out", ours.average_precision_out, field.average_precision_out);
    }
}

#[test]
fn curves_give_the_same_numbers() {
    for Case { name, scores_in, scores_out, field, .. } in cases() {
        let roc = |p| RocCurve::from_scores(&scores_in, &scores_out, p).expect("valid scores");
        let pr = |p| PrCurve::from_scores(&scores_in, &scores_out, p).expect("valid scores");
        let fpr = roc(OutOfDistribution).fpr_at_tpr(0.95, Cut::AtLeast).expect("valid rate");
        close(&name, "AUROC", roc(InDistribution).auc(), field.auroc);
        close(&name, "AUROC", roc(OutOfDistribution).auc(), field.auroc);
        close(&name, "FPR", fpr, field.fpr_at_95_tpr_ood_positive);
        close(&name, "AUPR in", pr(InDistribution).auc(), field.aupr_in_trapezoid);
        close(&name, "AUPR out", pr(OutOfDistribution).auc(), field.aupr_out_trapezoid);
        close(
            &name,
            "AP out",
            pr(OutOfDistribution).average_precision(),
            field.average_precision_out,
        );
    }
}

#[derive(Deserialize)]
struct Heads {
    calibration: Vec<Calibration>,
}

#[derive(Deserialize)]
struct Calibration {
    logits: Vec<Vec<f32>>,
    labels: Vec<usize>,
    bins: usize,
    ece: f64,
    mce: f64,
    nll: f64,
}

#[test]
fn calibration_metrics_agree_with_the_reference() {
    let golden: Heads = serde_json::from_str(include_str!("golden/heads.json")).expect("valid");
    assert_eq!(golden.calibration.len(), 2);
    for Calibration { logits, labels, bins, ece, mce, nll } in golden.calibration {
        let classes = logits[0].len();
        let ours = CalibrationMetrics::from_logits(&logits.concat(), &labels, classes, bins)
            .expect("valid samples");
        for (name, ours, theirs) in
            [("ECE", ours.ece, ece), ("MCE", ours.mce, mce), ("NLL", ours.nll, nll)]
        {
            assert!((ours - theirs).abs() < 1e-6, "{name} is {ours}, expected {theirs}");
        }
        assert_eq!(ours.bins.iter().map(|b| b.count).sum::<usize>(), labels.len());
    }
}
