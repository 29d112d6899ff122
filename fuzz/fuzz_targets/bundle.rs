//! Bundles: any file, and any manifest under a sum that fits.

#![no_main]

use burn::backend::Flex;
use isomax_bundle::{Bundle, Predictor};
use isomax_fuzz::bundles;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Bundle::from_bytes(bytes.to_vec(), "any");
    let Ok(text) = str::from_utf8(bytes) else { return };
    let file = bundles::with_manifest(text);
    let Ok(bundle) = Bundle::from_bytes(file.clone(), "summed") else { return };
    assert!(!bundle.manifest().classes.is_empty());
    assert!(bundle.manifest().preprocessing.check().is_ok());
    // A network of any size by its name alone must not take memory for it.
    assert!(bundle.network::<Flex>(&Default::default()).is_err());
    assert!(Predictor::<Flex, _>::from_bundle(&bundle, &Default::default()).is_err());
    // What is refused and what is not does not change.
    assert_eq!(Bundle::from_bytes(file, "again").unwrap().manifest(), bundle.manifest());
});
