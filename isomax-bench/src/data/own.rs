//! Sets of your own whose classes are learned: folders and CSV files, and how they are parted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chacha20::ChaCha8Rng;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use sha2::{Digest, Sha256};

use super::PublishedSet;
use super::image_folder::{ImageFolderError, Listing};
use super::tally::many;

/// Why a set of your own cannot be learned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnSetError {
    /// A folder cannot be read, or holds no images.
    #[error(transparent)]
    Folder(#[from] ImageFolderError),
    /// There is nothing of this name.
    #[error(
        "{}: neither a published set ({}) nor a folder or a CSV file of images",
        path.display(), PublishedSet::ALL.map(PublishedSet::name).join(", ")
    )]
    Absent {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is nothing to tell apart.
    #[error(
        "{}: expected a folder of images for each of two classes at least, but found one class, {class}",
        path.display()
    )]
    OneClass {
        /// The folder or file.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// The folders of some classes hold no images.
    #[error("{}: the classes {classes} have no images: add some, or remove their folders", path.display())]
    EmptyClass {
        /// The folder.
        path: PathBuf,
        /// Their names.
        classes: String,
    },
    /// A class has too few images to be learned and tested.
    #[error(
        "{}: the class {class} has {} for {what}, and needs {needed} at least",
        path.display(), many(*found, "image")
    )]
    FewImages {
        /// The folder or file.
        path: PathBuf,
        /// The class.
        class: String,
        /// Number of its images.
        found: usize,
        /// How many it needs.
        needed: usize,
        /// What they are for.
        what: &'static str,
    },
    /// There are images to train on, and none to test on.
    #[error(
        "{}: expected 'test' or 'val' beside the folder 'train'; without 'train', the folders of the classes \
         are parted at random",
        path.display()
    )]
    NoTest {
        /// The folder.
        path: PathBuf,
    },
    /// There are images to test on, and none to train on.
    #[error(
        "{}: expected 'train' beside {found}; without splits, a folder for each class",
        path.display()
    )]
    NoTrain {
        /// The folder.
        path: PathBuf,
        /// The splits that are there.
        found: String,
    },
    /// The splits have other classes.
    #[error("{}: the split '{split}' has the classes {found:?}, 'train' has {expected:?}", path.display())]
    OtherClasses {
        /// The folder or file.
        path: PathBuf,
        /// The split.
        split: &'static str,
        /// The classes of the training split.
        expected: Vec<String>,
        /// Its classes.
        found: Vec<String>,
    },
    /// The same image lies in two splits, so that the test would be one of what was learned.
    #[error(
        "{} in two splits, such as {} and {}: remove one of each",
        if *count == 1 { "1 image is".to_owned() } else { format!("{count} images are") },
        first.display(), second.display()
    )]
    SameImage {
        /// Number of such images.
        count: usize,
        /// One of them.
        first: PathBuf,
        /// The same in the other split.
        second: PathBuf,
    },
    /// The same image lies in two classes, and can be right in one at most.
    #[error(
        "{} in two classes, such as {} and {}: remove the wrong one of each",
        if *count == 1 { "1 image is".to_owned() } else { format!("{count} images are") },
        first.display(), second.display()
    )]
    TwoClasses {
        /// Number of such images.
        count: usize,
        /// One of them.
        first: PathBuf,
        /// The same in the other class.
        second: PathBuf,
    },
    /// A CSV file is none, or says what cannot be.
    #[error("{}{}: {reason}", path.display(), line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Csv {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: Option<u64>,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A CSV file names files that are not there.
    #[error(
        "{}: {} of {images} files are not there, the first is {}; names are relative to the folder of the CSV file",
        path.display(), missing, first.display()
    )]
    MissingFiles {
        /// The CSV file.
        path: PathBuf,
        /// Number of files that it names.
        images: usize,
        /// Number of those that are missing.
        missing: usize,
        /// The first of them.
        first: PathBuf,
    },
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The files of a set of your own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OwnSet {
    pub train: Listing,
    /// Held out by whoever made the set, to choose and to calibrate with; empty if nobody did.
    pub held_out: Vec<(PathBuf, u16)>,
    pub test: Listing,
}

/// Share of the images of each class that is kept for the test where a set is not parted.
const TEST_SHARE: f64 = 0.2;
/// A class with fewer images to train on is told of.
const FEW: usize = 10;

/// What a set has of each split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Train,
    HeldOut,
    Test,
}

impl OwnSet {
    /// Finds the files: of a folder `{train,val,test}/CLASS/…` or `CLASS/…`, or of a CSV file. What is not parted is
    /// parted at random, class by class. With `train` and one more split, that is the test; with both `val` and
    /// `test`, `val` is held out.
    ///
    /// # Errors
    ///
    /// [`OwnSetError`].
    pub(super) fn find(path: &Path, seed: u64) -> Result<Self, OwnSetError> {
        if !path.exists() {
            return Err(OwnSetError::Absent { path: path.to_owned() });
        }
        let is_file = path.is_file();
        let parts = if is_file { of_csv(path)? } else { of_folder(path)? };
        let set = match parts {
            Parts::Whole(listing) => divided(*listing, seed)?,
            Parts::Divided(set) => {
                check_copies(&set)?;
                *set
            }
        };
        set.check(path)?;
        Ok(set)
    }

    /// Checks that there is something to learn of each class, and something to test.
    fn check(&self, path: &Path) -> Result<(), OwnSetError> {
        let labels = |listing: &Listing| listing.files.iter().map(|(_, label)| *label).collect();
        let (train, test): (Vec<u16>, Vec<u16>) = (labels(&self.train), labels(&self.test));
        Self::check_labels(path, &self.train.classes, &train, &test)
    }

    /// The same of labels: of the files that there are, or of the images that could be read.
    pub(super) fn check_labels(
        path: &Path,
        classes: &[String],
        train: &[u16],
        test: &[u16],
    ) -> Result<(), OwnSetError> {
        if let [class] = classes {
            return Err(OwnSetError::OneClass { path: path.to_owned(), class: class.clone() });
        }
        let few = |label: usize, found: usize, needed: usize, what: &'static str| {
            let class = classes[label].clone();
            OwnSetError::FewImages { path: path.to_owned(), class, found, needed, what }
        };
        let (train, test) = (counts(train, classes.len()), counts(test, classes.len()));
        for (label, (&train, &test)) in train.iter().zip(&test).enumerate() {
            if train < 2 {
                return Err(few(label, train, 2, "training"));
            }
            if test < 1 {
                return Err(few(label, test, 1, "the test"));
            }
        }
        Ok(())
    }

    /// Warns of classes that have few images to train on, by the labels of these.
    pub(super) fn warn_of_few(path: &Path, classes: &[String], train: &[u16]) {
        for (class, count) in classes.iter().zip(counts(train, classes.len())) {
            if count < FEW {
                let path = path.display();
                log::warn!("{path}: the class {class} has only {count} images to train on");
            }
        }
    }
}

enum Parts {
    Whole(Box<Listing>),
    Divided(Box<OwnSet>),
}

fn counts(labels: &[u16], num_classes: usize) -> Vec<usize> {
    let mut counts = vec![0; num_classes];
    labels.iter().for_each(|label| counts[usize::from(*label)] += 1);
    counts
}

fn of_folder(path: &Path) -> Result<Parts, OwnSetError> {
    let io = |source| OwnSetError::Io { path: path.to_owned(), source };
    let (mut splits, mut others) = (HashMap::new(), Vec::new());
    for entry in fs::read_dir(path).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') {
            match split_named(&name) {
                Some(part) => drop(splits.insert(part, entry.path())),
                None => others.push(name),
            }
        }
    }
    let listing = |path: &Path| -> Result<Listing, OwnSetError> {
        let listing = Listing::of(path)?;
        match listing.empty.count {
            0 => Ok(listing),
            _ => Err(OwnSetError::EmptyClass {
                path: path.to_owned(),
                classes: listing.empty.to_string(),
            }),
        }
    };
    let Some(train) = splits.get(&Part::Train) else {
        if others.is_empty() && !splits.is_empty() {
            let names = splits.values().filter_map(|split| split.file_name());
            let found: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
            return Err(OwnSetError::NoTrain { path: path.to_owned(), found: found.join(", ") });
        }
        return Ok(Parts::Whole(Box::new(listing(path)?)));
    };
    if !others.is_empty() {
        others.sort_unstable();
        log::warn!(
            "{}: {} beside 'train' passed over ({})",
            path.display(),
            many(others.len(), "folder"),
            others.join(", ")
        );
    }
    let train = listing(train)?;
    let (val, test) = (splits.get(&Part::HeldOut), splits.get(&Part::Test));
    let (held_out, test) = match (val, test) {
        (val, Some(test)) => (val.map(|val| listing(val)).transpose()?, listing(test)?),
        (Some(val), None) => (None, listing(val)?),
        (None, None) => return Err(OwnSetError::NoTest { path: path.to_owned() }),
    };
    for (split, other) in [("val", held_out.as_ref()), ("test", Some(&test))] {
        if let Some(other) = other.filter(|other| other.classes != train.classes) {
            return Err(OwnSetError::OtherClasses {
                path: path.to_owned(),
                split,
                expected: train.classes,
                found: other.classes.clone(),
            });
        }
    }
    let held_out = held_out.map(|listing| listing.files).unwrap_or_default();
    Ok(Parts::Divided(Box::new(OwnSet { train, held_out, test })))
}

/// The split that a folder or a word in a CSV file stands for.
fn split_named(name: &str) -> Option<Part> {
    match name.trim().to_lowercase().as_str() {
        "train" | "training" => Some(Part::Train),
        "val" | "valid" | "validation" => Some(Part::HeldOut),
        "test" | "testing" => Some(Part::Test),
        _ => None,
    }
}

fn of_csv(path: &Path) -> Result<Parts, OwnSetError> {
    let csv = |line: Option<u64>, reason: String| OwnSetError::Csv {
        path: path.to_owned(),
        line,
        reason,
    };
    let bytes =
        fs::read(path).map_err(|source| OwnSetError::Io { path: path.to_owned(), source })?;
    // As spreadsheets write it.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let malformed = |error: csv::Error| {
        let line = error.position().map(csv::Position::line);
        csv(line, format!("expected a CSV file in UTF-8: {error}"))
    };
    let headers = reader.headers().map_err(malformed)?.clone();
    let column = |name: &str| headers.iter().position(|header| header.eq_ignore_ascii_case(name));
    let (Some(file), Some(label)) = (column("path"), column("label")) else {
        let found: Vec<&str> = headers.iter().collect();
        return Err(csv(
            Some(1),
            format!(
                "expected the columns path and label, and split if there are splits, found {found:?}"
            ),
        ));
    };
    let split = column("split");
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(malformed)?;
        let line = record.position().map(csv::Position::line);
        let field = |column: usize| record.get(column).unwrap_or_default();
        let (file, label) = (field(file), field(label));
        if file.is_empty() || label.is_empty() {
            return Err(csv(line, "expected a path and a label, found an empty field".to_owned()));
        }
        let part = match split.map(field) {
            None => None,
            Some(name) => Some(split_named(name).ok_or_else(|| {
                csv(line, format!("expected the split train, val or test, found '{name}'"))
            })?),
        };
        rows.push((folder.join(file), label.to_owned(), part));
    }
    if rows.is_empty() {
        return Err(csv(None, "expected one line for each image, found none".to_owned()));
    }
    let missing: Vec<&PathBuf> =
        rows.iter().map(|(file, ..)| file).filter(|file| !file.is_file()).collect();
    if let Some(first) = missing.first() {
        return Err(OwnSetError::MissingFiles {
            path: path.to_owned(),
            images: rows.len(),
            missing: missing.len(),
            first: (*first).clone(),
        });
    }
    let mut seen = BTreeSet::new();
    if let Some((twice, ..)) = rows.iter().find(|(file, ..)| !seen.insert(file)) {
        return Err(csv(None, format!("{} is named twice", twice.display())));
    }
    let classes = in_order(rows.iter().map(|(_, label, _)| label.clone()).collect());
    if u16::try_from(classes.len() - 1).is_err() {
        return Err(csv(None, format!("expected at most 65536 classes, found {}", classes.len())));
    }
    let label_of: BTreeMap<&str, u16> =
        classes.iter().enumerate().map(|(label, class)| (class.as_str(), label as u16)).collect();
    let listing = |part: Option<Part>| {
        let of_part = rows.iter().filter(|(.., of)| part.is_none() || *of == part);
        let files = of_part.map(|(file, label, _)| (file.clone(), label_of[label.as_str()]));
        Listing::named(folder.to_owned(), classes.clone(), files.collect())
    };
    if split.is_none() {
        return Ok(Parts::Whole(Box::new(listing(None))));
    }
    let [train, held_out, test] =
        [Part::Train, Part::HeldOut, Part::Test].map(|part| listing(Some(part)));
    let (held_out, test) = match test.files.is_empty() {
        false => (held_out.files, test),
        true => (Vec::new(), held_out),
    };
    if test.files.is_empty() {
        return Err(csv(None, "expected lines of the split test or val".to_owned()));
    }
    Ok(Parts::Divided(Box::new(OwnSet { train, held_out, test })))
}

/// Names of classes in order: of numbers, if all are.
fn in_order(names: BTreeSet<String>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().collect();
    let numbers: Option<Vec<i64>> = names.iter().map(|name| name.parse().ok()).collect();
    if numbers.is_some() {
        names.sort_by_key(|name| name.parse::<i64>().unwrap_or_default());
    }
    names
}

/// Parts a set at random, class by class. Of images that are there more than once, one is kept: a copy in the
/// other split would be one of what was learned.
fn divided(mut listing: Listing, seed: u64) -> Result<OwnSet, OwnSetError> {
    let copies = copies(&listing.files)?;
    check_labels(&listing.files, &copies)?;
    let copies: BTreeSet<usize> = copies.into_iter().map(|(_, copy)| copy).collect();
    if !copies.is_empty() {
        let first = copies.first().map(|&copy| listing.shown(&listing.files[copy].0));
        log::warn!(
            "{}: {} of others left out ({})",
            listing.path.display(),
            if copies.len() == 1 {
                "1 copy".to_owned()
            } else {
                format!("{} copies", copies.len())
            },
            first.unwrap_or_default()
        );
    }
    let mut place = 0;
    listing.files.retain(|_| {
        place += 1;
        !copies.contains(&(place - 1))
    });
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut is_test = vec![false; listing.files.len()];
    for label in 0..listing.classes.len() {
        let mut places: Vec<usize> = (0..listing.files.len())
            .filter(|&at| usize::from(listing.files[at].1) == label)
            .collect();
        places.shuffle(&mut rng);
        let count = ((places.len() as f64 * TEST_SHARE).round() as usize).max(1);
        places.into_iter().take(count).for_each(|at| is_test[at] = true);
    }
    let (test, train): (Vec<_>, Vec<_>) =
        listing.files.iter().cloned().zip(is_test).partition(|(_, is_test)| *is_test);
    let files =
        |parted: Vec<((PathBuf, u16), bool)>| parted.into_iter().map(|(file, _)| file).collect();
    let test = Listing::named(listing.path.clone(), listing.classes.clone(), files(test));
    listing.files = files(train);
    Ok(OwnSet { train: listing, held_out: Vec::new(), test })
}

/// Refuses images that lie in two splits, and tells of copies within one.
fn check_copies(set: &OwnSet) -> Result<(), OwnSetError> {
    let parts = [
        (Part::Train, &set.train.files),
        (Part::HeldOut, &set.held_out),
        (Part::Test, &set.test.files),
    ];
    let files: Vec<(PathBuf, u16)> =
        parts.iter().flat_map(|(_, files)| files.iter().cloned()).collect();
    let part_of: Vec<Part> =
        parts.iter().flat_map(|(part, files)| files.iter().map(|_| *part)).collect();
    let copies = copies(&files)?;
    check_labels(&files, &copies)?;
    let (across, within): (Vec<_>, Vec<_>) =
        copies.into_iter().partition(|&(first, copy)| part_of[first] != part_of[copy]);
    if let Some(&(first, copy)) = across.first() {
        let (first, second) = (files[first].0.clone(), files[copy].0.clone());
        return Err(OwnSetError::SameImage { count: across.len(), first, second });
    }
    if let Some(&(first, copy)) = within.first() {
        log::warn!(
            "{}: {} there twice, such as {} and {}",
            set.train.path.display(),
            if within.len() == 1 {
                "1 image is".to_owned()
            } else {
                format!("{} images are", within.len())
            },
            files[first].0.display(),
            files[copy].0.display()
        );
    }
    Ok(())
}

/// Refuses copies of an image under another label.
fn check_labels(files: &[(PathBuf, u16)], copies: &[(usize, usize)]) -> Result<(), OwnSetError> {
    let differ = |(first, copy): &&(usize, usize)| files[*first].1 != files[*copy].1;
    let differing: Vec<&(usize, usize)> = copies.iter().filter(differ).collect();
    match differing.first() {
        None => Ok(()),
        Some(&&(first, copy)) => Err(OwnSetError::TwoClasses {
            count: differing.len(),
            first: files[first].0.clone(),
            second: files[copy].0.clone(),
        }),
    }
}

/// Files with the same bytes, each with the first of its kind. Only files of one length are read.
fn copies(files: &[(PathBuf, u16)]) -> Result<Vec<(usize, usize)>, OwnSetError> {
    let mut of_length: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (place, (path, _)) in files.iter().enumerate() {
        // What cannot be looked at is told of when it is decoded.
        if let Ok(metadata) = fs::metadata(path) {
            of_length.entry(metadata.len()).or_default().push(place);
        }
    }
    let mut copies = Vec::new();
    for places in of_length.into_values().filter(|places| places.len() > 1) {
        let mut first_of = BTreeMap::new();
        for place in places {
            let Ok(sum) = sum_of(&files[place].0) else { continue };
            match first_of.get(&sum) {
                Some(&first) => copies.push((first, place)),
                None => drop(first_of.insert(sum, place)),
            }
        }
    }
    copies.sort_unstable();
    Ok(copies)
}

fn sum_of(path: &Path) -> io::Result<Vec<u8>> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().to_vec()),
            count => hash.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests;
