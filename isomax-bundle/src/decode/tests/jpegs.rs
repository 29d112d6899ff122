use super::*;

/// Some pixels of an image as Pillow 12.1 decodes it.
type Pixels = [((u32, u32), [u8; 3]); 4];

#[test]
fn jpegs_of_all_kinds_are_as_pillow_reads_them() -> Tested {
    type File<'a> = (&'a str, &'a [u8], (u32, u32), Pixels);
    let files: [File<'_>; 7] = [
        (
            "control",
            CONTROL,
            (64, 48),
            [
                ((0, 0), [110, 10, 10]),
                ((63, 0), [173, 73, 73]),
                ((32, 24), [166, 66, 66]),
                ((3, 46), [159, 59, 59]),
            ],
        ),
        (
            "progressive",
            PROGRESSIVE,
            (24, 16),
            [
                ((0, 0), [39, 34, 189]),
                ((23, 0), [216, 35, 106]),
                ((12, 8), [137, 125, 127]),
                ((3, 14), [62, 198, 148]),
            ],
        ),
        (
            "restarts",
            RESTARTS,
            (24, 16),
            [
                ((0, 0), [39, 34, 189]),
                ((23, 0), [216, 35, 106]),
                ((12, 8), [137, 125, 127]),
                ((3, 14), [62, 198, 148]),
            ],
        ),
        (
            "grey with sampling",
            GREY_SAMPLED,
            (24, 16),
            [((0, 0), [53; 3]), ((23, 0), [97; 3]), ((12, 8), [129; 3]), ((3, 14), [152; 3])],
        ),
        (
            "RGB",
            ADOBE_RGB,
            (24, 16),
            [
                ((0, 0), [40, 30, 200]),
                ((23, 0), [224, 30, 108]),
                ((12, 8), [136, 126, 128]),
                ((3, 14), [64, 198, 146]),
            ],
        ),
        (
            "CMYK",
            CMYK,
            (24, 16),
            [
                ((0, 0), [216, 207, 49]),
                ((23, 0), [34, 207, 150]),
                ((12, 8), [99, 101, 95]),
                ((3, 14), [133, 41, 60]),
            ],
        ),
        (
            "YCCK",
            YCCK,
            (24, 16),
            [
                ((0, 0), [99, 0, 0]),
                ((23, 0), [139, 225, 24]),
                ((12, 8), [83, 90, 72]),
                ((3, 14), [48, 0, 88]),
            ],
        ),
    ];
    for decoder in decoders() {
        let tolerance = if decoder == JpegDecoder::Libjpeg { 0 } else { 6 };
        for (name, bytes, size, pixels) in files {
            let picture = as_stored(bytes, decoder)?;
            assert_eq!(picture.dimensions(), size, "{name}, {decoder}");
            for ((x, y), expected) in pixels {
                let found = picture.get_pixel(x, y).0;
                let is_near = found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= tolerance);
                assert!(is_near, "{name}, {decoder}: {found:?} at {x}, {y} for {expected:?}");
            }
        }
    }
    Ok(())
}

/// A JPEG file with bytes put before each of its markers up to the scan, or those of the first alone.
fn with_stray(bytes: &[u8], stray: &[u8]) -> Vec<u8> {
    let (mut strayed, mut at) = (bytes[..2].to_vec(), 2);
    while bytes[at..at + 2] != [0xff, 0xda] {
        let length = 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        strayed.extend_from_slice(stray);
        strayed.extend_from_slice(&bytes[at..at + length]);
        at += length;
    }
    strayed.extend_from_slice(stray);
    strayed.extend_from_slice(&bytes[at..]);
    strayed
}

#[test]
fn stray_bytes_between_segments_change_nothing() -> Tested {
    let whole = &CONTROL[..CONTROL.len() - 2];
    let comment = [&CONTROL[..2], b"\xff\xfe\0\x06\xff\xd9\xff\xda", &CONTROL[2..]].concat();
    for decoder in decoders() {
        let expected = as_stored(CONTROL, decoder)?;
        assert_eq!(as_stored(STRAY, decoder)?, expected, "{decoder}");
        let strays: [&[u8]; 8] = [
            b"\0",
            b"\0\0\0",
            b"\x12\x34\x56\x78\x9a",
            &[0; 3000],
            b"\xff",
            b"\xff\xff\xff",
            b"\xff\0",
            b"\x01\xff\x02\x03\xff\xd0",
        ];
        for stray in strays {
            assert_eq!(as_stored(&with_stray(CONTROL, stray), decoder)?, expected, "{stray:?}");
        }
        assert_eq!(as_stored(&comment, decoder)?, expected, "{decoder}");
        // No mark of the end, half of one, other things behind it.
        assert_eq!(as_stored(whole, decoder)?, expected, "{decoder}");
        assert_eq!(as_stored(&[whole, b"\xff"].concat(), decoder)?, expected, "{decoder}");
        assert_eq!(as_stored(&[CONTROL, CONTROL].concat(), decoder)?, expected, "{decoder}");
        assert_eq!(as_stored(&[CONTROL, &[7; 999]].concat(), decoder)?, expected, "{decoder}");
        assert_eq!(as_stored(&with_stray(CMYK, b"\0\0"), decoder)?, as_stored(CMYK, decoder)?);
    }
    Ok(())
}

#[test]
fn damaged_jpegs_are_errors() {
    for decoder in decoders() {
        let fails = |bytes: &[u8]| as_stored(bytes, decoder).is_err();
        assert!(fails(BROKEN), "{decoder}");
        for whole in [CONTROL, PROGRESSIVE, CMYK] {
            for left in (0..whole.len() - 8).step_by(7) {
                assert!(fails(&whole[..left]), "{decoder}: {left} of {} bytes", whole.len());
            }
        }
    }
    let error = error(&CONTROL[..CONTROL.len() / 2]);
    assert!(error.starts_with("it is no whole JPEG image: it ends in"), "{error}");
}

#[test]
fn jpegs_that_are_not_decoded_say_why() {
    let frame = CONTROL.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap_or(0);
    let changed = |at: usize, bytes: &[u8]| {
        let mut jpeg = CONTROL.to_vec();
        jpeg[frame + at..][..bytes.len()].copy_from_slice(bytes);
        error(&jpeg)
    };
    for (at, bytes, complaint) in [
        (1, [0xc9].as_slice(), "with arithmetic coding"),
        (1, &[0xc3], "with lossless"),
        (4, &[12], "with 12 bits"),
        (5, &[0, 0], "no pixels"),
        (5, &[0xff; 4], "65535 × 65535 pixels, more than 100 millions"),
        (5, &[0x20, 0, 0x20, 0], "it ends in its pixels"),
        (9, &[4], "another length than it says"),
        (11, &[0x20], "sampled as no program"),
        (14, &[0x31], "sampled as no program"),
    ] {
        let error = changed(at, bytes);
        assert!(error.contains(complaint), "{error}");
    }
    if JpegDecoder::Libjpeg.available().is_err() {
        let error = as_stored(CONTROL, JpegDecoder::Libjpeg)
            .map_or_else(|error| error.to_string(), |_| String::new());
        assert!(error.contains("build with `--features libjpeg`, or choose safe"), "{error}");
    }
}
