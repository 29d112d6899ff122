//! Burn's own records in full precision: named MessagePack, what Burn's Learner writes as well.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Write;
use std::path::Path;

use burn::module::{Module, ParamId};
use burn::record::{FullPrecisionSettings, NamedMpkBytesRecorder, Recorder};
use burn::tensor::backend::Backend;
use isomax_burn::atomic_file;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::{Mismatch, ShapeMismatch, StoreError};
use super::tensors::{check_values, settle};

const EXPECTED: &str = "a full-precision record of Burn";

type FullPrecision = NamedMpkBytesRecorder<FullPrecisionSettings>;

/// Saves a module as a record of Burn, as `NamedMpkFileRecorder<FullPrecisionSettings>` does. The file
/// appears whole or not at all.
///
/// ```no_run
/// use burn::backend::Flex;
/// use isomax_models::{CifarResNetConfig, store};
///
/// let network = CifarResNetConfig::new(20, 10).init::<Flex>(&Default::default());
/// store::save_record(&network, "resnet20.mpk")?;
/// # Ok::<_, store::StoreError>(())
/// ```
///
/// # Errors
///
/// [`StoreError`] if the file cannot be written.
pub fn save_record<B: Backend, M: Module<B>>(
    module: &M,
    path: impl AsRef<Path>,
) -> Result<(), StoreError> {
    let path = path.as_ref();
    let bytes = to_bytes(module, path)?;
    atomic_file::write(path, |file| file.write_all(&bytes))
        .map_err(|error| StoreError::io(path, error))
}

/// Loads a record that [`save_record`], `NamedMpkFileRecorder<FullPrecisionSettings>` or the checkpoints
/// of Burn's Learner wrote.
///
/// ```
/// use burn::backend::Flex;
/// use isomax_models::{CifarResNetConfig, store};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("network.mpk");
/// let config = CifarResNetConfig::new(8, 10);
/// let network = config.init::<Flex>(&Default::default());
/// store::save_record(&network, &path)?;
///
/// let mut loaded = config.init::<Flex>(&Default::default());
/// store::load_record(&mut loaded, &path)?;
/// assert_eq!(loaded.conv1.weight.to_data(), network.conv1.weight.to_data());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`StoreError`] if the file cannot be read, is damaged or of another format, or does not fit the
/// module, which is then as it was.
pub fn load_record<B: Backend, M: Module<B>>(
    module: &mut M,
    path: impl AsRef<Path>,
) -> Result<(), StoreError> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(|error| StoreError::io(path, error))?;
    // Burn takes other shapes as they come and panics at other lengths: look before loading.
    let outline =
        |bytes| Outline::read(bytes).map_err(|error| StoreError::format(path, EXPECTED, error));
    let mut mismatch = Mismatch::default();
    let before = to_bytes(module, path)?;
    compare(&outline(&before)?, &outline(&bytes)?, "", &mut mismatch);
    if !mismatch.is_empty() {
        return Err(StoreError::Mismatch {
            path: path.to_owned(),
            section: String::new(),
            mismatch: Box::new(mismatch),
        });
    }
    let device = module.devices().into_iter().next().unwrap_or_default();
    let read = |bytes| -> Result<M::Record, StoreError> {
        Recorder::<B>::load(&FullPrecision::new(), bytes, &device)
            .map_err(|error| StoreError::format(path, EXPECTED, error))
    };
    *module = module.clone().load_record(read(bytes)?);
    // Clones share their running statistics, so that there is nothing to look at before it is loaded.
    let checked = check_values(module, path);
    if checked.is_err() {
        *module = module.clone().load_record(read(before)?);
    }
    checked
}

fn to_bytes<B: Backend, M: Module<B>>(module: &M, path: &Path) -> Result<Vec<u8>, StoreError> {
    settle(module);
    Recorder::<B>::record(&FullPrecision::new(), module.clone().into_record(), ())
        .map_err(|error| StoreError::format(path, EXPECTED, error))
}

/// What a record says of fields, lengths and shapes, without its values.
#[derive(Debug, PartialEq)]
enum Outline {
    Value,
    Number(u64),
    Text(String),
    Bytes(usize),
    List(Vec<Outline>),
    Fields(BTreeMap<String, Outline>),
}

/// Most values of a record, some dozens for each tensor; a hostile one of a few bytes each would fill
/// many times its size in memory.
const MAX_VALUES: usize = 1_000_000;

/// Deepest nesting of a record, some ten for most networks; each level takes of the stack.
const MAX_DEPTH: usize = 128;

impl Outline {
    /// The outline of the record in a file, which has Burn's version beside it.
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let left = Cell::new(MAX_VALUES);
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
        deserializer.set_max_depth(MAX_DEPTH);
        let file = OutlineVisitor { left: &left }.deserialize(&mut deserializer);
        match file.map_err(|error| error.to_string())? {
            Self::Fields(mut fields) => {
                fields.remove("item").ok_or_else(|| "there is no record in it".to_owned())
            }
            _ => Err("it is no map".to_owned()),
        }
    }
}

/// Notes where a file's outline differs from that of a module.
fn compare(expected: &Outline, found: &Outline, name: &str, mismatch: &mut Mismatch) {
    let child = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match (expected, found) {
        (Outline::Fields(expected), Outline::Fields(found)) => {
            for (key, outline) in expected {
                match found.get(key) {
                    Some(other) if key == "shape" => {
                        let (expected, found) = (numbers(outline), numbers(other));
                        if expected != found {
                            let name = name.trim_end_matches(".param").to_owned();
                            mismatch.shapes.push(ShapeMismatch { name, expected, found });
                        }
                    }
                    Some(other) if key == "dtype" && outline != other => {
                        mismatch.unexpected.push(format!("{} {other:?}", child(key)));
                    }
                    Some(Outline::Text(id)) if key == "id" && !is_id(id) => {
                        mismatch.unexpected.push(format!("{} '{id}'", child(key)));
                    }
                    Some(other) => compare(outline, other, &child(key), mismatch),
                    // A field that holds no tensor, as one that records of before did not have.
                    None if *outline == Outline::Value => {}
                    None => mismatch.missing.push(child(key)),
                }
            }
            let unexpected = found.keys().filter(|key| !expected.contains_key(*key));
            mismatch.unexpected.extend(unexpected.map(|key| child(key)));
        }
        (Outline::List(expected), Outline::List(found)) => {
            for (i, (expected, found)) in expected.iter().zip(found).enumerate() {
                compare(expected, found, &child(&i.to_string()), mismatch);
            }
            for i in found.len()..expected.len() {
                mismatch.missing.push(child(&i.to_string()));
            }
            for i in expected.len()..found.len() {
                mismatch.unexpected.push(child(&i.to_string()));
            }
        }
        (Outline::Bytes(expected), Outline::Bytes(found)) if expected != found => {
            let name = format!("{name} (bytes)");
            let (expected, found) = (vec![*expected], vec![*found]);
            mismatch.shapes.push(ShapeMismatch { name, expected, found });
        }
        (Outline::Value, Outline::Fields(_) | Outline::List(_) | Outline::Bytes(_)) => {
            mismatch.unexpected.push(name.to_owned());
        }
        (Outline::Fields(_) | Outline::List(_) | Outline::Bytes(_), other)
            if core::mem::discriminant(expected) != core::mem::discriminant(other) =>
        {
            mismatch.missing.push(name.to_owned());
        }
        _ => {}
    }
}

/// Whether Burn reads a text as the identity of a parameter: up to eight bytes in base 32, or, in old
/// records, a UUID.
fn is_id(text: &str) -> bool {
    // Longer texts in base 32 overflow in Burn; a UUID is none, by its dashes.
    let is_short = text.len() <= 13 || (text.len() == 36 && text.as_bytes()[8] == b'-');
    is_short && ParamId::try_deserialize(text).is_some()
}

fn numbers(outline: &Outline) -> Vec<usize> {
    let Outline::List(items) = outline else { return Vec::new() };
    let number = |item: &Outline| match item {
        Outline::Number(number) => usize::try_from(*number).ok(),
        _ => None,
    };
    items.iter().filter_map(number).collect()
}

/// Reads any value, as long as there are not too many.
#[derive(Clone, Copy)]
struct OutlineVisitor<'a> {
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for OutlineVisitor<'_> {
    type Value = Outline;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Outline, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| de::Error::custom("it holds too many values"))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OutlineVisitor<'_> {
    type Value = Outline;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Outline, E> {
        Ok(Outline::Value)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Outline, E> {
        Ok(Outline::Value)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Outline, E> {
        Ok(Outline::Number(number))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Outline, E> {
        Ok(Outline::Value)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Outline, E> {
        Ok(Outline::Text(text.to_owned()))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Outline, E> {
        Ok(Outline::Bytes(bytes.len()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Outline, E> {
        Ok(Outline::Value)
    }

    fn visit_none<E: de::Error>(self) -> Result<Outline, E> {
        Ok(Outline::Value)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Outline, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Outline, A::Error> {
        let mut outlines = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            outlines.push(item);
        }
        Ok(Outline::List(outlines))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Outline, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(key) = entries.next_key()? {
            fields.insert(key, entries.next_value_seed(self)?);
        }
        Ok(Outline::Fields(fields))
    }
}
