//! Losses and heads of others against PyTorch in double precision: `isomax-models/pytorch/make_peers.py`.

use burn::module::{AutodiffModule, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use isomax_burn::{
    GOdinHeadConfig, LogitNormLossConfig, OodHead, OutlierExposureConfig, Score, SoftMaxLossConfig,
    T2fNormHeadConfig,
};
use serde_json::Value;

use crate::support::{assert_close, device, ints, matrix, values, vector};

on_every_backend!(
    losses_are_the_golden_ones,
    t2fnorm_is_the_golden_one,
    godin_is_the_golden_one,
    zeros_are_no_trouble,
);

const TOLERANCE: f64 = 2e-5;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/peers.json")).unwrap()
}

/// All numbers, one after another.
fn flat(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().unwrap() as f32],
    }
}

fn rows(value: &Value) -> Vec<Vec<f32>> {
    value.as_array().unwrap().iter().map(flat).collect()
}

fn targets(case: &Value) -> Vec<i64> {
    case["targets"].as_array().unwrap().iter().map(|target| target.as_i64().unwrap()).collect()
}

fn leaf<B: AutodiffBackend>(value: &Value) -> Tensor<B, 2> {
    matrix(&rows(value)).require_grad()
}

fn losses_are_the_golden_ones<B: AutodiffBackend>() {
    let golden = golden();
    let check = |case: &Value, logits: Tensor<B, 2>, loss: Tensor<B, 1>| {
        assert_close("loss", &values(loss.clone()), &flat(&case["loss"]), TOLERANCE);
        let gradient = logits.grad(&loss.backward()).unwrap();
        let expected = flat(&case["gradient_of_logits"]);
        assert_close("gradient", &values(gradient), &expected, TOLERANCE);
    };
    for case in golden["logit_norm"].as_array().unwrap() {
        let temperature = case["temperature"].as_f64().unwrap();
        let loss = LogitNormLossConfig::new().with_temperature(temperature).init();
        let logits = leaf::<B>(&case["logits"]);
        check(case, logits.clone(), loss.forward(logits, ints(&targets(case))));
    }
    for case in golden["outlier_exposure"].as_array().unwrap() {
        let scale = case["scale"].as_f64().unwrap();
        let term = OutlierExposureConfig::new().with_scale(scale).init();
        let logits = leaf::<B>(&case["logits"]);
        check(case, logits.clone(), term.forward(logits));
    }
}

/// Logits of training and of inference, and the gradients of some leaves.
fn check_head<B: AutodiffBackend, H: OodHead<B> + AutodiffModule<B>>(
    case: &Value,
    head: &H,
    gradients: impl Fn(&B::Gradients) -> Vec<(&'static str, Vec<f32>)>,
) where
    H::InnerModule: OodHead<B::InnerBackend>,
{
    let features = leaf::<B>(&case["features"]);
    let logits = head.forward(features.clone());
    assert_close("training", &values(logits.clone()), &flat(&case["training"]), TOLERANCE);
    let inference = head.valid().forward(matrix(&rows(&case["features"])));
    assert_close("inference", &values(inference), &flat(&case["inference"]), TOLERANCE);
    let loss = SoftMaxLossConfig::new().init().forward(logits, ints(&targets(case)));
    assert_close("loss", &values(loss.clone()), &flat(&case["loss"]), TOLERANCE);
    let found = loss.backward();
    let of_features = values(features.grad(&found).unwrap());
    for (name, found) in gradients(&found).into_iter().chain([("features", of_features)]) {
        let expected = flat(&case[format!("gradient_of_{name}").as_str()]);
        assert_close(name, &found, &expected, 1e-4);
    }
}

fn of<B: AutodiffBackend, const D: usize>(
    param: &Param<Tensor<B, D>>,
    gradients: &B::Gradients,
) -> Vec<f32> {
    values(param.val().grad(gradients).unwrap())
}

fn t2fnorm_is_the_golden_one<B: AutodiffBackend>() {
    let case = &golden()["t2fnorm"];
    let tau = case["tau"].as_f64().unwrap();
    let mut head = T2fNormHeadConfig::new(3, 4).with_feature_temperature(tau).init::<B>(&device());
    head.weights = Param::from_tensor(matrix(&rows(&case["weights"])));
    head.bias = Param::from_tensor(vector(&flat(&case["bias"])));
    check_head(case, &head, |gradients| {
        vec![("weights", of(&head.weights, gradients)), ("bias", of(&head.bias, gradients))]
    });
    // What its planes give at inference is what the head gives.
    let features = matrix::<B::InnerBackend>(&rows(&case["features"]));
    let planes = head.valid().class_planes().forward(features);
    assert_close("planes", &values(planes), &flat(&case["inference"]), TOLERANCE);
}

fn godin_is_the_golden_one<B: AutodiffBackend>() {
    let case = &golden()["godin"];
    let mut head = GOdinHeadConfig::new(3, 4).init::<B>(&device());
    head.directions = Param::from_tensor(matrix(&rows(&case["directions"])));
    head.domain_weights = Param::from_tensor(matrix(&rows(&case["domain_weights"])));
    head.domain_bias = Param::from_tensor(vector(&flat(&case["domain_bias"])));
    head.domain_scale = Param::from_tensor(vector(&flat(&case["domain_scale"])));
    head.domain_offset = Param::from_tensor(vector(&flat(&case["domain_offset"])));
    check_head(case, &head, |gradients| {
        vec![
            ("directions", of(&head.directions, gradients)),
            ("domain_weights", of(&head.domain_weights, gradients)),
            ("domain_scale", of(&head.domain_scale, gradients)),
            ("domain_offset", of(&head.domain_offset, gradients)),
        ]
    });
    assert_eq!(Score::default_for(OodHead::<B>::kind(&head)), Score::MDS);
}

fn zeros_are_no_trouble<B: AutodiffBackend>() {
    let zero = || Tensor::<B, 2>::zeros([2, 3], &device()).require_grad();
    let finite = |input: Tensor<B, 2>, loss: Tensor<B, 1>| {
        assert!(values(loss.clone()).iter().all(|value| value.is_finite()));
        let gradient = values(input.grad(&loss.backward()).unwrap());
        assert!(gradient.iter().all(|value| value.is_finite()), "{gradient:?}");
    };
    let (logits, targets) = (zero(), ints(&[0, 2]));
    finite(logits.clone(), LogitNormLossConfig::new().init().forward(logits, targets.clone()));
    let loss = SoftMaxLossConfig::new().init();
    let features = zero();
    let head = T2fNormHeadConfig::new(3, 3).init::<B>(&device());
    finite(features.clone(), loss.forward(head.forward(features), targets.clone()));
    let features = zero();
    let head = GOdinHeadConfig::new(3, 3).init::<B>(&device());
    finite(features.clone(), loss.forward(head.forward(features), targets));
}
