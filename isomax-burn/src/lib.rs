//! isomax-burn

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
pub use names::UnknownName;
pub use score::Score;
pub use statistics::{ClassLogits, LogitStatistics, Moments};
