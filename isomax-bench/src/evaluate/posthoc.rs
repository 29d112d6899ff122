//! Methods that are fitted on the features of the training images, and their place in an evaluation.

use core::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use isomax_burn::metrics::OodMetrics;
use isomax_burn::posthoc::{
    BankConfig, FeatureStatistics, FitError, Fitted, Method, MethodError, Needs, PostHocDetector,
};
use isomax_burn::{DetectorConfig, HostLogits, OodHead as _, Score};

use super::{EvaluateError, ImageNetwork, Pass};
use crate::data::{ImageSource, NamedImages};
use crate::results::{self, ResultError};

/// Which methods to fit. As text: `all`, or names separated by commas.
///
/// ```
/// use isomax_bench::evaluate::PostHocMethods;
///
/// assert_eq!("all".parse::<PostHocMethods>()?, PostHocMethods::All);
/// assert_eq!("knn:k=5,gen".parse::<PostHocMethods>()?.to_string(), "knn:k=5,gen");
/// # Ok::<(), isomax_burn::posthoc::MethodError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum PostHocMethods {
    /// All that suit the head, with their default parameters. One that cannot be fitted is left out, with a warning.
    All,
    /// These. One that cannot be fitted is an error.
    These(Vec<Method>),
}

impl FromStr for PostHocMethods {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Self, MethodError> {
        match text.trim().eq_ignore_ascii_case("all") {
            true => Ok(Self::All),
            false => Ok(Self::These(text.split(',').map(str::parse).collect::<Result<_, _>>()?)),
        }
    }
}

impl fmt::Display for PostHocMethods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::These(methods) => {
                let names: Vec<String> = methods.iter().map(Method::to_string).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

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

/// A method that was fitted.
pub(super) struct FittedMethod<B: Backend> {
    pub(super) fitted: Fitted<B>,
    /// The OOD set that chose its parameters.
    pub(super) tuned_on: Option<String>,
    /// Once there are held-out scores.
    pub(super) detector: Option<PostHocDetector<B>>,
}

impl<B: Backend> FittedMethod<B> {
    /// The name in tables.
    pub(super) fn name(&self) -> String {
        self.fitted.method().to_string()
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
        network: &impl ImageNetwork<B>,
        scores: &[f64],
        temperature: f32,
        folder: &Path,
    ) -> Result<(), EvaluateError> {
        let folder = folder.join(results::POSTHOC);
        fs::create_dir_all(&folder)
            .map_err(|source| ResultError::Io { path: folder.clone(), source })?;
        let detector =
            PostHocDetector::fit_host(config, self.fitted.clone(), network.head(), scores)?
                .with_confidence_temperature(temperature)?;
        detector.save(folder.join(format!("{}.safetensors", self.file_name())))?;
        self.detector = Some(detector);
        Ok(())
    }

    /// The share of samples that the detector rejects.
    pub(super) fn rejected(
        &self,
        logits: &HostLogits,
        scores: &[f64],
    ) -> Result<Option<f64>, EvaluateError> {
        let Some(detector) = &self.detector else { return Ok(None) };
        let decisions = detector.decide_host(logits, scores)?;
        let rejected = decisions.iter().filter(|decision| !decision.in_distribution).count();
        Ok(Some(rejected as f64 / decisions.len() as f64))
    }
}

/// Fits all methods in one pass over the training images.
pub(super) fn fit<B: Backend>(
    network: &impl ImageNetwork<B>,
    input: &PostHocInput,
    held_out: Option<&dyn ImageSource>,
    pass: &Pass<'_, B>,
) -> Result<Vec<FittedMethod<B>>, EvaluateError> {
    let head = network.head();
    let is_new = |method: &Method| match method {
        // In the tables already.
        Method::Logit(score) => !Score::suited_to(head.kind()).contains(score),
        _ => true,
    };
    let methods: Vec<Method> = match &input.methods {
        PostHocMethods::All => Method::suited_to(head).into_iter().filter(is_new).collect(),
        PostHocMethods::These(methods) => {
            methods.iter().try_for_each(|method| method.suits(head))?;
            methods.iter().filter(|method| is_new(method)).copied().collect()
        }
    };
    let variants: Vec<Vec<Method>> = methods.iter().map(grid).collect();
    let needs = Needs::of(&methods) | Needs::of(&variants.concat());
    let (features, classes) = (head.num_features(), head.num_classes());
    let mut statistics = FeatureStatistics::new(needs, features, classes, BankConfig::new());
    if !needs.is_empty() {
        let mut done = 0;
        pass.run(network, "training images", &*input.training, |features, logits| {
            let [count, _] = features.dims();
            let labels: Vec<i64> = input.training.labels()[done..done + count]
                .iter()
                .map(|&label| label.into())
                .collect();
            let labels = TensorData::new(labels, [count]);
            let labels = Tensor::<B, 1, Int>::from_data(labels, &features.device());
            done += count;
            Ok(statistics.update(features, logits, labels)?)
        })?;
    }
    let mut fitted = Vec::new();
    for method in &methods {
        match (statistics.fit(method, head), &input.methods) {
            (Ok(method), _) => {
                fitted.push(FittedMethod { fitted: method, tuned_on: None, detector: None });
            }
            (Err(error), PostHocMethods::All) => log::warn!("left out: {error}"),
            (Err(error), PostHocMethods::These(_)) => return Err(error.into()),
        }
    }
    if let (Some(set), Some(held_out)) = (&input.tune_on, held_out) {
        let tried: Vec<Vec<Fitted<B>>> = variants
            .iter()
            .map(|grid| grid.iter().flat_map(|method| statistics.fit(method, head)).collect())
            .collect();
        fitted.extend(tune(network, tried, held_out, set, pass)?);
    }
    Ok(fitted)
}

/// Of each method the parameters that tell held-out images best from those of a set, where they were tried.
fn tune<B: Backend>(
    network: &impl ImageNetwork<B>,
    tried: Vec<Vec<Fitted<B>>>,
    held_out: &dyn ImageSource,
    set: &NamedImages,
    pass: &Pass<'_, B>,
) -> Result<Vec<FittedMethod<B>>, EvaluateError> {
    let all: Vec<&Fitted<B>> = tried.iter().flatten().collect();
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
        let scored = grid.into_iter().zip(aurocs.by_ref());
        if let Some((fitted, _)) = scored.max_by(|(_, a), (_, b)| a.total_cmp(b)) {
            best.push(FittedMethod { fitted, tuned_on: Some(set.name.clone()), detector: None });
        }
    }
    Ok(best)
}

/// The parameters that are tried of a method, as published comparisons try them; none of methods without any.
fn grid(method: &Method) -> Vec<Method> {
    let name = method.to_string();
    let base = name.split(':').next().unwrap_or_default();
    let unit = if name.contains(":unit") { ":unit" } else { "" };
    let texts: Vec<String> = match base {
        "gen" => ["0.01", "0.05", "0.1", "0.5"]
            .iter()
            .flat_map(|gamma| [10, 100].map(|top| format!("gen:gamma={gamma}:top={top}")))
            .collect(),
        "mahalanobis" | "relative-mahalanobis" => {
            ["1e-9", "1e-6", "1e-4", "1e-3"].map(|c| format!("{base}{unit}:cutoff={c}")).into()
        }
        "knn" => [1, 5, 10, 50, 100, 200, 500, 1000].map(|k| format!("knn:k={k}")).into(),
        "nnguide" => [1, 10, 50, 100, 200, 500].map(|k| format!("nnguide:k={k}")).into(),
        "vim" | "residual" => {
            [4, 8, 16, 32, 64, 128, 256, 512, 1000].map(|d| format!("{base}:dims={d}")).into()
        }
        "nci" => ["0", "1e-4", "1e-3", "1e-2", "0.1"].map(|a| format!("nci:alpha={a}")).into(),
        "react" => {
            ["0.8", "0.85", "0.9", "0.95", "0.99"].map(|s| format!("react:share={s}")).into()
        }
        "ash-s" | "ash-p" | "ash-b" | "scale" => {
            ["0.3", "0.5", "0.65", "0.75", "0.85", "0.9", "0.95"]
                .map(|share| format!("{base}:share={share}"))
                .into()
        }
        "dice" => ["0.1", "0.3", "0.5", "0.7", "0.9"].map(|s| format!("dice:share={s}")).into(),
        _ => Vec::new(),
    };
    texts.iter().flat_map(|text| text.parse()).collect()
}

impl From<FitError> for EvaluateError {
    fn from(error: FitError) -> Self {
        Self::Fit(Box::new(error))
    }
}
