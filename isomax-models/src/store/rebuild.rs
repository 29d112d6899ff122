//! The calls by which PyTorch makes tensors again, read as descriptions.

use burn::tensor::DType;

use super::description::{Description, Storage};
use super::pickle::{Node, Pickle};

/// A function of PyTorch that makes a tensor.
enum Rebuild {
    /// Out of a storage, an offset, a shape, strides and what else is known of it.
    Storage,
    /// Out of a tensor, which is the first argument: the others say nothing of its values.
    Tensor,
    /// Out of another such function, a class and arguments.
    Typed,
    /// Out of something that is no plain tensor, in the words of an error message.
    Other(&'static str),
}

/// How many of these functions may be wrapped into each other; PyTorch wraps three.
const MAX_WRAPPED: usize = 8;

/// Classes whose tensors have the values of their storage.
const PLAIN_CLASSES: [&str; 6] = [
    "torch.Tensor",
    "torch._tensor.Tensor",
    "torch.nn.Parameter",
    "torch.nn.parameter.Parameter",
    "torch.nn.Buffer",
    "torch.nn.parameter.Buffer",
];

/// Longest name of a storage or of its type, which are short; the same long one may stand in many
/// tensors.
const MAX_NAME: usize = 255;

/// Most entries that say something of a tensor; PyTorch writes two.
const MAX_METADATA: usize = 16;

impl Rebuild {
    fn of(function: &str) -> Option<Self> {
        let (module, name) = function.rsplit_once('.')?;
        if !["torch._utils", "torch._tensor", "torch.tensor"].contains(&module) {
            return None;
        }
        Some(match name {
            "_rebuild_tensor" | "_rebuild_tensor_v2" => Self::Storage,
            "_rebuild_parameter" | "_rebuild_parameter_with_state" | "_set_obj_state" => {
                Self::Tensor
            }
            "_rebuild_from_type" | "_rebuild_from_type_v2" => Self::Typed,
            "_rebuild_tensor_v3" => {
                Self::Other("a tensor of a type such as float8; convert the network with .float()")
            }
            "_rebuild_qtensor" => {
                Self::Other("a quantised tensor; save the network as it was before, in numbers")
            }
            "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor" => {
                Self::Other("a sparse tensor; convert it with .to_dense()")
            }
            "_rebuild_nested_tensor" => Self::Other("a nested tensor"),
            "_rebuild_meta_tensor_no_storage" => {
                Self::Other("a tensor of the device meta, which has no values")
            }
            "_rebuild_wrapper_subclass" => {
                Self::Other("a tensor of a class without values of its own; convert the network")
            }
            "_rebuild_xla_tensor"
            | "_rebuild_device_tensor_from_numpy"
            | "_rebuild_device_tensor_from_cpu_tensor" => {
                Self::Other("a tensor of a special device; move the network with .cpu()")
            }
            _ if name.starts_with("_rebuild_") => Self::Other("a tensor of a kind that is unknown"),
            _ => return None,
        })
    }
}

/// Whether a value is a tensor, of any kind.
pub(super) fn is_tensor(pickle: &Pickle, node: &Node) -> bool {
    pickle.call(node).is_some_and(|(function, _)| Rebuild::of(function).is_some())
}

/// Describes a tensor, or a parameter or another wrapper around one.
///
/// # Errors
///
/// What the value is in place of a tensor whose values can be read, in words.
pub(super) fn describe_tensor(pickle: &Pickle, node: &Node) -> Result<Description, String> {
    let (mut function, mut arguments) = call(pickle, node)?;
    for _ in 0..MAX_WRAPPED {
        match Rebuild::of(function) {
            Some(Rebuild::Storage) => return describe_plain(pickle, &arguments),
            Some(Rebuild::Tensor) => {
                let inner = arguments.first().ok_or("a parameter without a tensor")?;
                (function, arguments) = call(pickle, inner)?;
            }
            Some(Rebuild::Typed) => {
                let [Node::Global(inner), Node::Global(class), given, ..] = arguments.as_slice()
                else {
                    return Err("a tensor of a class that is not named".to_owned());
                };
                if !PLAIN_CLASSES.contains(&class.as_str()) {
                    return Err(format!(
                        "a tensor of the class {class}, which may hide its values"
                    ));
                }
                function = inner;
                arguments = pickle.items(given).ok_or("a tensor without arguments")?;
            }
            Some(Rebuild::Other(kind)) => return Err(format!("{kind} ({function})")),
            None => return Err(format!("an object made by {function}")),
        }
    }
    Err("a tensor in too many wrappers".to_owned())
}

/// The call that makes an object, as long as nothing was done to the object afterwards.
fn call<'a>(pickle: &'a Pickle, node: &'a Node) -> Result<(&'a str, Vec<&'a Node>), String> {
    if is_tensor(pickle, node) && matches!(node, Node::Call { state: Some(_), .. }) {
        return Err("a tensor that is changed after it is made, as before PyTorch 0.4".to_owned());
    }
    pickle.call(node).ok_or_else(|| pickle.describe(node))
}

/// The arguments of `_rebuild_tensor_v2`, of which older files have the first four or six.
fn describe_plain(pickle: &Pickle, arguments: &[&Node]) -> Result<Description, String> {
    let [storage, offset, shape, strides, others @ ..] = arguments else {
        return Err("a tensor without shape and strides".to_owned());
    };
    // Whether it has a gradient, and hooks, say nothing of its values.
    let negated = match others {
        [] | [_] | [_, _] => false,
        [_, _, metadata] => is_negated(pickle, metadata)?,
        _ => return Err("a tensor that more is said of than is known".to_owned()),
    };
    let storage = describe_storage(pickle, storage)?;
    if negated && !storage.dtype.is_float() {
        return Err("a negated view of numbers without a fraction".to_owned());
    }
    let sizes =
        |node| -> Option<Vec<usize>> { pickle.items(node)?.into_iter().map(to_size).collect() };
    match (to_size(offset), sizes(shape), sizes(strides)) {
        (Some(offset), Some(shape), Some(strides)) if shape.len() == strides.len() => {
            Ok(Description { storage, offset, shape, strides, negated })
        }
        _ => Err("a tensor whose shape and strides are no lists of sizes".to_owned()),
    }
}

/// Whether a tensor is a view that changes the sign of what its storage holds, `torch.Tensor.is_neg`.
fn is_negated(pickle: &Pickle, metadata: &Node) -> Result<bool, String> {
    let metadata = match metadata {
        // None.
        Node::Other => return Ok(false),
        Node::Dict(entries) if entries.len() <= MAX_METADATA => entries,
        _ => return Err("a tensor with metadata that cannot be read".to_owned()),
    };
    let mut negated = false;
    for (key, value) in metadata {
        match (pickle.get(*key), pickle.get(*value)) {
            (Node::Text(_), Node::Bool(false) | Node::Int(0)) => {}
            (Node::Text(key), Node::Bool(true) | Node::Int(1)) if key == "neg" => negated = true,
            // The conjugate of a real number is that number, and others are refused by their type.
            (Node::Text(key), Node::Bool(true) | Node::Int(1)) if key == "conj" => {}
            (Node::Text(key), _) if key.len() <= MAX_NAME => {
                return Err(format!(
                    "a tensor with the metadata '{key}', which may hide its values"
                ));
            }
            _ => return Err("a tensor with metadata that cannot be read".to_owned()),
        }
    }
    Ok(negated)
}

fn to_size(node: &Node) -> Option<usize> {
    if let Node::Int(value) = node { usize::try_from(*value).ok() } else { None }
}

/// Describes a storage, `("storage", type, name, device, length)`.
///
/// # Errors
///
/// What is in its place, in words.
pub(super) fn describe_storage(pickle: &Pickle, node: &Node) -> Result<Storage, String> {
    let id = if let Node::Persistent(id) = node { pickle.items(pickle.get(*id)) } else { None };
    let Some([_, Node::Global(kind), Node::Text(name), others @ ..]) = id.as_deref() else {
        return Err("a tensor without storage".to_owned());
    };
    if kind.len().max(name.len()) > MAX_NAME {
        return Err("a tensor whose storage has an endless name".to_owned());
    }
    if let [_, _, Node::Tuple(_), ..] = others {
        return Err("a tensor in a view of a storage, as before PyTorch 0.4".to_owned());
    }
    let dtype = match kind.strip_prefix("torch.") {
        Some("FloatStorage") => DType::F32,
        Some("DoubleStorage") => DType::F64,
        Some("HalfStorage") => DType::F16,
        Some("BFloat16Storage") => DType::BF16,
        Some("LongStorage") => DType::I64,
        Some("IntStorage") => DType::I32,
        Some("ShortStorage") => DType::I16,
        Some("CharStorage") => DType::I8,
        Some("ByteStorage" | "BoolStorage") => DType::U8,
        Some("ComplexFloatStorage" | "ComplexDoubleStorage") => {
            return Err(format!("a tensor of complex numbers ({kind})"));
        }
        _ => return Err(format!("a tensor of {kind}")),
    };
    let len = others.get(1).and_then(|len| to_size(len));
    Ok(Storage { dtype, name: name.clone(), len })
}
