//! How many of the scores are rejected, and what that says.

use core::f64::consts::TAU;

/// The interval of Clopper and Pearson (1934) for the probability of a rejection: whatever that is,
/// the interval holds it with at least this confidence.
pub(super) fn interval(rejected: usize, scores: usize, confidence: f64) -> [f64; 2] {
    let miss = (1.0 - confidence) / 2.0;
    [lower_limit(rejected, scores, miss), 1.0 - lower_limit(scores - rejected, scores, miss)]
}

/// The probability `p` with `P(Bin(n, p) ≥ k) = miss`, for a `miss` below 1/2.
fn lower_limit(k: usize, n: usize, miss: f64) -> f64 {
    if k == 0 {
        return 0.0;
    }
    let ways = ln_choose(n as f64, k as f64);
    let at_least = |p: f64| {
        let odds = p / (1.0 - p);
        let ratios = (k..n).map(|j| (n - j) as f64 / (j + 1) as f64 * odds);
        (ways + k as f64 * p.ln() + (n - k) as f64 * (-p).ln_1p()).exp() * series(ratios)
    };
    // At p = k/n the tail is 1/2 at least, since k is the median there.
    let (mut low, mut high) = (0.0, k as f64 / n as f64);
    for _ in 0..55 {
        let middle = (low + high) / 2.0;
        match at_least(middle) < miss {
            true => low = middle,
            false => high = middle,
        }
    }
    (low + high) / 2.0
}

/// The probability that a threshold which rejects `rejected_held_out` of the held-out scores
/// rejects at least `k` of `n` others that are like them, in `[0, 1]`: at most `P(K ≥ k)` for a
/// beta-binomial `K` (Wilks, 1942).
pub(super) fn p_value(k: usize, n: usize, rejected_held_out: f64, held_out: f64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    let (new, rank) = (n as f64, rejected_held_out + 1.0);
    let higher = held_out - rank;
    let probability = |k: usize| {
        let (k, rest) = (k as f64, (n - k) as f64);
        let ways = ln_choose(k + rank - 1.0, k) + ln_choose(rest + higher, rest);
        (ways - ln_choose(new + held_out, new)).exp()
    };
    // P(k + 1) / P(k), which falls with k.
    let ratio = |k: usize| {
        let (k, rest) = (k as f64, (n - k) as f64);
        (k + rank) * rest / ((k + 1.0) * (rest + higher).max(1.0))
    };
    // Sums begin with their largest term, so that none is infinite.
    let tail = match ratio(k) < 1.0 {
        true => probability(k) * series((k..n).map(ratio)),
        false => 1.0 - probability(k - 1) * series((0..k - 1).rev().map(|j| 1.0 / ratio(j))),
    };
    tail.clamp(0.0, 1.0)
}

/// `1 + a + a b + a b c + …`, for ratios that are at most 1 and fall.
fn series(ratios: impl Iterator<Item = f64>) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for ratio in ratios {
        term *= ratio;
        sum += term;
        if term < f64::EPSILON / 16.0 * sum {
            break;
        }
    }
    sum
}

fn ln_choose(n: f64, k: f64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

/// By the series of Stirling, to 11 digits, for whole numbers.
fn ln_factorial(n: f64) -> f64 {
    if n < 16.0 {
        return (2..=n as u32).map(f64::from).product::<f64>().ln();
    }
    let inverse = 1.0 / n;
    let square = inverse * inverse;
    let rest = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square / 1260.0));
    n * (n.ln() - 1.0) + 0.5 * (TAU * n).ln() + rest
}
