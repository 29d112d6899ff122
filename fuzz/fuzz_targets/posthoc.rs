//! Post-hoc detectors in safetensors files: what can be read comes back byte by byte, and gives scores.

#![no_main]

use burn::backend::Flex;
use burn::tensor::Tensor;
use isomax_burn::posthoc::PostHocDetector;
use isomax_burn::{HeadConfig, HeadKind, OodHead};
use libfuzzer_sys::fuzz_target;

/// The largest head that is made.
const MOST: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let device = Default::default();
    let detector = match PostHocDetector::<Flex>::from_bytes(bytes, &device) {
        Ok(detector) => detector,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let written = detector.to_bytes();
    let again = PostHocDetector::<Flex>::from_bytes(&written, &device);
    let again = again.expect("what is written can be read");
    assert_eq!(again.to_bytes(), written);
    assert!(detector.threshold().is_finite() && detector.num_samples() > 0);

    let (classes, features) = (detector.num_classes(), detector.num_features());
    let Ok(kind) = detector.head().parse::<HeadKind>() else { return };
    if classes > MOST || features > MOST {
        return;
    }
    let head = HeadConfig::new(kind, features, classes).init::<Flex>(&device);
    assert_eq!(OodHead::<Flex>::num_classes(&head), classes);
    // A head at random is another one, or its four outputs are what the file says.
    let _ = detector.check_head(&head);
    let rows = Tensor::<Flex, 2>::ones([3, features], &device);
    assert_eq!(detector.fitted().score(rows, &head).dims(), [3]);
});
