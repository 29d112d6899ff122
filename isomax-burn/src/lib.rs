//! Out-of-distribution (OOD) detection for Burn: a classifier that also knows when it does not know.
//!
//! Two lines of a Burn classifier change, the last layer and the loss:
//!
//! ```
//! use burn::prelude::*;
//! use isomax_burn::{IsoMaxLoss, IsoMaxLossConfig, IsoMaxPlusHead, IsoMaxPlusHeadConfig};
//!
//! #[derive(Module, Debug)]
//! struct Net<B: Backend> {
//!     hidden: nn::Linear<B>,
//!     head: IsoMaxPlusHead<B>, // was: output: nn::Linear<B>
//!     loss: IsoMaxLoss,        // was: nn::loss::CrossEntropyLoss<B>
//! }
//!
//! impl<B: Backend> Net<B> {
//!     fn new(device: &B::Device) -> Self {
//!         Self {
//!             hidden: nn::LinearConfig::new(20, 64).init(device),
//!             head: IsoMaxPlusHeadConfig::new(64, 10).init(device),
//!             loss: IsoMaxLossConfig::new().init(),
//!         }
//!     }
//!
//!     fn forward(&self, inputs: Tensor<B, 2>) -> Tensor<B, 2> {
//!         self.head.forward(burn::tensor::activation::relu(self.hidden.forward(inputs)))
//!     }
//! }
//! ```
//!
//! Training goes on as before, with `net.loss.forward(logits, targets)`. Then a detector turns
//! logits into decisions. It is fitted on held-out in-distribution samples alone:
//!
//! ```
//! use burn::backend::Flex;
//! use burn::tensor::{Distribution, Tensor};
//! use isomax_burn::{Detector, DetectorConfig, HeadConfig, HeadKind};
//!
//! # let device = Default::default();
//! # let head = HeadConfig::new(HeadKind::IsoMaxPlus, 64, 10).init::<Flex>(&device);
//! # let features = |n| Tensor::random([n, 64], Distribution::Default, &device);
//! # let (held_out_features, new_features) = (features(200), features(1));
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("detector.json");
//! let detector = DetectorConfig::new()
//!     .with_target_tpr(0.95)
//!     .fit(&head, head.forward(held_out_features))?;
//! detector.save(&path)?;
//!
//! let detector = Detector::load(&path)?;
//! for decision in detector.decide(&head, head.forward(new_features))? {
//!     println!("class {}, in distribution: {}", decision.class, decision.in_distribution);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to find what
//!
//! - [`head`], [`loss`]: SoftMax, IsoMax, IsoMax+ and DisMax, each config → init → forward;
//!   [`fpr`], the image add-on of DisMax; [`OodHead`], for heads of your own
//! - [`Score`], [`OodScore`]: from logits to one number, high = in-distribution
//! - [`metrics`]: AUROC, TNR@TPR, AUPR and the like on plain slices, in the field's conventions and
//!   in those of the papers; calibration errors
//! - [`calibration`]: temperatures; [`detector`]: thresholds, what they promise, saved and applied
//! - [`drift`]: whether the requests of a service still look like the held-out samples
//! - [`posthoc`]: other detectors, for networks that are trained already (fitted with the feature `posthoc`)
//! - [`HostLogits`]: logits read back once, for everything that is asked of them
//! - [`ClassMeans`]: prototypes to begin with, where a pretrained body gives the features
//! - [`optim`]: learning rates of their own for parts of a network
//! - [`LogitStatistics`]: how compact classes are and how far apart
//! - `flex` (feature `flex`): heads and losses are kernels of their own on that backend
//! - `train` (feature `train`): detection metrics in Burn's Learner
//!
//! Everything is generic over Burn's [`Backend`](burn::tensor::backend::Backend). The entropic scale
//! exists in losses only: pass raw logits to scores, metrics and detectors.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod atomic_file;
pub mod calibration;
pub mod detector;
pub mod drift;
#[cfg(feature = "flex")]
pub mod flex;
pub mod head;
mod logits;
pub mod loss;
pub mod metrics;
mod names;
mod ood_score;
pub mod optim;
pub mod posthoc;
mod random;
mod score;
mod statistics;
#[cfg(feature = "train")]
pub mod train;

pub use calibration::{TemperatureFit, TemperatureObjective};
pub use detector::{
    AnyDetector, Decision, Detector, DetectorConfig, DetectorError, Promise, ScoreDecision,
};
pub use drift::{DriftConfig, DriftError, DriftReason, DriftReport, DriftWatch};
pub use head::{
    ClassMeans, ClassPlanes, DisMaxHead, DisMaxHeadConfig, GOdinHead, GOdinHeadConfig, Head,
    HeadConfig, HeadKind, IsoMaxHead, IsoMaxHeadConfig, IsoMaxPlusHead, IsoMaxPlusHeadConfig,
    OodHead, OtherHead, PrototypeError, SoftMaxHead, SoftMaxHeadConfig, T2fNormHead,
    T2fNormHeadConfig,
};
pub use logits::HostLogits;
pub use loss::{
    DEFAULT_ENTROPIC_SCALE, DisMaxLoss, DisMaxLossConfig, IsoMaxLoss, IsoMaxLossConfig,
    LogitNormLoss, LogitNormLossConfig, Loss, LossConfig, OutlierExposure, OutlierExposureConfig,
    SoftMaxLoss, SoftMaxLossConfig, fpr,
};
pub use metrics::{CalibrationMetrics, MetricError, OodMetrics, PaperMetrics};
pub use names::UnknownName;
pub use ood_score::OodScore;
pub use score::Score;
pub use statistics::{ClassLogits, LogitStatistics, Moments};
