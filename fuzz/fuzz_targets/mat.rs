//! SVHN in MAT files.

#![no_main]

use isomax_bench::data::{PublishedSet, Split};
use isomax_fuzz::{scratch, sets};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    scratch::write("mat/svhn/test_32x32.mat", bytes);
    if let Some(found) = sets::read("mat", PublishedSet::Svhn, Split::Test) {
        assert_eq!(found.source, "official .mat");
    }
});
