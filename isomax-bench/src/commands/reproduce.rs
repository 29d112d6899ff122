//! `isomax-bench reproduce`.

use clap::Args;
use isomax_bench::analyze::{csv_files, tables};
use isomax_bench::backend::Training;
use isomax_bench::data::KnownSet;
use isomax_bench::experiment::run_cell;
use isomax_bench::report;
use isomax_bench::results::find_executions;
use isomax_bench::train::{ConfigError, ConfigOptions, TrainingConfig};
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
        let (folder, options) = (self.data.folder(), self.runs.options());
        let mut failed = Vec::new();
        for config in self.configs()? {
            // One cell that fails is no reason to lose a night of the others.
            if let Err(error) = run_cell::<Training>(&config, &folder, &options) {
                eprintln!("{}: {error}", config.cell_name());
                failed.push(config.cell_name());
            }
        }
        let executions = find_executions(std::slice::from_ref(&options.output))?;
        let tables = tables(&executions);
        csv_files::write(&options.output, &executions)?;
        report::write(options.output.join("report.html"), &executions, &tables)?;
        tables.iter().try_for_each(print)?;
        match failed.is_empty() {
            true => Ok(()),
            false => Err(format!("without a result: {}", failed.join(", ")).into()),
        }
    }

    /// All cells, checked before the first begins.
    fn configs(&self) -> Result<Vec<TrainingConfig>, ConfigError> {
        let mut configs = Vec::new();
        let ConfigOptions { known, architecture, head, .. } = &self.options;
        if known.is_some() || architecture.is_some() || head.is_some() {
            // The lists would silently stand before them.
            return Err(ConfigError::OutOfRange {
                name: "known, architecture and head",
                expected: "given as --sets, --networks and --heads",
                found: "one of them".to_owned(),
            });
        }
        for &known in &self.sets {
            for &architecture in &self.networks {
                for &head in &self.heads {
                    let cell = ConfigOptions {
                        known: Some(known),
                        architecture: Some(architecture),
                        head: Some(head),
                        ..self.options.clone()
                    };
                    configs.push(cell.config()?);
                }
            }
        }
        Ok(configs)
    }
}
