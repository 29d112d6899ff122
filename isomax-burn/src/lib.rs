//! isomax-burn
pub mod calibration;
pub mod head;
pub mod loss;
pub mod metrics;
mod names;
mod score;

pub use head::*;
pub use loss::*;
pub use names::UnknownName;
pub use score::Score;
