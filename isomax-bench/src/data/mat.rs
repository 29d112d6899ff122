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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::error::Error;

    type Tested = Result<(), Box<dyn Error>>;

    const LITTLE: Order = Order::Little;
    const LIMIT: u64 = 1 << 20;

    fn parse(bytes: &[u8]) -> Result<Vec<MatArray>, MatError> {
        arrays(bytes, bytes.len() as u64, LIMIT).map_err(|fault| fault.at(Path::new("a.mat")))
    }

    fn refused(bytes: &[u8]) -> String {
        parse(bytes).map_or_else(|error| error.to_string(), |_| "read".to_owned())
    }

    /// The numbers 0 to 11.
    fn twelve(order: Order) -> Vec<u8> {
        let data: Vec<u8> = (0..12).collect();
        writer::array(order, 9, "X", &[4, 3], 2, &data)
    }

    #[test]
    fn numbers_of_every_type() -> Tested {
        let cases: [(u32, Vec<u8>, f64); 10] = [
            (1, vec![0xfe], -2.0),
            (2, vec![0xfe], 254.0),
            (3, (-300_i16).to_be_bytes().to_vec(), -300.0),
            (4, 65_000_u16.to_be_bytes().to_vec(), 65_000.0),
            (5, (-70_000_i32).to_be_bytes().to_vec(), -70_000.0),
            (6, 4_000_000_000_u32.to_be_bytes().to_vec(), 4e9),
            (7, 0.15625_f32.to_be_bytes().to_vec(), 0.15625),
            (9, 0.1_f64.to_be_bytes().to_vec(), 0.1),
            (12, (-5_000_000_000_i64).to_be_bytes().to_vec(), -5e9),
            (13, 5_000_000_000_u64.to_be_bytes().to_vec(), 5e9),
        ];
        for (storage, mut bytes, expected) in cases {
            for order in [Order::Big, Order::Little] {
                let three = bytes.repeat(3);
                let array = writer::array(order, 6, "labels", &[3, 1], storage, &three);
                for compressed in [false, true] {
                    let file = writer::file(order, compressed, std::slice::from_ref(&array));
                    let arrays = parse(&file)?;
                    assert_eq!(arrays.len(), 1);
                    let array = &arrays[0];
                    assert_eq!((array.name.as_str(), array.len()), ("labels", 3));
                    assert_eq!(array.dims, [3, 1]);
                    assert_eq!(array.values().collect::<Vec<_>>(), [expected; 3]);
                    let is_bytes = array.clone().into_bytes().is_some();
                    assert_eq!(is_bytes, storage == 2);
                }
                bytes.reverse();
            }
        }
        Ok(())
    }

    #[test]
    fn what_holds_no_real_numbers_is_passed_over() -> Tested {
        for compressed in [false, true] {
            let text = writer::array(LITTLE, 4, "text", &[1, 5], 16, b"hello");
            let cell = writer::array(LITTLE, 1, "cell", &[1, 1], 14, &[0; 64]);
            let complex = writer::array(LITTLE, 0x806, "z", &[1, 1], 2, &[1]);
            let empty = writer::array(LITTLE, 6, "none", &[0, 0], 9, &[]);
            let all = [text, twelve(LITTLE), cell, complex, empty];
            let arrays = parse(&writer::file(LITTLE, compressed, &all))?;
            let names: Vec<_> = arrays.iter().map(|array| array.name.as_str()).collect();
            assert_eq!(names, ["X", "none"]);
            assert_eq!(arrays[0].clone().into_bytes(), Some((0..12).collect::<Vec<u8>>()));
        }
        Ok(())
    }

    #[test]
    fn files_are_named() -> Tested {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("x.mat");
        let error =
            |limit| read(&path, limit).map_or_else(|error| error.to_string(), |_| "".into());
        assert!(error(LIMIT).contains("x.mat: No such file"));
        std::fs::write(&path, writer::file(LITTLE, true, &[twelve(LITTLE)]))?;
        assert_eq!(read(&path, LIMIT)?.len(), 1);
        assert!(error(10).ends_with("x.mat: expected at most 10 bytes of arrays, but found more"));
        Ok(())
    }

    #[test]
    fn what_is_no_level_5_file_is_refused() {
        let whole = writer::file(LITTLE, false, &[twelve(LITTLE)]);
        assert_eq!(refused(&whole), "read");
        // Where bytes are replaced, by what, and what the error says.
        let cases: [(usize, &[u8], &str); 9] = [
            (124, &[0, 2], "expected a MAT file of version 0x0100, but found version 0x0200"),
            (126, b"XY", "expected a level-5 MAT file"),
            (128, &[9], "expected an array, but found an element of type 9"),
            (136 + 4, &[0], "expected 8 bytes of array flags, but found 0"),
            (152 + 8, &[5], "expected [5, 3] values of 1 bytes each, but found 12 bytes"),
            (152 + 8, &[0xff; 4], "expected no negative dimension, but found -1"),
            (152 + 8, &[0xff, 0xff, 0xff, 0x7f], "expected [2147483647, 3] values"),
            (168 + 2, &[5], "expected at most 4 bytes of a name, but found 5"),
            (176, &[16], "expected numbers, but found values of type 16"),
        ];
        for (at, bytes, expected) in cases {
            let mut damaged = whole.clone();
            damaged[at..at + bytes.len()].copy_from_slice(bytes);
            let error = refused(&damaged);
            assert!(error.starts_with("a.mat: ") && error.contains(expected), "{at}: {error}");
        }
        let overflow = writer::array(LITTLE, 6, "X", &[0x7fff_ffff; 4], 9, &[0; 8]);
        let error = refused(&writer::file(LITTLE, true, &[overflow]));
        assert!(error.contains("values of 8 bytes each, but found 8 bytes"), "{error}");
    }

    #[test]
    fn stated_sizes_are_not_believed() {
        let most = &[0xff; 4];
        for at in [132, 140, 156, 180] {
            let mut plain = writer::file(LITTLE, false, &[twelve(LITTLE)]);
            plain[at..at + 4].copy_from_slice(most);
            assert!(refused(&plain).contains("expected "), "{at}");
        }
        for (at, size) in [(4, most), (4, &[0, 0, 8, 0]), (4, &[8, 0, 0, 0]), (52, most)] {
            let mut array = twelve(LITTLE);
            array[at..at + 4].copy_from_slice(size);
            let error = refused(&writer::file(LITTLE, true, &[array]));
            assert!(error.contains("expected "), "{at}: {error}");
        }
    }

    #[test]
    fn parts_of_files_are_refused() {
        for (order, compressed) in [(Order::Big, false), (Order::Big, true), (LITTLE, true)] {
            let whole = writer::file(order, compressed, &[twelve(order)]);
            for length in 0..whole.len() {
                assert_ne!(refused(&whole[..length]), "read", "{length} of {}", whole.len());
            }
        }
    }

    #[test]
    fn flipped_bits_of_compressed_files_are_found() -> Tested {
        let mut bytes = writer::file(LITTLE, true, &[twelve(LITTLE)]);
        let whole = parse(&bytes)?;
        for bit in 0..8 * bytes.len() {
            bytes[bit / 8] ^= 1 << (bit % 8);
            // Nothing depends on the text that a file begins with.
            assert!(parse(&bytes).map_or(bit >= 124 * 8, |arrays| arrays == whole), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn damage_never_panics(
            compressed in any::<bool>(),
            big in any::<bool>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let order = if big { Order::Big } else { LITTLE };
            let mut arrays = [twelve(order), writer::array(order, 6, "y", &[1, 1], 2, &[1])];
            let mut bytes = if compressed {
                // Damage under the checksum.
                for (index, byte) in &changes {
                    let array = &mut arrays[0];
                    let at = index.index(array.len());
                    array[at] = *byte;
                }
                writer::file(order, true, &arrays)
            } else {
                writer::file(order, false, &arrays)
            };
            for (index, byte) in changes.iter().filter(|_| !compressed) {
                let at = 124 + index.index(bytes.len() - 124);
                bytes[at] = *byte;
            }
            for array in parse(&bytes).unwrap_or_default() {
                prop_assert_eq!(array.values().count(), array.dims.iter().product::<usize>());
                prop_assert_eq!(array.len(), array.values().count());
            }
        }
    }
}
