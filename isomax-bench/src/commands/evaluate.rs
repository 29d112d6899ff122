//! `isomax-bench evaluate`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use isomax_bench::backend::{self, InferenceBackend};
use isomax_bench::cli::{DataArgs, bar};
use isomax_bench::data::{
    DataError, DataFolder, HeldOut, ImageSource, NamedImages, OodSource, Split, Subset,
};
use isomax_bench::evaluate::{EvaluationInput, PostHocInput, PostHocMethods, evaluate, summary};
use isomax_bench::experiment::{
    EvaluationPaths, MoreScores, evaluate_run, missing_sets, published_network,
};
use isomax_bench::results::{self, Detection, Evaluation};
use isomax_bench::train::{ExperimentData, RunFolder, open_run};
use isomax_burn::HeadKind;

use super::network::{NetworkArgs, Weights};
use super::{CommandResult, print};

#[derive(Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    network: NetworkArgs,
    /// Record that the weights were trained with fractional probability regularisation.
    #[arg(long, requires = "weights")]
    fpr: bool,
    /// OOD sets, separated by commas, each NAME or NAME=FOLDER (default: with --run those of the
    /// training, else as published). With --run, new sets are added to its evaluation; with --posthoc, those that it
    /// has are computed anew.
    #[arg(long = "ood-data", alias = "ood", value_name = "SETS", value_delimiter = ',')]
    ood: Option<Vec<OodSource>>,
    /// Number of images of the training split to fit a detector and its temperature on, the same
    /// share of each class. The network must not have been trained on them. With the seed of the
    /// run they are those that `train --validation-images` of this number holds out for the
    /// detector.
    #[arg(long, default_value_t = 0, conflicts_with = "run")]
    held_out: usize,
    /// Seed that draws the images of --held-out: that of the run.
    #[arg(long, default_value_t = 42, conflicts_with = "run")]
    seed: u64,
    /// Fit these methods on the training images, without those that are held out, and compare them: all that suit the
    /// head, or names separated by commas, each with parameters behind colons, as knn:k=5. They take the place of those
    /// that were compared before, so name all at once. See docs/guide/trained-networks.md.
    #[arg(long, value_name = "all|NAMES")]
    posthoc: Option<PostHocMethods>,
    /// Add each method with the parameters that tell held-out images best from those of this OOD set, NAME or
    /// NAME=FOLDER: for comparisons with figures that were tuned so. Needs held-out images.
    #[arg(long, value_name = "SET", requires = "posthoc")]
    posthoc_tune: Option<OodSource>,
    /// Folder for scores, pictures, detector and evaluation (default: with --run its folder, else
    /// evaluation).
    #[arg(long)]
    output: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Print JSON.
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
        let known = config.ood.clone();
        if let Some(ood) = &self.ood {
            config.ood = ood.clone();
            config.check()?;
        }
        let output = self.output.clone().unwrap_or_else(|| run.to_owned());
        // Nobody else changes what is there meanwhile.
        let own = match self.output {
            Some(_) => None,
            None => {
                let folder = RunFolder::reopen(run)?;
                folder.check_config(&config)?;
                Some(folder)
            }
        };
        // What an evaluation of these weights has is kept beside the new sets.
        let existing = output.join(results::EVALUATION);
        let previous: Option<Evaluation> = match self.ood.is_some() && existing.exists() {
            true => Some(results::read(existing)?),
            false => None,
        };
        let mut previous =
            previous.filter(|previous| previous.training.as_ref() == Some(&training));
        // Methods are computed on all sets anew, those of before among them.
        if self.posthoc.is_some()
            && let Some(previous) = previous.take()
        {
            let seen = |set: &OodSource| {
                previous.detection.iter().any(|detection| detection.set == set.name)
            };
            let is_named = |set: &OodSource| config.ood.iter().any(|named| named.name == set.name);
            let mut sets: Vec<_> =
                known.into_iter().filter(|set| seen(set) && !is_named(set)).collect();
            sets.append(&mut config.ood);
            config.ood = sets;
        }
        if let Some(previous) = &previous
            && missing_sets(&config, previous, &[]).is_empty()
        {
            return Ok(previous.clone());
        }
        if previous.as_ref().is_some_and(|it| it.detection.iter().any(Detection::is_method)) {
            log::warn!(
                "post-hoc methods are not computed on the sets that are added: give --posthoc, with the methods, \
                 for all of them on all sets"
            );
        }
        let data = ExperimentData::load(&config, &self.data.folder())?;
        fs::create_dir_all(&output)?;
        let network = published_network::<InferenceBackend>(
            &config,
            training.classes.len(),
            &backend::device(),
        )?;
        let paths = EvaluationPaths { run, output: &output, previous: previous.as_ref() };
        let bar = bar("images");
        let tune_on = self.tune_on(&self.data.folder())?;
        let more = MoreScores { posthoc: self.posthoc.clone(), tune_on, ..MoreScores::default() };
        let evaluation = evaluate_run(&config, training, &data, network, paths, &more, &bar)?;
        if let Some(folder) = own {
            folder.keep_config(&config)?;
        }
        Ok(evaluation)
    }

    /// The OOD images that choose parameters of methods.
    fn tune_on(&self, folder: &DataFolder) -> Result<Option<NamedImages>, DataError> {
        let sources: Vec<OodSource> = self.posthoc_tune.iter().cloned().collect();
        Ok(folder.ood_sets(&sources)?.into_iter().next())
    }

    fn evaluate_weights(
        &self,
        weights: &Weights,
    ) -> Result<Evaluation, Box<dyn std::error::Error>> {
        let (id_data, config) = (weights.id_data, &weights.config);
        if self.fpr && config.head != HeadKind::DisMax {
            return Err(format!("--fpr goes with the head dismax, not with {}", config.head).into());
        }
        let device = backend::device();
        let network = weights.load(&device)?;
        let folder: DataFolder = self.data.folder().with_jpeg_decoder(config.jpeg_decoder);
        let test = folder.id_set(id_data, Split::Test)?;
        let (mut calibration, mut posthoc) = (None, None);
        if self.held_out > 0 || self.posthoc.is_some() {
            let train = folder.id_set(id_data, Split::Train)?.images;
            // As `train` does it: as many images choose the epoch, and are not to fit on.
            let count = self.held_out;
            let parts = HeldOut::stratified(train.labels(), count, count, self.seed)
                .ok_or("--held-out takes half of the images of the training split, or more")?;
            let part = |indices| {
                Arc::new(Subset::new(Arc::clone(&train), indices)) as Arc<dyn ImageSource>
            };
            calibration = (count > 0).then(|| part(parts.calibration));
            posthoc = match &self.posthoc {
                None => None,
                Some(methods) => Some(PostHocInput {
                    methods: methods.clone(),
                    training: part(parts.training),
                    tune_on: self.tune_on(&folder)?,
                }),
            };
        }
        let sources = self.ood.clone().unwrap_or_else(|| id_data.published_ood());
        let input = EvaluationInput {
            id_data: config.id_data.clone(),
            architecture: config.architecture.clone(),
            normalization: config.preprocessing(None)?.normalization,
            data: test.source.to_owned(),
            training: None,
            fpr: self.fpr,
            ood: folder.ood_sets(&sources)?,
            test: test.images,
            calibration,
            scores: Vec::new(),
            posthoc,
            previous: None,
            progress: bar("images"),
        };
        let output = self.output.clone().unwrap_or_else(|| PathBuf::from("evaluation"));
        fs::create_dir_all(&output)?;
        Ok(evaluate(&network, &input, &output, &device)?)
    }
}
