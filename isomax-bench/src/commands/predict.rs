//! `isomax-bench predict`.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use isomax_bench::backend;
use isomax_bench::predict::{Prediction, Predictor, files};
use isomax_bench::results;
use isomax_burn::Detector;
use serde::Serialize;

use super::network::{NetworkArgs, Weights};
use super::{CommandResult, open_run};

#[derive(Args)]
pub struct PredictArgs {
    /// Image files, folders of them, or - for names on standard input, one a line. Images are
    /// resized to 32 × 32, bilinearly.
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
    /// Detector, as `train` and `evaluate` save it.
    #[arg(long, requires = "weights", conflicts_with = "run")]
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

impl PredictArgs {
    pub fn run(&self) -> CommandResult {
        let (weights, path, classes) = self.find()?;
        let device = backend::device();
        let network = weights.load(&device)?;
        let detector = Detector::load(&path)?;
        if detector.head() != weights.head {
            let (path, fitted, head) = (path.display(), detector.head(), weights.head);
            return Err(format!("{path}: fitted for {fitted}, but the network has {head}").into());
        }
        let normalization = weights.known.normalization();
        let predictor = Predictor::new(network, detector, normalization, &device);
        let mut out = BufWriter::new(io::stdout().lock());
        let (mut seen, mut failed) = (0_usize, 0_usize);
        let shown = predictor.run(files(self.inputs.clone()), |prediction| {
            seen += 1;
            failed += usize::from(prediction.decision.is_err());
            self.show(&mut out, &prediction, &classes)
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

    /// The weights, the file of the detector, and the names of the classes if they are known.
    fn find(&self) -> Result<(Weights, PathBuf, Vec<String>), Box<dyn std::error::Error>> {
        if let Some(weights) = self.network.weights() {
            let missing = "give --detector beside --weights: `evaluate --held-out N` fits one";
            return Ok((weights, self.detector.clone().ok_or(missing)?, Vec::new()));
        }
        let run = self.network.run()?;
        let (config, training) = open_run(run)?;
        let detector = run.join(results::DETECTOR);
        if training.validation_images == 0 && !detector.exists() {
            return Err(format!(
                "{}: expected a detector, but the training held out no images to fit one on",
                detector.display()
            )
            .into());
        }
        Ok((Weights::of_run(run, &config), detector, training.classes))
    }
}

/// Whether whoever read the output has had enough.
fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
