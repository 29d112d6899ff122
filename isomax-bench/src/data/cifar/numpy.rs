//! Whole numbers of NumPy in pickles, as all its versions write them in any protocol.

use std::borrow::Cow;

use isomax_models::store::pickle::{Node, Pickle};

use super::format_error::{FormatError, unexpected};

/// An array of whole numbers.
pub(super) struct Array<'a> {
    pub shape: Vec<usize>,
    number: Number<'a>,
    /// Whether the first index runs fastest.
    is_fortran: bool,
    bytes: Cow<'a, [u8]>,
}

/// How a whole number is stored.
struct Number<'a> {
    /// The name of its type, such as `u1`.
    name: &'a str,
    size: usize,
    is_signed: bool,
    is_big: bool,
}

impl<'a> Array<'a> {
    /// The array that a value of a pickle stands for.
    pub fn of(pickle: &'a Pickle, node: &'a Node) -> Result<Self, FormatError> {
        let Some([shape, dtype, order, bytes]) = parts(pickle, node) else {
            return unexpected("an array of NumPy", pickle.describe(node));
        };
        let number = Number::of(pickle, dtype)?;
        let is_fortran = match order {
            Node::Bool(is_fortran) => Some(*is_fortran),
            Node::Int(is_fortran) => Some(*is_fortran != 0),
            order => text(pickle, order).map(|order| order == "F"),
        };
        let size = |node: &Node| match node {
            Node::Int(size) => usize::try_from(*size).ok(),
            _ => None,
        };
        let sizes =
            |sizes: Vec<&Node>| -> Option<Vec<usize>> { sizes.into_iter().map(size).collect() };
        let shape = pickle.items(shape).and_then(sizes);
        let (Some(shape), Some(is_fortran), Some(bytes)) =
            (shape, is_fortran, bytes_of(pickle, bytes))
        else {
            return unexpected("an array of NumPy", "one without shape, order or values");
        };
        let expected = shape.iter().try_fold(number.size, |size, n| size.checked_mul(*n));
        if expected != Some(bytes.len()) {
            let expected = format!("{shape:?} values of {} bytes each", number.size);
            return unexpected(expected, format!("{} bytes", bytes.len()));
        }
        Ok(Self { shape, number, is_fortran, bytes })
    }

    /// The values of an array of unsigned bytes, the last index running fastest.
    pub fn into_bytes(self) -> Result<Cow<'a, [u8]>, FormatError> {
        if self.number.name != "u1" {
            return unexpected("unsigned bytes (uint8)", format!("dtype {}", self.number.name));
        }
        if !self.is_fortran {
            return Ok(self.bytes);
        }
        let [rows, columns] = self.shape[..] else {
            return unexpected("an array in the order of C", "one in the order of Fortran");
        };
        let row = |row: usize| (0..columns).map(move |column| column * rows + row);
        Ok((0..rows).flat_map(row).map(|at| self.bytes[at]).collect())
    }

    /// The values of an array with one row or column.
    pub fn integers(&self) -> Result<Vec<i64>, FormatError> {
        if self.shape.iter().filter(|size| **size != 1).count() > 1 {
            return unexpected("one number for each image", format!("shape {:?}", self.shape));
        }
        let values = self.bytes.chunks_exact(self.number.size);
        Ok(values.map(|bytes| self.number.value(bytes)).collect())
    }
}

/// Shape, type, order and values of an array.
fn parts<'a>(pickle: &'a Pickle, node: &'a Node) -> Option<[&'a Node; 4]> {
    let Node::Call { state, .. } = node else { return None };
    let (name, arguments) = pickle.call(node)?;
    match core_name(name)? {
        "multiarray._reconstruct" => {
            let state = pickle.items(pickle.get((*state)?))?;
            // A version comes before.
            let [.., shape, dtype, order, bytes] = state[..] else { return None };
            Some([shape, dtype, order, bytes])
        }
        // Since protocol 5.
        "numeric._frombuffer" => {
            let [bytes, dtype, shape, order] = arguments[..] else { return None };
            Some([shape, dtype, order, bytes])
        }
        _ => None,
    }
}

/// The name of a function in the core of NumPy, which moved with version 2.
fn core_name(name: &str) -> Option<&str> {
    name.strip_prefix("numpy._core.").or_else(|| name.strip_prefix("numpy.core."))
}

/// A number as Python or NumPy has it.
pub(super) fn integer(pickle: &Pickle, node: &Node) -> Option<i64> {
    if let Node::Int(value) = node {
        return Some(*value);
    }
    let (name, arguments) = pickle.call(node)?;
    let (Some("multiarray.scalar"), &[dtype, bytes]) = (core_name(name), &arguments[..]) else {
        return None;
    };
    let number = Number::of(pickle, dtype).ok()?;
    let bytes = bytes_of(pickle, bytes)?;
    (bytes.len() == number.size).then(|| number.value(&bytes))
}

/// Text, which Python 2 and 3 keep in several ways.
pub(super) fn text<'a>(pickle: &'a Pickle, node: &'a Node) -> Option<&'a str> {
    match node {
        Node::Text(text) => Some(text),
        Node::Bytes(bytes) => str::from_utf8(bytes).ok(),
        node => latin1(pickle, node),
    }
}

/// Bytes, which Python 2 keeps as text, and Python 3 up to protocol 2 as the characters of Latin-1.
fn bytes_of<'a>(pickle: &'a Pickle, node: &'a Node) -> Option<Cow<'a, [u8]>> {
    match node {
        Node::Bytes(bytes) => Some(bytes.into()),
        Node::Text(text) => Some(text.as_bytes().into()),
        node => {
            let bytes: Option<Vec<u8>> =
                latin1(pickle, node)?.chars().map(|c| u8::try_from(c).ok()).collect();
            Some(bytes?.into())
        }
    }
}

/// Characters that stand for bytes.
fn latin1<'a>(pickle: &'a Pickle, node: &'a Node) -> Option<&'a str> {
    let (name, arguments) = pickle.call(node)?;
    let [Node::Text(text), Node::Text(encoding)] = arguments[..] else { return None };
    let is_latin1 = ["latin1", "latin-1", "iso-8859-1"].contains(&encoding.as_str());
    (name == "_codecs.encode" && is_latin1).then_some(text.as_str())
}

/// Characters of the name of a type that an error shows.
const SHOWN: usize = 20;

impl<'a> Number<'a> {
    /// The type that a value of a pickle stands for.
    fn of(pickle: &'a Pickle, node: &'a Node) -> Result<Self, FormatError> {
        let call = pickle.call(node).filter(|(name, _)| *name == "numpy.dtype");
        let name = call.and_then(|(_, arguments)| text(pickle, arguments.first().copied()?));
        let (Some(name), Node::Call { state, .. }) = (name, node) else {
            return unexpected("a type of NumPy", pickle.describe(node));
        };
        let name = name.trim_start_matches(['<', '>', '|', '=']);
        let (is_signed, size) = match name {
            "i1" => (true, 1),
            "i2" => (true, 2),
            "i4" => (true, 4),
            "i8" => (true, 8),
            "u1" => (false, 1),
            "u2" => (false, 2),
            "u4" => (false, 4),
            "u8" => (false, 8),
            name => {
                let name: String = name.chars().take(SHOWN).collect();
                return unexpected("whole numbers", format!("dtype {name}"));
            }
        };
        // A version, and the order of the bytes.
        let state = state.and_then(|state| pickle.items(pickle.get(state)));
        let order = state.and_then(|state| text(pickle, state.get(1).copied()?));
        Ok(Self { name, size, is_signed, is_big: order == Some(">") })
    }

    fn value(&self, bytes: &[u8]) -> i64 {
        let join = |bits: u64, byte: &u8| (bits << 8) | u64::from(*byte);
        let bits =
            if self.is_big { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) };
        if self.is_signed {
            let unused = 64 - 8 * self.size as u32;
            ((bits << unused) as i64) >> unused
        } else {
            // No label is as large.
            i64::try_from(bits).unwrap_or(i64::MAX)
        }
    }
}
