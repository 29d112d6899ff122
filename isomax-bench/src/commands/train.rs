//! `isomax-bench train`.

use std::path::PathBuf;

use clap::Args;
use isomax_bench::cli::{ConfigOptions, DataArgs, RunArgs, run_experiment};
use isomax_bench::evaluate::summary;

use super::{CommandResult, print};

#[derive(Args)]
pub struct TrainArgs {
    /// Configuration file in TOML or JSON. Command-line flags override the file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: ConfigOptions,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    runs: RunArgs,
    /// Print the evaluations as JSON.
    #[arg(long)]
    json: bool,
}

impl TrainArgs {
    pub fn run(&self) -> CommandResult {
        let file = self.config.as_ref().map(ConfigOptions::read).transpose()?;
        let config = self.options.clone().or(file.unwrap_or_default()).config()?;
        let options = self.runs.options();
        let evaluations = run_experiment(&config, &self.data.folder(), &options)?;
        if self.json {
            return Ok(print(serde_json::to_string_pretty(&evaluations)?)?);
        }
        for (run, evaluation) in &evaluations {
            print(format!("{}, run {run}\n{}", config.experiment_name(), summary(evaluation)))?;
        }
        Ok(())
    }
}
