//! Image files: JPEG by every decoder of this build, PNG, WebP, BMP, GIF, TIFF and PNM.
//!
//! `decode` makes an error of a decoder's panic; here it is a finding. `FUZZ_PAST_PANICS=1` lets them
//! pass, to look for others behind one that is known.

#![no_main]

use std::env;
use std::panic;
use std::sync::LazyLock;

use isomax_bundle::{
    DecodeError, JpegDecoder, MAX_PIXELS, Orientation, Picture, decode, resize_and_crop,
};
use libfuzzer_sys::fuzz_target;

static PAST_PANICS: LazyLock<bool> = LazyLock::new(|| env::var_os("FUZZ_PAST_PANICS").is_some());

/// Bytes of the largest picture that more is done with.
const MOST_BYTES: usize = 1 << 20;

fuzz_target!(
    init: if *PAST_PANICS {
        // That of libFuzzer ends the process before anyone catches a panic.
        panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    },
    |bytes: &[u8]| {
        let picture = decoded(bytes, JpegDecoder::Safe);
        if bytes.starts_with(b"\xff\xd8") && JpegDecoder::Libjpeg.available().is_ok() {
            let other = decoded(bytes, JpegDecoder::Libjpeg);
            if let (Some(picture), Some(other)) = (&picture, &other) {
                assert_eq!(picture.dimensions(), other.dimensions());
            }
        }
        let Some(picture) = picture.filter(|picture| picture.as_raw().len() <= MOST_BYTES) else {
            return;
        };
        let again = decoded(bytes, JpegDecoder::Safe);
        assert!(again.as_ref() == Some(&picture), "the same bytes, another picture");
        let upright = decode(bytes, JpegDecoder::Safe, Orientation::Upright);
        let upright = upright.expect("what can be read can be turned").dimensions();
        let (width, height) = picture.dimensions();
        assert!([(width, height), (height, width)].contains(&upright));
        for side in [1, 32] {
            let small = resize_and_crop(picture.clone(), side, side);
            assert_eq!(small.dimensions(), (side, side));
            assert!(resize_and_crop(small.clone(), side, side) == small);
        }
    }
);

/// A picture that is what it says.
fn decoded(bytes: &[u8], decoder: JpegDecoder) -> Option<Picture> {
    match decode(bytes, decoder, Orientation::AsStored) {
        Ok(picture) => {
            let (width, height) = picture.dimensions();
            let pixels = u64::from(width) * u64::from(height);
            assert!((1..=MAX_PIXELS).contains(&pixels), "{width} × {height} pixels");
            assert_eq!(picture.as_raw().len() as u64, 3 * pixels);
            Some(picture)
        }
        Err(DecodeError::Panicked { format, message }) if !*PAST_PANICS => {
            panic!("the {format} decoder panics: {message}")
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}
