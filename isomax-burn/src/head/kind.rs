use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::{UnknownName, parse};

/// Which head, and with it which loss: the choice that the two changed lines make.
///
/// In text and in files: `softmax`, `isomax`, `isomax+` (also `isomaxplus`), `dismax`.
///
/// ```
/// use isomax_burn::HeadKind;
///
/// let kind: HeadKind = "isomax+".parse()?;
/// assert_eq!(kind, HeadKind::IsoMaxPlus);
/// assert_eq!((kind.name(), kind.title()), ("isomax+", "IsoMax+"));
/// # Ok::<(), isomax_burn::UnknownName>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum HeadKind {
    /// The baseline, an affine layer.
    #[serde(rename = "softmax")]
    SoftMax,
    /// Negative Euclidean distances to prototypes.
    #[serde(rename = "isomax")]
    IsoMax,
    /// Negative scaled distances between unit vectors.
    #[serde(rename = "isomax+", alias = "isomaxplus")]
    IsoMaxPlus,
    /// As IsoMax+, with the mean distance added to every logit.
    #[serde(rename = "dismax")]
    DisMax,
}

impl HeadKind {
    /// All kinds, in the order in which they were published.
    pub const ALL: [Self; 4] = [Self::SoftMax, Self::IsoMax, Self::IsoMaxPlus, Self::DisMax];

    /// The name in text and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SoftMax => "softmax",
            Self::IsoMax => "isomax",
            Self::IsoMaxPlus => "isomax+",
            Self::DisMax => "dismax",
        }
    }

    /// The name as the papers print it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::SoftMax => "SoftMax",
            Self::IsoMax => "IsoMax",
            Self::IsoMaxPlus => "IsoMax+",
            Self::DisMax => "DisMax",
        }
    }
}

impl fmt::Display for HeadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for HeadKind {
    type Err = UnknownName;

    /// Reads a name in any case.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let aliases = [("isomaxplus", Self::IsoMaxPlus)];
        parse("head", name, Self::ALL.map(|kind| (kind.name(), kind)), aliases)
    }
}
