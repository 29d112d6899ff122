//! `isomax-bench predict`.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use isomax_bench::backend;
use isomax_bench::data::KnownSet;
use isomax_bench::predict::{Prediction, Predictor, files};
use isomax_bench::results;
use isomax_burn::{Detector, HeadKind};
use isomax_models::Architecture;
use serde::Serialize;

use super::evaluate::load;
use super::{CommandResult, open_run};

#[derive(Args)]
pub struct PredictArgs {
    /// Image files, folders of them, or - for names on standard input, one a line. Images are
    /// resized to 32 × 32, bilinearly.
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// Folder of an execution that `train` finished: network, weights and detector.
    #[arg(long, conflicts_with_all = ["weights", "architecture", "head", "known", "detector"])]
    run: Option<PathBuf>,
    /// Weights: safetensors, .pth, .pt or .mpk.
    #[arg(long, required_unless_present = "run")]
    weights: Option<PathBuf>,
    /// Network.
    #[arg(long, required_unless_present = "run")]
    architecture: Option<Architecture>,
    /// Its last layer.
    #[arg(long, required_unless_present = "run")]
    head: Option<HeadKind>,
    /// Set that it was trained on, whose normalisation the images get.
    #[arg(long, required_unless_present = "run")]
    known: Option<KnownSet>,
    /// Detector, as `train` and `evaluate` save it.
    #[arg(long, required_unless_present = "run")]
    detector: Option<PathBuf>,
    /// Prints a JSON object for each image.
    #[arg(long)]
    json: bool,
}

/// What is printed of one image.
#[derive(Serialize)]
struct Line<'a> {
    path: &'a Path,
    class: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    class_name: Option<&'a str>,
    score: f32,
    quantile: f64,
    in_distribution: bool,
}

/// A network by its files.
struct Files {
    weights: PathBuf,
    architecture: Architecture,
    head: HeadKind,
    known: KnownSet,
    detector: PathBuf,
    classes: Vec<String>,
}

impl PredictArgs {
    pub fn run(&self) -> CommandResult {
        let found = self.find()?;
        let device = backend::device();
        let network = load(&found.weights, found.architecture, found.head, found.known, &device)?;
        let detector = Detector::load(&found.detector)?;
        if detector.head() != found.head {
            let (path, head) = (found.detector.display(), detector.head());
            return Err(
                format!("{path}: fitted for {head}, but the network has {}", found.head).into()
            );
        }
        let predictor = Predictor::new(network, detector, found.known.normalization(), &device);
        let mut out = BufWriter::new(io::stdout().lock());
        let (mut seen, mut failed) = (0_usize, 0_usize);
        let shown = predictor.run(files(self.inputs.clone()), |prediction| {
            seen += 1;
            failed += usize::from(prediction.decision.is_err());
            self.show(&mut out, &prediction, &found.classes)
        });
        match shown.and_then(|()| Ok(out.flush()?)) {
            Err(error) if is_broken_pipe(&*error) => return Ok(()),
            result => result?,
        }
        match (seen, failed) {
            (0, _) => Err("expected images, but found none".into()),
            (_, 0) => Ok(()),
            _ => Err(format!("{failed} of {seen} files are no images").into()),
        }
    }

    fn show(
        &self,
        out: &mut impl Write,
        Prediction { path, decision }: &Prediction,
        classes: &[String],
    ) -> CommandResult {
        let decision = match decision {
            Ok(decision) => decision,
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                return Ok(());
            }
        };
        let line = Line {
            path,
            class: decision.class,
            class_name: classes.get(decision.class).map(String::as_str),
            score: decision.score,
            quantile: decision.quantile,
            in_distribution: decision.in_distribution,
        };
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
            return Ok(());
        }
        let class = line.class_name.map_or_else(|| line.class.to_string(), ToOwned::to_owned);
        let verdict = if line.in_distribution { "in" } else { "out" };
        writeln!(out, "{}\t{class}\t{:.4}\t{verdict}", path.display(), line.score)?;
        Ok(())
    }

    fn find(&self) -> Result<Files, Box<dyn std::error::Error>> {
        if let Some(run) = &self.run {
            let (config, training) = open_run(run)?;
            return Ok(Files {
                weights: run.join(results::MODEL),
                architecture: config.architecture,
                head: config.head,
                known: config.known,
                detector: run.join(results::DETECTOR),
                classes: training.classes,
            });
        }
        match (&self.weights, self.architecture, self.head, self.known, &self.detector) {
            (Some(weights), Some(architecture), Some(head), Some(known), Some(detector)) => {
                let (weights, detector) = (weights.clone(), detector.clone());
                Ok(Files { weights, architecture, head, known, detector, classes: Vec::new() })
            }
            _ => {
                Err("give --run, or --weights, --architecture, --head, --known and --detector"
                    .into())
            }
        }
    }
}

/// Whether whoever read the output has had enough.
fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
