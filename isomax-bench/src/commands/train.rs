//! `isomax-bench train`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use isomax_bench::backend::{self, Inference, Training as Trained};
use isomax_bench::data::DataFolder;
use isomax_bench::evaluate::{Subject, evaluate, summary};
use isomax_bench::results::{self, Evaluation, Training};
use isomax_bench::train::{
    ConfigOptions, ExecutionFolder, ExperimentData, RunOptions, TrainingConfig, train,
};
use isomax_models::ModelConfig;

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
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    execution: Option<u16>,
    /// Folder of the results; each cell of a table has its own in it.
    #[arg(long, default_value = "results")]
    pub output: PathBuf,
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
        let evaluations = run_cell(&config, &self.data.folder(), &self.runs)?;
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

/// Trains and evaluates the executions of a cell; what is finished is read.
pub fn run_cell(
    config: &TrainingConfig,
    folder: &DataFolder,
    runs: &RunArgs,
) -> Result<Vec<(u16, Evaluation)>, Box<dyn std::error::Error>> {
    let executions = match runs.execution {
        Some(execution) => execution..=execution,
        None => 1..=runs.executions,
    };
    let mut data: Option<ExperimentData> = None;
    let mut evaluations = Vec::new();
    for execution in executions {
        let folder_of = ExecutionFolder::open(&runs.output, config, execution.into())?;
        let evaluation = folder_of.path().join(results::EVALUATION);
        if evaluation.exists() {
            evaluations.push((execution, results::read_json(evaluation, "an evaluation")?));
            continue;
        }
        // Nothing is decoded before it is known that there is something to do.
        let data = match &mut data {
            Some(data) => data,
            none => none.insert(ExperimentData::load(config, folder)?),
        };
        let options = RunOptions {
            workers: runs.workers,
            label: format!("{} {execution}/{}", config.cell_name(), runs.executions),
            plain: runs.plain,
        };
        let training = train::<Trained>(
            config,
            execution.into(),
            data,
            &folder_of,
            &options,
            &backend::name(),
        )?;
        evaluations.push((execution, evaluate_trained(config, training, data, folder_of.path())?));
    }
    Ok(evaluations)
}

/// Evaluates the weights that a training kept.
pub fn evaluate_trained(
    config: &TrainingConfig,
    training: Training,
    data: &ExperimentData,
    folder: &Path,
) -> Result<Evaluation, Box<dyn std::error::Error>> {
    let device = backend::device();
    let mut network = ModelConfig::new(config.architecture, config.known.num_classes())
        .with_head(config.head)
        .init::<Inference>(&device);
    network.load_safetensors(folder.join(results::MODEL))?;
    let (_, held_out) = data.part(config, training.seed)?;
    let held_out: Vec<usize> = held_out.into_iter().map(|index| index as usize).collect();
    let subject = Subject {
        known: config.known,
        data: data.source.clone(),
        training: Some(training),
        fpr: config.fpr,
        test: Arc::clone(&data.test),
        held_out: (!held_out.is_empty()).then(|| data.train.select(&held_out)),
        ood: data.ood.clone(),
        batch_size: 200,
    };
    Ok(evaluate(&network, config.architecture, &subject, folder, &device)?)
}
