//! The names of data sets: of those to learn, and of those to detect.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use isomax_burn::UnknownName;
use serde::{Deserialize, Serialize};

use super::Normalization;

/// A set of the published experiments, whose classes networks learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum PublishedSet {
    /// CIFAR-10: ten classes of animals and vehicles.
    Cifar10,
    /// CIFAR-100: a hundred classes.
    Cifar100,
    /// SVHN: house numbers, cropped to digits. Non-commercial use only.
    Svhn,
}

impl PublishedSet {
    /// All sets.
    pub const ALL: [Self; 3] = [Self::Cifar10, Self::Cifar100, Self::Svhn];

    /// The name in commands and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
            Self::Svhn => "svhn",
        }
    }

    /// Number of classes.
    pub const fn num_classes(self) -> usize {
        match self {
            Self::Cifar10 | Self::Svhn => 10,
            Self::Cifar100 => 100,
        }
    }

    /// The published normalisation of its images, and of all that a network trained on it sees.
    pub const fn normalization(self) -> Normalization {
        match self {
            Self::Cifar10 => Normalization::CIFAR10,
            Self::Cifar100 => Normalization::CIFAR100,
            Self::Svhn => Normalization::SVHN,
        }
    }

    /// The sets that the papers detect with a network trained on this one.
    pub fn published_ood(self) -> Vec<OodSource> {
        let digits = if self == Self::Svhn { "cifar10" } else { "svhn" };
        [digits, "tiny-imagenet-resize", "lsun-resize"].map(OodSource::named).into()
    }
}

impl fmt::Display for PublishedSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for PublishedSet {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|set| set.name() == name.trim().to_lowercase());
        found.ok_or_else(|| UnknownName {
            what: "data set",
            found: name.to_owned(),
            known: Self::ALL.map(|set| set.name().to_owned()).into(),
        })
    }
}

impl TryFrom<String> for PublishedSet {
    type Error = UnknownName;

    fn try_from(name: String) -> Result<Self, UnknownName> {
        name.parse()
    }
}

impl From<PublishedSet> for String {
    fn from(set: PublishedSet) -> Self {
        set.name().to_owned()
    }
}

/// A set whose classes are learned: one of the [published ones](PublishedSet) by its name, or images of your own,
/// a folder or a CSV file, written `PATH` or `NAME=PATH`. What lies there is for
/// [`DataFolder::own_set`](super::DataFolder::own_set) to read.
///
/// ```
/// use isomax_bench::data::{IdSet, PublishedSet};
///
/// let published: IdSet = "cifar10".parse()?;
/// assert_eq!(published.published(), Some(PublishedSet::Cifar10));
/// let photos: IdSet = "/data/ants and bees".parse()?;
/// assert_eq!(photos.name, "ants-and-bees");
/// let named: IdSet = "insects=photos/v2.csv".parse()?;
/// assert_eq!(named.to_string(), "insects=photos/v2.csv");
/// # Ok::<(), isomax_bench::data::InvalidSetName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdSet {
    /// The name in tables and files.
    pub name: String,
    /// The folder or the CSV file of images of your own.
    pub path: Option<PathBuf>,
}

impl IdSet {
    /// The published set that it is.
    pub fn published(&self) -> Option<PublishedSet> {
        self.path.is_none().then(|| self.name.parse().ok()).flatten()
    }
}

impl From<PublishedSet> for IdSet {
    fn from(set: PublishedSet) -> Self {
        Self { name: set.to_string(), path: None }
    }
}

impl TryFrom<String> for IdSet {
    type Error = InvalidSetName;

    fn try_from(text: String) -> Result<Self, InvalidSetName> {
        if let Ok(set) = text.parse::<PublishedSet>() {
            return Ok(set.into());
        }
        let (name, path) = match text.split_once('=') {
            Some((name, path)) => (name.to_owned(), PathBuf::from(path)),
            None => (name_of(Path::new(&text)), PathBuf::from(&text)),
        };
        let is_published = name.parse::<PublishedSet>().is_ok();
        match is_set_name(&name) && name != ID && !is_published {
            true => Ok(Self { name, path: Some(path) }),
            false => Err(InvalidSetName(name)),
        }
    }
}

/// A name for a folder or a file: its last part, with `-` for what no name may have.
fn name_of(path: &Path) -> String {
    // Of a folder such as `.` or `photos/..`, whose last part says nothing.
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let is_list = whole.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    let last = if is_list { whole.file_stem() } else { whole.file_name() };
    let last = last.map(|last| last.to_string_lossy().into_owned());
    let allowed = |c: char| if c.is_alphanumeric() || "_+.".contains(c) { c } else { '-' };
    let name: String = last.unwrap_or_default().chars().map(allowed).collect();
    let name = name.trim_start_matches(|c: char| !c.is_alphanumeric());
    if name.is_empty() { "own".to_owned() } else { name.to_owned() }
}

impl FromStr for IdSet {
    type Err = InvalidSetName;

    fn from_str(text: &str) -> Result<Self, InvalidSetName> {
        text.to_owned().try_into()
    }
}

impl From<IdSet> for String {
    fn from(set: IdSet) -> Self {
        set.to_string()
    }
}

impl fmt::Display for IdSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}={}", self.name, path.display()),
            None => f.pad(&self.name),
        }
    }
}

/// An OOD set: a name, or a name with a folder, written `NAME=FOLDER`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OodSource {
    /// The name in tables and files.
    pub name: String,
    /// The folder of its images, if it does not follow from the name.
    pub folder: Option<PathBuf>,
}

impl OodSource {
    /// Names with a meaning; any other is that of a folder of images.
    pub const NAMES: [&'static str; 6] =
        ["svhn", "cifar10", "cifar100", "tiny-imagenet-resize", "lsun-resize", "tiny-imagenet"];

    /// A set without a folder of its own.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), folder: None }
    }
}

/// Name of the ID set among score files and pictures, which no OOD set can have.
pub const ID: &str = "id";

/// Whether a name can be part of the names of files: letters, digits, `-`, `_`, `+` and `.`, beginning
/// with a letter or digit.
pub fn is_set_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_alphanumeric() || "-_+.".contains(c);
    name.starts_with(char::is_alphanumeric) && name.chars().all(is_allowed)
}

/// A name that cannot be that of a set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' cannot name a set of your own, for which there will be files of that name: expected letters, \
     digits, '-', '_', '+' or '.', beginning with a letter or digit, and no name with a meaning, such as 'id' or 'cifar10'"
)]
pub struct InvalidSetName(pub String);

impl TryFrom<String> for OodSource {
    type Error = InvalidSetName;

    fn try_from(text: String) -> Result<Self, InvalidSetName> {
        let (name, folder) = match text.split_once('=') {
            Some((name, folder)) => (name.to_owned(), Some(folder.into())),
            // One spelling, as results and tables are found by it.
            None => match text.parse::<PublishedSet>() {
                Ok(set) => (set.name().to_owned(), None),
                Err(_) => (text, None),
            },
        };
        match is_set_name(&name) && name != ID {
            true => Ok(Self { name, folder }),
            false => Err(InvalidSetName(name)),
        }
    }
}

impl From<OodSource> for String {
    fn from(source: OodSource) -> Self {
        source.to_string()
    }
}

impl FromStr for OodSource {
    type Err = InvalidSetName;

    fn from_str(text: &str) -> Result<Self, InvalidSetName> {
        text.to_owned().try_into()
    }
}

impl fmt::Display for OodSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.folder {
            Some(folder) => write!(f, "{}={}", self.name, folder.display()),
            None => f.write_str(&self.name),
        }
    }
}
