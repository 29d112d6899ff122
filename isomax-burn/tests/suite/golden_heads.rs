//! Heads, losses, gradients and scores against numbers from the published PyTorch code.

use burn::module::Param;
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use isomax_burn::{Head, HeadConfig, HeadKind, LossConfig, Score};
use serde::Deserialize;
use std::collections::BTreeMap;

use crate::support::{assert_close, device, ints, matrix, values, vector};

#[derive(Deserialize)]
struct Golden {
    heads: Vec<Case>,
    fractional_probability_regularisation: Vec<Fpr>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    kind: HeadKind,
    num_features: usize,
    num_classes: usize,
    features: Vec<Vec<f32>>,
    weights: Vec<Vec<f32>>,
    bias: Option<Vec<f32>>,
    distance_scale: Option<f32>,
    targets: Vec<i64>,
    entropic_scale: f64,
    logits: Vec<Vec<f32>>,
    loss: f32,
    grad_features: Vec<Vec<f32>>,
    grad_weights: Vec<Vec<f32>>,
    grad_bias: Option<Vec<f32>>,
    grad_distance_scale: Option<f32>,
    scores: BTreeMap<Score, Vec<f32>>,
}

#[derive(Deserialize)]
struct Fpr {
    logits: Vec<Vec<f32>>,
    targets: Vec<i64>,
    loss: f32,
    grad_logits: Vec<Vec<f32>>,
    images: Vec<Vec<Vec<Vec<f32>>>>,
    mixed_images: Vec<Vec<Vec<Vec<f32>>>>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/heads.json")).expect("the golden file is valid")
}

on_every_backend!(heads_losses_gradients_and_scores, fractional_probability_regularisation);

/// The head of a case, its weights given a gradient.
fn head_of<B: AutodiffBackend>(case: &Case) -> Head<B> {
    let mut head =
        HeadConfig::new(case.kind, case.num_features, case.num_classes).init::<B>(&device());
    let rows = Param::from_tensor(matrix(&case.weights));
    let scale = case.distance_scale.map(|s| Param::from_tensor(vector(&[s])));
    match &mut head {
        Head::SoftMax(head) => {
            head.weights = rows;
            head.bias = Param::from_tensor(vector(case.bias.as_ref().unwrap()));
        }
        Head::IsoMax(head) => head.prototypes = rows,
        Head::IsoMaxPlus(head) => {
            (head.prototypes, head.distance_scale) = (rows, scale.unwrap());
        }
        Head::DisMax(head) => {
            (head.prototypes, head.distance_scale) = (rows, scale.unwrap());
        }
    }
    head
}

fn heads_losses_gradients_and_scores<B: AutodiffBackend>() {
    let cases = golden().heads;
    assert_eq!(cases.len(), 16);
    for case in cases {
        let head = head_of::<B>(&case);
        let features = matrix::<B>(&case.features).require_grad();
        let logits = head.forward(features.clone());
        let loss = LossConfig::new(case.kind)
            .with_entropic_scale(case.entropic_scale)
            .init()
            .forward(logits.clone(), ints(&case.targets));
        let check = |what: &str, ours: Vec<f32>, expected: &[f32], tolerance| {
            assert_close(&format!("{}: {what}", case.name), &ours, expected, tolerance);
        };
        check("logits", values(logits.clone()), &case.logits.concat(), 2e-5);
        check("loss", values(loss.clone()), &[case.loss], 2e-5);

        let gradients = loss.backward();
        let of_features = values(features.grad(&gradients).unwrap());
        check("feature gradients", of_features, &case.grad_features.concat(), 2e-4);
        let rows = match &head {
            Head::SoftMax(head) => &head.weights,
            Head::IsoMax(head) => &head.prototypes,
            Head::IsoMaxPlus(head) => &head.prototypes,
            Head::DisMax(head) => &head.prototypes,
        };
        let of_rows = values(rows.val().grad(&gradients).unwrap());
        check("weight gradients", of_rows, &case.grad_weights.concat(), 2e-4);
        let scalar = match &head {
            Head::SoftMax(head) => Some((&head.bias, case.grad_bias.clone().unwrap())),
            Head::IsoMax(_) => None,
            Head::IsoMaxPlus(head) => {
                Some((&head.distance_scale, vec![case.grad_distance_scale.unwrap()]))
            }
            Head::DisMax(head) => {
                Some((&head.distance_scale, vec![case.grad_distance_scale.unwrap()]))
            }
        };
        if let Some((parameter, expected)) = scalar {
            let ours = values(parameter.val().grad(&gradients).unwrap());
            check("bias or scale gradient", ours, &expected, 2e-4);
        }

        assert_eq!(case.scores.len(), 6);
        for (score, expected) in &case.scores {
            check(score.name(), values(score.compute(logits.clone())), expected, 2e-5);
        }
    }
}

fn fractional_probability_regularisation<B: AutodiffBackend>() {
    let cases = golden().fractional_probability_regularisation;
    assert_eq!(cases.len(), 2);
    for case in cases {
        let logits = matrix::<B>(&case.logits).require_grad();
        let loss = isomax_burn::DisMaxLossConfig::new()
            .init()
            .forward_fpr(logits.clone(), ints(&case.targets));
        assert_close("loss", &values(loss.clone()), &[case.loss], 2e-5);
        let gradients = values(logits.grad(&loss.backward()).unwrap());
        assert_close("gradients", &gradients, &case.grad_logits.concat(), 2e-4);

        let flat = |images: &[Vec<Vec<Vec<f32>>>]| images.concat().concat().concat();
        let [n, c, h, w] = [
            case.images.len(),
            case.images[0].len(),
            case.images[0][0].len(),
            case.images[0][0][0].len(),
        ];
        let images = vector::<B>(&flat(&case.images)).reshape([n, c, h, w]);
        let mixed: Tensor<B, 4> = isomax_burn::fpr::mix_second_half(images);
        assert_eq!(values(mixed), flat(&case.mixed_images));
    }
}
