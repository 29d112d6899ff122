//! Weights of the safetensors library.

#![no_main]

use isomax_fuzz::weights;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| weights::check_weights(bytes));
