//! From TIFF files to pixels. The crate `image` would bring a second JPEG decoder for this.

use std::io::Cursor;

use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::orientation::Turn;
use super::{DecodeError, MAX_MEMORY, Picture, PictureFormat, check_size, damaged, picture};

/// Decodes the first image of a file, and reads how it is to be turned.
pub(super) fn decode(bytes: &[u8]) -> Result<(Picture, Turn), DecodeError> {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = usize::try_from(MAX_MEMORY).unwrap_or(usize::MAX);
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(error)?.with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(error)?;
    check_size(PictureFormat::Tiff, width, height)?;
    let color = decoder.colortype().map_err(error)?;
    let turn = decoder.find_tag_unsigned::<u8>(Tag::Orientation).ok().flatten();
    let turn = turn.and_then(Turn::from_exif).unwrap_or(Turn::NoTransforms);
    let mut samples = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut samples).map_err(error)?;
    let samples: Vec<u8> = match samples {
        DecodingResult::U8(samples) => samples,
        // The high byte, as of all other formats.
        DecodingResult::U16(samples) => samples.iter().map(|sample| (sample >> 8) as u8).collect(),
        _ => return Err(unsupported(format!("of {color:?} samples that are no bytes"))),
    };
    let size = [width as usize, height as usize];
    let (samples, channels) = match color {
        ColorType::Gray(bits @ (1 | 2 | 4)) => (unpacked(&samples, size, bits), 1),
        ColorType::Gray(8 | 16)
        | ColorType::RGB(8 | 16)
        | ColorType::RGBA(8 | 16)
        | ColorType::Multiband { bit_depth: 8 | 16, .. } => {
            (samples, usize::from(color.num_samples()))
        }
        _ => return Err(unsupported(format!("of {color:?}"))),
    };
    let (pixels, is_planar) = (size[0] * size[1], layout.planes > 1);
    if samples.len() < pixels * channels {
        return Err(damaged(PictureFormat::Tiff, "it has fewer pixels than it says"));
    }
    let sample = |pixel: usize, channel: usize| {
        samples[if is_planar { channel * pixels + pixel } else { pixel * channels + channel }]
    };
    // Grey may come with transparency or more, of which nothing counts.
    let is_grey = matches!(color, ColorType::Gray(_) | ColorType::Multiband { .. });
    let source = if is_grey { [0, 0, 0] } else { [0, 1, 2] };
    let bytes =
        (0..pixels).flat_map(|pixel| source.map(|channel| sample(pixel, channel))).collect();
    Ok((picture(PictureFormat::Tiff, width, height, bytes)?, turn))
}

/// Grey values of a byte each, from rows of packed ones.
fn unpacked(packed: &[u8], [width, height]: [usize; 2], bits: u8) -> Vec<u8> {
    let (most, each) = (u8::MAX >> (8 - bits), 8 / usize::from(bits));
    let rows = packed.chunks_exact(width.div_ceil(each)).take(height);
    let value = |row: &[u8], x: usize| {
        let shift = 8 - usize::from(bits) * (x % each + 1);
        ((row[x / each] >> shift) & most) * (u8::MAX / most)
    };
    rows.flat_map(|row| (0..width).map(move |x| value(row, x))).collect()
}

fn unsupported(what: String) -> DecodeError {
    DecodeError::Unsupported { format: PictureFormat::Tiff, what }
}

fn error(error: TiffError) -> DecodeError {
    match error {
        TiffError::UnsupportedError(error) => unsupported(format!("({error})")),
        error => damaged(PictureFormat::Tiff, error),
    }
}
