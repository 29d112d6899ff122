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
    let cases: [(u32, Vec<u8>, f64); 18] = [
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
        (1, vec![100], 100.0),
        (3, 255_i16.to_be_bytes().to_vec(), 255.0),
        (4, 256_u16.to_be_bytes().to_vec(), 256.0),
        (5, 7_i32.to_be_bytes().to_vec(), 7.0),
        (7, 10_f32.to_be_bytes().to_vec(), 10.0),
        (9, 255_f64.to_be_bytes().to_vec(), 255.0),
        (9, (-0.0_f64).to_be_bytes().to_vec(), 0.0),
        (13, 1_u64.to_be_bytes().to_vec(), 1.0),
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
                let is_byte = expected.fract() == 0.0 && (0.0..=255.0).contains(&expected);
                let values = match is_byte {
                    true => Values::Bytes(vec![expected as u8; 3]),
                    false => Values::Other { index: 0, value: expected },
                };
                assert_eq!(array.values, values);
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
        assert_eq!(arrays[0].values, Values::Bytes((0..12).collect()));
    }
    Ok(())
}

#[test]
fn files_are_named() -> Tested {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("x.mat");
    let error = |limit| read(&path, limit).map_or_else(|error| error.to_string(), |_| "".into());
    assert!(error(LIMIT).contains("x.mat: No such file"));
    std::fs::write(&path, writer::file(LITTLE, true, &[twelve(LITTLE)]))?;
    assert_eq!(read(&path, LIMIT)?.len(), 1);
    let error = error(10);
    assert!(error.ends_with("x.mat: expected at most 10 more values of arrays, but found 12"));
    Ok(())
}

#[test]
fn what_is_no_level_5_file_is_refused() {
    let whole = writer::file(LITTLE, false, &[twelve(LITTLE)]);
    assert_eq!(refused(&whole), "read");
    // Where bytes are replaced, by what, and what the error says.
    let cases: [(usize, &[u8], &str); 9] = [
        (124, &[0, 3], "expected a MAT file of version 0x0100, but found version 0x0300"),
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
fn files_of_other_formats_are_named() {
    let hdf5 = b"\x89HDF\r\n\x1a\n".as_slice();
    let mut matlab_7_3 = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".to_vec();
    matlab_7_3.resize(124, b' ');
    matlab_7_3.extend([0, 2, b'I', b'M']);
    matlab_7_3.resize(512, 0);
    matlab_7_3.extend(hdf5);
    let bare = [hdf5, &[0; 1_000]].concat();
    for file in [&matlab_7_3[..], &matlab_7_3[..128], &bare[..], hdf5] {
        let error = refused(file);
        assert!(error.contains("found one of MATLAB 7.3 (HDF5); save it again by"), "{error}");
        assert!(error.contains("h5py.File('IN.mat')"), "{error}");
    }
    let page = [b"<html>".as_slice(), &[b' '; 500]].concat();
    let cases: [(&[u8], &str); 5] = [
        (b"", "but found an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "but found a pointer of Git LFS"),
        (&page, "but found a page of HTML"),
        (b"\x93NUMPY\x01\x00", "but found an array of NumPy"),
        (b"0.5\n", "but found a file that does not begin like one"),
    ];
    for (file, found) in cases {
        let error = refused(file);
        assert!(error.contains("a.mat: expected a level-5 MAT file") && error.contains(found));
    }
}

/// What cannot be kept is not unpacked without end either.
#[test]
fn what_is_passed_over_is_limited_as_well() {
    let text = writer::array(LITTLE, 4, "text", &[1, 9 << 20], 16, &vec![b' '; 9 << 20]);
    let error = refused(&writer::file(LITTLE, true, &[text]));
    assert!(error.contains("a.mat: expected at most 9437184 more bytes of arrays"), "{error}");
}

#[test]
fn wide_numbers_are_kept_as_bytes() -> Tested {
    // More than are read at once, and more bytes than may be kept.
    let numbers = |value: f64| -> Vec<u8> {
        let numbers = (0..200_000).map(|i| if i == 150_000 { value } else { f64::from(i % 256) });
        numbers.flat_map(f64::to_le_bytes).collect()
    };
    for (value, index) in [(7.0, None), (256.0, Some(150_000)), (0.5, Some(150_000))] {
        let array = writer::array(LITTLE, 6, "X", &[200, 1_000], 9, &numbers(value));
        for compressed in [false, true] {
            let file = writer::file(LITTLE, compressed, std::slice::from_ref(&array));
            let arrays = parse(&file)?;
            assert_eq!(arrays[0].len(), 200_000);
            match (&arrays[0].values, index) {
                (Values::Bytes(bytes), None) => {
                    assert_eq!((bytes.len(), bytes[150_000], bytes[199_999]), (200_000, 7, 63));
                }
                (values, Some(index)) => assert_eq!(values, &Values::Other { index, value }),
                (values, None) => panic!("found {values:?}"),
            }
        }
    }
    Ok(())
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
            let count = array.dims.iter().product::<usize>();
            prop_assert_eq!(array.len(), count);
            match array.values {
                Values::Bytes(bytes) => prop_assert_eq!(bytes.len(), count),
                Values::Other { index, .. } => prop_assert!(index < count),
            }
        }
    }
}
