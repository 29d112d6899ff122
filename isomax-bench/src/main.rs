//! `isomax-bench`: out-of-distribution experiments from the shell.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use isomax_bench::scores;
use isomax_bench::table::Table;
use isomax_burn::metrics::{OodMetrics, PaperMetrics};
use serde::Serialize;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Computes detection metrics of two score files, in the conventions of the field and of the
    /// papers.
    Metrics(MetricsArgs),
}

#[derive(Args)]
struct MetricsArgs {
    /// Scores of in-distribution samples, one a line, high = in-distribution.
    #[arg(long = "in", value_name = "FILE")]
    inside: PathBuf,
    /// Scores of out-of-distribution samples.
    #[arg(long = "out", value_name = "FILE")]
    outside: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    field: OodMetrics,
    paper: PaperMetrics,
}

fn main() -> ExitCode {
    let Command::Metrics(args) = Cli::parse().command;
    match metrics(&args).and_then(|text| Ok(writeln!(io::stdout(), "{text}")?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn metrics(args: &MetricsArgs) -> Result<String, Box<dyn std::error::Error>> {
    let (inside, outside) = (scores::read(&args.inside)?, scores::read(&args.outside)?);
    let report = Report {
        field: OodMetrics::from_scores(&inside, &outside)?,
        paper: PaperMetrics::from_scores(&inside, &outside)?,
    };
    if args.json {
        return Ok(serde_json::to_string_pretty(&report)?);
    }
    let Report { field, paper } = report;
    let percent = |value: f64| format!("{:.2} %", 100.0 * value);
    let mut table = Table::new(["metric", "field", "papers"]);
    table.row(["AUROC".to_owned(), percent(field.auroc), percent(paper.auroc)]);
    table.row(["TNR@95TPR".to_owned(), percent(field.tnr_at_95_tpr), percent(paper.tnr)]);
    table.row(["FPR95 (OOD positive)".to_owned(), percent(field.fpr_at_95_tpr), "–".to_owned()]);
    table.row(["DTACC".to_owned(), percent(field.detection_accuracy), percent(paper.dtacc)]);
    table.row(["AUPR in".to_owned(), percent(field.aupr_in), percent(paper.auin)]);
    table.row(["AUPR out".to_owned(), percent(field.aupr_out), percent(paper.auout)]);
    table.row(["AP in".to_owned(), percent(field.average_precision_in), "–".to_owned()]);
    table.row(["AP out".to_owned(), percent(field.average_precision_out), "–".to_owned()]);
    Ok(format!("{} in-distribution, {} OOD samples\n\n{table}", field.num_in, field.num_out))
}
