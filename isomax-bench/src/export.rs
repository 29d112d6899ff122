//! From the folder of a run to one file that decides. See [`bundle`].

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use burn::tensor::backend::Backend;
use isomax_bundle::{Bundle, BundleError, Manifest, Provenance};
use isomax_burn::{AnyDetector, OodHead as _};

use crate::results::{self, Evaluation, ResultError};
use crate::train::{ConfigError, ImageNetwork, open_run};

/// Why a run cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The files of the run cannot be read.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// Its configuration says too little, or its images were not square.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The parts do not fit each other.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// A finished run as a bundle: its weights, classes, preprocessing and detector, and where they come from.
///
/// ```no_run
/// use std::path::Path;
/// use isomax_bench::backend::{InferenceBackend, device};
/// use isomax_bench::export;
/// use isomax_burn::HeadKind;
/// use isomax_models::{Backbone, CifarResNetConfig};
///
/// let run = Path::new("results/cifar10_resnet-20_isomax+/run-1");
/// let config = CifarResNetConfig::new(20, 10).with_head(HeadKind::IsoMaxPlus);
/// let mut network = config.init::<InferenceBackend>(&device());
/// network.load_weights(run.join("model.safetensors"))?;
/// export::bundle(run, &network, None, None)?.save("cifar10.safetensors")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Arguments
///
/// - `run`: the folder of the run
/// - `network`: its network with its weights, one of isomax-models or of your own
/// - `detector`: the one to take in place of that of the run
/// - `notes`: anything to be kept in the file
///
/// # Errors
///
/// [`ExportError`].
pub fn bundle<B: Backend, N: ImageNetwork<B>>(
    run: &Path,
    network: &N,
    detector: Option<&AnyDetector<B>>,
    notes: Option<String>,
) -> Result<Bundle, ExportError> {
    let (config, training) = open_run(run)?;
    let preprocessing = config.preprocessing_of(&training)?;
    let read_if_there = |name: &str| -> Result<Option<serde_json::Value>, ResultError> {
        let path = run.join(name);
        if !path.exists() {
            return Ok(None);
        }
        let io = |source| ResultError::Io { path: path.clone(), source };
        let bytes = std::fs::read(&path).map_err(io)?;
        let value = serde_json::from_slice(&bytes);
        value.map(Some).map_err(|error| io(error.into()))
    };
    let evaluation = run.join(results::EVALUATION);
    let evaluation: Option<Evaluation> = match evaluation.exists() {
        true => Some(results::read(evaluation)?),
        false => None,
    };
    let mut provenance = Provenance::default();
    provenance.created = Some(now());
    provenance.versions = versions();
    let source = evaluation.as_ref().map(|evaluation| evaluation.data.as_str());
    provenance.data = Some(match source {
        Some(source) => format!("{} ({source})", config.id_data),
        None => config.id_data.clone(),
    });
    provenance.data_digest = Some(training.digest.clone());
    provenance.recipe = training.recipe.values();
    provenance.seed = Some(training.seed);
    provenance.accuracy = evaluation.map(|evaluation| evaluation.classification.accuracy);
    provenance.notes = notes;
    let mut manifest = Manifest {
        architecture: config.architecture.clone(),
        head: network.head().name().to_owned(),
        classes: training.classes,
        preprocessing,
        detector: None,
        provenance,
    };
    let from_text = |text: String| {
        serde_json::from_str(&text).map_err(|error| ResultError::Io {
            path: run.join(results::DETECTOR),
            source: error.into(),
        })
    };
    match detector {
        Some(AnyDetector::PostHoc(detector)) => {
            return Ok(Bundle::with_posthoc(manifest, network, detector)?);
        }
        Some(AnyDetector::Logits(detector)) => {
            manifest.detector = Some(from_text(detector.to_json())?);
        }
        None => manifest.detector = read_if_there(results::DETECTOR)?,
    }
    Ok(Bundle::new(manifest, network)?)
}

fn versions() -> BTreeMap<String, String> {
    let ours = env!("CARGO_PKG_VERSION").to_owned();
    BTreeMap::from([("isomax-bench".to_owned(), ours), ("burn".to_owned(), BURN.to_owned())])
}

/// The version of Burn, which the workspace pins.
const BURN: &str = "0.21.0";

/// The time in UTC, as RFC 3339 has it.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(since.as_secs())
}

/// Seconds since 1970 as a date and a time.
fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let [year, month, day] = date(days);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

/// Days since 1970 as year, month and day of the Gregorian calendar.
fn date(mut days: u64) -> [u64; 3] {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    [year, month, days + 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), expected);
        }
    }
}
