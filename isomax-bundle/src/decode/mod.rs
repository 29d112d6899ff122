//! From the bytes of an image file to pixels.
//!
//! What a file holds decides how it is read, not what it is called. All images become red, green and
//! blue of a byte each, as `Image.open(file).convert("RGB")` of Pillow makes them:
//!
//! - grey becomes three equal colours, palettes are looked up;
//! - transparency is dropped, and the colours beneath it show;
//! - samples of 16 bits keep their high byte (of grey ones, Pillow keeps the low range and makes white of the rest);
//! - of animations and files of several images, the first is taken;
//! - JPEG files of inks (CMYK, YCCK) are converted as Pillow does it;
//! - colour profiles are not applied, and the orientation in EXIF data only if
//!   [`Orientation::Upright`] asks for it: neither Pillow, but for TIFF, nor the data sets of
//!   torchvision apply them when they open a file. Broken EXIF data count as none.
//!
//! What is cut short or damaged is an error, and so is a decoder that panics: for its file alone.

use std::any::Any;
use std::error::Error;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

mod content;
mod jpeg;
mod jpeg_markers;
mod orientation;
mod tiff;

use content::Content;
pub use content::{FileKind, HEAD, PictureFormat, is_image};
pub use jpeg::JpegDecoder;
pub use orientation::Orientation;
use orientation::{Turn, turn_of, turned, webp_exif};

/// Red, green and blue of each pixel.
pub type Picture = RgbImage;

/// Pixels of the largest image that is decoded.
pub const MAX_PIXELS: u64 = 100_000_000;
/// Bytes of the largest file that is read, and of the memory that decoding takes, as far as decoders
/// can be held to it: as many as the largest image has with four channels of 16 bits.
const MAX_MEMORY: u64 = 1 << 30;
/// The longest side of an image.
const LONGEST: u32 = MAX_PIXELS as u32;

/// Why bytes are no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There are no bytes.
    #[error("it is empty")]
    Empty,
    /// The bytes are something else, or an image of a format that is not decoded.
    #[error("it is {0}")]
    Kind(FileKind),
    /// The bytes begin as an image does, but are cut short or damaged.
    #[error("it is no whole {format} image: {source}")]
    Damaged {
        /// What it should be.
        format: PictureFormat,
        /// What the decoder says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An image of a variant of a format that is not decoded.
    #[error("it is a {format} image {what}, which is not supported: convert it to PNG")]
    Unsupported {
        /// The format.
        format: PictureFormat,
        /// The variant.
        what: String,
    },
    /// More pixels than are read.
    #[error(
        "it is a {format} image of {width} × {height} pixels, more than {} millions: make it smaller",
        MAX_PIXELS / 1_000_000
    )]
    TooManyPixels {
        /// The format.
        format: PictureFormat,
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// A larger file than is read, or one that takes more memory.
    #[error("it takes more than {} MiB", MAX_MEMORY >> 20)]
    TooLarge,
    /// The decoder broke down.
    #[error("the {format} decoder broke down on it: {message}")]
    Panicked {
        /// What was decoded.
        format: PictureFormat,
        /// What it panicked with.
        message: String,
    },
    /// The decoder is not part of this build.
    #[error(
        "the JPEG decoder {} is not in this build: build with `--features libjpeg`, or choose {}",
        .0, JpegDecoder::Safe
    )]
    NotBuilt(JpegDecoder),
}

/// Why a file gives no picture.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no image.
    #[error("expected an image, but {0}")]
    Decode(#[from] DecodeError),
}

/// Reads and decodes an image file.
///
/// # Errors
///
/// [`ReadError`] if the file cannot be read, or as [`decode`].
pub fn read_picture(
    path: &Path,
    decoder: JpegDecoder,
    orientation: Orientation,
) -> Result<Picture, ReadError> {
    let mut bytes = Vec::new();
    // One byte more tells files that are too large, and those that never end, from others.
    File::open(path)?.take(MAX_MEMORY + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_MEMORY {
        return Err(DecodeError::TooLarge.into());
    }
    Ok(decode(&bytes, decoder, orientation)?)
}

/// Decodes an image of JPEG, PNG, WebP, BMP, GIF, TIFF or PNM to red, green and blue, JPEG by the
/// decoder that is asked for, and turns it upright if that is asked for.
///
/// # Errors
///
/// [`DecodeError`] if the bytes are no whole image, one of another format, or too large, or if the
/// JPEG decoder is not in this build.
pub fn decode(
    bytes: &[u8],
    decoder: JpegDecoder,
    orientation: Orientation,
) -> Result<Picture, DecodeError> {
    let format = match content::of(bytes) {
        Content::Empty => return Err(DecodeError::Empty),
        Content::Other(kind) => return Err(DecodeError::Kind(kind)),
        Content::Picture(format) => format,
    };
    guarded(format, || {
        let (picture, turn) = match format {
            PictureFormat::Jpeg => jpeg::decode(bytes, decoder),
            PictureFormat::Png => decode_image(bytes, format, ImageFormat::Png),
            PictureFormat::WebP => decode_image(bytes, format, ImageFormat::WebP),
            PictureFormat::Bmp => decode_image(bytes, format, ImageFormat::Bmp),
            PictureFormat::Gif => decode_image(bytes, format, ImageFormat::Gif),
            PictureFormat::Tiff => tiff::decode(bytes),
            PictureFormat::Pnm => decode_image(bytes, format, ImageFormat::Pnm),
        }?;
        Ok(match orientation {
            Orientation::AsStored => picture,
            Orientation::Upright => turned(picture, turn),
        })
    })
}

/// Makes a panic an error. Decoders are handed bytes that anyone may have made, and one bad file must
/// not end the work on all others. The message of the panic still goes to standard error: the hook
/// that writes it belongs to the whole process.
fn guarded(
    format: PictureFormat,
    decode: impl FnOnce() -> Result<Picture, DecodeError>,
) -> Result<Picture, DecodeError> {
    // Nothing that the decoder has touched is looked at after a panic.
    let caught = panic::catch_unwind(AssertUnwindSafe(decode));
    caught
        .unwrap_or_else(|cause| Err(DecodeError::Panicked { format, message: message_of(&*cause) }))
}

fn message_of(cause: &(dyn Any + Send)) -> String {
    let fixed = cause.downcast_ref::<&str>().map(|message| (*message).to_owned());
    let message = fixed.or_else(|| cause.downcast_ref::<String>().cloned());
    message.unwrap_or_else(|| "no message".to_owned())
}

fn decode_image(
    bytes: &[u8],
    format: PictureFormat,
    decoder: ImageFormat,
) -> Result<(Picture, Turn), DecodeError> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_MEMORY);
    // Decoders take memory for a row before they tell how many there are.
    (limits.max_image_width, limits.max_image_height) = (Some(LONGEST), Some(LONGEST));
    let mut reader = ImageReader::with_format(Cursor::new(bytes), decoder);
    reader.limits(limits);
    let error = |error: ImageError| match error {
        ImageError::Unsupported(error) => {
            DecodeError::Unsupported { format, what: format!("({error})") }
        }
        ImageError::Limits(_) => DecodeError::TooLarge,
        error => damaged(format, error),
    };
    let mut decoder = reader.into_decoder().map_err(error)?;
    let (width, height) = decoder.dimensions();
    check_size(format, width, height)?;
    let turn = match format {
        PictureFormat::WebP => webp_exif(bytes).map(turn_of),
        _ => decoder.exif_metadata().ok().flatten().map(|exif| turn_of(&exif)),
    };
    let image = DynamicImage::from_decoder(decoder).map_err(error)?;
    let picture = picture(format, width, height, to_rgb(image))?;
    Ok((picture, turn.unwrap_or(Turn::NoTransforms)))
}

fn to_rgb(image: DynamicImage) -> Vec<u8> {
    let high = |sample: u16| (sample >> 8) as u8;
    match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageLuma8(image) => colors(image.as_raw(), 1, |sample| sample),
        DynamicImage::ImageLumaA8(image) => colors(image.as_raw(), 2, |sample| sample),
        DynamicImage::ImageRgba8(image) => colors(image.as_raw(), 4, |sample| sample),
        DynamicImage::ImageLuma16(image) => colors(image.as_raw(), 1, high),
        DynamicImage::ImageLumaA16(image) => colors(image.as_raw(), 2, high),
        DynamicImage::ImageRgb16(image) => colors(image.as_raw(), 3, high),
        DynamicImage::ImageRgba16(image) => colors(image.as_raw(), 4, high),
        // Numbers in [0, 1], which none of the formats above has.
        image => image.into_rgb8().into_raw(),
    }
}

/// The first three channels of pixels, or thrice the first where there are fewer.
fn colors<T: Copy>(samples: &[T], channels: usize, byte: impl Fn(T) -> u8) -> Vec<u8> {
    let source = if channels < 3 { [0, 0, 0] } else { [0, 1, 2] };
    let pixels = samples.chunks_exact(channels);
    pixels.flat_map(|pixel| source.map(|channel| byte(pixel[channel]))).collect()
}

/// Refuses sizes before memory is taken for them.
fn check_size(format: PictureFormat, width: u32, height: u32) -> Result<(), DecodeError> {
    match u64::from(width) * u64::from(height) {
        0 => Err(damaged(format, "it says that it has no pixels")),
        1..=MAX_PIXELS => Ok(()),
        _ => Err(DecodeError::TooManyPixels { format, width, height }),
    }
}

fn picture(
    format: PictureFormat,
    width: u32,
    height: u32,
    bytes: Vec<u8>,
) -> Result<Picture, DecodeError> {
    RgbImage::from_raw(width, height, bytes)
        .ok_or_else(|| damaged(format, "it has fewer pixels than it says"))
}

fn damaged(format: PictureFormat, source: impl Into<Box<dyn Error + Send + Sync>>) -> DecodeError {
    DecodeError::Damaged { format, source: source.into() }
}

#[cfg(test)]
mod tests;
