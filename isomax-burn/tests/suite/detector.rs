//! Temperature fits, detectors and their files.

use burn::backend::Flex;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Distribution, Tensor};
use isomax_burn::metrics::{CalibrationMetrics, MetricError};
use isomax_burn::{
    Decision, Detector, DetectorConfig, DetectorError, Head, HeadConfig, HeadKind, Score,
    TemperatureFit, TemperatureObjective,
};
use proptest::prelude::*;
use std::fs;

use crate::support::{few_cases, ints, matrix};

on_every_backend!(decisions_carry_class_and_score, logits_it_was_not_fitted_on_are_refused);

fn detector(scores: &[f32], target_tpr: f64) -> Detector {
    detector_on::<Flex>(scores, target_tpr)
}

fn detector_on<B: Backend>(scores: &[f32], target_tpr: f64) -> Detector {
    let rows: Vec<_> = scores.iter().map(|&s| vec![s, s - 1.0]).collect();
    DetectorConfig::new(HeadKind::IsoMaxPlus)
        .with_target_tpr(target_tpr)
        .fit(matrix::<B>(&rows), 1.0)
        .unwrap()
}

fn decide(detector: &Detector, scores: &[f32]) -> Vec<Decision> {
    decide_on::<Flex>(detector, scores)
}

fn decide_on<B: Backend>(detector: &Detector, scores: &[f32]) -> Vec<Decision> {
    let rows: Vec<_> = scores.iter().map(|&s| vec![s - 1.0, s]).collect();
    detector.decide(matrix::<B>(&rows), 1.0).unwrap()
}

proptest! {
    #![proptest_config(few_cases())]

    #[test]
    fn accepts_its_target_share(
        scores in prop::collection::hash_set(-9999_i16..9999, 1..200),
        target in 0.01..=1.0_f64,
    ) {
        let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
        let decisions = decide(&detector(&scores, target), &scores);
        let accepted = decisions.iter().filter(|d| d.in_distribution).count() as f64;
        let excess = accepted / scores.len() as f64 - target;
        prop_assert!(excess >= -1e-9 && excess <= 1.0 / scores.len() as f64 + 1e-9);
    }

    #[test]
    fn quantiles_rank_scores(scores in prop::collection::vec(-99.0_f32..99.0, 1..3000)) {
        let detector = detector(&scores, 0.95);
        let mut probes = scores.clone();
        probes.sort_by(f32::total_cmp);
        for decision in decide(&detector, &probes) {
            let no_higher = scores.iter().filter(|s| **s <= decision.score).count();
            let expected = no_higher as f64 / scores.len() as f64;
            // Beyond 1,001 samples a knot stands for up to three.
            let tolerance = if scores.len() <= 1001 { 0.0 } else { 3.0 / scores.len() as f64 };
            prop_assert!((decision.quantile - expected).abs() <= tolerance);
        }
        let outer = decide(&detector, &[-100.0, 100.0]);
        prop_assert_eq!((outer[0].quantile, outer[1].quantile), (0.0, 1.0));
        prop_assert!(!outer[0].in_distribution && outer[1].in_distribution);
    }

    #[test]
    fn a_file_holds_all_of_a_detector(scores in prop::collection::vec(-9.0_f32..9.0, 1..50), target in 0.01..=1.0_f64) {
        let (folder, detector) = (tempfile::tempdir().unwrap(), detector(&scores, target));
        let path = folder.path().join("detector.json");
        detector.save(&path).unwrap();
        prop_assert_eq!(Detector::load(&path).unwrap(), detector);
        prop_assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn damaged_files_are_errors_and_never_panics(cut in 0_usize..2000, flip in 0_usize..2000, byte: u8) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("detector.json");
        let whole = detector(&[1.0, 2.0, 3.0], 0.9);
        whole.save(&path).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let (cut, flip) = (cut % bytes.len(), flip % bytes.len());

        // Without its closing brace no prefix is a detector.
        let last = bytes.iter().rposition(|b| *b == b'}').unwrap();
        fs::write(&path, &bytes[..cut.min(last)]).unwrap();
        let error = Detector::load(&path).unwrap_err();
        prop_assert!(matches!(error, DetectorError::Malformed { .. }), "{}", error);

        // Any single byte may be another one: what is read then is still a consistent detector.
        bytes[flip] = byte;
        fs::write(&path, &bytes).unwrap();
        if let Ok(read) = Detector::load(&path) {
            prop_assert!(read.temperature() > 0.0 && read.threshold().is_finite());
            prop_assert!(read.num_samples() == 3 && read.num_classes() > 0);
        }
    }
}

fn decisions_carry_class_and_score<B: AutodiffBackend>() {
    let detector = detector_on::<B>(&[-1.0, -2.0, -3.0, -4.0], 0.5);
    assert_eq!((detector.threshold(), detector.num_samples()), (-2.0, 4));
    assert_eq!((detector.score(), detector.head()), (Score::MDS, HeadKind::IsoMaxPlus));
    let decisions = decide_on::<B>(&detector, &[-2.0, -2.5, -9.0]);
    let of = |class, score, quantile, in_distribution| Decision {
        class,
        score,
        quantile,
        in_distribution,
    };
    let expected = [of(1, -2.0, 0.75, true), of(1, -2.5, 0.5, false), of(1, -9.0, 0.0, false)];
    assert_eq!(decisions, expected);
    let none = Tensor::<B, 2>::zeros([0, 2], &Default::default());
    assert!(detector.decide(none, 1.0).unwrap().is_empty());
}

fn logits_it_was_not_fitted_on_are_refused<B: AutodiffBackend>() {
    let detector = detector_on::<B>(&[1.0, 2.0], 0.95);
    let logits = |classes| Tensor::<B, 2>::zeros([3, classes], &Default::default());
    for temperature in [1.5, 1.002, f32::NAN] {
        let error = detector.decide(logits(2), temperature).unwrap_err();
        assert!(matches!(error, DetectorError::TemperatureMismatch { expected: 1.0, .. }));
    }
    let wide = detector.decide(logits(3), 1.0).unwrap_err();
    assert!(matches!(wide, DetectorError::ClassCountMismatch { expected: 2, got: 3 }));
    for value in [f32::NAN, f32::INFINITY] {
        let broken = matrix::<B>(&[vec![0.0, 1.0], vec![0.0, value]]);
        let error = detector.decide(broken, 1.0).unwrap_err();
        let expected = MetricError::NonFiniteLogit { index: 1, class: 1, value };
        assert_eq!(error.to_string(), expected.to_string());
    }
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let fit = |target, values: Vec<Vec<f32>>, temperature| {
        let config = DetectorConfig::new(HeadKind::IsoMaxPlus).with_target_tpr(target);
        config.fit(matrix::<Flex>(&values), temperature).unwrap_err().to_string()
    };
    let row = || vec![vec![1.0, 0.0]];
    assert_eq!(fit(0.0, row(), 1.0), "target TPR is 0, expected a number in (0, 1]");
    assert_eq!(fit(1.5, row(), 1.0), "target TPR is 1.5, expected a number in (0, 1]");
    assert_eq!(fit(0.9, row(), -1.0), "temperature is -1, expected a positive number");
    assert!(fit(0.9, vec![vec![f32::NAN; 2]], 1.0).contains("logit 0 of sample 0 is NaN"));
    let infinite = fit(0.9, vec![vec![0.0, f32::NEG_INFINITY]], 1.0);
    assert!(infinite.contains("logit 1 of sample 0 is -inf"), "{infinite}");
    let none = Tensor::<Flex, 2>::zeros([0, 2], &Default::default());
    let none = DetectorConfig::new(HeadKind::IsoMaxPlus).fit(none, 1.0).unwrap_err();
    assert!(matches!(none, DetectorError::Metric(MetricError::EmptyScores(_))));
}

#[test]
fn files_that_are_no_detectors_say_what_they_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("detector.json");
    let load = |text: &str| {
        fs::write(&path, text).unwrap();
        Detector::load(&path).unwrap_err()
    };
    let text = serde_json::to_string(&detector(&[1.0, 2.0], 0.95)).unwrap();

    let foreign = load(&text.replace("\"version\":1", "\"version\":7,\"novelty\":[]"));
    assert!(matches!(foreign, DetectorError::UnsupportedVersion { expected: 1, found: 7, .. }));
    assert!(
        foreign.to_string().contains("detector.json: expected detector format version 1, found 7")
    );

    for (from, to, complaint) in [
        ("isomax-detector", "model", "unknown variant `model`"),
        ("\"threshold\":1.0", "\"threshold\":\"high\"", "invalid type: string \"high\""),
        ("\"threshold\":1.0", "\"threshold\":null", "invalid type: null"),
        ("\"num_classes\":2", "\"num_classes\":0", "number of classes is 0"),
        ("\"temperature\":1.0", "\"temperature\":-1.0", "temperature is -1"),
        ("[1.0,2.0]", "[2.0,1.0]", "quantiles is infinite, out of order, or of another number"),
        ("[1.0,2.0]", "[1.0]", "one for each sample up to 1001"),
        ("\"threshold\":1.0", "\"threshold\":3.0", "threshold is 3, expected within the quantiles"),
        ("\"head\":", "\"extra\":0,\"head\":", "unknown field `extra`"),
        ("MDS", "ODIN", "unknown variant `ODIN`"),
    ] {
        assert!(text.contains(from), "{from} is not in {text}");
        let error = load(&text.replace(from, to));
        assert!(matches!(error, DetectorError::Malformed { .. }), "{error:?}");
        assert!(error.to_string().contains(complaint), "'{error}' lacks '{complaint}'");
    }

    fs::write(&path, [0xff, 0x00, 0xfe]).unwrap();
    assert!(matches!(Detector::load(&path), Err(DetectorError::Malformed { .. })));
    fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(matches!(Detector::load(&path), Err(DetectorError::TooLarge { limit: 1_048_576, .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(Detector::load(&path), Err(DetectorError::Io { .. })));
    let nowhere = folder.path().join("no such folder").join("detector.json");
    assert!(matches!(detector(&[1.0], 0.5).save(nowhere), Err(DetectorError::Io { .. })));
}

/// Overconfident logits of 3 classes, right about two times in three.
fn overconfident(samples: usize) -> (Vec<f32>, Vec<usize>) {
    let label = |i: usize| i % 3;
    let logits = (0..samples).flat_map(|i| {
        let guess = if i % 10 < 7 { label(i) } else { (label(i) + 1) % 3 };
        let strength = 4.0 + (i % 7) as f32;
        (0..3).map(move |class| if class == guess { strength } else { 0.0 })
    });
    (logits.collect(), (0..samples).map(label).collect())
}

#[test]
fn fitted_temperatures_help_and_stay() {
    let (logits, labels) = overconfident(600);
    for objective in [TemperatureObjective::Ece, TemperatureObjective::Nll] {
        let fit = TemperatureFit::new(&logits, &labels, 3, 1.0, objective).unwrap();
        assert!(fit.temperature > 1.5 && fit.after < fit.before, "{objective:?}: {fit:?}");

        let cooled: Vec<f32> = logits.iter().map(|l| l / fit.temperature).collect();
        let metrics = CalibrationMetrics::from_logits(&cooled, &labels, 3, 15).unwrap();
        let value = match objective {
            TemperatureObjective::Ece => metrics.ece,
            TemperatureObjective::Nll => metrics.nll,
        };
        assert!((value - fit.after).abs() < 1e-4, "{objective:?}: {value} ≠ {}", fit.after);

        let again = TemperatureFit::new(&cooled, &labels, 3, fit.temperature, objective).unwrap();
        assert_eq!(again.temperature, fit.temperature, "{objective:?}: {fit:?}, {again:?}");
    }
}

#[test]
fn heads_calibrate_themselves() {
    let head = HeadConfig::new(HeadKind::SoftMax, 3, 3).init::<Flex>(&Default::default());
    let (logits, labels) = overconfident(300);
    let labels: Vec<i64> = labels.iter().map(|&l| l as i64).collect();
    let logits =
        Tensor::<Flex, 1>::from_floats(logits.as_slice(), &Default::default()).reshape([300, 3]);
    let calibrate = |head: Head<Flex>| {
        let logits = logits.clone() / head.temperature();
        head.calibrate(logits, ints(&labels), TemperatureObjective::Nll).unwrap()
    };
    let (once, fit) = calibrate(head);
    assert_eq!(once.temperature(), fit.temperature);
    let (twice, _) = calibrate(once.clone());
    assert_eq!(twice.temperature(), once.temperature());
}

proptest! {
    #![proptest_config(few_cases())]

    #[test]
    fn a_fit_is_never_worse_than_before_and_stays(
        // Coarse logits, so that many samples share a confidence and cross a bin together.
        rows in prop::collection::vec(prop::array::uniform3((-9_i8..9).prop_map(f32::from)), 1..40),
        current in 0.05_f32..20.0,
    ) {
        let labels: Vec<usize> = (0..rows.len()).map(|i| i % 3).collect();
        for objective in [TemperatureObjective::Ece, TemperatureObjective::Nll] {
            let fit = TemperatureFit::new(&rows.concat(), &labels, 3, current, objective).unwrap();
            let rescaled: Vec<f32> =
                rows.concat().iter().map(|l| l * current / fit.temperature).collect();
            let value = |logits: &[f32]| {
                let metrics = CalibrationMetrics::from_logits(logits, &labels, 3, 15).unwrap();
                match objective {
                    TemperatureObjective::Ece => metrics.ece,
                    TemperatureObjective::Nll => metrics.nll,
                }
            };
            let (before, after) = (value(&rows.concat()), value(&rescaled));
            prop_assert!(after <= before + 1e-5, "{:?}: {} after {}", objective, after, before);
            let again =
                TemperatureFit::new(&rescaled, &labels, 3, fit.temperature, objective).unwrap();
            prop_assert_eq!(again.temperature, fit.temperature, "{:?}", objective);
        }
    }
}

#[test]
fn unusable_calibration_input_is_an_error() {
    let fit = |logits: &[f32], labels: &[usize], current| {
        TemperatureFit::new(logits, labels, 2, current, TemperatureObjective::Nll).unwrap_err()
    };
    assert_eq!(fit(&[], &[], 1.0), MetricError::NoSamples);
    assert!(matches!(fit(&[0.0, 1.0], &[0], 0.0), MetricError::OutOfRange { .. }));
    assert!(matches!(fit(&[0.0, 1.0], &[2], 1.0), MetricError::LabelOutOfRange { .. }));
    let infinite =
        Tensor::<Flex, 2>::random([1, 2], Distribution::Default, &Default::default()) / 0.0;
    let head = HeadConfig::new(HeadKind::IsoMax, 2, 2).init::<Flex>(&Default::default());
    let error = head.calibrate(infinite, ints(&[0]), TemperatureObjective::Ece).unwrap_err();
    assert!(matches!(error, MetricError::NonFiniteLogit { .. }));
}
