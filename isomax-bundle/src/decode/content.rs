//! What a file is, by its first bytes: names of files are often wrong.

use std::fmt;

/// Bytes at the beginning of a file that tell what it is.
pub const HEAD: usize = 512;

/// A format of images that can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PictureFormat {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    WebP,
    /// Windows bitmaps.
    Bmp,
    /// GIF.
    Gif,
    /// TIFF.
    Tiff,
    /// PBM, PGM, PPM and PAM.
    Pnm,
}

impl fmt::Display for PictureFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::Tiff => "TIFF",
            Self::Pnm => "PNM",
        })
    }
}

/// What a file is that cannot be decoded. The text says what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// HEIC or HEIF.
    Heif,
    /// AVIF.
    Avif,
    /// JPEG XL.
    JpegXl,
    /// JPEG 2000.
    Jpeg2000,
    /// JPEG XR.
    JpegXr,
    /// Photoshop.
    Psd,
    /// OpenEXR.
    OpenExr,
    /// Radiance.
    Hdr,
    /// QOI.
    Qoi,
    /// DirectDraw surface.
    Dds,
    /// Windows icon.
    Icon,
    /// SVG.
    Svg,
    /// PDF or PostScript.
    Pdf,
    /// Video or sound.
    Video,
    /// ZIP, and what is ZIP inside.
    Zip,
    /// Other packed files.
    Archive,
    /// Arrays of NumPy, MATLAB or HDF5.
    Arrays,
    /// HTML.
    Html,
    /// The stand-in that Git LFS or git-annex leaves for a file.
    Pointer,
    /// JSON.
    Json,
    /// XML, but not SVG.
    Xml,
    /// Other text.
    Text,
    /// Zero bytes only.
    Zeros,
    /// None of these.
    Unknown,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CONVERT: &str = "convert it to PNG or JPEG";
        const FETCH: &str = "download the image itself";
        let (what, advice) = match self {
            Self::Heif => ("a HEIC image", CONVERT),
            Self::Avif => ("an AVIF image", CONVERT),
            Self::JpegXl => ("a JPEG XL image", CONVERT),
            Self::Jpeg2000 => ("a JPEG 2000 image", CONVERT),
            Self::JpegXr => ("a JPEG XR image", CONVERT),
            Self::Psd => ("a Photoshop document", CONVERT),
            Self::OpenExr => ("an OpenEXR image", CONVERT),
            Self::Hdr => ("a Radiance HDR image", CONVERT),
            Self::Qoi => ("a QOI image", CONVERT),
            Self::Dds => ("a DDS texture", CONVERT),
            Self::Icon => ("a Windows icon", CONVERT),
            Self::Svg => ("an SVG drawing", CONVERT),
            Self::Pdf => ("a PDF or PostScript document", "save its images as PNG or JPEG"),
            Self::Video => ("a video or sound", "save its images as PNG or JPEG"),
            Self::Zip => ("a ZIP archive", "unpack it"),
            Self::Archive => ("an archive", "unpack it"),
            Self::Arrays => ("a file of arrays", "save its images as PNG"),
            Self::Html => ("an HTML page, as servers send in place of a file", FETCH),
            Self::Pointer => {
                ("a pointer of Git LFS or git-annex", "fetch the image with `git lfs pull`")
            }
            Self::Json => ("JSON, as servers send in place of a file", FETCH),
            Self::Xml => ("XML", FETCH),
            Self::Text => ("text", FETCH),
            Self::Zeros => ("nothing but zero bytes", "copy or download it again"),
            Self::Unknown => (
                "of no known format",
                "expected JPEG, PNG, WebP, BMP, GIF, TIFF or PNM; is it damaged?",
            ),
        };
        write!(f, "{what}: {advice}")
    }
}

/// What the first bytes of a file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Empty,
    Picture(PictureFormat),
    Other(FileKind),
}

use Content::{Other, Picture};

/// Bytes that are at a place in files of a kind, and in no others.
const SIGNATURES: &[(usize, &[u8], Content)] = &[
    // Stray bytes may follow the first marker.
    (0, b"\xff\xd8", Picture(PictureFormat::Jpeg)),
    (0, b"\x89PNG", Picture(PictureFormat::Png)),
    (0, b"GIF8", Picture(PictureFormat::Gif)),
    (8, b"WEBP", Picture(PictureFormat::WebP)),
    (0, b"II\xbc\x01", Other(FileKind::JpegXr)),
    (0, b"II*\0", Picture(PictureFormat::Tiff)),
    (0, b"MM\0*", Picture(PictureFormat::Tiff)),
    (0, b"II+\0", Picture(PictureFormat::Tiff)),
    (0, b"MM\0+", Picture(PictureFormat::Tiff)),
    (0, b"\xff\x0a", Other(FileKind::JpegXl)),
    (0, b"\0\0\0\x0cJXL ", Other(FileKind::JpegXl)),
    (0, b"\0\0\0\x0cjP  ", Other(FileKind::Jpeg2000)),
    (0, b"\xff\x4f\xff\x51", Other(FileKind::Jpeg2000)),
    (4, b"ftypavif", Other(FileKind::Avif)),
    (4, b"ftypavis", Other(FileKind::Avif)),
    (4, b"ftyphe", Other(FileKind::Heif)),
    (4, b"ftypmif1", Other(FileKind::Heif)),
    (4, b"ftypmsf1", Other(FileKind::Heif)),
    (4, b"ftyp", Other(FileKind::Video)),
    (0, b"8BPS", Other(FileKind::Psd)),
    (0, b"\x76\x2f\x31\x01", Other(FileKind::OpenExr)),
    (0, b"#?RADIANCE", Other(FileKind::Hdr)),
    (0, b"#?RGBE", Other(FileKind::Hdr)),
    (0, b"qoif", Other(FileKind::Qoi)),
    (0, b"DDS ", Other(FileKind::Dds)),
    (0, b"\0\0\x01\0", Other(FileKind::Icon)),
    (0, b"%PDF", Other(FileKind::Pdf)),
    (0, b"%!PS", Other(FileKind::Pdf)),
    (0, b"\xc5\xd0\xd3\xc6", Other(FileKind::Pdf)),
    (0, b"RIFF", Other(FileKind::Video)),
    (0, b"\x1a\x45\xdf\xa3", Other(FileKind::Video)),
    (0, b"\0\0\x01\xba", Other(FileKind::Video)),
    (0, b"\0\0\x01\xb3", Other(FileKind::Video)),
    (0, b"OggS", Other(FileKind::Video)),
    (0, b"ID3", Other(FileKind::Video)),
    (0, b"FLV\x01", Other(FileKind::Video)),
    (0, b"PK\x03\x04", Other(FileKind::Zip)),
    (0, b"PK\x05\x06", Other(FileKind::Zip)),
    (0, b"\x1f\x8b", Other(FileKind::Archive)),
    (0, b"BZh", Other(FileKind::Archive)),
    (0, b"\xfd7zXZ\0", Other(FileKind::Archive)),
    (0, b"\x28\xb5\x2f\xfd", Other(FileKind::Archive)),
    (0, b"7z\xbc\xaf\x27\x1c", Other(FileKind::Archive)),
    (0, b"Rar!\x1a", Other(FileKind::Archive)),
    (257, b"ustar", Other(FileKind::Archive)),
    (0, b"\x93NUMPY", Other(FileKind::Arrays)),
    (0, b"\x89HDF\r\n\x1a\n", Other(FileKind::Arrays)),
    (0, b"MATLAB 5.0 MAT", Other(FileKind::Arrays)),
    (0, b"version https://git-lfs", Other(FileKind::Pointer)),
    (0, b"version https://hawser", Other(FileKind::Pointer)),
    (0, b"/annex/objects/", Other(FileKind::Pointer)),
];

/// What a file is that begins with these bytes; [`HEAD`] of them are enough.
pub(crate) fn of(bytes: &[u8]) -> Content {
    if bytes.is_empty() {
        return Content::Empty;
    }
    let head = &bytes[..bytes.len().min(HEAD)];
    let is_at =
        |at: usize, signature: &[u8]| head.get(at..).is_some_and(|h| h.starts_with(signature));
    if let Some((.., content)) = SIGNATURES.iter().find(|(at, signature, _)| is_at(*at, signature))
    {
        return *content;
    }
    if is_bitmap(head) {
        return Picture(PictureFormat::Bmp);
    }
    if is_pnm(head) {
        return Picture(PictureFormat::Pnm);
    }
    Other(match text(head) {
        Some(text) => kind_of_text(&text),
        None if bytes.iter().all(|&byte| byte == 0) => FileKind::Zeros,
        None => FileKind::Unknown,
    })
}

/// Whether a file that begins with these bytes is an image, of a format that can be decoded or of
/// another one; [`HEAD`] of them are enough. Drawings and icons lie among images for other reasons.
pub fn is_image(head: &[u8]) -> bool {
    match of(head) {
        Picture(_) => true,
        Other(kind) => matches!(
            kind,
            FileKind::Heif
                | FileKind::Avif
                | FileKind::JpegXl
                | FileKind::Jpeg2000
                | FileKind::JpegXr
                | FileKind::Psd
                | FileKind::OpenExr
                | FileKind::Hdr
                | FileKind::Qoi
        ),
        Content::Empty => false,
    }
}

/// Text may begin with `BM` too, but not go on with the length of a header.
fn is_bitmap(head: &[u8]) -> bool {
    let length = head.get(14..18).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    head.starts_with(b"BM") && matches!(length, Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}

/// `P` and a digit, white space, and a number or a comment; of PAM, the name of a field.
fn is_pnm(head: &[u8]) -> bool {
    match head {
        [b'P', b'7', b'\n', b'A'..=b'Z' | b'#', ..] => true,
        [b'P', b'1'..=b'6', space, next, ..] => {
            space.is_ascii_whitespace()
                && (next.is_ascii_digit() || *next == b'#' || next.is_ascii_whitespace())
        }
        _ => false,
    }
}

/// The beginning of a file as text, if it is text: UTF-8, or UTF-16 with a mark.
fn text(head: &[u8]) -> Option<String> {
    let wide = |word: fn([u8; 2]) -> u16| {
        let words: Vec<u16> =
            head[2..].chunks_exact(2).map(|pair| word([pair[0], pair[1]])).collect();
        Some(String::from_utf16_lossy(&words))
    };
    match head {
        [0xff, 0xfe, ..] => return wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => return wide(u16::from_be_bytes),
        _ => {}
    }
    // The last character may be cut off.
    let whole = match str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_plain =
        |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}');
    whole.chars().all(is_plain).then(|| whole.to_owned())
}

fn kind_of_text(text: &str) -> FileKind {
    let text = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).to_lowercase();
    let has_any = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    if has_any(&["<svg"]) {
        FileKind::Svg
    } else if text.starts_with('<') {
        let is_page = has_any(&["<html", "<!doctype html", "<head", "<body", "<script", "<title"]);
        if is_page { FileKind::Html } else { FileKind::Xml }
    } else if text.starts_with(['{', '[']) {
        FileKind::Json
    } else {
        FileKind::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_what_a_file_is() {
        let bitmap = [b"BM".as_slice(), &[0; 12], &[40, 0, 0, 0]].concat();
        let wide = b"\xff\xfe<\0h\0t\0m\0l\0>\0";
        let tar = [vec![b'a'; 257], b"ustar\0".to_vec()].concat();
        for (bytes, expected) in [
            (b"".as_slice(), Content::Empty),
            (b"\xff\xd8\0\0\xff\xdb", Picture(PictureFormat::Jpeg)),
            (b"\x89PNG\r\n\x1a\n", Picture(PictureFormat::Png)),
            (b"RIFF\x4a\0\0\0WEBPVP8 ", Picture(PictureFormat::WebP)),
            (b"RIFF\x4a\0\0\0AVI LIST", Other(FileKind::Video)),
            (b"GIF89a", Picture(PictureFormat::Gif)),
            (b"II*\0\x08\0\0\0", Picture(PictureFormat::Tiff)),
            (&bitmap, Picture(PictureFormat::Bmp)),
            (b"BMW drove past the house", Other(FileKind::Text)),
            (b"P6\n32 32\n255\n\x01\x02", Picture(PictureFormat::Pnm)),
            (b"P5 # made by hand\n", Picture(PictureFormat::Pnm)),
            (b"P1 is the first point", Other(FileKind::Text)),
            (b"\0\0\0\x1cftypheic\0\0\0\0", Other(FileKind::Heif)),
            (b"\0\0\0\x1cftypavif\0\0\0\0", Other(FileKind::Avif)),
            (b"\0\0\0\x1cftypisom\0\0\0\0", Other(FileKind::Video)),
            (b"\xff\x0a\xfa\x1f", Other(FileKind::JpegXl)),
            (b"\0\0\0\x0cjP  \r\n\x87\n", Other(FileKind::Jpeg2000)),
            (b"8BPS\0\x01", Other(FileKind::Psd)),
            (b"%PDF-1.7", Other(FileKind::Pdf)),
            (b"PK\x03\x04\x14", Other(FileKind::Zip)),
            (b"\x1f\x8b\x08", Other(FileKind::Archive)),
            (&tar, Other(FileKind::Archive)),
            (b"\x93NUMPY\x01\0", Other(FileKind::Arrays)),
            (b"\n<!DOCTYPE html>\n<html>", Other(FileKind::Html)),
            (b"\xef\xbb\xbf<HTML><body>", Other(FileKind::Html)),
            (wide, Other(FileKind::Html)),
            (b"<?xml version=\"1.0\"?><svg width=\"1\">", Other(FileKind::Svg)),
            (b"<?xml version=\"1.0\"?><Error>AccessDenied", Other(FileKind::Xml)),
            (b"{\"message\": \"Not Found\"}", Other(FileKind::Json)),
            (b"version https://git-lfs.github.com/spec/v1\noid", Other(FileKind::Pointer)),
            (b"404: Not Found", Other(FileKind::Text)),
            ("Mädchen".as_bytes().split_at(2).0, Other(FileKind::Text)),
            (&[0; 700], Other(FileKind::Zeros)),
            (b"\x01\x02\x03\x04", Other(FileKind::Unknown)),
        ] {
            assert_eq!(of(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn images_that_cannot_be_decoded_are_images_too() {
        assert!(is_image(b"\0\0\0\x1cftypheic\0\0\0\0"));
        assert!(is_image(b"GIF89a"));
        for other in [b"".as_slice(), b"text", b"<svg>", b"\0\0\x01\0\x01\0", b"\0\0\0\0"] {
            assert!(!is_image(other), "{other:?}");
        }
    }

    #[test]
    fn every_kind_comes_with_advice() {
        assert_eq!(FileKind::Heif.to_string(), "a HEIC image: convert it to PNG or JPEG");
        assert!(FileKind::Html.to_string().ends_with(": download the image itself"));
    }
}
