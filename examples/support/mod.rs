//! What the examples on CIFAR and SVHN share: flags, and the way through the library.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use isomax_bench::backend;
use isomax_bench::cli::{ConfigOptions, DataArgs, RunArgs, fetch_with_bar, run_experiment};
use isomax_bench::data::archives::archives_named;
use isomax_bench::data::fetch::FetchOptions;
use isomax_bench::data::{IdSet, OodSource, PublishedSet};
use isomax_bench::{memory, report};
use isomax_burn::HeadKind;

/// Trains a network with SoftMax and with IsoMax+ on one set, and compares how well they tell it from
/// others. The recipe is the published one, but for the network and the number of epochs.
#[derive(Parser)]
#[command(
    mut_arg("id_data", |arg| arg.hide(true)),
    mut_arg("head", |arg| arg.hide(true)),
    mut_arg("architecture", |arg| arg.help("Network (default: that of the example)")),
    mut_arg("epochs", |arg| arg.help("Passes over the training images (default: 30)"))
)]
struct Arguments {
    #[command(flatten)]
    options: ConfigOptions,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    runs: RunArgs,
    /// Download nothing: stop if a set is not there.
    #[arg(long)]
    offline: bool,
    /// Download missing sets from below this address, by the names of their files.
    #[arg(long, value_name = "URL", conflicts_with = "offline")]
    mirror: Option<String>,
}

impl Arguments {
    /// Fetches the official files of the sets that are not there.
    fn fetch_missing(&self, id_data: &IdSet, ood: &[OodSource]) -> Result<(), Box<dyn Error>> {
        let folder = self.data.folder();
        let options = FetchOptions { mirror: self.mirror.clone() };
        for name in folder.missing(id_data, ood) {
            for archive in archives_named(&name) {
                fetch_with_bar(archive, folder.path(), &options).map_err(|error| {
                    let (url, path) = (archive.url, archive.download_path(folder.path()));
                    format!(
                        "{error}\nTo go on without this download, put {url} at {}",
                        path.display()
                    )
                })?;
            }
        }
        Ok(())
    }
}

/// Trains and evaluates the heads in turn, prints their tables and writes a report.
pub fn compare(id_data: PublishedSet, defaults: ConfigOptions, heads: &[HeadKind]) -> ExitCode {
    memory::keep_freed();
    let arguments = Arguments::parse();
    // Warnings, as of a damaged checkpoint.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let run = || -> Result<(), Box<dyn Error>> {
        if arguments.options.id_data.is_some() || arguments.options.head.is_some() {
            return Err("the set and the heads are those of this example".into());
        }
        println!("backend: {}", backend::name());
        let options = arguments.runs.options();
        for &head in heads {
            let id_data = Some(id_data.into());
            let experiment = ConfigOptions { id_data, head: Some(head), ..Default::default() };
            let config = experiment.or(arguments.options.clone()).or(defaults.clone()).config()?;
            if !arguments.offline {
                arguments.fetch_missing(&config.id_set(), &config.ood)?;
            }
            let data = arguments.data.folder();
            run_experiment(&config, &data, &options)?;
        }
        let tables = report::publish(&options.output)?;
        tables.iter().for_each(|table| println!("{table}"));
        println!("curves and pictures: {}", options.output.join(report::PAGE).display());
        Ok(())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
