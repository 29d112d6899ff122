//! `isomax-bench reproduce`.

use std::error::Error;

use clap::Args;
use isomax_bench::backend::TrainingBackend;
use isomax_bench::cli::{ConfigOptions, DataArgs, RunArgs};
use isomax_bench::data::IdSet;
use isomax_bench::experiment::run_published;
use isomax_bench::report;
use isomax_bench::train::TrainingConfig;
use isomax_burn::HeadKind;
use isomax_models::Architecture;

use super::{CommandResult, print};

#[derive(Args)]
#[command(
    mut_arg("id_data", |arg| arg.hide(true)),
    mut_arg("architecture", |arg| arg.hide(true)),
    mut_arg("head", |arg| arg.hide(true))
)]
pub struct ReproduceArgs {
    /// In-distribution sets to train on, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "cifar10,cifar100,svhn")]
    sets: Vec<IdSet>,
    /// Networks to train, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "densenet-bc-100,resnet-110")]
    networks: Vec<Architecture>,
    /// Heads to train them with, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "softmax,isomax,isomax+")]
    heads: Vec<HeadKind>,
    // Departures from the published recipe, for all experiments.
    #[command(flatten)]
    options: ConfigOptions,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    runs: RunArgs,
}

impl ReproduceArgs {
    pub fn run(&self) -> CommandResult {
        let options = self.runs.options();
        let mut failed = Vec::new();
        for config in self.configs()? {
            // One experiment that fails is no reason to lose a night of the others.
            let folder = self.data.folder();
            if let Err(error) = run_published::<TrainingBackend>(&config, &folder, &options) {
                eprintln!("{}: {error}", config.experiment_name());
                failed.push(config.experiment_name());
            }
        }
        report::publish(&options.output)?.iter().try_for_each(print)?;
        match failed.is_empty() {
            true => Ok(()),
            false => Err(format!("without a result: {}", failed.join(", ")).into()),
        }
    }

    /// All experiments, checked before the first begins.
    fn configs(&self) -> Result<Vec<TrainingConfig>, Box<dyn Error>> {
        let mut configs = Vec::new();
        let ConfigOptions { id_data, architecture, head, .. } = &self.options;
        if id_data.is_some() || architecture.is_some() || head.is_some() {
            // The lists would silently stand before them.
            let instead = "--sets, --networks and --heads";
            return Err(format!("use {instead} for --id-data, --architecture and --head").into());
        }
        for &id_data in &self.sets {
            for &architecture in &self.networks {
                for &head in &self.heads {
                    let experiment = ConfigOptions {
                        id_data: Some(id_data),
                        architecture: Some(architecture),
                        head: Some(head),
                        ..self.options.clone()
                    };
                    configs.push(experiment.config()?);
                }
            }
        }
        Ok(configs)
    }
}
