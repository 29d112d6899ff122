//! The numbers that the papers print, to stand beside ours.

use std::fmt;

use isomax_burn::{HeadKind, Moments, Score};

use super::{Experiment, NamedTable, Pair, find, named};
use crate::measures::{ACCURACY, CALIBRATED_ECE, ClassificationMeasure, PAPERS_AUROC, PAPERS_TNR};
use crate::results::Evaluation;
use isomax_charts::MeanStd;

/// The paper with SoftMax, IsoMax and IsoMax+.
pub const ISOMAX_PLUS_PAPER: &str = "arXiv:2105.14399";
/// The paper with DisMax.
pub const DISMAX_PAPER: &str = "arXiv:2205.05874";
/// Epochs of the published trainings.
pub const EPOCHS: usize = 300;

/// A published mean over five runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublishedValue {
    /// The mean.
    pub mean: f64,
    /// The standard deviation, where it is printed.
    pub std: Option<f64>,
}

impl fmt::Display for PublishedValue {
    /// As `97.0 ± 0.7`; a precision may be given, 1 is the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        write!(f, "{:.digits$}", self.mean)?;
        self.std.map_or(Ok(()), |std| write!(f, " ± {std:.digits$}"))
    }
}

/// Published detection of one OOD set, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Published {
    /// TNR@TPR95, where it is printed.
    pub tnr: Option<PublishedValue>,
    /// Area under the ROC curve.
    pub auroc: PublishedValue,
    /// Where it is printed.
    pub source: &'static str,
}

/// Published classification, of [`DISMAX_PAPER`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublishedClassification {
    /// Accuracy on the test split, in percent.
    pub accuracy: PublishedValue,
    /// Expected calibration error after calibration, in `[0, 1]`.
    pub ece: PublishedValue,
}

const DENSE: &str = "densenet-bc-100";
const RESNET: &str = "resnet-110";
const C10: &str = "cifar10";
const C100: &str = "cifar100";
const SVHN: &str = "svhn";
const TINY: &str = "tiny-imagenet-resize";
const LSUN: &str = "lsun-resize";

/// Network, ID set and OOD set; then TNR@TPR95 and AUROC, each as mean and standard deviation of
/// SoftMax with ES, IsoMax with ES and IsoMax+ with MDS.
type Row = (&'static str, &'static str, &'static str, [f64; 6], [f64; 6]);

/// From [`ISOMAX_PLUS_PAPER`].
const TABLE: &[Row] = &[
    (DENSE, C10, SVHN, [40.4, 5.3, 78.6, 9.0, 97.0, 0.7], [89.1, 2.2, 96.2, 1.0, 99.4, 0.1]),
    (DENSE, C10, TINY, [58.0, 3.7, 83.9, 3.6, 92.6, 2.4], [94.0, 0.6, 97.1, 0.4, 98.5, 0.3]),
    (DENSE, C10, LSUN, [64.6, 1.7, 90.3, 1.4, 94.3, 1.4], [95.2, 0.4, 98.0, 0.3, 99.1, 0.2]),
    (DENSE, C100, SVHN, [21.9, 2.8, 29.6, 3.7, 78.2, 4.1], [78.4, 3.3, 88.8, 2.8, 96.3, 1.3]),
    (DENSE, C100, TINY, [24.0, 3.0, 49.3, 4.9, 85.5, 2.8], [75.5, 2.1, 90.8, 2.1, 97.5, 0.8]),
    (DENSE, C100, LSUN, [24.9, 2.9, 60.6, 6.6, 78.3, 3.9], [77.2, 3.2, 93.0, 1.4, 97.2, 1.3]),
    (DENSE, SVHN, C10, [85.2, 3.3, 93.4, 1.1, 95.1, 0.4], [97.3, 0.3, 98.4, 0.2, 99.1, 0.1]),
    (DENSE, SVHN, TINY, [90.8, 0.6, 96.2, 0.9, 98.1, 0.3], [98.3, 0.2, 99.0, 0.2, 99.6, 0.1]),
    (DENSE, SVHN, LSUN, [87.9, 0.8, 94.3, 1.7, 97.7, 1.1], [97.8, 0.3, 98.7, 0.2, 99.6, 0.2]),
    (RESNET, C10, SVHN, [35.6, 5.0, 68.7, 5.5, 85.3, 3.9], [88.9, 0.9, 94.8, 1.5, 98.1, 0.9]),
    (RESNET, C10, TINY, [39.0, 4.1, 65.4, 5.6, 76.2, 2.7], [88.2, 2.1, 94.3, 0.4, 96.1, 0.5]),
    (RESNET, C10, LSUN, [46.9, 5.7, 80.7, 2.2, 86.9, 2.5], [91.2, 1.7, 96.5, 0.3, 97.9, 0.7]),
    (RESNET, C100, SVHN, [16.6, 1.5, 20.8, 5.9, 41.0, 6.4], [73.6, 3.7, 85.3, 1.3, 88.9, 1.2]),
    (RESNET, C100, TINY, [15.6, 2.1, 22.8, 1.9, 44.7, 5.9], [71.5, 1.7, 81.3, 2.3, 88.0, 2.9]),
    (RESNET, C100, LSUN, [16.5, 3.3, 22.9, 3.5, 46.1, 4.3], [72.6, 4.2, 83.3, 2.0, 89.1, 2.4]),
    (RESNET, SVHN, C10, [80.9, 3.5, 84.3, 1.3, 88.4, 2.3], [95.1, 0.3, 96.5, 0.2, 97.4, 0.3]),
    (RESNET, SVHN, TINY, [84.0, 3.2, 87.4, 2.2, 93.4, 1.8], [96.6, 0.7, 96.7, 0.6, 98.5, 0.7]),
    (RESNET, SVHN, LSUN, [81.4, 2.3, 84.7, 2.1, 90.2, 2.2], [96.1, 0.3, 95.8, 0.4, 97.8, 0.3]),
];

/// From [`DISMAX_PAPER`]: network, ID set and whether with FPR; accuracy, ECE after calibration,
/// and AUROC of TinyImageNet and of LSUN.
const DISMAX: &[(&str, &str, bool, [f64; 4])] = &[
    (DENSE, C10, false, [95.1, 0.0045, 98.0, 98.4]),
    (DENSE, C100, true, [79.4, 0.0154, 99.8, 99.9]),
    ("resnet-34", C10, true, [96.7, 0.0058, 98.3, 99.5]),
    ("resnet-34", C100, true, [80.6, 0.0116, 97.6, 97.7]),
    ("wrn-28-10", C10, true, [97.0, 0.0043, 99.7, 99.9]),
    ("wrn-28-10", C100, true, [83.0, 0.0143, 99.4, 99.6]),
];

/// Published detection, if the papers have such an experiment.
///
/// # Arguments
///
/// - `id_data`: the in-distribution set: `cifar10`, `cifar100` or `svhn`
/// - `set`: the OOD set: `svhn`, `cifar10`, `tiny-imagenet-resize` or `lsun-resize`
/// - `score`: only the default score of each head was printed
/// - `fpr`: whether with fractional probability regularisation
pub fn published(
    architecture: &str,
    id_data: &str,
    set: &str,
    head: HeadKind,
    score: &str,
    fpr: bool,
) -> Option<Published> {
    if score != Score::default_for(head).name() {
        return None;
    }
    let column = match head {
        HeadKind::SoftMax => 0,
        HeadKind::IsoMax => 2,
        HeadKind::IsoMaxPlus => 4,
        HeadKind::DisMax => {
            let [_, _, tiny, lsun] = dismax(architecture, id_data, fpr)?;
            let auroc = match set {
                TINY => mean_only(tiny),
                LSUN => mean_only(lsun),
                _ => return None,
            };
            return Some(Published { tnr: None, auroc, source: DISMAX_PAPER });
        }
        _ => return None,
    };
    let wanted = (architecture, id_data, set);
    let row = TABLE.iter().find(|row| !fpr && (row.0, row.1, row.2) == wanted)?;
    let value = |numbers: &[f64; 6]| PublishedValue {
        mean: numbers[column],
        std: Some(numbers[column + 1]),
    };
    Some(Published { tnr: Some(value(&row.3)), auroc: value(&row.4), source: ISOMAX_PLUS_PAPER })
}

/// Published accuracy and calibration, if the papers have such an experiment: of DisMax alone.
pub fn published_classification(
    architecture: &str,
    id_data: &str,
    head: HeadKind,
    fpr: bool,
) -> Option<PublishedClassification> {
    if head != HeadKind::DisMax {
        return None;
    }
    let [accuracy, ece, _, _] = dismax(architecture, id_data, fpr)?;
    let (accuracy, ece) = (mean_only(accuracy), mean_only(ece));
    Some(PublishedClassification { accuracy, ece })
}

fn dismax(architecture: &str, id_data: &str, fpr: bool) -> Option<[f64; 4]> {
    let wanted = (architecture, id_data, fpr);
    DISMAX.iter().find(|row| (row.0, row.1, row.2) == wanted).map(|row| row.3)
}

fn mean_only(mean: f64) -> PublishedValue {
    PublishedValue { mean, std: None }
}

/// Ours beside the published numbers, where there are such.
pub(super) fn comparison(experiments: &[Experiment<'_>]) -> Option<NamedTable> {
    let columns = [
        "experiment",
        "set",
        "score",
        "metric",
        "n",
        "ours",
        "published",
        "difference",
        "epochs",
        "our data",
    ];
    let note = format!(
        "In percent, but for the ECE; papers' convention. Published: {ISOMAX_PLUS_PAPER} and, for \
         DisMax, {DISMAX_PAPER}, means of 5 runs of {EPOCHS} epochs on the whole training \
         split, the best epoch selected on the test split. A shorter training, or one on other \
         data, is no reproduction."
    );
    named(
        "Beside the published numbers",
        &note,
        columns,
        experiments.iter().flat_map(rows).collect(),
    )
}

fn rows(experiment: &Experiment<'_>) -> Vec<Vec<String>> {
    let &Evaluation { ref architecture, head, fpr, ref id_data, .. } = experiment.evaluation();
    let mut rows = Vec::new();
    for pair in experiment.pairs(|_| true) {
        let Pair { set, score, images, .. } = &pair;
        let Some(published) = published(architecture, id_data, set, head, score, fpr) else {
            continue;
        };
        let set_label = experiment.set_label(&pair);
        let data = format!("{}; {images} {set} images", experiment.data());
        let values = [(PAPERS_TNR, published.tnr), (PAPERS_AUROC, Some(published.auroc))];
        for (measure, value) in values {
            let (_, ours) = experiment
                .values(|run| find(run, &pair).map(|detection| 100.0 * (measure.of)(detection)));
            let what = [set_label.as_str(), score, measure.name];
            rows.extend(value.and_then(|value| row(experiment, what, &ours, value, 1, &data)));
        }
    }
    if let Some(published) = published_classification(architecture, id_data, head, fpr) {
        let ours = |measure: ClassificationMeasure, unit: f64| {
            experiment.values(|e| Some(unit * (measure.of)(&e.evaluation)?)).1
        };
        let what = |measure: ClassificationMeasure| ["–", "–", measure.name];
        let (accuracy, ece) = (ours(ACCURACY, 100.0), ours(CALIBRATED_ECE, 1.0));
        let data = &experiment.data();
        rows.extend(row(experiment, what(ACCURACY), &accuracy, published.accuracy, 1, data));
        rows.extend(row(experiment, what(CALIBRATED_ECE), &ece, published.ece, 4, data));
    }
    rows
}

/// None if we have no value.
fn row(
    experiment: &Experiment<'_>,
    what: [&str; 3],
    ours: &[f64],
    published: PublishedValue,
    digits: usize,
    data: &str,
) -> Option<Vec<String>> {
    let difference = ours.iter().copied().collect::<Moments>().mean()? - published.mean;
    let mean_std: MeanStd = ours.iter().copied().collect();
    let mut row = vec![experiment.label().to_owned()];
    row.extend(what.map(str::to_owned));
    row.extend([
        ours.len().to_string(),
        format!("{mean_std:.digits$}"),
        format!("{published:.digits$}"),
        format!("{difference:+.digits$}"),
        experiment.epochs_of(EPOCHS),
        data.to_owned(),
    ]);
    Some(row)
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::super::tables;
    use super::super::tests::{rows, run, training};
    use super::*;
    use crate::results::Run;

    #[test]
    fn every_experiment_of_the_tables_is_found() -> Result<(), Box<dyn Error>> {
        let heads = [HeadKind::SoftMax, HeadKind::IsoMax, HeadKind::IsoMaxPlus];
        let mut count = 0;
        for architecture in [DENSE, RESNET] {
            for id_data in [C10, C100, SVHN] {
                for set in [if id_data == SVHN { C10 } else { SVHN }, TINY, LSUN] {
                    for head in heads {
                        let score = Score::default_for(head).name();
                        let found = published(architecture, id_data, set, head, score, false)
                            .ok_or_else(|| format!("{architecture} {id_data} {set} {head}"))?;
                        let tnr = found.tnr.ok_or("no TNR")?;
                        assert!((10.0..found.auroc.mean).contains(&tnr.mean));
                        assert!((70.0..100.0).contains(&found.auroc.mean));
                        assert!(tnr.std.zip(found.auroc.std).is_some());
                        count += 1;
                        assert!(published(architecture, id_data, set, head, score, true).is_none());
                        assert!(
                            published(architecture, id_data, set, head, Score::MPS.name(), false)
                                .is_none()
                        );
                    }
                }
            }
        }
        assert_eq!((count, TABLE.len(), DISMAX.len()), (18 * 3, 18, 6));
        let head = HeadKind::DisMax;
        for &(architecture, id_data, fpr, _) in DISMAX {
            for set in [TINY, LSUN] {
                assert!(
                    published(architecture, id_data, set, head, Score::MMLES.name(), fpr).is_some()
                );
                assert!(
                    published(architecture, id_data, set, head, Score::MMLES.name(), !fpr)
                        .is_none()
                );
            }
            assert!(published_classification(architecture, id_data, head, fpr).is_some());
        }
        Ok(())
    }

    #[test]
    fn experiments_are_as_printed() -> Result<(), Box<dyn Error>> {
        let printed = [
            (DENSE, C10, SVHN, HeadKind::SoftMax, "40.4 ± 5.3", "89.1 ± 2.2"),
            (DENSE, C10, SVHN, HeadKind::IsoMax, "78.6 ± 9.0", "96.2 ± 1.0"),
            (DENSE, C10, SVHN, HeadKind::IsoMaxPlus, "97.0 ± 0.7", "99.4 ± 0.1"),
            (DENSE, C100, TINY, HeadKind::IsoMaxPlus, "85.5 ± 2.8", "97.5 ± 0.8"),
            (DENSE, SVHN, C10, HeadKind::IsoMax, "93.4 ± 1.1", "98.4 ± 0.2"),
            (RESNET, C10, LSUN, HeadKind::IsoMax, "80.7 ± 2.2", "96.5 ± 0.3"),
            (RESNET, C100, SVHN, HeadKind::SoftMax, "16.6 ± 1.5", "73.6 ± 3.7"),
            (RESNET, SVHN, LSUN, HeadKind::IsoMaxPlus, "90.2 ± 2.2", "97.8 ± 0.3"),
        ];
        for (architecture, id_data, set, head, tnr, auroc) in printed {
            let score = Score::default_for(head).name();
            let found = published(architecture, id_data, set, head, score, false);
            let found = found.ok_or("no such experiment")?;
            assert_eq!(found.tnr.ok_or("no TNR")?.to_string(), tnr);
            assert_eq!(found.auroc.to_string(), auroc);
            assert_eq!(found.source, "arXiv:2105.14399");
        }
        let (wide, head) = ("wrn-28-10", HeadKind::DisMax);
        let found = published(wide, C100, LSUN, head, "MMLES", true).ok_or("no such experiment")?;
        assert_eq!((found.tnr, found.auroc), (None, mean_only(99.6)));
        let found = published_classification(wide, C100, head, true).ok_or("no such experiment")?;
        assert_eq!((found.accuracy, found.ece), (mean_only(83.0), mean_only(0.0143)));
        Ok(())
    }

    fn comparison(runs: &[Run]) -> Option<NamedTable> {
        tables(runs).into_iter().find(|table| table.title.starts_with("Beside"))
    }

    #[test]
    fn ours_stand_beside_the_published_numbers() -> Result<(), Box<dyn Error>> {
        let sets = |wrong| [(SVHN, wrong), ("noise", 1)];
        let mut runs =
            [run(HeadKind::IsoMaxPlus, 1, &sets(0)), run(HeadKind::IsoMaxPlus, 2, &sets(1))];
        let label = "cifar10 densenet-bc-100 isomax+";
        let data = "image folder; 45000 training, 4 test images; 4 svhn images";
        let expected = [
            ["TNR@TPR95", "2", "87.5 ± 17.7", "97.0 ± 0.7", "-9.5"],
            ["AUROC", "2", "87.5 ± 17.7", "99.4 ± 0.1", "-11.9"],
        ];
        for epochs in ["2 of 300 epochs", "300"] {
            let found = rows(&comparison(&runs).ok_or("no table")?);
            assert_eq!(found.len(), 2, "only the default score of a published set");
            for (row, expected) in found.iter().zip(expected) {
                assert_eq!(row[..3], [label, SVHN, "MDS"]);
                assert_eq!(row[3..8], expected);
                assert_eq!(row[8..], [epochs, data]);
            }
            runs.iter_mut().for_each(|e| training(e).epochs = 300);
        }
        training(&mut runs[1]).epochs = 30;
        let found = rows(&comparison(&runs).ok_or("no table")?);
        assert_eq!(found[0][8], "30–300 of 300 epochs");

        assert!(comparison(&[run(HeadKind::IsoMaxPlus, 1, &[("noise", 1)])]).is_none());
        Ok(())
    }

    #[test]
    fn dismax_has_accuracy_and_calibration_beside_it() -> Result<(), Box<dyn Error>> {
        let runs = [1, 2].map(|number| run(HeadKind::DisMax, number, &[(TINY, 1)]));
        let rows = rows(&comparison(&runs).ok_or("no table")?);
        assert_eq!(rows[0][1..8], [TINY, "MMLES", "AUROC", "2", "75.0 ± 0.0", "98.0", "-23.0"]);
        assert_eq!(rows[1][1..8], ["–", "–", "accuracy", "2", "87.5 ± 17.7", "95.1", "-7.6"]);
        assert_eq!(rows[2][3..6], ["ECE calibrated", "2", "0.1250 ± 0.0082"]);
        assert_eq!(rows[2][6..8], ["0.0045", "+0.1205"]);
        assert_eq!(rows.len(), 3);
        Ok(())
    }
}
