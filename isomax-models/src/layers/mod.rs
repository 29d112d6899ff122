//! The layers that the networks are made of, with PyTorch's names, semantics and initialisation.
//!
//! All of them use public operations of Burn alone, in the formulations that are fast on its
//! processor backends and cost nothing on the others.

mod batch_norm;
mod concat;
mod conv;
mod pool;

pub use batch_norm::{BatchNorm, BatchNormConfig};
pub use conv::{Conv1x1, Conv1x1Config};

pub(crate) use concat::concat_channels;
pub(crate) use conv::{conv3x3, conv7x7};
pub(crate) use pool::{average_2x2, global_average};
