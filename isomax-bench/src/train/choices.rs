//! What a recipe chooses among.

use std::fmt;
use std::str::FromStr;

use isomax_burn::UnknownName;
use serde::{Deserialize, Serialize};

/// A choice by name, in commands and files.
macro_rules! choice {
    ($kind:ident, $what:literal, $($variant:ident: $name:literal),+) => {
        impl $kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in commands and files.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $kind {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<Self, UnknownName> {
                let given = name.trim().to_lowercase();
                let found = Self::ALL.iter().copied().find(|choice| choice.name() == given);
                found.ok_or_else(|| UnknownName {
                    what: $what,
                    found: name.to_owned(),
                    known: Self::ALL.iter().map(|choice| choice.name().to_owned()).collect(),
                })
            }
        }

        impl TryFrom<String> for $kind {
            type Error = UnknownName;

            fn try_from(name: String) -> Result<Self, UnknownName> {
                name.parse()
            }
        }

        impl From<$kind> for String {
            fn from(choice: $kind) -> Self {
                choice.to_string()
            }
        }
    };
}

/// What makes steps of gradients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum OptimizerKind {
    /// Stochastic gradient descent with Nesterov momentum, as published.
    #[default]
    Sgd,
    /// AdamW ([arXiv:1711.05101](https://arxiv.org/abs/1711.05101)) with the settings of PyTorch: averages over 10 and
    /// 1,000 steps, ε 1e-8.
    AdamW,
}

choice!(OptimizerKind, "optimizer", Sgd: "sgd", AdamW: "adamw");

/// How the learning rate falls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum ScheduleKind {
    /// At the milestones, as published.
    #[default]
    MultiStep,
    /// Step by step along half a cosine, to nothing at the end
    /// ([arXiv:1608.03983](https://arxiv.org/abs/1608.03983), equation 5, without restarts).
    Cosine,
}

choice!(ScheduleKind, "schedule", MultiStep: "multi-step", Cosine: "cosine");

/// Where prototypes begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Prototypes {
    /// Drawn from N(0, 1), as published for IsoMax+ and DisMax; at 0 for IsoMax.
    #[default]
    Random,
    /// At the mean features of the training images of each class: see [`isomax_burn::ClassMeans`]. Not as published.
    ClassMeans,
}

choice!(Prototypes, "prototypes", Random: "random", ClassMeans: "class-means");

/// How many images of a split, or which share of them.
///
/// ```
/// use isomax_bench::train::ImageCount;
///
/// assert_eq!("10%".parse(), Ok(ImageCount::Share(0.1)));
/// assert_eq!("2500".parse(), Ok(ImageCount::Images(2_500)));
/// assert_eq!(ImageCount::Share(0.1).of(244), 24);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ImageCount {
    /// So many.
    Images(usize),
    /// A share of all, in (0, 1).
    Share(f64),
}

impl ImageCount {
    /// The number of images, of so many.
    pub fn of(self, images: usize) -> usize {
        match self {
            Self::Images(count) => count,
            Self::Share(share) => (images as f64 * share).round() as usize,
        }
    }

    /// Whether there are none, whatever the number of all.
    pub fn is_none(self) -> bool {
        self == Self::Images(0)
    }

    pub(super) fn is_usable(self) -> bool {
        match self {
            Self::Images(_) => true,
            Self::Share(share) => share > 0.0 && share < 1.0,
        }
    }
}

impl Default for ImageCount {
    /// None.
    fn default() -> Self {
        Self::Images(0)
    }
}

impl fmt::Display for ImageCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Images(count) => count.fmt(f),
            Self::Share(share) => write!(f, "{} %", share * 100.0),
        }
    }
}

impl FromStr for ImageCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let share = match text.strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().ok().map(|percent| percent / 100.0),
            None => match text.parse() {
                Ok(count) => return Ok(Self::Images(count)),
                Err(_) => text.parse().ok(),
            },
        };
        let share = share.map(Self::Share).filter(|share| share.is_usable());
        share.ok_or_else(|| {
            format!("expected a number of images, or a share such as 10% or 0.1, found '{text}'")
        })
    }
}
