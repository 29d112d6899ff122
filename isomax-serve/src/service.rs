use std::future::Future;
use std::sync::Arc;

use burn::tensor::backend::Backend;
use isomax_backend::device;
use isomax_bundle::{Bundle, BundleError, JpegDecoder, Predictor};
use isomax_burn::AnyDetector;
use isomax_burn::drift::{DriftConfig, DriftError};
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::connections;
use crate::engine::{Engine, Network};
use crate::figures::Figures;
use crate::routes;

/// Why there is no service. See [`Service`] for an example.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The bundle cannot decide.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A bound of the configuration is none that can be kept.
    #[error("{name} must be {expected}, got {found}")]
    OutOfRange {
        /// Its name.
        name: &'static str,
        /// What it may be.
        expected: String,
        /// What came.
        found: String,
    },
    /// The bundle asks for a JPEG decoder with `unsafe` code, which is not for images of strangers.
    #[error(
        "the bundle was trained with --jpeg-decoder {0}, whose `unsafe` code is not for images of strangers: \
         train with --jpeg-decoder {safe}", safe = JpegDecoder::Safe
    )]
    UnsafeDecoder(JpegDecoder),
    /// The watch for drift cannot be set up as the configuration says.
    #[error(transparent)]
    Drift(#[from] DriftError),
}

/// What all requests share.
pub type Shared = Arc<State>;

pub struct State {
    pub config: Config,
    pub network: Arc<Network>,
    pub engine: Engine,
    pub figures: Arc<Figures>,
    pub model: Model,
    /// Requests that may be at work.
    pub at_work: Arc<Semaphore>,
    /// Images that may be decoded at the same time, which takes a core and memory for each.
    pub decoding: Arc<Semaphore>,
}

/// What is told of the bundle.
#[derive(Debug, Clone, Serialize)]
pub struct Model {
    architecture: String,
    head: String,
    pub classes: Vec<String>,
    preprocessing: Value,
    detector: Fitted,
    provenance: Value,
}

#[derive(Debug, Clone, Serialize)]
struct Fitted {
    score: String,
    threshold: f64,
    target_tpr: f64,
    promise: String,
    num_samples: usize,
    held_out_scores: Vec<f64>,
}

impl<B: Backend> From<&AnyDetector<B>> for Fitted {
    fn from(detector: &AnyDetector<B>) -> Self {
        let threshold = detector.threshold();
        Self {
            score: detector.score_name().unwrap_or_default(),
            threshold: threshold.value(),
            target_tpr: threshold.target_tpr(),
            promise: threshold.promise().to_string(),
            num_samples: threshold.num_samples(),
            held_out_scores: threshold.held_out_scores().to_vec(),
        }
    }
}

/// A bundle that is ready to be served.
///
/// ```
/// use isomax_bundle::Bundle;
/// use isomax_serve::{BUILT_IN, Config, Service};
///
/// let bundle = Bundle::from_bytes(BUILT_IN.to_vec(), "built in")?;
/// let service = Service::new(&bundle, Config::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Service {
    shared: Shared,
}

impl Service {
    /// Makes the network of a bundle, and starts the thread that computes with it.
    ///
    /// # Errors
    ///
    /// [`ServiceError`] if the bundle has no detector or asks for a JPEG decoder with `unsafe` code, if its network is
    /// none of isomax-models, or if the configuration makes no sense.
    pub fn new(bundle: &Bundle, config: Config) -> Result<Self, ServiceError> {
        config.check()?;
        let jpeg_decoder = bundle.manifest().preprocessing.jpeg_decoder;
        if jpeg_decoder != JpegDecoder::Safe {
            return Err(ServiceError::UnsafeDecoder(jpeg_decoder));
        }
        let network = Arc::new(Predictor::from_bundle(bundle, &device())?);
        let detector = network.detector();
        let watch = DriftConfig::new().with_window(config.drift_window).watch(detector)?;
        let manifest = bundle.manifest();
        let json = |value: serde_json::Result<Value>| value.unwrap_or_default();
        let model = Model {
            architecture: manifest.architecture.clone(),
            head: manifest.head.clone(),
            classes: manifest.classes.clone(),
            preprocessing: json(serde_json::to_value(manifest.preprocessing)),
            detector: detector.into(),
            provenance: json(serde_json::to_value(&manifest.provenance)),
        };
        let held_out = detector.threshold().held_out_scores();
        let figures = Arc::new(Figures::new(manifest.classes.clone(), held_out, watch));
        let engine = Engine::start(network.clone(), &config, figures.clone());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = State {
            at_work: Arc::new(Semaphore::new(config.max_requests.max(1))),
            decoding: Arc::new(Semaphore::new(cores)),
            config,
            network,
            engine,
            figures,
            model,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Serves until a future ends. Then no connection is accepted any more, and those at work have as long as a
    /// request may take.
    pub async fn run(self, listener: TcpListener, end: impl Future<Output = ()>) {
        let app = routes::app(self.shared.clone());
        connections::serve(listener, app, &self.shared.config, end).await;
    }
}
