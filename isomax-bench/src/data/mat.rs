//! Numeric arrays of MATLAB level-5 MAT files, as MATLAB 5 to 7.2 and SciPy write them.
//!
//! Format: *MAT-File Format*, The MathWorks,
//! <https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf>.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Take};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use flate2::bufread::ZlibDecoder;

use crate::contents::{self, Contents};

mod numbers;

pub(super) use numbers::{Order, Values};

use numbers::Storage;

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
    /// The file is one of MATLAB 7.3, which is another format.
    #[error(
        "{}: expected a MAT file of MATLAB 5 to 7.2, but found one of MATLAB 7.3 (HDF5); save it \
         again by save(FILE, '-v7') in MATLAB, or convert it by python3 -c \"{}\"",
        path.display(),
        CONVERSION
    )]
    Hdf5 {
        /// The file.
        path: PathBuf,
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

/// Makes a file of level 5 of one of HDF5, where dimensions stand the other way round.
const CONVERSION: &str = "import h5py, scipy.io; f = h5py.File('IN.mat'); \
                          scipy.io.savemat('OUT.mat', {k: f[k][()].T for k in 'Xy'})";

/// An error without the name of the file.
enum FormatError {
    Io(io::Error),
    Hdf5,
    Format { expected: String, found: String },
}

impl FormatError {
    fn at(self, path: &Path) -> MatError {
        let path = path.to_owned();
        match self {
            Self::Io(source) => MatError::Io { path, source },
            Self::Hdf5 => MatError::Hdf5 { path },
            Self::Format { expected, found } => MatError::Format { path, expected, found },
        }
    }
}

impl From<io::Error> for FormatError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn unexpected<T>(expected: impl Into<String>, found: impl Into<String>) -> Result<T, FormatError> {
    Err(FormatError::Format { expected: expected.into(), found: found.into() })
}

/// An array of real numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MatArray {
    pub(super) name: String,
    pub(super) dims: Vec<usize>,
    pub(super) values: Values,
}

impl MatArray {
    /// Number of values.
    pub(super) fn len(&self) -> usize {
        self.dims.iter().product()
    }
}

/// Bytes that a file begins with.
const HEADER: u64 = 128;
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
/// Bytes that are read at once, a multiple of the size of all values.
const PIECE: u64 = 1 << 16;

/// What may still be unpacked, and kept of it. What is packed may grow a thousandfold.
struct Budget {
    /// Bytes of arrays of any kind.
    bytes: u64,
    /// Values of arrays of numbers.
    values: u64,
}

impl Budget {
    /// As many bytes as `values` take in the largest type, and some for arrays that are passed over.
    fn new(values: u64) -> Self {
        Self { bytes: values.saturating_mul(8).saturating_add(1 << 20), values }
    }
}

fn spend(left: &mut u64, size: u64, what: &str) -> Result<(), FormatError> {
    match left.checked_sub(size) {
        Some(rest) => {
            *left = rest;
            Ok(())
        }
        None => unexpected(format!("at most {left} more {what} of arrays"), size.to_string()),
    }
}

/// Reads all arrays of real numbers in a file. Others, such as cells, texts and complex numbers,
/// are passed over. All arrays together may have `limit` values; memory grows with the data that
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
    let (length, file) = open().map_err(|source| FormatError::Io(source).at(path))?;
    arrays(BufReader::new(file), length, limit).map_err(|fault| fault.at(path))
}

fn arrays(file: impl BufRead, length: u64, limit: u64) -> Result<Vec<MatArray>, FormatError> {
    let mut file = file.take(length);
    let order = header(&mut file)?;
    let mut budget = Budget::new(limit);
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
                spend(&mut budget.bytes, size, "bytes")?;
                arrays.extend(matrix(&mut element, order, &mut budget.values)?);
            }
            COMPRESSED => {
                let mut data = ZlibDecoder::new(&mut element);
                let (kind, size) = tag(&mut data, order)?;
                if kind != MATRIX {
                    return unexpected("a compressed array", format!("type {kind}"));
                }
                spend(&mut budget.bytes, size, "bytes")?;
                let mut body = data.by_ref().take(size);
                arrays.extend(matrix(&mut body, order, &mut budget.values)?);
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

fn header(file: &mut impl Read) -> Result<Order, FormatError> {
    let mut start = Vec::new();
    file.by_ref().take(HEADER).read_to_end(&mut start)?;
    let order = match start.get(126..) {
        Some(b"IM") => Some(Order::Little),
        Some(b"MI") => Some(Order::Big),
        _ => None,
    };
    let version = order.map(|order| order.number(&start[124..126]));
    if let (Some(order), Some(0x0100)) = (order, version) {
        return Ok(order);
    }
    // What a file of another format is, may be told by what comes later.
    file.by_ref().take(contents::START as u64).read_to_end(&mut start)?;
    match (Contents::of(&start), version) {
        (Some(Contents::Hdf5), _) | (_, Some(0x0200)) => Err(FormatError::Hdf5),
        (Some(contents), _) if contents != Contents::Level5Mat => {
            unexpected("a level-5 MAT file", contents.to_string())
        }
        (_, Some(version)) => {
            unexpected("a MAT file of version 0x0100", format!("version {version:#06x}"))
        }
        _ => unexpected("a level-5 MAT file", "a file that does not begin like one"),
    }
}

/// Type and size of an element.
fn tag(reader: &mut impl Read, order: Order) -> Result<(u64, u64), FormatError> {
    let mut tag = [0; 8];
    fill(reader, &mut tag)?;
    Ok((order.number(&tag[..4]), order.number(&tag[4..])))
}

/// The array in an element, or none if it is not of real numbers; all of the element is read.
fn matrix(
    body: &mut Take<impl Read>,
    order: Order,
    most_values: &mut u64,
) -> Result<Option<MatArray>, FormatError> {
    let flags = element(body, order, "array flags", 8)?;
    if flags.len() != 8 {
        return unexpected("8 bytes of array flags", flags.len().to_string());
    }
    let flags = order.number(&flags[..4]);
    if !NUMERIC.contains(&(flags & 0xff)) || flags & COMPLEX != 0 {
        skip(body)?;
        return Ok(None);
    }
    let dims = element(body, order, "dimensions", 4 * MOST_DIMS)?;
    if dims.is_empty() || !dims.len().is_multiple_of(4) {
        return unexpected("dimensions of 4 bytes each", format!("{} bytes", dims.len()));
    }
    let dims = dims.chunks_exact(4).map(|bytes| {
        let size = order.number(bytes) as u32 as i32;
        usize::try_from(size).or_else(|_| unexpected("no negative dimension", size.to_string()))
    });
    let dims: Vec<usize> = dims.collect::<Result<_, _>>()?;
    let name = element(body, order, "a name", LONGEST_NAME)?;
    let name = String::from_utf8_lossy(&name).into_owned();
    let values = values(body, order, &dims, most_values)?;
    skip(body)?;
    Ok(Some(MatArray { name, dims, values }))
}

fn values(
    body: &mut Take<impl Read>,
    order: Order,
    dims: &[usize],
    most: &mut u64,
) -> Result<Values, FormatError> {
    let head = Head::read(body, order, "values", u64::MAX)?;
    let Some(storage) = Storage::of_type(head.kind) else {
        return unexpected("numbers", format!("values of type {}", head.kind));
    };
    let size = storage.size();
    let expected = dims.iter().try_fold(size, |size, dim| size.checked_mul(*dim));
    if expected.map(|size| size as u64) != Some(head.size) {
        let expected = format!("{dims:?} values of {size} bytes each");
        return unexpected(expected, format!("{} bytes", head.size));
    }
    spend(most, head.size / size as u64, "values")?;
    let mut values = Values::Bytes(Vec::new());
    head.data(body, |piece| values.extend(storage, order, piece))?;
    Ok(values)
}

/// The data of an element of an array, of at most `most` bytes.
fn element(
    body: &mut Take<impl Read>,
    order: Order,
    what: &str,
    most: u64,
) -> Result<Vec<u8>, FormatError> {
    let mut data = Vec::new();
    let head = Head::read(body, order, what, most)?;
    head.data(body, |piece| data.extend_from_slice(piece))?;
    Ok(data)
}

/// How an element of an array begins.
struct Head {
    kind: u64,
    /// Bytes of its data.
    size: u64,
    /// The data of a small element, which has its size in the upper half of the type, and its data
    /// where other elements have their size.
    small: Option<[u8; 4]>,
}

impl Head {
    fn read(
        body: &mut Take<impl Read>,
        order: Order,
        what: &str,
        most: u64,
    ) -> Result<Self, FormatError> {
        let (mut kind, mut rest) = ([0; 4], [0; 4]);
        fill(body, &mut kind)?;
        fill(body, &mut rest)?;
        let first = order.number(&kind);
        let (kind, size) = (first & 0xffff, first >> 16);
        if size > 4 {
            return unexpected(format!("at most 4 bytes of {what}"), size.to_string());
        }
        if size != 0 {
            return Ok(Self { kind, size, small: Some(rest) });
        }
        let (size, most) = (order.number(&rest), most.min(body.limit()));
        if size > most {
            return unexpected(format!("at most {most} bytes of {what}"), size.to_string());
        }
        Ok(Self { kind, size, small: None })
    }

    /// Hands over the data, which come next, piece by piece, each of whole values.
    fn data(
        &self,
        body: &mut Take<impl Read>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), FormatError> {
        if let Some(data) = &self.small {
            take(&data[..self.size as usize]);
            return Ok(());
        }
        let mut buffer = vec![0; self.size.min(PIECE) as usize];
        let mut left = self.size;
        while left > 0 {
            let piece = &mut buffer[..left.min(PIECE) as usize];
            fill(body, piece)?;
            take(piece);
            left -= piece.len() as u64;
        }
        let padding = (self.size.next_multiple_of(8) - self.size).min(body.limit());
        skip(&mut body.by_ref().take(padding))
    }
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<(), FormatError> {
    reader.read_exact(buffer).or_else(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            unexpected(format!("{} more bytes", buffer.len()), "the end of the data")
        }
        _ => Err(error.into()),
    })
}

/// Reads all that is left.
fn skip(reader: &mut Take<impl Read>) -> Result<(), FormatError> {
    io::copy(reader, &mut io::sink())?;
    match reader.limit() {
        0 => Ok(()),
        left => unexpected(format!("{left} more bytes"), "the end of the data"),
    }
}

#[cfg(test)]
pub(super) mod writer;

#[cfg(test)]
mod tests;
