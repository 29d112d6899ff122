//! The metrics of an evaluation by their names, for tables, files and figures.

use crate::results::{Detection, Evaluation};

/// A detection metric: a share of an OOD set and one score.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// The name in tables. That of the papers' convention is `TNR@TPR95`, that of the field's is
    /// `TNR@95TPR`.
    pub name: &'static str,
    /// Its value, in `[0, 1]`.
    pub of: fn(&Detection) -> f64,
}

const fn measure(name: &'static str, of: fn(&Detection) -> f64) -> Measure {
    Measure { name, of }
}

/// The true negative rate of the papers' code.
pub const PAPERS_TNR: Measure = measure("TNR@TPR95", |d| d.paper.tnr);
/// The area under the ROC curve of the papers' code.
pub const PAPERS_AUROC: Measure = measure("AUROC", |d| d.paper.auroc);
/// In the papers' convention, in the order of their tables.
pub const PAPERS: [Measure; 5] = [
    PAPERS_TNR,
    PAPERS_AUROC,
    measure("DTACC", |d| d.paper.dtacc),
    measure("AUIN", |d| d.paper.auin),
    measure("AUOUT", |d| d.paper.auout),
];

/// The false positive rate of the field, with OOD samples as positive.
pub const FIELD_FPR95: Measure = measure("FPR95", |d| d.field.fpr_at_95_tpr);
/// In the field's convention: those that are compared most.
pub const FIELD: [Measure; 5] = [
    measure("AUROC", |d| d.field.auroc),
    measure("TNR@95TPR", |d| d.field.tnr_at_95_tpr),
    FIELD_FPR95,
    measure("AUPR in", |d| d.field.aupr_in),
    measure("AUPR out", |d| d.field.aupr_out),
];
/// In the field's convention: the others.
pub const FIELD_OTHERS: [Measure; 3] = [
    measure("AP in", |d| d.field.average_precision_in),
    measure("AP out", |d| d.field.average_precision_out),
    measure("detection accuracy", |d| d.field.detection_accuracy),
];

/// A classification metric; that of a calibrated network is there if a temperature was fitted.
#[derive(Debug, Clone, Copy)]
pub struct ClassificationMeasure {
    /// The name in tables.
    pub name: &'static str,
    /// Its value.
    pub of: fn(&Evaluation) -> Option<f64>,
}

/// The share of test images whose class is found.
pub const ACCURACY: ClassificationMeasure =
    ClassificationMeasure { name: "accuracy", of: |e| Some(e.classification.accuracy) };
/// The calibration errors and likelihoods that are compared most.
pub const CALIBRATION: [ClassificationMeasure; 3] = [
    ClassificationMeasure { name: "ECE", of: |e| Some(e.classification.ece) },
    ClassificationMeasure { name: "NLL", of: |e| Some(e.classification.nll) },
    CALIBRATED_ECE,
];
/// The expected calibration error at a fitted temperature.
pub const CALIBRATED_ECE: ClassificationMeasure = ClassificationMeasure {
    name: "ECE calibrated",
    of: |e| Some(e.calibrated.as_ref()?.classification.ece),
};
/// The other classification metrics.
pub const CALIBRATION_OTHERS: [ClassificationMeasure; 2] = [
    ClassificationMeasure {
        name: "NLL calibrated",
        of: |e| Some(e.calibrated.as_ref()?.classification.nll),
    },
    ClassificationMeasure { name: "MCE", of: |e| Some(e.classification.mce) },
];
