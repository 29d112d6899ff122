//! What a trained network says of images: accuracy, calibration, and how well it tells what it was
//! not trained on. See [`evaluate()`] for an example.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Tensor, backend::Backend};
use isomax_burn::metrics::{BootstrapIntervals, MetricError, OodMetrics, PaperMetrics};
use isomax_burn::posthoc::FitError;
use isomax_burn::{
    Detector, DetectorConfig, DetectorError, HeadKind, HostLogits, OodHead as _, OodScore, Score,
    TemperatureObjective,
};
use isomax_models::{Backbone, ImageShapeError};

mod methods;
mod pass;
mod posthoc;
mod table;
mod worst;

pub use methods::{PostHocMethod, PostHocMethods};
use pass::{Outputs, Pass};
pub use posthoc::PostHocInput;
use posthoc::{FittedMethod, Scorer};
pub use table::summary;

use crate::data::{
    ImageSource, NamedImages, Normalization, UnreadableImage, is_set_name, tensor_of,
};
use crate::progress::Progress;
use crate::results::{
    self, Calibrated, Detection, DetectorSummary, Evaluation, ID, ResultError, Training,
};
use crate::scores::npy;
use crate::train::NetworkWithGradients;

/// Why a network cannot be evaluated. [`evaluate()`] returns it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The network does not take the images of a set.
    #[error("{set}: {source}")]
    Images {
        /// The set.
        set: String,
        /// Why not.
        source: ImageShapeError,
    },
    /// A metric has no value, as for logits that are not finite.
    #[error("{set}: {source}")]
    Metric {
        /// The set.
        set: String,
        /// Why not.
        source: MetricError,
    },
    /// The detector cannot be fitted, saved or applied.
    #[error(transparent)]
    Detector(#[from] DetectorError),
    /// A post-hoc method cannot be fitted.
    #[error(transparent)]
    Fit(Box<FitError>),
    /// Parameters are to be tuned, but there are no held-out images to tell from OOD images.
    #[error("tuning parameters of methods needs held-out images of the ID classes: see --held-out")]
    NothingHeldOut,
    /// The name of a score cannot be part of the names of files.
    #[error(
        "'{0}' cannot name a score, for which there will be files of that name: expected letters, \
             digits, '-', '_', '+' or '.', beginning with a letter or digit"
    )]
    ScoreName(String),
    /// A result cannot be written.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// An image file can no longer be read.
    #[error(transparent)]
    Image(#[from] UnreadableImage),
    /// A picture cannot be made.
    #[error("{}: {source}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What to evaluate a network on, and what is known of it. See [`evaluate()`] for an example.
#[derive(Clone)]
pub struct EvaluationInput {
    /// Name of the set it was trained on.
    pub id_data: String,
    /// Name of the network.
    pub architecture: String,
    /// Which copy of the set, for captions.
    pub data: String,
    /// What the network's training images were normalised with.
    pub normalization: Normalization,
    /// How it was trained, if that is known.
    pub training: Option<Training>,
    /// Whether it was trained with fractional probability regularisation.
    pub fpr: bool,
    /// The test images of the ID classes.
    pub test: Arc<dyn ImageSource>,
    /// Images of the ID classes that it was not trained on and is not tested on, nor its epoch
    /// chosen with: for thresholds and temperatures.
    pub calibration: Option<Arc<dyn ImageSource>>,
    /// The sets to detect.
    pub ood: Vec<NamedImages>,
    /// Scores of your own, beside those that suit the head.
    pub scores: Vec<Arc<dyn OodScore>>,
    /// Methods to fit on the training images.
    pub posthoc: Option<PostHocInput>,
    /// An evaluation of the same weights, whose sets are kept beside the new ones.
    pub previous: Option<Evaluation>,
    /// Told how many images have been computed.
    pub progress: Arc<dyn Progress>,
}

/// The scores that suit a head, the one of the papers first, then those of your own.
fn scores_for(kind: HeadKind, own: &[Arc<dyn OodScore>]) -> Vec<Arc<dyn OodScore>> {
    let suited = Score::suited_to(kind).into_iter();
    let mut scores: Vec<Arc<dyn OodScore>> = suited.map(|score| Arc::new(score) as _).collect();
    for score in own {
        if scores.iter().all(|other| other.name() != score.name()) {
            scores.push(score.clone());
        }
    }
    scores
}

/// Of the intervals about metrics.
const LEVEL: f64 = 0.95;
/// Share of ID images that a detector is fitted to accept.
const TARGET_TPR: f64 = 0.95;
/// Where [`scores_for`] has the score of the papers, which is that of the detector.
const DEFAULT: usize = 0;

/// Evaluates a network and writes what it finds into a folder, as [`crate::results`] describes:
/// scores, a detector, pictures, and last the evaluation itself. The folder must be there.
///
/// ```
/// use isomax_bench::backend::{InferenceBackend, device};
/// use isomax_bench::data::{Images, NamedImages, Normalization};
/// use isomax_bench::evaluate::{EvaluationInput, evaluate, summary};
/// use isomax_bench::progress;
/// use isomax_burn::HeadKind;
/// use isomax_models::CifarResNetConfig;
///
/// # let folder = tempfile::tempdir()?;
/// # let images = |value| std::sync::Arc::new(Images {
/// #     size: [32, 32],
/// #     bytes: vec![value; 2 * 32 * 32 * 3],
/// #     labels: vec![0, 1],
/// #     classes: vec!["cat".to_owned(), "dog".to_owned()],
/// # });
/// # let (pets, flowers, source) = (images(60), images(200), "my photos".to_owned());
/// let flowers = NamedImages { name: "flowers".to_owned(), source, images: flowers };
/// let input = EvaluationInput {
///     id_data: "pets".to_owned(),
///     architecture: "resnet-8".to_owned(),
///     data: "my photos".to_owned(),
///     normalization: Normalization::CIFAR10,
///     training: None,
///     fpr: false,
///     test: pets,
///     calibration: None,
///     ood: vec![flowers],
///     scores: Vec::new(),
///     posthoc: None,
///     previous: None,
///     progress: progress::silent(),
/// };
/// let config = CifarResNetConfig::new(8, 2).with_head(HeadKind::IsoMaxPlus);
/// let network = config.init::<InferenceBackend>(&device());
/// let evaluation = evaluate(&network, &input, folder.path(), &device())?;
/// assert_eq!(evaluation.detection[0].set, "flowers");
/// println!("{}", summary(&evaluation));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`EvaluateError`].
pub fn evaluate<B: Backend>(
    network: &impl NetworkWithGradients<B>,
    input: &EvaluationInput,
    folder: &Path,
    device: &B::Device,
) -> Result<Evaluation, EvaluateError> {
    let head = network.head();
    let scores = &scores_for(head.kind(), &input.scores);
    if let Some(score) = scores.iter().find(|score| !is_set_name(score.name())) {
        return Err(EvaluateError::ScoreName(score.name().to_owned()));
    }
    let (normalization, progress) = (&input.normalization, &*input.progress);
    let pass = Pass { normalization, device, progress };
    let held_out_images = input.calibration.as_deref();
    let fitted = input.posthoc.as_ref();
    let fitted = fitted.map(|posthoc| posthoc::fit(network, posthoc, held_out_images, &pass));
    let mut fitted: Vec<FittedMethod<B>> = fitted.transpose()?.unwrap_or_default();
    let outputs = |fitted: &[FittedMethod<B>], set: &str, images: &dyn ImageSource| {
        let methods: Vec<&Scorer<B>> = fitted.iter().map(|method| &method.scorer).collect();
        pass.scores(network, set, images, &methods)
    };

    let id = outputs(&fitted, ID, &*input.test)?;
    let of_id = |source| EvaluateError::Metric { set: ID.to_owned(), source };
    let test_labels = labels(&*input.test);
    let classification = id.logits.calibration(&test_labels, 1.0).map_err(of_id)?;
    let held_out = held_out_images.map(|images| outputs(&fitted, HELD_OUT, images)).transpose()?;
    // From here on there is something to put in the place of what is removed.
    if input.previous.is_none() {
        remove_old(folder)?;
    }
    let (mut detector, mut calibrated) = (None, None);
    if let Some((Outputs { logits, scores }, images)) = held_out.zip(held_out_images) {
        let current = head.temperature();
        let fit = logits
            .fit_temperature(&labels(images), current, TemperatureObjective::Ece)
            .map_err(|source| EvaluateError::Metric { set: HELD_OUT.to_owned(), source })?;
        let config = DetectorConfig::new().with_target_tpr(TARGET_TPR);
        let of_logits =
            config.fit_host(head, &logits)?.with_confidence_temperature(fit.temperature)?;
        of_logits.save(folder.join(results::DETECTOR))?;
        for (method, scores) in fitted.iter_mut().zip(&scores) {
            method.calibrate(&config, network, scores, fit.temperature, folder)?;
        }
        let factor = f64::from(fit.temperature) / f64::from(current);
        let classification = id.logits.calibration(&test_labels, factor).map_err(of_id)?;
        calibrated = Some(Calibrated { temperature: fit.temperature, classification });
        detector = Some(of_logits);
    }
    let accepted = |logits: &HostLogits| -> Result<Option<f64>, EvaluateError> {
        detector.as_ref().map(|detector| share_accepted(detector, logits)).transpose()
    };
    let detector_summary =
        accepted(&id.logits)?.zip(detector.as_ref()).map(|(accepted, detector)| DetectorSummary {
            score: detector.score_name().unwrap_or_default().to_owned(),
            threshold: detector.threshold(),
            target_tpr: detector.target_tpr(),
            accepted,
        });

    let pictures = folder.join(results::WORST);
    let names: Vec<String> = scores.iter().map(|score| score.name().to_owned()).collect();
    let files = names.iter().cloned().chain(fitted.iter().map(FittedMethod::file_name));
    let files: Vec<String> = files.collect();
    let all_scores = |Outputs { logits, scores: posthoc }: &Outputs| -> Vec<Vec<f64>> {
        let of_logits = scores.iter().map(|score| logits.scores(&**score));
        of_logits.chain(posthoc.iter().cloned()).collect()
    };
    let id_scores = all_scores(&id);
    write_scores(folder, ID, &files, &id_scores)?;
    worst::write(&pictures, ID, &*input.test, &id_scores[DEFAULT], worst::Worst::Lowest)?;
    let mut detection = Vec::new();
    for NamedImages { name, source, images } in &input.ood {
        let images = &**images;
        let outputs = outputs(&fitted, name, images)?;
        let set_scores = all_scores(&outputs);
        write_scores(folder, name, &files, &set_scores)?;
        worst::write(&pictures, name, images, &set_scores[DEFAULT], worst::Worst::Highest)?;
        let rejected = accepted(&outputs.logits)?.map(|accepted| 1.0 - accepted);
        let metric = |source| EvaluateError::Metric { set: name.clone(), source };
        for (index, (id, ood)) in id_scores.iter().zip(&set_scores).enumerate() {
            let method = index.checked_sub(scores.len()).map(|method| &fitted[method]);
            let rejected = match method {
                Some(method) => method.rejected(&outputs.logits, ood)?,
                None => rejected.filter(|_| index == DEFAULT),
            };
            detection.push(Detection {
                set: name.clone(),
                source: source.clone(),
                images: images.len(),
                score: method.map_or_else(|| names[index].clone(), FittedMethod::name),
                is_default: index == DEFAULT,
                field: OodMetrics::from_scores(id, ood).map_err(metric)?,
                paper: PaperMetrics::from_scores(id, ood).map_err(metric)?,
                intervals: Some(BootstrapIntervals::from_scores(id, ood, LEVEL).map_err(metric)?),
                rejected,
                tuned_on: method.and_then(|method| method.tuned_on.clone()),
            });
        }
    }
    if let Some(previous) = &input.previous {
        let is_new = |old: &&Detection| input.ood.iter().all(|set| set.name != old.set);
        let kept: Vec<_> = previous.detection.iter().filter(is_new).cloned().collect();
        detection.splice(0..0, kept);
    }
    // The default score first, as tables show it.
    detection.sort_by_key(|detection| !detection.is_default);
    let evaluation = Evaluation {
        architecture: input.architecture.clone(),
        head: head.kind(),
        fpr: input.fpr,
        id_data: input.id_data.clone(),
        data: input.data.clone(),
        temperature: head.temperature(),
        normalization: Some(input.normalization),
        training: input.training.clone(),
        classification,
        calibrated,
        images: input.test.len(),
        detector: detector_summary,
        detection,
    };
    results::write(folder.join(results::EVALUATION), &evaluation)?;
    Ok(evaluation)
}

/// What errors call the images that thresholds and temperatures are fitted on.
const HELD_OUT: &str = "held-out images";

/// Removes what an earlier evaluation said of other weights, first of all the evaluation itself, so that
/// what a failure leaves is never taken for a whole. Scores and pictures are replaced one by one: a
/// folder of such a name may hold more than ours.
fn remove_old(folder: &Path) -> Result<(), ResultError> {
    let remove = |name: &str| {
        let path = folder.join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(ResultError::Io { path, source })
            }
            _ => Ok(()),
        }
    };
    [results::EVALUATION, results::DETECTOR].into_iter().try_for_each(remove)
}

fn labels(images: &dyn ImageSource) -> Vec<usize> {
    images.labels().iter().map(|&label| label.into()).collect()
}

fn share_accepted(detector: &Detector, logits: &HostLogits) -> Result<f64, EvaluateError> {
    let decisions = detector.decide_host(logits)?;
    let accepted = decisions.iter().filter(|decision| decision.in_distribution).count();
    Ok(accepted as f64 / decisions.len() as f64)
}

/// Writes the scores of a set, one file of text and one of NumPy for each.
fn write_scores(
    folder: &Path,
    set: &str,
    names: &[String],
    scores: &[Vec<f64>],
) -> Result<(), EvaluateError> {
    let folder = folder.join(results::SCORES);
    let io = |source| ResultError::Io { path: folder.clone(), source };
    fs::create_dir_all(&folder).map_err(io)?;
    for (name, scores) in names.iter().zip(scores) {
        let text: String = scores.iter().map(|score| format!("{score}\n")).collect();
        results::write_bytes(folder.join(format!("{set}.{name}.txt")), text.as_bytes())?;
        let array = npy::one_dimensional(scores);
        results::write_bytes(folder.join(format!("{set}.{name}.npy")), &array)?;
    }
    Ok(())
}

/// Computes the raw logits of all images in batches: `[images.len(), num_classes]`, in the memory of
/// the device.
///
/// ```
/// use isomax_bench::backend::{InferenceBackend, device};
/// use isomax_bench::data::{Images, Normalization};
/// use isomax_bench::evaluate;
/// use isomax_models::CifarResNetConfig;
///
/// let images = Images {
///     size: [32, 32],
///     bytes: vec![0; 5 * 32 * 32 * 3],
///     labels: vec![0; 5],
///     classes: vec!["black".to_owned()],
/// };
/// let network = CifarResNetConfig::new(8, 10).init::<InferenceBackend>(&device());
/// let logits = evaluate::logits(&network, &images, &Normalization::CIFAR10, 2, &device())?;
/// assert_eq!(logits.dims(), [5, 10]);
/// # Ok::<(), isomax_bench::data::UnreadableImage>(())
/// ```
///
/// # Errors
///
/// [`UnreadableImage`] if a file of the set can no longer be read.
///
/// # Panics
///
/// If there are no images, if the network refuses their size, or if the batch size is 0.
pub fn logits<B: Backend>(
    model: &impl Backbone<B, Input = Tensor<B, 4>>,
    images: &dyn ImageSource,
    normalization: &Normalization,
    batch_size: usize,
    device: &B::Device,
) -> Result<Tensor<B, 2>, UnreadableImage> {
    let starts = (0..images.len()).step_by(batch_size);
    let batches = starts.map(|start| {
        let indices = start..images.len().min(start + batch_size);
        Ok(model.forward(tensor_of(images, indices, normalization, device)?))
    });
    Ok(Tensor::cat(batches.collect::<Result<_, UnreadableImage>>()?, 0))
}

/// Share of images, in percent, whose largest logit is that of their label, of logits of the shape
/// `[labels.len(), num_classes]`.
///
/// ```
/// use burn::tensor::Tensor;
/// use isomax_bench::backend::{InferenceBackend, device};
/// use isomax_bench::evaluate::accuracy;
///
/// let logits = Tensor::<InferenceBackend, 2>::from_floats([[0.9, 0.1], [0.8, 0.2]], &device());
/// assert_eq!(accuracy(logits, &[0, 1]), 50.0);
/// ```
///
/// # Panics
///
/// If there are other numbers of logits and labels, or none.
pub fn accuracy<B: Backend>(logits: Tensor<B, 2>, labels: &[u16]) -> f64 {
    let classes = logits.argmax(1).into_data();
    let classes: Vec<i64> = classes.iter().collect();
    assert!(classes.len() == labels.len() && !labels.is_empty(), "one label for each image");
    let right = classes.iter().zip(labels).filter(|(class, label)| **class == i64::from(**label));
    100.0 * right.count() as f64 / labels.len() as f64
}
