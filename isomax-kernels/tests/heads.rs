//! Distances and cross-entropy against their definitions.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use isomax_kernels::cross_entropy::cross_entropy;
use isomax_kernels::distance::{Gradient, Pairs, backward, combine, distances, squared_norms};
use proptest::prelude::*;

/// What the kernels take, made of rows and prototypes.
struct Prepared {
    width: usize,
    rows: [Vec<f32>; 2],
    factors: [Vec<f32>; 2],
    norms: [Vec<f32>; 2],
}

impl Prepared {
    fn new(width: usize, rows: [Vec<f32>; 2], gradient: Gradient) -> Self {
        let norms = rows.each_ref().map(|rows| squared_norms(rows, width));
        let factors = norms.each_ref().map(|norms| match gradient {
            Gradient::OfValues => vec![1.0; norms.len()],
            Gradient::OfDirections => norms.iter().map(|n| 1.0 / n.sqrt().max(1e-12)).collect(),
        });
        let scaled = |(norms, factors): (&Vec<f32>, &Vec<f32>)| {
            norms.iter().zip(factors).map(|(n, f)| n * f * f).collect()
        };
        let norms = [scaled((&norms[0], &factors[0])), scaled((&norms[1], &factors[1]))];
        Self { width, rows, factors, norms }
    }

    fn pairs(&self) -> Pairs<'_> {
        Pairs {
            num_features: self.width,
            rows: &self.rows[0],
            row_factors: &self.factors[0],
            row_norms: &self.norms[0],
            prototypes: &self.rows[1],
            prototype_factors: &self.factors[1],
            prototype_norms: &self.norms[1],
        }
    }

    /// `a × bᵀ`, or with columns `a × b`.
    fn products(a: &[f32], b: &[f32], inner: usize) -> Vec<f32> {
        let dot = |(a, b): (&[f32], &[f32])| a.iter().zip(b).map(|(a, b)| a * b).sum();
        a.chunks(inner).flat_map(|a| b.chunks(inner).map(move |b| dot((a, b)))).collect()
    }
}

fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|c| matrix.iter().skip(c).step_by(columns).copied()).collect()
}

/// `Σ upstream · distance` in 64 bits.
fn loss(width: usize, rows: &[f64], prototypes: &[f64], upstream: &[f32], kind: Gradient) -> f64 {
    let unit = |row: &[f64]| {
        let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        let norm = if kind == Gradient::OfValues { 1.0 } else { norm };
        row.iter().map(|x| x / norm).collect::<Vec<_>>()
    };
    let mut upstream = upstream.iter();
    let mut loss = 0.0;
    for x in rows.chunks(width).map(unit) {
        for p in prototypes.chunks(width).map(unit) {
            let d: f64 = x.iter().zip(&p).map(|(x, p)| (x - p) * (x - p)).sum();
            loss += d.sqrt() * f64::from(*upstream.next().unwrap());
        }
    }
    loss
}

proptest! {
    #[test]
    fn distances_have_the_gradients_of_their_slopes(
        sizes in (1..5_usize, 1..6_usize, 1..70_usize),
        of_directions in any::<bool>(),
        values in proptest::collection::vec(0.1..2.0_f32, 4 * 69 + 5 * 69),
        upstream in proptest::collection::vec(-1.0..1.0_f32, 20),
    ) {
        let (count, classes, width) = sizes;
        let kind = if of_directions { Gradient::OfDirections } else { Gradient::OfValues };
        let signed: Vec<f32> =
            values.iter().enumerate().map(|(i, x)| if i % 3 == 0 { -x } else { *x }).collect();
        let rows = signed[..count * width].to_vec();
        let prototypes = signed[4 * 69..][..classes * width].to_vec();
        let upstream = &upstream[..count * classes];
        let prepared = Prepared::new(width, [rows.clone(), prototypes.clone()], kind);
        let products = Prepared::products(&rows, &prototypes, width);
        let mut found = products;
        distances(prepared.pairs(), &mut found);
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let total: f64 = found.iter().zip(upstream).map(|(&d, &u)| f64::from(d) * f64::from(u)).sum();
        let expected = loss(width, &wide(&rows), &wide(&prototypes), upstream, kind);
        prop_assert!((total - expected).abs() < 1e-3, "{total} {expected}");
        // Slopes have no meaning next to a distance of zero.
        prop_assume!(found.iter().all(|&d| d > 0.05));
        let back = backward(prepared.pairs(), &found, upstream, kind);
        let mut of_rows = Prepared::products(&back.weights, &transposed(&prototypes, width), classes);
        combine(&back.row_shares, &rows, &mut of_rows);
        let mut of_prototypes = Prepared::products(
            &transposed(&back.weights, classes),
            &transposed(&rows, width),
            count,
        );
        combine(&back.prototype_shares, &prototypes, &mut of_prototypes);
        for index in 0..(count * width).min(20) {
            let at = |step: f64| {
                let mut rows = wide(&rows);
                rows[index] += step;
                loss(width, &rows, &wide(&prototypes), upstream, kind)
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            prop_assert!((f64::from(of_rows[index]) - slope).abs() < 2e-3 * (1.0 + slope.abs()));
        }
        for index in 0..(classes * width).min(20) {
            let at = |step: f64| {
                let mut prototypes = wide(&prototypes);
                prototypes[index] += step;
                loss(width, &wide(&rows), &prototypes, upstream, kind)
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            prop_assert!((f64::from(of_prototypes[index]) - slope).abs() < 2e-3 * (1.0 + slope.abs()));
        }
    }

    #[test]
    fn cross_entropy_is_its_definition(
        classes in 1..40_usize,
        logits in proptest::collection::vec(-20.0..20.0_f32, 39 * 3),
        targets in proptest::collection::vec(0..39_i64, 3),
        scale in 0.1..10.0_f32,
    ) {
        let logits = &logits[..3 * classes];
        let targets: Vec<i64> = targets.into_iter().map(|t| t % classes as i64).collect();
        let (losses, gradients) = cross_entropy(logits, classes, &targets, scale);
        for (row, &target) in targets.iter().enumerate() {
            let scaled: Vec<f64> = logits[row * classes..][..classes]
                .iter()
                .map(|&x| f64::from(x) * f64::from(scale))
                .collect();
            let most = scaled.iter().copied().fold(f64::MIN, f64::max);
            let partition: f64 = scaled.iter().map(|x| (x - most).exp()).sum();
            let expected = partition.ln() + most - scaled[target as usize];
            prop_assert!((f64::from(losses[row]) - expected).abs() < 1e-5 * (1.0 + expected));
            for class in 0..classes {
                let share = (scaled[class] - most).exp() / partition;
                let hit = f64::from(class == target as usize);
                let slope = f64::from(scale) * (share - hit);
                let ours = f64::from(gradients[row * classes + class]);
                prop_assert!((ours - slope).abs() < 1e-4, "{ours} {slope}");
            }
        }
    }
}

/// A row that is a prototype, and one without a direction.
#[test]
fn distances_of_zero_have_no_gradient() {
    let rows = vec![1.0, 2.0, 3.0, 0.0, 0.0, 0.0];
    let prototypes = vec![1.0, 2.0, 3.0, 2.0, 0.0, 0.0];
    for kind in [Gradient::OfValues, Gradient::OfDirections] {
        let prepared = Prepared::new(3, [rows.clone(), prototypes.clone()], kind);
        let mut found = Prepared::products(&rows, &prototypes, 3);
        distances(prepared.pairs(), &mut found);
        assert!(found[0] < 1e-18, "{found:?}");
        if kind == Gradient::OfDirections {
            assert!((found[2] - 1.0).abs() < 1e-6 && (found[3] - 1.0).abs() < 1e-6, "{found:?}");
        }
        let back = backward(prepared.pairs(), &found, &[1.0; 4], kind);
        assert_eq!(back.weights[0], 0.0);
        assert!(back.weights.iter().all(|w| w.is_finite()), "{back:?}");
    }
}

#[test]
fn what_is_no_class_gives_no_loss() {
    let (losses, gradients) = cross_entropy(&[1.0, 2.0, 3.0, 4.0], 2, &[-1, 2], 1.0);
    assert!(losses.iter().all(|loss| loss.is_nan()));
    assert_eq!(gradients, [0.0; 4]);
    let (losses, _) = cross_entropy(&[f32::NAN, 2.0], 2, &[1], 1.0);
    assert!(losses[0].is_nan());
}

#[test]
fn nothing_gives_nothing() {
    let prepared = Prepared::new(3, [Vec::new(), vec![1.0, 2.0, 3.0]], Gradient::OfDirections);
    distances(prepared.pairs(), &mut []);
    combine(&[], &[], &mut []);
    assert_eq!(
        backward(prepared.pairs(), &[], &[], Gradient::OfDirections).prototype_shares,
        [0.0]
    );
    assert!(cross_entropy(&[], 3, &[], 1.0).0.is_empty());
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let wave =
        |count: usize, step: f32| (0..count).map(|i| (i as f32 * step).sin()).collect::<Vec<_>>();
    let (rows, prototypes) = (wave(100 * 70, 0.7), wave(9 * 70, 1.3));
    let prepared = Prepared::new(70, [rows.clone(), prototypes.clone()], Gradient::OfDirections);
    let products = Prepared::products(&rows, &prototypes, 70);
    let targets: Vec<i64> = (0..100).map(|i| i % 9).collect();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut found = products.clone();
            distances(prepared.pairs(), &mut found);
            let back = backward(prepared.pairs(), &found, &found, Gradient::OfDirections);
            let loss = cross_entropy(&found, 9, &targets, 10.0);
            (found, back, loss)
        })
    };
    assert!(run(1) == run(2) && run(1) == run(5));
}
