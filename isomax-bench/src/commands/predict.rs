//! `isomax-bench predict`.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use isomax_bench::backend::{self, InferenceBackend};
use isomax_bench::cli::Shard;
use isomax_bench::predict::{Prediction, Predictor, files, run};
use isomax_bench::results;
use isomax_bench::train::open_run;
use isomax_bundle::Bundle;
use isomax_burn::{AnyDetector, Decision, atomic_file};
use isomax_models::Model;
use serde::Serialize;

use super::CommandResult;
use super::network::{NetworkArgs, load_run};

#[derive(Args)]
pub struct PredictArgs {
    /// Image files, folders of images, or - for a list of names on standard input, one a line.
    /// Images may have any size: they are brought to that of the training images as these were.
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// Bundle to decide with, as `export` writes it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["run", "weights"])]
    model: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
    /// Detector to decide with: a detector.json of `train` or `evaluate`, or a file of `evaluate --posthoc`.
    /// Needed beside --weights; in place of its own beside --run.
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    detector: Option<PathBuf>,
    /// Write into this file, whole or not at all, in place of standard output. A file that is there is kept, and nothing is
    /// done: a job that is started again does no work twice.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Decide on every Nth image only, beginning with image I, counted from 0: one of N parts that are the whole together.
    #[arg(long, value_name = "I/N", default_value_t)]
    shard: Shard,
    /// Succeed though some files have no decision, or there are none; with --json files without a decision have a line with
    /// the error as well.
    #[arg(long)]
    keep_going: bool,
    /// Print one JSON object for each image, in place of a line with its path, class, score and ID or OOD,
    /// separated by tabs.
    #[arg(long)]
    json: bool,
}

/// What is printed of one image.
#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    /// The bytes of a name that is not UTF-8, where `path` has replacement characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<&'a [u8]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class_name: Option<&'a str>,
    #[serde(flatten)]
    decision: Decision,
}

/// What is printed of a file without a decision.
#[derive(Serialize)]
struct Failure<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<&'a [u8]>,
    error: String,
}

impl PredictArgs {
    pub fn run(&self) -> CommandResult {
        let Some(output) = &self.output else {
            let written = self.predict(&mut BufWriter::new(io::stdout().lock()));
            return match written {
                Err(error) if is_broken_pipe(&*error) => Ok(()),
                result => result,
            };
        };
        if output.exists() {
            log::warn!("{} is there, and is kept", output.display());
            return Ok(());
        }
        // What goes wrong is no matter of the file.
        let mut failed = Ok(());
        let written = atomic_file::write(output, |file| {
            let mut out = BufWriter::new(file);
            failed = self.predict(&mut out);
            match failed {
                Ok(()) => out.flush(),
                Err(_) => Err(io::Error::other("not written")),
            }
        });
        failed?;
        written.map_err(|error| format!("{}: {error}", output.display()).into())
    }

    fn predict(&self, out: &mut impl Write) -> CommandResult {
        let (predictor, classes) = self.find()?;
        let (mut found, mut seen, mut failed) = (0_usize, 0_usize, 0_usize);
        let of_shard = files(self.inputs.clone()).filter(|_| {
            found += 1;
            self.shard.has(found - 1)
        });
        run(&predictor, of_shard, |prediction| {
            seen += 1;
            failed += usize::from(prediction.decision.is_err());
            self.show(out, &prediction, &classes)
        })?;
        out.flush()?;
        match (found, failed) {
            (0, _) if !self.keep_going => Err("expected images, but found none".into()),
            (_, 0) => Ok(()),
            _ if self.keep_going => {
                log::warn!("{failed} of {seen} files have no decision");
                Ok(())
            }
            _ => Err(format!(
                "{failed} of {seen} files have no decision; --keep-going takes that for a success"
            )
            .into()),
        }
    }

    fn show(
        &self,
        out: &mut impl Write,
        Prediction { path, decision, .. }: &Prediction,
        classes: &[String],
    ) -> CommandResult {
        let (text, path_bytes) = (path.to_string_lossy(), not_text(path));
        let decision = match decision {
            Ok(decision) => decision,
            Err(error) => {
                eprintln!("{}: {error}", escaped(&text));
                if self.json && self.keep_going {
                    let line = Failure { path: &text, path_bytes, error: error.to_string() };
                    writeln!(out, "{}", serde_json::to_string(&line)?)?;
                }
                return Ok(());
            }
        };
        let class_name = classes.get(decision.class).map(String::as_str);
        if self.json {
            let line = Line { path: &text, path_bytes, class_name, decision: *decision };
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
            return Ok(());
        }
        let class = class_name.map_or_else(|| decision.class.to_string(), escaped);
        let verdict = if decision.in_distribution { "ID" } else { "OOD" };
        writeln!(out, "{}\t{class}\t{:.4}\t{verdict}", escaped(&text), decision.score)?;
        Ok(())
    }

    /// The network with its detector, and the names of the classes if they are known.
    fn find(&self) -> Result<(Found, Vec<String>), Box<dyn std::error::Error>> {
        let device = backend::device();
        if let Some(model) = &self.model {
            let bundle = Bundle::load(model)?;
            let predictor = Predictor::from_bundle(&bundle, &device)?;
            return Ok((predictor, bundle.manifest().classes.clone()));
        }
        if let Some(weights) = self.network.weights() {
            let missing = "give --detector beside --weights: `evaluate --held-out N` fits one";
            let detector = AnyDetector::load(self.detector.as_ref().ok_or(missing)?, &device)?;
            let network = weights.load(&device)?;
            let preprocessing = weights.config.preprocessing(None)?;
            let predictor = Predictor::new(network, detector, preprocessing, &device)?;
            return Ok((predictor, Vec::new()));
        }
        let run = self.network.run()?;
        let (config, training) = open_run(run)?;
        let detector = match &self.detector {
            Some(detector) => detector.clone(),
            None => run.join(results::DETECTOR),
        };
        let held_out = training.calibration_images.unwrap_or(training.validation_images);
        if self.detector.is_none() && held_out == 0 && !detector.exists() {
            return Err(format!(
                "{}: expected a detector, but the training held out no images to fit one on",
                detector.display()
            )
            .into());
        }
        let detector = AnyDetector::load(detector, &device)?;
        let network = load_run(run, &config, training.classes.len(), &device)?;
        let preprocessing = config.preprocessing_of(&training);
        let preprocessing = preprocessing.map_err(|error| format!("{}: {error}", run.display()))?;
        let predictor = Predictor::new(network, detector, preprocessing, &device)?;
        Ok((predictor, training.classes))
    }
}

type Found = Predictor<InferenceBackend, Model<InferenceBackend>>;

/// The bytes of a name that is no text.
#[cfg(unix)]
fn not_text(path: &Path) -> Option<&[u8]> {
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    path.to_str().is_none().then_some(bytes)
}

/// Other systems have no such bytes to give.
#[cfg(not(unix))]
fn not_text(_path: &Path) -> Option<&[u8]> {
    None
}

/// Text that holds no tab and no line end, so that columns and lines hold.
fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '\\' | '\t' | '\n' | '\r' => c.escape_default().collect(),
        c if c.is_control() => c.escape_default().collect(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect::<Vec<String>>().concat()
}

/// Whether whoever read the output has had enough.
fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
