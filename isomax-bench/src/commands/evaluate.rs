//! `isomax-bench evaluate`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use isomax_bench::backend::{self, Inference};
use isomax_bench::cli::DataArgs;
use isomax_bench::data::{DataFolder, OodSource, Split, held_out_indices};
use isomax_bench::evaluate::{Subject, evaluate, summary};
use isomax_bench::experiment::evaluate_execution;
use isomax_bench::progress;
use isomax_bench::results::Evaluation;
use isomax_bench::train::ExperimentData;
use isomax_burn::HeadKind;

use super::network::{NetworkArgs, Weights};
use super::{CommandResult, open_run, print};

#[derive(Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    network: NetworkArgs,
    /// Says that these weights were trained with fractional probability regularisation.
    #[arg(long, requires = "weights")]
    fpr: bool,
    /// Sets to detect, each NAME or NAME=FOLDER (default: as published, or as trained). With --run it needs
    /// --output: the evaluation of the run stays that of its configuration.
    #[arg(long, value_delimiter = ',')]
    ood: Option<Vec<OodSource>>,
    /// Images of the training split to fit a detector and a temperature on. The network must not
    /// have been trained on them; with --seed they are those that `train` held out of a whole split.
    #[arg(long, default_value_t = 0, conflicts_with = "run")]
    held_out: usize,
    /// Seed of the execution whose held-out images these are.
    #[arg(long, default_value_t = 42, conflicts_with = "run")]
    seed: u64,
    /// Folder for scores, pictures, detector and evaluation (default: that of the run, or evaluation).
    #[arg(long)]
    output: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

impl EvaluateArgs {
    pub fn run(&self) -> CommandResult {
        let evaluation = match self.network.weights() {
            Some(weights) => self.evaluate_weights(&weights)?,
            None => self.evaluate_run(self.network.run()?)?,
        };
        let text = match self.json {
            true => serde_json::to_string_pretty(&evaluation)?,
            false => summary(&evaluation),
        };
        Ok(print(text)?)
    }

    fn evaluate_run(&self, run: &Path) -> Result<Evaluation, Box<dyn std::error::Error>> {
        let (mut config, training) = open_run(run)?;
        if self.ood.is_some() && self.output.is_none() {
            return Err("--ood needs --output, beside --run".into());
        }
        if let Some(ood) = &self.ood {
            config.ood = ood.clone();
            config.check()?;
        }
        let data = ExperimentData::load(&config, &self.data.folder())?;
        let output = self.output.clone().unwrap_or_else(|| run.to_owned());
        fs::create_dir_all(&output)?;
        Ok(evaluate_execution::<Inference>(
            &config,
            training,
            &data,
            run,
            &output,
            &progress::bar("images"),
        )?)
    }

    fn evaluate_weights(
        &self,
        weights: &Weights,
    ) -> Result<Evaluation, Box<dyn std::error::Error>> {
        if self.fpr && weights.head != HeadKind::DisMax {
            return Err(
                format!("--fpr goes with the head dismax, not with {}", weights.head).into()
            );
        }
        let device = backend::device();
        let (network, known) = (weights.load(&device)?, weights.known);
        let folder: DataFolder = self.data.folder();
        let test = folder.known(known, Split::Test)?;
        let held_out = match self.held_out {
            0 => None,
            count => {
                let train = folder.known(known, Split::Train)?.images;
                let (_, held_out) = held_out_indices(train.len(), count, self.seed)
                    .ok_or("--held-out takes all images of the training split, or more")?;
                Some(train.select(&held_out))
            }
        };
        let sources = self.ood.clone().unwrap_or_else(|| known.published_ood());
        let subject = Subject {
            known,
            data: test.source.to_owned(),
            training: None,
            fpr: self.fpr,
            ood: folder.ood_sets(&sources)?,
            test: Arc::new(test.images),
            held_out,
            progress: progress::bar("images"),
        };
        let output = self.output.clone().unwrap_or_else(|| PathBuf::from("evaluation"));
        fs::create_dir_all(&output)?;
        Ok(evaluate(&network, weights.architecture, &subject, &output, &device)?)
    }
}
