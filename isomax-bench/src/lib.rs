//! Data, training, evaluation and reports for out-of-distribution experiments: the room between the
//! models and the examples. The binary `isomax-bench` gives the same to a shell.

pub mod analyze;
pub mod backend;
pub mod data;
pub mod evaluate;
pub mod experiment;
pub mod plot;
pub mod predict;
pub mod progress;
pub mod report;
pub mod results;
pub mod scores;
pub mod table;
pub mod train;
