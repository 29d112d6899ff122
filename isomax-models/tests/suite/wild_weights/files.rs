//! Files under any name, packed again, and such that are no weights.

use std::fs::{self, File};
use std::io::Read;

use burn::backend::Flex;
use isomax_models::store::{self, WeightFormat};
use proptest::prelude::*;
use zip::{CompressionMethod, ZipArchive};

use super::torch_save::{
    REBUILD, TorchFile, boolean, call, dict, renamed, safetensors_file, tensors_of, torch_file, zip,
};
use super::{checkpoint, fixture, load, loads_as, softmax};
use crate::support::{network, refused, values};

#[test]
fn names_of_files_do_not_count() {
    let original = softmax();
    let tensors = tensors_of(&original);
    let folder = tempfile::tempdir().unwrap();
    for name in
        ["w.pth.tar", "w.pt.tar", "w.th", "w.ckpt", "w.BIN", "w.t7", "w", "w.safetensors", "w.mpk"]
    {
        let path = folder.path().join(name);
        for (bytes, format) in [
            (torch_file(&tensors), WeightFormat::PyTorch),
            (safetensors_file(&tensors), WeightFormat::Safetensors),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(WeightFormat::detect(&path).unwrap(), format);
            let [mut by_content, mut by_pytorch, mut by_safetensors] = [(); 3].map(|()| softmax());
            store::load_weights(&mut by_content, &path).unwrap();
            store::load_pytorch(&mut by_pytorch, &path).unwrap();
            store::load_safetensors(&mut by_safetensors, &path).unwrap();
            for network in [by_content, by_pytorch, by_safetensors] {
                assert!(values(&network) == values(&original));
            }
        }
    }
    let legacy = WeightFormat::detect(fixture("legacy.pth")).unwrap();
    assert_eq!(legacy, WeightFormat::PyTorch);
    let path = folder.path().join("record.pth");
    store::save_record(&original, &path).unwrap();
    assert_eq!(WeightFormat::detect(&path).unwrap(), WeightFormat::Record);
    let error = refused(store::load_weights(&mut softmax(), &path));
    assert!(error.contains("found a record of Burn; load it with store::load_record"), "{error}");
}

#[test]
fn what_is_no_weights_is_named() {
    let archive = |names: &[&str]| {
        let entries: Vec<_> = names.iter().map(|name| ((*name).to_owned(), vec![0; 8])).collect();
        zip(&entries, CompressionMethod::Stored)
    };
    let script = archive(&["m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"]);
    let (arrays, inside) = (archive(&["a.npy"]), archive(&["resnet.pth"]));
    for (bytes, expected) in [
        (b"".as_slice(), "found an empty file; fetch the file again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 330001\n",
            "found a Git LFS pointer, which stands for the weights; run `git lfs pull`",
        ),
        (b"<!DOCTYPE html><html><title>Sign in</title>", "found a web page (HTML)"),
        (b"<?xml version=\"1.0\"?><Error>AccessDenied</Error>", "found XML"),
        (b"{\"message\": \"Not Found\"}", "found JSON"),
        (b"\x89HDF\r\n\x1a\n\0\0\0", "found an HDF5 file"),
        (b"\x08\x07\x12\x07pytorch\x1a\x05", "found a network in ONNX"),
        (b"\x1f\x8b\x08\0\0", "found a file compressed by gzip; unpack it"),
        (&script, "found a TorchScript archive of torch.jit.save; save its weights in Python"),
        (&arrays, "found arrays of NumPy (.npz)"),
        (&inside, "found a ZIP archive with resnet.pth in it; unpack it"),
    ] {
        let error = refused(load(bytes));
        let start = "weights.pth: expected weights of PyTorch or safetensors, but ";
        assert!(error.contains(&format!("{start}{expected}")), "{error}");
    }
}

#[test]
fn archives_may_be_packed_again() {
    let original = softmax();
    let mut file = TorchFile::default();
    let root = file.state_dict(&tensors_of(&original));
    for (folder, slash) in
        [("archive/", "/"), ("other name/", "/"), ("./x/", "/"), ("", "/"), ("a\\", "\\")]
    {
        let name = |name: &str| format!("{folder}{}", name.replace('/', slash));
        let mut entries = file.entries(&root, name);
        entries.push(("__MACOSX/archive/._data.pkl".to_owned(), vec![5; 10]));
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            loads_as(&original, &zip(&entries, method));
        }
    }
}

/// A file of PyTorch itself, unpacked and zipped.
#[test]
fn files_of_pytorch_may_be_packed_again() {
    let mut archive = ZipArchive::new(File::open(fixture("plain.pth")).unwrap()).unwrap();
    let mut entries = Vec::new();
    for place in 0..archive.len() {
        let mut entry = archive.by_index(place).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        entries.push((entry.name().replace("plain", "archive"), bytes));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("packed again");
    fs::write(&path, zip(&entries, CompressionMethod::Deflated)).unwrap();
    let (mut plain, mut packed) = (network::<Flex>(), network::<Flex>());
    store::load_backbone(&mut plain, fixture("plain.pth")).unwrap();
    store::load_backbone(&mut packed, &path).unwrap();
    assert!(values(&plain) == values(&packed));
}

#[test]
fn compressed_files_stay_small() {
    let tensors = tensors_of(&softmax());
    let mut file = TorchFile::default();
    let root = file.state_dict(&tensors);
    file.storages[0] = vec![0; 1 << 20];
    let error = refused(load(&file.write_deflated(&root)));
    assert!(error.contains("archive/data/0 is compressed, and has more than"), "{error}");
    // As it is, the file is as large.
    assert!(load(&file.write(&root)).is_ok());

    // What the pickle claims does not count where the tensors need far less.
    let mut file = TorchFile::default();
    let claim = file.arguments(&tensors[0], "torch.FloatStorage", 1 << 30);
    let root = file.with_value(&tensors, &tensors[0].name, call(REBUILD, &claim));
    file.storages[0] = vec![0; 65 << 20];
    let error = refused(load(&file.write_deflated(&root)));
    assert!(error.contains("has more than 67108864 bytes"), "{error}");

    let pickle = b"N0".repeat(9 << 20);
    let error = refused(load(&TorchFile::default().write_deflated(&pickle)));
    assert!(error.contains("archive/data.pkl is compressed, and has more than"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any damage to a file is an error or harmless, never a panic.
    #[test]
    fn damage_never_panics(
        kind in 0..4_usize,
        place in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let tensors = renamed(&tensors_of(&softmax()), |name| format!("module.{name}"));
        let mut file = TorchFile::default();
        let view = file.view(&tensors[0], dict(&[("neg", boolean(true))]));
        let root = file.with_value(&tensors, &tensors[0].name, view);
        let mut bytes = match kind {
            0 => file.write_deflated(&root),
            1 => file.write(&root),
            2 => checkpoint(&[("state_dict_ema", &tensors)]),
            _ => safetensors_file(&tensors),
        };
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        let _ = load(&bytes);
    }

    #[test]
    fn any_bytes_are_refused(
        start in prop::sample::select(vec![
            b"".as_slice(),
            b"PK\x03\x04",
            b"PK\x05\x06",
            b"\x80\x02",
            b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.",
            b"\x20\0\0\0\0\0\0\0{",
            b"\x83\xa8metadata",
            b"<",
            b"{",
            b"\x08\x07",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let error = refused(load(&[start, &rest].concat()));
        prop_assert!(error.contains("weights.pth"), "{}", error);
    }
}
