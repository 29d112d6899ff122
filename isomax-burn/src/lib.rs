//! isomax-burn
pub mod metrics;
