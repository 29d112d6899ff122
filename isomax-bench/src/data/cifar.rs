//! CIFAR-10 and CIFAR-100 in their binary files.
//!
//! Source: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009,
//! <https://www.cs.toronto.edu/~kriz/cifar.html>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::{Images, Split};

/// Why files of CIFAR-10 or CIFAR-100 cannot be read. A file in an archive is named by the path of
/// the archive with the name of the file behind it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CifarError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// An archive is damaged, or none at all.
    #[error("{}: expected a whole tar.gz archive, but {source}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What the decompressor or the reader of the archive says.
        source: io::Error,
    },
    /// A file is not in the archive.
    #[error("{}: expected a file {member} in the archive, but found none", path.display())]
    Missing {
        /// The archive.
        path: PathBuf,
        /// The file.
        member: &'static str,
    },
    /// A file does not consist of records.
    #[error(
        "{}: expected 1 to {most} records of {record} bytes, but found {found} bytes",
        path.display()
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Records that a file may have.
        most: u64,
        /// Bytes of a record.
        record: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// A label stands for no class.
    #[error(
        "{}: expected a label below {classes} in record {index}, but found {found}",
        path.display()
    )]
    Label {
        /// The file.
        path: PathBuf,
        /// The record, from 0.
        index: u64,
        /// Number of classes.
        classes: u8,
        /// The label.
        found: u8,
    },
}

/// One of the two data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cifar {
    Ten,
    Hundred,
}

/// Height and width of an image.
const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;
/// Bytes of an image.
const BYTES: usize = 3 * PIXELS;
/// Bytes that an archive may unpack to; the true ones take 185 MB.
const MOST_BYTES: u64 = 1 << 28;

impl Cifar {
    fn members(self, split: Split) -> &'static [&'static str] {
        match (self, split) {
            (Self::Ten, Split::Train) => &[
                "data_batch_1.bin",
                "data_batch_2.bin",
                "data_batch_3.bin",
                "data_batch_4.bin",
                "data_batch_5.bin",
            ],
            (Self::Ten, Split::Test) => &["test_batch.bin"],
            (Self::Hundred, Split::Train) => &["train.bin"],
            (Self::Hundred, Split::Test) => &["test.bin"],
        }
    }

    /// Numbers of classes of the labels that a record begins with. The last label is used: those of
    /// CIFAR-100 name a superclass first.
    fn label_classes(self) -> &'static [u8] {
        match self {
            Self::Ten => &[10],
            Self::Hundred => &[20, 100],
        }
    }

    /// Records of the largest file.
    fn most_records(self) -> u64 {
        match self {
            Self::Ten => 10_000,
            Self::Hundred => 50_000,
        }
    }

    fn classes(self) -> Vec<String> {
        let names = match self {
            Self::Ten => TEN,
            Self::Hundred => HUNDRED,
        };
        names.split_whitespace().map(str::to_owned).collect()
    }
}

/// Reads a part of a data set from the folder that its binary archive unpacks to.
///
/// # Errors
///
/// [`CifarError`] if a file is missing or does not consist of whole records with valid labels.
pub(super) fn read_folder(kind: Cifar, split: Split, folder: &Path) -> Result<Images, CifarError> {
    let members = kind.members(split);
    let mut records = Records::with_room(kind, members.len());
    for member in members {
        let path = folder.join(member);
        let error = |source| CifarError::Io { path: path.clone(), source };
        let file = File::open(&path).map_err(error)?;
        let length = file.metadata().map_err(error)?.len();
        records.read(kind, &path, length, BufReader::new(file), error)?;
    }
    Ok(records.into_images(kind))
}

/// Reads a part of a data set from its binary archive, without unpacking it to disk.
///
/// # Errors
///
/// [`CifarError`] if the archive is damaged anywhere, lacks a file, or has one that does not
/// consist of whole records with valid labels.
pub(super) fn read_archive(
    kind: Cifar,
    split: Split,
    archive: &Path,
) -> Result<Images, CifarError> {
    let file = File::open(archive)
        .map_err(|source| CifarError::Io { path: archive.to_owned(), source })?;
    read_members(kind, split, archive, file)
}

fn read_members(
    kind: Cifar,
    split: Split,
    path: &Path,
    file: impl Read,
) -> Result<Images, CifarError> {
    let damaged = |source| CifarError::Archive { path: path.to_owned(), source };
    let members = kind.members(split);
    let mut records = Records::with_room(kind, members.len());
    // Which member came when, and its records.
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut archive = tar::Archive::new(MultiGzDecoder::new(file).take(MOST_BYTES));
    // Raw, as entries that hold the names of others would be read into memory whole.
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let entry = entry.map_err(damaged)?;
        let is_named = |member: &&str| has_name(&entry.path_bytes(), member);
        let Some(at) = members.iter().position(is_named) else { continue };
        let is_new = found.iter().all(|(member, _)| *member != at);
        if entry.header().entry_type().is_file() && is_new {
            let (path, length) = (path.join(members[at]), entry.size());
            found.push((at, records.read(kind, &path, length, entry, damaged)?));
        }
    }
    // The checksum stands at the end, which lies behind that of the tar file.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(damaged)?;
    if rest.limit() == 0 {
        let error = format!("it unpacks to {MOST_BYTES} bytes or more");
        return Err(damaged(io::Error::other(error)));
    }
    let is_missing = |at: &usize| found.iter().all(|(member, _)| member != at);
    if let Some(at) = (0..members.len()).find(is_missing) {
        return Err(CifarError::Missing { path: path.to_owned(), member: members[at] });
    }
    records.sort(found);
    Ok(records.into_images(kind))
}

fn has_name(path: &[u8], name: &str) -> bool {
    path.rsplit(|byte| *byte == b'/').next() == Some(name.as_bytes())
}

/// Images and labels, read file after file into one place: they are in memory once.
struct Records {
    bytes: Vec<u8>,
    labels: Vec<u16>,
}

impl Records {
    /// Room for as many files of the largest size.
    fn with_room(kind: Cifar, files: usize) -> Self {
        let most = kind.most_records() as usize * files;
        Self { bytes: Vec::with_capacity(most * BYTES), labels: Vec::with_capacity(most) }
    }

    /// Reads a file of `length` bytes, record by record, and tells how many there are.
    fn read(
        &mut self,
        kind: Cifar,
        path: &Path,
        length: u64,
        mut file: impl Read,
        error: impl Fn(io::Error) -> CifarError,
    ) -> Result<usize, CifarError> {
        let label_classes = kind.label_classes();
        let mut record = vec![0; label_classes.len() + BYTES];
        let (size, most) = (record.len() as u64, kind.most_records());
        let count = length / size;
        if !length.is_multiple_of(size) || count == 0 || count > most {
            let path = path.to_owned();
            return Err(CifarError::Length { path, most, record: size, found: length });
        }
        for index in 0..count {
            file.read_exact(&mut record).map_err(&error)?;
            let (labels, planes) = record.split_at(label_classes.len());
            for (&found, &classes) in labels.iter().zip(label_classes) {
                if found >= classes {
                    return Err(CifarError::Label { path: path.to_owned(), index, classes, found });
                }
            }
            self.labels.extend(labels.last().map(|label| u16::from(*label)));
            let (red, rest) = planes.split_at(PIXELS);
            let (green, blue) = rest.split_at(PIXELS);
            for ((red, green), blue) in red.iter().zip(green).zip(blue) {
                self.bytes.extend_from_slice(&[*red, *green, *blue]);
            }
        }
        Ok(count as usize)
    }

    /// Puts blocks of records into the order of their keys; each is given with its length.
    fn sort(&mut self, mut blocks: Vec<(usize, usize)>) {
        let mut begin = 0;
        while let Some(next) = (0..blocks.len()).min_by_key(|&at| blocks[at].0) {
            let before: usize = blocks[..next].iter().map(|(_, count)| count).sum();
            let (_, count) = blocks.remove(next);
            let end = begin + before + count;
            self.labels[begin..end].rotate_right(count);
            self.bytes[begin * BYTES..end * BYTES].rotate_right(count * BYTES);
            begin += count;
        }
    }

    fn into_images(mut self, kind: Cifar) -> Images {
        self.bytes.shrink_to_fit();
        self.labels.shrink_to_fit();
        let Self { bytes, labels } = self;
        Images { size: [SIDE, SIDE], bytes, labels, classes: kind.classes() }
    }
}

/// The classes of CIFAR-10, in the order of their labels.
const TEN: &str = "airplane automobile bird cat deer dog frog horse ship truck";

/// The classes of CIFAR-100, in the order of their labels.
const HUNDRED: &str = "\
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus \
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch \
    crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house \
    kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle \
    mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree \
    plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark \
    shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table \
    tank telephone television tiger tractor train trout tulip turtle wardrobe whale \
    willow_tree wolf woman worm";

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::error::Error;
    use std::fs;
    use std::io::Write;

    type Tested = Result<(), Box<dyn Error>>;

    /// A byte of an image in a plane, repeated along a row, so that archives are small.
    fn byte(label: u8, plane: usize, pixel: usize) -> u8 {
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

    fn archive(members: &[(&str, Vec<u8>)]) -> io::Result<Vec<u8>> {
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
        read_members(kind, split, Path::new("cifar.tar.gz"), archive)
    }

    fn refused(kind: Cifar, archive: &[u8]) -> String {
        read(kind, Split::Test, archive)
            .map_or_else(|error| error.to_string(), |_| "read".to_owned())
    }

    fn assert_holds(images: &Images, labels: &[u8]) {
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
        assert_eq!(read_folder(Cifar::Ten, Split::Train, folder.path())?, train);
        assert_eq!(read_folder(Cifar::Ten, Split::Test, folder.path())?, test);
        let path = folder.path().join("cifar-10-binary.tar.gz");
        fs::write(&path, packed)?;
        assert_eq!(read_archive(Cifar::Ten, Split::Train, &path)?, train);
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
            assert!(
                error.contains(&format!("{whole_records}, but found {length} bytes")),
                "{error}"
            );
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
        let absent = read_folder(Cifar::Hundred, Split::Test, folder.path());
        assert!(absent.is_err_and(|error| error.to_string().contains("test.bin: No such file")));
        fs::write(folder.path().join("test.bin"), &whole)?;
        let damaged = read_folder(Cifar::Hundred, Split::Test, folder.path());
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
}
