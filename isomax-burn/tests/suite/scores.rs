//! Scores beyond the golden cases: hostile logits, their definitions in `f64`, names.

use burn::tensor::backend::AutodiffBackend;
use isomax_burn::{HeadKind, HostLogits, OodScore, Score};
use proptest::prelude::*;

use crate::support::{assert_close, few_cases, matrix, values};

on_every_backend!(
    never_nan_for_finite_logits,
    equal_to_their_definitions,
    host_and_device_agree,
    own_scores_run_on_devices,
);

fn never_nan_for_finite_logits<B: AutodiffBackend>() {
    let rows = [
        vec![f32::MAX, f32::MIN, 0.0],
        vec![f32::MIN; 3],
        vec![f32::MAX; 3],
        vec![-1000.0, 0.0, 1000.0],
        vec![0.0; 3],
    ];
    for score in Score::ALL {
        let scores = values(score.compute(matrix::<B>(&rows)));
        assert_eq!(scores.len(), rows.len());
        assert!(scores.iter().all(|s| !s.is_nan()), "{score}: {scores:?}");
        assert!(scores[3..].iter().all(|s| s.is_finite()), "{score}: {scores:?}");
        assert_eq!(values(score.compute(matrix::<B>(&[vec![-2.0]]))).len(), 1);
        for classes in [8, 17, 64] {
            let row = (0..classes).map(|c| if c % 2 == 0 { f32::MAX } else { f32::MIN }).collect();
            let scores = values(score.compute(matrix::<B>(&[row])));
            assert!(!scores[0].is_nan(), "{score} of {classes} classes: {scores:?}");
        }
    }
}

fn definition(score: Score, logits: &[f32]) -> f32 {
    let logits: Vec<f64> = logits.iter().map(|&l| f64::from(l)).collect();
    let partition: f64 = logits.iter().map(|l| l.exp()).sum();
    let p = || logits.iter().map(|l| l.exp() / partition);
    let max = logits.iter().copied().fold(f64::MIN, f64::max);
    let mean = logits.iter().sum::<f64>() / logits.len() as f64;
    let entropic: f64 = p().map(|p| p * p.ln()).sum();
    let max_p = p().fold(0.0, f64::max);
    let value = match score {
        Score::MPS => max_p,
        Score::ES => entropic,
        Score::MDS => max,
        Score::MMLS => max + mean,
        Score::MMLES => max + mean + entropic,
        Score::MMLEPS => max + mean + entropic + max_p,
        Score::Energy => partition.ln(),
        _ => unreachable!("a score without a definition"),
    };
    value as f32
}

fn equal_to_their_definitions<B: AutodiffBackend>() {
    let mut runner = proptest::test_runner::TestRunner::new(few_cases());
    let logits = prop::collection::vec(prop::collection::vec(-6.0_f32..6.0, 5), 4);
    runner
        .run(&logits, |rows| {
            for score in Score::ALL {
                let expected: Vec<f32> = rows.iter().map(|row| definition(score, row)).collect();
                assert_close(
                    score.name(),
                    &values(score.compute(matrix::<B>(&rows))),
                    &expected,
                    1e-5,
                );
            }
            Ok(())
        })
        .unwrap();
}

/// What a detector computes on the host is what a network computes on its device.
fn host_and_device_agree<B: AutodiffBackend>() {
    let hostile = [
        vec![-1000.0, 0.0, 1000.0, 3.0],
        vec![0.0; 4],
        vec![-1e-6, 0.0, 1e-6, 0.0],
        vec![-88.0, -89.0, -120.0, -87.5],
        vec![1e4, 1e4, -1e4, 0.0],
    ];
    let random = (0..40).map(|i| (0..4).map(|j| ((i * 7 + j * 13) % 29) as f32 - 14.0).collect());
    let rows: Vec<Vec<f32>> = hostile.into_iter().chain(random).collect();
    for score in Score::ALL {
        let device = values(score.compute(matrix::<B>(&rows)));
        let host = HostLogits::read(matrix::<B>(&rows)).unwrap();
        for ((device, host), row) in device.into_iter().zip(host.scores(&score)).zip(&rows) {
            let scale = host.abs().max(0.1);
            let error = (f64::from(device) - host).abs();
            assert!(error <= 2e-6 * scale, "{score} of {row:?}: {device}, on the host {host}");
        }
    }
    let tied = matrix::<B>(&[vec![1.0, 2.0, 2.0], vec![0.0, 0.0, 0.0]]);
    assert_eq!(HostLogits::read(tied).unwrap().classes(), [1, 0]);
}

#[derive(Debug)]
struct Margin;

impl OodScore for Margin {
    fn name(&self) -> &str {
        "margin"
    }

    fn score(&self, logits: &[f64]) -> f64 {
        let mut sorted = logits.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() - 1] - sorted[sorted.len() - 2]
    }
}

fn own_scores_run_on_devices<B: AutodiffBackend>() {
    let logits = matrix::<B>(&[vec![1.0, 4.0, 2.5], vec![0.0, -2.0, -8.0]]);
    assert_eq!(values(Margin.compute(logits)), [1.5, 2.0]);
}

#[test]
fn the_names_of_the_field_are_read() {
    for (name, score) in [
        ("msp", Score::MPS),
        ("max-logit", Score::MDS),
        ("MaxLogit", Score::MDS),
        ("negative_entropy", Score::ES),
        ("EBO", Score::Energy),
    ] {
        assert_eq!(name.parse(), Ok(score), "{name}");
        assert_eq!(serde_json::from_str::<Score>(&format!("\"{name}\"")).unwrap(), score);
    }
}

#[test]
fn unknown_names_list_the_known_ones() {
    for score in Score::ALL {
        assert_eq!(score.to_string().to_lowercase().parse(), Ok(score));
        assert_eq!(serde_json::to_string(&score).unwrap(), format!("\"{score}\""));
    }
    let error = "odin".parse::<Score>().unwrap_err().to_string();
    assert_eq!(error, "unknown score 'odin'; known: MPS, ES, MDS, MMLS, MMLES, MMLEPS, Energy");
}

#[test]
fn every_head_has_the_score_of_its_paper() {
    assert_eq!(Score::default_for(HeadKind::SoftMax), Score::ES);
    assert_eq!(Score::default_for(HeadKind::IsoMax), Score::ES);
    assert_eq!(Score::default_for(HeadKind::IsoMaxPlus), Score::MDS);
    assert_eq!(Score::default_for(HeadKind::DisMax), Score::MMLES);
}
