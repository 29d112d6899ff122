//! What the fuzz targets share.

#![forbid(unsafe_code)]

pub mod bundles;
pub mod mutate;
pub mod results;
pub mod scratch;
pub mod sets;
pub mod weights;
