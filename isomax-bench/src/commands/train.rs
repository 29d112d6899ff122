//! `isomax-bench train`.

use std::path::PathBuf;

use clap::Args;
use isomax_bench::backend::{self, Training};
use isomax_bench::evaluate::summary;
use isomax_bench::experiment::{CellOptions, run_cell};
use isomax_bench::progress;
use isomax_bench::train::ConfigOptions;

use super::{CommandResult, DataArgs, print};

#[derive(Args)]
pub struct TrainArgs {
    /// Configuration in TOML or JSON; flags stand before what it says.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: ConfigOptions,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    runs: RunArgs,
    /// Prints the evaluations as JSON.
    #[arg(long)]
    json: bool,
}

/// What is of the machine and the moment, not of the experiment.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Number of executions, with one seed each.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    executions: u16,
    /// This execution alone, to share them among machines.
    #[arg(long, conflicts_with = "executions", value_parser = clap::value_parser!(u16).range(1..))]
    execution: Option<u16>,
    /// Folder of the results; each cell of a table has its own in it.
    #[arg(long, default_value = "results")]
    output: PathBuf,
    /// Background threads that make batches.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Prints a line for each epoch, on a terminal too.
    #[arg(long)]
    plain: bool,
}

impl TrainArgs {
    pub fn run(&self) -> CommandResult {
        let file = self.config.as_ref().map(ConfigOptions::read).transpose()?;
        let config = self.options.clone().or(file.unwrap_or_default()).config()?;
        let options = self.runs.options();
        let evaluations = run_cell::<Training>(&config, &self.data.folder(), &options)?;
        if self.json {
            return Ok(print(serde_json::to_string_pretty(&evaluations)?)?);
        }
        for (execution, evaluation) in &evaluations {
            print(format!(
                "{}, execution {execution}\n{}",
                config.cell_name(),
                summary(evaluation)
            ))?;
        }
        Ok(())
    }
}

impl RunArgs {
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
            progress: progress::bar("images"),
        }
    }
}
