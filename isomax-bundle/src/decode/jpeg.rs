//! From JPEG files to pixels, by one of two decoders.

use std::fmt;
use std::str::FromStr;

use isomax_burn::UnknownName;
use serde::{Deserialize, Serialize};
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::jpeg_markers::{Color, Jpeg};
use super::orientation::{Turn, turn_of};
use super::{DecodeError, Picture, PictureFormat, damaged, picture};

/// What decodes JPEG files. Decoders round differently, by a few of 256 steps in single pixels, which
/// moves accuracies by about 0.05 points: compare results of one decoder.
/// Other formats have one decoder each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum JpegDecoder {
    /// The crate `zune-jpeg`, built without SIMD, and with it without unsafe code.
    #[default]
    Safe,
    /// The crate `libjpeg-turbo-rs`, which gives the pixels of libjpeg-turbo bit by bit, and with it
    /// those of Pillow and torchvision. It uses unsafe code, so that a file made for the purpose may
    /// harm more than its own decoding. It is there if the cargo feature `libjpeg` is on.
    Libjpeg,
}

impl JpegDecoder {
    /// All decoders, whether they are built or not.
    pub const ALL: [Self; 2] = [Self::Safe, Self::Libjpeg];

    /// The name in commands and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Libjpeg => "libjpeg",
        }
    }

    /// Makes sure that this build has the decoder.
    ///
    /// # Errors
    ///
    /// [`DecodeError::NotBuilt`] without the cargo feature that it needs.
    pub fn available(self) -> Result<Self, DecodeError> {
        match self {
            Self::Libjpeg if !cfg!(feature = "libjpeg") => Err(DecodeError::NotBuilt(self)),
            _ => Ok(self),
        }
    }
}

impl fmt::Display for JpegDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for JpegDecoder {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name.trim().to_lowercase());
        found.ok_or_else(|| UnknownName {
            what: "JPEG decoder",
            found: name.to_owned(),
            known: Self::ALL.map(|decoder| decoder.name().to_owned()).into(),
        })
    }
}

/// Decodes an image, and reads how it is to be turned.
pub(super) fn decode(bytes: &[u8], decoder: JpegDecoder) -> Result<(Picture, Turn), DecodeError> {
    let jpeg = Jpeg::parse(bytes)?;
    if !jpeg.is_ended && jpeg.frame.coding == 2 {
        // Each scan adds detail to all of the image: nobody knows how many are missing.
        return Err(damaged(PictureFormat::Jpeg, "it ends before its last scan"));
    }
    let pixels = match decoder {
        JpegDecoder::Safe => safe(&jpeg)?,
        JpegDecoder::Libjpeg => libjpeg(&jpeg)?,
    };
    let picture = picture(PictureFormat::Jpeg, jpeg.frame.width, jpeg.frame.height, pixels)?;
    Ok((picture, jpeg.exif.map_or(Turn::NoTransforms, turn_of)))
}

fn unsupported(what: &str) -> DecodeError {
    DecodeError::Unsupported { format: PictureFormat::Jpeg, what: what.to_owned() }
}

fn safe(jpeg: &Jpeg<'_>) -> Result<Vec<u8>, DecodeError> {
    match jpeg.frame.coding {
        0..=2 => {}
        9.. => return Err(unsupported("with arithmetic coding")),
        _ => return Err(unsupported("with lossless or hierarchical coding")),
    }
    let samples = components(jpeg, &jpeg.bare());
    if jpeg.is_ended {
        return Ok(to_rgb(samples?, jpeg.color));
    }
    // Without a mark of the end, a file may be whole or cut short. It is whole if its pixels do not
    // depend on what comes behind it.
    match (samples, components(jpeg, &jpeg.padded(&[0xa5; 64]))) {
        (Ok(samples), Ok(padded)) if samples == padded => Ok(to_rgb(samples, jpeg.color)),
        _ => Err(damaged(PictureFormat::Jpeg, "it ends in its pixels")),
    }
}

/// The components of the pixels as they are stored. Their meaning is not left to the decoder, which
/// guesses it in other ways than libjpeg does.
fn components(jpeg: &Jpeg<'_>, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let components = &jpeg.frame.components;
    let space = match components.len() {
        1 => ColorSpace::Luma,
        // The decoder takes components of these names for colours, and leaves them alone then.
        3 if components.iter().map(|component| component.id).eq(*b"RGB") => ColorSpace::RGB,
        3 => ColorSpace::YCbCr,
        _ => ColorSpace::CMYK,
    };
    let options = DecoderOptions::default()
        .set_use_unsafe(false)
        .set_strict_mode(true)
        .set_max_width(u16::MAX.into())
        .set_max_height(u16::MAX.into())
        .jpeg_set_out_colorspace(space);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode().map_err(|error| damaged(PictureFormat::Jpeg, error))
}

#[cfg(feature = "libjpeg")]
fn libjpeg(jpeg: &Jpeg<'_>) -> Result<Vec<u8>, DecodeError> {
    use libjpeg_turbo_rs::{DecodeLimits, Decoder, PixelFormat};

    let components = &jpeg.frame.components;
    let format = if components.len() == 4 {
        if components[3].sampling != components[0].sampling {
            // The decoder would read behind the end of the last component.
            return Err(unsupported("with a reduced fourth component"));
        }
        PixelFormat::Cmyk
    } else {
        PixelFormat::Rgb
    };
    let limits = DecodeLimits {
        max_width: u16::MAX.into(),
        max_height: u16::MAX.into(),
        max_pixels: super::MAX_PIXELS,
        ..DecodeLimits::strict()
    };
    let bytes = jpeg.with_color();
    let read = || {
        let decoder = Decoder::new_with_limits(&bytes, limits)?;
        decoder.with_output_format(format).with_stop_on_warning(true).decode_image()
    };
    let image = read().map_err(|error| damaged(PictureFormat::Jpeg, error))?;
    Ok(match format {
        PixelFormat::Cmyk => to_rgb(image.data, Color::Cmyk),
        _ => image.data,
    })
}

#[cfg(not(feature = "libjpeg"))]
fn libjpeg(_: &Jpeg<'_>) -> Result<Vec<u8>, DecodeError> {
    Err(DecodeError::NotBuilt(JpegDecoder::Libjpeg))
}

/// Colours from components, as libjpeg and Pillow compute them.
fn to_rgb(mut samples: Vec<u8>, color: Color) -> Vec<u8> {
    match color {
        Color::Rgb => samples,
        Color::Grey => samples.iter().flat_map(|&grey| [grey; 3]).collect(),
        Color::YCbCr => {
            for pixel in samples.chunks_exact_mut(3) {
                pixel.copy_from_slice(&from_ycbcr(pixel[0], pixel[1], pixel[2]));
            }
            samples
        }
        Color::Cmyk => {
            let inks = |pixel: &[u8]| from_cmyk([pixel[0], pixel[1], pixel[2]], pixel[3]);
            samples.chunks_exact(4).flat_map(inks).collect()
        }
        Color::Ycck => {
            let inks = |pixel: &[u8]| {
                from_cmyk(from_ycbcr(pixel[0], pixel[1], pixel[2]).map(|c| 255 - c), pixel[3])
            };
            samples.chunks_exact(4).flat_map(inks).collect()
        }
    }
}

/// As `ycc_rgb_convert` of libjpeg, with its constants of 16 bits.
fn from_ycbcr(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((91_881 * cr + HALF) >> 16);
    let green = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16);
    let blue = y + ((116_130 * cb + HALF) >> 16);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

/// As `cmyk2rgb` of Pillow. Files store how much an ink is missing, as Photoshop does; Pillow takes
/// this for granted.
fn from_cmyk(missing: [u8; 3], key: u8) -> [u8; 3] {
    missing.map(|missing| {
        let product = (255 - u32::from(missing)) * u32::from(key) + 128;
        key.saturating_sub((((product >> 8) + product) >> 8) as u8)
    })
}
