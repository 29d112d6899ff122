//! What a trained network says of images: accuracy, calibration, and how well it tells what it was
//! not trained on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Tensor, backend::Backend};
use indicatif::ProgressBar;
use isomax_burn::metrics::{CalibrationMetrics, MetricError, OodMetrics, PaperMetrics};
use isomax_burn::{
    Detector, DetectorConfig, DetectorError, HeadKind, Score, TemperatureFit, TemperatureObjective,
};
use isomax_models::{Backbone, ImageShapeError, Model};

mod npy;
mod worst;

use crate::data::{Images, KnownSet, NamedImages, Normalization};
use crate::measures::{FIELD_FPR95, PAPERS};
use crate::results::{
    self, Calibrated, Detection, DetectorSummary, Evaluation, KNOWN, ResultError, Training,
};
use crate::table::Table;

/// Why a network cannot be evaluated.
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
    /// A result cannot be written.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// A picture cannot be made.
    #[error("{}: {source}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What to evaluate a network on, and what is known of it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The set it was trained on.
    pub known: KnownSet,
    /// Which copy of it, for captions.
    pub data: String,
    /// How it was trained, if that is known.
    pub training: Option<Training>,
    /// Whether it was trained with fractional probability regularisation.
    pub fpr: bool,
    /// The test images of the known classes.
    pub test: Arc<Images>,
    /// Images of the known classes that it was not trained on and is not tested on: for thresholds
    /// and temperatures.
    pub held_out: Option<Images>,
    /// The sets to detect.
    pub ood: Vec<NamedImages>,
    /// Shows how many images are computed.
    pub progress: ProgressBar,
}

/// The scores that suit a head, the one of the papers first.
pub fn scores_for(kind: HeadKind) -> Vec<Score> {
    let default = Score::default_for(kind);
    let others: &[Score] = match kind {
        HeadKind::SoftMax => &[Score::ES, Score::MPS, Score::MDS, Score::Energy],
        HeadKind::IsoMax | HeadKind::IsoMaxPlus => &[Score::MDS, Score::ES, Score::MPS],
        HeadKind::DisMax => &[Score::MMLEPS, Score::MMLS, Score::MDS, Score::ES, Score::MPS],
    };
    let others = others.iter().copied().filter(|score| *score != default);
    std::iter::once(default).chain(others).collect()
}

/// Images that are computed at once.
const BATCH: usize = 200;
/// Share of known images that a detector is fitted to accept.
const TARGET_TPR: f64 = 0.95;
/// Where [`scores_for`] has the score of the papers, which is that of the detector.
const DEFAULT: usize = 0;

/// Evaluates a network and writes what it finds into a folder, as [`crate::results`] describes:
/// scores, a detector, pictures, and last the evaluation itself.
///
/// # Errors
///
/// [`EvaluateError`].
pub fn evaluate<B: Backend>(
    network: &Model<B>,
    architecture: isomax_models::Architecture,
    subject: &Subject,
    folder: &Path,
    device: &B::Device,
) -> Result<Evaluation, EvaluateError> {
    let kind = network.head().kind();
    let temperature = network.head().temperature();
    let normalization = subject.known.normalization();
    remove_old(folder)?;
    let held_out = subject.held_out.iter().map(Images::len).sum::<usize>();
    let all = subject.ood.iter().map(|set| set.images.len()).sum::<usize>() + held_out;
    subject.progress.set_length((all + subject.test.len()) as u64);
    let outputs = |set: &str, images: &Images| -> Result<Tensor<B, 2>, EvaluateError> {
        let [height, width] = images.size;
        let source = network.check_images([images.len(), 3, height, width]);
        source.map_err(|source| EvaluateError::Images { set: set.to_owned(), source })?;
        subject.progress.set_message(format!("evaluating {set}"));
        let count = |done: usize| subject.progress.inc(done as u64);
        Ok(logits_with(network, images, &normalization, BATCH, device, count))
    };
    let scores = &scores_for(kind);

    let known = outputs(KNOWN, &subject.test)?;
    let classification = calibration(&known, &subject.test, 1.0)?;
    let (mut detector, mut calibrated) = (None, None);
    if let Some(held_out) = &subject.held_out {
        let logits = outputs("held-out images", held_out)?;
        let fitted = DetectorConfig::new(kind)
            .with_target_tpr(TARGET_TPR)
            .fit(logits.clone(), temperature)?;
        fitted.save(folder.join(results::DETECTOR))?;
        detector = Some(fitted);
        calibrated = Some(calibrate(&logits, held_out, temperature, &known, &subject.test)?);
    }
    let accepted = |logits: &Tensor<B, 2>| -> Result<Option<f64>, EvaluateError> {
        detector.as_ref().map(|d| share_accepted(d, logits, temperature)).transpose()
    };
    let detector_summary =
        accepted(&known)?.zip(detector.as_ref()).map(|(accepted, detector)| DetectorSummary {
            score: detector.score(),
            threshold: detector.threshold(),
            target_tpr: detector.target_tpr(),
            accepted,
        });

    let pictures = folder.join(results::WORST);
    let known_scores = write_scores(folder, KNOWN, scores, &known)?;
    worst::write(&pictures, KNOWN, &subject.test, &known_scores[DEFAULT], worst::Worst::Lowest)?;
    let mut detection = Vec::new();
    for NamedImages { name, source, images } in &subject.ood {
        let logits = outputs(name, images)?;
        let rejected = accepted(&logits)?.map(|accepted| 1.0 - accepted);
        let set_scores = write_scores(folder, name, scores, &logits)?;
        worst::write(&pictures, name, images, &set_scores[DEFAULT], worst::Worst::Highest)?;
        for (index, score) in scores.iter().enumerate() {
            let metric = |source| EvaluateError::Metric { set: name.clone(), source };
            let (inside, outside) = (&known_scores[index], &set_scores[index]);
            detection.push(Detection {
                set: name.clone(),
                source: source.clone(),
                images: images.len(),
                score: *score,
                is_default: index == DEFAULT,
                field: OodMetrics::from_scores(inside, outside).map_err(metric)?,
                paper: PaperMetrics::from_scores(inside, outside).map_err(metric)?,
                rejected: rejected.filter(|_| index == DEFAULT),
            });
        }
    }
    subject.progress.finish_and_clear();
    // The default score first, as tables show it.
    detection.sort_by_key(|detection| !detection.is_default);
    let evaluation = Evaluation {
        architecture,
        head: kind,
        fpr: subject.fpr,
        known: subject.known.to_string(),
        data: subject.data.clone(),
        temperature,
        training: subject.training.clone(),
        classification,
        calibrated,
        images: subject.test.len(),
        detector: detector_summary,
        detection,
    };
    results::write_json(folder.join(results::EVALUATION), &evaluation)?;
    Ok(evaluation)
}

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

/// An evaluation as text.
pub fn summary(evaluation: &Evaluation) -> String {
    let percent = |value: f64| format!("{:.2}", 100.0 * value);
    let classes = &evaluation.classification;
    let mut text = format!(
        "{} with {} on {} ({}): accuracy {} %, ECE {:.4}, NLL {:.4}\n",
        evaluation.architecture,
        evaluation.head.title(),
        evaluation.known,
        evaluation.data,
        percent(classes.accuracy),
        classes.ece,
        classes.nll,
    );
    if let Some(Calibrated { temperature, classification }) = &evaluation.calibrated {
        let ece = classification.ece;
        text += &format!("at temperature {temperature:.3}, from held-out images: ECE {ece:.4}\n");
    }
    if let Some(detector) = &evaluation.detector {
        text += &format!(
            "detector {} ≥ {:.4}, for {} % of held-out images, accepts {} % of the test images\n",
            detector.score,
            detector.threshold,
            percent(detector.target_tpr),
            percent(detector.accepted),
        );
    }
    let measures = PAPERS.into_iter().chain([FIELD_FPR95]);
    let names = measures.clone().map(|measure| measure.name);
    let mut table =
        Table::new(["OOD set", "images", "score"].into_iter().chain(names).chain(["rejected"]));
    for detection in &evaluation.detection {
        let mark = if detection.is_default { " (default)" } else { "" };
        let score = format!("{}{mark}", detection.score);
        let mut row = vec![detection.set.clone(), detection.images.to_string(), score];
        row.extend(measures.clone().map(|measure| percent((measure.of)(detection))));
        row.push(detection.rejected.map_or_else(|| "–".to_owned(), percent));
        table.row(row);
    }
    if !evaluation.detection.is_empty() {
        text += "in percent: FPR95 in the field's convention (OOD positive), the others in the papers'\n";
        text += &format!("\n{table}");
    }
    text
}

fn values<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Vec<f32> {
    tensor.to_data().iter().collect()
}

fn labels(images: &Images) -> Vec<usize> {
    images.labels.iter().map(|&label| label.into()).collect()
}

/// Metrics of logits divided by a factor.
fn calibration<B: Backend>(
    logits: &Tensor<B, 2>,
    images: &Images,
    factor: f32,
) -> Result<CalibrationMetrics, EvaluateError> {
    let [_, num_classes] = logits.dims();
    let logits: Vec<f32> = values(logits).into_iter().map(|logit| logit / factor).collect();
    let bins = CalibrationMetrics::DEFAULT_BINS;
    CalibrationMetrics::from_logits(&logits, &labels(images), num_classes, bins)
        .map_err(|source| EvaluateError::Metric { set: KNOWN.to_owned(), source })
}

/// A temperature fitted on held-out images, and what it does on the test images.
fn calibrate<B: Backend>(
    held_out_logits: &Tensor<B, 2>,
    held_out: &Images,
    current: f32,
    test_logits: &Tensor<B, 2>,
    test: &Images,
) -> Result<Calibrated, EvaluateError> {
    let [_, num_classes] = held_out_logits.dims();
    let fit = TemperatureFit::new(
        &values(held_out_logits),
        &labels(held_out),
        num_classes,
        current,
        TemperatureObjective::Ece,
    );
    let fit =
        fit.map_err(|source| EvaluateError::Metric { set: "held-out images".to_owned(), source })?;
    let classification = calibration(test_logits, test, fit.temperature / current)?;
    Ok(Calibrated { temperature: fit.temperature, classification })
}

fn share_accepted<B: Backend>(
    detector: &Detector,
    logits: &Tensor<B, 2>,
    temperature: f32,
) -> Result<f64, EvaluateError> {
    let decisions = detector.decide(logits.clone(), temperature)?;
    let accepted = decisions.iter().filter(|decision| decision.in_distribution).count();
    Ok(accepted as f64 / decisions.len() as f64)
}

/// Writes the scores of a set, one file of text and one of NumPy for each, and returns them.
fn write_scores<B: Backend>(
    folder: &Path,
    set: &str,
    scores: &[Score],
    logits: &Tensor<B, 2>,
) -> Result<Vec<Vec<f32>>, EvaluateError> {
    let folder = folder.join(results::SCORES);
    let io = |source| ResultError::Io { path: folder.clone(), source };
    fs::create_dir_all(&folder).map_err(io)?;
    let mut all = Vec::new();
    for score in scores {
        let scores = values(&score.compute(logits.clone()));
        let text: String = scores.iter().map(|score| format!("{score}\n")).collect();
        results::write_bytes(folder.join(format!("{set}.{score}.txt")), text.as_bytes())?;
        let array = npy::one_dimensional(&scores);
        results::write_bytes(folder.join(format!("{set}.{score}.npy")), &array)?;
        all.push(scores);
    }
    Ok(all)
}

/// Computes the raw logits of all images in batches: `[images.len(), num_classes]`, in the memory of
/// the device.
///
/// # Panics
///
/// If there are no images, if the network refuses their size, or if the batch size is 0.
pub fn logits<B: Backend>(
    model: &impl Backbone<B, Input = Tensor<B, 4>>,
    images: &Images,
    normalization: &Normalization,
    batch_size: usize,
    device: &B::Device,
) -> Tensor<B, 2> {
    logits_with(model, images, normalization, batch_size, device, |_| ())
}

/// As [`logits`], and tells of each batch how many images it had.
fn logits_with<B: Backend>(
    model: &impl Backbone<B, Input = Tensor<B, 4>>,
    images: &Images,
    normalization: &Normalization,
    batch_size: usize,
    device: &B::Device,
    done: impl Fn(usize),
) -> Tensor<B, 2> {
    let starts = (0..images.len()).step_by(batch_size);
    let batches = starts.map(|start| {
        let indices = start..images.len().min(start + batch_size);
        let count = indices.len();
        let logits = model.forward(images.tensor(indices, normalization, device));
        done(count);
        logits
    });
    Tensor::cat(batches.collect(), 0)
}

/// Share of images, in percent, whose largest logit is that of their label.
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
