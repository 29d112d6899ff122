//! Weights in the ZIP archives of `torch.save`.

#![no_main]

use isomax_fuzz::{mutate, weights};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|bytes: &[u8]| weights::check_weights(bytes));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::zip(data, size, max_size, seed)
});
