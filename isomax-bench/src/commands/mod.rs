//! The subcommands.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use isomax_bench::results::{self, Training};
use isomax_bench::train::{ConfigOptions, TrainingConfig};

pub mod analyze;
pub mod data;
pub mod evaluate;
pub mod metrics;
pub mod network;
pub mod predict;
pub mod report;
pub mod reproduce;
pub mod train;

pub type CommandResult = Result<(), Box<dyn Error>>;

/// Configuration and end of an execution that `train` finished, by its folder.
pub fn open_run(run: &Path) -> Result<(TrainingConfig, Training), Box<dyn Error>> {
    let training = results::read_json(run.join(results::TRAINING), "the end of a training")?;
    // The folder of an execution lies in that of its cell.
    let config = fs::canonicalize(run)?.with_file_name(results::CONFIG);
    Ok((ConfigOptions::read(config)?.config()?, training))
}

/// Prints to standard output; a reader that has closed it is no reason to fail.
pub fn print(text: impl std::fmt::Display) -> io::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
