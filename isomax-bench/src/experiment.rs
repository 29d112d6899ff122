//! A cell of a table from data to evaluation: what `isomax-bench train` and the examples do.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::backend::{AutodiffBackend, Backend};
use indicatif::ProgressBar;
use isomax_models::ModelConfig;
use isomax_models::store::StoreError;

use crate::data::{DataError, DataFolder};
use crate::evaluate::{EvaluateError, Subject, evaluate};
use crate::results::{self, Evaluation, ResultError, Training};
use crate::train::{
    ExecutionFolder, ExperimentData, RunOptions, TrainError, TrainingConfig, train,
};

/// Why a cell has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// A data set cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The training did not end well.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The weights that were kept cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network cannot be evaluated.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The images are others than those that the network was trained with.
    #[error(
        "{}: trained with other images, or the same in another order: images that are to be held out \
         would be such as it was trained on",
        folder.display()
    )]
    OtherData {
        /// The folder of the execution.
        folder: PathBuf,
    },
    /// A result cannot be read.
    #[error(transparent)]
    Result(#[from] ResultError),
}

/// Which executions of a cell to run, and how.
#[derive(Debug, Clone)]
pub struct CellOptions {
    /// Folder of the results; the cell has its own in it.
    pub output: PathBuf,
    /// Executions, from 1.
    pub executions: RangeInclusive<usize>,
    /// Background threads that make batches.
    pub workers: usize,
    /// Never Burn's full-screen view.
    pub plain: bool,
    /// Name of backend and device, for the results.
    pub backend: String,
    /// Shows how many images are evaluated.
    pub progress: ProgressBar,
}

/// Trains and evaluates executions of a cell. What is finished is read, what was interrupted goes on;
/// data is read only if there is something to do. An execution whose loss is no longer a number does
/// not keep the following ones from running; its error comes when they are done.
///
/// # Errors
///
/// [`ExperimentError`].
pub fn run_cell<B: AutodiffBackend>(
    config: &TrainingConfig,
    folder: &DataFolder,
    options: &CellOptions,
) -> Result<Vec<(usize, Evaluation)>, ExperimentError> {
    let mut data: Option<ExperimentData> = None;
    let (mut evaluations, mut diverged) = (Vec::new(), None);
    for execution in options.executions.clone() {
        let own = ExecutionFolder::open(&options.output, config, execution)?;
        let finished = own.path().join(results::EVALUATION);
        if finished.exists() {
            evaluations.push((execution, results::read_json(finished, "an evaluation")?));
            continue;
        }
        let data = match &mut data {
            Some(data) => data,
            none => none.insert(ExperimentData::load(config, folder)?),
        };
        let run = RunOptions {
            workers: options.workers,
            label: format!("{} {execution}/{}", config.cell_name(), options.executions.end()),
            plain: options.plain,
        };
        let training = match train::<B>(config, execution, data, &own, &run, &options.backend) {
            // It would do so again: the other executions need not wait for it.
            Err(error @ TrainError::Diverged(_)) => {
                log::error!("{}: {error}", run.label);
                diverged = Some(error);
                continue;
            }
            training => training?,
        };
        let evaluation = evaluate_execution::<B::InnerBackend>(
            config,
            training,
            data,
            own.path(),
            own.path(),
            &options.progress,
        )?;
        evaluations.push((execution, evaluation));
    }
    match diverged {
        Some(error) => Err(error.into()),
        None => Ok(evaluations),
    }
}

/// Evaluates the weights that a training kept in its folder, and writes what it finds into another
/// or the same.
///
/// # Errors
///
/// [`ExperimentError`].
pub fn evaluate_execution<B: Backend>(
    config: &TrainingConfig,
    training: Training,
    data: &ExperimentData,
    folder: &Path,
    output: &Path,
    progress: &ProgressBar,
) -> Result<Evaluation, ExperimentError> {
    if training.digest != data.digest {
        return Err(ExperimentError::OtherData { folder: folder.to_owned() });
    }
    let device = B::Device::default();
    let mut network = ModelConfig::new(config.architecture, config.known.num_classes())
        .with_head(config.head)
        .init::<B>(&device);
    network.load_safetensors(folder.join(results::MODEL))?;
    let (_, held_out) = data.part(config, training.seed)?;
    let subject = Subject {
        known: config.known,
        data: data.source.clone(),
        training: Some(training),
        fpr: config.fpr,
        test: Arc::clone(&data.test),
        held_out: (!held_out.is_empty()).then(|| data.train.select(&held_out)),
        ood: data.ood.clone(),
        progress: progress.clone(),
    };
    Ok(evaluate(&network, config.architecture, &subject, output, &device)?)
}
