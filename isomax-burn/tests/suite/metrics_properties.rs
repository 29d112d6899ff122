//! Detection and calibration metrics against their definitions, and their errors.

use isomax_burn::metrics::Positive::{InDistribution, OutOfDistribution};
use isomax_burn::metrics::{
    CalibrationMetrics, Cut, MetricError, OodMetrics, PaperMetrics, PrCurve, RocCurve, ScoreSet,
};
use proptest::prelude::*;

fn metrics(inside: &[f32], outside: &[f32]) -> OodMetrics {
    OodMetrics::from_scores(inside, outside).unwrap()
}

/// Few distinct values, so that ties are common.
fn tied() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec((-4_i8..4).prop_map(f32::from), 1..60)
}

fn share(values: &[f32], holds: impl Fn(f32) -> bool) -> f64 {
    values.iter().filter(|&&v| holds(v)).count() as f64 / values.len() as f64
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn auroc_is_the_share_of_ordered_pairs(inside in tied(), outside in tied()) {
        let pairs = inside.iter().flat_map(|i| outside.iter().map(move |o| (i, o)));
        let ordered: f64 = pairs
            .map(|(i, o)| if i > o { 1.0 } else if i == o { 0.5 } else { 0.0 })
            .sum();
        let expected = ordered / (inside.len() * outside.len()) as f64;
        prop_assert!((metrics(&inside, &outside).auroc - expected).abs() < 1e-12);
    }

    #[test]
    fn rates_follow_their_definitions(inside in tied(), outside in tied()) {
        let ours = metrics(&inside, &outside);
        let cuts = || inside.iter().chain(&outside).copied();
        // The strictest threshold that accepts 95 % of one kind flags the fewest of the other.
        let tnr = cuts()
            .filter(|&cut| share(&inside, |s| s >= cut) >= 0.95)
            .map(|cut| share(&outside, |s| s < cut))
            .fold(0.0, f64::max);
        let fpr = cuts()
            .filter(|&cut| share(&outside, |s| s <= cut) >= 0.95)
            .map(|cut| share(&inside, |s| s <= cut))
            .fold(1.0, f64::min);
        let accuracy = cuts()
            .map(|cut| 0.5 * (share(&inside, |s| s >= cut) + share(&outside, |s| s < cut)))
            .fold(0.5, f64::max);
        prop_assert!((ours.tnr_at_95_tpr - tnr).abs() < 1e-12);
        prop_assert!((ours.fpr_at_95_tpr - fpr).abs() < 1e-12);
        prop_assert!((ours.detection_accuracy - accuracy).abs() < 1e-12);
    }

    #[test]
    fn monotone_maps_and_order_change_nothing(inside in tied(), outside in tied(), factor in 0.1_f32..9.0) {
        let map = |scores: &[f32]| -> Vec<f32> {
            scores.iter().rev().map(|s| (s * factor).exp()).collect()
        };
        prop_assert_eq!(metrics(&inside, &outside), metrics(&map(&inside), &map(&outside)));
    }

    #[test]
    fn swapping_the_sets_mirrors_the_metrics(inside in tied(), outside in tied()) {
        let negated = |scores: &[f32]| -> Vec<f32> { scores.iter().map(|s| -s).collect() };
        let (ours, mirrored) = (metrics(&inside, &outside), metrics(&negated(&outside), &negated(&inside)));
        prop_assert!((ours.auroc - mirrored.auroc).abs() < 1e-12);
        prop_assert!((ours.aupr_in - mirrored.aupr_out).abs() < 1e-12);
        prop_assert!((ours.average_precision_out - mirrored.average_precision_in).abs() < 1e-12);
        prop_assert!((ours.fpr_at_95_tpr - (1.0 - mirrored.tnr_at_95_tpr)).abs() < 1e-12);
    }

    #[test]
    fn curves_are_curves(inside in tied(), outside in tied()) {
        for positive in [InDistribution, OutOfDistribution] {
            let roc = RocCurve::from_scores(&inside, &outside, positive).unwrap();
            prop_assert!(roc.points.is_sorted_by(|a, b| a.fpr <= b.fpr && a.tpr <= b.tpr));
            let end = roc.points.last().unwrap();
            prop_assert_eq!((end.fpr, end.tpr), (1.0, 1.0));
            let corners = RocCurve { positive, points: roc.corners() };
            prop_assert!((roc.auc() - corners.auc()).abs() < 1e-9);
            let pr = PrCurve::from_scores(&inside, &outside, positive).unwrap();
            prop_assert_eq!(pr.points.last().unwrap().recall, 1.0);
            for rate in [0.5, 0.95, 1.0] {
                let [at_least, nearest, between] = [Cut::AtLeast, Cut::Nearest, Cut::Interpolated]
                    .map(|cut| roc.fpr_at_tpr(rate, cut).unwrap());
                prop_assert!(nearest <= at_least && between <= at_least + 1e-12);
            }
        }
    }

    #[test]
    fn the_papers_metrics_agree_without_ties(mut scores in prop::collection::hash_set(-9999_i16..9999, 40..80)) {
        let scores: Vec<f32> = scores.drain().map(f32::from).collect();
        let (inside, outside) = scores.split_at(20);
        let (ours, papers) = (metrics(inside, outside), PaperMetrics::from_scores(inside, outside).unwrap());
        prop_assert!((ours.auroc - papers.auroc).abs() < 1e-12);
        prop_assert!((ours.detection_accuracy - papers.dtacc).abs() < 1e-12);
    }

    #[test]
    fn calibration_bins_hold_every_sample(
        rows in prop::collection::vec(prop::array::uniform3(-9.0_f32..9.0), 1..40),
        bins in 1_usize..20,
    ) {
        let labels: Vec<usize> = (0..rows.len()).map(|i| i % 3).collect();
        let ours = CalibrationMetrics::from_logits(&rows.concat(), &labels, 3, bins).unwrap();
        prop_assert_eq!(ours.bins.iter().map(|bin| bin.count).sum::<usize>(), rows.len());
        for bin in ours.bins.iter().filter(|bin| bin.count > 0) {
            prop_assert!(bin.confidence > bin.lower - 1e-9 && bin.confidence <= bin.upper + 1e-9);
        }
        prop_assert!(ours.ece <= ours.mce + 1e-12 && ours.mce <= 1.0 && ours.nll >= 0.0);
    }
}

#[test]
fn cuts_differ_as_documented() {
    // TPR 0.5 at FPR 0, 0.5 at FPR 0.5, then 1.0 at FPR 0.5.
    let roc = RocCurve::from_scores(&[4.0, 2.0], &[3.0, 1.0], InDistribution).unwrap();
    let fpr = |tpr, cut| roc.fpr_at_tpr(tpr, cut).unwrap();
    assert_eq!(fpr(0.7, Cut::AtLeast), 0.5);
    assert_eq!(fpr(0.7, Cut::Nearest), 0.0);
    assert_eq!(fpr(0.75, Cut::Nearest), 0.5);
    assert_eq!(fpr(0.25, Cut::Interpolated), 0.0);
    assert_eq!(fpr(0.75, Cut::Interpolated), 0.5);
    assert_eq!(roc.points[0].threshold, 4.0);
}

#[test]
fn infinite_scores_are_extreme_scores() {
    let (inf, finite) = (f32::INFINITY, [3.0, 2.0, 1.0]);
    assert_eq!(metrics(&[inf, 3.0, 2.0], &[1.0, -inf]), metrics(&[9.0, 3.0, 2.0], &[1.0, -9.0]));
    assert_eq!(metrics(&[inf], &[inf]).auroc, 0.5);
    assert_eq!(metrics(&finite, &[-inf, -inf]).auroc, 1.0);
}

#[test]
fn what_has_no_value_is_an_error() {
    let scores = |inside: &[f32], outside: &[f32]| {
        let error = OodMetrics::from_scores(inside, outside).unwrap_err();
        assert_eq!(PaperMetrics::from_scores(inside, outside).unwrap_err(), error);
        assert_eq!(RocCurve::from_scores(inside, outside, InDistribution).unwrap_err(), error);
        assert_eq!(PrCurve::from_scores(inside, outside, InDistribution).unwrap_err(), error);
        error
    };
    assert_eq!(scores(&[], &[1.0]), MetricError::EmptyScores(ScoreSet::In));
    assert_eq!(scores(&[1.0], &[]), MetricError::EmptyScores(ScoreSet::Out));
    let nan = MetricError::NanScore { set: ScoreSet::Out, index: 1 };
    assert_eq!(scores(&[1.0], &[0.0, f32::NAN]), nan);

    let roc = RocCurve::from_scores(&[1.0], &[0.0], InDistribution).unwrap();
    for rate in [0.0, -1.0, 1.5, f64::NAN] {
        assert!(matches!(roc.fpr_at_tpr(rate, Cut::AtLeast), Err(MetricError::OutOfRange { .. })));
    }

    let logits = |logits: &[f32], labels: &[usize], classes, bins| {
        CalibrationMetrics::from_logits(logits, labels, classes, bins).unwrap_err().to_string()
    };
    assert_eq!(logits(&[], &[], 2, 15), "no samples: classification metrics need at least one");
    assert_eq!(logits(&[0.0; 3], &[0, 1], 2, 15), "3 logits are not 2 rows of 2 classes");
    assert_eq!(
        logits(&[0.0; 4], &[0, 2], 2, 15),
        "label 2 of sample 1 is not below the number of classes, 2"
    );
    assert_eq!(
        logits(&[0.0, 0.0, f32::NAN, 0.0], &[0, 1], 2, 15),
        "logit 0 of sample 1 is NaN: probabilities need finite logits"
    );
    assert_eq!(logits(&[0.0; 2], &[0], 2, 0), "number of bins must lie in [1, ∞), got 0");
}
