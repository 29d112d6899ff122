//! Bundles around manifests that may say anything.

use std::collections::HashMap;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use sha2::{Digest, Sha256};

/// A bundle of a single tensor with this manifest, and the sum of both.
pub fn with_manifest(text: &str) -> Vec<u8> {
    let values = [0_u8; 8];
    let mut hash = Sha256::new();
    hash.update(format!("isomax-bundle\n{text}\nconv1.weight F32 2\n"));
    hash.update(values);
    let sum: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let header = HashMap::from([
        ("format".to_owned(), "pt".to_owned()),
        ("isomax_bundle".to_owned(), text.to_owned()),
        ("isomax_sha256".to_owned(), sum),
    ]);
    let tensor = TensorView::new(Dtype::F32, vec![2], &values).expect("two values");
    safetensors::serialize([("conv1.weight", tensor)], Some(header)).expect("a small file")
}
