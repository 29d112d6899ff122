//! `isomax-bench reproduce`.

use std::error::Error;

use clap::Args;
use isomax_bench::cli::{ConfigOptions, DataArgs, RunArgs, run_experiment};
use isomax_bench::data::PublishedSet;
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
    sets: Vec<PublishedSet>,
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
            if let Err(error) = run_experiment(&config, &folder, &options) {
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
                        id_data: Some(id_data.into()),
                        architecture: Some(architecture),
                        head: Some(head),
                        // It is an add-on of DisMax alone.
                        fpr: self.options.fpr.filter(|_| head == HeadKind::DisMax),
                        ..self.options.clone()
                    };
                    configs.push(experiment.config()?);
                }
            }
        }
        Ok(configs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        reproduce: ReproduceArgs,
    }

    fn configs(flags: &str) -> Result<Vec<TrainingConfig>, Box<dyn Error>> {
        let arguments = std::iter::once("isomax-bench").chain(flags.split_whitespace());
        Program::try_parse_from(arguments)?.reproduce.configs()
    }

    #[test]
    fn the_grid_of_the_paper_is_the_default() -> Result<(), Box<dyn Error>> {
        let names: Vec<_> = configs("")?.iter().map(TrainingConfig::experiment_name).collect();
        assert_eq!(names.len(), 3 * 2 * 3);
        assert_eq!(names[0], "cifar10_densenet-bc-100_softmax");
        assert_eq!(names[17], "svhn_resnet-110_isomax+");
        Ok(())
    }

    #[test]
    fn fpr_is_for_dismax_alone() -> Result<(), Box<dyn Error>> {
        let grid = configs("--sets cifar10 --networks resnet-20 --heads isomax,dismax --fpr")?;
        assert_eq!(grid.iter().map(|config| config.fpr).collect::<Vec<_>>(), [false, true]);
        assert!(configs("--head dismax").is_err());
        Ok(())
    }
}
