//! `isomax-bench metrics`.

use std::path::PathBuf;

use clap::Args;
use isomax_bench::scores;
use isomax_burn::metrics::{OodMetrics, PaperMetrics};
use isomax_charts::Table;
use serde::Serialize;

use super::{CommandResult, print};

#[derive(Args)]
pub struct MetricsArgs {
    /// Scores of in-distribution samples, high = in-distribution: text with one score a line, or
    /// .npy.
    #[arg(long = "id", alias = "in", value_name = "FILE")]
    id: PathBuf,
    /// Scores of out-of-distribution samples, in either format.
    #[arg(long = "ood", alias = "out", value_name = "FILE")]
    ood: PathBuf,
    /// Print JSON, with values in [0, 1].
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    field: OodMetrics,
    paper: PaperMetrics,
}

impl MetricsArgs {
    pub fn run(&self) -> CommandResult {
        let (id, ood) = (scores::read(&self.id)?, scores::read(&self.ood)?);
        let report = Report {
            field: OodMetrics::from_scores(&id, &ood)?,
            paper: PaperMetrics::from_scores(&id, &ood)?,
        };
        if self.json {
            return Ok(print(serde_json::to_string_pretty(&report)?)?);
        }
        let Report { field, paper } = report;
        let percent = |value: f64| format!("{:.2} %", 100.0 * value);
        let mut table = Table::new(["metric", "field", "papers"]);
        table.row(["AUROC".to_owned(), percent(field.auroc), percent(paper.auroc)]);
        table.row(["TNR@95TPR".to_owned(), percent(field.tnr_at_95_tpr), percent(paper.tnr)]);
        let fpr = percent(field.fpr_at_95_tpr);
        table.row(["FPR95 (OOD positive)".to_owned(), fpr, "–".to_owned()]);
        table.row(["DTACC".to_owned(), percent(field.detection_accuracy), percent(paper.dtacc)]);
        table.row(["AUPR in".to_owned(), percent(field.aupr_in), percent(paper.auin)]);
        table.row(["AUPR out".to_owned(), percent(field.aupr_out), percent(paper.auout)]);
        table.row(["AP in".to_owned(), percent(field.average_precision_in), "–".to_owned()]);
        table.row(["AP out".to_owned(), percent(field.average_precision_out), "–".to_owned()]);
        let samples = (field.num_in, field.num_out);
        Ok(print(format!("{} in-distribution, {} OOD samples\n\n{table}", samples.0, samples.1))?)
    }
}
