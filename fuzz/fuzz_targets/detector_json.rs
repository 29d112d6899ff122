//! Detectors in JSON, of both versions: what can be read comes back, and decides as its documentation
//! says.

#![no_main]

use isomax_burn::{Detector, HostLogits};
use libfuzzer_sys::fuzz_target;

/// Classes of the largest head whose logits are made up.
const MOST_CLASSES: usize = 100;

/// By how much a share may fall by rounding where it should rise.
const ROUNDING: f64 = 1e-12;

fuzz_target!(|bytes: &[u8]| {
    let detector = match Detector::from_json(bytes) {
        Ok(detector) => detector,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let json = detector.to_json();
    let again = Detector::from_json(json.as_bytes()).expect("what is written can be read");
    assert_eq!(again, detector);
    assert_eq!(again.to_json(), json);
    decides(&detector);

    if let (Some(head), Some(temperature)) = (detector.head(), detector.temperature()) {
        detector.check_head(head, temperature).expect("its own head");
        assert!(detector.score_name().is_some());
        let classes = detector.num_classes().expect("those of a head");
        if classes <= MOST_CLASSES {
            decides_on_logits(&detector, classes);
        }
    } else {
        assert!(detector.check_head("isomax+", 1.0).is_err());
    }
});

/// On bare scores, at and around the threshold and far from it.
fn decides(detector: &Detector) {
    let threshold = detector.threshold();
    assert!(threshold.is_finite() && detector.num_samples() > 0);
    assert!(detector.target_tpr() > 0.0 && detector.target_tpr() <= 1.0);
    let mut scores = vec![
        f64::NEG_INFINITY,
        f64::MIN,
        -1.0,
        -0.0,
        0.0,
        f64::MIN_POSITIVE,
        1.0,
        f64::MAX,
        f64::INFINITY,
        threshold,
        threshold.next_down(),
        threshold.next_up(),
        threshold / 2.0,
        threshold * 2.0,
    ];
    scores.sort_by(f64::total_cmp);
    let decisions = detector.decide_scores(&scores).expect("scores that are numbers");
    assert_eq!(decisions.len(), scores.len());
    for (decision, score) in decisions.iter().zip(&scores) {
        assert_eq!(decision.score.to_bits(), score.to_bits());
        assert_eq!(decision.in_distribution, *score >= threshold, "{decision:?}");
        assert!((0.0..=1.0).contains(&decision.quantile), "{decision:?}");
        assert!(decision.p_value > 0.0 && decision.p_value <= 1.0, "{decision:?}");
    }
    for (lower, higher) in decisions.iter().zip(&decisions[1..]) {
        assert!(lower.quantile <= higher.quantile + ROUNDING, "{lower:?}, {higher:?}");
        assert!(lower.p_value <= higher.p_value + ROUNDING, "{lower:?}, {higher:?}");
    }
    assert!(detector.decide_scores(&[f64::NAN]).is_err());
}

fn decides_on_logits(detector: &Detector, classes: usize) {
    // A row of equal logits, one of unequal ones, and one with large gaps.
    let row = |step: f64| (0..classes).map(move |class| -step * class as f64);
    let values = [0.0, 1.0, 1e30].into_iter().flat_map(row).collect();
    let logits = HostLogits::new(values, classes).expect("finite logits");
    for decision in detector.decide_host(&logits).expect("logits of its classes") {
        assert_eq!(decision.class, 0);
        let least = 1.0 / classes as f64 - ROUNDING;
        assert!((least..=1.0 + ROUNDING).contains(&decision.confidence), "{decision:?}");
        assert_eq!(decision.in_distribution, decision.score >= detector.threshold());
    }
    let one_more = HostLogits::new(vec![0.0; classes + 1], classes + 1).expect("finite logits");
    assert!(detector.decide_host(&one_more).is_err());
}
