//! Scores as text, one a line.

use std::borrow::Cow;

/// A line that is no score.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// Counted from 1.
    pub line: usize,
    /// What stands there, cut to [`SHOWN`] characters.
    pub found: String,
    /// What can be done, if that can be told.
    pub advice: &'static str,
}

/// Characters of a line that an error shows.
const SHOWN: usize = 40;
/// What some editors begin a text with; where files were joined, it stands amidst.
const MARK: char = '\u{feff}';
/// What DOS ended a text with.
const END: char = '\u{1a}';

/// Bytes as text, or nothing if they are none. Characters that are not UTF-8 may stand in comments.
pub(super) fn decode(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        // Without a mark, digits tell by their empty halves.
        [first, 0, ..] if *first != 0 => utf16(bytes, u16::from_le_bytes)?,
        [0, second, ..] if *second != 0 => utf16(bytes, u16::from_be_bytes)?,
        _ => String::from_utf8_lossy(bytes),
    };
    let is_binary = |c: char| c.is_control() && !c.is_whitespace();
    let is_text = !text.trim_end_matches(is_space).contains(is_binary);
    is_text.then_some(text)
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<Cow<'static, str>> {
    let (units, []) = bytes.as_chunks::<2>() else { return None };
    let units: Vec<u16> = units.iter().copied().map(unit).collect();
    Some(String::from_utf16(&units).ok()?.into())
}

/// The scores in a text.
///
/// # Errors
///
/// The first line that is no score.
pub(super) fn parse(text: &str) -> Result<Vec<f64>, BadLine> {
    let mut scores = Vec::new();
    for (index, line) in lines(text).enumerate() {
        let text = without_comment(line).trim_matches(is_space);
        if text.is_empty() {
            continue;
        }
        match number(text) {
            Some(score) => scores.push(score),
            None => {
                let found = text.chars().take(SHOWN).collect();
                let advice = advice(text, scores.is_empty());
                return Err(BadLine { line: index + 1, found, advice });
            }
        }
    }
    Ok(scores)
}

/// Lines that end as on Unix, Windows or old Macs.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || c == MARK || c == END
}

/// What stands before a `#`, but for `1.#INF` and `1.#IND`, which old compilers write for infinity
/// and NaN: cut off there, they would be 1.
fn without_comment(line: &str) -> &str {
    match line.split_once('#') {
        Some((before, after)) if !is_special(before, after) => before,
        _ => line,
    }
}

fn is_special(before: &str, after: &str) -> bool {
    let kinds = ["INF", "IND", "QNAN", "SNAN"];
    before.ends_with("1.") && kinds.iter().any(|kind| after.starts_with(kind))
}

/// A score: no NaN, and infinite only if it says so.
fn number(text: &str) -> Option<f64> {
    let is_score = |score: &f64| {
        score.is_finite() || (score.is_infinite() && !text.contains(|c: char| c.is_ascii_digit()))
    };
    text.parse().ok().filter(is_score)
}

const COLUMNS: &str = "keep the column of scores alone, such as by `cut -d , -f 1` (the first one, \
                       between commas)";
const DECIMAL_COMMA: &str = "write numbers with a decimal point, such as by `tr , .`; of two \
                             columns, keep the one of scores";
const HEADER: &str = "if it is a header, begin it with # or remove it";
const TABLE: &str = "it looks like the header of a table: keep the column of scores alone, without \
                     its header";
const BRACKETS: &str = "write the numbers of the list one a line, such as by numpy.savetxt";
const NAN: &str =
    "NaN has no place in an order: find out where it comes from, or leave the sample out";
const INFINITY: &str = "write infinity as inf";
const RANGE: &str = "it is beyond the range of double precision";

/// What can be done about a line that is no score.
fn advice(text: &str, is_first: bool) -> &'static str {
    let unsigned = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let is_number = |text: &str| text.parse::<f64>().is_ok();
    let is_column = |part: &&str| !part.is_empty();
    let split = |c: char| is_space(c) || matches!(c, ',' | ';' | '|');
    let columns: Vec<&str> = text.split(split).filter(is_column).collect();
    if unsigned.starts_with("1.#inf") {
        INFINITY
    } else if unsigned.starts_with("nan") || unsigned.starts_with("1.#") {
        NAN
    } else if is_number(text) {
        RANGE
    } else if text.starts_with(['[', '{', '(']) {
        BRACKETS
    } else if text.matches(',').count() == 1 && is_number(&text.replace(',', ".")) {
        DECIMAL_COMMA
    } else if columns.iter().any(|column| is_number(column)) {
        COLUMNS
    } else if is_first && columns.len() > 1 {
        TABLE
    } else if is_first {
        HEADER
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Option<Result<Vec<f64>, BadLine>> {
        Some(parse(&decode(bytes)?))
    }

    fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(unit).collect()
    }

    #[test]
    fn texts_of_all_systems() {
        let text = "\u{feff}0.9\r\n0.8\r\n\r\n-0.4\r\n";
        let little = utf16(text, u16::to_le_bytes);
        let big = utf16(text, u16::to_be_bytes);
        let cases: [&[u8]; 13] = [
            b"0.9\n0.8\n-0.4\n",
            b"0.9\r\n0.8\r\n-.4",
            b"0.9\r0.8\r-4e-1\r",
            b"0.9\r0.8\r\n-4E-01\n",
            b"0.9\r\r\n0.8\r\r\n-0.4\r\r\n",
            text.as_bytes(),
            &little,
            &big,
            &little[2..],
            &big[2..],
            b"\n# scores of ResNet\n+0.9 # dog\n \t0.8\xc2\xa0\n-0.4#cat\n#",
            // A comment in Latin-1, the mark of a second file, the end of DOS.
            b"# caf\xe9\n0.9\n\xef\xbb\xbf0.8\n-0.4\x1a\r\n",
            b"  9.000000000000000222e-01\n8.000000000000000444e-01\n-4.000000000000000222e-01\n",
        ];
        for bytes in cases {
            assert_eq!(read(bytes), Some(Ok(vec![0.9, 0.8, -0.4])), "{bytes:?}");
        }
    }

    #[test]
    fn infinity_is_a_score() {
        let text = b"inf\n-inf\n+Infinity\n-INFINITY\nInf\n";
        let infinity = f64::INFINITY;
        let expected = vec![infinity, -infinity, infinity, -infinity, infinity];
        assert_eq!(read(text), Some(Ok(expected)));
        assert_eq!(read(b"\n \n# nothing\n"), Some(Ok(vec![])));
    }

    #[test]
    fn what_is_no_text_is_told() {
        let odd = [0xff_u8, 0xfe, 0];
        let lone = [0xff_u8, 0xfe, 0x00, 0xd8];
        let cases: [&[u8]; 5] =
            [&odd, &lone, b"\x00\x00\x00\x00\x00\x00\xe0\x3f", b"0.5\n\x07", b"0.5\x000.4"];
        for bytes in cases {
            assert_eq!(read(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn lines_that_are_no_scores_are_named_with_what_to_do() {
        let cases: [(&[u8], usize, &str, &str); 24] = [
            (b"0.9\nhigh\n", 2, "high", ""),
            (b"0.9\n\n#\n0.8 m\n", 4, "0.8 m", COLUMNS),
            (b"0.9\r0.8\rx\r", 3, "x", ""),
            (b"0.9\r\n0.8\r\nx\r\n", 3, "x", ""),
            (b"0.9\xe9\n", 1, "0.9\u{fffd}", HEADER),
            (b"0,5\n0,7\n", 1, "0,5", DECIMAL_COMMA),
            (b"-1,5e-3\n", 1, "-1,5e-3", DECIMAL_COMMA),
            (b"score\n0.5\n", 1, "score", HEADER),
            (b"image,score\na.png,0.5\n", 1, "image,score", TABLE),
            (b"a.png,0.5\n", 1, "a.png,0.5", COLUMNS),
            (b"0.5,0.7\n", 1, "0.5,0.7", COLUMNS),
            (b"0.5;0.7\n", 1, "0.5;0.7", COLUMNS),
            (b"0.5\t0.7\n", 1, "0.5\t0.7", COLUMNS),
            (b"0.5 0.7\n", 1, "0.5 0.7", COLUMNS),
            (b"0.5,\n", 1, "0.5,", COLUMNS),
            (b"[0.5, 0.7]\n", 1, "[0.5, 0.7]", BRACKETS),
            (b"{\"scores\": [0.5]}", 1, "{\"scores\": [0.5]}", BRACKETS),
            (b"1\nnan\n", 2, "nan", NAN),
            (b"1\n-NaN # odd\n", 2, "-NaN", NAN),
            (b"1\n1.#INF\n", 2, "1.#INF", INFINITY),
            (b"1\n-1.#IND00\n", 2, "-1.#IND00", NAN),
            (b"1\n1e999\n", 2, "1e999", RANGE),
            (b"1\n0x1p-3\n", 2, "0x1p-3", ""),
            (b"1\n1_000\n", 2, "1_000", ""),
        ];
        for (bytes, line, found, advice) in cases {
            let expected = BadLine { line, found: found.to_owned(), advice };
            assert_eq!(read(bytes), Some(Err(expected)));
        }
        let long = parse(&"x".repeat(1_000)).err();
        assert!(long.is_some_and(|bad| bad.found.len() == SHOWN));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&bytes);
        }

        #[test]
        fn any_lines_are_read_or_refused(text in "[0-9.,;#+\\-eEinfa \\r\\n\u{feff}]{0,60}") {
            if let Ok(scores) = parse(&text) {
                prop_assert!(scores.iter().all(|score| !score.is_nan()));
                prop_assert!(scores.len() <= text.len());
            }
        }

        /// What is printed comes back to the last bit, whichever way it is encoded.
        #[test]
        fn printed_scores_come_back(scores in prop::collection::vec(any::<f64>(), 0..20)) {
            let scores: Vec<f64> = scores.into_iter().filter(|score| !score.is_nan()).collect();
            let text: String = scores.iter().map(|score| format!("{score}\r\n")).collect();
            let encoded = [text.clone().into_bytes(), utf16(&text, u16::to_le_bytes)];
            for bytes in encoded {
                prop_assert_eq!(read(&bytes), Some(Ok(scores.clone())));
            }
        }
    }
}
