//! One epoch of ResNet-20 on 2,000 images by the published recipe, and its evaluation.
//!
//! The images are generated, in the format of the official files, or real ones if `ISOMAX_REFERENCE` names
//! the folder that holds them; CONTRIBUTING.md says what is in it.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use serde_json::Value;

mod support;

use support::{reference_folder, succeed, unpack, write_cifar10, write_noise};

#[test]
fn one_epoch_of_resnet_20_and_its_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let (here, data) = (folder.path(), folder.path().join("data"));
    let ood = match reference_folder() {
        Some(reference) => {
            let reference = reference.join("data");
            // Of each class 300 images to train on and 100 to test on.
            unpack(
                &reference.join("cifar10.tar.xz"),
                &data.join("cifar10"),
                &["train/*/0[0-2]??.jpg", "test/*/00??.jpg"],
            );
            let svhn = reference.join("svhn-color-mini-q75.tar.xz");
            unpack(&svhn, &data.join("svhn"), &["test/*"]);
            "svhn"
        }
        None => {
            write_cifar10(&data, 480);
            write_noise(&data.join("noise"), 200);
            "noise"
        }
    };
    let train = format!(
        "train --id-data cifar10 --architecture resnet-20 --head isomax+ --epochs 1 \
         --train-images 2400 --validation-images 200 --ood {ood} --json"
    );
    let evaluations: Value = serde_json::from_str(&succeed(here, &train)).unwrap();
    let evaluation = &evaluations[0][1];
    assert_eq!(evaluation["training"]["train_images"], 2000);
    let accuracy = evaluation["classification"]["accuracy"].as_f64().unwrap();
    let auroc = evaluation["detection"][0]["field"]["auroc"].as_f64().unwrap();
    eprintln!("OOD set: {ood}, accuracy {accuracy}, AUROC {auroc}");
    // 32 steps: better than guessing is all that they must be.
    assert!(accuracy > 0.15, "accuracy {accuracy}");
    assert!((0.0..=1.0).contains(&auroc));
}
