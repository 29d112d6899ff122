//! Heads beyond the golden cases: hostile features, exactness, saving, display, wrong shapes.

use burn::module::{AutodiffModule, Module};
use burn::record::{
    BinBytesRecorder, FullPrecisionSettings, NamedMpkBytesRecorder, Recorder, RecorderError,
};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Distribution, Tensor};
use burn_store::{ModuleSnapshot, SafetensorsStore};
use isomax_burn::{Head, HeadConfig, HeadKind, LossConfig};
use proptest::prelude::*;

use crate::support::{assert_close, few_cases, ints, matrix, values};

on_every_backend!(
    finite_for_hostile_features,
    one_class_and_one_sample,
    distances_match_their_definition,
    nearest_distance_is_exact,
    temperature_divides_and_has_no_gradient,
    temperature_survives_records_and_backends,
);

fn head<B: Backend>(kind: HeadKind, features: usize, classes: usize) -> Head<B> {
    HeadConfig::new(kind, features, classes).init(&Default::default())
}

fn assert_finite<B: AutodiffBackend>(head: &Head<B>, features: Tensor<B, 2>, targets: &[i64]) {
    let features = features.require_grad();
    let logits = head.forward(features.clone());
    assert_eq!(logits.dims(), [features.dims()[0], head.num_classes()]);
    let loss = LossConfig::new(head.kind()).init().forward(logits.clone(), ints(targets));
    let gradients = values(features.grad(&loss.backward()).unwrap());
    for (what, values) in
        [("logits", values(logits)), ("loss", values(loss)), ("gradients", gradients)]
    {
        let kind = head.kind();
        assert!(values.iter().all(|v| v.is_finite()), "{kind}: {what} {values:?}");
    }
}

fn finite_for_hostile_features<B: AutodiffBackend>() {
    for kind in HeadKind::ALL {
        let head = head::<B>(kind, 3, 4);
        let own_row = match &head {
            Head::SoftMax(head) => head.weights.val(),
            Head::IsoMax(head) => head.prototypes.val(),
            Head::IsoMaxPlus(head) => head.prototypes.val(),
            Head::DisMax(head) => head.prototypes.val(),
        };
        let own_rows: Vec<_> = values(own_row).chunks(3).map(<[f32]>::to_vec).collect();
        assert_finite(&head, matrix(&own_rows), &[0, 1, 2, 3]);
        for value in [0.0, 1.0, 1e3, -1e3, 1e-20] {
            assert_finite(&head, matrix(&[vec![value; 3], vec![0.0, value, 1.0]]), &[3, 0]);
        }
    }
}

fn one_class_and_one_sample<B: AutodiffBackend>() {
    for kind in HeadKind::ALL {
        assert_finite(&head::<B>(kind, 5, 1), matrix(&[vec![0.3; 5]]), &[0]);
        assert_finite(&head::<B>(kind, 1, 2), matrix(&[vec![0.3]]), &[1]);
    }
}

fn distances_match_their_definition<B: AutodiffBackend>() {
    let (rows, width) = (5, 7);
    let mut runner = proptest::test_runner::TestRunner::new(few_cases());
    let numbers = prop::collection::vec(-3.0_f32..3.0, (rows + 4) * width);
    runner
        .run(&numbers, |numbers| {
            let mut rows_of = numbers.chunks(width).map(<[f32]>::to_vec);
            let features: Vec<_> = rows_of.by_ref().take(rows).collect();
            let prototypes: Vec<_> = rows_of.collect();
            for kind in [HeadKind::IsoMax, HeadKind::IsoMaxPlus] {
                let unit = |row: &Vec<f32>| -> Vec<f64> {
                    let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
                    let divisor = if kind == HeadKind::IsoMax { 1.0 } else { norm.max(1e-12) };
                    row.iter().map(|v| f64::from(*v) / divisor).collect()
                };
                let distance = |a: &Vec<f32>, b: &Vec<f32>| -> f32 {
                    let pairs = unit(a).into_iter().zip(unit(b));
                    -pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt() as f32
                };
                let expected: Vec<f32> = features
                    .iter()
                    .flat_map(|x| prototypes.iter().map(|p| distance(x, p)))
                    .collect();
                let mut head = head::<B>(kind, width, prototypes.len());
                match &mut head {
                    Head::IsoMax(head) => head.prototypes = param(&prototypes),
                    Head::IsoMaxPlus(head) => head.prototypes = param(&prototypes),
                    _ => unreachable!("a distance head"),
                }
                let ours = values(head.forward(matrix(&features)));
                assert_close("distances", &ours, &expected, 1e-5);
            }
            Ok(())
        })
        .unwrap();
}

fn param<B: Backend>(rows: &[Vec<f32>]) -> burn::module::Param<Tensor<B, 2>> {
    burn::module::Param::from_tensor(matrix(rows))
}

/// Features a hair's breadth from a prototype of length 1,000, where the product form alone is
/// wrong by more than the distance itself.
fn nearest_distance_is_exact<B: AutodiffBackend>() {
    let prototypes = vec![vec![600.0, 800.0], vec![-600.0, 800.0]];
    let features = vec![vec![600.0, 800.0], vec![600.0, 800.001], vec![-600.25, 800.0]];
    let mut head = head::<B>(HeadKind::IsoMax, 2, 2);
    let Head::IsoMax(isomax) = &mut head else { unreachable!("an IsoMax head") };
    isomax.prototypes = param(&prototypes);
    let logits = values(head.forward(matrix(&features)));
    let nearest = [logits[0], logits[2], logits[5]];
    let expected = [0.0, -(800.001_f32 - 800.0), -0.25];
    for (ours, expected) in nearest.iter().zip(expected) {
        assert!((ours - expected).abs() <= 1e-6 * expected.abs() + 1e-15, "{ours} ≠ {expected}");
    }
}

fn temperature_divides_and_has_no_gradient<B: AutodiffBackend>() {
    for kind in HeadKind::ALL {
        let plain = head::<B>(kind, 4, 3);
        assert_eq!(plain.temperature(), 1.0);
        let features = Tensor::random([6, 4], Distribution::Default, &Default::default());
        // Burn draws parameters at their first use: forward before the clone, or the clone differs.
        let expected: Vec<f32> =
            values(plain.forward(features.clone())).iter().map(|l| l / 2.5).collect();
        let warm = plain.with_temperature(2.5);
        let logits = warm.forward(features);
        assert_close("logits", &values(logits.clone()), &expected, 1e-6);

        let gradients = logits.sum().backward();
        let temperature = match &warm {
            Head::SoftMax(head) => &head.temperature,
            Head::IsoMax(head) => &head.temperature,
            Head::IsoMaxPlus(head) => &head.temperature,
            Head::DisMax(head) => &head.temperature,
        };
        assert!(temperature.val().grad(&gradients).is_none());
    }
}

fn temperature_survives_records_and_backends<B: AutodiffBackend>() {
    for kind in HeadKind::ALL {
        let warm = head::<B>(kind, 4, 3).with_temperature(1.7);
        let fresh = || head::<B>(kind, 4, 3);
        let named = NamedMpkBytesRecorder::<FullPrecisionSettings>::default();
        let binary = BinBytesRecorder::<FullPrecisionSettings>::default();
        let reload = |record: Result<_, RecorderError>| fresh().load_record(record.unwrap());
        let device = Default::default();
        let bytes = named.record(warm.clone().into_record(), ()).unwrap();
        assert_eq!(reload(named.load(bytes, &device)).temperature(), 1.7);
        let bytes = binary.record(warm.clone().into_record(), ()).unwrap();
        assert_eq!(reload(binary.load(bytes, &device)).temperature(), 1.7);
        let mut tensors = SafetensorsStore::from_bytes(None);
        warm.save_into(&mut tensors).unwrap();
        let mut tensors = SafetensorsStore::from_bytes(Some(tensors.get_bytes().unwrap()));
        let mut loaded = fresh();
        loaded.load_from(&mut tensors).unwrap();
        assert_eq!(loaded.temperature(), 1.7);
        assert_eq!(warm.clone().valid().temperature(), 1.7);
        assert_eq!(warm.clone().to_device(&device).temperature(), 1.7);
        assert_eq!(warm.fork(&device).temperature(), 1.7);
    }
}

#[test]
fn unknown_names_list_the_known_ones() {
    assert_eq!("IsoMaxPlus".parse(), Ok(HeadKind::IsoMaxPlus));
    for kind in HeadKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
        let json = serde_json::to_string(&kind).unwrap();
        assert_eq!(json, format!("\"{kind}\""));
        assert_eq!(serde_json::from_str::<HeadKind>(&json).unwrap(), kind);
    }
    let error = "sofmax".parse::<HeadKind>().unwrap_err().to_string();
    assert_eq!(error, "unknown head 'sofmax'; known: softmax, isomax, isomax+, dismax");
}

#[test]
fn configs_survive_json_and_heads_show_their_sizes() {
    use burn::config::Config;
    let config = HeadConfig::new(HeadKind::IsoMaxPlus, 342, 10);
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(HeadConfig::load_binary(text.as_bytes()).unwrap(), config);
    let shown = config.init::<burn::backend::Flex>(&Default::default()).to_string();
    for part in ["IsoMaxPlusHead", "num_features: 342", "num_classes: 10", "temperature: 1"] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
}

#[test]
#[should_panic(expected = "Features of shape [2, 5] do not fit a head of shape [3, 4]")]
fn features_of_another_width_are_refused() {
    let head = head::<burn::backend::Flex>(HeadKind::IsoMaxPlus, 4, 3);
    head.forward(Tensor::zeros([2, 5], &Default::default()));
}

#[test]
#[should_panic(expected = "A temperature must be a positive finite number, got 0")]
fn impossible_temperatures_are_refused() {
    let _ = head::<burn::backend::Flex>(HeadKind::SoftMax, 4, 3).with_temperature(0.0);
}
