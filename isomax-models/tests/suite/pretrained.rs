//! Weights of other classes, bodies that stay as they are, and prototypes that do not begin at random.

use burn::backend::Flex;
use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Distribution, Tensor, Tolerance};
use isomax_burn::{HeadKind, OodHead, PrototypeError};
use isomax_models::store::{self, StoreError, StoredTensor};
use isomax_models::{
    Architecture, Backbone, CifarResNet, CifarResNetConfig, Model, ModelConfig, ResNetConfig,
};
use safetensors::SafeTensors;

use crate::support::{device, refused, values};

fn resnet(classes: usize, head: HeadKind) -> CifarResNet<Flex> {
    CifarResNetConfig::new(8, classes).with_head(head).init(&device())
}

#[test]
fn all_but_the_head_is_loaded_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let other = resnet(100, HeadKind::SoftMax);
    other.save_safetensors(&path).unwrap();
    let mut network = resnet(2, HeadKind::IsoMaxPlus);
    let prototypes = network.head().prototypes_param().unwrap().val().into_data();
    let report = store::load_body(&mut network, &path).unwrap();
    assert!(report.is_complete());
    assert_eq!(
        report.head,
        ["prototypes", "distance_scale", "temperature"].map(|name| format!("classifier.{name}"))
    );
    assert_eq!(
        report.skipped,
        ["bias", "temperature", "weights"].map(|name| format!("classifier.{name}"))
    );
    assert_eq!(report.loaded.len(), 7 * 5, "seven convolutions with their normalisations");
    assert_eq!(network.layer3[0].conv2.weight.to_data(), other.layer3[0].conv2.weight.to_data());
    assert_eq!(network.head().prototypes_param().unwrap().val().into_data(), prototypes);
    assert!(
        report
            .to_string()
            .starts_with("loaded 35 tensors; left as they were, the head: classifier.")
    );
}

#[test]
fn what_the_file_lacks_is_left_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    resnet(2, HeadKind::SoftMax).save_safetensors(&path).unwrap();
    // Two blocks more.
    let mut deeper = CifarResNetConfig::new(14, 2).init::<Flex>(&device());
    let before = deeper.layer2[1].conv1.weight.to_data();
    let report = store::load_body(&mut deeper, &path).unwrap();
    assert_eq!(report.missing.len(), 3 * 2 * 5);
    assert!(report.missing[0].starts_with("layer1.1."), "{}", report.missing[0]);
    assert_eq!(deeper.layer2[1].conv1.weight.to_data(), before);
    assert!(report.to_string().contains("LEFT AT RANDOM, not in the file: layer1.1.conv1.weight"));

    // A file under a prefix, with a layer of another name at its end and counters.
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let renamed = file.tensors().into_iter().map(|(name, tensor)| {
        (format!("module.{}", name.replace("classifier.weights", "fc.weight")), tensor)
    });
    std::fs::write(&path, safetensors::serialize(renamed, None).unwrap()).unwrap();
    let mut network = resnet(5, HeadKind::IsoMax);
    let report = store::load_body(&mut network, &path).unwrap();
    assert!(report.is_complete());
    assert!(report.skipped.contains(&"module.fc.weight".to_owned()), "{report}");
}

#[test]
fn another_body_is_refused_and_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    ResNetConfig::resnet18(2).init::<Flex>(&device()).save_safetensors(&path).unwrap();
    let mut network = resnet(2, HeadKind::SoftMax);
    let before = values::<Flex, _>(&network);
    let error = store::load_body(&mut network, &path).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { .. }), "{error}");
    assert!(error.to_string().contains("of another shape: conv1.weight"), "{error}");
    // Not one name in common.
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let renamed =
        file.tensors().into_iter().map(|(name, tensor)| (format!("{name}.other"), tensor));
    std::fs::write(&path, safetensors::serialize(renamed, None).unwrap()).unwrap();
    assert!(refused(store::load_body(&mut network, &path)).contains("missing: conv1.weight"));
    assert_eq!(values::<Flex, _>(&network), before);
}

/// With frozen statistics a network computes on a backend with gradients what it computes without, and its weights
/// take gradients all the same.
fn frozen_statistics_are_those_of_evaluation<B: AutodiffBackend>() {
    frozen_statistics_hold::<B>(&[("resnet-8", 8), ("densenet-bc-10", 8), ("wrn-10-1", 8)]);
}

/// The larger ones take minutes on a GPU in software.
#[cfg(not(any(feature = "test-wgpu", feature = "test-tch")))]
#[test]
fn frozen_statistics_of_large_networks_are_those_of_evaluation() {
    let networks = [("resnet-18", 8), ("resnet-50-imagenet", 32), ("efficientnet-lite0", 32)];
    frozen_statistics_hold::<burn::backend::Autodiff<Flex>>(&networks);
}

fn frozen_statistics_hold<B: AutodiffBackend>(networks: &[(&str, usize)]) {
    for &(name, side) in networks {
        let architecture: Architecture = name.parse().unwrap();
        let config = ModelConfig::new(architecture, 3)
            .with_head(HeadKind::IsoMaxPlus)
            .with_dropout(Some(0.0))
            .with_drop_connect(Some(0.0));
        let mut network: Model<B> = config.init(&device());
        let images = Tensor::<B, 4>::random([2, 3, side, side], Distribution::Default, &device());
        // Statistics that are not those of the beginning.
        network.forward(images.clone());
        network.freeze_statistics(true);
        // Before anything else looks at the statistics.
        let logits = network.forward(images.clone());
        let fixed = network.valid().forward(images.clone().inner()).into_data();
        let tolerance = Tolerance::absolute(2e-4);
        logits.clone().inner().into_data().assert_approx_eq::<f32>(&fixed, tolerance);
        let again = network.valid().forward(images.inner()).into_data();
        again.assert_eq(&fixed, true);

        let gradients = logits.sum().backward();
        for norm in network.batch_norms_mut() {
            for param in [&norm.weight, &norm.bias] {
                let gradient = param.val().grad(&gradients).expect(name);
                let sum: f32 = gradient.abs().sum().into_data().iter().next().unwrap();
                assert!(sum.is_finite(), "{name}");
            }
        }
    }
}

on_every_backend!(frozen_statistics_are_those_of_evaluation);

#[test]
fn prototypes_are_replaced_where_there_are_some() {
    let means = || Tensor::<Flex, 2>::ones([3, 64], &device());
    for head in [HeadKind::IsoMax, HeadKind::IsoMaxPlus, HeadKind::DisMax] {
        let network = resnet(3, head).with_prototypes(means()).unwrap();
        let prototypes = network.head().prototypes_param().unwrap().val();
        assert_eq!(prototypes.into_data(), means().into_data());
        let refused = resnet(4, head).with_prototypes(means()).unwrap_err();
        assert_eq!(refused, PrototypeError::Shape { expected: [4, 64], found: [3, 64] });
    }
    let refused = resnet(3, HeadKind::SoftMax).with_prototypes(means()).unwrap_err();
    assert_eq!(refused, PrototypeError::NoPrototypes { head: "softmax".to_owned() });
    let typed = resnet(3, HeadKind::IsoMaxPlus).classifier.with_prototypes(means()).unwrap();
    assert_eq!(typed.prototypes_param().unwrap().val().into_data(), means().into_data());
}

/// The names of the ResNet-18 for 32 × 32 pixels whose checkpoints OpenOOD publishes.
fn names_of_openood() -> Vec<String> {
    let norm = |name: &str| {
        ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
            .map(|part| format!("{name}.{part}"))
            .to_vec()
    };
    let mut names = vec!["conv1.weight".to_owned()];
    names.extend(norm("bn1"));
    for stage in 1..=4 {
        for block in 0..2 {
            let of = |layer: &str| format!("layer{stage}.{block}.{layer}");
            for layer in 1..=2 {
                names.push(of(&format!("conv{layer}.weight")));
                names.extend(norm(&of(&format!("bn{layer}"))));
            }
            if stage > 1 && block == 0 {
                names.push(of("shortcut.0.weight"));
                names.extend(norm(&of("shortcut.1")));
            }
        }
    }
    names.extend(["fc.weight".to_owned(), "fc.bias".to_owned()]);
    names
}

#[test]
fn checkpoints_of_openood_load_by_their_names() {
    let device = Default::default();
    let network = || ResNetConfig::resnet18(10).init::<Flex>(&device);
    let trained = network();
    let ours = store::tensors(&trained).unwrap();
    let tensors: Vec<(String, StoredTensor)> = names_of_openood()
        .into_iter()
        .map(|name| {
            let our_name = name.replace("fc.weight", "fc.weights").replace("fc.", "classifier.");
            let tensor = ours.iter().find(|tensor| tensor.name == our_name).cloned();
            let counter = || StoredTensor::new(name.clone(), vec![1], &[7.0]);
            assert!(tensor.is_some() || name.ends_with("num_batches_tracked"), "{name}");
            (name.clone(), tensor.unwrap_or_else(counter))
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.ckpt");
    let bytes = safetensors::serialize(tensors, None).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let mut loaded = network();
    // Whole but for the temperature of the head, which is 1.
    loaded.load_weights(&path).unwrap();
    assert!(values(&loaded) == values(&trained));
}
