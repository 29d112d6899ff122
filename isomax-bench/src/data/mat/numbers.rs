//! How numbers are stored, and what is kept of them.

/// The order of the bytes of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::data) enum Order {
    Little,
    Big,
}

impl Order {
    /// An unsigned number of at most eight bytes.
    pub(super) fn number(self, bytes: &[u8]) -> u64 {
        let join = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
        match self {
            Self::Little => bytes.iter().rev().fold(0, join),
            Self::Big => bytes.iter().fold(0, join),
        }
    }
}

/// How each value of an array is stored, whatever class the array has in MATLAB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
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
    pub(super) fn of_type(kind: u64) -> Option<Self> {
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
    pub(super) fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    fn value(self, bits: u64) -> f64 {
        match self {
            Self::I8 => f64::from(bits as i8),
            Self::U8 => f64::from(bits as u8),
            Self::I16 => f64::from(bits as i16),
            Self::U16 => f64::from(bits as u16),
            Self::I32 => f64::from(bits as i32),
            Self::U32 => f64::from(bits as u32),
            Self::F32 => f64::from(f32::from_bits(bits as u32)),
            Self::F64 => f64::from_bits(bits),
            Self::I64 => bits as i64 as f64,
            Self::U64 => bits as f64,
        }
    }
}

/// Values of an array, the first index running fastest. Whole numbers from 0 to 255, as pixels and
/// labels are, take a byte each, whatever type the file has for them: doubles would take eight.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::data) enum Values {
    /// All values.
    Bytes(Vec<u8>),
    /// The first value that is something else.
    Other { index: usize, value: f64 },
}

impl Values {
    /// Adds whole values as they stand in the file.
    pub(super) fn extend(&mut self, storage: Storage, order: Order, piece: &[u8]) {
        let Self::Bytes(bytes) = self else { return };
        if storage == Storage::U8 {
            bytes.extend_from_slice(piece);
            return;
        }
        for value in piece.chunks_exact(storage.size()) {
            let value = storage.value(order.number(value));
            if value.fract() != 0.0 || !(0.0..=255.0).contains(&value) {
                *self = Self::Other { index: bytes.len(), value };
                return;
            }
            bytes.push(value as u8);
        }
    }
}
