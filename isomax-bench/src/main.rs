//! `isomax-bench`: out-of-distribution experiments from the shell.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod commands;

use commands::{
    analyze, benchmark, data, evaluate, export, metrics, predict, report, reproduce, train, weights,
};

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a network with a head on an ID set, once or several times, and evaluate it. Started again,
    /// it goes on where it was.
    Train(Box<train::TrainArgs>),
    /// Evaluate trained weights: accuracy, calibration, and detection of OOD sets.
    Evaluate(evaluate::EvaluateArgs),
    /// Compare networks and methods on the sets of a protocol, such as that of OpenOOD: means over near and far sets.
    Benchmark(benchmark::BenchmarkArgs),
    /// Make tables over runs, and the files behind them: CSV, JSON, Markdown.
    Analyze(analyze::AnalyzeArgs),
    /// Write one HTML page with tables, curves, histograms and the worst images.
    Report(report::ReportArgs),
    /// Train, evaluate and report a grid of sets, networks and heads: by default that of the IsoMax+ paper.
    Reproduce(Box<reproduce::ReproduceArgs>),
    /// Classify images, and say which are out of distribution.
    Predict(predict::PredictArgs),
    /// Write a finished run as one file that decides: weights, classes, preprocessing and detector.
    Export(export::ExportArgs),
    /// Download, check and list data sets.
    Data(data::DataCommand),
    /// Download and list published weights, for trainings to start from.
    Weights(weights::WeightsCommand),
    /// Compute detection metrics of two score files, in the conventions of the field and of the
    /// papers.
    Metrics(metrics::MetricsArgs),
}

/// All commands, for what looks at their flags.
fn program() -> clap::Command {
    Cli::command()
}

fn main() -> ExitCode {
    isomax_bench::memory::keep_freed();
    env_logger::Builder::from_env(
        env_logger::Env::default().default_filter_or("warn,isomax_bench::experiment=info"),
    )
    .format_timestamp(None)
    .format_target(false)
    .init();
    let result = match Cli::parse().command {
        Command::Train(args) => args.run(),
        Command::Evaluate(args) => args.run(),
        Command::Benchmark(args) => args.run(),
        Command::Analyze(args) => args.run(),
        Command::Report(args) => args.run(),
        Command::Reproduce(args) => args.run(),
        Command::Predict(args) => args.run(),
        Command::Export(args) => args.run(),
        Command::Data(args) => args.run(),
        Command::Weights(args) => args.run(),
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
