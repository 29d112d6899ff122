//! The subcommands.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use isomax_bench::data::DataFolder;
use isomax_bench::progress;
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

/// Where data sets lie.
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// Folder with the data sets, as official archives or as folders of images.
    #[arg(long, default_value = "data")]
    data_dir: PathBuf,
    /// Decodes folders of images anew and keeps no cache of them.
    #[arg(long)]
    no_cache: bool,
}

impl DataArgs {
    pub fn folder(&self) -> DataFolder {
        let folder = DataFolder::new(&self.data_dir).with_progress(progress::bar("images"));
        if self.no_cache { folder.without_cache() } else { folder }
    }
}

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
