//! What thresholds promise, over thousands of held-out sets.
//!
//! Scores are uniform on [0, 1], so that a threshold accepts exactly `1 − threshold` of all new
//! samples; promises do not depend on the distribution.
//!
//! `cargo test -p isomax-burn --test suite promises -- --nocapture` prints the figures.

use isomax_burn::{DetectorConfig, Promise};

const DRAWS: usize = 4_000;

/// A fixed sequence of uniform numbers (SplitMix64).
struct Uniform(u64);

impl Uniform {
    fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

struct Outcome {
    /// Share of all new samples that is accepted, on average over the held-out sets.
    mean: f64,
    /// Its standard error.
    error: f64,
    /// Share of the held-out sets whose threshold accepts at least the target of all new samples.
    kept: f64,
    /// Smallest share of the held-out samples themselves that was accepted.
    least_of_held_out: f64,
}

fn simulate(promise: Promise, target: f64, n: usize) -> Outcome {
    let mut uniform = Uniform(n as u64);
    let config = DetectorConfig::new().with_target_tpr(target).with_promise(promise);
    let (mut shares, mut least) = (Vec::with_capacity(DRAWS), 1.0_f64);
    for _ in 0..DRAWS {
        let held_out: Vec<f64> = (0..n).map(|_| uniform.draw()).collect();
        let detector = config.fit_scores(&held_out).unwrap();
        shares.push(1.0 - detector.threshold().clamp(0.0, 1.0));
        let accepted = held_out.iter().filter(|&&score| score >= detector.threshold()).count();
        least = least.min(accepted as f64 / n as f64);
    }
    let mean = shares.iter().sum::<f64>() / DRAWS as f64;
    let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / DRAWS as f64;
    let kept = shares.iter().filter(|&&share| share >= target).count() as f64 / DRAWS as f64;
    let error = (variance / DRAWS as f64).sqrt();
    println!("{promise:24} {target:.2} {n:5}: mean {mean:.4} ± {error:.4}, kept {kept:.3}");
    Outcome { mean, error, kept, least_of_held_out: least }
}

#[test]
fn held_out_samples_are_accepted_as_often_as_asked() {
    for n in [30, 200, 1_000] {
        let outcome = simulate(Promise::Empirical, 0.95, n);
        assert!(outcome.least_of_held_out >= 0.95);
        // It promises nothing of new samples: about half of the thresholds fall short.
        assert!(outcome.kept > 0.3 && outcome.kept < 0.7, "{n}: {}", outcome.kept);
    }
}

#[test]
fn new_samples_are_accepted_as_often_as_asked_on_average() {
    for (target, n) in [(0.95, 30), (0.95, 200), (0.95, 1_000), (0.9, 30)] {
        let outcome = simulate(Promise::Conformal, target, n);
        assert!(outcome.mean >= target - 3.0 * outcome.error, "{n}: {}", outcome.mean);
        // And not much oftener: one order statistic more would be too many.
        let most = target + 2.0 / (n as f64 + 1.0) + 3.0 * outcome.error;
        assert!(outcome.mean <= most, "{n}: {}", outcome.mean);
    }
}

#[test]
fn thresholds_hold_with_the_stated_confidence() {
    let promise = |confidence| Promise::Tolerance { confidence };
    for (target, n, confidence) in
        [(0.9, 30, 0.95), (0.95, 200, 0.95), (0.95, 1_000, 0.95), (0.95, 1_000, 0.8)]
    {
        let outcome = simulate(promise(confidence), target, n);
        let error = (confidence * (1.0 - confidence) / DRAWS as f64).sqrt();
        assert!(outcome.kept >= confidence - 3.0 * error, "{n}: {}", outcome.kept);
    }
    let few = DetectorConfig::new().with_promise(promise(0.95)).fit_scores(&[0.5; 30]);
    assert!(few.unwrap_err().to_string().contains("needs at least 59 held-out samples, got 30"));
}

/// `P(p ≤ α) ≤ α` for a new sample, whatever `α`.
#[test]
fn p_values_are_valid() {
    let mut uniform = Uniform(7);
    for n in [30, 200] {
        let mut counts = [0; 3];
        let levels = [0.05, 0.2, 0.5];
        for _ in 0..DRAWS {
            let held_out: Vec<f64> = (0..n).map(|_| uniform.draw()).collect();
            let detector = DetectorConfig::new().fit_scores(&held_out).unwrap();
            let new = detector.decide_scores(&[uniform.draw()]).unwrap()[0];
            for (count, level) in counts.iter_mut().zip(levels) {
                *count += usize::from(new.p_value <= level);
            }
        }
        for (count, level) in counts.into_iter().zip(levels) {
            let (share, error) =
                (count as f64 / DRAWS as f64, (level * (1.0 - level) / DRAWS as f64).sqrt());
            assert!(share <= level + 3.0 * error, "{n}: {share} at {level}");
        }
    }
}

/// Of more samples than are kept, a p-value is too large by a thousandth at most, never too small.
#[test]
fn p_values_of_many_samples_are_bounds() {
    // Most scores lie close together just above the smallest, so that interpolation would mislead.
    let held_out: Vec<f64> = (0..20_001).map(|i| (f64::from(i) / 20_000.0).powi(9)).collect();
    let detector = DetectorConfig::new().fit_scores(&held_out).unwrap();
    for score in [-1.0, 0.0, 1e-12, 1e-6, 1e-3, 0.5, 0.999, 1.0, 2.0] {
        let count = held_out.iter().filter(|&&held_out| held_out <= score).count();
        let exact = (count + 1) as f64 / 20_002.0;
        let p_value = detector.decide_scores(&[score]).unwrap()[0].p_value;
        assert!(p_value >= exact - 1e-12 && p_value <= exact + 1.1e-3, "{score}: {p_value}");
    }
}
