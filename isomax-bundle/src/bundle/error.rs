use std::io;
use std::path::{Path, PathBuf};

use isomax_burn::{DetectorError, UnknownName};
use isomax_models::ImageShapeError;
use isomax_models::store::StoreError;

use crate::PredictorError;

/// Why a bundle cannot be read, written or used.
///
/// ```
/// use isomax_bundle::{Bundle, BundleError};
///
/// let error = Bundle::from_bytes(b"no bundle".to_vec(), "upload").unwrap_err();
/// assert!(matches!(error, BundleError::NotABundle { .. }));
/// assert!(error.to_string().starts_with("upload: expected a bundle"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The system could not read or write the file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is something else, such as weights by themselves.
    #[error(
        "{}: expected a bundle, as `isomax-bench export` writes it, but {found}", name.display()
    )]
    NotABundle {
        /// The file.
        name: PathBuf,
        /// What it is.
        found: String,
    },
    /// The file was cut short or changed.
    #[error("{}: the bundle is damaged: {what}", name.display())]
    Damaged {
        /// The file.
        name: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The file is of a version that this program does not know.
    #[error(
        "{}: a bundle of version {found}; this program reads version {newest}: use a newer one",
        name.display()
    )]
    Version {
        /// The file.
        name: PathBuf,
        /// The version that is read.
        newest: u64,
        /// The version of the file.
        found: u64,
    },
    /// The file says what cannot be.
    #[error("{}: the bundle says what cannot be: {what}", name.display())]
    Invalid {
        /// The file.
        name: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// There is no detector in it, so that nothing can be decided.
    #[error(
        "{}: the bundle has no detector: its training held out no images to fit one on, see --calibration-images",
        name.display()
    )]
    NoDetector {
        /// The file.
        name: PathBuf,
    },
    /// Its detector cannot be used.
    #[error("{}: {source}", name.display())]
    Detector {
        /// The file.
        name: PathBuf,
        /// What is wrong.
        source: DetectorError,
    },
    /// The network is none of isomax-models.
    #[error("{}: {source}; `Bundle::load_into` takes networks of your own", name.display())]
    Network {
        /// The file.
        name: PathBuf,
        /// What it is called.
        source: UnknownName,
    },
    /// The network has another head or other classes than the bundle.
    #[error(
        "{}: a bundle with the head {} and {} classes, but the network has {} and {}",
        name.display(), expected.0, expected.1, found.0, found.1
    )]
    OtherHead {
        /// The file.
        name: PathBuf,
        /// Head and number of classes of the bundle.
        expected: (String, usize),
        /// Head and number of classes of the network.
        found: (String, usize),
    },
    /// The network does not take images of the size of the bundle.
    #[error("{}: {source}", name.display())]
    Images {
        /// The file.
        name: PathBuf,
        /// What the network takes.
        source: ImageShapeError,
    },
    /// The weights do not fit the network.
    #[error(transparent)]
    Weights(#[from] StoreError),
}

impl BundleError {
    pub(crate) fn images(name: &Path, source: ImageShapeError) -> Self {
        Self::Images { name: name.to_owned(), source }
    }

    pub(crate) fn predictor(name: &Path, error: PredictorError) -> Self {
        match error {
            PredictorError::Images(source) => Self::images(name, source),
            PredictorError::Detector(source) => Self::detector(name, source),
        }
    }

    pub(crate) fn detector(name: &Path, source: DetectorError) -> Self {
        Self::Detector { name: name.to_owned(), source }
    }
}
