//! Which way up an image is, by the EXIF data in its file.

use std::fmt;
use std::str::FromStr;

use image::DynamicImage;
// How stored pixels are turned and mirrored to stand upright.
pub(super) use image::metadata::Orientation as Turn;
use isomax_burn::UnknownName;
use serde::{Deserialize, Serialize};

use super::Picture;

/// What EXIF data begin with in JPEG files, and, against the rules, in some others.
pub(super) const EXIF: &[u8] = b"Exif\0\0";

/// Whether pictures are turned as their files say. Cameras and phones store the pixels as the sensor
/// lies, and say in EXIF data how the image is to be turned and mirrored.
///
/// Networks see what they were trained on: take the same for training, evaluation and prediction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Orientation {
    /// The pixels as they are stored, as Pillow and torchvision give them when they open a file.
    /// One format differs: Pillow turns TIFF images, which are left as they are here.
    #[default]
    AsStored,
    /// As viewers show the image: turned and mirrored by the EXIF data of JPEG, PNG and WebP files
    /// and by the tag of TIFF files. Without them, and where they are broken, as it is stored.
    Upright,
}

impl Orientation {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::AsStored, Self::Upright];

    /// The name in commands and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AsStored => "as-stored",
            Self::Upright => "upright",
        }
    }
}

impl fmt::Display for Orientation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Orientation {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name.trim().to_lowercase());
        found.ok_or_else(|| UnknownName {
            what: "orientation of images",
            found: name.to_owned(),
            known: Self::ALL.map(|orientation| orientation.name().to_owned()).into(),
        })
    }
}

/// What EXIF data say. Broken ones say nothing.
pub(super) fn turn_of(exif: &[u8]) -> Turn {
    let directory = exif.strip_prefix(EXIF).unwrap_or(exif);
    Turn::from_exif_chunk(directory).unwrap_or(Turn::NoTransforms)
}

pub(super) fn turned(picture: Picture, turn: Turn) -> Picture {
    let mut image = DynamicImage::from(picture);
    image.apply_orientation(turn);
    image.into_rgb8()
}

/// The EXIF data of a WebP file. The decoder would take memory for as many bytes as they claim to be,
/// before it looks whether they are there.
pub(super) fn webp_exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(12..)?;
    while let Some((header, body)) = rest.split_first_chunk::<8>() {
        let [name @ .., a, b, c, d] = *header;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if name == *b"EXIF" {
            return body.get(..length);
        }
        // Chunks begin at even places.
        rest = body.get(length.checked_next_multiple_of(2)?..)?;
    }
    None
}
