//! CIFAR-10 and CIFAR-100 in their binary files, which are simple enough to be read a second time here.

#![no_main]

use isomax_bench::data::{PublishedSet, Split};
use isomax_fuzz::{mutate, scratch, sets};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

/// A set, its file, and the numbers of classes of the labels that a record begins with.
const SETS: [(PublishedSet, &str, &[u8]); 2] = [
    (PublishedSet::Cifar10, "cifar_binary/cifar-10-batches-bin/test_batch.bin", &[10]),
    (PublishedSet::Cifar100, "cifar_binary/cifar-100-binary/test.bin", &[20, 100]),
];

fuzz_target!(|bytes: &[u8]| {
    for (set, file, classes) in SETS {
        scratch::write(file, bytes);
        let found = sets::read("cifar_binary", set, Split::Test);
        let found = found.map(|found| (found.images.labels().to_vec(), sets::pixels(&found)));
        assert_eq!(found, expected(bytes, classes), "{set}");
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::records(data, size, max_size, seed, [1 + sets::BYTES, 2 + sets::BYTES])
});

/// Labels and pixels, if the bytes are whole records with labels of these classes.
fn expected(bytes: &[u8], classes: &[u8]) -> Option<(Vec<u16>, Vec<u8>)> {
    let length = classes.len() + sets::BYTES;
    if bytes.is_empty() || !bytes.len().is_multiple_of(length) {
        return None;
    }
    let (mut labels, mut pixels) = (Vec::new(), Vec::new());
    for record in bytes.chunks_exact(length) {
        let (found, planes) = record.split_at(classes.len());
        if found.iter().zip(classes).any(|(label, classes)| label >= classes) {
            return None;
        }
        labels.extend(found.last().map(|label| u16::from(*label)));
        let plane = sets::BYTES / 3;
        for pixel in 0..plane {
            pixels.extend([0, 1, 2].map(|channel| planes[channel * plane + pixel]));
        }
    }
    Some((labels, pixels))
}
