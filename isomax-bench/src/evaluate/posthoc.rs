//! Methods that are fitted on the features of the training images, and their place in an evaluation.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn::backend::Autodiff;
use burn::module::AutodiffModule;
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use isomax_burn::metrics::OodMetrics;
use isomax_burn::posthoc::{
    BankConfig, FeatureStatistics, FitError, Fitted, Method, Needs, PostHocDetector,
};
use isomax_burn::{Detector, DetectorConfig, DetectorError, HostLogits, OodHead as _, Score};
use isomax_models::Odin;

use super::methods::{PostHocMethod, PostHocMethods, grid};
use super::pass::{Batch, Pass};
use super::{EvaluateError, NetworkWithGradients};
use crate::data::{ImageSource, NamedImages};
use crate::results::{self, ResultError};

/// What post-hoc methods are fitted on.
#[derive(Debug, Clone)]
pub struct PostHocInput {
    /// Which methods.
    pub methods: PostHocMethods,
    /// The images that the network was trained on, without those that were held out; they are not augmented.
    pub training: Arc<dyn ImageSource>,
    /// OOD images that choose parameters, for values beside those of the defaults.
    pub tune_on: Option<NamedImages>,
}

/// A method that gives scores.
pub(super) enum Scorer<B: Backend> {
    Features(Box<Fitted<B>>),
    Odin(Odin),
}

impl<B: Backend> Scorer<B> {
    /// One score for each image of a batch.
    pub(super) fn score<N: NetworkWithGradients<B>>(
        &self,
        network: &N,
        batch: &Batch<B>,
    ) -> Vec<f64> {
        let scores = match self {
            Self::Features(fitted) => fitted.score(batch.features.clone(), network.head()),
            Self::Odin(odin) => {
                let network: N::TrainModule = AutodiffModule::from_inner(network.clone());
                odin.scores::<Autodiff<B>, _>(&network, batch.images.clone())
            }
        };
        scores.into_data().iter().collect()
    }

    /// The name in tables.
    fn name(&self) -> String {
        match self {
            Self::Features(fitted) => fitted.method().to_string(),
            Self::Odin(odin) => PostHocMethod::Odin(odin.clone()).to_string(),
        }
    }
}

/// The threshold of a method.
enum Threshold<B: Backend> {
    Features(Box<PostHocDetector<B>>),
    /// Of scores alone: the gradients of images are nothing that a detector in a file could compute.
    Scores(Detector),
}

/// A method with its place in an evaluation.
pub(super) struct FittedMethod<B: Backend> {
    pub(super) scorer: Scorer<B>,
    /// The OOD set that chose its parameters.
    pub(super) tuned_on: Option<String>,
    /// Once there are held-out scores.
    threshold: Option<Threshold<B>>,
}

impl<B: Backend> FittedMethod<B> {
    fn new(scorer: Scorer<B>, tuned_on: Option<&str>) -> Self {
        Self { scorer, tuned_on: tuned_on.map(str::to_owned), threshold: None }
    }

    /// The name in tables.
    pub(super) fn name(&self) -> String {
        self.scorer.name()
    }

    /// The name in the names of files.
    pub(super) fn file_name(&self) -> String {
        let tuned = if self.tuned_on.is_some() { "+tuned" } else { "" };
        self.name().replace(':', "+").replace('=', "-") + tuned
    }

    /// Puts a threshold on held-out scores, and keeps the detector.
    pub(super) fn calibrate(
        &mut self,
        config: &DetectorConfig,
        network: &impl NetworkWithGradients<B>,
        scores: &[f64],
        temperature: f32,
        folder: &Path,
    ) -> Result<(), EvaluateError> {
        self.threshold = Some(match &self.scorer {
            Scorer::Odin(_) => Threshold::Scores(config.fit_scores(scores)?),
            Scorer::Features(fitted) => {
                let folder = folder.join(results::POSTHOC);
                fs::create_dir_all(&folder)
                    .map_err(|source| ResultError::Io { path: folder.clone(), source })?;
                let fitted = (**fitted).clone();
                let detector = PostHocDetector::fit_host(config, fitted, network.head(), scores)?
                    .with_confidence_temperature(temperature)?;
                detector.save(folder.join(format!("{}.safetensors", self.file_name())))?;
                Threshold::Features(Box::new(detector))
            }
        });
        Ok(())
    }

    /// The share of samples that the detector rejects.
    pub(super) fn rejected(
        &self,
        logits: &HostLogits,
        scores: &[f64],
    ) -> Result<Option<f64>, DetectorError> {
        let rejected: Vec<bool> = match &self.threshold {
            None => return Ok(None),
            Some(Threshold::Scores(detector)) => {
                let decisions = detector.decide_scores(scores)?;
                decisions.iter().map(|decision| !decision.in_distribution).collect()
            }
            Some(Threshold::Features(detector)) => {
                let decisions = detector.decide_host(logits, scores)?;
                decisions.iter().map(|decision| !decision.in_distribution).collect()
            }
        };
        let count = rejected.iter().filter(|rejected| **rejected).count();
        Ok(Some(count as f64 / rejected.len() as f64))
    }
}

/// Fits all methods in one pass over the training images.
pub(super) fn fit<B: Backend>(
    network: &impl NetworkWithGradients<B>,
    input: &PostHocInput,
    held_out: Option<&dyn ImageSource>,
    pass: &Pass<'_, B>,
) -> Result<Vec<FittedMethod<B>>, EvaluateError> {
    let methods = methods(network, &input.methods)?;
    let variants: Vec<Vec<PostHocMethod>> = match input.tune_on {
        Some(_) => methods.iter().map(grid).collect(),
        None => Vec::new(),
    };
    let of_features =
        methods.iter().chain(variants.iter().flatten()).filter_map(|method| match method {
            PostHocMethod::Features(method) => Some(*method),
            PostHocMethod::Odin(_) => None,
        });
    let needs = Needs::of(&of_features.collect::<Vec<Method>>());
    let statistics = collect(network, needs, &*input.training, pass)?;
    let scorer = |method: &PostHocMethod| -> Result<Scorer<B>, FitError> {
        Ok(match method {
            PostHocMethod::Features(method) => {
                Scorer::Features(Box::new(statistics.fit(method, network.head())?))
            }
            PostHocMethod::Odin(odin) => {
                let std = pass.normalization.std.map(f64::from);
                Scorer::Odin(odin.clone().with_std(&std))
            }
        })
    };
    let mut fitted = Vec::new();
    for method in &methods {
        match (scorer(method), &input.methods) {
            (Ok(scorer), _) => fitted.push(FittedMethod::new(scorer, None)),
            (Err(error), PostHocMethods::All) => log::warn!("left out: {error}"),
            (Err(error), PostHocMethods::These(_)) => return Err(error.into()),
        }
    }
    if let Some(set) = &input.tune_on {
        let held_out = held_out.ok_or(EvaluateError::NothingHeldOut)?;
        // Parameters that do not fit the features, such as more dimensions than there are, are not tried.
        let tried = variants.iter().map(|grid| grid.iter().flat_map(&scorer).collect());
        fitted.extend(tune(network, tried.collect(), held_out, set, pass)?);
    }
    Ok(fitted)
}

/// The methods that are asked for, without scores that tables have anyway.
fn methods<B: Backend>(
    network: &impl NetworkWithGradients<B>,
    asked: &PostHocMethods,
) -> Result<Vec<PostHocMethod>, EvaluateError> {
    let head = network.head();
    let mut methods = match asked {
        PostHocMethods::All => {
            let suited = Method::suited_to(head).into_iter().map(PostHocMethod::Features);
            suited.chain([PostHocMethod::Odin(Odin::new())]).collect()
        }
        PostHocMethods::These(methods) => {
            for method in methods {
                if let PostHocMethod::Features(method) = method {
                    method.suits(head)?;
                }
            }
            methods.clone()
        }
    };
    methods.retain(|method| match method {
        PostHocMethod::Features(Method::Logit(score)) => {
            !Score::suited_to(head.kind()).contains(score)
        }
        _ => true,
    });
    Ok(methods)
}

/// What the methods need to know of the training images.
fn collect<B: Backend>(
    network: &impl NetworkWithGradients<B>,
    needs: Needs,
    training: &dyn ImageSource,
    pass: &Pass<'_, B>,
) -> Result<FeatureStatistics, EvaluateError> {
    let (features, classes) = (network.head().num_features(), network.head().num_classes());
    let mut statistics = FeatureStatistics::new(needs, features, classes, BankConfig::new());
    if needs.is_empty() {
        return Ok(statistics);
    }
    let mut done = 0;
    pass.run(network, "training images", training, |Batch { features, logits, .. }| {
        let [count, _] = features.dims();
        let labels: Vec<i64> =
            training.labels()[done..done + count].iter().map(|&label| label.into()).collect();
        let labels = TensorData::new(labels, [count]);
        let labels = Tensor::<B, 1, Int>::from_data(labels, &features.device());
        done += count;
        Ok(statistics.update(features, logits, labels)?)
    })?;
    Ok(statistics)
}

/// Of each method the parameters that tell held-out images best from those of a set, where they were tried.
fn tune<B: Backend>(
    network: &impl NetworkWithGradients<B>,
    tried: Vec<Vec<Scorer<B>>>,
    held_out: &dyn ImageSource,
    set: &NamedImages,
    pass: &Pass<'_, B>,
) -> Result<Vec<FittedMethod<B>>, EvaluateError> {
    let all: Vec<&Scorer<B>> = tried.iter().flatten().collect();
    let id = pass.scores(network, super::HELD_OUT, held_out, &all)?;
    let ood = pass.scores(network, &set.name, &*set.images, &all)?;
    let aurocs = id.scores.iter().zip(&ood.scores).map(|(id, ood)| {
        let metrics = OodMetrics::from_scores(id, ood);
        metrics.map(|metrics| metrics.auroc)
    });
    let mut aurocs = aurocs
        .collect::<Result<Vec<f64>, _>>()
        .map_err(|source| EvaluateError::Metric { set: set.name.clone(), source })?
        .into_iter();
    let mut best = Vec::new();
    for grid in tried {
        let scored: Vec<(Scorer<B>, f64)> = grid.into_iter().zip(aurocs.by_ref()).collect();
        // Of equal ones the first.
        let best_of = scored.into_iter().rev().max_by(|(_, a), (_, b)| a.total_cmp(b));
        if let Some((scorer, _)) = best_of {
            best.push(FittedMethod::new(scorer, Some(&set.name)));
        }
    }
    Ok(best)
}

impl From<FitError> for EvaluateError {
    fn from(error: FitError) -> Self {
        Self::Fit(Box::new(error))
    }
}
