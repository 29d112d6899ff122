//! Weights as PyTorch saved them before its version 1.6, in pickles one after the other, and whatever
//! else is taken for weights.

#![no_main]

use isomax_fuzz::weights;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| weights::check_weights(bytes));
