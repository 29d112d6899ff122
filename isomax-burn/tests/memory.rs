//! Peak memory of the distance heads on a wide layer: one process of its own, so that nothing else
//! is counted.

use burn::backend::{Autodiff, Flex};
use burn::tensor::{Distribution, Int, Tensor};
use isomax_burn::{HeadConfig, HeadKind, LossConfig, OodHead};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const BATCH: usize = 256;
const FEATURES: usize = 2048;
const CLASSES: usize = 1000;

/// Differences of all pairs would take 2 GB, `BATCH × CLASSES × FEATURES` numbers; all that is
/// given and asked for takes 31 MB.
#[test]
fn memory_does_not_grow_with_all_three_sizes() {
    type B = Autodiff<Flex>;
    let device = Default::default();
    let features = Tensor::<B, 2>::random([BATCH, FEATURES], Distribution::Default, &device);
    let targets = Tensor::<B, 1, Int>::zeros([BATCH], &device);
    for kind in HeadKind::ALL {
        let head = HeadConfig::new(kind, FEATURES, CLASSES).init::<B>(&device);
        let loss = LossConfig::new(kind).init();
        let features = features.clone().require_grad();
        // Burn draws the parameters at their first use.
        assert_eq!(head.num_classes(), CLASSES);
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage_as_mb();
        let gradients = loss.forward(head.forward(features.clone()), targets.clone()).backward();
        let peak = MEMORY.peak_usage_as_mb() - before;
        assert!(features.grad(&gradients).is_some());
        assert!(peak < 100.0, "{kind}: {peak} MB");
    }
}
