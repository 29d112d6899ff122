//! The two-sample Kolmogorov–Smirnov test.

use core::f64::consts::{PI, TAU};

/// The probability that samples of these sizes from one distribution lie at least so far apart, in
/// `[0, 1]`: asymptotic, with the correction of Stephens (1970) for small samples.
pub(super) fn p_value(distance: f64, scores: usize, held_out: f64) -> f64 {
    let scores = scores as f64;
    let root = (scores * held_out / (scores + held_out)).sqrt();
    tail((root + 0.12 + 0.11 / root) * distance)
}

/// `P(K ≥ λ)` for Kolmogorov's distribution, by the one of its two series that converges fast.
fn tail(lambda: f64) -> f64 {
    if lambda < 0.1 {
        return 1.0;
    }
    let tail = if lambda < 1.18 {
        let term = |odd: f64| (-(odd * PI / lambda).powi(2) / 8.0).exp();
        1.0 - TAU.sqrt() / lambda * [1.0, 3.0, 5.0, 7.0].map(term).iter().sum::<f64>()
    } else {
        let term = |j: f64| (-2.0 * (j * lambda).powi(2)).exp();
        2.0 * (term(1.0) - term(2.0) + term(3.0) - term(4.0))
    };
    tail.clamp(0.0, 1.0)
}
