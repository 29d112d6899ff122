//! The names of data sets: of those to learn, and of those to detect.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use isomax_burn::UnknownName;
use serde::{Deserialize, Serialize};

use super::Normalization;

/// A set that networks are trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum IdSet {
    /// CIFAR-10: ten classes of animals and vehicles.
    Cifar10,
    /// CIFAR-100: a hundred classes.
    Cifar100,
    /// SVHN: house numbers, cropped to digits. Non-commercial use only.
    Svhn,
}

impl IdSet {
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

impl fmt::Display for IdSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for IdSet {
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

impl FromStr for Normalization {
    type Err = UnknownName;

    /// The normalisation of a published training set.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        name.parse::<IdSet>().map(IdSet::normalization)
    }
}

impl TryFrom<String> for IdSet {
    type Error = UnknownName;

    fn try_from(name: String) -> Result<Self, UnknownName> {
        name.parse()
    }
}

impl From<IdSet> for String {
    fn from(set: IdSet) -> Self {
        set.name().to_owned()
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

/// A name that cannot be that of an OOD set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' cannot name an OOD set, for which there will be files of that name: expected letters, \
     digits, '-', '_', '+' or '.', beginning with a letter or digit, and not 'id'"
)]
pub struct InvalidSetName(pub String);

impl TryFrom<String> for OodSource {
    type Error = InvalidSetName;

    fn try_from(text: String) -> Result<Self, InvalidSetName> {
        let (name, folder) = match text.split_once('=') {
            Some((name, folder)) => (name.to_owned(), Some(folder.into())),
            // One spelling, as results and tables are found by it.
            None => match text.parse::<IdSet>() {
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
