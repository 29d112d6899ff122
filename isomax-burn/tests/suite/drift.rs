//! The drift watch against SciPy, against its definition, and over simulated streams.

use isomax_burn::{Detector, DetectorConfig, DriftConfig, DriftError, DriftReason, DriftReport};
use isomax_burn::{DriftWatch, Promise};
use proptest::prelude::*;
use std::f64::consts::TAU;

/// `0, 1, …, 499`.
fn held_out() -> Vec<f64> {
    (0..500).map(f64::from).collect()
}

/// As many numbers of `0, 1, …, 499`, evenly spread.
fn spread(count: i32) -> Vec<f64> {
    (0..count).map(|i| f64::from(i * 37 % 500)).collect()
}

fn fit(held_out: &[f64]) -> Detector {
    DetectorConfig::new().fit_scores(held_out).unwrap()
}

/// A watch over the detector of these held-out scores that has seen a window of scores.
fn report(held_out: &[f64], scores: &[f64]) -> DriftReport {
    let detector = fit(held_out);
    let mut watch = DriftConfig::new().with_window(scores.len()).watch(&detector).unwrap();
    scores.iter().for_each(|&score| watch.push(score, score >= detector.threshold()));
    watch.report()
}

#[track_caller]
fn assert_near(what: &str, ours: f64, expected: f64, relative: f64) {
    let error = (ours - expected).abs();
    assert!(error <= relative * expected.abs(), "{what}: {ours}, expected {expected}");
}

/// Distances, asymptotic and exact p-values of SciPy 1.17, for `w` and `h` as below:
///
/// ```python
/// import numpy as np
/// from scipy import special, stats
/// d = stats.ks_2samp(w, h).statistic
/// root = np.sqrt(len(w) * len(h) / (len(w) + len(h)))
/// special.kolmogorov((root + 0.12 + 0.11 / root) * d), stats.ks_2samp(w, h, method='exact').pvalue
/// ```
#[test]
fn kolmogorov_smirnov_is_that_of_scipy() {
    let moved = |by: f64| -> Vec<f64> { spread(200).iter().map(|score| score + by).collect() };
    let narrow = spread(200).iter().map(|score| 150.0 + score * 0.4).collect();
    let fewer = spread(60).iter().map(|score| score * 0.8).collect();
    let least = spread(30).iter().map(|score| score + 200.0).collect();
    let tied = (0..200).map(|i| f64::from(i * 7 % 8) - 1.0).collect();
    let all_tied = (0..200).map(|i| f64::from(i * 7 % 5)).collect();
    let (all, eighths) = (held_out(), (0..500).map(|i| f64::from(i % 8)).collect::<Vec<_>>());
    let (all, eighths) = (all.as_slice(), eighths.as_slice());
    /// Name, held-out scores, window, distance, p-value, tolerance.
    type Case<'a> = (&'a str, &'a [f64], Vec<f64>, f64, f64, f64);
    let cases: [Case<'_>; 11] = [
        ("as before", all, moved(0.0), 0.021, 0.999_999_953_109, 1.0),
        ("-25", all, moved(-25.0), 0.063, 0.608_458_864_723, 0.603_991),
        ("-50", all, moved(-50.0), 0.113, 0.048_100_913_052_5, 0.048_870_8),
        ("-75", all, moved(-75.0), 0.163, 0.000_856_203_879_021, 0.000_903_046),
        ("-100", all, moved(-100.0), 0.213, 3.540_694_336_66e-6, 3.842_59e-6),
        ("-150", all, moved(-150.0), 0.313, 7.592_611_451_28e-13, 7.434_43e-13),
        ("narrow", all, narrow, 0.305, 3.215_126_059_97e-12, 3.218_54e-12),
        ("60 scores", all, fewer, 0.2, 0.023_467_073_815_1, 0.023_689),
        ("30 scores", all, least, 0.405_333_333_333, 0.000_111_118_992_533, 0.000_105_357),
        ("ties", eighths, tied, 0.125, 0.020_896_397_749_8, 0.021_411_3),
        ("other ties", eighths, all_tied, 0.372, 5.708_529_627_65e-18, 4.205_47e-18),
    ];
    for (name, held_out, scores, distance, asymptotic, exact) in cases {
        let report = report(held_out, &scores);
        assert_near(name, report.ks_distance.unwrap(), distance, 1e-11);
        let p_value = report.ks_p_value.unwrap();
        assert_near(name, p_value, asymptotic, 1e-9);
        assert_near(name, p_value, exact, 0.4);
        let moved = report.reasons.contains(&DriftReason::ScoresMoved);
        assert_eq!(moved, p_value <= 1e-5, "{name}");
    }
}

/// After so many rejections among so many scores.
fn rejections(detector: &Detector, rejected: usize, scores: usize, confidence: f64) -> DriftReport {
    let config = DriftConfig::new().with_window(scores).with_confidence(confidence);
    let mut watch = config.watch(detector).unwrap();
    (0..scores).for_each(|i| watch.push(i as f64, i >= rejected));
    watch.report()
}

/// `scipy.stats.binomtest(k, n).proportion_ci(confidence, method='exact')`
#[test]
fn intervals_are_those_of_scipy() {
    for (k, n, confidence, low, high) in [
        (0, 30, 0.95, 0.0, 0.115_703_308_222),
        (1, 30, 0.95, 0.000_843_570_926_649, 0.172_169_455_633),
        (30, 30, 0.95, 0.884_296_691_778, 1.0),
        (10, 200, 0.95, 0.024_234_165_472_1, 0.090_027_537_701_6),
        (23, 200, 0.95, 0.074_313_373_692_3, 0.167_546_944_482),
        (200, 200, 0.95, 0.981_724_659_645, 1.0),
        (199, 200, 0.99, 0.963_440_869_467, 0.999_974_937_605),
        (37, 500, 0.99, 0.047_027_675_829_7, 0.109_393_187_849),
        (100, 200, 0.5, 0.473_704_728_233, 0.526_295_271_767),
        (5, 100, 0.9, 0.019_905_563_661_8, 0.102_253_377_643),
    ] {
        let report = rejections(&fit(&held_out()), k, n, confidence);
        assert_eq!(report.rejected, Some(k as f64 / n as f64));
        let [our_low, our_high] = report.rejected_interval.unwrap();
        let error = (our_low - low).abs().max((our_high - high).abs());
        assert!(error < 1e-11, "{k} of {n}: {our_low} to {our_high}, expected {low} to {high}");
        assert_eq!(report.rejects_more_than_promised, low > report.promised_rejected);
    }
}

/// Of `m` held-out samples 5 % are rejected, `r` of them; exactly, in Python:
///
/// ```python
/// from fractions import Fraction
/// from math import comb
/// ways = [comb(j + r, j) * comb(n - j + m - r - 1, n - j) for j in range(k, n + 1)]
/// float(Fraction(sum(ways), comb(n + m, n)))
/// ```
#[test]
fn rejections_are_as_likely_as_counted() {
    for (k, n, m, expected) in [
        (0, 200, 500, 1.0),
        (4, 200, 500, 0.983_717_287_119),
        (10, 200, 500, 0.566_395_757_158),
        (20, 200, 500, 0.013_871_091_433_8),
        (30, 200, 500, 2.203_894_958_43e-5),
        (60, 200, 500, 7.044_320_107_38e-18),
        (200, 200, 500, 4.090_079_150_23e-148),
        (25, 500, 500, 0.557_595_190_476),
        (1, 30, 100, 0.800_105_644_218),
        (5, 30, 100, 0.050_363_388_870_9),
        (20, 200, 1000, 0.007_153_961_988_2),
    ] {
        let held_out: Vec<f64> = (0..m).map(f64::from).collect();
        let report = rejections(&fit(&held_out), k, n, 0.95);
        assert_near(&format!("{k} of {n}"), report.rejected_p_value.unwrap(), expected, 1e-9);
        let more = report.reasons.contains(&DriftReason::RejectsMore);
        assert_eq!(more, expected <= 1e-5, "{k} of {n}");
    }
    // Of more samples than are kept, it is interpolated how many are rejected.
    let many: Vec<f64> = (0..20_000).map(f64::from).collect();
    let ours = rejections(&fit(&many), 20, 200, 0.95).rejected_p_value.unwrap();
    assert_near("of 20,000", ours, 0.002_832_33, 0.02);
}

#[test]
fn of_many_held_out_samples_distances_are_close() {
    for (count, power) in [(1_002, 1), (2_500, 2), (7_777, 5)] {
        let held_out: Vec<f64> =
            (0..count).map(|i| (f64::from(i) / f64::from(count)).powi(power)).collect();
        let detector = fit(&held_out);
        assert_eq!(detector.held_out_scores().len(), 1_001);
        for by in [-0.1, 0.0, 0.003, 0.2] {
            let scores: Vec<f64> = spread(200).iter().map(|score| score / 500.0 + by).collect();
            let ours = report(&held_out, &scores).ks_distance.unwrap();
            let exact = distance(&held_out, &scores);
            assert!((ours - exact).abs() < 1.0 / 2000.0, "{count}, {by}: {ours}, not {exact}");
        }
    }
}

/// By the definition.
fn distance(held_out: &[f64], scores: &[f64]) -> f64 {
    let share = |of: &[f64], up_to: f64| {
        of.iter().filter(|&&score| score <= up_to).count() as f64 / of.len() as f64
    };
    let at = |&score: &f64| (share(held_out, score) - share(scores, score)).abs();
    held_out.iter().chain(scores).map(at).fold(0.0, f64::max)
}

/// Few distinct scores, so that ties are common.
fn any_score() -> impl Strategy<Value = f64> {
    prop_oneof![
        12 => (-4_i8..4).prop_map(f64::from),
        1 => prop::sample::select(vec![-0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_window_that_slides_is_one_that_begins(
        held_out in prop::collection::vec((-4_i8..4).prop_map(f64::from), 10..60),
        requests in prop::collection::vec((any_score(), any::<bool>()), 0..150),
        window in 30_usize..60,
    ) {
        let detector = fit(&held_out);
        let config = DriftConfig::new().with_window(window).with_alarm_p_value(0.05);
        let new = || config.watch(&detector).unwrap();
        let pushed = |mut watch: DriftWatch, requests: &[(f64, bool)]| {
            requests.iter().for_each(|&(score, accepted)| watch.push(score, accepted));
            watch
        };
        let slid = pushed(new(), &requests[..]);
        let (nans, numbers): (Vec<_>, Vec<_>) =
            requests.iter().copied().partition(|(score, _)| score.is_nan());
        let newest = &numbers[numbers.len().saturating_sub(window)..];
        let report = slid.report();
        prop_assert_eq!(&report, &pushed(pushed(new(), &nans[..]), newest).report());

        prop_assert_eq!(report.num_scores, newest.len());
        prop_assert_eq!(report.is_full, newest.len() == window);
        prop_assert_eq!(report.nan_scores, nans.len() as u64);
        prop_assert_eq!(report.alarm, slid.alarm());
        prop_assert_eq!(report.alarm, !report.reasons.is_empty());
        prop_assert_eq!(report.ks_distance.is_some(), newest.len() >= DriftWatch::MIN_SCORES);
        if let Some(ours) = report.ks_distance {
            let scores: Vec<f64> = newest.iter().map(|&(score, _)| score).collect();
            prop_assert!((ours - distance(&held_out, &scores)).abs() < 1e-12);
            let [low, high] = report.rejected_interval.unwrap();
            let rejected = report.rejected.unwrap();
            prop_assert!(0.0 <= low && low <= rejected && rejected <= high && high <= 1.0);
            let p_values = [report.ks_p_value.unwrap(), report.rejected_p_value.unwrap()];
            prop_assert!(p_values.iter().all(|p_value| (0.0..=1.0).contains(p_value)));
        }
        let json = serde_json::to_string(&report).unwrap();
        prop_assert_eq!(serde_json::from_str::<DriftReport>(&json).unwrap(), report);

        let mut forgetful = slid;
        forgetful.reset();
        prop_assert_eq!(forgetful.report(), new().report());
    }
}

#[test]
fn of_few_scores_nothing_is_said() {
    let mut watch = DriftConfig::new().watch(&fit(&held_out())).unwrap();
    for count in 0..30 {
        let report = watch.report();
        assert_eq!((report.num_scores, report.is_full), (count, false));
        assert_eq!((report.ks_distance, report.ks_p_value), (None, None));
        assert_eq!((report.rejected, report.rejected_p_value), (None, None));
        assert_eq!(report.rejected_interval, None);
        assert!(!report.alarm && !report.rejects_more_than_promised && !watch.alarm());
        watch.push(-1.0, false);
        watch.push(f64::NAN, false);
    }
    let report = watch.report();
    assert_eq!((report.num_scores, report.nan_scores), (30, 30));
    assert_eq!((report.ks_distance, report.rejected), (Some(1.0), Some(1.0)));
    assert_eq!(report.reasons, [DriftReason::ScoresMoved, DriftReason::RejectsMore]);
    assert!(report.alarm && report.rejects_more_than_promised && watch.alarm());
    let json = serde_json::to_string(&report.reasons).unwrap();
    assert_eq!(json, r#"["scores-moved","rejects-more"]"#);
}

#[test]
fn nan_alone_is_no_score() {
    let mut watch = DriftConfig::new().watch(&fit(&held_out())).unwrap();
    (0..100).for_each(|_| watch.push(f64::NAN, true));
    let report = watch.report();
    assert_eq!((report.num_scores, report.nan_scores, report.ks_distance), (0, 100, None));
    assert!(!report.alarm);
}

#[test]
fn promises_are_those_of_the_detector() {
    let promise = Promise::Tolerance { confidence: 0.95 };
    let config = DetectorConfig::new().with_target_tpr(0.9).with_promise(promise);
    let detector = config.fit_scores(&held_out()).unwrap();
    let report = DriftConfig::new().watch(&detector).unwrap().report();
    assert!((report.promised_rejected - 0.1).abs() < 1e-12);
    // Kept in order, however they came.
    let reversed: Vec<f64> = held_out().into_iter().rev().collect();
    assert_eq!(fit(&reversed).held_out_scores(), held_out());
    let loaded = Detector::from_json(detector.to_json().as_bytes()).unwrap();
    assert_eq!(loaded.held_out_scores(), held_out());
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let detector = fit(&held_out());
    for window in [0, 29, 100_001, usize::MAX] {
        let error = DriftConfig::new().with_window(window).watch(&detector).unwrap_err();
        assert_eq!(error, DriftError::Window { least: 30, most: 100_000, got: window });
    }
    for value in [0.0, 1.0, -1.0, f64::NAN, f64::INFINITY] {
        let new = DriftConfig::new;
        for config in [new().with_alarm_p_value(value), new().with_confidence(value)] {
            let error = config.watch(&detector).unwrap_err();
            assert!(matches!(error, DriftError::NotAProbability { .. }), "{error}");
        }
    }
    // The smallest p-value with 10 held-out samples and a window of 200 is 1.5e-9.
    let few = fit(&held_out()[..10]);
    assert!(DriftConfig::new().watch(&few).is_ok());
    let error = DriftConfig::new().with_alarm_p_value(1e-9).watch(&few).unwrap_err();
    assert!(error.to_string().contains("10 held-out samples and a window of 200"), "{error}");
}

#[test]
fn watches_go_from_thread_to_thread() {
    fn is_sent<T: Send + Sync + Clone + 'static>(_: &T) {}
    is_sent(&DriftConfig::new().watch(&fit(&held_out())).unwrap());
}

/// A fixed sequence of random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (radius, angle) = ((-2.0 * (1.0 - self.uniform()).ln()).sqrt(), self.uniform());
        radius * (TAU * angle).cos()
    }
}

/// Requests until the alarm, with a look after each tenth, on normally distributed scores that are
/// lower by `lower` after `before` requests.
fn first_alarm(seed: u64, before: usize, lower: f64, requests: usize) -> Option<usize> {
    let mut random = Random(seed);
    let held_out: Vec<f64> = (0..500).map(|_| random.normal()).collect();
    let detector = fit(&held_out);
    let mut watch = DriftConfig::new().watch(&detector).unwrap();
    let mut push = |watch: &mut DriftWatch, lower: f64| {
        let score = random.normal() - lower;
        watch.push(score, score >= detector.threshold());
    };
    (0..before).for_each(|_| push(&mut watch, 0.0));
    (1..=requests).find(|request| {
        push(&mut watch, lower);
        request % 10 == 0 && watch.alarm()
    })
}

/// With the default of 10⁻⁵ about one in two hundred; see `examples/drift_simulation.rs`.
#[test]
fn streams_without_drift_hardly_ever_raise_the_alarm() {
    let alarms = (0..30).filter_map(|seed| first_alarm(seed, 0, 0.0, 10_000)).count();
    assert!(alarms <= 1, "{alarms} of 30 streams");
}

#[test]
fn scores_lower_by_half_a_standard_deviation_raise_the_alarm() {
    let seen = (0..40).filter_map(|seed| first_alarm(seed, 200, 0.5, 600)).count();
    assert!(seen >= 38, "{seen} of 40 streams");
}
