//! Files as `torch.save` writes them, made here: those that training programs write, and those that no
//! program should.

use std::io::{Cursor, Write};

use burn::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::support;

/// A tensor of 32-bit numbers.
#[derive(Debug, Clone)]
pub struct Named {
    pub name: String,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// The tensors of a network by their names, without the temperature, which those of PyTorch have not.
pub fn tensors_of<B: Backend, M: Module<B>>(module: &M) -> Vec<Named> {
    let bytes = support::values(module);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let named = |(name, view): (&str, TensorView<'_>)| Named {
        name: name.to_owned(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    let mut named: Vec<Named> = tensors.iter().map(named).collect();
    named.retain(|tensor| !tensor.name.ends_with("temperature"));
    named.sort_by(|a, b| a.name.cmp(&b.name));
    named
}

/// The same tensors by other names.
pub fn renamed(tensors: &[Named], name: impl Fn(&str) -> String) -> Vec<Named> {
    tensors.iter().map(|tensor| Named { name: name(&tensor.name), ..tensor.clone() }).collect()
}

/// A part of a pickle.
pub type Code = Vec<u8>;

pub fn text(value: &str) -> Code {
    let length = u32::try_from(value.len()).unwrap().to_le_bytes();
    [b"X".as_slice(), &length, value.as_bytes()].concat()
}

pub fn number(value: usize) -> Code {
    let value = i32::try_from(value).unwrap().to_le_bytes();
    [b"J".as_slice(), &value].concat()
}

pub fn boolean(value: bool) -> Code {
    vec![if value { 0x88 } else { 0x89 }]
}

pub fn global(name: &str) -> Code {
    let (module, name) = name.rsplit_once('.').unwrap();
    format!("c{module}\n{name}\n").into_bytes()
}

pub fn tuple(items: &[Code]) -> Code {
    [b"(".to_vec(), items.concat(), b"t".to_vec()].concat()
}

pub fn call(function: &str, arguments: &[Code]) -> Code {
    [global(function), tuple(arguments), b"R".to_vec()].concat()
}

pub fn dict(entries: &[(&str, Code)]) -> Code {
    let entries: Vec<Code> =
        entries.iter().map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [b"}(".to_vec(), entries.concat(), b"u".to_vec()].concat()
}

/// An object with a state, as pickles hold those of any class.
pub fn object(class: &str, state: Code) -> Code {
    [global(class), b")\x81".to_vec(), state, b"b".to_vec()].concat()
}

/// The function that makes nearly all tensors.
pub const REBUILD: &str = "torch._utils._rebuild_tensor_v2";

/// A file in the making.
#[derive(Debug, Default)]
pub struct TorchFile {
    /// The values of the tensors so far.
    pub storages: Vec<Vec<u8>>,
}

impl TorchFile {
    /// The arguments of [`REBUILD`] for a tensor, up to its hooks; `len` is what the pickle says of its
    /// storage.
    pub fn arguments(&mut self, tensor: &Named, kind: &str, len: usize) -> Vec<Code> {
        let storage = self.storages.len().to_string();
        self.storages.push(tensor.bytes.clone());
        let id = [text("storage"), global(kind), text(&storage), text("cpu"), number(len)];
        let sizes = |sizes: Vec<usize>| tuple(&sizes.into_iter().map(number).collect::<Vec<_>>());
        let stride = |i: usize| tensor.shape[i + 1..].iter().product::<usize>();
        vec![
            [tuple(&id), b"Q".to_vec()].concat(),
            number(0),
            sizes(tensor.shape.clone()),
            sizes((0..tensor.shape.len()).map(stride).collect()),
            boolean(false),
            call("collections.OrderedDict", &[]),
        ]
    }

    fn plain_arguments(&mut self, tensor: &Named) -> Vec<Code> {
        self.arguments(tensor, "torch.FloatStorage", tensor.bytes.len() / 4)
    }

    pub fn tensor(&mut self, tensor: &Named) -> Code {
        call(REBUILD, &self.plain_arguments(tensor))
    }

    /// The arguments for a view of which more is said, such as that it has the other sign.
    pub fn view_arguments(&mut self, tensor: &Named, metadata: Code) -> Vec<Code> {
        let mut arguments = self.plain_arguments(tensor);
        arguments.push(metadata);
        arguments
    }

    pub fn view(&mut self, tensor: &Named, metadata: Code) -> Code {
        call(REBUILD, &self.view_arguments(tensor, metadata))
    }

    pub fn state_dict(&mut self, tensors: &[Named]) -> Code {
        let entries: Vec<(&str, Code)> =
            tensors.iter().map(|tensor| (tensor.name.as_str(), self.tensor(tensor))).collect();
        dict(&entries)
    }

    /// A state dict with another value for one of the tensors.
    pub fn with_value(&mut self, tensors: &[Named], name: &str, value: Code) -> Code {
        let mut entries = Vec::new();
        for tensor in tensors {
            let code = if tensor.name == name { value.clone() } else { self.tensor(tensor) };
            entries.push((tensor.name.as_str(), code));
        }
        dict(&entries)
    }

    /// The file, as PyTorch writes it.
    pub fn write(&self, root: &Code) -> Vec<u8> {
        zip(&self.entries(root, |name| format!("archive/{name}")), CompressionMethod::Stored)
    }

    /// The file, compressed.
    pub fn write_deflated(&self, root: &Code) -> Vec<u8> {
        zip(&self.entries(root, |name| format!("archive/{name}")), CompressionMethod::Deflated)
    }

    /// What the file consists of, by other names.
    pub fn entries(&self, root: &Code, name: impl Fn(&str) -> String) -> Vec<(String, Vec<u8>)> {
        let pickle = [b"\x80\x02".as_slice(), root.as_slice(), b"."].concat();
        let mut entries = vec![
            (name("data.pkl"), pickle),
            (name("byteorder"), b"little".to_vec()),
            (name("version"), b"3\n".to_vec()),
        ];
        for (i, storage) in self.storages.iter().enumerate() {
            entries.push((name(&format!("data/{i}")), storage.clone()));
        }
        entries
    }
}

/// A file of a state dict and nothing else.
pub fn torch_file(tensors: &[Named]) -> Vec<u8> {
    let mut file = TorchFile::default();
    let root = file.state_dict(tensors);
    file.write(&root)
}

/// A ZIP archive.
pub fn zip(entries: &[(String, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in entries {
        writer.start_file(name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn view(tensor: &Named) -> (&str, TensorView<'_>) {
    let Named { name, shape, bytes } = tensor;
    (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
}

/// A safetensors file.
pub fn safetensors_file(tensors: &[Named]) -> Vec<u8> {
    safetensors::serialize(tensors.iter().map(view), None).unwrap()
}
