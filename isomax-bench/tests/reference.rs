//! Networks that PyTorch trained on CIFAR-10, evaluated here on the same images: the same accuracies,
//! the same AUROC.
//!
//! Weights, images and PyTorch's results lie in the folder that `ISOMAX_REFERENCE` names; CONTRIBUTING.md
//! says what is in it. The example `import_pytorch` does the same for all OOD sets.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;

use burn::tensor::Tensor;
use isomax_bench::backend::{InferenceBackend, device};
use isomax_bench::data::{
    FolderOptions, Images, JpegDecoder, Normalization, Orientation, Preprocessing,
};
use isomax_bench::evaluate::{accuracy, logits};
use isomax_burn::metrics::OodMetrics;
use isomax_burn::{HeadKind, Score};
use isomax_models::{Architecture, Backbone, ModelConfig};
use serde::Deserialize;

mod support;

use support::{reference_folder, unpack};

#[derive(Deserialize)]
struct Reference {
    acc: f64,
    ood: HashMap<String, OodSet>,
}

#[derive(Deserialize)]
struct OodSet {
    n: usize,
    #[serde(flatten)]
    scores: HashMap<Score, Values>,
}

#[derive(Deserialize)]
struct Values {
    auroc: f64,
    tnr95: f64,
}

/// Percentage points.
const TOLERANCE: f64 = 0.02;

#[test]
#[ignore = "not run: needs ISOMAX_REFERENCE, see CONTRIBUTING.md"]
fn networks_of_pytorch_do_as_in_pytorch() {
    let reference = reference_folder().expect("ISOMAX_REFERENCE names the folder");
    let folder = tempfile::tempdir().unwrap();
    let data = reference.join("data");
    unpack(&data.join("cifar10.tar.xz"), folder.path(), &["test"]);
    unpack(&data.join("svhn-color-mini-q75.tar.xz"), &folder.path().join("svhn"), &[]);
    // Other decoders give other last bits, which moves accuracies by some 0.05 points.
    let options = FolderOptions { jpeg: JpegDecoder::Libjpeg, ..Default::default() };
    let read = |name| Images::from_folder_with(folder.path().join(name), &options).unwrap();
    let (id, ood) = (read("test"), read("svhn"));
    for kind in [HeadKind::SoftMax, HeadKind::IsoMax, HeadKind::IsoMaxPlus] {
        let name = kind.name().replace('+', "plus");
        let text =
            fs::read_to_string(reference.join(format!("reference/result_{name}.json"))).unwrap();
        let expected: Reference = serde_json::from_str(&text).unwrap();
        let architecture = Architecture::CifarResNet { depth: 20 };
        let mut model =
            ModelConfig::new(architecture, 10).with_head(kind).init::<InferenceBackend>(&device());
        model.load_pytorch(reference.join(format!("reference/resnet20_{name}.pth"))).unwrap();

        let logits = |images: &Images| {
            logits(&model, images, &Normalization::CIFAR10, 100, &device()).unwrap()
        };
        let (of_id, of_ood) = (logits(&id), logits(&ood));
        let accuracy = accuracy(of_id.clone(), &id.labels);
        assert!((accuracy - expected.acc).abs() <= TOLERANCE, "{kind}: accuracy {accuracy}");

        let svhn = &expected.ood["svhn"];
        assert_eq!(ood.len(), svhn.n);
        for (score, expected) in &svhn.scores {
            let values = |logits: &Tensor<InferenceBackend, 2>| -> Vec<f32> {
                score.compute(logits.clone()).into_data().iter().collect()
            };
            let metrics = OodMetrics::from_scores(&values(&of_id), &values(&of_ood)).unwrap();
            let (auroc, tnr) = (100.0 * metrics.auroc, 100.0 * metrics.tnr_at_95_tpr);
            assert!((auroc - expected.auroc).abs() <= TOLERANCE, "{kind} {score}: AUROC {auroc}");
            // One image of 1,040 may lie on the other side of the cut.
            assert!((tnr - expected.tnr95).abs() <= 0.1, "{kind} {score}: TNR@95TPR {tnr}");
        }
    }
}

#[derive(Deserialize)]
struct Lite {
    images: Vec<LiteImage>,
}

#[derive(Deserialize)]
struct LiteImage {
    file: String,
    logits_first: Vec<f32>,
    argmax: usize,
}

/// From the files of photos to the classes that the published weights see in them.
#[test]
#[ignore = "not run: needs ISOMAX_REFERENCE, see CONTRIBUTING.md"]
fn photos_are_seen_as_in_pytorch() {
    let reference = reference_folder().expect("ISOMAX_REFERENCE names the folder");
    let folder = tempfile::tempdir().unwrap();
    for pack in ["photos-ants-bees", "photos-unknown"] {
        let archive = reference.join(format!("data/{pack}.tar.xz"));
        unpack(&archive, folder.path(), &[]);
    }
    let text = fs::read_to_string(reference.join("golden/efficientnet-lite0.json")).unwrap();
    let golden: Lite = serde_json::from_str(&text).unwrap();
    let config = ModelConfig::new(Architecture::EfficientNetLite { variant: 0 }, 1_000);
    let mut model = config.init::<InferenceBackend>(&device());
    model.load_pytorch(reference.join("data/efficientnet-lite0-57934424.pth")).unwrap();
    assert_eq!(golden.images.len(), 4);
    // Decoders differ by a step here and there, which moves logits by as much.
    for (decoder, tolerance) in [(JpegDecoder::Safe, 0.3), (JpegDecoder::Libjpeg, 1e-2)] {
        let preprocessing = Preprocessing {
            jpeg_decoder: decoder,
            orientation: Orientation::AsStored,
            ..Preprocessing::photos(224, Normalization::EFFICIENTNET_LITE)
        };
        for image in &golden.images {
            let file = fs::read(folder.path().join(&image.file)).unwrap();
            let pixels = preprocessing.pixels(preprocessing.decode(&file).unwrap());
            let batch = preprocessing.tensor::<InferenceBackend>(&[&pixels], &device());
            let logits: Vec<f32> = model.forward(batch).into_data().iter().collect();
            let differences = logits.iter().zip(&image.logits_first).map(|(a, b)| (a - b).abs());
            let largest = differences.fold(0.0, f32::max);
            assert!(largest < tolerance, "{decoder}, {}: {largest}", image.file);
            let argmax = (0..1_000).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
            assert_eq!(argmax, Some(image.argmax), "{decoder}, {}", image.file);
        }
    }
}
