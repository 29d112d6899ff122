//! Texts of protocol 0, which stand on a line with escapes.

/// Text that begins with `V`: one character for each byte, but for `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn raw_unicode(line: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        let length = match (byte, after.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => 0,
        };
        let digits = after.get(1..=length).filter(|_| length > 0);
        let code = digits.and_then(|digits| digits.iter().try_fold(0, hexadecimal));
        match code {
            // Halves of a pair, which text of Python may have, stand for nothing.
            Some(code) => text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
            None => text.push(char::from(byte)),
        }
        rest = if code.is_some() { &after[1 + length..] } else { after };
    }
    text
}

/// A string of Python 2, which begins with `S`: between quotes, with the escapes of `repr`.
pub(super) fn string(line: &[u8]) -> Vec<u8> {
    let mut rest = match line {
        [first @ (b'\'' | b'"'), inner @ .., last] if first == last => inner,
        _ => line,
    };
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        let (plain, used) = match after {
            _ if byte != b'\\' => (byte, 0),
            [b'n', ..] => (b'\n', 1),
            [b'r', ..] => (b'\r', 1),
            [b't', ..] => (b'\t', 1),
            [quoted @ (b'\\' | b'\'' | b'"'), ..] => (*quoted, 1),
            [b'x', high, low, ..] => match [high, low].into_iter().try_fold(0, hexadecimal) {
                Some(code) => (code as u8, 3),
                None => (byte, 0),
            },
            _ => (byte, 0),
        };
        bytes.push(plain);
        rest = &after[used..];
    }
    bytes
}

/// A number with one more hexadecimal digit.
fn hexadecimal(number: u32, digit: &u8) -> Option<u32> {
    Some(number.checked_mul(16)? + char::from(*digit).to_digit(16)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_text() {
        for (line, text) in [
            (b"plain".as_slice(), "plain"),
            (b"\xe9\\u0041\\U0001f600", "\u{e9}A\u{1f600}"),
            (b"\\u00", "\\u00"),
            (b"\\ud800\\Uffffffff", "\u{fffd}\u{fffd}"),
            (b"\\n\\", "\\n\\"),
        ] {
            assert_eq!(raw_unicode(line), text);
        }
    }

    #[test]
    fn escapes_of_strings() {
        for (line, bytes) in [
            (b"'plain'".as_slice(), b"plain".as_slice()),
            (b"\"it's\"", b"it's"),
            (b"'\\x00\\xff\\\\\\'\\n\\r\\t'", b"\x00\xff\\'\n\r\t"),
            (b"'\\x0'", b"\\x0"),
            (b"'\\q\\'", b"\\q\\"),
            (b"bare", b"bare"),
            (b"'", b"'"),
        ] {
            assert_eq!(string(line), bytes);
        }
    }
}
