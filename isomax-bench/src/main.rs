//! `isomax-bench`: out-of-distribution experiments from the shell.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod commands;

use commands::{analyze, data, evaluate, metrics, predict, report, reproduce, train};

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Trains a network with a head on a set, once or several times (a cell of the papers' tables), and
    /// evaluates it. Started again, it goes on where it was.
    Train(Box<train::TrainArgs>),
    /// Evaluates trained weights: accuracy, calibration, and detection of OOD sets.
    Evaluate(evaluate::EvaluateArgs),
    /// Makes tables over executions, and the files behind them: CSV, JSON, Markdown.
    Analyze(analyze::AnalyzeArgs),
    /// Writes one HTML page with tables, curves, histograms and the worst images.
    Report(report::ReportArgs),
    /// Trains, evaluates and reports a grid of cells: by default that of the IsoMax+ paper.
    Reproduce(Box<reproduce::ReproduceArgs>),
    /// Classifies images, and says which are of no known class.
    Predict(predict::PredictArgs),
    /// Downloads, checks and lists data sets.
    Data(data::DataCommand),
    /// Computes detection metrics of two score files, in the conventions of the field and of the
    /// papers.
    Metrics(metrics::MetricsArgs),
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn"))
        .format_timestamp(None)
        .format_target(false)
        .init();
    let result = match Cli::parse().command {
        Command::Train(args) => args.run(),
        Command::Evaluate(args) => args.run(),
        Command::Analyze(args) => args.run(),
        Command::Report(args) => args.run(),
        Command::Reproduce(args) => args.run(),
        Command::Predict(args) => args.run(),
        Command::Data(args) => args.run(),
        Command::Metrics(args) => args.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
