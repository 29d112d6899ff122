//! Every post-hoc method against numbers that were computed in 64 bits and compared with pytorch-ood 0.4.0.

use std::collections::BTreeMap;

use burn::module::Param;
use burn::tensor::backend::Backend;
use isomax_burn::posthoc::{BankConfig, FeatureStatistics, FitError, Method, Needs};
use isomax_burn::{Head, HeadConfig, HeadKind, OodHead, Score};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::support::{assert_close, device, ints, matrix, values, vector};

#[derive(Deserialize)]
struct Golden {
    inputs: Inputs,
    linear_head: BTreeMap<String, Value>,
    distance_head: BTreeMap<String, Value>,
    features_only: BTreeMap<String, Value>,
    edges: Edges,
}

#[derive(Deserialize)]
struct Inputs {
    train_features: Vec<Vec<f32>>,
    train_labels: Vec<i64>,
    id_features: Vec<Vec<f32>>,
    ood_features: Vec<Vec<f32>>,
    weights: Vec<Vec<f32>>,
    bias: Vec<f32>,
    prototypes: Vec<Vec<f32>>,
    distance_scale: f32,
}

#[derive(Deserialize)]
struct Case {
    params: Map<String, Value>,
    id: Vec<f32>,
    ood: Vec<f32>,
}

#[derive(Deserialize)]
struct Edges {
    zero_feature_vector: BTreeMap<String, Value>,
    large_logit_gap: BTreeMap<String, Value>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/posthoc.json")).expect("the golden file is valid")
}

on_every_backend!(scores_of_all_methods, a_feature_of_zeros, gaps_of_logits);

fn linear<B: Backend>(inputs: &Inputs) -> Head<B> {
    let (classes, width) = (inputs.weights.len(), inputs.weights[0].len());
    let Head::SoftMax(mut head) =
        HeadConfig::new(HeadKind::SoftMax, width, classes).init::<B>(&device())
    else {
        panic!("another head")
    };
    head.weights = Param::from_tensor(matrix(&inputs.weights));
    head.bias = Param::from_tensor(vector(&inputs.bias));
    head.into()
}

fn distance<B: Backend>(inputs: &Inputs) -> Head<B> {
    let (classes, width) = (inputs.prototypes.len(), inputs.prototypes[0].len());
    let Head::IsoMaxPlus(mut head) =
        HeadConfig::new(HeadKind::IsoMaxPlus, width, classes).init::<B>(&device())
    else {
        panic!("another head")
    };
    head.prototypes = Param::from_tensor(matrix(&inputs.prototypes));
    head.distance_scale = Param::from_tensor(vector(&[inputs.distance_scale]));
    head.into()
}

fn statistics<B: Backend>(inputs: &Inputs, head: &Head<B>) -> FeatureStatistics {
    let (classes, width) = (head.num_classes(), head.num_features());
    let mut statistics = FeatureStatistics::new(Needs::ALL, width, classes, BankConfig::new());
    for (rows, labels) in inputs.train_features.chunks(64).zip(inputs.train_labels.chunks(64)) {
        let features = matrix::<B>(rows);
        statistics.update(features.clone(), head.forward(features), ints(labels)).unwrap();
    }
    statistics
}

/// The method of a case, as text. A name that nothing has is an error, so that no case is passed over.
fn method(name: &str, case: &Case) -> Option<String> {
    let number = |key: &str| case.params[key].as_f64().expect("a number");
    let share = || number("percentile") / 100.0;
    let base = name.split('_').next().unwrap_or_default();
    Some(match (base, name) {
        // Not built: the published ranks of these are the lowest, or they are another method's.
        ("kl", _) | ("grad", _) | ("vra", _) => return None,
        ("msp", _) => "MPS".into(),
        ("max", _) => "max-logit".into(),
        ("energy", _) => "energy".into(),
        ("negative", _) => "ES".into(),
        ("gen", _) => format!("gen:gamma={}:top={}", number("gamma"), number("M")),
        ("nnguide", name) => {
            let guide = if name.contains("msp") { "probability" } else { "energy" };
            format!("nnguide:k={}:guide={guide}", number("k"))
        }
        ("react", _) => format!("react:share={}", share()),
        ("ash", name) => format!("ash-{}:share={}", &name[4..5], share()),
        ("scale", _) => format!("scale:share={}", share()),
        ("dice", _) => format!("dice:share={}", share()),
        ("vim" | "residual", name) => {
            let origin = if name.contains("mean") { "mean" } else { "planes" };
            format!("{base}:dims={}:origin={origin}", number("dim"))
        }
        ("nci", _) => format!("nci:alpha={}", number("alpha")),
        ("knn", _) => format!("knn:k={}", number("k")),
        ("mds" | "rmds", name) => {
            let family = if base == "mds" { "mahalanobis" } else { "relative-mahalanobis" };
            format!("{family}{}", if name.contains("unit") { ":unit" } else { "" })
        }
        ("she" | "fdbd" | "ctm", _) => base.into(),
        (_, name) => panic!("no method for the case {name}"),
    })
}

fn scores_of_all_methods<B: Backend>() {
    let golden = golden();
    let inputs = &golden.inputs;
    let heads = [linear::<B>(inputs), distance::<B>(inputs)];
    let groups = [
        (&golden.linear_head, &heads[0]),
        (&golden.distance_head, &heads[1]),
        (&golden.features_only, &heads[0]),
        (&golden.features_only, &heads[1]),
    ];
    let mut compared = 0;
    for (cases, head) in groups {
        let statistics = statistics(inputs, head);
        for (name, case) in cases.iter().filter(|(_, case)| case.get("params").is_some()) {
            let case: Case = serde_json::from_value(case.clone()).unwrap();
            let Some(text) = method(name, &case) else { continue };
            // The published coefficient is negative on distance heads, and rewards what lies outside.
            if case.params.get("alpha").is_some_and(|alpha| alpha.as_f64() < Some(0.0)) {
                continue;
            }
            let method: Method = text.parse().unwrap();
            let is_tempered = name.starts_with("energy_t");
            let temperature =
                if is_tempered { case.params["temperature"].as_f64().unwrap() } else { 1.0 };
            let head = head.clone().with_temperature(temperature as f32);
            let fitted = match statistics.fit(&method, &head) {
                Err(FitError::Unsuitable { .. }) if name.starts_with("scale") => {
                    // Refused, since it is the energy itself.
                    statistics.fit(&Method::Logit(Score::Energy), &head).unwrap()
                }
                fitted => fitted.unwrap(),
            };
            let tolerance = if text.contains("mahalanobis") { 1e-4 } else { 2e-5 };
            for (features, expected) in
                [(&inputs.id_features, &case.id), (&inputs.ood_features, &case.ood)]
            {
                let scores = values(fitted.score(matrix(features), &head) * temperature);
                assert_close(
                    &format!("{} {name} as {method}", head.name()),
                    &scores,
                    expected,
                    tolerance,
                );
            }
            compared += 1;
        }
    }
    assert!(compared >= 50, "{compared} cases");
}

fn a_feature_of_zeros<B: Backend>() {
    let golden = golden();
    let head = linear::<B>(&golden.inputs);
    let statistics = statistics(&golden.inputs, &head);
    let zeros = vec![vec![0.0; head.num_features()]];
    for (name, method) in [
        ("knn_k5", "knn:k=5"),
        ("mds", "mahalanobis"),
        ("rmds", "relative-mahalanobis"),
        ("vim_d8", "vim:dims=8:origin=planes"),
    ] {
        let expected: Vec<f32> =
            serde_json::from_value(golden.edges.zero_feature_vector[name].clone()).unwrap();
        let fitted = statistics.fit(&method.parse().unwrap(), &head).unwrap();
        assert_close(name, &values(fitted.score(matrix(&zeros), &head)), &expected, 1e-4);
    }
    for head in [head, distance::<B>(&golden.inputs)] {
        for method in Method::suited_to(&head) {
            let score =
                values(statistics.fit(&method, &head).unwrap().score(matrix(&zeros), &head));
            assert!(score[0].is_finite(), "{method} of zeros is {score:?}");
        }
    }
}

fn gaps_of_logits<B: Backend>() {
    let golden = golden();
    let edge = |name: &str| golden.edges.large_logit_gap[name].clone();
    let logits: Vec<Vec<f32>> = serde_json::from_value(edge("logits")).unwrap();
    let expected: Vec<f32> = serde_json::from_value(edge("gen")).unwrap();
    // A head whose logits are the features.
    let classes = logits[0].len();
    let mut inputs = golden.inputs;
    inputs.weights =
        (0..classes).map(|i| (0..classes).map(|j| f32::from(i == j)).collect()).collect();
    inputs.bias = vec![0.0; classes];
    let head = linear::<B>(&inputs);
    let statistics = FeatureStatistics::new(Needs::default(), classes, classes, BankConfig::new());
    let fitted = statistics.fit(&"gen".parse().unwrap(), &head).unwrap();
    let scores = values(fitted.score(matrix(&logits), &head));
    for (ours, theirs) in scores.iter().zip(&expected) {
        assert!((ours - theirs).abs() <= 2e-5 * theirs.abs(), "{ours} is not {theirs}");
    }
}
