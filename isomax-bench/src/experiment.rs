//! A cell of a table from data to evaluation: what `isomax-bench train` and the examples do, for the
//! networks of isomax-models and for yours.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::backend::{AutodiffBackend, Backend};
use isomax_burn::{OodScore, UnknownName};
use isomax_models::store::StoreError;
use isomax_models::{Architecture, Model, ModelConfig};

use crate::data::{DataError, DataFolder};
use crate::evaluate::{EvaluateError, Subject, evaluate};
use crate::progress::Progress;
use crate::results::{self, Evaluation, ResultError, Training};
use crate::train::{
    ExecutionFolder, ExperimentData, ImageNetwork, RunOptions, TrainError, TrainableNetwork,
    TrainingConfig, train,
};

/// Why a cell has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// A data set cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network is none of isomax-models; [`run`] takes networks of your own.
    #[error(transparent)]
    Network(#[from] UnknownName),
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
#[derive(Clone)]
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
    /// Scores of your own to evaluate, beside those of the head.
    pub scores: Vec<Arc<dyn OodScore>>,
    /// Is told how many images are evaluated.
    pub progress: Arc<dyn Progress>,
}

/// Trains and evaluates a published network on a published set: [`run`] with what a configuration
/// names.
///
/// # Errors
///
/// [`ExperimentError`].
pub fn run_cell<B: AutodiffBackend>(
    config: &TrainingConfig,
    folder: &DataFolder,
    options: &CellOptions,
) -> Result<Vec<(usize, Evaluation)>, ExperimentError> {
    let network = |num_classes, device: &B::Device| -> Result<Model<B>, UnknownName> {
        published_network(config, num_classes, device)
    };
    // The name is checked before the data is read.
    config.architecture.parse::<Architecture>()?;
    let load = || Ok(ExperimentData::load(config, folder)?);
    run::<B, _>(config, load, network, options)
}

/// A new network of isomax-models, as a configuration names it.
///
/// # Errors
///
/// [`UnknownName`] if it is none of isomax-models.
pub fn published_network<B: Backend>(
    config: &TrainingConfig,
    num_classes: usize,
    device: &B::Device,
) -> Result<Model<B>, UnknownName> {
    let architecture: Architecture = config.architecture.parse()?;
    Ok(ModelConfig::new(architecture, num_classes).with_head(config.head).init(device))
}

/// Trains and evaluates executions of a cell. What is finished is read, what was interrupted goes on;
/// data is read only if there is something to do. OOD sets that a finished execution has not seen are
/// evaluated and added. An execution whose loss is no longer a number does not keep the following ones
/// from running; its error comes when they are done.
///
/// # Arguments
///
/// - `load`: reads the images
/// - `network`: makes a network with new weights for so many classes, drawn from the random numbers of
///   the backend; the same at every call but for the weights
///
/// # Errors
///
/// [`ExperimentError`].
pub fn run<B: AutodiffBackend, N: TrainableNetwork<B>>(
    config: &TrainingConfig,
    load: impl Fn() -> Result<ExperimentData, ExperimentError>,
    network: impl Fn(usize, &B::Device) -> Result<N, UnknownName>,
    options: &CellOptions,
) -> Result<Vec<(usize, Evaluation)>, ExperimentError> {
    let mut data: Option<ExperimentData> = None;
    let (mut evaluations, mut diverged) = (Vec::new(), None);
    for execution in options.executions.clone() {
        let own = ExecutionFolder::open(&options.output, config, execution)?;
        let finished = own.path().join(results::EVALUATION);
        let previous: Option<Evaluation> = match finished.exists() {
            true => Some(results::read(finished)?),
            false => None,
        };
        if let Some(previous) = &previous
            && missing_sets(config, previous).is_empty()
        {
            evaluations.push((execution, previous.clone()));
            continue;
        }
        let data = match &mut data {
            Some(data) => data,
            none => none.insert(load()?),
        };
        let num_classes = data.train.classes.len();
        let run = RunOptions {
            workers: options.workers,
            label: format!("{} {execution}/{}", config.cell_name(), options.executions.end()),
            plain: options.plain,
        };
        // Names that are unknown are told here, so that making one cannot fail below.
        let device = B::Device::default();
        network(num_classes, &device)?;
        let init = |device: &B::Device| match network(num_classes, device) {
            Ok(network) => network,
            Err(error) => unreachable!("{error}, though it was made before"),
        };
        let training =
            match train::<B, N>(config, execution, data, &own, &init, &run, &options.backend) {
                // It would do so again: the other executions need not wait for it.
                Err(error @ TrainError::Diverged(_)) => {
                    log::error!("{}: {error}", run.label);
                    diverged = Some(error);
                    continue;
                }
                training => training?,
            };
        own.keep_config(config)?;
        let fresh = init(&device).valid();
        let places = Places { run: own.path(), output: own.path(), previous: previous.as_ref() };
        let (scores, progress) = (&options.scores, &options.progress);
        let evaluation =
            evaluate_execution(config, training, data, fresh, places, scores, progress)?;
        evaluations.push((execution, evaluation));
    }
    match diverged {
        Some(error) => Err(error.into()),
        None => Ok(evaluations),
    }
}

/// The OOD sets of a configuration that an evaluation has not seen.
pub fn missing_sets(config: &TrainingConfig, evaluation: &Evaluation) -> Vec<String> {
    let is_seen = |name: &str| evaluation.detection.iter().any(|found| found.set == name);
    let names = config.ood.iter().map(|set| set.name.clone());
    names.filter(|name| !is_seen(name)).collect()
}

/// Where an evaluation reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// The folder of an execution, with its weights.
    pub run: &'a Path,
    /// The folder to write into, the same or another.
    pub output: &'a Path,
    /// An evaluation of these weights that the new one adds to: sets that it has seen are not
    /// computed again.
    pub previous: Option<&'a Evaluation>,
}

/// Evaluates the weights that a training kept in its folder.
///
/// # Arguments
///
/// - `network`: of the same form; its weights are replaced
/// - `scores`: scores of your own, beside those of the head
///
/// # Errors
///
/// [`ExperimentError`].
pub fn evaluate_execution<B: Backend, N: ImageNetwork<B>>(
    config: &TrainingConfig,
    training: Training,
    data: &ExperimentData,
    mut network: N,
    places: Places<'_>,
    scores: &[Arc<dyn OodScore>],
    progress: &Arc<dyn Progress>,
) -> Result<Evaluation, ExperimentError> {
    let folder = places.run;
    if training.digest != data.digest {
        return Err(ExperimentError::OtherData { folder: folder.to_owned() });
    }
    network.load_safetensors(folder.join(results::MODEL))?;
    let calibration = data.calibration_images(config, training.seed)?;
    let is_new = |set: &str| {
        let seen = places.previous.is_some_and(|old| old.detection.iter().any(|d| d.set == set));
        !seen
    };
    let subject = Subject {
        known: config.known.clone(),
        architecture: config.architecture.clone(),
        data: data.source.clone(),
        normalization: config.normalization().map_err(TrainError::from)?,
        training: Some(training),
        fpr: config.fpr,
        test: Arc::clone(&data.test),
        calibration,
        ood: data.ood.iter().filter(|set| is_new(&set.name)).cloned().collect(),
        scores: scores.to_vec(),
        previous: places.previous.cloned(),
        progress: progress.clone(),
    };
    Ok(evaluate(&network, &subject, places.output, &B::Device::default())?)
}
