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
//! logits into decisions. It is fitted on known validation samples alone:
//!
//! ```
//! use burn::backend::Flex;
//! use burn::tensor::{Distribution, Tensor};
//! use isomax_burn::{Detector, DetectorConfig, HeadConfig, HeadKind};
//!
//! # let device = Default::default();
//! # let head = HeadConfig::new(HeadKind::IsoMaxPlus, 64, 10).init::<Flex>(&device);
//! # let features = |n| Tensor::random([n, 64], Distribution::Default, &device);
//! # let (valid_features, new_features) = (features(200), features(1));
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("detector.json");
//! let detector = DetectorConfig::new(head.kind())
//!     .with_target_tpr(0.95)
//!     .fit(head.forward(valid_features), head.temperature())?;
//! detector.save(&path)?;
//!
//! let detector = Detector::load(&path)?;
//! for decision in detector.decide(head.forward(new_features), head.temperature())? {
//!     println!("class {}, known: {}", decision.class, decision.in_distribution);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to find what
//!
//! - [`head`], [`loss`]: SoftMax, IsoMax, IsoMax+ and DisMax, each config → init → forward;
//!   [`fpr`], the image add-on of DisMax
//! - [`Score`]: from logits to one number, high = in-distribution
//! - [`metrics`]: AUROC, TNR@TPR, AUPR and the like on plain slices, in the field's conventions and
//!   in those of the papers; calibration errors
//! - [`calibration`]: temperatures; [`detector`]: thresholds, saved and applied
//! - [`LogitStatistics`]: how compact classes are and how far apart
//! - `train` (feature `train`): detection metrics in Burn's Learner
//!
//! Everything is generic over Burn's [`Backend`](burn::tensor::backend::Backend). The entropic scale
//! exists in losses only: pass raw logits to scores, metrics and detectors.

#[doc(hidden)] // for the other crates of this workspace
pub mod atomic_file;
pub mod calibration;
pub mod detector;
pub mod head;
pub mod loss;
pub mod metrics;
mod names;
mod score;
mod statistics;
#[cfg(feature = "train")]
pub mod train;

pub use calibration::{TemperatureFit, TemperatureObjective};
pub use detector::{Decision, Detector, DetectorConfig, DetectorError};
pub use head::{
    DisMaxHead, DisMaxHeadConfig, Head, HeadConfig, HeadKind, IsoMaxHead, IsoMaxHeadConfig,
    IsoMaxPlusHead, IsoMaxPlusHeadConfig, SoftMaxHead, SoftMaxHeadConfig,
};
pub use loss::{
    DEFAULT_ENTROPIC_SCALE, DisMaxLoss, DisMaxLossConfig, IsoMaxLoss, IsoMaxLossConfig, Loss,
    LossConfig, SoftMaxLoss, SoftMaxLossConfig, fpr,
};
pub use metrics::{CalibrationMetrics, MetricError, OodMetrics, PaperMetrics};
pub use names::UnknownName;
pub use score::Score;
pub use statistics::{ClassLogits, LogitStatistics, Moments};

/// Compiles the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
