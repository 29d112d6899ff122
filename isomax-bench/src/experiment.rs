//! From data to evaluation: what `isomax-bench train` and the examples do, for the networks of
//! isomax-models and for yours.
//!
//! An *experiment* is one combination of ID data, network and head. A *run* is one training of it, with
//! a seed of its own, and the evaluation that follows.
//!
//! [`run_published`] has an example with a published network and set, [`run`] one with images of your own.

use std::cell::Cell;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::backend::{AutodiffBackend, Backend};
use isomax_burn::{HeadKind, OodHead, OodScore, UnknownName};
use isomax_models::store::{self, LoadReport, StoreError};
use isomax_models::{Architecture, ImageShapeError, Model, ModelConfig};

use crate::data::{DataError, DataFolder, ImageSource, NamedImages, Subset};
use crate::evaluate::{EvaluateError, EvaluationInput, PostHocInput, PostHocMethods, evaluate};
use crate::progress::Progress;
use crate::ranks::{Ranks, RanksError, Team};
use crate::results::{self, Evaluation, ResultError, Training};
use crate::train::{
    ConfigError, ExperimentData, ImageNetwork, NetworkWithGradients, RunFolder, RunOptions,
    TrainError, TrainableNetwork, TrainingConfig, train,
};

/// Why an experiment has no result. [`run_published`] and [`run`] return it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// A data set cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network is none of isomax-models; [`run`] takes networks of your own.
    #[error(transparent)]
    Network(#[from] UnknownName),
    /// The network ends in another head than the configuration says, which chooses loss and score.
    #[error("the configuration has the head {expected}, but the network ends in {found}")]
    OtherHead {
        /// The head of the configuration.
        expected: HeadKind,
        /// The head of the network.
        found: HeadKind,
    },
    /// The network tells other classes apart than the data has.
    #[error("the data has {expected} classes, but the network has {found}")]
    OtherClasses {
        /// Number of classes of the data.
        expected: usize,
        /// Number of classes of the network.
        found: usize,
    },
    /// The network does not take images of this size.
    #[error(transparent)]
    Images(#[from] ImageShapeError),
    /// The training did not end well.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The weights that were kept cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network cannot be evaluated.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The configuration makes no sense, or its pretrained weights are not there.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The images differ from those that the network was trained with.
    #[error(
        "{}: trained with other images, or with the same in another order: the held-out images would \
         include some that it was trained on",
        folder.display()
    )]
    OtherData {
        /// The folder of the run.
        folder: PathBuf,
    },
    /// A result cannot be read.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// Ranks cannot train together.
    #[error(transparent)]
    Ranks(#[from] RanksError),
}

/// Which runs of an experiment to do, and how. See [`run_published`] for an example.
#[derive(Clone)]
pub struct ExperimentOptions {
    /// Folder for the results; the experiment has its own in it.
    pub output: PathBuf,
    /// Numbers of the runs. Run 1 has the seed of the configuration, run 2 the next one, and so on.
    pub runs: RangeInclusive<usize>,
    /// Number of background threads that make batches; 0 stands for one.
    pub workers: usize,
    /// Whether to print one line for each epoch even on a terminal, in place of Burn's full-screen view.
    pub plain: bool,
    /// Name of backend and device, for the results.
    pub backend: String,
    /// Scores of your own to evaluate, beside those of the head.
    pub scores: Vec<Arc<dyn OodScore>>,
    /// Told how many images have been evaluated.
    pub progress: Arc<dyn Progress>,
    /// The processes that train together, each of which does the same; none for a process by itself.
    pub ranks: Option<Arc<dyn Ranks>>,
}

/// Trains and evaluates a network of isomax-models on the set of a configuration, a published one or images of your
/// own, from its pretrained weights if it names some: [`run`] with what the configuration says. Gives the number of each run with its evaluation.
///
/// ```no_run
/// use isomax_bench::backend::{self, TrainingBackend};
/// use isomax_bench::data::{DataFolder, PublishedSet};
/// use isomax_bench::experiment::{ExperimentOptions, run_published};
/// use isomax_bench::train::TrainingConfig;
/// use isomax_bench::{evaluate, progress};
/// use isomax_burn::HeadKind;
///
/// let config =
///     TrainingConfig::published(PublishedSet::Cifar10, "resnet-20".parse()?, HeadKind::IsoMaxPlus);
/// let options = ExperimentOptions {
///     output: "results".into(),
///     runs: 1..=3,
///     workers: 2,
///     plain: true,
///     backend: backend::name(),
///     scores: Vec::new(),
///     progress: progress::silent(),
///     ranks: None,
/// };
/// let data = DataFolder::new("data");
/// for (number, evaluation) in run_published::<TrainingBackend>(&config, &data, &options)? {
///     println!("run {number}\n{}", evaluate::summary(&evaluation));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`ExperimentError`].
pub fn run_published<B: AutodiffBackend>(
    config: &TrainingConfig,
    folder: &DataFolder,
    options: &ExperimentOptions,
) -> Result<Vec<(usize, Evaluation)>, ExperimentError> {
    let is_told = Cell::new(false);
    let network = |num_classes, device: &B::Device| -> Result<Model<B>, ExperimentError> {
        let mut network = published_network(config, num_classes, device)?;
        if let Some(report) = load_init(config, &mut network)?
            && !is_told.replace(true)
        {
            match report.is_complete() {
                true => log::info!("{report}"),
                false => log::warn!("{report}"),
            }
        }
        Ok(network)
    };
    // The name is checked before the data is read.
    config.architecture.parse::<Architecture>()?;
    let load = || Ok(ExperimentData::load(config, folder)?);
    run::<B, _>(config, load, network, options)
}

/// Loads the pretrained weights of a configuration, if it has any, into all of a network but its head.
///
/// # Errors
///
/// [`ExperimentError::Store`] if they do not fit, and [`ExperimentError::Config`] if they cannot be read, or are others
/// than when the configuration was made.
pub fn load_init<B: Backend, N: ImageNetwork<B>>(
    config: &TrainingConfig,
    network: &mut N,
) -> Result<Option<LoadReport>, ExperimentError> {
    let Some(path) = &config.init else { return Ok(None) };
    config.check_init()?;
    Ok(Some(store::load_body(network, path)?))
}

/// A new network of isomax-models, as a configuration names it, with weights at random.
///
/// ```
/// use isomax_bench::backend::{InferenceBackend, device};
/// use isomax_bench::data::PublishedSet;
/// use isomax_bench::experiment::published_network;
/// use isomax_bench::train::TrainingConfig;
/// use isomax_burn::{HeadKind, OodHead};
/// use isomax_models::Backbone;
///
/// let config = TrainingConfig::published(PublishedSet::Svhn, "resnet-20".parse()?, HeadKind::DisMax);
/// let network = published_network::<InferenceBackend>(&config, 10, &device())?;
/// assert_eq!(network.head().num_classes(), 10);
/// # Ok::<(), isomax_burn::UnknownName>(())
/// ```
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
    // What is as in evaluation drops nothing.
    let nothing = config.frozen_statistics.then_some(0.0);
    let config = ModelConfig::new(architecture, num_classes)
        .with_head(config.head)
        .with_dropout(config.dropout.or(nothing))
        .with_drop_connect(config.drop_connect.or(nothing));
    Ok(config.init(device))
}

/// Trains and evaluates the runs of an experiment, and gives the number of each with its evaluation. A run that
/// is finished is read from its files, and one that was interrupted goes on; images are read only if
/// there is something to do. OOD sets that a finished run has not seen are evaluated and added. A run
/// whose loss is no longer a number does not stop those after it; its error comes when they are done.
///
/// With [ranks](ExperimentOptions::ranks), all of them train, rank 0 evaluates, and each has the evaluations.
///
/// ```no_run
/// use isomax_bench::backend::{Device, TrainingBackend};
/// # use isomax_bench::data::{Images, Normalization};
/// use isomax_bench::experiment::{published_network, run};
/// use isomax_bench::train::{ExperimentData, TrainingConfig};
/// # use isomax_bench::experiment::ExperimentOptions;
/// # use isomax_burn::HeadKind;
/// # fn images(split: &str) -> Images { unimplemented!("{split}") }
/// # fn options() -> ExperimentOptions { unimplemented!() }
///
/// // Mean and standard deviation of the pixels of the training images, which lie in [0, 1].
/// let normalization = Normalization { mean: [0.5; 3], std: [0.25; 3] };
/// let config = TrainingConfig::own("flowers", "resnet-20", HeadKind::IsoMaxPlus, normalization);
/// let load = || {
///     let (train, test) = (images("train"), images("test"));
///     Ok(ExperimentData::new("flowers", train, test, Vec::new(), "my photos")?)
/// };
/// // Or a network of your own.
/// let network = |num_classes, device: &Device| {
///     Ok(published_network::<TrainingBackend>(&config, num_classes, device)?)
/// };
/// for (number, evaluation) in run::<TrainingBackend, _>(&config, load, network, &options())? {
///     println!("run {number}: accuracy {:.3}", evaluation.classification.accuracy);
/// }
/// # Ok::<(), isomax_bench::experiment::ExperimentError>(())
/// ```
///
/// # Arguments
///
/// - `load`: reads the images
/// - `network`: makes a network for a number of classes. It differs from call to call in its weights
///   alone, which are drawn from the random numbers of the backend
///
/// # Errors
///
/// [`ExperimentError`].
pub fn run<B: AutodiffBackend, N: TrainableNetwork<B>>(
    config: &TrainingConfig,
    load: impl Fn() -> Result<ExperimentData, ExperimentError>,
    network: impl Fn(usize, &B::Device) -> Result<N, ExperimentError>,
    options: &ExperimentOptions,
) -> Result<Vec<(usize, Evaluation)>, ExperimentError> {
    let mut data: Option<ExperimentData> = None;
    let (mut evaluations, mut diverged) = (Vec::new(), None);
    let team = Team::new(options.ranks.clone());
    team.check_same("configuration", config)?;
    let scores: Vec<&str> = options.scores.iter().map(|score| score.name()).collect();
    team.check_same("number of runs, or other scores,", (&options.runs, scores))?;
    for number in options.runs.clone() {
        let own = RunFolder::open_by(team.ranks(), &options.output, config, number)?;
        let previous = team.decide(|| -> Result<Option<Evaluation>, ExperimentError> {
            let finished = own.path().join(results::EVALUATION);
            Ok(if finished.exists() { Some(results::read(finished)?) } else { None })
        })?;
        if let Some(previous) = &previous
            && missing_sets(config, previous, &options.scores).is_empty()
        {
            evaluations.push((number, previous.clone()));
            continue;
        }
        let data = match &mut data {
            Some(data) => data,
            none => none.insert(load()?),
        };
        let num_classes = data.train.classes().len();
        let run = RunOptions {
            workers: options.workers,
            label: format!("{} {number}/{}", config.experiment_name(), options.runs.end()),
            plain: options.plain,
            ranks: options.ranks.clone(),
        };
        // What does not fit is told here, so that making one cannot fail below.
        let device = team.device::<B>();
        check(config, &network(num_classes, &device)?, data)?;
        let init = |device: &B::Device| match network(num_classes, device) {
            Ok(network) => network,
            Err(error) => unreachable!("{error}, though it was made before"),
        };
        let training =
            match train::<B, N>(config, number, data, &own, &init, &run, &options.backend) {
                // It would do so again: the other runs need not wait for it.
                Err(error @ TrainError::Diverged(_)) => {
                    if team.leads() {
                        log::error!("{}: {error}", run.label);
                    }
                    diverged = Some(error);
                    continue;
                }
                training => training?,
            };
        let evaluation = team.decide(|| -> Result<Evaluation, ExperimentError> {
            own.keep_config(config)?;
            let (run, fresh) = (own.path(), init(&device).valid());
            let paths = EvaluationPaths { run, output: run, previous: previous.as_ref() };
            let more = MoreScores { own: options.scores.clone(), ..MoreScores::default() };
            evaluate_run(config, training, data, fresh, paths, &more, &options.progress)
        })?;
        evaluations.push((number, evaluation));
    }
    match diverged {
        Some(error) => Err(error.into()),
        None => Ok(evaluations),
    }
}

/// Checks that a network is the one that a configuration and its data speak of.
fn check<B: AutodiffBackend>(
    config: &TrainingConfig,
    network: &impl TrainableNetwork<B>,
    data: &ExperimentData,
) -> Result<(), ExperimentError> {
    let head = network.head();
    let (expected, found) = (config.head, head.kind());
    if expected != found {
        return Err(ExperimentError::OtherHead { expected, found });
    }
    let (expected, found) = (data.train.classes().len(), head.num_classes());
    if expected != found {
        return Err(ExperimentError::OtherClasses { expected, found });
    }
    let [height, width] = data.train.size();
    Ok(network.check_images([1, 3, height, width])?)
}

/// The names of the OOD sets of a configuration that an evaluation has not seen, or not by all of some
/// scores of your own.
///
/// ```no_run
/// use isomax_bench::experiment::missing_sets;
/// use isomax_bench::results::{self, Evaluation};
/// use isomax_bench::train::open_run;
///
/// let run = std::path::Path::new("results/cifar10_resnet-20_isomax+/run-1");
/// let (config, _) = open_run(run)?;
/// let evaluation: Evaluation = results::read(run.join(results::EVALUATION))?;
/// println!("not evaluated yet: {}", missing_sets(&config, &evaluation, &[]).join(", "));
/// # Ok::<(), results::ResultError>(())
/// ```
pub fn missing_sets(
    config: &TrainingConfig,
    evaluation: &Evaluation,
    scores: &[Arc<dyn OodScore>],
) -> Vec<String> {
    let names = config.ood.iter().map(|set| set.name.clone());
    names.filter(|name| !is_seen(evaluation, name, scores)).collect()
}

fn is_seen(evaluation: &Evaluation, set: &str, scores: &[Arc<dyn OodScore>]) -> bool {
    let has = |score: Option<&str>| {
        let mut found = evaluation.detection.iter().filter(|detection| detection.set == set);
        found.any(|detection| score.is_none_or(|score| detection.score == score))
    };
    has(None) && scores.iter().all(|score| has(Some(score.name())))
}

/// What an evaluation computes beside the scores that suit the head. See [`evaluate_run`] for an example.
#[derive(Debug, Clone, Default)]
pub struct MoreScores {
    /// Scores of your own.
    pub own: Vec<Arc<dyn OodScore>>,
    /// Methods to fit on the images that the network was trained on.
    pub posthoc: Option<PostHocMethods>,
    /// OOD images that choose parameters of these methods, for values beside those of the defaults.
    pub tune_on: Option<NamedImages>,
}

/// Where an evaluation reads and writes. See [`evaluate_run`] for an example.
#[derive(Debug, Clone, Copy)]
pub struct EvaluationPaths<'a> {
    /// The folder of a run, with its weights.
    pub run: &'a Path,
    /// The folder to write into, the same or another one that is there.
    pub output: &'a Path,
    /// An evaluation of these weights that the new one adds to: OOD sets that it has seen are not
    /// computed again.
    pub previous: Option<&'a Evaluation>,
}

/// Evaluates the weights that a training kept in its folder.
///
/// ```no_run
/// use std::path::Path;
/// use isomax_bench::backend::{InferenceBackend, device};
/// use isomax_bench::data::DataFolder;
/// use isomax_bench::experiment::{EvaluationPaths, MoreScores, evaluate_run, published_network};
/// use isomax_bench::progress;
/// use isomax_bench::train::{ExperimentData, open_run};
///
/// let run = Path::new("results/cifar10_resnet-20_isomax+/run-1");
/// let (config, training) = open_run(run)?;
/// let data = ExperimentData::load(&config, &DataFolder::new("data"))?;
/// let network = published_network::<InferenceBackend>(&config, training.classes.len(), &device())?;
/// let paths = EvaluationPaths { run, output: run, previous: None };
/// let silent = progress::silent();
/// let more = MoreScores { posthoc: Some("knn,vim".parse().expect("two methods")), ..Default::default() };
/// let evaluation = evaluate_run(&config, training, &data, network, paths, &more, &silent)?;
/// println!("accuracy {:.3}", evaluation.classification.accuracy);
/// # Ok::<(), isomax_bench::experiment::ExperimentError>(())
/// ```
///
/// # Arguments
///
/// - `network`: of the same architecture and head; its weights are replaced
/// - `more`: scores of your own and methods, beside the scores of the head
///
/// # Errors
///
/// [`ExperimentError`].
pub fn evaluate_run<B: Backend, N: NetworkWithGradients<B>>(
    config: &TrainingConfig,
    training: Training,
    data: &ExperimentData,
    mut network: N,
    paths: EvaluationPaths<'_>,
    more: &MoreScores,
    progress: &Arc<dyn Progress>,
) -> Result<Evaluation, ExperimentError> {
    let folder = paths.run;
    if training.digest != data.digest {
        return Err(ExperimentError::OtherData { folder: folder.to_owned() });
    }
    network.load_safetensors(folder.join(results::MODEL))?;
    let calibration = data.calibration_images(config, training.seed)?;
    let calibration = calibration.map(|images| Arc::new(images) as Arc<dyn ImageSource>);
    // Methods are fitted anew, and compute all sets.
    let previous = paths.previous.filter(|_| more.posthoc.is_none());
    let posthoc = more.posthoc.clone().map(|methods| -> Result<_, TrainError> {
        let training =
            Subset::new(Arc::clone(&data.train), data.split(config, training.seed)?.training);
        let tune_on = more.tune_on.clone();
        Ok(PostHocInput { methods, training: Arc::new(training), tune_on })
    });
    let posthoc = posthoc.transpose()?;
    let is_new = |set: &str| !previous.is_some_and(|old| is_seen(old, set, &more.own));
    let input = EvaluationInput {
        id_data: config.id_data.clone(),
        architecture: config.architecture.clone(),
        data: data.source.clone(),
        normalization: config.preprocessing(data.measured).map_err(TrainError::from)?.normalization,
        training: Some(training),
        fpr: config.fpr,
        test: Arc::clone(&data.test),
        calibration,
        ood: data.ood.iter().filter(|set| is_new(&set.name)).cloned().collect(),
        scores: more.own.clone(),
        posthoc,
        previous: previous.cloned(),
        progress: progress.clone(),
    };
    Ok(evaluate(&network, &input, paths.output, &B::Device::default())?)
}
