//! Images that say which way up they are.

use super::*;
use crate::decode::orientation::EXIF;

/// A picture of 3 × 2 pixels with the reds 1 to 6.
fn small() -> Picture {
    Picture::from_fn(3, 2, |x, y| Rgb([(y * 3 + x + 1) as u8, 90, 7]))
}

/// What EXIF calls the orientations, with size and reds of [`small`] when it stands upright.
const LOOKS: [(u16, [u32; 2], [u8; 6]); 8] = [
    (1, [3, 2], [1, 2, 3, 4, 5, 6]),
    (2, [3, 2], [3, 2, 1, 6, 5, 4]),
    (3, [3, 2], [6, 5, 4, 3, 2, 1]),
    (4, [3, 2], [4, 5, 6, 1, 2, 3]),
    (5, [2, 3], [1, 4, 2, 5, 3, 6]),
    (6, [2, 3], [4, 1, 5, 2, 6, 3]),
    (7, [2, 3], [6, 3, 5, 2, 4, 1]),
    (8, [2, 3], [3, 6, 2, 5, 1, 4]),
];

fn upright(bytes: &[u8]) -> Result<Picture, DecodeError> {
    decode(bytes, JpegDecoder::Safe, Orientation::Upright)
}

fn assert_looks(picture: &Picture, size: [u32; 2], reds: [u8; 6], what: &str) {
    assert_eq!(picture.dimensions(), (size[0], size[1]), "{what}");
    let found: Vec<u8> = picture.pixels().map(|pixel| pixel[0]).collect();
    assert_eq!(found, reds, "{what}");
}

/// As by the definition: where the first row and the first column of what is stored belong.
fn turned_by_hand(stored: &Picture, orientation: u16) -> Picture {
    let (width, height) = stored.dimensions();
    let (right, bottom) = (width - 1, height - 1);
    let at = |x: u32, y: u32| *stored.get_pixel(x, y);
    match orientation {
        2 => Picture::from_fn(width, height, |x, y| at(right - x, y)),
        3 => Picture::from_fn(width, height, |x, y| at(right - x, bottom - y)),
        4 => Picture::from_fn(width, height, |x, y| at(x, bottom - y)),
        5 => Picture::from_fn(height, width, |x, y| at(y, x)),
        6 => Picture::from_fn(height, width, |x, y| at(y, bottom - x)),
        7 => Picture::from_fn(height, width, |x, y| at(right - y, bottom - x)),
        8 => Picture::from_fn(height, width, |x, y| at(right - y, x)),
        _ => stored.clone(),
    }
}

/// The orders of bytes that EXIF data may have.
const ORDERS: [&[u8; 2]; 2] = [b"II", b"MM"];

/// EXIF data with a width and an orientation.
fn exif(order: &[u8; 2], orientation: u16) -> Vec<u8> {
    let is_little = order == b"II";
    let short = |value: u16| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
    let long = |value: u32| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
    let mut bytes = order.to_vec();
    bytes.extend(short(42));
    bytes.extend(long(8));
    bytes.extend(short(2));
    for (tag, value) in [(0x0100_u16, 3), (0x0112, orientation)] {
        bytes.extend(short(tag));
        bytes.extend(short(3));
        bytes.extend(long(1));
        bytes.extend(short(value));
        bytes.extend([0_u8, 0]);
    }
    bytes.extend(long(0));
    bytes
}

/// The least of [`exif`] that has the whole orientation.
const NEEDED: usize = 34;

/// A JPEG file with one more segment for programs.
fn jpeg_with(name: &[u8], data: &[u8]) -> Vec<u8> {
    let length = (2 + name.len() + data.len()) as u16;
    [&CONTROL[..2], b"\xff\xe1", &length.to_be_bytes(), name, data, &CONTROL[2..]].concat()
}

fn png_with(exif: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let (mut bytes, picture) = (Vec::new(), small());
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_chunk(png::chunk::eXIf, exif)?;
    writer.write_image_data(picture.as_raw())?;
    writer.finish()?;
    Ok(bytes)
}

/// A WebP file with EXIF data, which may claim to be longer than they are.
fn webp_with(exif: &[u8], length: u32) -> Result<Vec<u8>, ImageError> {
    let picture = small();
    let plain = encoded(picture.clone(), ImageFormat::WebP)?;
    let [width, height] = [picture.width() - 1, picture.height() - 1].map(u32::to_le_bytes);
    let mut chunks = b"WEBPVP8X\x0a\0\0\0\x08\0\0\0".to_vec();
    chunks.extend_from_slice(&width[..3]);
    chunks.extend_from_slice(&height[..3]);
    chunks.extend_from_slice(&plain[12..]);
    chunks.extend_from_slice(b"EXIF");
    chunks.extend_from_slice(&length.to_le_bytes());
    chunks.extend_from_slice(exif);
    let size = (chunks.len() as u32).to_le_bytes();
    Ok([b"RIFF".as_slice(), &size, chunks.as_slice()].concat())
}

/// A TIFF file with one more tag: what stands behind its directory stays in its place.
fn tiff_with(orientation: u16) -> Vec<u8> {
    let mut bytes = tiff_of(3, 2, &[8; 3], 2, false, small().as_raw());
    bytes[8] += 1;
    let [low, high] = orientation.to_le_bytes();
    let tag = [0x12, 1, 3, 0, 1, 0, 0, 0, low, high, 0, 0];
    // Six tags have lower numbers.
    let at = 10 + 6 * 12;
    [&bytes[..at], &tag, &bytes[at..200 - tag.len()], &bytes[200..]].concat()
}

#[test]
fn jpegs_are_turned_as_their_exif_data_say() -> Tested {
    for decoder in decoders() {
        let stored = as_stored(CONTROL, decoder)?;
        for (order, (orientation, ..)) in ORDERS.into_iter().flat_map(|o| LOOKS.map(|l| (o, l))) {
            let jpeg = jpeg_with(EXIF, &exif(order, orientation));
            assert_eq!(as_stored(&jpeg, decoder)?, stored, "{orientation}, {decoder}");
            let found = decode(&jpeg, decoder, Orientation::Upright)?;
            assert_eq!(found, turned_by_hand(&stored, orientation), "{orientation}, {decoder}");
        }
    }
    Ok(())
}

#[test]
fn turning_by_hand_is_right() {
    for (orientation, size, reds) in LOOKS {
        let what = orientation.to_string();
        assert_looks(&turned_by_hand(&small(), orientation), size, reds, &what);
    }
}

#[test]
fn other_formats_are_turned_as_they_say() -> Tested {
    for (orientation, size, reds) in LOOKS {
        let mut files = vec![("TIFF", tiff_with(orientation))];
        for order in ORDERS {
            let exif = exif(order, orientation);
            let length = exif.len() as u32;
            files.extend([("PNG", png_with(&exif)?), ("WebP", webp_with(&exif, length)?)]);
            // With the name that only JPEG files should have.
            let named = [EXIF, exif.as_slice()].concat();
            let length = named.len() as u32;
            files.extend([("PNG", png_with(&named)?), ("WebP", webp_with(&named, length)?)]);
        }
        for (format, bytes) in files {
            let what = format!("{format}, {orientation}");
            assert_eq!(safe(&bytes)?, small(), "{what}");
            assert_looks(&upright(&bytes)?, size, reds, &what);
        }
    }
    Ok(())
}

#[test]
fn exif_data_that_are_broken_count_as_upright() -> Tested {
    let (jpeg, picture) = (safe(CONTROL)?, small());
    for order in ORDERS {
        let whole = exif(order, 6);
        for left in 0..whole.len() {
            let cut = &whole[..left];
            let files = [
                jpeg_with(EXIF, cut),
                png_with(cut)?,
                webp_with(cut, left as u32)?,
                // Cut off behind what its length says.
                webp_with(cut, whole.len() as u32)?,
            ];
            for (index, bytes) in files.iter().enumerate() {
                let stored = if index == 0 { &jpeg } else { &picture };
                // The end of the directory is not needed, but the chunk must be there.
                let is_turned = left >= NEEDED && index < 3;
                let expected = if is_turned { turned_by_hand(stored, 6) } else { stored.clone() };
                assert_eq!(upright(bytes)?, expected, "{left} bytes, file {index}");
            }
        }
        for unknown in [0, 9, 255, 256, 262, u16::MAX] {
            let exif = exif(order, unknown);
            assert_eq!(upright(&jpeg_with(EXIF, &exif))?, jpeg, "{unknown}");
            assert_eq!(upright(&png_with(&exif)?)?, picture, "{unknown}");
            assert_eq!(upright(&tiff_with(unknown))?, picture, "{unknown}");
        }
    }
    // No memory is taken for a length that nothing is there for.
    assert_eq!(upright(&webp_with(&exif(b"II", 6), u32::MAX - 1)?)?, picture);
    Ok(())
}

#[test]
fn the_first_exif_data_of_a_jpeg_count() -> Tested {
    let stored = safe(CONTROL)?;
    let other = jpeg_with(b"http://ns.adobe.com/xap/1.0/\0", b"<x:xmpmeta/>");
    assert_eq!(upright(&other)?, stored);
    let first = jpeg_with(EXIF, &exif(b"MM", 3));
    let expected = turned_by_hand(&stored, 3);
    let second = jpeg_with(EXIF, &exif(b"II", 6));
    for (one, two) in [(&other, &first), (&first, &other), (&first, &second)] {
        // The segment of the one, and then all of the other.
        let start = one.len() - CONTROL.len() + 2;
        assert_eq!(upright(&[&one[..start], &two[2..]].concat())?, expected);
    }
    Ok(())
}

#[test]
fn orientations_have_names() -> Tested {
    for orientation in Orientation::ALL {
        assert_eq!(orientation.name().parse::<Orientation>()?, orientation);
        assert_eq!(serde_json::to_string(&orientation)?, format!("\"{orientation}\""));
    }
    assert_eq!(Orientation::default(), Orientation::AsStored);
    let unknown = "sideways".parse::<Orientation>().err().ok_or("read")?.to_string();
    assert!(unknown.contains("as-stored, upright"), "{unknown}");
    Ok(())
}

proptest! {
    /// Whatever is in EXIF data, the image is there, turned or not.
    #[test]
    fn no_exif_data_spoil_an_image(
        start in prop::sample::select(vec![
            b"II*\0\x08\0\0\0\x02\0".to_vec(), b"MM\0*\0\0\0\x08\0\x02".to_vec(), Vec::new(),
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let exif = [start, rest].concat();
        let files = [
            (jpeg_with(EXIF, &exif), [64, 48]),
            (png_with(&exif).unwrap_or_default(), [3, 2]),
            (webp_with(&exif, exif.len() as u32).unwrap_or_default(), [3, 2]),
        ];
        for (bytes, [width, height]) in files {
            let size = upright(&bytes).map(|picture| picture.dimensions()).ok();
            prop_assert!(size == Some((width, height)) || size == Some((height, width)));
        }
    }
}
