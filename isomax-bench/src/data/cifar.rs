//! CIFAR-10 and CIFAR-100 in their binary files, and in those of Python that torchvision leaves.
//!
//! Source: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009,
//! <https://www.cs.toronto.edu/~kriz/cifar.html>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::{Images, Split};

mod format_error;
mod numpy;
mod pickled;

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
        found: i64,
    },
    /// A file of the Python version is no pickle of images and labels.
    #[error("{}: expected {expected}, but found {found}", path.display())]
    Python {
        /// The file.
        path: PathBuf,
        /// What a file of CIFAR has.
        expected: String,
        /// What this one has.
        found: String,
    },
}

/// One of the two data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cifar {
    Ten,
    Hundred,
}

/// What the files of a data set are. Images and labels are the same, in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Records of labels and pixels.
    Binary,
    /// Pickles of Python.
    Python,
}

impl Version {
    /// All versions, in the order in which they are looked for.
    pub(super) const ALL: [Self; 2] = [Self::Binary, Self::Python];

    /// Bytes that an archive may unpack to. The true ones take 185 MB; text in pickles may have
    /// four bytes for one.
    fn most_bytes(self) -> u64 {
        match self {
            Self::Binary => 1 << 28,
            Self::Python => 1 << 30,
        }
    }
}

/// Height and width of an image.
const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;
/// Bytes of an image.
const BYTES: usize = 3 * PIXELS;

impl Cifar {
    /// The folder that an archive unpacks to.
    pub(super) fn folder(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Ten, Version::Binary) => "cifar-10-batches-bin",
            (Self::Ten, Version::Python) => "cifar-10-batches-py",
            (Self::Hundred, Version::Binary) => "cifar-100-binary",
            (Self::Hundred, Version::Python) => "cifar-100-python",
        }
    }

    /// The name of an archive.
    pub(super) fn archive(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Ten, Version::Binary) => "cifar-10-binary.tar.gz",
            (Self::Ten, Version::Python) => "cifar-10-python.tar.gz",
            (Self::Hundred, Version::Binary) => "cifar-100-binary.tar.gz",
            (Self::Hundred, Version::Python) => "cifar-100-python.tar.gz",
        }
    }

    fn members(self, version: Version, split: Split) -> &'static [&'static str] {
        match (self, version, split) {
            (Self::Ten, Version::Binary, Split::Train) => &[
                "data_batch_1.bin",
                "data_batch_2.bin",
                "data_batch_3.bin",
                "data_batch_4.bin",
                "data_batch_5.bin",
            ],
            (Self::Ten, Version::Python, Split::Train) => {
                &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"]
            }
            (Self::Ten, Version::Binary, Split::Test) => &["test_batch.bin"],
            (Self::Ten, Version::Python, Split::Test) => &["test_batch"],
            (Self::Hundred, Version::Binary, Split::Train) => &["train.bin"],
            (Self::Hundred, Version::Python, Split::Train) => &["train"],
            (Self::Hundred, Version::Binary, Split::Test) => &["test.bin"],
            (Self::Hundred, Version::Python, Split::Test) => &["test"],
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

/// Reads a part of a data set from the folder that its archive unpacks to.
///
/// # Errors
///
/// [`CifarError`] if a file is missing or does not consist of whole images with valid labels.
pub(super) fn read_folder(
    kind: Cifar,
    version: Version,
    split: Split,
    folder: &Path,
) -> Result<Images, CifarError> {
    let members = kind.members(version, split);
    let mut records = Records::with_room(kind, members.len());
    for member in members {
        let path = folder.join(member);
        let error = |source| CifarError::Io { path: path.clone(), source };
        let file = File::open(&path).map_err(error)?;
        let length = file.metadata().map_err(error)?.len();
        records.read(kind, version, &path, length, BufReader::new(file), error)?;
    }
    Ok(records.into_images(kind))
}

/// Reads a part of a data set from its archive, without unpacking it to disk.
///
/// # Errors
///
/// [`CifarError`] if the archive is damaged anywhere, lacks a file, or has one that does not
/// consist of whole images with valid labels.
pub(super) fn read_archive(
    kind: Cifar,
    version: Version,
    split: Split,
    archive: &Path,
) -> Result<Images, CifarError> {
    let file = File::open(archive)
        .map_err(|source| CifarError::Io { path: archive.to_owned(), source })?;
    read_members(kind, version, split, archive, file)
}

fn read_members(
    kind: Cifar,
    version: Version,
    split: Split,
    path: &Path,
    file: impl Read,
) -> Result<Images, CifarError> {
    let damaged = |source| CifarError::Archive { path: path.to_owned(), source };
    let (members, most_bytes) = (kind.members(version, split), version.most_bytes());
    let mut records = Records::with_room(kind, members.len());
    // Which member came when, and its records.
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut archive = tar::Archive::new(MultiGzDecoder::new(file).take(most_bytes));
    // Raw, as entries that hold the names of others would be read into memory whole.
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let entry = entry.map_err(damaged)?;
        let is_named = |member: &&str| has_name(&entry.path_bytes(), member);
        let Some(at) = members.iter().position(is_named) else { continue };
        let is_new = found.iter().all(|(member, _)| *member != at);
        if entry.header().entry_type().is_file() && is_new {
            let (path, length) = (path.join(members[at]), entry.size());
            let count = records.read(kind, version, &path, length, entry, damaged)?;
            found.push((at, count));
        }
    }
    // The checksum stands at the end, which lies behind that of the tar file.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(damaged)?;
    if rest.limit() == 0 {
        let error = format!("it unpacks to {most_bytes} bytes or more");
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

    /// Reads a file of `length` bytes, and tells how many images there are.
    fn read(
        &mut self,
        kind: Cifar,
        version: Version,
        path: &Path,
        length: u64,
        file: impl Read,
        error: impl Fn(io::Error) -> CifarError,
    ) -> Result<usize, CifarError> {
        match version {
            Version::Binary => self.read_binary(kind, path, length, file, error),
            Version::Python => self.read_pickle(kind, path, length, file, error),
        }
    }

    fn read_binary(
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
                    let (path, found) = (path.to_owned(), found.into());
                    return Err(CifarError::Label { path, index, classes, found });
                }
            }
            self.labels.extend(labels.last().map(|label| u16::from(*label)));
            self.push_image(planes);
        }
        Ok(count as usize)
    }

    fn read_pickle(
        &mut self,
        kind: Cifar,
        path: &Path,
        length: u64,
        file: impl Read,
        error: impl Fn(io::Error) -> CifarError,
    ) -> Result<usize, CifarError> {
        let most = pickled::most_bytes(kind);
        if length > most {
            let (expected, found) = (format!("at most {most} bytes"), format!("{length} bytes"));
            return Err(CifarError::Python { path: path.to_owned(), expected, found });
        }
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(&error)?;
        if bytes.len() as u64 != length {
            return Err(error(io::ErrorKind::UnexpectedEof.into()));
        }
        let pickle = pickled::parse(kind, &bytes).map_err(|fault| fault.at(path))?;
        // The values of the pickle are copies.
        drop(bytes);
        let batch = pickled::batch(kind, &pickle).map_err(|fault| fault.at(path))?;
        batch.planes.chunks_exact(BYTES).for_each(|planes| self.push_image(planes));
        self.labels.extend(&batch.labels);
        Ok(batch.labels.len())
    }

    /// Adds an image whose red bytes come first, then green and blue.
    fn push_image(&mut self, planes: &[u8]) {
        let (red, rest) = planes.split_at(PIXELS);
        let (green, blue) = rest.split_at(PIXELS);
        for ((red, green), blue) in red.iter().zip(green).zip(blue) {
            self.bytes.extend_from_slice(&[*red, *green, *blue]);
        }
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
mod tests;
