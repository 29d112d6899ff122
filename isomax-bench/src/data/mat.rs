//! Numeric arrays of MATLAB level-5 MAT files, as MATLAB 5 to 7.2 and SciPy write them.
//!
//! Format: *MAT-File Format*, The MathWorks,
//! <https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf>.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Take};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use flate2::bufread::ZlibDecoder;

/// Why a MAT file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MatError {
    /// The file cannot be read, or what is compressed in it is damaged.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system or the decompressor says.
        source: io::Error,
    },
    /// The file is no whole level-5 MAT file, or holds more than fits.
    #[error("{}: expected {expected}, but found {found}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the format asks for.
        expected: String,
        /// What stands there.
        found: String,
    },
}

/// An error without the name of the file.
enum Fault {
    Io(io::Error),
    Format { expected: String, found: String },
}

impl Fault {
    fn at(self, path: &Path) -> MatError {
        let path = path.to_owned();
        match self {
            Self::Io(source) => MatError::Io { path, source },
            Self::Format { expected, found } => MatError::Format { path, expected, found },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn unexpected<T>(expected: impl Into<String>, found: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Format { expected: expected.into(), found: found.into() })
}

/// The order of the bytes of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// An unsigned number of at most eight bytes.
    fn number(self, bytes: &[u8]) -> u64 {
        let join = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
        match self {
            Self::Little => bytes.iter().rev().fold(0, join),
            Self::Big => bytes.iter().fold(0, join),
        }
    }
}

/// How each value of an array is stored, whatever class the array has in MATLAB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storage {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    F32,
    F64,
    I64,
    U64,
}

impl Storage {
    fn of_type(kind: u64) -> Option<Self> {
        Some(match kind {
            1 => Self::I8,
            2 => Self::U8,
            3 => Self::I16,
            4 => Self::U16,
            5 => Self::I32,
            6 => Self::U32,
            7 => Self::F32,
            9 => Self::F64,
            12 => Self::I64,
            13 => Self::U64,
            _ => return None,
        })
    }

    /// Bytes of a value.
    fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }
}

/// An array of real numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MatArray {
    pub(super) name: String,
    /// As many values as their product are there.
    pub(super) dims: Vec<usize>,
    storage: Storage,
    order: Order,
    // As in the file: as numbers, small integers would take eight times the room.
    bytes: Vec<u8>,
}

impl MatArray {
    /// Number of values.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.storage.size()
    }

    /// The values, the first index running fastest.
    pub(super) fn values(&self) -> impl Iterator<Item = f64> {
        self.bytes.chunks_exact(self.storage.size()).map(move |bytes| {
            let bits = self.order.number(bytes);
            match self.storage {
                Storage::I8 => f64::from(bits as i8),
                Storage::U8 => f64::from(bits as u8),
                Storage::I16 => f64::from(bits as i16),
                Storage::U16 => f64::from(bits as u16),
                Storage::I32 => f64::from(bits as i32),
                Storage::U32 => f64::from(bits as u32),
                Storage::F32 => f64::from(f32::from_bits(bits as u32)),
                Storage::F64 => f64::from_bits(bits),
                Storage::I64 => bits as i64 as f64,
                Storage::U64 => bits as f64,
            }
        })
    }

    /// The values of an array that is stored as unsigned bytes.
    pub(super) fn into_bytes(self) -> Option<Vec<u8>> {
        (self.storage == Storage::U8).then_some(self.bytes)
    }
}

/// Types of elements.
const MATRIX: u64 = 14;
const COMPRESSED: u64 = 15;
/// Classes of arrays that hold numbers: from double to unsigned 64-bit integers.
const NUMERIC: RangeInclusive<u64> = 6..=15;
/// The flag of an array with imaginary parts.
const COMPLEX: u64 = 0x800;
/// MATLAB knows no more than 32 dimensions and names of 63 bytes; nothing is lost by room to spare.
const MOST_DIMS: u64 = 64;
const LONGEST_NAME: u64 = 255;

/// Reads all arrays of real numbers in a file. Others, such as cells, texts and complex numbers,
/// are passed over. All arrays together may take `limit` bytes; memory grows with the data that
/// come, never with the sizes that the file states.
///
/// # Errors
///
/// [`MatError`] if the file is no whole level-5 MAT file, or `limit` is passed.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<MatArray>, MatError> {
    let open = || -> Result<(u64, File), io::Error> {
        let file = File::open(path)?;
        Ok((file.metadata()?.len(), file))
    };
    let (length, file) = open().map_err(|source| Fault::Io(source).at(path))?;
    arrays(BufReader::new(file), length, limit).map_err(|fault| fault.at(path))
}

fn arrays(file: impl BufRead, length: u64, limit: u64) -> Result<Vec<MatArray>, Fault> {
    let mut file = file.take(length);
    let order = header(&mut file)?;
    let mut left = limit;
    let mut spend = |size: u64| match left.checked_sub(size) {
        Some(rest) => {
            left = rest;
            Ok(())
        }
        None => unexpected(format!("at most {limit} bytes of arrays"), "more"),
    };
    let mut arrays = Vec::new();
    loop {
        let (kind, size) = tag(&mut file, order)?;
        if size > file.limit() {
            let left = file.limit();
            return unexpected(format!("{size} bytes of an element"), format!("{left} bytes"));
        }
        let mut element = file.by_ref().take(size);
        match kind {
            MATRIX => {
                spend(size)?;
                arrays.extend(matrix(&mut element, order)?);
            }
            COMPRESSED => {
                let mut data = ZlibDecoder::new(&mut element);
                let (kind, size) = tag(&mut data, order)?;
                if kind != MATRIX {
                    return unexpected("a compressed array", format!("type {kind}"));
                }
                spend(size)?;
                arrays.extend(matrix(&mut data.by_ref().take(size), order)?);
                // The checksum is compared only once the end has been asked for.
                if data.read(&mut [0_u8])? != 0 {
                    return unexpected(format!("{size} bytes of a compressed array"), "more");
                }
            }
            _ => return unexpected("an array", format!("an element of type {kind}")),
        }
        skip(&mut element)?;
        if file.limit() == 0 {
            return Ok(arrays);
        }
    }
}

fn header(file: &mut impl Read) -> Result<Order, Fault> {
    let mut header = [0; 128];
    fill(file, &mut header)?;
    let order = match &header[126..] {
        b"IM" => Order::Little,
        b"MI" => Order::Big,
        _ => return unexpected("a level-5 MAT file", "a file that does not begin like one"),
    };
    match order.number(&header[124..126]) {
        0x0100 => Ok(order),
        version => unexpected("a MAT file of version 0x0100", format!("version {version:#06x}")),
    }
}

/// Type and size of an element.
fn tag(reader: &mut impl Read, order: Order) -> Result<(u64, u64), Fault> {
    let mut tag = [0; 8];
    fill(reader, &mut tag)?;
    Ok((order.number(&tag[..4]), order.number(&tag[4..])))
}

/// The array in an element, or none if it is not of real numbers; all of the element is read.
fn matrix(body: &mut Take<impl Read>, order: Order) -> Result<Option<MatArray>, Fault> {
    let (_, flags) = part(body, order, "array flags", 8)?;
    if flags.len() != 8 {
        return unexpected("8 bytes of array flags", flags.len().to_string());
    }
    let flags = order.number(&flags[..4]);
    if !NUMERIC.contains(&(flags & 0xff)) || flags & COMPLEX != 0 {
        skip(body)?;
        return Ok(None);
    }
    let (_, dims) = part(body, order, "dimensions", 4 * MOST_DIMS)?;
    let (_, name) = part(body, order, "a name", LONGEST_NAME)?;
    let (kind, bytes) = part(body, order, "values", u64::MAX)?;
    skip(body)?;
    let Some(storage) = Storage::of_type(kind) else {
        return unexpected("numbers", format!("values of type {kind}"));
    };
    if dims.is_empty() || !dims.len().is_multiple_of(4) {
        return unexpected("dimensions of 4 bytes each", format!("{} bytes", dims.len()));
    }
    let dims = dims.chunks_exact(4).map(|bytes| {
        let size = order.number(bytes) as u32 as i32;
        usize::try_from(size).or_else(|_| unexpected("no negative dimension", size.to_string()))
    });
    let dims: Vec<usize> = dims.collect::<Result<_, _>>()?;
    let expected = dims.iter().try_fold(storage.size(), |size, dim| size.checked_mul(*dim));
    if expected != Some(bytes.len()) {
        let expected = format!("{dims:?} values of {} bytes each", storage.size());
        return unexpected(expected, format!("{} bytes", bytes.len()));
    }
    let name = String::from_utf8_lossy(&name).into_owned();
    Ok(Some(MatArray { name, dims, storage, order, bytes }))
}

/// Type and data of an element of an array, of at most `most` bytes.
fn part(
    body: &mut Take<impl Read>,
    order: Order,
    what: &str,
    most: u64,
) -> Result<(u64, Vec<u8>), Fault> {
    let mut tag = [0; 8];
    fill(body, &mut tag)?;
    let first = order.number(&tag[..4]);
    // A small element has its size in the upper half of the type, and its data where other
    // elements have their size.
    let (kind, size) = (first & 0xffff, first >> 16);
    if size != 0 {
        return match tag[4..].get(..size as usize) {
            Some(data) => Ok((kind, data.to_vec())),
            None => unexpected(format!("at most 4 bytes of {what}"), size.to_string()),
        };
    }
    let size = order.number(&tag[4..]);
    let most = most.min(body.limit());
    if size > most {
        return unexpected(format!("at most {most} bytes of {what}"), size.to_string());
    }
    let mut data = Vec::new();
    body.by_ref().take(size).read_to_end(&mut data)?;
    if data.len() as u64 != size {
        return unexpected(format!("{size} bytes of {what}"), data.len().to_string());
    }
    let padding = (size.next_multiple_of(8) - size).min(body.limit());
    skip(&mut body.by_ref().take(padding))?;
    Ok((kind, data))
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<(), Fault> {
    reader.read_exact(buffer).or_else(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            unexpected(format!("{} more bytes", buffer.len()), "the end of the data")
        }
        _ => Err(error.into()),
    })
}

/// Reads all that is left.
fn skip(reader: &mut Take<impl Read>) -> Result<(), Fault> {
    io::copy(reader, &mut io::sink())?;
    match reader.limit() {
        0 => Ok(()),
        left => unexpected(format!("{left} more bytes"), "the end of the data"),
    }
}

/// Writes MAT files.
#[cfg(test)]
pub(super) mod writer {
    use super::Order;
    use std::io::Read;

    fn number(order: Order, number: u32) -> [u8; 4] {
        match order {
            Order::Little => number.to_le_bytes(),
            Order::Big => number.to_be_bytes(),
        }
    }

    fn element(order: Order, kind: u32, data: &[u8]) -> Vec<u8> {
        let size = data.len() as u32;
        let mut bytes = match size {
            1..=4 => number(order, (size << 16) | kind).to_vec(),
            _ => [number(order, kind), number(order, size)].concat(),
        };
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    /// An array of a class, which flags may go with, and a type of storage.
    pub(in crate::data) fn array(
        order: Order,
        class: u32,
        name: &str,
        dims: &[u32],
        storage: u32,
        data: &[u8],
    ) -> Vec<u8> {
        let dims: Vec<u8> = dims.iter().flat_map(|dim| number(order, *dim)).collect();
        let parts = [
            element(order, 6, &[number(order, class), [0; 4]].concat()),
            element(order, 5, &dims),
            element(order, 1, name.as_bytes()),
            element(order, storage, data),
        ];
        element(order, 14, &parts.concat())
    }

    pub(in crate::data) fn file(order: Order, compressed: bool, arrays: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![b' '; 124];
        bytes.extend(match order {
            Order::Little => [0, 1, b'I', b'M'],
            Order::Big => [1, 0, b'M', b'I'],
        });
        for array in arrays {
            if !compressed {
                bytes.extend(array);
                continue;
            }
            let mut data = Vec::new();
            flate2::read::ZlibEncoder::new(array.as_slice(), flate2::Compression::default())
                .read_to_end(&mut data)
                .expect("memory can be read");
            bytes.extend(number(order, 15));
            bytes.extend(number(order, data.len() as u32));
            bytes.extend(data);
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
