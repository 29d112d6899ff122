//! `isomax-bench analyze`.

use std::path::PathBuf;

use clap::Args;
use isomax_bench::analyze::{csv_files, summary, tables};
use isomax_bench::results::{Run, find_runs};

use super::{CommandResult, print};

#[derive(Args)]
pub struct AnalyzeArgs {
    /// Folders of results. Runs are found at any depth.
    #[arg(default_value = "results")]
    results: Vec<PathBuf>,
    /// Folder for results_raw.csv, results_best.csv, results_odd.csv, results.json and results.md
    /// (default: the first folder of results).
    #[arg(long)]
    output: Option<PathBuf>,
    /// Print JSON: every number, with the runs behind it.
    #[arg(long)]
    json: bool,
}

impl AnalyzeArgs {
    pub fn run(&self) -> CommandResult {
        let runs = runs(&self.results)?;
        let output = self.output.as_ref().unwrap_or(&self.results[0]);
        let files = csv_files::write(output, &runs)?;
        if self.json {
            return Ok(print(serde_json::to_string_pretty(&summary(&runs))?)?);
        }
        for table in tables(&runs) {
            print(table)?;
        }
        files.iter().for_each(|file| eprintln!("wrote {}", file.display()));
        Ok(())
    }
}

/// All runs in folders of results, at least one.
pub fn runs(folders: &[PathBuf]) -> Result<Vec<Run>, Box<dyn std::error::Error>> {
    let runs = find_runs(folders)?;
    if runs.is_empty() {
        let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        let folders = folders.join(", ");
        return Err(format!("{folders}: expected evaluated runs, but found none").into());
    }
    Ok(runs)
}
