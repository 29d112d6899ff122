//! `isomax-bench reproduce`.

use clap::Args;
use isomax_bench::analyze::{csv_files, tables};
use isomax_bench::backend::Training;
use isomax_bench::data::KnownSet;
use isomax_bench::experiment::run_cell;
use isomax_bench::report;
use isomax_bench::results::find_executions;
use isomax_bench::train::ConfigOptions;
use isomax_burn::HeadKind;
use isomax_models::Architecture;

use super::train::RunArgs;
use super::{CommandResult, DataArgs, print};

#[derive(Args)]
pub struct ReproduceArgs {
    /// Sets to train on.
    #[arg(long, value_delimiter = ',', default_value = "cifar10,cifar100,svhn")]
    sets: Vec<KnownSet>,
    /// Networks to train.
    #[arg(long, value_delimiter = ',', default_value = "densenet-bc-100,resnet-110")]
    networks: Vec<Architecture>,
    /// Heads to train them with.
    #[arg(long, value_delimiter = ',', default_value = "softmax,isomax,isomax+")]
    heads: Vec<HeadKind>,
    /// Departures from the published recipe, for all cells; --known, --architecture and --head come
    /// from the lists.
    #[command(flatten)]
    options: ConfigOptions,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    runs: RunArgs,
}

impl ReproduceArgs {
    pub fn run(&self) -> CommandResult {
        let folder = self.data.folder();
        let options = self.runs.options();
        for &known in &self.sets {
            for &architecture in &self.networks {
                for &head in &self.heads {
                    let config = ConfigOptions {
                        known: Some(known),
                        architecture: Some(architecture),
                        head: Some(head),
                        ..self.options.clone()
                    };
                    run_cell::<Training>(&config.config()?, &folder, &options)?;
                }
            }
        }
        let executions = find_executions(std::slice::from_ref(&options.output))?;
        let tables = tables(&executions);
        csv_files::write(&options.output, &executions)?;
        report::write(options.output.join("report.html"), &executions, &tables)?;
        tables.iter().try_for_each(print)?;
        Ok(())
    }
}
