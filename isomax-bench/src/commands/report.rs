//! `isomax-bench report`.

use std::path::PathBuf;

use clap::Args;
use isomax_bench::{analyze, report};

use super::CommandResult;
use super::analyze::runs;

#[derive(Args)]
pub struct ReportArgs {
    /// Folders of results. Runs are found at any depth.
    #[arg(default_value = "results")]
    results: Vec<PathBuf>,
    /// File for the page (default: report.html in the first folder of results).
    #[arg(long)]
    output: Option<PathBuf>,
}

impl ReportArgs {
    pub fn run(&self) -> CommandResult {
        let runs = runs(&self.results)?;
        let output = self.output.clone().unwrap_or_else(|| self.results[0].join(report::PAGE));
        report::write(&output, &runs, &analyze::tables(&runs))?;
        eprintln!("wrote {}", output.display());
        Ok(())
    }
}
