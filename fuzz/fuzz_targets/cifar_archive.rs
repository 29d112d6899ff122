//! CIFAR-10 and CIFAR-100 in their tar.gz archives, which are read without being unpacked.

#![no_main]

use isomax_bench::data::{PublishedSet, Split};
use isomax_fuzz::{mutate, scratch, sets};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

/// A folder for the archive alone, its name, and what is read out of it: the training part of CIFAR-10
/// has several files.
const ARCHIVES: [(&str, &str, PublishedSet, Split); 5] = [
    ("cifar_archive/a", "cifar-10-binary.tar.gz", PublishedSet::Cifar10, Split::Test),
    ("cifar_archive/a", "cifar-10-binary.tar.gz", PublishedSet::Cifar10, Split::Train),
    ("cifar_archive/b", "cifar-10-python.tar.gz", PublishedSet::Cifar10, Split::Test),
    ("cifar_archive/c", "cifar-100-binary.tar.gz", PublishedSet::Cifar100, Split::Test),
    ("cifar_archive/d", "cifar-100-python.tar.gz", PublishedSet::Cifar100, Split::Test),
];

fuzz_target!(|bytes: &[u8]| {
    for (folder, archive, set, split) in ARCHIVES {
        scratch::write(&format!("{folder}/{archive}"), bytes);
        sets::read(folder, set, split);
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::tar_gz(data, size, max_size, seed)
});
