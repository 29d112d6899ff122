//! Protocols: which sets a comparison is made on, as data.
//!
//! ```
//! use isomax_bench::protocol::{Protocol, Role};
//!
//! let protocol = Protocol::find("openood-v1.5-cifar10")?;
//! let near = protocol.sets.iter().filter(|set| set.role == Role::Near);
//! let names: Vec<&str> = near.map(|set| set.name.as_str()).collect();
//! assert_eq!(names, ["cifar100", "tin"]);
//! # Ok::<(), isomax_bench::protocol::ProtocolError>(())
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use isomax_bundle::Preprocessing;
use serde::Deserialize;

use crate::data::{DataError, Normalization, PublishedSet, is_set_name};

mod places;
mod table;

pub use places::{FoundSet, Places, ProtocolImages, Status};
pub use table::{ProtocolRow, Spread, rows, table};

/// The sets of a comparison.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Protocol {
    /// The name in commands and folders.
    pub name: String,
    /// The name in headings.
    pub title: String,
    /// The set whose classes networks are trained on.
    pub id_data: PublishedSet,
    /// Height and width of what networks see, in pixels.
    pub image_size: u32,
    /// Length that the shorter side of an image is brought to, before the middle is cut out.
    pub resize: u32,
    /// What networks of the protocol were trained with; those that were trained here have their own.
    pub normalization: Normalization,
    /// All sets.
    pub sets: Vec<ProtocolSet>,
}

/// A set of a protocol.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProtocolSet {
    /// The name in tables and commands.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Number of its images.
    pub images: usize,
    /// The file that lists its images, a path and a label on each line; none if it is a whole set.
    pub list: Option<String>,
    /// How the SHA-256 sum of the list begins, in hexadecimal digits, with line feeds alone.
    pub sha256: Option<String>,
}

/// What a set is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// ID images that are tested on.
    Test,
    /// ID images that parameters are tuned with.
    Validation,
    /// OOD images that parameters are tuned with.
    Tuning,
    /// OOD images that resemble those of the ID set.
    Near,
    /// OOD images that do not.
    Far,
}

/// Why a protocol cannot be used. See [`Protocol`] for an example.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// There is no such protocol.
    #[error("{name} is no protocol of this program and no file: expected one of {}", Protocol::names().join(", "))]
    Unknown {
        /// The name.
        name: String,
    },
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no protocol.
    #[error("{}: expected a protocol, but {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Nothing is to be detected.
    #[error("no OOD set of the protocol is at hand: {}", missing.join("; "))]
    NothingFound {
        /// The sets, and how to name them.
        missing: Vec<String>,
    },
    /// Images cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// The protocols that come along.
const KNOWN: [(&str, &str); 3] = [
    ("openood-v1.5-cifar10", include_str!("../../protocols/openood-v1.5-cifar10.toml")),
    ("openood-v1.5-cifar100", include_str!("../../protocols/openood-v1.5-cifar100.toml")),
    ("entropic-cifar10", include_str!("../../protocols/entropic-cifar10.toml")),
];

impl Protocol {
    /// The names of those that come along.
    pub fn names() -> Vec<&'static str> {
        KNOWN.iter().map(|(name, _)| *name).collect()
    }

    /// One that comes along, or a TOML file of your own, which looks as those do.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`].
    pub fn find(name: &str) -> Result<Self, ProtocolError> {
        if let Some((name, text)) = KNOWN.iter().find(|(known, _)| *known == name) {
            return Self::parse(text, Path::new(name));
        }
        let path = Path::new(name);
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ProtocolError::Unknown { name: name.to_owned() })
            }
            Err(source) => Err(ProtocolError::Io { path: path.to_owned(), source }),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ProtocolError> {
        let malformed = |reason: String| ProtocolError::Malformed { path: path.to_owned(), reason };
        let protocol: Self = toml::from_str(text).map_err(|error| malformed(error.to_string()))?;
        protocol.check().map_err(malformed)?;
        Ok(protocol)
    }

    fn check(&self) -> Result<(), String> {
        if !is_set_name(&self.name) {
            return Err(format!("its name is '{}'", self.name));
        }
        self.preprocessing().check().map_err(|error| error.to_string())?;
        let of_role = |role| self.sets.iter().filter(move |set| set.role == role).count();
        if of_role(Role::Test) != 1 || of_role(Role::Near) + of_role(Role::Far) == 0 {
            return Err(
                "expected one set of the role test, and one near or far at least".to_owned()
            );
        }
        for (index, set) in self.sets.iter().enumerate() {
            let name = &set.name;
            if !is_set_name(name) || self.sets[..index].iter().any(|other| other.name == *name) {
                return Err(format!("a set has the name '{name}', or two have"));
            }
            let is_sum = |sum: &String| {
                (16..=64).contains(&sum.len()) && sum.bytes().all(|byte| byte.is_ascii_hexdigit())
            };
            let fits = set.sha256.as_ref().is_none_or(is_sum);
            if !fits || set.list.is_some() != set.sha256.is_some() {
                return Err(format!(
                    "the set {name} needs a list and 16 to 64 digits of its sha256, or neither"
                ));
            }
        }
        Ok(())
    }

    /// What is done to images.
    pub fn preprocessing(&self) -> Preprocessing {
        let whole = Preprocessing::whole(self.image_size, self.normalization);
        Preprocessing { resize: self.resize, ..whole }
    }

    /// The sets of some roles.
    pub fn of(&self, roles: &[Role]) -> impl Iterator<Item = &ProtocolSet> {
        self.sets.iter().filter(move |set| roles.contains(&set.role))
    }
}

#[cfg(test)]
mod tests;
