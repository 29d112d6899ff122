//! NumPy's file format: what `numpy.save` writes and `numpy.load` reads.
//!
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::fmt;

mod header;

use header::Header;

/// Why an array of NumPy does not hold scores: a part of
/// [`ScoreFileError`](super::ScoreFileError), which has an example.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NpyError {
    /// The file does not begin like one of NumPy.
    #[error("expected the header of a .npy file of version 1 to 3, but {0}")]
    Header(String),
    /// The values are no real numbers of at most 64 bits.
    #[error(
        "expected real numbers of 16, 32 or 64 bits or integers, but found dtype {found}; save \
         them as numpy.save(FILE, numpy.asarray(scores, dtype='float64'))"
    )]
    Dtype {
        /// The type, as the file names it, cut to 60 characters.
        found: String,
    },
    /// There are other numbers beside the scores.
    #[error(
        "expected an array of shape (n,), (n, 1) or (1, n), but found {}; save the scores alone, \
         such as scores[:, 0]",
        Shape(found)
    )]
    Shape {
        /// The shape of the array.
        found: Vec<u64>,
    },
    /// The file is cut off, or its header is not its own.
    #[error("expected {expected} bytes of values, but found {found}")]
    Length {
        /// Bytes that an array of this shape and type takes.
        expected: u64,
        /// Bytes that stand behind the header.
        found: u64,
    },
    /// A value has no place in an order.
    #[error("expected one score for each sample, but value {index} is NaN")]
    Nan {
        /// The value, counted from 0.
        index: usize,
    },
    /// An integer is too large to be told apart from its neighbours.
    #[error(
        "expected integers from -2^53 to 2^53, as double precision tells them apart, but value \
         {index} is {found}"
    )]
    Integer {
        /// The value, counted from 0.
        index: usize,
        /// The integer.
        found: i128,
    },
}

/// A shape as Python writes it.
struct Shape<'a>(&'a [u64]);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [only] => write!(f, "({only},)"),
            all => {
                let sizes: Vec<String> = all.iter().map(u64::to_string).collect();
                write!(f, "({})", sizes.join(", "))
            }
        }
    }
}

/// How files begin.
const MAGIC: &[u8] = b"\x93NUMPY";

/// A file of version 1.0 with an array of one dimension, in double precision.
pub(crate) fn one_dimensional(values: &[f64]) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({},), }}", values.len());
    // Magic, version and length take 10 bytes; data begins at a multiple of 64, after a line's end.
    let padding = 64 - (10 + header.len() + 1) % 64;
    header.extend(std::iter::repeat_n(' ', padding % 64));
    header.push('\n');
    let mut bytes = [MAGIC, &[1, 0]].concat();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// The numbers of an array of one dimension, or of one row or column, in the bytes of a file.
///
/// # Errors
///
/// [`NpyError`]; no memory is taken for values that are not there.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<f64>, NpyError> {
    let (header, data) = Header::read(bytes)?;
    let number = Number::of(&header.dtype)
        .ok_or_else(|| NpyError::Dtype { found: header.dtype.chars().take(60).collect() })?;
    let count = match header.shape[..] {
        [count] | [count, 1] | [1, count] => count,
        _ => return Err(NpyError::Shape { found: header.shape }),
    };
    let (size, found) = (number.size as u64, data.len() as u64);
    // Beyond 64 bits, no file is as long as it says.
    let expected = count.saturating_mul(size);
    if expected != found {
        return Err(NpyError::Length { expected, found });
    }
    let value = |(index, bytes): (usize, &[u8])| number.value(index, bytes);
    data.chunks_exact(number.size).enumerate().map(value).collect()
}

/// How a number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Number {
    kind: Kind,
    /// Bytes of a number.
    size: usize,
    /// Whether it begins with its highest byte.
    is_big: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Float,
    Signed,
    Unsigned,
}

impl Number {
    /// What a name such as `<f8` stands for.
    fn of(dtype: &str) -> Option<Self> {
        let (is_big, name) = match dtype.split_at_checked(1)? {
            (">", name) => (true, name),
            ("<" | "|" | "=", name) => (false, name),
            _ => (false, dtype),
        };
        let (kind, size) = match name {
            "f2" => (Kind::Float, 2),
            "f4" => (Kind::Float, 4),
            "f8" => (Kind::Float, 8),
            "i1" => (Kind::Signed, 1),
            "i2" => (Kind::Signed, 2),
            "i4" => (Kind::Signed, 4),
            "i8" => (Kind::Signed, 8),
            "u1" => (Kind::Unsigned, 1),
            "u2" => (Kind::Unsigned, 2),
            "u4" => (Kind::Unsigned, 4),
            "u8" => (Kind::Unsigned, 8),
            _ => return None,
        };
        Some(Self { kind, size, is_big })
    }

    fn value(self, index: usize, bytes: &[u8]) -> Result<f64, NpyError> {
        let join = |bits: u64, byte: &u8| (bits << 8) | u64::from(*byte);
        let bits =
            if self.is_big { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) };
        let unused = 64 - 8 * self.size as u32;
        let integer = match self.kind {
            Kind::Float => {
                let value = match self.size {
                    2 => half(bits as u16),
                    4 => f64::from(f32::from_bits(bits as u32)),
                    _ => f64::from_bits(bits),
                };
                return if value.is_nan() { Err(NpyError::Nan { index }) } else { Ok(value) };
            }
            Kind::Signed => i128::from(((bits << unused) as i64) >> unused),
            Kind::Unsigned => i128::from(bits),
        };
        match integer.unsigned_abs() <= 1_u128 << f64::MANTISSA_DIGITS {
            true => Ok(integer as f64),
            false => Err(NpyError::Integer { index, found: integer }),
        }
    }
}

/// A number of half precision, IEEE 754 binary16.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = ((bits >> 10) & 0x1f, f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * f64::powi(2.0, -24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * f64::powi(2.0, i32::from(exponent) - 15),
    }
}

#[cfg(test)]
mod tests;
