//! `isomax-bench export`.

use std::path::PathBuf;

use clap::Args;
use isomax_bench::backend::{self, InferenceBackend};
use isomax_bench::export;
use isomax_bench::train::open_run;

use super::network::load_run;
use super::{CommandResult, print};

#[derive(Args)]
pub struct ExportArgs {
    /// Folder of a finished run, with its weights.
    #[arg(long, value_name = "FOLDER")]
    run: PathBuf,
    /// File to write, whole or not at all.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Anything to be kept in the file, such as whom to ask.
    #[arg(long)]
    notes: Option<String>,
}

impl ExportArgs {
    pub fn run(&self) -> CommandResult {
        let (config, training) = open_run(&self.run)?;
        let device = backend::device();
        let network = load_run(&self.run, &config, training.classes.len(), &device)?;
        let bundle =
            export::bundle::<InferenceBackend, _>(&self.run, &network, self.notes.clone())?;
        if bundle.manifest().detector.is_none() {
            log::warn!(
                "no detector in it, since no images were held out to fit one on: nothing can be decided with it"
            );
        }
        bundle.save(&self.output)?;
        let (classes, bytes) = (bundle.manifest().classes.len(), bundle.as_bytes().len());
        Ok(print(format!("{}: {classes} classes, {bytes} bytes", self.output.display()))?)
    }
}
