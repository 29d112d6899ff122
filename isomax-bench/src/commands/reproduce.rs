//! `isomax-bench reproduce`.

use std::error::Error;
use std::time::Duration;

use clap::Args;
use clap::parser::ValueSource;
use isomax_bench::cli::{ConfigOptions, DataArgs, RunArgs, Shard, run_experiment};
use isomax_bench::data::PublishedSet;
use isomax_bench::experiment::{ExperimentError, ExperimentOptions};
use isomax_bench::report;
use isomax_bench::train::{TrainError, TrainingConfig};
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
    /// Do only every Nth run of the grid, beginning with run I, counted from 0: one of N parts that are the whole
    /// together, for schedulers that count. No page is made; `report` makes it when all are done.
    #[arg(long, value_name = "I/N", conflicts_with = "list")]
    shard: Option<Shard>,
    /// Print the command of each run, one a line, and do nothing.
    #[arg(long)]
    list: bool,
}

/// How long to wait before looking again whether another process has done a run.
const WAIT: Duration = Duration::from_secs(2);

impl ReproduceArgs {
    pub fn run(&self) -> CommandResult {
        let configs = self.configs()?;
        let runs = self.runs.options().runs;
        let all = configs.iter().flat_map(|config| runs.clone().map(move |run| (config, run)));
        if self.list {
            let flags = given_flags()?;
            return all
                .map(|(config, run)| command(config, run, &flags))
                .try_for_each(|line| Ok(print(line)?));
        }
        let shard = self.shard.unwrap_or_default();
        let mine = all.enumerate().filter(|(piece, _)| shard.has(*piece)).map(|(_, run)| run);
        let failed = self.all_of(mine.collect())?;
        if self.shard.is_none() {
            report::publish(&self.runs.output)?.iter().try_for_each(print)?;
        }
        match failed.is_empty() {
            true => Ok(()),
            false => Err(format!("without a result: {}", failed.join(", ")).into()),
        }
    }

    /// Does runs, and gives the names of those that have no result. Runs that another process is at are passed over and
    /// looked at again when there is nothing else to do: if that process ends before it has a result, they are done
    /// here.
    fn all_of(&self, runs: Vec<(&TrainingConfig, usize)>) -> Result<Vec<String>, Box<dyn Error>> {
        let (mut todo, mut failed) = (runs, Vec::new());
        let mut told = false;
        while !todo.is_empty() {
            let before = todo.len();
            let mut held = Vec::new();
            for (config, run) in todo {
                let options = ExperimentOptions { runs: run..=run, ..self.runs.options() };
                match run_experiment(config, &self.data.folder(), &options) {
                    Ok(_) => {}
                    Err(ExperimentError::Train(TrainError::InUse { .. })) => {
                        held.push((config, run));
                    }
                    // One that fails is no reason to lose a night of the others.
                    Err(error) => {
                        let name = format!("{} {run}", config.experiment_name());
                        eprintln!("{name}: {error}");
                        failed.push(name);
                    }
                }
            }
            if !held.is_empty() && held.len() == before {
                if !told {
                    let names: Vec<String> = (held.iter())
                        .map(|(config, run)| format!("{} {run}", config.experiment_name()))
                        .collect();
                    log::info!("other processes are at {}: waiting for them", names.join(", "));
                    told = true;
                }
                std::thread::sleep(WAIT);
            }
            todo = held;
        }
        Ok(failed)
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

/// Flags that stand for a grid, in place of which each command has its own.
const OF_GRIDS: [&str; 7] = ["sets", "networks", "heads", "runs", "only_run", "shard", "list"];

/// The other flags as they were given to this command, as a shell reads them.
fn given_flags() -> Result<Vec<String>, Box<dyn Error>> {
    let program = crate::program();
    let matches = program.clone().try_get_matches()?;
    let Some((name, matches)) = matches.subcommand() else { return Ok(Vec::new()) };
    let command = program.find_subcommand(name);
    let command = command.ok_or("the list of runs is for the command reproduce")?;
    let mut flags = Vec::new();
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        let is_given = matches.value_source(id) == Some(ValueSource::CommandLine);
        let (true, Some(long)) = (is_given && !OF_GRIDS.contains(&id), argument.get_long()) else {
            continue;
        };
        let values: Vec<String> = (matches.get_raw(id).into_iter().flatten())
            .map(|value| quoted(&value.to_string_lossy()))
            .collect();
        flags.push(match argument.get_action().takes_values() && !values.is_empty() {
            true => format!("--{long}={}", values.join(",")),
            false => format!("--{long}"),
        });
    }
    Ok(flags)
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./,:@%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// The command that does one run.
fn command(config: &TrainingConfig, run: usize, flags: &[String]) -> String {
    let TrainingConfig { id_data, architecture, head, .. } = config;
    let which = format!(
        "isomax-bench train --id-data {id_data} --architecture {architecture} --head {head} --only-run {run}"
    );
    // An add-on of DisMax alone.
    let fits = |flag: &&String| config.fpr || !flag.starts_with("--fpr");
    let words: Vec<&str> = std::iter::once(which.as_str())
        .chain(flags.iter().filter(fits).map(String::as_str))
        .collect();
    words.join(" ")
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
