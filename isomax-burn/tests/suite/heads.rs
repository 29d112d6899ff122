//! Heads beyond the golden cases: hostile features, exactness, saving, display, wrong shapes.

use burn::module::{AutodiffModule, Module};
use burn::record::{
    BinBytesRecorder, FullPrecisionSettings, HalfPrecisionSettings, NamedMpkBytesRecorder,
    Recorder, RecorderError,
};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Distribution, Tensor};
use burn_store::{ModuleSnapshot, SafetensorsStore};
use isomax_burn::{DetectorConfig, Head, HeadConfig, HeadKind, LossConfig, OodHead};
use proptest::prelude::*;

use crate::support::{assert_close, device, few_cases, ints, matrix, values};

on_every_backend!(
    finite_for_hostile_features,
    one_class_and_one_sample,
    distances_match_their_definition,
    nearest_distance_is_exact,
    wide_distances_keep_the_documented_error,
    broken_rows_stay_alone,
    temperature_divides_and_has_no_gradient,
    temperature_survives_records_and_backends,
    planes_choose_the_class_of_the_logits,
);

fn head<B: Backend>(kind: HeadKind, features: usize, classes: usize) -> Head<B> {
    HeadConfig::new(kind, features, classes).init(&device())
}

fn assert_finite<B: AutodiffBackend>(head: &Head<B>, features: Tensor<B, 2>, targets: &[i64]) {
    let features = features.require_grad();
    let logits = head.forward(features.clone());
    assert_eq!(logits.dims(), [features.dims()[0], head.num_classes()]);
    let loss = LossConfig::new(head.kind()).init().forward(logits.clone(), ints(targets));
    let gradients = loss.backward();
    let (rows, scalar) = match head {
        Head::SoftMax(head) => (&head.weights, Some(&head.bias)),
        Head::IsoMax(head) => (&head.prototypes, None),
        Head::IsoMaxPlus(head) => (&head.prototypes, Some(&head.distance_scale)),
        Head::DisMax(head) => (&head.prototypes, Some(&head.distance_scale)),
    };
    let mut all = vec![
        ("logits", values(logits)),
        ("loss", values(loss)),
        ("feature gradients", values(features.grad(&gradients).unwrap())),
        ("row gradients", values(rows.val().grad(&gradients).unwrap())),
    ];
    let of_scalar = scalar.map(|scalar| values(scalar.val().grad(&gradients).unwrap()));
    all.extend(of_scalar.map(|gradients| ("bias or scale gradients", gradients)));
    for (what, values) in all {
        let kind = head.kind();
        assert!(values.iter().all(|v| v.is_finite()), "{kind}: {what} {values:?}");
    }
}

/// The head with these class rows.
fn with_rows<B: Backend>(mut head: Head<B>, rows: &[Vec<f32>]) -> Head<B> {
    let rows = burn::module::Param::from_tensor(matrix(rows));
    match &mut head {
        Head::SoftMax(head) => head.weights = rows,
        Head::IsoMax(head) => head.prototypes = rows,
        Head::IsoMaxPlus(head) => head.prototypes = rows,
        Head::DisMax(head) => head.prototypes = rows,
    }
    head
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
        let zero = with_rows(head.clone(), &vec![vec![0.0; 3]; 4]);
        let equal = with_rows(head.clone(), &vec![vec![0.5, -1.0, 2.0]; 4]);
        for value in [0.0, 1.0, 1e3, -1e3, 1e-20] {
            for head in [&head, &zero, &equal] {
                assert_finite(head, matrix(&[vec![value; 3], vec![0.0, value, 1.0]]), &[3, 0]);
                assert_finite(head, matrix(&[vec![0.5, -1.0, 2.0]]), &[1]);
            }
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
                let head = with_rows(head::<B>(kind, width, prototypes.len()), &prototypes);
                let ours = values(head.forward(matrix(&features)));
                assert_close("distances", &ours, &expected, 1e-5);
            }
            Ok(())
        })
        .unwrap();
}

/// Features a hair's breadth from a prototype of length 1,000, where the product form alone is
/// wrong by more than the distance itself.
fn nearest_distance_is_exact<B: AutodiffBackend>() {
    let prototypes = vec![vec![600.0, 800.0], vec![-600.0, 800.0]];
    let features = vec![vec![600.0, 800.0], vec![600.0, 800.001], vec![-600.25, 800.0]];
    let head = with_rows(head::<B>(HeadKind::IsoMax, 2, 2), &prototypes);
    let logits = values(head.forward(matrix(&features)));
    let nearest = [logits[0], logits[2], logits[5]];
    let expected = [0.0, -(800.001_f32 - 800.0), -0.25];
    for (ours, expected) in nearest.iter().zip(expected) {
        assert!((ours - expected).abs() <= 1e-6 * expected.abs() + 1e-15, "{ours} ≠ {expected}");
    }
}

/// Unit vectors of 2,048 features, at the distances that the documentation speaks of.
fn wide_distances_keep_the_documented_error<B: AutodiffBackend>() {
    let width = 2048;
    let row = |seed: usize, amount: f32| -> Vec<f32> {
        let wave = |i: usize, seed: usize| ((i * (7 * seed + 3) + seed) as f32 * 0.37).sin();
        (0..width).map(|i| wave(i, 1) + amount * wave(i, seed)).collect()
    };
    let features = vec![row(1, 0.0)];
    let prototypes = vec![row(2, 0.05), row(3, 0.3), row(4, 0.3), row(5, 20.0)];
    let unit = |row: &[f32]| -> Vec<f64> {
        let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        row.iter().map(|v| f64::from(*v) / norm).collect()
    };
    let distance = |p: &Vec<f32>| -> f64 {
        let pairs = unit(&features[0]).into_iter().zip(unit(p));
        pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    };
    let head = with_rows(head::<B>(HeadKind::IsoMaxPlus, width, 4), &prototypes);
    let logits = values(head.forward(matrix(&features)));
    let tolerances = [2e-6, 3e-5, 3e-5, 1e-6];
    for ((logit, prototype), tolerance) in logits.iter().zip(&prototypes).zip(tolerances) {
        let expected = distance(prototype);
        let error = (f64::from(-logit) / expected - 1.0).abs();
        assert!(error < tolerance, "{expected}: relative error {error:.1e}");
    }
}

/// A sample that has diverged must not reach into the rows of others.
fn broken_rows_stay_alone<B: AutodiffBackend>() {
    for kind in HeadKind::ALL {
        let head = head::<B>(kind, 4, 3);
        let good = vec![vec![0.3, -1.0, 2.0, 0.1], vec![1.0, 1.0, -1.0, 0.5]];
        let expected = values(head.forward(matrix(&good)));
        for broken in [f32::NAN, f32::INFINITY, 1e20] {
            let rows = vec![good[0].clone(), vec![broken; 4], good[1].clone()];
            let logits = values(head.forward(matrix(&rows)));
            let others = [&logits[..3], &logits[6..]].concat();
            assert_close("rows beside a broken one", &others, &expected, 1e-6);
        }
    }
}

fn temperature_divides_and_has_no_gradient<B: AutodiffBackend>() {
    for kind in HeadKind::ALL {
        let plain = head::<B>(kind, 4, 3);
        assert_eq!(plain.temperature(), 1.0);
        let features = Tensor::random([6, 4], Distribution::Default, &device());
        // Burn draws parameters at their first use: forward before the clone, or the clone differs.
        let expected: Vec<f32> =
            values(plain.forward(features.clone())).iter().map(|l| l / 2.5).collect();
        let warm = plain.with_temperature(2.5);
        let logits = warm.forward(features);
        assert_close("logits", &values(logits.clone()), &expected, 1e-6);

        let gradients = logits.sum().backward();
        assert!(warm.temperature_param().val().grad(&gradients).is_none());
    }
}

fn temperature_survives_records_and_backends<B: AutodiffBackend>() {
    for kind in HeadKind::ALL {
        let warm = head::<B>(kind, 4, 3).with_temperature(1.7);
        let fresh = || head::<B>(kind, 4, 3);
        let named = NamedMpkBytesRecorder::<FullPrecisionSettings>::default();
        let binary = BinBytesRecorder::<FullPrecisionSettings>::default();
        let reload = |record: Result<_, RecorderError>| fresh().load_record(record.unwrap());
        let device = device();
        let bytes = named.record(warm.clone().into_record(), ()).unwrap();
        assert_eq!(reload(named.load(bytes, &device)).temperature(), 1.7);
        let half = BinBytesRecorder::<HalfPrecisionSettings>::default();
        let bytes = half.record(warm.clone().into_record(), ()).unwrap();
        let halved = reload(half.load(bytes, &device));
        let logits = || Tensor::<B, 2>::zeros([2, 3], &device);
        let detector = DetectorConfig::new().fit(&warm, logits()).unwrap();
        assert!(detector.decide(&halved, logits()).is_ok());
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

/// Between any two classes, the planes differ as the logits do, whatever the head makes of them.
fn planes_choose_the_class_of_the_logits<B: AutodiffBackend>() {
    for kind in HeadKind::ALL {
        let rows = vec![vec![1.0, 0.2, -0.5], vec![-0.3, 0.9, 0.4], vec![0.1, -1.0, 2.0]];
        let head = with_rows(head::<B>(kind, 3, 3), &rows);
        let features = Tensor::random([64, 3], Distribution::Normal(0.0, 2.0), &device());
        let classes = |values: Tensor<B, 2>| -> Vec<i64> {
            values.argmax(1).into_data().iter::<i64>().collect()
        };
        let planes = OodHead::class_planes(&head).unwrap();
        let expected = classes(head.forward(features.clone()));
        assert_eq!(classes(planes.forward(features.clone())), expected, "{kind}");
        let squared = |logits: Tensor<B, 2>| logits.powi_scalar(2) / -1.0;
        let (ours, logits) = (planes.forward(features.clone()), head.forward(features));
        // Of the two plain distance heads the difference of two planes is that of squared distances.
        if kind == HeadKind::IsoMax {
            let gap = |values: Tensor<B, 2>| {
                let [first, second] = [0, 1].map(|c| values.clone().narrow(1, c, 1));
                crate::support::values(first - second)
            };
            assert_close("gaps", &gap(ours), &gap(squared(logits)), 1e-5);
        }
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
    let shown = config.init::<burn::backend::Flex>(&device()).to_string();
    for part in ["IsoMaxPlusHead", "num_features: 342", "num_classes: 10", "temperature: 1"] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
}

#[test]
#[should_panic(expected = "Features of shape [2, 5] do not fit a head of shape [3, 4]")]
fn features_of_another_width_are_refused() {
    let head = head::<burn::backend::Flex>(HeadKind::IsoMaxPlus, 4, 3);
    head.forward(Tensor::zeros([2, 5], &device()));
}

#[test]
#[should_panic(expected = "A temperature must be a positive finite number, got 0")]
fn impossible_temperatures_are_refused() {
    let _ = head::<burn::backend::Flex>(HeadKind::SoftMax, 4, 3).with_temperature(0.0);
}
