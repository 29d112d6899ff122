//! CIFAR-10 and CIFAR-100 in the pickles of their Python version.

#![no_main]

use isomax_bench::data::{PublishedSet, Split};
use isomax_fuzz::{scratch, sets};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for (set, file) in [
        (PublishedSet::Cifar10, "cifar_python/cifar-10-batches-py/test_batch"),
        (PublishedSet::Cifar100, "cifar_python/cifar-100-python/test"),
    ] {
        scratch::write(file, bytes);
        sets::read("cifar_python", set, Split::Test);
    }
});
