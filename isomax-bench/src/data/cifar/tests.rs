use super::*;
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use std::error::Error;
use std::fs;
use std::io::Write;

type Tested = Result<(), Box<dyn Error>>;

/// A byte of an image in a plane, repeated along a row, so that archives are small.
pub(super) fn byte(label: u8, plane: usize, pixel: usize) -> u8 {
    (80 * plane + pixel % SIDE + usize::from(label)) as u8
}

fn record(kind: Cifar, label: u8) -> Vec<u8> {
    let mut record = match kind {
        Cifar::Ten => vec![label],
        Cifar::Hundred => vec![label % 20, label],
    };
    record.extend((0..BYTES).map(|at| byte(label, at / PIXELS, at % PIXELS)));
    record
}

fn file(kind: Cifar, labels: &[u8]) -> Vec<u8> {
    labels.iter().flat_map(|label| record(kind, *label)).collect()
}

pub(super) fn archive(members: &[(&str, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let encoder = GzEncoder::new(Vec::new(), Compression::default());
    let mut builder = tar::Builder::new(encoder);
    for (path, data) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        if path.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        builder.append_data(&mut header, path, data.as_slice())?;
    }
    builder.into_inner()?.finish()
}

fn read(kind: Cifar, split: Split, archive: &[u8]) -> Result<Images, CifarError> {
    read_members(kind, Version::Binary, split, Path::new("cifar.tar.gz"), archive)
}

fn refused(kind: Cifar, archive: &[u8]) -> String {
    read(kind, Split::Test, archive).map_or_else(|error| error.to_string(), |_| "read".to_owned())
}

pub(super) fn assert_holds(images: &Images, labels: &[u8]) {
    assert_eq!(images.size, [32, 32]);
    let found: Vec<_> = images.labels.iter().map(|label| *label as u8).collect();
    assert_eq!(found, labels);
    assert_eq!(images.bytes.len(), labels.len() * BYTES);
    for (at, found) in images.bytes.iter().enumerate() {
        let (label, pixel) = (labels[at / BYTES], at / 3 % PIXELS);
        assert_eq!(*found, byte(label, at % 3, pixel), "{at}");
    }
}

#[test]
fn batches_come_in_their_order() -> Tested {
    let ten = |labels: &[u8]| file(Cifar::Ten, labels);
    let members = [
        ("cifar-10-batches-bin/", vec![]),
        ("cifar-10-batches-bin/data_batch_3.bin", ten(&[5])),
        ("cifar-10-batches-bin/batches.meta.txt", b"airplane\n".to_vec()),
        ("cifar-10-batches-bin/data_batch_1.bin", ten(&[3, 0])),
        ("cifar-10-batches-bin/data_batch_5.bin", ten(&[9, 8])),
        ("cifar-10-batches-bin/test_batch.bin", ten(&[7, 6, 6])),
        ("cifar-10-batches-bin/data_batch_2.bin", ten(&[4])),
        ("cifar-10-batches-bin/._data_batch_2.bin", b"junk".to_vec()),
        ("cifar-10-batches-bin/data_batch_4.bin", ten(&[1])),
    ];
    let packed = archive(&members)?;
    let train = read(Cifar::Ten, Split::Train, &packed)?;
    assert_holds(&train, &[3, 0, 4, 5, 1, 9, 8]);
    assert_eq!((train.classes.len(), train.classes[1].as_str()), (10, "automobile"));
    let test = read(Cifar::Ten, Split::Test, &packed)?;
    assert_holds(&test, &[7, 6, 6]);

    let folder = tempfile::tempdir()?;
    for (path, data) in members.iter().skip(1) {
        let name = path.rsplit('/').next().ok_or("no name")?;
        fs::write(folder.path().join(name), data)?;
    }
    assert_eq!(read_folder(Cifar::Ten, Version::Binary, Split::Train, folder.path())?, train);
    assert_eq!(read_folder(Cifar::Ten, Version::Binary, Split::Test, folder.path())?, test);
    let path = folder.path().join("cifar-10-binary.tar.gz");
    fs::write(&path, packed)?;
    assert_eq!(read_archive(Cifar::Ten, Version::Binary, Split::Train, &path)?, train);
    Ok(())
}

#[test]
fn fine_labels_of_cifar_100() -> Tested {
    let hundred = |labels: &[u8]| file(Cifar::Hundred, labels);
    let members = [
        ("cifar-100-binary/train.bin", hundred(&[99, 0, 42])),
        ("cifar-100-binary/test.bin", hundred(&[20])),
    ];
    let packed = archive(&members)?;
    let train = read(Cifar::Hundred, Split::Train, &packed)?;
    assert_holds(&train, &[99, 0, 42]);
    let names = [99, 0, 42].map(|label: usize| train.classes[label].as_str());
    assert_eq!((train.classes.len(), names), (100, ["worm", "apple", "leopard"]));
    assert!(train.classes.is_sorted());
    assert_holds(&read(Cifar::Hundred, Split::Test, &packed)?, &[20]);
    Ok(())
}

#[test]
fn what_is_wrong_is_named() -> Tested {
    let test = |data: Vec<u8>| archive(&[("a/test_batch.bin", data)]);
    let whole = file(Cifar::Ten, &[1, 2]);
    let mut label = whole.clone();
    label[3073] = 10;
    let whole_records = "expected 1 to 10000 records of 3073 bytes";
    for length in [0, 6145, 10_001 * 3073] {
        let error = refused(Cifar::Ten, &test(vec![0; length])?);
        assert!(error.contains(&format!("{whole_records}, but found {length} bytes")), "{error}");
    }
    let cases = [
        (archive(&[("a/data_batch_1.bin", whole.clone())])?, "expected a file test_batch.bin"),
        (test(label)?, "expected a label below 10 in record 1, but found 10"),
        (b"no gzip".to_vec(), "expected a whole tar.gz archive, but"),
        (vec![], "expected a whole tar.gz archive, but"),
    ];
    for (archive, expected) in cases {
        let error = refused(Cifar::Ten, &archive);
        assert!(error.starts_with("cifar.tar.gz") && error.contains(expected), "{error}");
    }
    for (at, classes) in [(0, 20), (1, 100)] {
        let mut data = file(Cifar::Hundred, &[1]);
        data[at] = classes;
        let error = refused(Cifar::Hundred, &archive(&[("test.bin", data)])?);
        let expected = format!("test.bin: expected a label below {classes} in record 0");
        assert!(error.contains(&expected), "{error}");
    }
    let folder = tempfile::tempdir()?;
    let absent = read_folder(Cifar::Hundred, Version::Binary, Split::Test, folder.path());
    assert!(absent.is_err_and(|error| error.to_string().contains("test.bin: No such file")));
    fs::write(folder.path().join("test.bin"), &whole)?;
    let damaged = read_folder(Cifar::Hundred, Version::Binary, Split::Test, folder.path());
    assert!(damaged.is_err_and(|error| error.to_string().contains("found 6146 bytes")));
    Ok(())
}

#[test]
fn stated_sizes_are_not_believed() -> Tested {
    // Whole records are promised, but only one is there.
    let mut header = tar::Header::new_gnu();
    header.set_path("test.bin")?;
    header.set_size(50_000 * 3074);
    header.set_cksum();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(header.as_bytes())?;
    encoder.write_all(&record(Cifar::Hundred, 1))?;
    let error = refused(Cifar::Hundred, &encoder.finish()?);
    assert!(error.contains("expected a whole tar.gz archive, but"), "{error}");
    header.set_size(u64::MAX);
    header.set_cksum();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(header.as_bytes())?;
    assert_ne!(refused(Cifar::Hundred, &encoder.finish()?), "read");
    Ok(())
}

#[test]
fn parts_of_archives_are_refused() -> Tested {
    let data = file(Cifar::Ten, &[1, 2]);
    let whole = archive(&[("a/test_batch.bin", data), ("a/readme.html", vec![b'x'; 5000])])?;
    assert_eq!(refused(Cifar::Ten, &whole), "read");
    for length in 0..whole.len() {
        assert_ne!(refused(Cifar::Ten, &whole[..length]), "read", "{length}");
    }
    Ok(())
}

#[test]
fn flipped_bits_are_found() -> Tested {
    let data = file(Cifar::Ten, &[1]);
    let mut bytes = archive(&[("a/test_batch.bin", data), ("a/readme.html", vec![b'x'; 99])])?;
    let whole = read(Cifar::Ten, Split::Test, &bytes)?;
    for bit in 0..8 * bytes.len() {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let read = read(Cifar::Ten, Split::Test, &bytes);
        assert!(read.map_or(true, |images| images == whole), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn damage_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        // Damage to the head of a tar file, under the checksum of gzip.
        let mut header = tar::Header::new_gnu();
        header.set_path("test_batch.bin").expect("a short path");
        header.set_size(3073);
        header.set_cksum();
        let mut head = header.as_bytes().to_vec();
        for (index, byte) in changes {
            let at = index.index(head.len());
            head[at] = byte;
        }
        // Otherwise, nearly all damage would be caught by the checksum of the head.
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        let old: u32 = head[148..156].iter().map(|byte| u32::from(*byte)).sum();
        let sum = sum - old + 8 * 32;
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        head.extend(record(Cifar::Ten, 1));
        head.resize(512 * 10, 0);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&head).expect("memory can be written");
        let packed = encoder.finish().expect("memory can be written");
        if let Ok(images) = read(Cifar::Ten, Split::Test, &packed) {
            prop_assert_eq!(images.bytes.len(), images.labels.len() * BYTES);
        }
    }
}
