//! `isomax-bench export`.

use std::path::PathBuf;

use clap::Args;
use isomax_bench::backend::{self, InferenceBackend};
use isomax_bench::export;
use isomax_bench::train::open_run;
use isomax_burn::AnyDetector;

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
    /// Detector to put in, in place of that of the run: a file of `evaluate --posthoc`, or a detector.json.
    #[arg(long, value_name = "FILE")]
    detector: Option<PathBuf>,
    /// Anything to be kept in the file, such as whom to ask.
    #[arg(long)]
    notes: Option<String>,
}

impl ExportArgs {
    pub fn run(&self) -> CommandResult {
        let (config, training) = open_run(&self.run)?;
        let device = backend::device();
        let network = load_run(&self.run, &config, training.classes.len(), &device)?;
        let detector = self.detector.as_ref().map(|path| AnyDetector::load(path, &device));
        let detector = detector.transpose()?;
        let bundle = export::bundle::<InferenceBackend, _>(
            &self.run,
            &network,
            detector.as_ref(),
            self.notes.clone(),
        )?;
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
