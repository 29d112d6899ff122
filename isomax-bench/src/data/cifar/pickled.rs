//! Files of the Python version, as torchvision leaves them: each is a pickle of a dictionary with
//! an array of images and a list of labels. They are read as data, nothing in them is executed.

use std::borrow::Cow;

use isomax_models::store::pickle::{Node, Pickle};

use super::format_error::{FormatError, unexpected};
use super::numpy::{Array, integer, text};
use super::{BYTES, Cifar, SIDE};
use crate::contents::Contents;

/// Images and labels of a file.
pub(super) struct Batch<'a> {
    /// For each image its red, green and blue bytes.
    pub planes: Cow<'a, [u8]>,
    /// The label of each image, a valid one.
    pub labels: Vec<u16>,
}

/// The entry of the images.
const DATA: &str = "data";

/// Bytes that a file may have: in protocol 0, up to four for a byte of an image, and some for its
/// name and labels.
pub(super) fn most_bytes(kind: Cifar) -> u64 {
    kind.most_records() * (4 * BYTES as u64 + 1024)
}

/// Instructions that a pickle may have: no more than forty for the labels and the name of an image.
fn most_instructions(kind: Cifar) -> usize {
    kind.most_records() as usize * 64 + 10_000
}

/// Reads a pickle.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn parse(kind: Cifar, bytes: &[u8]) -> Result<Pickle, FormatError> {
    let expected = "a pickle of images and labels";
    if let Some(contents) = Contents::of(bytes)
        && contents != Contents::Pickle
    {
        return unexpected(expected, contents.to_string());
    }
    match Pickle::parse_limited(bytes, most_instructions(kind)) {
        Ok((pickle, _)) => Ok(pickle),
        Err(error) => unexpected(expected, format!("one that cannot be read: {error}")),
    }
}

/// The images and labels in a pickle.
///
/// # Errors
///
/// What is missing or wrong.
pub(super) fn batch<'a>(kind: Cifar, pickle: &'a Pickle) -> Result<Batch<'a>, FormatError> {
    let (name, classes) = match kind {
        Cifar::Ten => ("labels", 10_u8),
        Cifar::Hundred => ("fine_labels", 100),
    };
    let (data, found) = (entry(pickle, DATA)?, entry(pickle, name)?);
    let data = Array::of(pickle, data).map_err(|fault| fault.of(DATA))?;
    let count = match data.shape[..] {
        [count, BYTES] | [count, 3, SIDE, SIDE] => count,
        _ => return unexpected("N × 3072 values as 'data'", format!("shape {:?}", data.shape)),
    };
    let most = kind.most_records();
    if count == 0 || count as u64 > most {
        return unexpected(format!("1 to {most} images"), format!("{count} images"));
    }
    let found = labels(pickle, found).map_err(|fault| fault.of(name))?;
    if found.len() != count {
        let expected = format!("{count} labels, one for each image");
        return unexpected(expected, format!("{} labels", found.len()));
    }
    let label = |(index, found): (usize, i64)| match u16::try_from(found) {
        Ok(label) if label < u16::from(classes) => Ok(label),
        _ => Err(FormatError::Label { index: index as u64, classes, found }),
    };
    let labels: Vec<u16> = found.into_iter().enumerate().map(label).collect::<Result<_, _>>()?;
    Ok(Batch { planes: data.into_bytes().map_err(|fault| fault.of(DATA))?, labels })
}

/// The value of a name in the dictionary that a pickle is.
fn entry<'a>(pickle: &'a Pickle, name: &str) -> Result<&'a Node, FormatError> {
    let root = pickle.root();
    let Node::Dict(entries) = root else {
        return unexpected("a dictionary with data and labels", pickle.describe(root));
    };
    let key = |place: usize| text(pickle, pickle.get(place));
    // Of a key that comes again the last value counts, as in Python.
    if let Some((_, value)) = entries.iter().rev().find(|(place, _)| key(*place) == Some(name)) {
        return Ok(pickle.get(*value));
    }
    let shown = |key: &str| format!("'{}'", key.chars().take(20).collect::<String>());
    let keys = entries.iter().take(10).filter_map(|(place, _)| key(*place)).map(shown);
    let keys: Vec<String> = keys.collect();
    unexpected(format!("an entry '{name}'"), format!("only {{{}}}", keys.join(", ")))
}

/// Labels in a list of Python, as they come, or in an array, as some tools leave them.
fn labels(pickle: &Pickle, node: &Node) -> Result<Vec<i64>, FormatError> {
    let (Node::List(places) | Node::Tuple(places)) = node else {
        return Array::of(pickle, node)?.integers();
    };
    let label = |place: &usize| {
        let node = pickle.get(*place);
        let label = integer(pickle, node);
        label.map_or_else(|| unexpected("a label for each image", pickle.describe(node)), Ok)
    };
    places.iter().map(label).collect()
}

#[cfg(test)]
mod tests;
