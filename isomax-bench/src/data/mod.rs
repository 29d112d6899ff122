//! Data sets.

pub mod digits;
