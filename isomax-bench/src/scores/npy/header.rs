//! The head of a file: a dictionary as Python writes it.

use super::{MAGIC, NpyError};

/// What a file says of its array. Whether rows or columns come first makes no difference where
/// there is only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// The name of the type, such as `<f8`; of a type that is no text, what stands in its place.
    pub dtype: String,
    pub shape: Vec<u64>,
}

/// Bytes that a head may have, beyond the 10,000 that NumPy reads.
const MOST_BYTES: usize = 1 << 16;

impl Header {
    /// The head of a file, and the bytes behind it.
    pub fn read(bytes: &[u8]) -> Result<(Self, &[u8]), NpyError> {
        let fault = |found: &str| NpyError::Header(found.to_owned());
        let early = || fault("the file ends early");
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| fault("the file begins otherwise"))?;
        let (&[version, _], rest) = rest.split_first_chunk().ok_or_else(early)?;
        let (length, rest) = match version {
            1 => {
                let (length, rest) = rest.split_first_chunk().ok_or_else(early)?;
                (usize::from(u16::from_le_bytes(*length)), rest)
            }
            2 | 3 => {
                let (length, rest) = rest.split_first_chunk().ok_or_else(early)?;
                (usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX), rest)
            }
            _ => return Err(fault(&format!("it is of version {version}"))),
        };
        if length > MOST_BYTES {
            return Err(fault(&format!("it has {length} bytes")));
        }
        let (head, data) = rest.split_at_checked(length).ok_or_else(early)?;
        let text = String::from_utf8_lossy(head);
        let header = Self::of(&text).ok_or_else(|| {
            let shown: String = text.trim().chars().take(60).collect();
            fault(&format!("found {shown}"))
        })?;
        Ok((header, data))
    }

    /// `{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }`
    fn of(text: &str) -> Option<Self> {
        let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
        let (mut dtype, mut shape) = (None, None);
        for entry in split(inner, ',')? {
            let [key, value] = split(entry, ':')?[..] else { return None };
            match unquoted(key)? {
                "descr" => dtype = Some(unquoted(value).unwrap_or(value).to_owned()),
                "shape" => shape = Some(sizes(value)?),
                _ => {}
            }
        }
        Some(Self { dtype: dtype?, shape: shape? })
    }
}

/// The parts of a text between separators that stand in no brackets or quotes, without the blanks
/// around them; after the last separator there may be none.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut begin, mut depth, mut quote) = (Vec::new(), 0, 0_usize, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.checked_sub(1)?,
            (None, _) if c == separator && depth == 0 => {
                parts.push(text[begin..at].trim());
                begin = at + c.len_utf8();
            }
            (None, _) => {}
        }
    }
    let last = text[begin..].trim();
    if !last.is_empty() {
        parts.push(last);
    }
    (depth == 0 && quote.is_none()).then_some(parts)
}

fn unquoted(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

/// A tuple of sizes, to which Python 2 adds an `L`.
fn sizes(text: &str) -> Option<Vec<u64>> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let size = |size: &str| size.strip_suffix('L').unwrap_or(size).parse().ok();
    split(inner, ',')?.into_iter().map(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_as_python_writes_them() {
        let header = |dtype: &str, shape: &[u64]| {
            Some(Header { dtype: dtype.to_owned(), shape: shape.to_vec() })
        };
        for (text, expected) in [
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }  \n", header("<f4", &[3])),
            (
                "{\"shape\":(2L,1L),\"fortran_order\":True,\"descr\":\">f8\"}",
                header(">f8", &[2, 1]),
            ),
            ("{'descr': '|O', 'fortran_order': False, 'shape': (), }", header("|O", &[])),
            (
                "{'descr': [('a', '<f4'), ('b,]:', '<i8', (2,))], 'shape': (5,), }",
                header("[('a', '<f4'), ('b,]:', '<i8', (2,))]", &[5]),
            ),
            ("{'descr': '<f4', 'fortran_order': False}", None),
            ("{'shape': (3,)}", None),
            ("{'descr': '<f4', 'shape': (-3,)}", None),
            ("{'descr': '<f4', 'shape': 3}", None),
            ("{'descr': '<f4', 'shape': (3,)", None),
            ("{'descr': '<f4, 'shape': (3,)}", None),
            ("{'descr': '<f4', 'shape': (3]}", None),
            ("{'descr'}", None),
            ("{'a': 1: 2}", None),
            ("", None),
        ] {
            assert_eq!(Header::of(text), expected, "{text}");
        }
    }
}
