//! The segments of a JPEG file, without what lies between them.
//!
//! Cameras, drones and editors leave stray bytes between segments, fill bytes before markers, and
//! whole other images behind the end; some forget the mark of the end. libjpeg, and with it Pillow,
//! reads over stray bytes with a warning. The decoders here are told to refuse what is odd, so that
//! damaged pixels are noticed, and for this they are given nothing odd that does not touch pixels.

use super::orientation::EXIF;
use super::{DecodeError, PictureFormat, check_size, damaged};

const FILL: u8 = 0xff;
const START: u8 = 0xd8;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;
const HUFFMAN_TABLES: u8 = 0xc4;
const JFIF: u8 = 0xe0;
const APP1: u8 = 0xe1;
const ADOBE: u8 = 0xee;

/// What the components of pixels are, by the rules of libjpeg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Color {
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
    Ycck,
}

/// A colour component, and how many samples it has beside those of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Component {
    pub id: u8,
    /// `[across, down]`, 1 to 4.
    pub sampling: [u8; 2],
}

/// The header of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// The low half of the marker, which tells how it is coded.
    pub coding: u8,
    pub width: u32,
    pub height: u32,
    pub components: Vec<Component>,
}

/// A JPEG file in parts.
#[derive(Debug)]
pub(super) struct Jpeg<'a> {
    pub frame: FrameHeader,
    pub color: Color,
    /// Whether the file says where its image ends.
    pub is_ended: bool,
    /// The first EXIF data, which no pixel depends on.
    pub exif: Option<&'a [u8]>,
    has_huffman_tables: bool,
    parts: Vec<Part<'a>>,
}

#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    /// A marker and what belongs to it, beginning with its length.
    Segment(u8, &'a [u8]),
    /// The coded pixels that follow a header of a scan.
    Pixels(&'a [u8]),
}

impl<'a> Jpeg<'a> {
    /// Finds the segments that pixels depend on, and the EXIF data.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut parts = Vec::new();
        let (mut frame, mut is_jfif, mut adobe, mut is_ended) = (None, false, None, false);
        let (mut has_huffman_tables, mut has_pixels, mut exif) = (false, false, None);
        let mut at = 2;
        while let Some((marker, after)) = next_marker(bytes, at) {
            at = after;
            match marker {
                // Without pixels it is the end of something stray.
                END if has_pixels => {
                    is_ended = true;
                    break;
                }
                // Another image, with no mark between them.
                START if has_pixels => break,
                START | END | 0xd0..=0xd7 => continue,
                _ => {}
            }
            let body = segment(bytes, at).ok_or_else(|| cut_short("in a header"))?;
            at += body.len();
            match marker {
                0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                    if frame.is_some() {
                        return Err(malformed("it has two headers"));
                    }
                    frame = Some(FrameHeader::parse(marker & 0xf, body)?);
                }
                HUFFMAN_TABLES => has_huffman_tables = true,
                // Tables of quantisation and of arithmetic coding, intervals of restarts.
                0xdb | 0xcc | 0xdd | SCAN => {}
                JFIF if body[2..].starts_with(b"JFIF\0") => is_jfif = true,
                ADOBE if body[2..].starts_with(b"Adobe") && body.len() >= 14 => {
                    adobe = Some(body[13]);
                }
                APP1 if exif.is_none() && body[2..].starts_with(EXIF) => {
                    exif = Some(&body[2..]);
                    continue;
                }
                // Comments, and data of programs.
                _ => continue,
            }
            parts.push(Part::Segment(marker, body));
            if marker == SCAN {
                let pixels = coded_pixels(&bytes[at..]);
                at += pixels.len();
                has_pixels = true;
                parts.push(Part::Pixels(pixels));
            }
        }
        let frame: FrameHeader = frame.ok_or_else(|| cut_short("before its header"))?;
        if !has_pixels {
            return Err(cut_short("before its pixels"));
        }
        let color = color_of(&frame.components, is_jfif, adobe);
        let jpeg = Self { frame, color, is_ended, exif, has_huffman_tables, parts };
        jpeg.check_length()?;
        Ok(jpeg)
    }

    /// The file with nothing else in it, for a decoder that takes components as they are.
    pub fn bare(&self) -> Vec<u8> {
        self.write(false, &[])
    }

    /// As [`bare`](Self::bare), with bytes behind the pixels.
    pub fn padded(&self, padding: &[u8]) -> Vec<u8> {
        self.write(false, padding)
    }

    /// The file with what tells the meaning of its components.
    #[cfg(feature = "libjpeg")]
    pub fn with_color(&self) -> Vec<u8> {
        self.write(true, &[])
    }

    fn write(&self, with_color: bool, padding: &[u8]) -> Vec<u8> {
        let mut bytes = vec![FILL, START];
        if !self.has_huffman_tables && !with_color {
            // Frames of videos leave the tables of the standard out. This tells the decoder to fill
            // them in, as libjpeg does unasked.
            bytes.extend_from_slice(b"\xff\xe0\0\x07AVI1\0");
        }
        for part in &self.parts {
            match *part {
                Part::Segment(JFIF | ADOBE, _) if !with_color => {}
                Part::Segment(marker, body) => {
                    bytes.extend_from_slice(&[FILL, marker]);
                    bytes.extend_from_slice(body);
                }
                Part::Pixels(pixels) => bytes.extend_from_slice(pixels),
            }
        }
        bytes.extend_from_slice(padding);
        bytes.extend_from_slice(&[FILL, END]);
        bytes
    }

    /// Every block of 8 × 8 samples takes two bits at least where there is one scan for all its
    /// coefficients. This stops small files that ask for much memory as well.
    fn check_length(&self) -> Result<(), DecodeError> {
        if self.frame.coding > 1 {
            return Ok(());
        }
        let lengths = self.parts.iter().map(|part| match part {
            Part::Pixels(pixels) => pixels.len() as u64,
            Part::Segment(..) => 0,
        });
        let length: u64 = lengths.sum();
        if self.frame.blocks().div_ceil(4) > length {
            return Err(cut_short("in its pixels"));
        }
        Ok(())
    }
}

impl FrameHeader {
    fn parse(coding: u8, body: &[u8]) -> Result<Self, DecodeError> {
        let [_, _, precision, h1, h2, w1, w2, count, components @ ..] = body else {
            return Err(malformed("its header is too short"));
        };
        if components.len() != 3 * usize::from(*count) {
            return Err(malformed("its header has another length than it says"));
        }
        let (width, height) = (u16::from_be_bytes([*w1, *w2]), u16::from_be_bytes([*h1, *h2]));
        check_size(PictureFormat::Jpeg, width.into(), height.into())?;
        let unsupported =
            |what: String| DecodeError::Unsupported { format: PictureFormat::Jpeg, what };
        if *precision != 8 {
            return Err(unsupported(format!("with {precision} bits for each sample")));
        }
        if !matches!(*count, 1 | 3 | 4) {
            return Err(unsupported(format!("with {count} colour components")));
        }
        let component = |c: &[u8]| Component { id: c[0], sampling: [c[1] >> 4, c[1] & 0xf] };
        let components: Vec<Component> = components.chunks_exact(3).map(component).collect();
        for side in 0..2 {
            let samplings = || components.iter().map(move |component| component.sampling[side]);
            let most = samplings().max().unwrap_or(1);
            let divides = |sampling: u8| sampling != 0 && most.is_multiple_of(sampling);
            // Of four components the first is black or brightness, which nothing exceeds.
            let is_usual = components.len() < 4 || components[0].sampling[side] == most;
            if most > 4 || !samplings().all(divides) || !is_usual {
                return Err(malformed("its components are sampled as no program does it"));
            }
        }
        Ok(Self { coding, width: width.into(), height: height.into(), components })
    }

    /// Blocks of 8 × 8 samples that it has at least.
    fn blocks(&self) -> u64 {
        let most = |side: usize| {
            let samplings = self.components.iter().map(|component| component.sampling[side]);
            u64::from(samplings.max().unwrap_or(1))
        };
        let most = [most(0), most(1)];
        let along = |pixels: u32, sampling: u8, most: u64| {
            (u64::from(pixels) * u64::from(sampling)).div_ceil(8 * most)
        };
        let blocks =
            self.components.iter().map(|Component { sampling: [across, down], .. }| {
                along(self.width, *across, most[0]) * along(self.height, *down, most[1])
            });
        blocks.sum()
    }
}

/// The next marker with the place behind it, over fill bytes and over what is no marker.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == FILL)?;
        at += bytes[at..].iter().take_while(|&&byte| byte == FILL).count();
        let marker = *bytes.get(at)?;
        at += 1;
        // Smaller ones are reserved: a stray byte that looked like a marker.
        if marker >= 0xc0 {
            return Some((marker, at));
        }
    }
}

/// A segment from its length on.
fn segment(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let length = bytes.get(at..at + 2)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    if length < 2 { None } else { bytes.get(at..at + length) }
}

/// Coded pixels up to a marker that cannot be among them.
fn coded_pixels(bytes: &[u8]) -> &[u8] {
    let mut at = 0;
    while let Some(place) = bytes[at..].iter().position(|&byte| byte == FILL) {
        let begin = at + place;
        at = begin + bytes[begin..].iter().take_while(|&&byte| byte == FILL).count();
        match bytes.get(at) {
            // A byte of pixels that looks like a marker, a restart, or damage for the decoder to find.
            Some(0..=0xbf | 0xd0..=0xd7) => at += 1,
            // A marker, or half of one at the end of the file.
            Some(_) | None => return &bytes[..begin],
        }
    }
    bytes
}

/// As `default_decompress_parms` of libjpeg decides.
fn color_of(components: &[Component], is_jfif: bool, adobe: Option<u8>) -> Color {
    let is_rgb = components.iter().map(|component| component.id).eq(*b"RGB");
    match (components.len(), adobe) {
        (1, _) => Color::Grey,
        (4, None | Some(0)) => Color::Cmyk,
        (4, Some(_)) => Color::Ycck,
        _ if is_jfif => Color::YCbCr,
        (_, Some(0)) => Color::Rgb,
        (_, None) if is_rgb => Color::Rgb,
        _ => Color::YCbCr,
    }
}

fn malformed(what: &str) -> DecodeError {
    damaged(PictureFormat::Jpeg, what)
}

fn cut_short(place: &str) -> DecodeError {
    damaged(PictureFormat::Jpeg, format!("it ends {place}"))
}
