//! Trains a ResNet-20 on SVHN with SoftMax and with IsoMax+, by Burn's Learner, and shows how well
//! each tells CIFAR-10, TinyImageNet and LSUN from what it knows.
//!
//! ```sh
//! cargo run --release --example svhn                     # or with --features wgpu, cuda, …
//! cargo run --release --example svhn -- --epochs 300 --architecture densenet-bc-100 --runs 5
//! ```
//!
//! Sets that are not in `data` are downloaded, from where their authors publish them, unless `--offline` is
//! given. The recipe has the flags of `isomax-bench train`. The results lie in `results`, with a page of curves,
//! histograms and pictures; a training that was interrupted goes on when it is started again.

use std::process::ExitCode;

use isomax_bench::cli::ConfigOptions;
use isomax_bench::data::PublishedSet;
use isomax_burn::HeadKind;
use isomax_models::Architecture;

mod support;

fn main() -> ExitCode {
    // The published recipe, but for a network and a number of epochs for an afternoon.
    let recipe = ConfigOptions {
        architecture: Some(Architecture::CifarResNet { depth: 20 }),
        epochs: Some(30),
        ..Default::default()
    };
    // All that differs between the baseline and the method is the head, which is the last layer
    // (1. was: nn::Linear) and brings its loss along (2. was: CrossEntropyLoss). In code of your own:
    //
    //     head: HeadConfig::new(HeadKind::IsoMaxPlus, num_features, num_classes).init(&device),
    //     loss: LossConfig::new(HeadKind::IsoMaxPlus).init(),
    support::compare(PublishedSet::Svhn, recipe, &[HeadKind::SoftMax, HeadKind::IsoMaxPlus])
}
