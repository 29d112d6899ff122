//! Training, evaluation and reports of out-of-distribution experiments.
//!
//! [`experiment::run_published`] is the whole way of an experiment of a table. Its steps: [`data`] finds and loads
//! sets, [`mod@train`] drives Burn's Learner, [`mod@evaluate`] measures, [`results`] describes the files
//! that are left, [`analyze`] and [`report`] read them. Backends are cargo features, see [`backend`].
//! The binary `isomax-bench` gives the same to a shell.

#![cfg_attr(docsrs, feature(doc_cfg))]

/// The backend that the cargo features chose.
pub use isomax_backend as backend;

pub mod analyze;
pub mod cli;
mod contents;
pub mod data;
pub mod evaluate;
pub mod experiment;
pub mod export;
pub mod measures;
pub mod memory;
mod methods_table;
pub mod predict;
pub mod progress;
pub mod protocol;
pub mod ranks;
pub mod report;
pub mod results;
pub mod scores;
pub mod train;
pub mod weights;
