//! Scores beyond the golden cases: hostile logits, their definitions in `f64`, names.

use burn::tensor::backend::AutodiffBackend;
use isomax_burn::{HeadKind, Score};
use proptest::prelude::*;

use crate::support::{assert_close, few_cases, matrix, values};

on_every_backend!(never_nan_for_finite_logits, equal_to_their_definitions);

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
