use super::super::tests::{archive, assert_holds, byte};
use super::super::{PIXELS, Version, read_archive, read_folder, read_members};
use super::*;
use crate::data::{Images, Split};
use proptest::prelude::*;
use std::error::Error;
use std::fs;
use std::path::Path;

type Tested = Result<(), Box<dyn Error>>;

fn fixture(name: &str) -> Result<Vec<u8>, std::io::Error> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cifar_python").join(name))
}

/// A string of Python 2.
fn string(bytes: &[u8]) -> Vec<u8> {
    [b"T".as_slice(), &(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

fn number(value: u32) -> Vec<u8> {
    [b"J".as_slice(), &value.to_le_bytes()].concat()
}

/// An array of NumPy 1 in protocol 2; the type is such as `<i8`.
fn array(dtype: &str, shape: &[u32], is_fortran: bool, data: &[u8]) -> Vec<u8> {
    let (order, name) = dtype.split_at(1);
    let order_of_indices: &[u8] = if is_fortran { b"\x88" } else { b"\x89" };
    [
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01("
            .as_slice(),
        shape.iter().flat_map(|size| number(*size)).collect::<Vec<u8>>().as_slice(),
        b"tcnumpy\ndtype\n",
        &string(name.as_bytes()),
        b"K\x00K\x01\x87R(K\x03",
        &string(order.as_bytes()),
        b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
        order_of_indices,
        &string(data),
        b"tb",
    ]
    .concat()
}

fn list(labels: &[u8]) -> Vec<u8> {
    let labels: Vec<u8> = labels.iter().flat_map(|label| [b'K', *label]).collect();
    [b"](".as_slice(), &labels, b"e"].concat()
}

fn dictionary(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<u8> = entries
        .iter()
        .flat_map(|(key, value)| [string(key.as_bytes()), value.clone()].concat())
        .collect();
    [b"\x80\x02}(".as_slice(), &entries, b"u."].concat()
}

fn planes(labels: &[u8]) -> Vec<u8> {
    let image = |label: &u8| {
        (0..BYTES).map(|at| byte(*label, at / PIXELS, at % PIXELS)).collect::<Vec<u8>>()
    };
    labels.iter().flat_map(image).collect()
}

/// A file of CIFAR-10 with these labels.
fn ten(labels: &[u8]) -> Vec<u8> {
    let data = array("|u1", &[labels.len() as u32, 3072], false, &planes(labels));
    dictionary(&[("labels", list(labels)), ("data", data)])
}

/// The images of a file, as the only one of the test split.
fn read(kind: Cifar, bytes: Vec<u8>) -> Result<Images, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    for name in ["test_batch", "test"] {
        fs::write(folder.path().join(name), &bytes)?;
    }
    Ok(read_folder(kind, Version::Python, Split::Test, folder.path())?)
}

fn refused(kind: Cifar, bytes: Vec<u8>) -> String {
    read(kind, bytes).map_or_else(|error| error.to_string(), |_| "read".to_owned())
}

#[test]
fn files_of_every_python() -> Tested {
    for name in [
        "python2_protocol2",
        "python3_protocol0",
        "python3_protocol2",
        "python3_protocol4",
        "python3_protocol5",
    ] {
        let images =
            read(Cifar::Ten, fixture(name)?).map_err(|error| format!("{name}: {error}"))?;
        assert_holds(&images, &[7]);
        assert_eq!(images.classes[7], "horse");
    }
    for name in ["hundred_protocol4", "hundred_scalar_protocol2"] {
        let images =
            read(Cifar::Hundred, fixture(name)?).map_err(|error| format!("{name}: {error}"))?;
        assert_holds(&images, &[7]);
        assert_eq!(images.classes[7], "beetle");
    }
    Ok(())
}

#[test]
fn batches_come_in_their_order() -> Tested {
    let members = [
        ("cifar-10-batches-py/", vec![]),
        ("cifar-10-batches-py/data_batch_4", ten(&[4])),
        ("cifar-10-batches-py/data_batch_1", ten(&[3, 0])),
        ("cifar-10-batches-py/batches.meta", b"junk".to_vec()),
        ("cifar-10-batches-py/data_batch_5", ten(&[9, 8])),
        ("cifar-10-batches-py/data_batch_2", ten(&[2])),
        ("cifar-10-batches-py/._data_batch_2", b"junk".to_vec()),
        ("cifar-10-batches-py/test_batch", ten(&[7, 6, 6])),
        ("cifar-10-batches-py/data_batch_3", ten(&[5])),
    ];
    let packed = archive(&members)?;
    let folder = tempfile::tempdir()?;
    for (path, data) in members.iter().skip(1) {
        let name = path.rsplit('/').next().ok_or("no name")?;
        fs::write(folder.path().join(name), data)?;
    }
    let path = folder.path().join("cifar-10-python.tar.gz");
    fs::write(&path, &packed)?;
    for (split, labels) in
        [(Split::Train, [3, 0, 2, 5, 4, 9, 8].as_slice()), (Split::Test, [7, 6, 6].as_slice())]
    {
        let unpacked = read_folder(Cifar::Ten, Version::Python, split, folder.path())?;
        assert_holds(&unpacked, labels);
        assert_eq!(read_archive(Cifar::Ten, Version::Python, split, &path)?, unpacked);
    }
    // The binary version is not in there.
    let binary = read_archive(Cifar::Ten, Version::Binary, Split::Test, &path);
    assert!(binary.is_err_and(|error| error.to_string().contains("a file test_batch.bin")));
    for length in [packed.len() / 2, packed.len() - 1] {
        let cut = read_members(Cifar::Ten, Version::Python, Split::Test, &path, &packed[..length]);
        assert!(cut.is_err());
    }
    Ok(())
}

#[test]
fn arrays_of_any_order_and_labels_of_any_type() -> Tested {
    let labels = [1, 9, 5];
    let rows = planes(&labels);
    let columns: Vec<u8> = (0..3 * BYTES).map(|at| rows[at % 3 * BYTES + at / 3]).collect();
    let little: Vec<u8> = labels.iter().flat_map(|label| i64::from(*label).to_le_bytes()).collect();
    let big: Vec<u8> = labels.iter().flat_map(|label| i32::from(*label).to_be_bytes()).collect();
    let scalar = |label: &u8| {
        let head = b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02u1K\x00K\x01\x87R";
        [head.as_slice(), &string(&[*label]), b"\x86R"].concat()
    };
    let scalars: Vec<u8> = labels.iter().flat_map(scalar).collect();
    let data = array("|u1", &[3, 3072], false, &rows);
    let cases = [
        (array("|u1", &[3, 3072], true, &columns), list(&labels)),
        (array("|u1", &[3, 3, 32, 32], false, &rows), list(&labels)),
        (data.clone(), array("<i8", &[3], false, &little)),
        (data.clone(), array(">i4", &[3, 1], true, &big)),
        (data.clone(), array("|u1", &[1, 3], false, &labels)),
        (data.clone(), [b"](".as_slice(), &scalars, b"e"].concat()),
        (data, [b"(".as_slice(), b"K\x01K\x09K\x05", b"t"].concat()),
    ];
    for (at, (data, labels_of_case)) in cases.into_iter().enumerate() {
        let file = dictionary(&[("data", data), ("labels", labels_of_case)]);
        let images = read(Cifar::Ten, file).map_err(|error| format!("{at}: {error}"))?;
        assert_holds(&images, &labels);
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_named() {
    let data = |shape: &[u32]| {
        let count = shape.iter().product::<u32>() as usize;
        array("|u1", shape, false, &vec![0; count])
    };
    let file = |data: Vec<u8>, labels: Vec<u8>| dictionary(&[("data", data), ("labels", labels)]);
    let two = data(&[2, 3072]);
    let floats = array("<f4", &[2, 3072], false, &vec![0; 4 * 2 * BYTES]);
    let wide = array("<i8", &[2, 3072], false, &vec![0; 8 * 2 * BYTES]);
    let cases = [
        (file(two.clone(), list(&[1, 10])), "a label below 10 in record 1, but found 10"),
        (
            file(two.clone(), array("|i1", &[2], false, &[1, 0xff])),
            "a label below 10 in record 1, but found -1",
        ),
        (file(two.clone(), list(&[1])), "2 labels, one for each image, but found 1 labels"),
        (file(two.clone(), b"U\x01a".to_vec()), "an array of NumPy as 'labels', but found text"),
        (
            file(two.clone(), [b"](".as_slice(), b"K\x01N", b"e"].concat()),
            "a label for each image as 'labels', but found some other value",
        ),
        (
            file(two.clone(), array("|u1", &[2, 2], false, &[1; 4])),
            "one number for each image as 'labels', but found shape [2, 2]",
        ),
        (dictionary(&[("labels", list(&[1]))]), "an entry 'data', but found only {'labels'}"),
        (
            dictionary(&[("data", two.clone()), ("fine_labels", list(&[1, 2]))]),
            "an entry 'labels', but found only {'data', 'fine_labels'}",
        ),
        (file(floats, list(&[1, 2])), "whole numbers as 'data', but found dtype f4"),
        (file(wide, list(&[1, 2])), "unsigned bytes (uint8) as 'data', but found dtype i8"),
        (
            file(data(&[2, 3071]), list(&[1, 2])),
            "N × 3072 values as 'data', but found shape [2, 3071]",
        ),
        (file(data(&[2, 32, 32, 3]), list(&[1, 2])), "but found shape [2, 32, 32, 3]"),
        (file(data(&[0, 3072]), list(&[])), "expected 1 to 10000 images, but found 0 images"),
        (
            file(data(&[10_001, 3072]), list(&[])),
            "expected 1 to 10000 images, but found 10001 images",
        ),
        (
            file(array("|u1", &[2, 3072], false, &[0; 6_143]), list(&[1, 2])),
            "[2, 3072] values of 1 bytes each as 'data', but found 6143 bytes",
        ),
        (
            file(array("|u1", &[2, 3, 32, 32], true, &[0; 6_144]), list(&[1, 2])),
            "an array in the order of C as 'data', but found one in the order of Fortran",
        ),
        (
            file(b"cposix\nsystem\nU\x04true\x85R".to_vec(), list(&[1])),
            "an array of NumPy as 'data', but found an object made by posix.system",
        ),
        (b"\x80\x02]q\x00.".to_vec(), "a dictionary with data and labels, but found a list"),
        (b"\x80\x05\x97.".to_vec(), "that cannot be read: some of it lies outside of the pickle"),
        (b"\x80\x02}".to_vec(), "one that cannot be read: it ends early, after 3 bytes"),
        (vec![], "a pickle of images and labels, but found an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "a pointer of Git LFS"),
        (b"<!DOCTYPE html>".to_vec(), "but found a page of HTML"),
    ];
    for (bytes, expected) in cases {
        let error = refused(Cifar::Ten, bytes);
        assert!(error.contains("test_batch: expected "), "{error}");
        assert!(error.contains(expected), "'{error}' lacks '{expected}'");
    }
    let error = refused(Cifar::Hundred, ten(&[1]));
    assert!(error.contains("test: expected an entry 'fine_labels'"), "{error}");
}

#[test]
fn stated_sizes_are_not_believed() -> Tested {
    // Strings and arrays larger than the file, and sizes whose product no computer counts to.
    let string = b"\x80\x02T\xff\xff\xff\x7f".to_vec();
    assert!(refused(Cifar::Ten, string).contains("it ends early"));
    let data = array("|u1", &[0x7fff_ffff; 8], false, &[0; 10]);
    let error = refused(Cifar::Ten, dictionary(&[("data", data), ("labels", list(&[1]))]));
    assert!(error.contains("values of 1 bytes each as 'data', but found 10 bytes"), "{error}");
    // Each byte of it would take many in memory.
    let many = [b"\x80\x02".to_vec(), b")".repeat(700_000)].concat();
    assert!(refused(Cifar::Ten, many).contains("it has more than 650000 instructions"));
    // A file without end, of which nothing is on the disk.
    let folder = tempfile::tempdir()?;
    fs::File::create(folder.path().join("test"))?.set_len(1 << 40)?;
    let error = read_folder(Cifar::Hundred, Version::Python, Split::Test, folder.path());
    assert!(error.is_err_and(|error| error.to_string().contains("but found 1099511627776 bytes")));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn damage_never_panics(
        name in prop::sample::select(vec![
            "python2_protocol2",
            "python3_protocol0",
            "python3_protocol5",
            "hundred_scalar_protocol2",
        ]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        at_the_end in any::<bool>(),
    ) {
        let mut bytes = fixture(name).expect("a fixture");
        // Nearly all else are pixels, any of which is as good as another.
        let head = bytes.len().min(560);
        for (index, byte) in changes {
            let at = index.index(head);
            let at = if at_the_end { bytes.len() - 1 - at } else { at };
            bytes[at] = byte;
        }
        for kind in [Cifar::Ten, Cifar::Hundred] {
            if let Ok(pickle) = parse(kind, &bytes)
                && let Ok(batch) = batch(kind, &pickle)
            {
                prop_assert_eq!(batch.planes.len(), batch.labels.len() * BYTES);
            }
        }
    }
}
