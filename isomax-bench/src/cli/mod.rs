//! Flags that commands and examples share, for `clap`: those of data, of runs, and of the recipe,
//! [`ConfigOptions`]. No other module of the library knows of command lines.

use std::path::PathBuf;

use clap::Args;

use crate::backend::{self, TrainingBackend};
use crate::data::DataFolder;
use crate::experiment::{self, ExperimentError, ExperimentOptions};
use crate::results::Evaluation;
use crate::train::TrainingConfig;

mod bar;
mod fetch;
mod options;
mod shard;

pub use bar::bar;
pub use fetch::fetch_with_bar;
pub use options::ConfigOptions;
pub use shard::{Shard, ShardError};

/// [`run_published`](experiment::run_published) on the [`backend`] of this build. It is compiled once, with
/// the library, not again with each program.
///
/// # Errors
///
/// [`ExperimentError`].
pub fn run_experiment(
    config: &TrainingConfig,
    folder: &DataFolder,
    options: &ExperimentOptions,
) -> Result<Vec<(usize, Evaluation)>, ExperimentError> {
    experiment::run_published::<TrainingBackend>(config, folder, options)
}

/// Where data sets lie.
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// Folder of the data sets, each as official files or as a folder of images.
    #[arg(long, default_value = "data")]
    pub data_dir: PathBuf,
    /// Decode folders of images again, and keep no cache of them.
    #[arg(long)]
    pub no_cache: bool,
    /// Memory for the pixels of image files, all sets together, in MiB. Sets that do not fit are decoded again in
    /// each epoch; results are the same.
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    pub memory: u64,
}

impl DataArgs {
    /// The folder, with progress shown.
    pub fn folder(&self) -> DataFolder {
        let folder = DataFolder::new(&self.data_dir)
            .with_progress(bar("images"))
            .with_memory(self.memory.saturating_mul(1 << 20));
        if self.no_cache { folder.without_cache() } else { folder }
    }
}

/// What is of the machine and the moment, not of the experiment.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Number of runs. Each has a seed of its own.
    #[arg(long = "runs", alias = "executions", value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..))]
    pub runs: u16,
    /// Do only the run of this number, for example to spread runs over several machines.
    #[arg(long, alias = "execution", value_name = "N", conflicts_with = "runs",
        value_parser = clap::value_parser!(u16).range(1..))]
    pub only_run: Option<u16>,
    /// Folder for the results. Each combination of set, network and head has its own folder in it.
    /// The same command, started again, goes on from the last epoch.
    #[arg(long, default_value = "results")]
    pub output: PathBuf,
    /// Number of background threads that make batches.
    #[arg(long, default_value_t = 1)]
    pub workers: usize,
    /// Print one line for each epoch, even on a terminal.
    #[arg(long)]
    pub plain: bool,
}

impl RunArgs {
    /// The runs of an experiment on the chosen backend, with progress shown.
    pub fn options(&self) -> ExperimentOptions {
        ExperimentOptions {
            output: self.output.clone(),
            runs: match self.only_run {
                Some(number) => number.into()..=number.into(),
                None => 1..=self.runs.into(),
            },
            workers: self.workers,
            plain: self.plain,
            backend: backend::name(),
            scores: Vec::new(),
            progress: bar("images"),
            ranks: None,
        }
    }
}
