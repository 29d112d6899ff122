//! `isomax-bench train`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use isomax_bench::cli::{ConfigOptions, DataArgs, RunArgs, run_experiment};
use isomax_bench::evaluate::summary;
use isomax_bench::experiment::ExperimentOptions;
use isomax_bench::ranks::Ranks;
use isomax_bench::train::TrainingConfig;

use super::rank::as_rank;
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
        as_rank(|ranks| self.train(&config, ranks))
    }

    fn train(&self, config: &TrainingConfig, ranks: Option<Arc<dyn Ranks>>) -> CommandResult {
        let follows = ranks.as_ref().is_some_and(|ranks| ranks.rank() > 0);
        let options = ExperimentOptions { ranks, ..self.runs.options() };
        let evaluations = run_experiment(config, &self.data.folder(), &options)?;
        if follows {
            return Ok(());
        }
        if self.json {
            return Ok(print(serde_json::to_string_pretty(&evaluations)?)?);
        }
        for (run, evaluation) in &evaluations {
            print(format!("{}, run {run}\n{}", config.experiment_name(), summary(evaluation)))?;
        }
        Ok(())
    }
}
