//! Tensors that are more than a storage and a shape, and values that no network has.

use burn::backend::Flex;
use isomax_models::DenseNetBc;

use super::torch_save::{
    Code, Named, REBUILD, TorchFile, boolean, call, dict, global, number, safetensors_file,
    tensors_of, text, torch_file, tuple,
};
use super::{load, loads_as, softmax};
use crate::support::refused;

/// The tensor that the tests change.
const NAME: &str = "conv1.weight";

/// The tensor with all signs changed.
fn negated(tensor: &Named) -> Named {
    let mut bytes = tensor.bytes.clone();
    bytes.chunks_exact_mut(4).for_each(|value| value[3] ^= 0x80);
    Named { bytes, ..tensor.clone() }
}

/// A network, and a file of it in which other code than usual makes one tensor, out of a tensor with the
/// other sign.
fn with_code(code: impl Fn(&mut TorchFile, &Named) -> Code) -> (DenseNetBc<Flex>, Vec<u8>) {
    let original = softmax();
    let tensors = tensors_of(&original);
    let mut file = TorchFile::default();
    let tensor = tensors.iter().find(|tensor| tensor.name == NAME).unwrap();
    let code = code(&mut file, &negated(tensor));
    let root = file.with_value(&tensors, NAME, code);
    (original, file.write(&root))
}

fn negative() -> Code {
    dict(&[("conj", boolean(true)), ("neg", boolean(true))])
}

#[test]
fn views_that_change_the_sign_are_followed() {
    let wrapped = |function: &'static str| {
        with_code(move |file, tensor| {
            let view = file.view(tensor, negative());
            call(function, &[view, boolean(true), dict(&[]), dict(&[("tag", number(1))])])
        })
    };
    let other_sign = |metadata: Code| {
        with_code(move |file, tensor| file.view(&negated(tensor), metadata.clone()))
    };
    for (original, bytes) in [
        with_code(|file, tensor| file.view(tensor, negative())),
        wrapped("torch._utils._rebuild_parameter"),
        wrapped("torch._utils._rebuild_parameter_with_state"),
        wrapped("torch._utils._set_obj_state"),
        with_code(|file, tensor| {
            let given = tuple(&file.view_arguments(tensor, negative()));
            let class = global("torch.nn.parameter.Parameter");
            let arguments = [global(REBUILD), class, given, dict(&[])];
            call("torch._tensor._rebuild_from_type_v2", &arguments)
        }),
        other_sign(b"N".to_vec()),
        other_sign(dict(&[])),
        other_sign(dict(&[("conj", boolean(true))])),
        other_sign(dict(&[("neg", boolean(false))])),
    ] {
        loads_as(&original, &bytes);
    }
}

#[test]
fn other_tensors_are_named() {
    let made_by = |function: &'static str| {
        with_code(move |file, tensor| {
            call(function, &file.arguments(tensor, "torch.FloatStorage", 1))
        })
    };
    let view = |metadata: Code| with_code(move |file, tensor| file.view(tensor, metadata.clone()));
    for ((_, bytes), expected) in [
        (made_by("torch._utils._rebuild_qtensor"), "a quantised tensor"),
        (made_by("torch._utils._rebuild_sparse_tensor"), "a sparse tensor"),
        (made_by("torch._utils._rebuild_meta_tensor_no_storage"), "a tensor of the device meta"),
        (made_by("torch._utils._rebuild_tensor_v3"), "a tensor of a type such as float8"),
        (made_by("torch._utils._rebuild_something"), "a tensor of a kind that is unknown"),
        (view(dict(&[("zero", boolean(true))])), "a tensor with the metadata 'zero'"),
        (view(text("neg")), "a tensor with metadata that cannot be read"),
        (
            with_code(|file, tensor| {
                let given = tuple(&file.arguments(tensor, "torch.FloatStorage", 1));
                let arguments = [global(REBUILD), global("my.Tensor"), given, dict(&[])];
                call("torch._tensor._rebuild_from_type_v2", &arguments)
            }),
            "a tensor of the class my.Tensor",
        ),
        (
            with_code(|file, tensor| {
                let state = tuple(&[boolean(true), number(1)]);
                [file.tensor(tensor), state, b"b".to_vec()].concat()
            }),
            "a tensor that is changed after it is made",
        ),
        (
            with_code(|file, tensor| {
                call(REBUILD, &file.arguments(tensor, "torch.ComplexFloatStorage", 1))
            }),
            "a tensor of complex numbers",
        ),
    ] {
        let error = refused(load(&bytes));
        assert!(error.contains(&format!("found '{NAME}': {expected}")), "{error}");
    }
}

#[test]
fn values_that_are_no_numbers_are_named() {
    let original = tensors_of(&softmax());
    for (name, value, expected) in [
        (NAME, f32::NAN, "finite weights"),
        ("classifier.bias", f32::INFINITY, "finite weights"),
        ("bn1.running_mean", f32::NEG_INFINITY, "finite weights"),
        ("bn1.running_var", -0.5, "variances that are finite and not negative"),
    ] {
        let mut tensors = original.clone();
        let tensor = tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
        tensor.bytes[4..8].copy_from_slice(&value.to_le_bytes());
        for bytes in [torch_file(&tensors), safetensors_file(&tensors)] {
            let error = refused(load(&bytes));
            assert!(error.contains(&format!("expected {expected}, but {name}[")), "{error}");
            assert!(error.ends_with(&format!("] is {value}")), "{error}");
        }
    }
}
