//! Temperature fits, detectors and their files.

use burn::backend::Flex;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Distribution, Tensor};
use isomax_burn::metrics::{CalibrationMetrics, MetricError};
use isomax_burn::{
    Decision, Detector, DetectorConfig, DetectorError, Head, HeadConfig, HeadKind, OodHead,
    OodScore, Promise, Score, TemperatureFit, TemperatureObjective,
};
use proptest::prelude::*;
use std::fs;

use crate::support::{device, few_cases, ints, matrix};

on_every_backend!(decisions_carry_class_and_score, logits_it_was_not_fitted_on_are_refused);

/// A head that is asked for its kind and temperature only.
fn head<B: Backend>() -> Head<B> {
    HeadConfig::new(HeadKind::IsoMaxPlus, 2, 2).init(&device())
}

fn detector(scores: &[f32], target_tpr: f64) -> Detector {
    detector_on::<Flex>(scores, target_tpr)
}

fn detector_on<B: Backend>(scores: &[f32], target_tpr: f64) -> Detector {
    let rows: Vec<_> = scores.iter().map(|&s| vec![s, s - 1.0]).collect();
    let config = DetectorConfig::new().with_target_tpr(target_tpr);
    config.fit(&head::<B>(), matrix::<B>(&rows)).unwrap()
}

fn decide(detector: &Detector, scores: &[f32]) -> Vec<Decision> {
    decide_on::<Flex>(detector, scores)
}

fn decide_on<B: Backend>(detector: &Detector, scores: &[f32]) -> Vec<Decision> {
    let rows: Vec<_> = scores.iter().map(|&s| vec![s - 1.0, s]).collect();
    detector.decide(&head::<B>(), matrix::<B>(&rows)).unwrap()
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

    /// The same sample has other last bits in a batch of another size.
    #[test]
    fn the_last_bit_does_not_decide(
        scores in prop::collection::vec(-99.0_f32..99.0, 1..200),
        target in 0.01..=1.0_f64,
    ) {
        let detector = detector(&scores, target);
        for (score, decision) in scores.iter().zip(decide(&detector, &scores)) {
            if decision.in_distribution {
                let lower = score - score.abs() * f32::EPSILON * 4.0;
                prop_assert!(decide(&detector, &[lower])[0].in_distribution, "{score}");
            }
        }
        prop_assert!(scores.iter().all(|&score| f64::from(score) != detector.threshold()));
    }

    #[test]
    fn bare_scores_give_the_same_decisions(
        scores in prop::collection::hash_set(-9999_i16..9999, 1..200),
        target in 0.01..=1.0_f64,
    ) {
        let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
        let of_logits = detector(&scores, target);
        let bare = DetectorConfig::new().with_target_tpr(target).fit_scores(&scores).unwrap();
        let doubles: Vec<f64> = scores.iter().map(|&s| s.into()).collect();
        let decisions = bare.decide_scores(&doubles).unwrap();
        for (ours, expected) in decisions.iter().zip(decide(&of_logits, &scores)) {
            prop_assert_eq!(ours.in_distribution, expected.in_distribution);
            prop_assert_eq!((ours.quantile, ours.p_value), (expected.quantile, expected.p_value));
            let n = scores.len() as f64;
            prop_assert!((ours.p_value - (ours.quantile * n + 1.0) / (n + 1.0)).abs() < 1e-12);
        }
    }

    #[test]
    fn quantiles_rank_scores(scores in prop::collection::vec(-99.0_f32..99.0, 1..3000)) {
        let detector = detector(&scores, 0.95);
        let mut probes = scores.clone();
        probes.sort_by(f32::total_cmp);
        for decision in decide(&detector, &probes) {
            let no_higher = scores.iter().filter(|s| f64::from(**s) <= decision.score).count();
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
    fn a_file_holds_all_of_a_detector(
        scores in prop::collection::vec(-9.0_f32..9.0, 30..60),
        target in 0.5..0.9_f64,
        confidence_temperature in 0.1_f32..9.0,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("detector.json");
        let promises =
            [Promise::Empirical, Promise::Conformal, Promise::Tolerance { confidence: 0.9 }];
        for promise in promises {
            let config = DetectorConfig::new().with_target_tpr(target).with_promise(promise);
            let rows: Vec<_> = scores.iter().map(|&s| vec![s, s - 1.0]).collect();
            let of_logits = config.fit(&head::<Flex>(), matrix(&rows)).unwrap();
            let of_logits = of_logits.with_confidence_temperature(confidence_temperature).unwrap();
            for detector in [of_logits, config.fit_scores(&scores).unwrap()] {
                detector.save(&path).unwrap();
                let loaded = Detector::load(&path).unwrap();
                prop_assert_eq!(loaded.threshold(), detector.threshold());
                prop_assert_eq!(loaded.promise(), promise);
                prop_assert_eq!(loaded, detector);
            }
        }
        prop_assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn damaged_files_are_errors_and_never_panics(cut in 0_usize..2000, flip in 0_usize..2000, byte: u8) {
        let whole = detector(&[1.0, 2.0, 3.0], 0.9).to_json().into_bytes();
        let (cut, flip) = (cut % whole.len(), flip % whole.len());

        // Without its closing brace no prefix is a detector.
        let last = whole.iter().rposition(|b| *b == b'}').unwrap();
        let error = Detector::from_json(&whole[..cut.min(last)]).unwrap_err();
        prop_assert!(matches!(error, DetectorError::Malformed { .. }), "{}", error);

        // Any single byte may be another one: what is read then is still a consistent detector.
        let mut bytes = whole;
        bytes[flip] = byte;
        if let Ok(read) = Detector::from_json(&bytes) {
            prop_assert!(read.threshold().is_finite() && read.num_samples() == 3);
            prop_assert!(read.temperature().is_none_or(|temperature| temperature > 0.0));
            prop_assert!(read.num_classes().is_none_or(|classes| classes > 0));
        }
    }
}

fn decisions_carry_class_and_score<B: AutodiffBackend>() {
    let detector = detector_on::<B>(&[-1.0, -2.0, -3.0, -4.0], 0.5);
    assert_eq!((detector.threshold(), detector.num_samples()), (-2.5, 4));
    assert_eq!((detector.score_name(), detector.head()), (Some("MDS"), Some("isomax+")));
    let decisions = decide_on::<B>(&detector, &[-2.0, -2.75, -9.0]);
    let expected =
        [(1, -2.0, 0.75, 0.8, true), (1, -2.75, 0.5, 0.6, false), (1, -9.0, 0.0, 0.2, false)];
    let ours = |d: &Decision| (d.class, d.score, d.quantile, d.p_value, d.in_distribution);
    assert_eq!(decisions.iter().map(ours).collect::<Vec<_>>(), expected);
    let confidence = 1.0 / (1.0 + (-1.0_f64).exp());
    assert!(decisions.iter().all(|d| (d.confidence - confidence).abs() < 1e-6), "{decisions:?}");
    let none = Tensor::<B, 2>::zeros([0, 2], &device());
    assert!(detector.decide(&head::<B>(), none).unwrap().is_empty());
}

fn logits_it_was_not_fitted_on_are_refused<B: AutodiffBackend>() {
    let detector = detector_on::<B>(&[1.0, 2.0], 0.95);
    let logits = |classes| Tensor::<B, 2>::zeros([3, classes], &device());
    for temperature in [1.5, 1.002] {
        let other = head::<B>().with_temperature(temperature);
        let error = detector.decide(&other, logits(2)).unwrap_err();
        assert!(matches!(error, DetectorError::TemperatureMismatch { expected: 1.0, .. }));
    }
    let foreign = HeadConfig::new(HeadKind::DisMax, 2, 2).init::<B>(&device());
    let error = detector.decide(&foreign, logits(2)).unwrap_err().to_string();
    assert_eq!(error, "the detector was fitted on logits of the head isomax+, these are of dismax");
    let wide = detector.decide(&head::<B>(), logits(3)).unwrap_err();
    assert!(matches!(wide, DetectorError::ClassCountMismatch { expected: 2, got: 3 }));
    for value in [f32::NAN, f32::INFINITY] {
        let broken = matrix::<B>(&[vec![0.0, 1.0], vec![0.0, value]]);
        let error = detector.decide(&head::<B>(), broken).unwrap_err();
        let value = value.into();
        let expected = MetricError::NonFiniteLogit { index: 1, class: 1, value };
        assert_eq!(error.to_string(), expected.to_string());
    }
    let bare = DetectorConfig::new().fit_scores(&[1.0, 2.0]).unwrap();
    let error = bare.decide(&head::<B>(), logits(2)).unwrap_err();
    assert!(matches!(error, DetectorError::NoHead));
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let fit = |target, values: Vec<Vec<f32>>| {
        let config = DetectorConfig::new().with_target_tpr(target);
        config.fit(&head::<Flex>(), matrix(&values)).unwrap_err().to_string()
    };
    let row = || vec![vec![1.0, 0.0]];
    assert_eq!(fit(0.0, row()), "target TPR is 0, expected a number in (0, 1]");
    assert_eq!(fit(1.5, row()), "target TPR is 1.5, expected a number in (0, 1]");
    assert_eq!(fit(f64::NAN, row()), "target TPR is NaN, expected a number in (0, 1]");
    assert!(fit(0.9, vec![vec![f32::NAN; 2]]).contains("logit 0 of sample 0 is NaN"));
    let infinite = fit(0.9, vec![vec![0.0, f32::NEG_INFINITY]]);
    assert!(infinite.contains("logit 1 of sample 0 is -inf"), "{infinite}");
    let none = Tensor::<Flex, 2>::zeros([0, 2], &device());
    let none = DetectorConfig::new().fit(&head::<Flex>(), none).unwrap_err();
    assert!(matches!(none, DetectorError::Metric(MetricError::EmptyScores(_))));

    let scores =
        |config: DetectorConfig, scores: &[f64]| config.fit_scores(scores).unwrap_err().to_string();
    let config = DetectorConfig::new;
    assert!(scores(config(), &[0.0, f64::NAN]).contains("score 1 is NaN"));
    assert!(scores(config(), &[f64::INFINITY]).contains("score 0 is inf"));
    assert_eq!(
        scores(config().with_promise(Promise::Conformal), &[0.0; 18]),
        "the promise conformal of 0.95 needs at least 19 held-out samples, got 18"
    );
    let tolerance = |confidence| config().with_promise(Promise::Tolerance { confidence });
    assert_eq!(
        scores(tolerance(0.95), &[0.0; 58]),
        "the promise tolerance (confidence 0.95) of 0.95 needs at least 59 held-out samples, got 58"
    );
    assert_eq!(scores(tolerance(1.0), &[0.0; 99]), "confidence is 1, expected a number in (0, 1)");
    let all = config().with_target_tpr(1.0).with_promise(Promise::Conformal);
    assert!(scores(all, &[0.0; 99]).contains("expected a number in (0, 1) for this promise"));
}

/// Scores that 32 bits cannot tell apart, and many that are equal.
#[test]
fn thresholds_tell_doubles_apart_and_keep_ties_together() {
    let near_one: Vec<f64> = (0..100).map(|i| 1.0 - 1e-12 * f64::from(i)).collect();
    let detector = DetectorConfig::new().with_target_tpr(0.9).fit_scores(&near_one).unwrap();
    let accepted = detector.decide_scores(&near_one).unwrap();
    assert_eq!(accepted.iter().filter(|d| d.in_distribution).count(), 90);

    let tied = [vec![0.0; 50], vec![1.0; 50]].concat();
    let detector = DetectorConfig::new().with_target_tpr(0.6).fit_scores(&tied).unwrap();
    assert!(detector.threshold() < 0.0 && detector.threshold() > -1e-6);
    let detector = DetectorConfig::new().with_target_tpr(0.5).fit_scores(&tied).unwrap();
    assert_eq!(detector.threshold(), 0.5);
}

#[derive(Debug)]
struct Margin;

impl OodScore for Margin {
    fn name(&self) -> &str {
        "margin"
    }

    fn score(&self, logits: &[f64]) -> f64 {
        (logits[0] - logits[1]).abs()
    }
}

#[test]
fn own_scores_join() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("detector.json");
    let logits = || matrix::<Flex>(&[vec![1.0, 0.0], vec![0.0, 5.0], vec![2.0, -1.0]]);
    let config = DetectorConfig::new().with_score(Margin).with_target_tpr(0.6);
    let detector = config.fit(&head::<Flex>(), logits()).unwrap();
    assert_eq!((detector.score_name(), detector.threshold()), (Some("margin"), 2.0));
    detector.save(&path).unwrap();
    let loaded = Detector::load_with(&path, Margin).unwrap();
    let decisions = loaded.decide(&head::<Flex>(), logits()).unwrap();
    assert_eq!(decisions.iter().map(|d| d.score).collect::<Vec<_>>(), [1.0, 5.0, 3.0]);
    let unknown = Detector::load(&path).unwrap_err().to_string();
    assert!(unknown.contains("detector.json: unknown score 'margin'; known: MPS"), "{unknown}");
    assert!(unknown.contains("Detector::load_with"), "{unknown}");
    let other = Detector::load_with(&path, Score::ES).unwrap_err().to_string();
    assert!(other.contains("unknown score 'margin'; known: ES"), "{other}");
}

#[test]
fn files_that_are_no_detectors_say_what_they_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("detector.json");
    let text = detector(&[1.0, 2.0], 0.95).to_json();
    let read = |text: &str| Detector::from_json(text.as_bytes()).unwrap_err();

    let foreign = read(&text.replace("\"version\": 2", "\"version\": 7,\"novelty\":[]"));
    assert!(matches!(foreign, DetectorError::UnsupportedVersion { newest: 2, found: 7 }));
    let threshold = format!("\"value\": {:?}", detector(&[1.0, 2.0], 0.95).threshold());

    for (from, to, complaint) in [
        ("isomax-detector", "model", "unknown variant `model`"),
        (threshold.as_str(), "\"value\": \"high\"", "invalid type: string \"high\""),
        (&threshold, "\"value\": null", "invalid type: null"),
        ("\"num_classes\": 2", "\"num_classes\": 0", "number of classes is 0"),
        ("\"temperature\": 1.0", "\"temperature\": -1.0", "temperature is -1"),
        ("1.0,\n      2.0", "2.0,\n      1.0", "quantiles is infinite, out of order"),
        ("1.0,\n      2.0", "1.0", "one for each sample up to 1001"),
        (&threshold, "\"value\": 3.0", "threshold is 3, expected at most the largest quantile"),
        ("\"head\":", "\"extra\": 0, \"head\":", "unknown field `extra`"),
        ("MDS", "ODIN", "unknown score 'ODIN'; known: MPS, ES"),
        ("\"MDS\"", "null", "score is null, expected a name"),
        ("\"empirical\"", "\"conditional\"", "unknown variant `conditional`"),
    ] {
        assert!(text.contains(from), "{from} is not in {text}");
        let error = read(&text.replace(from, to)).to_string();
        assert!(error.contains(complaint), "'{error}' lacks '{complaint}'");
    }

    fs::write(&path, [0xff, 0x00, 0xfe]).unwrap();
    let error = Detector::load(&path).unwrap_err().to_string();
    assert!(error.contains("detector.json: expected a detector in JSON"), "{error}");
    fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(matches!(Detector::load(&path), Err(DetectorError::TooLarge { limit: 1_048_576, .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(Detector::load(&path), Err(DetectorError::Io { .. })));
    let nowhere = folder.path().join("no such folder").join("detector.json");
    assert!(matches!(detector(&[1.0], 0.5).save(nowhere), Err(DetectorError::Io { .. })));
}

/// A file as the first version wrote it.
#[test]
fn older_files_are_read() {
    let old = r#"{
        "format": "isomax-detector", "version": 1, "head": "isomax+", "score": "MDS",
        "temperature": 1.0, "num_classes": 2, "target_tpr": 0.5, "threshold": -2.0,
        "num_samples": 4, "quantiles": [-4.0, -3.0, -2.0, -1.0]
    }"#;
    let detector = Detector::from_json(old.as_bytes()).unwrap();
    assert_eq!((detector.threshold(), detector.promise()), (-2.0, Promise::Empirical));
    assert_eq!(detector.confidence_temperature(), Some(1.0));
    let decisions = decide(&detector, &[-2.0, -2.5]);
    assert!(decisions[0].in_distribution && !decisions[1].in_distribution);
    assert!(detector.to_json().contains("\"version\": 2"));
}

#[test]
fn more_samples_than_can_be_counted_are_refused() {
    let knots: Vec<String> = (0..1001).map(|knot| format!("{knot}.0")).collect();
    let file = |samples: u64| {
        format!(
            r#"{{"format": "isomax-detector", "version": 1, "head": "isomax+", "score": "MDS",
                "temperature": 1.0, "num_classes": 2, "target_tpr": 0.5, "threshold": 500.0,
                "num_samples": {samples}, "quantiles": [{}]}}"#,
            knots.join(", ")
        )
    };
    let many = Detector::from_json(file(1 << 48).as_bytes()).unwrap();
    let decision = &decide(&many, &[500.0])[0];
    assert!(decision.p_value > 0.0 && decision.p_value <= 1.0);
    let error = Detector::from_json(file(u64::MAX).as_bytes()).unwrap_err().to_string();
    assert!(error.contains("number of samples") && error.contains("2^48"), "{error}");
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
    let head = HeadConfig::new(HeadKind::SoftMax, 3, 3).init::<Flex>(&device());
    let (logits, labels) = overconfident(300);
    let labels: Vec<i64> = labels.iter().map(|&l| l as i64).collect();
    let logits = Tensor::<Flex, 1>::from_floats(logits.as_slice(), &device()).reshape([300, 3]);
    let calibrate = |head: Head<Flex>| {
        let logits = logits.clone() / head.temperature();
        head.calibrate(logits, ints(&labels), TemperatureObjective::Nll).unwrap()
    };
    let (once, fit) = calibrate(head);
    assert_eq!(once.temperature(), fit.temperature);
    let (twice, _) = calibrate(once.clone());
    assert_eq!(twice.temperature(), once.temperature());
}

/// The temperature of confidences is none of the threshold's business.
#[test]
fn a_calibrated_detector_is_honest_and_decides_as_before() {
    let head = HeadConfig::new(HeadKind::SoftMax, 3, 3).init::<Flex>(&device());
    let (logits, labels) = overconfident(600);
    let labels: Vec<i64> = labels.iter().map(|&l| l as i64).collect();
    let logits = || {
        let logits = Tensor::<Flex, 1>::from_floats(logits.as_slice(), &device());
        logits.reshape([600, 3])
    };
    let plain = DetectorConfig::new().fit(&head, logits()).unwrap();
    let objective = TemperatureObjective::Nll;
    let (calibrated, fit) = plain.clone().calibrate(logits(), ints(&labels), objective).unwrap();
    assert_eq!(calibrated.confidence_temperature(), Some(fit.temperature));
    assert_eq!(calibrated.temperature(), Some(1.0));
    let decide = |detector: &Detector| detector.decide(&head, logits()).unwrap();
    let (before, after) = (decide(&plain), decide(&calibrated));
    let mean = |decisions: &[Decision]| {
        decisions.iter().map(|decision| decision.confidence).sum::<f64>() / 600.0
    };
    // Right 7 times in 10.
    assert!((mean(&after) - 0.7).abs() < 0.04 && mean(&before) > 0.9, "{}", mean(&after));
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((before.score, before.in_distribution), (after.score, after.in_distribution));
    }
    // A head that was calibrated itself gives the same confidences.
    let warm = head.clone().with_temperature(fit.temperature);
    let warm_logits = logits() / fit.temperature;
    let own = DetectorConfig::new().fit(&warm, warm_logits.clone()).unwrap();
    for (own, after) in own.decide(&warm, warm_logits).unwrap().iter().zip(&after) {
        assert!((own.confidence - after.confidence).abs() < 1e-5);
    }
    let error = plain.with_confidence_temperature(0.0).unwrap_err().to_string();
    assert_eq!(error, "temperature is 0, expected a positive number");
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
    let infinite = Tensor::<Flex, 2>::random([1, 2], Distribution::Default, &device()) / 0.0;
    let head = HeadConfig::new(HeadKind::IsoMax, 2, 2).init::<Flex>(&device());
    let error = head.calibrate(infinite, ints(&[0]), TemperatureObjective::Ece).unwrap_err();
    assert!(matches!(error, MetricError::NonFiniteLogit { .. }));
}
