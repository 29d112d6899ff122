//! Bundles as they were written before, which this and every later version reads alike, and which the reader in
//! Python is held against: `isomax-models/pytorch/check_bundle.py`.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use burn::backend::Flex;
use burn::prelude::*;
use isomax_bundle::{Bundle, Manifest, Normalization, Preprocessing, Provenance};
use isomax_burn::{AnyDetector, Decision, DetectorConfig, Head, HeadConfig, HeadKind, HostLogits};
use isomax_models::Backbone;
use serde_json::{Value, json};

/// A network of a head alone, so that the file is small.
#[derive(Module, Debug)]
struct Bare<B: Backend> {
    classifier: Head<B>,
}

impl<B: Backend> Backbone<B> for Bare<B> {
    type Input = Tensor<B, 2>;
    type Head = Head<B>;

    fn forward_features(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        features
    }

    fn head(&self) -> &Head<B> {
        &self.classifier
    }
}

const CLASSES: usize = 3;
const FEATURES: usize = 4;
const KINDS: [HeadKind; 2] = [HeadKind::SoftMax, HeadKind::IsoMaxPlus];

fn bare(kind: HeadKind) -> Bare<Flex> {
    let config = HeadConfig::new(kind, FEATURES, CLASSES);
    Bare { classifier: config.init(&Default::default()) }
}

fn path(kind: HeadKind, ending: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bundles");
    folder.join(format!("{}.{ending}", kind.name().replace('+', "plus")))
}

/// Features all over the place, the same on every machine.
fn features(count: usize, seed: usize) -> Tensor<Flex, 2> {
    let value = |at: usize| ((at * 7_919 + seed * 104_729) % 997) as f32 / 250.0 - 1.0;
    let values: Vec<f32> = (0..count * FEATURES).map(value).collect();
    Tensor::from_data(TensorData::new(values, [count, FEATURES]), &Default::default())
}

/// One line for each image, as `isomax-bench predict --json` prints it.
fn line(number: usize, decision: &Decision, classes: &[String]) -> Value {
    json!({
        "path": format!("{number}.png"),
        "class": decision.class,
        "class_name": classes[decision.class],
        "confidence": decision.confidence,
        "score": decision.score,
        "quantile": decision.quantile,
        "p_value": decision.p_value,
        "in_distribution": decision.in_distribution,
    })
}

#[test]
#[ignore = "not run: writes the fixtures anew"]
fn write_the_fixtures() {
    fs::create_dir_all(path(HeadKind::SoftMax, "x").parent().unwrap()).unwrap();
    for kind in KINDS {
        Flex::seed(&Default::default(), 1);
        let network = bare(kind);
        let held_out = network.forward(features(40, 1));
        let detector = DetectorConfig::new()
            .fit(network.head(), held_out)
            .unwrap()
            .with_confidence_temperature(0.5)
            .unwrap();
        let mut provenance = Provenance::default();
        provenance.seed = Some(1);
        let manifest = Manifest {
            architecture: "bare".to_owned(),
            head: kind.name().to_owned(),
            classes: ["ants", "bees", "größere Wespen"].map(str::to_owned).into(),
            preprocessing: Preprocessing::photos(224, Normalization::EFFICIENTNET_LITE),
            detector: Some(serde_json::from_str(&detector.to_json()).unwrap()),
            provenance,
        };
        let bundle = Bundle::new(manifest, &network).unwrap();
        bundle.save(path(kind, "safetensors")).unwrap();
        let logits: Vec<f64> = network.forward(features(60, 2)).into_data().iter().collect();
        let mut array = format!(
            "{{'descr': '<f8', 'fortran_order': False, 'shape': ({}, {CLASSES}), }}",
            logits.len() / CLASSES
        );
        while (10 + array.len() + 1) % 64 != 0 {
            array.push(' ');
        }
        array.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((array.len() as u16).to_le_bytes());
        bytes.extend(array.as_bytes());
        logits.iter().for_each(|logit| bytes.extend(logit.to_le_bytes()));
        fs::write(path(kind, "npy"), bytes).unwrap();
        let decisions = detector.decide_host(&HostLogits::new(logits, CLASSES).unwrap()).unwrap();
        let classes = &bundle.manifest().classes;
        let lines =
            decisions.iter().enumerate().map(|(at, d)| format!("{}\n", line(at, d, classes)));
        fs::write(path(kind, "jsonl"), lines.collect::<String>()).unwrap();
    }
}

#[test]
fn bundles_of_before_decide_as_they_did() {
    for kind in KINDS {
        let bundle = Bundle::load(path(kind, "safetensors")).unwrap();
        let mut network = bare(kind);
        bundle.load_into(&mut network).unwrap();
        let logits: Vec<f64> = network.forward(features(60, 2)).into_data().iter().collect();
        // Behind the header of NumPy's format are the values.
        let array = fs::read(path(kind, "npy")).unwrap();
        let values = &array[array.len() - 8 * logits.len()..];
        for (logit, bytes) in logits.iter().zip(values.as_chunks().0) {
            assert!((logit - f64::from_le_bytes(*bytes)).abs() < 1e-5, "{kind}");
        }
        let stored: Vec<f64> =
            values.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
        let AnyDetector::Logits(detector) = bundle.detector::<Flex>(&Default::default()).unwrap()
        else {
            panic!("{kind}: expected a detector of logits")
        };
        let decisions = detector.decide_host(&HostLogits::new(stored, CLASSES).unwrap()).unwrap();
        let text = fs::read_to_string(path(kind, "jsonl")).unwrap();
        let expected: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(decisions.len(), expected.len());
        let classes = &bundle.manifest().classes;
        for (number, (decision, expected)) in decisions.iter().zip(&expected).enumerate() {
            let found = line(number, decision, classes);
            for (key, expected) in expected.as_object().unwrap() {
                // Systems round exponentials each in its own way.
                match (found[key].as_f64(), expected.as_f64()) {
                    (Some(found), Some(expected)) => {
                        assert!((found - expected).abs() < 1e-12, "{key}")
                    }
                    _ => assert_eq!(&found[key], expected, "{kind}: {key}"),
                }
            }
        }
        let accepted = decisions.iter().filter(|decision| decision.in_distribution).count();
        assert!((1..60).contains(&accepted), "both verdicts come: {accepted}");
    }
}
