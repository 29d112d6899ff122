//! What the examples on CIFAR and SVHN share: flags, and the way through the library.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use isomax_bench::analyze;
use isomax_bench::backend::{self, Training};
use isomax_bench::data::{DataFolder, KnownSet};
use isomax_bench::experiment::{CellOptions, run_cell};
use isomax_bench::progress;
use isomax_bench::report;
use isomax_bench::results::find_executions;
use isomax_bench::train::ConfigOptions;
use isomax_burn::HeadKind;

#[derive(Parser)]
struct Arguments {
    /// Folder with the data sets.
    #[arg(long, default_value = "data")]
    data_dir: PathBuf,
    /// Folder of the results. Started again, a training goes on from its last epoch.
    #[arg(long, default_value = "results")]
    output: PathBuf,
    /// Number of executions, with one seed each.
    #[arg(long, default_value_t = 1)]
    executions: usize,
    #[command(flatten)]
    options: ConfigOptions,
}

/// Trains and evaluates the heads in turn, prints their tables and writes a report.
pub fn compare(known: KnownSet, defaults: ConfigOptions, heads: &[HeadKind]) -> ExitCode {
    let arguments = Arguments::parse();
    // Warnings, as of a damaged checkpoint.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let run = || -> Result<(), Box<dyn Error>> {
        let data = DataFolder::new(&arguments.data_dir).with_progress(progress::bar("images"));
        let options = CellOptions {
            output: arguments.output.clone(),
            executions: 1..=arguments.executions.max(1),
            workers: 1,
            plain: false,
            backend: backend::name(),
            progress: progress::bar("images"),
        };
        for &head in heads {
            if arguments.options.known.is_some() || arguments.options.head.is_some() {
                return Err("the set and the heads are those of this example".into());
            }
            let cell = ConfigOptions { known: Some(known), head: Some(head), ..Default::default() };
            let config = cell.or(arguments.options.clone()).or(defaults.clone()).config()?;
            run_cell::<Training>(&config, &data, &options)?;
        }
        let executions = find_executions(std::slice::from_ref(&arguments.output))?;
        let tables = analyze::tables(&executions);
        tables.iter().for_each(|table| println!("{table}"));
        let page = arguments.output.join("report.html");
        report::write(&page, &executions, &tables)?;
        println!("curves, histograms and pictures: {}", page.display());
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
