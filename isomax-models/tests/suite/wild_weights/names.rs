//! Names of tensors and of what holds them.

use std::fs;
use std::path::Path;

use burn::backend::Flex;
use isomax_models::store;
use isomax_models::{BlockKind, ResNetConfig};

use super::torch_save::{
    Code, Named, REBUILD, TorchFile, call, dict, number, object, renamed, safetensors_file,
    tensors_of, text, torch_file,
};
use super::{checkpoint, load, loads_as, softmax};
use crate::support::{device, network, refused, values};

#[test]
fn prefixes_are_left_out() {
    let original = softmax();
    let tensors = tensors_of(&original);
    for prefix in [
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "model.",
        "net.",
        "network.",
        "backbone.",
        "model.module._orig_mod.",
    ] {
        let prefixed = renamed(&tensors, |name| format!("{prefix}{name}"));
        loads_as(&original, &torch_file(&prefixed));
        loads_as(&original, &safetensors_file(&prefixed));
        loads_as(&original, &checkpoint(&[("state_dict", &prefixed)]));
    }
    let inside = renamed(&tensors, |name| name.replace("layer.0.", "layer.0._orig_mod."));
    loads_as(&original, &torch_file(&inside));
}

#[test]
fn tensors_beside_a_network_are_listed() {
    let tensors = tensors_of(&softmax());
    let beside = |name: &str| Named { name: name.to_owned(), ..tensors[0].clone() };
    let mut file = renamed(&tensors, |name| format!("model.{name}"));
    file.extend([beside("criterion.weight"), beside("model.val_accuracy.total")]);
    for bytes in [torch_file(&file), safetensors_file(&file)] {
        let error = refused(load(&bytes));
        let expected = "2 unexpected: criterion.weight, model.val_accuracy.total";
        assert!(error.ends_with(expected), "{error}");
    }
    let mut twice = tensors.clone();
    twice.push(beside(&format!("_orig_mod.{}", tensors[0].name)));
    let error = refused(load(&torch_file(&twice)));
    assert!(error.contains("are names of the same tensor"), "{error}");
}

#[test]
fn state_dicts_are_found_in_checkpoints() {
    let (original, other) = (softmax(), tensors_of(&softmax()));
    let tensors = tensors_of(&original);
    for key in [
        "state_dict",
        "model",
        "model_state_dict",
        "net",
        "network",
        "state_dict_ema",
        "ema_state_dict",
        "model_ema",
        "ema",
        "weights",
        "params",
    ] {
        loads_as(&original, &checkpoint(&[(key, &tensors)]));
    }
    // Averaged weights are those to evaluate with.
    for key in ["state_dict_ema", "model_ema", "ema"] {
        loads_as(&original, &checkpoint(&[("state_dict", &other), (key, &tensors)]));
    }
    let mut file = TorchFile::default();
    let inner = file.state_dict(&tensors);
    let root = dict(&[("model", dict(&[("state_dict", inner), ("name", text("densenet"))]))]);
    loads_as(&original, &file.write(&root));

    let is_parameter = |tensor: &&Named| !tensor.name.contains("running");
    let parameters: Vec<Named> = tensors.iter().filter(is_parameter).cloned().collect();
    let error = refused(load(&checkpoint(&[("ema", &parameters), ("model", &tensors)])));
    assert!(error.contains("the tensors under 'ema' do not fit the network"), "{error}");
}

#[test]
fn counters_are_ignored() {
    let original = softmax();
    let mut tensors = renamed(&tensors_of(&original), |name| format!("module.{name}"));
    let mut file = TorchFile::default();
    let counter = Named { name: "n_averaged".to_owned(), shape: vec![], bytes: vec![3; 8] };
    let code = call(REBUILD, &file.arguments(&counter, "torch.LongStorage", 1));
    let batches = "module.bn1.num_batches_tracked".to_owned();
    tensors.extend([Named { name: batches, ..counter.clone() }, counter]);
    let root = file.with_value(&tensors, "n_averaged", code);
    loads_as(&original, &file.write(&root));
}

/// Lightning writes them beside the weights: none is made, and none is in the way.
#[test]
fn objects_of_any_class_lie_beside() {
    let original = softmax();
    let tensors = renamed(&tensors_of(&original), |name| format!("model.{name}"));
    let mut file = TorchFile::default();
    let settings: Code = dict(&[("lr", b"G\x3f\xb9\x99\x99\x99\x99\x99\x9a".to_vec())]);
    let root = dict(&[
        ("epoch", number(3)),
        ("pytorch-lightning_version", text("2.5.0")),
        ("state_dict", file.state_dict(&tensors)),
        ("hyper_parameters", object("omegaconf.dictconfig.DictConfig", settings)),
        ("callbacks", call("posix.system", &[text("touch executed-by-a-pickle")])),
        ("classes", b"\x8f(K\x01K\x02\x90".to_vec()),
        ("seed", b"\x8a\x09\x01\x02\x03\x04\x05\x06\x07\x08\x09".to_vec()),
        ("hparams_name", b"N".to_vec()),
    ]);
    loads_as(&original, &file.write(&root));
    assert!(!Path::new("executed-by-a-pickle").exists());
}

#[test]
fn last_layers_have_many_names() {
    let original = softmax();
    let tensors = tensors_of(&original);
    let named = |layer: &str| {
        renamed(&tensors, |name| match name {
            "classifier.weights" => format!("module.{layer}.weight"),
            "classifier.bias" => format!("module.{layer}.bias"),
            other => format!("module.{other}"),
        })
    };
    for layer in ["linear", "fc", "classifier", "head", "last_linear", "output", "fc.1"] {
        loads_as(&original, &torch_file(&named(layer)));
        loads_as(&original, &safetensors_file(&named(layer)));
    }
    let mut without_bias = named("fc");
    without_bias.retain(|tensor| !tensor.name.ends_with("fc.bias"));
    let error = refused(load(&torch_file(&without_bias)));
    assert!(error.ends_with("1 missing: classifier.bias"), "{error}");
    let mut two = named("fc");
    two.extend(named("linear").into_iter().filter(|tensor| tensor.name.contains("linear")));
    let error = refused(load(&torch_file(&two)));
    assert!(error.ends_with("2 unexpected: module.linear.bias, module.linear.weight"), "{error}");

    // The other heads are no affine layers.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fc.pth");
    fs::write(&path, torch_file(&named("fc"))).unwrap();
    let error = refused(store::load_weights(&mut network::<Flex>(), &path));
    assert!(error.ends_with("2 unexpected: module.fc.bias, module.fc.weight"), "{error}");
}

/// The names of torchvision: `fc` and `downsample`.
#[test]
fn residual_networks_of_others_load() {
    for block in [BlockKind::Basic, BlockKind::Bottleneck] {
        let new = || ResNetConfig::new([1; 4], 3).with_block(block).init::<Flex>(&device());
        let (original, mut loaded) = (new(), new());
        let tensors = renamed(&tensors_of(&original), |name| {
            let name = name.replace("shortcut", "downsample").replace("classifier", "fc");
            name.replace("weights", "weight")
        });
        let last = if block == BlockKind::Basic { "bn2" } else { "bn3" };
        for name in [format!("{last}.weight"), "downsample.1.running_var".to_owned()] {
            let name = format!("layer2.0.{name}");
            assert!(tensors.iter().any(|tensor| tensor.name == name), "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resnet");
        fs::write(&path, torch_file(&tensors)).unwrap();
        store::load_backbone(&mut loaded, &path).unwrap();
        assert!(values(&loaded) == values(&original));
    }
}
