use super::*;
use image::Rgb;
use proptest::prelude::*;

mod jpegs;
mod orientations;

type Tested = Result<(), Box<dyn Error>>;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/fixtures/images/", $name)).as_slice()
    };
}

const CONTROL: &[u8] = fixture!("control.jpg");
const STRAY: &[u8] = fixture!("stray_before_tables.jpg");
const BROKEN: &[u8] = fixture!("broken_four_components.jpg");
const WEBP: &[u8] = fixture!("webp_named.jpg");
const PROGRESSIVE: &[u8] = fixture!("progressive.jpg");
const RESTARTS: &[u8] = fixture!("restarts.jpg");
const GREY_SAMPLED: &[u8] = fixture!("grey_sampled.jpg");
const ADOBE_RGB: &[u8] = fixture!("adobe_rgb.jpg");
const CMYK: &[u8] = fixture!("cmyk.jpg");
const YCCK: &[u8] = fixture!("ycck.jpg");

/// The decoders of this build.
fn decoders() -> impl Iterator<Item = JpegDecoder> {
    JpegDecoder::ALL.into_iter().filter(|decoder| decoder.available().is_ok())
}

fn as_stored(bytes: &[u8], decoder: JpegDecoder) -> Result<Picture, DecodeError> {
    decode(bytes, decoder, Orientation::AsStored)
}

fn safe(bytes: &[u8]) -> Result<Picture, DecodeError> {
    as_stored(bytes, JpegDecoder::Safe)
}

fn error(bytes: &[u8]) -> String {
    safe(bytes).map_or_else(|error| error.to_string(), |_| "decoded".to_owned())
}

fn sample() -> Picture {
    Picture::from_fn(5, 3, |x, y| Rgb([x as u8 * 50, y as u8 * 100, 77]))
}

fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

#[test]
fn the_content_decides_and_everything_becomes_rgb() -> Tested {
    let exact = sample();
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Pnm] {
        assert_eq!(safe(&encoded(exact.clone(), format)?)?, exact, "{format:?}");
    }
    // Fifteen colours fit into a palette.
    let rgba = DynamicImage::from(exact.clone()).into_rgba8();
    assert_eq!(safe(&encoded(rgba, ImageFormat::Gif)?)?.dimensions(), (5, 3));

    let clear = image::RgbaImage::from_fn(5, 3, |x, y| {
        let Rgb([r, g, b]) = *exact.get_pixel(x, y);
        image::Rgba([r, g, b, x as u8])
    });
    assert_eq!(safe(&encoded(clear, ImageFormat::Png)?)?, exact);
    let grey = image::GrayImage::from_fn(5, 3, |x, _| image::Luma([x as u8 * 60]));
    let grey = safe(&encoded(grey, ImageFormat::Png)?)?;
    assert_eq!(grey.get_pixel(4, 2).0, [240; 3]);
    let deep =
        image::ImageBuffer::from_fn(5, 3, |x, _| Rgb([x as u16 * 256 + 255, 0xffff, 0x80ff]));
    assert_eq!(safe(&encoded(deep, ImageFormat::Png)?)?.get_pixel(3, 1).0, [3, 255, 128]);

    let webp = safe(WEBP)?;
    assert_eq!(webp.dimensions(), (32, 32));
    assert!(webp.get_pixel(16, 16).0.iter().zip([200, 29, 30]).all(|(a, b)| a.abs_diff(b) <= 3));
    Ok(())
}

#[test]
fn palettes_are_looked_up() -> Tested {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 4, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Two);
    encoder.set_palette(vec![1, 2, 3, 40, 50, 60, 7, 8, 9, 250, 251, 252]);
    encoder.set_trns(vec![0, 255]);
    encoder.write_header()?.write_image_data(&[0b0001_1011])?;
    let pixels: Vec<_> = safe(&bytes)?.pixels().map(|pixel| pixel.0).collect();
    assert_eq!(pixels, [[1, 2, 3], [40, 50, 60], [7, 8, 9], [250, 251, 252]]);
    Ok(())
}

/// A TIFF file of one strip, with bytes for its samples.
fn tiff_of(
    width: u16,
    height: u16,
    bits: &[u16],
    meaning: u16,
    planar: bool,
    data: &[u8],
) -> Vec<u8> {
    let samples = bits.len() as u16;
    let tags = [
        (256_u16, 3_u16, 1_u32, u32::from(width)),
        (257, 3, 1, height.into()),
        (258, 3, samples.into(), if samples > 2 { 200 } else { bits[0].into() }),
        (259, 3, 1, 1),
        (262, 3, 1, meaning.into()),
        // Planes follow each other, so that the first strip is as long as all are.
        (273, 4, if planar { samples.into() } else { 1 }, if planar { 220 } else { 300 }),
        (277, 3, 1, samples.into()),
        (278, 3, 1, height.into()),
        (
            279,
            4,
            if planar { samples.into() } else { 1 },
            if planar { 240 } else { data.len() as u32 },
        ),
        (284, 3, 1, if planar { 2 } else { 1 }),
    ];
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend((tags.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in tags {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.resize(200, 0);
    bits.iter().for_each(|bits| bytes.extend(bits.to_le_bytes()));
    let plane = (data.len() / bits.len()) as u32;
    bytes.resize(220, 0);
    for i in 0..u32::from(samples) {
        bytes.extend((300 + i * plane).to_le_bytes());
    }
    bytes.resize(240, 0);
    (0..samples).for_each(|_| bytes.extend(plane.to_le_bytes()));
    bytes.resize(300, 0);
    bytes.extend(data);
    bytes
}

#[test]
fn tiffs_of_many_kinds_are_read() -> Tested {
    let exact = sample();
    let raw = exact.as_raw();
    assert_eq!(safe(&tiff_of(5, 3, &[8; 3], 2, false, raw))?, exact);
    let planes: Vec<u8> = (0..3).flat_map(|c| raw.iter().skip(c).step_by(3).copied()).collect();
    assert_eq!(safe(&tiff_of(5, 3, &[8; 3], 2, true, &planes))?, exact);
    let deep: Vec<u8> = raw.iter().flat_map(|&byte| [99, byte]).collect();
    assert_eq!(safe(&tiff_of(5, 3, &[16; 3], 2, false, &deep))?, exact);
    let grey = safe(&tiff_of(2, 1, &[8], 1, false, &[7, 200]))?;
    assert_eq!(grey.as_raw().as_slice(), [7, 7, 7, 200, 200, 200]);
    // Ten pixels of a bit in two bytes.
    let black_and_white = safe(&tiff_of(10, 1, &[1], 1, false, &[0b1000_0001, 0b0100_0000]))?;
    let reds: Vec<u8> = black_and_white.pixels().map(|pixel| pixel[0]).collect();
    assert_eq!(reds, [255, 0, 0, 0, 0, 0, 0, 255, 0, 255]);
    let cmyk = error(&tiff_of(1, 1, &[8; 4], 5, false, &[0; 4]));
    assert!(cmyk.contains("CMYK") && cmyk.contains("convert it to PNG"), "{cmyk}");
    let short = tiff_of(5, 3, &[8; 3], 2, false, &raw[..20]);
    assert!(error(&short[..short.len() - 8]).contains("no whole TIFF"));
    Ok(())
}

#[test]
fn what_is_no_image_is_named() -> Tested {
    for (bytes, complaint) in [
        (b"".as_slice(), "it is empty"),
        (b"<!DOCTYPE html><html>", "it is an HTML page, as servers send in place of a file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "it is a HEIC image: convert it"),
        (b"PK\x03\x04", "it is a ZIP archive: unpack it"),
        (b"no image", "it is text"),
        (&[0; 100], "zero bytes"),
        (b"\x01\x02\x03", "of no known format"),
        (b"\x89PNG\r\n\x1a\n", "it is no whole PNG image"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "it is no whole JPEG image: it ends in a header"),
        (b"GIF89a", "it is no whole GIF image"),
        (b"II*\0", "it is no whole TIFF image"),
    ] {
        let error = error(bytes);
        assert!(error.contains(complaint), "{error}");
    }
    let png = encoded(sample(), ImageFormat::Png)?;
    // Its pixels come before two checksums and the last chunk.
    for left in 8..png.len() - 24 {
        assert!(error(&png[..left]).contains("no whole PNG"), "{left} bytes");
    }
    Ok(())
}

#[test]
fn too_many_pixels_are_refused_before_memory_is_taken() -> Tested {
    let mut bytes = Vec::new();
    // A header without rows.
    let mut encoder = png::Encoder::new(&mut bytes, 100_000, 100_000);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header()?.write_chunk(png::chunk::IDAT, &[0x78, 0x9c])?;
    let error = error(&bytes);
    assert!(error.contains("100000 × 100000 pixels, more than 100 millions"), "{error}");
    Ok(())
}

#[test]
fn a_panic_is_an_error() {
    let caught = guarded(PictureFormat::Gif, || panic!("at {} bytes", 3));
    assert!(
        matches!(&caught, Err(DecodeError::Panicked { message, .. }) if message == "at 3 bytes")
    );
    let caught = guarded(PictureFormat::Gif, || panic!("plain"));
    let error = caught.map_or_else(|error| error.to_string(), |_| String::new());
    assert_eq!(error, "the GIF decoder broke down on it: plain");
}

#[test]
fn decoders_have_names() -> Tested {
    for decoder in JpegDecoder::ALL {
        assert_eq!(decoder.name().parse::<JpegDecoder>()?, decoder);
        assert_eq!(serde_json::to_string(&decoder)?, format!("\"{decoder}\""));
    }
    assert_eq!(" Libjpeg ".parse::<JpegDecoder>()?, JpegDecoder::Libjpeg);
    let unknown = "mozjpeg".parse::<JpegDecoder>().err().ok_or("read")?.to_string();
    assert!(unknown.contains("safe, libjpeg"), "{unknown}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever bytes there are, they are an image or an error. The decoder with unsafe code promises
    /// less.
    #[test]
    fn damaged_files_do_no_harm(
        file in 0..14_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let formats = [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Gif];
        let jpegs = [
            CONTROL, STRAY, BROKEN, WEBP, PROGRESSIVE, RESTARTS, GREY_SAMPLED, ADOBE_RGB, CMYK, YCCK,
        ];
        let mut bytes = match jpegs.get(file) {
            Some(jpeg) => jpeg.to_vec(),
            None => {
                let rgba = DynamicImage::from(sample()).into_rgba8();
                encoded(rgba, formats[file - jpegs.len()]).unwrap_or_default()
            }
        };
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(picture) = safe(&bytes) {
            prop_assert!(picture.width() > 0 && picture.height() > 0);
            prop_assert_eq!(picture.len() as u64, u64::from(picture.width()) * u64::from(picture.height()) * 3);
        }
    }
}
