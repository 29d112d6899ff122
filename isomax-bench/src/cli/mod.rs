//! Flags that commands and examples share, for `clap`: those of data, of runs, and of the recipe,
//! [`ConfigOptions`]. No other module of the library knows of command lines.

use std::path::PathBuf;

use clap::Args;

use crate::backend;
use crate::data::{DataFolder, JpegDecoder};
use crate::experiment::CellOptions;

mod bar;
mod options;

pub use bar::bar;
pub use options::ConfigOptions;

/// Where data sets lie.
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// Folder with the data sets, as official archives or as folders of images.
    #[arg(long, default_value = "data")]
    pub data_dir: PathBuf,
    /// Decodes folders of images anew and keeps no cache of them.
    #[arg(long)]
    pub no_cache: bool,
}

impl DataArgs {
    /// The folder, read by a decoder of JPEG images, with progress shown.
    pub fn folder(&self, decoder: JpegDecoder) -> DataFolder {
        let folder =
            DataFolder::new(&self.data_dir).with_progress(bar("images")).with_jpeg_decoder(decoder);
        if self.no_cache { folder.without_cache() } else { folder }
    }
}

/// What is of the machine and the moment, not of the experiment.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Number of executions, with one seed each.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub executions: u16,
    /// Runs the execution of this number alone, as to share them among machines.
    #[arg(long, value_name = "N", conflicts_with = "executions",
        value_parser = clap::value_parser!(u16).range(1..))]
    pub execution: Option<u16>,
    /// Folder of the results; each cell of a table has its own in it. Started again, a training goes on
    /// from its last epoch.
    #[arg(long, default_value = "results")]
    pub output: PathBuf,
    /// Background threads that make batches.
    #[arg(long, default_value_t = 1)]
    pub workers: usize,
    /// Prints a line for each epoch, on a terminal too.
    #[arg(long)]
    pub plain: bool,
}

impl RunArgs {
    /// The executions of a cell on the chosen backend, with progress shown.
    pub fn options(&self) -> CellOptions {
        CellOptions {
            output: self.output.clone(),
            executions: match self.execution {
                Some(execution) => execution.into()..=execution.into(),
                None => 1..=self.executions.into(),
            },
            workers: self.workers,
            plain: self.plain,
            backend: backend::name(),
            scores: Vec::new(),
            progress: bar("images"),
        }
    }
}
