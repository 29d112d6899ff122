use super::*;
use proptest::prelude::*;

/// A file of a version, with a dictionary and data.
fn file(version: u8, head: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = [MAGIC, &[version, 0]].concat();
    match version {
        1 => bytes.extend((head.len() as u16).to_le_bytes()),
        _ => bytes.extend((head.len() as u32).to_le_bytes()),
    }
    bytes.extend(head.bytes());
    bytes.extend(data);
    bytes
}

fn array(dtype: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    file(1, &format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n"), data)
}

fn refused(bytes: &[u8]) -> String {
    read(bytes).map_or_else(|error| error.to_string(), |_| "read".to_owned())
}

#[test]
fn data_begins_at_a_multiple_of_64() {
    for count in [0, 1, 9, 10, 12_345] {
        let values: Vec<f64> = (0..count).map(|i| i as f64).collect();
        let bytes = one_dimensional(&values);
        let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((10 + length) % 64, 0);
        assert_eq!(bytes[10 + length - 1], b'\n');
        assert_eq!(bytes.len(), 10 + length + 8 * count);
        let header = String::from_utf8_lossy(&bytes[10..10 + length]).into_owned();
        assert!(header.contains(&format!("'shape': ({count},)")), "{header}");
        assert_eq!(read(&bytes), Ok(values));
    }
}

#[test]
fn numbers_of_every_type() {
    let cases: [(&str, Vec<u8>, f64); 12] = [
        ("f2", vec![0x35, 0x55], 0.333_251_953_125),
        ("f2", vec![0xfc, 0x00], f64::NEG_INFINITY),
        ("f4", 0.1_f32.to_be_bytes().to_vec(), f64::from(0.1_f32)),
        ("f8", 0.1_f64.to_be_bytes().to_vec(), 0.1),
        ("i1", vec![0xfe], -2.0),
        ("u1", vec![0xfe], 254.0),
        ("i2", (-300_i16).to_be_bytes().to_vec(), -300.0),
        ("u2", 65_000_u16.to_be_bytes().to_vec(), 65_000.0),
        ("i4", (-70_000_i32).to_be_bytes().to_vec(), -70_000.0),
        ("u4", 4_000_000_000_u32.to_be_bytes().to_vec(), 4e9),
        ("i8", (-9_007_199_254_740_992_i64).to_be_bytes().to_vec(), -9_007_199_254_740_992.0),
        ("u8", 9_007_199_254_740_992_u64.to_be_bytes().to_vec(), 9_007_199_254_740_992.0),
    ];
    for (name, mut bytes, value) in cases {
        for order in ['>', '<'] {
            let data = bytes.repeat(3);
            for shape in ["(3,)", "(3, 1)", "(1, 3)", "(3L,)"] {
                let array = array(&format!("{order}{name}"), shape, &data);
                assert_eq!(read(&array), Ok(vec![value; 3]), "{order}{name}");
            }
            bytes.reverse();
        }
    }
    assert_eq!(read(&array("|i1", "(2,)", &[1, 0xff])), Ok(vec![1.0, -1.0]));
}

#[test]
fn numbers_of_half_precision() {
    // numpy.frombuffer(bytes, '<f2'): the least, the largest without an
    // exponent, the least with one, 1, the largest, infinity and zeros.
    for (bits, value) in [
        (0x0001, 5.960_464_477_539_063e-8),
        (0x03ff, 6.097_555_160_522_461e-5),
        (0x0400, 6.103_515_625e-5),
        (0x3c00, 1.0),
        (0xbc01, -1.000_976_562_5),
        (0x7bff, 65_504.0),
        (0x7c00, f64::INFINITY),
        (0x0000, 0.0),
        (0x8000, -0.0),
    ] {
        assert_eq!(half(bits).to_bits(), f64::to_bits(value), "{bits:#06x}");
    }
    assert!(half(0x7c01).is_nan() && half(0xfe00).is_nan());
}

#[test]
fn all_versions_are_read() {
    let head = "{'descr': '<f8', 'fortran_order': True, 'shape': (1,), }\n";
    for version in [1, 2, 3] {
        let bytes = file(version, head, &0.5_f64.to_le_bytes());
        assert_eq!(read(&bytes), Ok(vec![0.5]), "{version}");
    }
    assert!(refused(&file(4, head, &[0; 8])).contains("version 1 to 3, but it is of version 4"));
}

#[test]
fn what_holds_no_scores_is_named() {
    let nan = [0.5_f64.to_le_bytes(), f64::NAN.to_le_bytes()].concat();
    let large = [0_i64.to_le_bytes(), (i64::MIN).to_le_bytes()].concat();
    let cases = [
        (array("<c8", "(3,)", &[0; 24]), "found dtype <c8; save them as numpy.save("),
        (array("|b1", "(3,)", &[0; 3]), "found dtype |b1;"),
        (array("<f16", "(3,)", &[0; 48]), "found dtype <f16;"),
        (array("|O", "(3,)", &[0; 9]), "found dtype |O;"),
        (array("<U5", "(3,)", &[0; 60]), "found dtype <U5;"),
        (array("", "(3,)", &[0; 60]), "found dtype ;"),
        (
            file(1, "{'descr': [('score', '<f8')], 'shape': (1,)}", &[0; 8]),
            "found dtype [('score', '<f8')];",
        ),
        (array("<f4", "(3, 2)", &[0; 24]), "but found (3, 2); save the scores alone"),
        (array("<f4", "(1, 3, 1)", &[0; 12]), "but found (1, 3, 1);"),
        (array("<f4", "()", &[0; 4]), "but found ();"),
        (array("<f4", "(3,)", &[0; 11]), "expected 12 bytes of values, but found 11"),
        (array("<f4", "(3,)", &[0; 13]), "expected 12 bytes of values, but found 13"),
        (array("<f8", "(2,)", &nan), "value 1 is NaN"),
        (array("<i8", "(2,)", &large), "value 1 is -9223372036854775808"),
        (array("<u8", "(1,)", &[0xff; 8]), "value 0 is 18446744073709551615"),
        (file(1, "no dictionary", &[]), "but found no dictionary"),
        (MAGIC.to_vec(), "the file ends early"),
        (b"\x93NUMPX\x01\x00".to_vec(), "the file begins otherwise"),
    ];
    for (bytes, expected) in cases {
        let error = refused(&bytes);
        assert!(error.contains(expected), "'{error}' lacks '{expected}'");
    }
}

#[test]
fn stated_sizes_are_not_believed() {
    let error = refused(&array("<f8", "(18446744073709551615,)", &[0; 8]));
    assert_eq!(error, "expected 18446744073709551615 bytes of values, but found 8");
    let error = refused(&array("<f8", "(18446744073709551616,)", &[0; 8]));
    assert!(error.contains("version 1 to 3, but found {'descr'"), "{error}");
    let mut endless = [MAGIC, &[2, 0]].concat();
    endless.extend(u32::MAX.to_le_bytes());
    endless.resize(1_000, b' ');
    assert!(refused(&endless).contains("it has 4294967295 bytes"));
    let whole = one_dimensional(&[0.5, 0.25]);
    for length in 0..whole.len() {
        assert_ne!(refused(&whole[..length]), "read", "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn scores_come_back(scores in prop::collection::vec(-1e300_f64..1e300, 0..30)) {
        prop_assert_eq!(read(&one_dimensional(&scores)), Ok(scores));
    }

    #[test]
    fn damage_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        length in 0_usize..=90,
    ) {
        let mut bytes = array("<f2", "(4,)", &[0x3c; 8]);
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let length = length.min(bytes.len());
        if let Ok(scores) = read(&bytes).and(read(&bytes[..length])) {
            prop_assert!(scores.iter().all(|score| !score.is_nan()));
        }
    }
}
