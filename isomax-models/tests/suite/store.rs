//! Weights of PyTorch, safetensors files and records: what loads, and what is refused and why.
//!
//! `pytorch/make_fixtures.py` makes the files in `fixtures`.

use std::fs;
use std::path::{Path, PathBuf};

use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, Module};
use burn::prelude::*;
use burn::tensor::{Distribution, Tolerance};
use burn_ndarray::NdArray;
use isomax_burn::{HeadKind, IsoMaxPlusHead, OodHead};
use isomax_models::store::{self, StoreError};
use isomax_models::{
    Architecture, Backbone, CifarResNetConfig, DenseNetBc, DenseNetBcConfig, ModelConfig,
    num_trainable_params,
};
use proptest::prelude::*;
use serde::Deserialize;

use crate::support::{config, device, network, refused, values};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The images that `make_fixtures.py` gave the network.
fn images<B: Backend>() -> Tensor<B, 4> {
    let values = expected().images.into_iter().flatten().flatten().flatten().collect();
    Tensor::from_data(TensorData::new(values, [4, 3, 8, 8]), &device())
}

#[derive(Deserialize)]
struct Expected {
    images: Vec<Vec<Vec<Vec<f32>>>>,
    logits: Vec<Vec<f32>>,
}

fn expected() -> Expected {
    serde_json::from_str(&fs::read_to_string(fixture("densenet10.json")).unwrap()).unwrap()
}

#[track_caller]
fn has_the_logits_of_pytorch<B: Backend>(network: &DenseNetBc<B>, tolerance: f32) {
    let expected = TensorData::new(expected().logits.concat(), [4, 3]);
    let logits = network.forward(images()).into_data();
    logits.assert_approx_eq::<f32>(&expected, Tolerance::absolute(tolerance));
}

#[test]
fn state_dicts_load_in_all_forms() {
    for name in [
        "plain",
        "parallel",
        "nested_state_dict",
        "nested_model",
        "parameters_and_buffers",
        "channels_last",
        "one_storage",
        "double",
        "protocol4",
        "malicious_checkpoint",
    ] {
        let mut network = network::<Flex>();
        network.load_pytorch(fixture(&format!("{name}.pth"))).expect(name);
        has_the_logits_of_pytorch(&network, 1e-5);
        assert_eq!(network.classifier.temperature(), 1.0);
    }
    let mut half = network::<Flex>();
    half.load_pytorch(fixture("half.pth")).unwrap();
    has_the_logits_of_pytorch(&half, 5e-3);
}

#[test]
fn state_dicts_load_on_other_backends() {
    let mut network = network::<NdArray>();
    network.load_pytorch(fixture("plain.pth")).unwrap();
    has_the_logits_of_pytorch(&network, 1e-5);
}

/// Weights that were loaded train on: gradients flow to them, and not to the temperature.
#[test]
fn loaded_weights_have_gradients() {
    type B = Autodiff<Flex>;
    let mut network = network::<B>();
    network.load_pytorch(fixture("plain.pth")).unwrap();
    has_the_logits_of_pytorch(&network.valid(), 1e-5);
    let isomax_burn::Head::IsoMaxPlus(head) = &network.classifier else { panic!() };
    assert!(!head.temperature.is_require_grad());
    let gradients = network.forward(images()).sum().backward();
    assert!(network.conv1.weight.val().grad(&gradients).is_some());
    assert!(head.prototypes.val().grad(&gradients).is_some());
    assert!(head.temperature.val().grad(&gradients).is_none());
}

/// Statistics of the last training batch are in the file, and do not come back over loaded ones.
#[test]
fn running_statistics_are_those_of_the_moment() {
    type B = Autodiff<Flex>;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network");
    let trained = network::<B>();
    trained.forward(images());
    trained.save_safetensors(&path).unwrap();
    let mut loaded = network::<Flex>();
    loaded.load_safetensors(&path).unwrap();
    assert!(values(&loaded) == values(&trained.valid()));
    let mean = trained.bn1.running_mean.value_sync().abs().sum().into_scalar();
    assert!(mean > 0.0, "nothing was learned to compare");

    let mut trained = network::<B>();
    trained.forward(images());
    trained.load_pytorch(fixture("plain.pth")).unwrap();
    has_the_logits_of_pytorch(&trained.valid(), 1e-5);
}

#[test]
fn temperatures_are_loaded_and_checked() {
    let mut network = network::<Flex>();
    network.load_pytorch(fixture("temperature.pth")).unwrap();
    assert_eq!(network.classifier.temperature(), 2.5);
    let error = refused(network.load_pytorch(fixture("no_temperature.pth")));
    assert!(error.contains("positive temperature, but classifier.temperature is 0"), "{error}");
    assert_eq!(network.classifier.temperature(), 2.5);
}

/// A parameter that happens to bear the name is like any other.
#[test]
fn other_temperatures_must_be_there() {
    #[derive(Module, Debug)]
    struct Attention<B: Backend> {
        temperature: burn::module::Param<Tensor<B, 1>>,
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty");
    fs::write(&path, safetensors::serialize([("x", empty())], None).unwrap()).unwrap();
    let temperature = Tensor::ones([8], &device());
    let mut module =
        Attention::<Flex> { temperature: burn::module::Param::from_tensor(temperature) };
    let error = refused(store::load_safetensors(&mut module, &path));
    assert!(error.contains("1 missing: temperature; 1 unexpected: x"), "{error}");
}

fn empty() -> safetensors::tensor::TensorView<'static> {
    safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![0], &[]).unwrap()
}

#[test]
fn weights_without_a_temperature_set_it_to_one() {
    let mut network = network::<Flex>();
    network.classifier = network.classifier.clone().with_temperature(3.0);
    network.load_pytorch(fixture("plain.pth")).unwrap();
    assert_eq!(network.classifier.temperature(), 1.0);
}

/// The names in pickles are read and nothing is called: what Python would run is an error, or, in a
/// part that no weights come from, nothing.
#[test]
fn malicious_pickles_execute_nothing() {
    let mut network = network::<Flex>();
    let error = refused(network.load_pytorch(fixture("malicious.pth")));
    assert!(error.contains("'conv1.weight': an object made by posix.system"), "{error}");
    let error = refused(network.load_pytorch(fixture("malicious_root.pth")));
    assert!(error.contains("found an object made by posix.system"), "{error}");
    for folder in [".", "..", "tests", "tests/fixtures"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        assert!(!folder.join("executed-by-a-pickle").exists());
    }
}

#[test]
fn what_is_no_state_dict_is_named() {
    let mut network = network::<Flex>();
    let mut error_of = |name: &str| refused(network.load_pytorch(fixture(name)));
    let error = error_of("list.pth");
    assert!(error.contains("list.pth: expected a state dict, but found a list"), "{error}");
    let error = error_of("whole_module.pth");
    assert!(error.contains("an object made by networks.DenseNetBc"), "{error}");
    let error = error_of("no_tensors.pth");
    assert!(error.contains("a dictionary without tensors {'args':"), "{error}");
    let error = error_of("bare_pickle.pth");
    assert!(error.contains("found a bare pickle, which torch.save did not write"), "{error}");
    let error = error_of("parameters.pth");
    assert!(error.contains("missing: ") && error.contains("running_mean"), "{error}");
    let error = error_of("number_for_a_name.pth");
    assert!(error.contains("a dictionary with a number for a name"), "{error}");
    let error = error_of("integers.pth");
    assert!(error.contains("tensor conv1.weight: it holds I64, no real numbers"), "{error}");
    let error = error_of("no such file.pth");
    assert!(error.contains("no such file.pth: No such file"), "{error}");
    let error = error_of("../fixtures");
    assert!(error.contains("fixtures"), "{error}");
}

/// The format before PyTorch 1.6: pickles and storages one after the other.
#[test]
fn old_files_load_and_are_checked() {
    for name in [
        "legacy.pth",
        "legacy_checkpoint.pth",
        // With `pickle_protocol=1` of torch.save. What it writes with 0 it does not read itself.
        "legacy_protocol_1.pth",
    ] {
        let mut network = network::<Flex>();
        network.load_pytorch(fixture(name)).expect(name);
        has_the_logits_of_pytorch(&network, 1e-5);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short");
    let whole = fs::read(fixture("legacy.pth")).unwrap();
    for part in 1..50 {
        fs::write(&path, &whole[..whole.len() * part / 50]).unwrap();
        let error = refused(network::<Flex>().load_pytorch(&path));
        assert!(error.contains("short: expected a file of torch.save"), "{error}");
    }
}

#[test]
fn truncated_files_change_nothing() {
    let mut network = network::<Flex>();
    let before = values(&network);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short");
    let whole = fs::read(fixture("plain.pth")).unwrap();
    for part in 1..20 {
        fs::write(&path, &whole[..whole.len() * part / 20]).unwrap();
        let error = refused(network.load_pytorch(&path));
        assert!(error.contains("short: expected a file of torch.save"), "{error}");
    }
    assert!(before == values(&network));
}

#[test]
fn weights_of_other_networks_are_listed() {
    let device = device();
    let plain = fixture("plain.pth");

    let mut deeper = DenseNetBcConfig::new(16, 3)
        .with_growth_rate(2)
        .with_head(HeadKind::IsoMaxPlus)
        .init::<Flex>(&device);
    let before = values(&deeper);
    let Err(StoreError::Mismatch { mismatch, .. }) = deeper.load_pytorch(&plain) else { panic!() };
    assert!(mismatch.missing.contains(&"block1.layer.1.conv1.weight".to_owned()));
    assert!(mismatch.unexpected.is_empty());
    assert!(mismatch.shapes.iter().any(|s| {
        s.name == "trans1.conv1.weight" && s.found == [3, 6, 1, 1] && s.expected == [4, 8, 1, 1]
    }));
    assert!(before == values(&deeper));

    let mut resnet = CifarResNetConfig::new(8, 3).init::<Flex>(&device);
    let error = refused(resnet.load_pytorch(&plain));
    assert!(error.contains("plain.pth: the tensors do not fit the network"), "{error}");
    assert!(error.contains("unexpected: block1.layer.0"), "{error}");

    let mut isomax = config().with_head(HeadKind::IsoMax).init::<Flex>(&device);
    let error = refused(isomax.load_pytorch(&plain));
    assert!(error.ends_with("1 unexpected: classifier.distance_scale"), "{error}");

    let mut softmax = config().with_head(HeadKind::SoftMax).init::<Flex>(&device);
    let error = refused(softmax.load_pytorch(&plain));
    assert!(error.contains("2 missing: classifier.weights, classifier.bias"), "{error}");

    let mut classes = DenseNetBcConfig { num_classes: 7, ..config() }.init::<Flex>(&device);
    let error = refused(classes.load_pytorch(&plain));
    assert!(
        error.ends_with("1 of another shape: classifier.prototypes [3, 4] (expected [7, 4])"),
        "{error}"
    );

    let mut gray = config().with_in_channels(1).init::<Flex>(&device);
    let error = refused(gray.load_pytorch(&plain));
    assert!(error.contains("conv1.weight [4, 3, 3, 3] (expected [4, 1, 3, 3])"), "{error}");
}

#[test]
fn safetensors_come_back_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.safetensors");
    for kind in HeadKind::ALL {
        let config = ModelConfig::new(Architecture::CifarResNet { depth: 8 }, 4).with_head(kind);
        let first = config.init::<Flex>(&device());
        let mut second = config.init::<Flex>(&device());
        first.save_safetensors(&path).unwrap();
        assert!(values(&first) != values(&second));
        second.load_safetensors(&path).unwrap();
        assert!(values(&first) == values(&second));
    }
}

#[test]
fn calibrated_temperatures_survive() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = network::<Flex>();
    first.classifier = first.classifier.clone().with_temperature(1.7);
    let path = folder.path().join("network");
    first.save_safetensors(&path).unwrap();
    let mut second = network::<Flex>();
    second.load_safetensors(&path).unwrap();
    assert_eq!(second.classifier.temperature(), 1.7);
    store::save_record(&first, &path).unwrap();
    let mut third = network::<Flex>();
    store::load_record(&mut third, &path).unwrap();
    assert_eq!(third.classifier.temperature(), 1.7);
}

#[test]
fn safetensors_hold_the_names_of_pytorch() {
    let bytes = values(&network::<Flex>());
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let names = tensors.names();
    for name in [
        "block2.layer.0.bn1.running_var",
        "block1.layer.0.conv2.weight",
        "trans1.conv1.weight",
        "classifier.prototypes",
        "classifier.distance_scale",
        "classifier.temperature",
    ] {
        assert!(names.contains(&name), "{name} not in {names:?}");
    }
}

#[test]
fn damaged_safetensors_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    let mut network = network::<Flex>();
    let bytes = values(&network);
    let large_header = [&(1_u64 << 39).to_le_bytes(), &bytes[8..]].concat();
    for damaged in [&bytes[..bytes.len() - 1], &bytes[..100], &bytes[..9], &large_header] {
        fs::write(&path, damaged).unwrap();
        let error = refused(network.load_safetensors(&path));
        assert!(error.contains("damaged: expected a safetensors file"), "{error}");
    }
    let huge_header = [&u64::MAX.to_le_bytes(), &bytes[8..]].concat();
    for other in [&bytes[..3], b"", &huge_header] {
        fs::write(&path, other).unwrap();
        let error = refused(network.load_safetensors(&path));
        assert!(error.contains("damaged: expected weights of PyTorch or safetensors"), "{error}");
    }
}

#[test]
fn files_are_written_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(network::<Flex>().save_safetensors(folder.path().join("no/such/folder")));
    assert!(error.contains("no/such/folder: "), "{error}");
    let error = refused(store::save_record(&network::<Flex>(), folder.path().join("no/folder")));
    assert!(error.contains("no/folder: "), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A network that is not of this crate, with a layer whose layout differs from PyTorch's.
#[derive(Module, Debug)]
struct Mlp<B: Backend> {
    hidden: nn::Linear<B>,
    head: IsoMaxPlusHead<B>,
}

#[test]
fn modules_of_users_load_in_the_layout_of_pytorch() {
    let new = || Mlp::<Flex> {
        hidden: nn::LinearConfig::new(5, 3).init(&device()),
        head: isomax_burn::IsoMaxPlusHeadConfig::new(3, 2).init(&device()),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp");
    let (first, mut second) = (new(), new());
    store::save_safetensors(&first, &path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("hidden.weight").unwrap().shape(), [3, 5]);
    store::load_safetensors(&mut second, &path).unwrap();
    assert!(values(&first) == values(&second));
    let inputs = Tensor::<Flex, 2>::random([2, 5], Distribution::Default, &device());
    let outputs = [&first, &second].map(|net| net.hidden.forward(inputs.clone()).into_data());
    assert_eq!(outputs[0], outputs[1]);
}

#[test]
fn sizes_stay_as_published_after_loading() {
    let mut network = network::<burn::backend::Autodiff<Flex>>();
    let before = num_trainable_params(&network);
    network.load_pytorch(fixture("plain.pth")).unwrap();
    assert_eq!(num_trainable_params(&network), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any damage to a file is an error or harmless, never a panic.
    #[test]
    fn damage_never_panics(
        name in prop::sample::select(vec!["plain.pth", "channels_last.pth", "legacy.pth"]),
        place in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let mut bytes = fs::read(fixture(name)).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged");
        fs::write(&path, bytes).unwrap();
        let _ = network::<Flex>().load_pytorch(&path);
    }
}
