//! The file: a safetensors file whose header holds a manifest and a sum over all of it.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, backend::Backend};
use isomax_burn::posthoc::{PostHocDetector, PostHocHeader, TENSOR_PREFIX};
use isomax_burn::{AnyDetector, Detector, DetectorError, HeadKind, OodHead, OodScore, atomic_file};
use isomax_models::store::{self, StoredTensor};
use isomax_models::{Architecture, Backbone, Model, ModelConfig};

mod error;
mod format;
mod manifest;

pub use error::BundleError;
pub use manifest::{Manifest, Provenance};

/// A trained network with all that is needed to decide on images, in one file.
///
/// The file is one of the safetensors library: the weights by PyTorch's names, and in its header the
/// [`Manifest`] as JSON under `isomax_bundle` and a SHA-256 sum over manifest and weights under
/// `isomax_sha256`. A file that was cut short or changed in any bit is refused. The sum tells damage, not
/// forgery: whoever can write a bundle can write its sum.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Distribution, Tensor};
/// use isomax_bundle::{Bundle, Manifest, Normalization, Predictor, Preprocessing, Provenance};
/// use isomax_burn::{DetectorConfig, HeadKind};
/// use isomax_models::{Backbone, CifarResNetConfig};
///
/// # let device = Default::default();
/// # let network = CifarResNetConfig::new(8, 2).with_head(HeadKind::IsoMaxPlus).init::<Flex>(&device);
/// # let held_out = Tensor::random([20, 3, 32, 32], Distribution::Default, &device);
/// # let detector = DetectorConfig::new().fit(network.head(), network.forward(held_out))?;
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("ants-bees.safetensors");
/// let manifest = Manifest {
///     architecture: "resnet-8".to_owned(),
///     head: "isomax+".to_owned(),
///     classes: vec!["ants".to_owned(), "bees".to_owned()],
///     preprocessing: Preprocessing::whole(32, Normalization::CIFAR10),
///     detector: Some(serde_json::from_str(&detector.to_json())?),
///     provenance: Provenance::default(),
/// };
/// Bundle::new(manifest, &network)?.save(&path)?;
///
/// let bundle = Bundle::load(&path)?;
/// let predictor = Predictor::<Flex, _>::from_bundle(&bundle, &device)?;
/// assert_eq!(bundle.manifest().classes.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Bundle {
    manifest: Manifest,
    /// The whole file.
    bytes: Vec<u8>,
    name: PathBuf,
}

/// What errors call a bundle that is in no file yet.
const UNSAVED: &str = "bundle";

/// Largest file that is read: many times the largest network for images.
const MAX_BYTES: u64 = 8 << 30;

impl Bundle {
    /// The version of the format that is written and read.
    pub const VERSION: u64 = 1;

    /// A network as it is, with what belongs to it.
    ///
    /// # Errors
    ///
    /// [`BundleError::Invalid`] or [`BundleError::OtherHead`] if the manifest does not fit the network or itself,
    /// and [`BundleError::Weights`] if the weights cannot be read back from the device.
    pub fn new<B: Backend, N: Backbone<B> + Module<B>>(
        manifest: Manifest,
        network: &N,
    ) -> Result<Self, BundleError> {
        if manifest.has_posthoc() {
            let what = "a post-hoc detector without its tensors: `Bundle::with_posthoc` has them";
            let name = PathBuf::from(UNSAVED);
            return Err(BundleError::Invalid { name, what: what.to_owned() });
        }
        Self::assemble(manifest, network, Vec::new())
    }

    /// As [`new`](Self::new), with a detector that was fitted on features, in place of the one of the manifest.
    ///
    /// # Errors
    ///
    /// As there, and [`BundleError::Detector`] if the detector belongs to another head.
    pub fn with_posthoc<B: Backend, N: Backbone<B> + Module<B>>(
        mut manifest: Manifest,
        network: &N,
        detector: &PostHocDetector<B>,
    ) -> Result<Self, BundleError> {
        let failed = |source| BundleError::detector(Path::new(UNSAVED), source);
        detector.check_head(network.head()).map_err(failed)?;
        let json = serde_json::from_str(&detector.to_json());
        manifest.detector = Some(json.map_err(|error| BundleError::Invalid {
            name: PathBuf::from(UNSAVED),
            what: error.to_string(),
        })?);
        let stored = |(name, data): (&str, burn::tensor::TensorData)| {
            let (name, shape) = (format!("{TENSOR_PREFIX}{name}"), data.shape.to_vec());
            StoredTensor::new(name, shape, &data.iter::<f32>().collect::<Vec<f32>>())
        };
        Self::assemble(manifest, network, detector.tensors().into_iter().map(stored).collect())
    }

    fn assemble<B: Backend, N: Backbone<B> + Module<B>>(
        manifest: Manifest,
        network: &N,
        mut tensors: Vec<StoredTensor>,
    ) -> Result<Self, BundleError> {
        let name = PathBuf::from(UNSAVED);
        check(&manifest, &name)?;
        check_head(&manifest, network, &name)?;
        tensors.extend(store::tensors(network)?);
        let bytes = format::write(&manifest, tensors)
            .map_err(|what| BundleError::Invalid { name: name.clone(), what })?;
        Ok(Self { manifest, bytes, name })
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`BundleError`] if it cannot be read, is no bundle or one of a newer version, or was damaged.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, BundleError> {
        let path = path.as_ref();
        let io = |source| BundleError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        // What it says of its length is none of a pipe, and no promise.
        let length = file.metadata().map_err(io)?.len();
        let mut bytes = Vec::new();
        if length <= MAX_BYTES {
            bytes.reserve_exact(length as usize);
            file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
        }
        if length.max(bytes.len() as u64) > MAX_BYTES {
            let found = format!("it is larger than {} GiB", MAX_BYTES >> 30);
            return Err(BundleError::NotABundle { name: path.to_owned(), found });
        }
        Self::from_bytes(bytes, path)
    }

    /// Reads the bytes of a file, wherever they come from.
    ///
    /// # Arguments
    ///
    /// - `name`: what errors call it
    ///
    /// # Errors
    ///
    /// As of [`load`](Self::load).
    pub fn from_bytes(bytes: Vec<u8>, name: impl Into<PathBuf>) -> Result<Self, BundleError> {
        let name = name.into();
        let manifest = format::read(&bytes, &name)?;
        check(&manifest, &name)?;
        Ok(Self { manifest, bytes, name })
    }

    /// The bytes of the file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`BundleError::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), BundleError> {
        let path = path.as_ref();
        atomic_file::write(path, |file| file.write_all(&self.bytes))
            .map_err(|source| BundleError::Io { path: path.to_owned(), source })
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The file that it was read from, for messages.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Its detector: one whose score is one of [`Score`](isomax_burn::Score), or a post-hoc one.
    ///
    /// # Errors
    ///
    /// [`BundleError::NoDetector`] or [`BundleError::Detector`].
    pub fn detector<B: Backend>(&self, device: &B::Device) -> Result<AnyDetector<B>, BundleError> {
        let json = self.detector_json()?;
        let failed = |source| BundleError::detector(&self.name, source);
        if !self.manifest.has_posthoc() {
            return Ok(Detector::from_json(json.as_bytes()).map_err(failed)?.into());
        }
        let header = PostHocHeader::from_json(&json).map_err(failed)?;
        let tensor =
            |name: &'static str| format::floats(&self.bytes, &format!("{TENSOR_PREFIX}{name}"));
        Ok(PostHocDetector::from_parts(header, tensor, device).map_err(failed)?.into())
    }

    /// Its detector, whose score is one of your own.
    ///
    /// # Errors
    ///
    /// As of [`detector`](Self::detector).
    pub fn detector_with(&self, score: impl OodScore) -> Result<Detector, BundleError> {
        Detector::from_json_with(self.detector_json()?.as_bytes(), score)
            .map_err(|source| BundleError::detector(&self.name, source))
    }

    fn detector_json(&self) -> Result<String, BundleError> {
        let detector = self.manifest.detector.as_ref();
        let detector =
            detector.ok_or_else(|| BundleError::NoDetector { name: self.name.clone() })?;
        Ok(detector.to_string())
    }

    /// Its network, which must be one of isomax-models.
    ///
    /// # Errors
    ///
    /// [`BundleError::Network`] if it is another one, [`BundleError::OtherHead`] if its head has been made by someone,
    /// and [`BundleError::Weights`] if the weights do not fit.
    pub fn network<B: Backend>(&self, device: &B::Device) -> Result<Model<B>, BundleError> {
        let unknown = |source| BundleError::Network { name: self.name.clone(), source };
        let architecture: Architecture = self.manifest.architecture.parse().map_err(unknown)?;
        let head: HeadKind = self.manifest.head.parse().map_err(unknown)?;
        let config = ModelConfig::new(architecture, self.manifest.classes.len()).with_head(head);
        let mut network = config.init::<B>(device);
        self.load_into(&mut network)?;
        Ok(network)
    }

    /// Gives a network the weights of the bundle: one of your own, of the architecture that was bundled.
    ///
    /// # Errors
    ///
    /// [`BundleError::OtherHead`] or [`BundleError::Weights`]; the network is then as it was.
    pub fn load_into<B: Backend, N: Backbone<B> + Module<B>>(
        &self,
        network: &mut N,
    ) -> Result<(), BundleError> {
        check_head(&self.manifest, network, &self.name)?;
        // A name may stand for a network of any size: no memory is taken for one that the file has not.
        let (expected, found) = (num_values::<B, N>(network), format::num_values(&self.bytes));
        if expected > found.saturating_add(SLACK) {
            let what = format!(
                "{} has {expected} weights, but the file holds {found}",
                self.manifest.architecture
            );
            return Err(BundleError::Invalid { name: self.name.clone(), what });
        }
        Ok(store::load_backbone_bytes(network, self.bytes.clone(), &self.name)?)
    }
}

/// Values that a file need not have: the temperature of a head.
const SLACK: u64 = 1;

/// Number of values of a network, without giving memory to any of them.
fn num_values<B: Backend, M: Module<B>>(module: &M) -> u64 {
    struct Count(u64);

    impl<B: Backend> ModuleVisitor<B> for Count {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0 = self.0.saturating_add(param.lazy_shape().num_elements() as u64);
        }
    }

    let mut count = Count(0);
    module.visit(&mut count);
    count.0
}

/// Checks what a manifest says, apart from any network.
fn check(manifest: &Manifest, name: &Path) -> Result<(), BundleError> {
    let invalid = |what: String| BundleError::Invalid { name: name.to_owned(), what };
    let Manifest { classes, preprocessing, detector, .. } = manifest;
    if classes.is_empty() || classes.iter().any(String::is_empty) {
        return Err(invalid("expected one class at least, each with a name".to_owned()));
    }
    preprocessing.check().map_err(|error| invalid(error.to_string()))?;
    let Some(detector) = detector else { return Ok(()) };
    let json = detector.to_string();
    let (head, num_classes) = if manifest.has_posthoc() {
        let header = PostHocHeader::from_json(&json)
            .map_err(|source| BundleError::detector(name, source))?;
        (Some(header.head().to_owned()), Some(header.num_classes()))
    } else {
        match Detector::from_json(json.as_bytes()) {
            Ok(detector) => (detector.head().map(str::to_owned), detector.num_classes()),
            // Of a score of one's own, which `detector_with` brings.
            Err(DetectorError::UnknownScore(_)) => return Ok(()),
            Err(source) => return Err(BundleError::detector(name, source)),
        }
    };
    if head.as_ref() != Some(&manifest.head) {
        return Err(invalid(format!(
            "a detector for the head {} beside the head {}",
            head.as_deref().unwrap_or("of no network"),
            manifest.head
        )));
    }
    let (found, expected) = (num_classes.unwrap_or_default(), classes.len());
    match found == expected {
        true => Ok(()),
        false => Err(invalid(format!("a detector for {found} classes beside {expected} classes"))),
    }
}

fn check_head<B: Backend, N: Backbone<B>>(
    manifest: &Manifest,
    network: &N,
    name: &Path,
) -> Result<(), BundleError> {
    let head = network.head();
    let expected = (manifest.head.clone(), manifest.classes.len());
    let found = (head.name().to_owned(), head.num_classes());
    match expected == found {
        true => Ok(()),
        false => Err(BundleError::OtherHead { name: name.to_owned(), expected, found }),
    }
}

#[cfg(test)]
mod tests;
