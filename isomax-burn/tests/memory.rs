//! Peak memory of the distance heads on a wide layer, and of what is collected for post-hoc detectors: one process of its own, so that nothing else
//! is counted.

use std::sync::Mutex;

use burn::backend::{Autodiff, Flex};
use burn::tensor::{Distribution, Int, Tensor};
use isomax_burn::posthoc::{BankConfig, FeatureStatistics, Method, Needs};
use isomax_burn::{HeadConfig, HeadKind, LossConfig, OodHead};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One test at a time: the memory is that of the process.
static TURN: Mutex<()> = Mutex::new(());

const BATCH: usize = 256;
const FEATURES: usize = 2048;
const CLASSES: usize = 1000;

/// Differences of all pairs would take 2 GB, `BATCH × CLASSES × FEATURES` numbers; all that is
/// given and asked for takes 31 MB.
#[test]
fn memory_does_not_grow_with_all_three_sizes() {
    type B = Autodiff<Flex>;
    let _turn = TURN.lock();
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

/// What is collected for all methods takes as much for ten times the samples.
#[test]
fn memory_of_statistics_does_not_grow_with_the_samples() {
    let _turn = TURN.lock();
    let device = Default::default();
    let (width, classes, batch) = (64, 10, 100);
    let head = HeadConfig::new(HeadKind::SoftMax, width, classes).init::<Flex>(&device);
    let peak = |batches: usize| {
        let bank = BankConfig::new().with_rows(500);
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage_as_kb();
        let mut statistics = FeatureStatistics::new(Needs::ALL, width, classes, bank);
        for _ in 0..batches {
            let spread = Distribution::Normal(0.0, 1.0);
            let features = Tensor::random([batch, width], spread, &device);
            let logits = head.forward(features.clone());
            let labels = logits.clone().argmax(1).squeeze_dim(1);
            statistics.update(features, logits, labels).expect("it fits");
        }
        for method in Method::suited_to(&head) {
            statistics.fit(&method, &head).expect("it suits");
        }
        MEMORY.peak_usage_as_kb() - before
    };
    peak(10); // what libraries keep from their first use
    let (few, many) = (peak(10), peak(100));
    assert!(many < 1.1 * few + 100.0, "{few} kB for 1,000 samples, {many} kB for 10,000");
}
