//! The subcommands.

use std::error::Error;
use std::io::{self, Write};

pub mod analyze;
pub mod benchmark;
pub mod data;
pub mod evaluate;
pub mod export;
pub mod metrics;
pub mod network;
pub mod predict;
mod rank;
pub mod report;
pub mod reproduce;
pub mod train;
pub mod weights;

pub type CommandResult = Result<(), Box<dyn Error>>;

/// Prints to standard output; a reader that has closed it is no reason to fail.
pub fn print(text: impl std::fmt::Display) -> io::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
