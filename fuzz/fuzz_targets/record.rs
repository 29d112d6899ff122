//! Burn's records.

#![no_main]

use std::path::Path;

use isomax_fuzz::weights::{self, Tiny};
use isomax_models::store;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: write_seed(), |bytes: &[u8]| weights::check_record(bytes));

/// Writes a record to start from: nothing but Burn writes its format. libFuzzer looks for its corpus
/// after this.
fn write_seed() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/record"));
    let seed = folder.join("seed-tiny");
    if folder.is_dir() && !seed.exists() {
        store::save_record(&Tiny::drawn(8), &seed).expect("a record to start from");
    }
}
