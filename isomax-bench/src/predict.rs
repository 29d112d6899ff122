//! From image files to decisions, in constant memory. See [`run`] for an example.

use std::io::{self, BufRead};
use std::iter;
use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use isomax_burn::{Decision, DetectorError};
use isomax_models::Backbone;
use rayon::prelude::*;

/// A network with its detector and its preprocessing.
pub use isomax_bundle::Predictor;
use isomax_bundle::images_at_once;

use crate::data::walk::{Step, Walk};
use crate::data::{DecodeError, Preprocessing, ReadError, read_picture};

/// Images that are in memory at once.
const CHUNK: usize = 256;

/// What became of one file. See [`run`] for an example.
#[derive(Debug)]
#[non_exhaustive]
pub struct Prediction {
    /// The file.
    pub path: PathBuf,
    /// What the detector says of it, or why it says nothing.
    pub decision: Result<Decision, PredictError>,
}

/// Why there is no decision on a file. See [`run`] for an example.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no image.
    #[error("expected an image, but {0}")]
    Decode(#[from] DecodeError),
    /// The network overflows on it.
    #[error("the network gives logits that are not finite")]
    NotFinite,
}

impl From<ReadError> for PredictError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Io(error),
            ReadError::Decode(error) => Self::Decode(error),
        }
    }
}

/// Decides on image files, and gives each prediction to `show`, in the order of the files. A file that is no
/// image is a prediction with an error; the others go on.
///
/// ```
/// use isomax_bench::backend::{InferenceBackend, device};
/// use isomax_bench::data::{Normalization, Preprocessing};
/// use isomax_bench::predict::{Predictor, files, run};
/// # use burn::tensor::{Distribution, Tensor};
/// # use isomax_burn::{DetectorConfig, HeadKind};
/// # use isomax_models::{Backbone, CifarResNetConfig};
/// # let config = CifarResNetConfig::new(8, 3).with_head(HeadKind::IsoMaxPlus);
/// # let network = config.init::<InferenceBackend>(&device());
/// # let images = Tensor::random([20, 3, 32, 32], Distribution::Default, &device());
/// # let detector = DetectorConfig::new().fit(network.head(), network.forward(images))?;
/// # let folder = tempfile::tempdir()?;
/// # image::RgbImage::new(40, 30).save(folder.path().join("photo.png"))?;
/// # let photos = folder.path().to_owned();
///
/// let preprocessing = Preprocessing::whole(32, Normalization::CIFAR10);
/// let predictor =
///     Predictor::<InferenceBackend, _>::new(network, detector, preprocessing, &device())?;
/// run(&predictor, files(vec![photos]), |prediction| {
///     match prediction.decision {
///         Ok(decision) => println!("class {}, ID: {}", decision.class, decision.in_distribution),
///         Err(error) => eprintln!("{}: {error}", prediction.path.display()),
///     }
///     Ok::<(), isomax_burn::DetectorError>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`DetectorError`] if the detector does not fit the network, or what `show` returns.
pub fn run<B: Backend, N: Backbone<B, Input = Tensor<B, 4>>, E: From<DetectorError>>(
    predictor: &Predictor<B, N>,
    files: impl Iterator<Item = PathBuf>,
    mut show: impl FnMut(Prediction) -> Result<(), E>,
) -> Result<(), E> {
    let mut files = files.peekable();
    while files.peek().is_some() {
        let chunk: Vec<PathBuf> = files.by_ref().take(CHUNK).collect();
        let preprocessing = predictor.preprocessing();
        let pictures: Vec<Result<Vec<u8>, PredictError>> =
            chunk.par_iter().map(|path| read(path, preprocessing)).collect();
        let whole: Vec<&[u8]> = pictures.iter().flatten().map(Vec::as_slice).collect();
        // One image that makes the network overflow is no reason to lose the others.
        let mut decisions = Vec::new();
        for batch in whole.chunks(images_at_once([preprocessing.size as usize; 2], CHUNK)) {
            decisions.extend(predictor.decide(batch)?);
        }
        let mut decisions = decisions.into_iter();
        for (path, picture) in chunk.into_iter().zip(pictures) {
            let decide = |_| decisions.next().flatten().ok_or(PredictError::NotFinite);
            show(Prediction { path, decision: picture.and_then(decide) })?;
        }
    }
    Ok(())
}

fn read(path: &Path, preprocessing: &Preprocessing) -> Result<Vec<u8>, PredictError> {
    let Preprocessing { jpeg_decoder, orientation, .. } = *preprocessing;
    Ok(preprocessing.pixels(read_picture(path, jpeg_decoder, orientation)?))
}

/// The files that are named: a file stands for itself, a folder for all images in it at any depth, in
/// the order of their names, `-` for the lines of standard input. Folders are walked as files are asked
/// for, so that there may be any number of them. Files in folders that are neither called as images
/// nor begin as such are passed over, and what systems leave there; a warning tells how many there
/// were. A folder that cannot be read comes as if it were a file.
///
/// ```
/// use isomax_bench::predict::files;
///
/// # let folder = tempfile::tempdir()?;
/// for name in ["b.png", "a.png", "README.txt"] {
///     std::fs::write(folder.path().join(name), "")?;
/// }
/// let found = files(vec![folder.path().to_owned()]);
/// let names: Vec<_> = found.filter_map(|path| Some(path.file_name()?.to_owned())).collect();
/// assert_eq!(names, ["a.png", "b.png"]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn files(inputs: Vec<PathBuf>) -> impl Iterator<Item = PathBuf> {
    inputs.into_iter().flat_map(|input| -> Box<dyn Iterator<Item = PathBuf>> {
        if input.as_os_str() == "-" {
            // Names need not be text; what cannot be read ends the list, with a complaint.
            let lines = io::stdin().lock().split(b'\n').map_while(|line| {
                line.inspect_err(|error| log::error!("standard input: {error}")).ok()
            });
            return Box::new(lines.map(path_of).filter(|path| !path.as_os_str().is_empty()));
        }
        Box::new(images_below(&input))
    })
}

/// The name of a file, as a line has it.
fn path_of(mut line: Vec<u8>) -> PathBuf {
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    #[cfg(unix)]
    let name = <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(line);
    #[cfg(not(unix))]
    let name = String::from_utf8_lossy(&line).into_owned();
    PathBuf::from(name)
}

/// The images in a folder, with a warning at the end about what was passed over; a file itself.
fn images_below(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let (mut walk, path) = (Walk::new(path), path.to_owned());
    iter::from_fn(move || {
        for step in walk.by_ref() {
            match step {
                Ok(Step::Image(path, _)) => return Some(path),
                Ok(Step::Folder(..)) => {}
                // Whoever reads it as a file learns why it cannot be.
                Err(error) => return Some(error.path),
            }
        }
        if let Some(told) = walk.passed_over().told("file", "passed over") {
            log::warn!("{}: {told}", path.display());
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Normalization;
    use burn::backend::Flex;
    use burn::tensor::Distribution;
    use isomax_burn::{DetectorConfig, HeadKind};
    use isomax_models::{Architecture, ModelConfig};
    use std::error::Error;
    use std::fs;

    type Tested = Result<(), Box<dyn Error>>;

    #[test]
    fn folders_are_walked_in_order() -> Tested {
        let folder = tempfile::tempdir()?;
        for name in [
            "b/2.png",
            "b/1.png",
            "a/c/3.png",
            "0.png",
            ".hidden/x.png",
            "b/Thumbs.db",
            "b/._1.png",
            "README.txt",
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().ok_or("no folder")?)?;
            fs::write(path, "")?;
        }
        // A link that leads back is no way to more images.
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), folder.path().join("a/back"))?;
        let named = ["b/2.png", "b/Thumbs.db", "absent.csv"].map(|name| folder.path().join(name));
        let inputs = named.into_iter().chain([folder.path().to_owned()]).collect();
        let names: Vec<String> = files(inputs)
            .filter_map(|path| Some(path.strip_prefix(folder.path()).ok()?.display().to_string()))
            .collect();
        assert_eq!(
            names,
            ["b/2.png", "b/Thumbs.db", "absent.csv", "0.png", "a/c/3.png", "b/1.png", "b/2.png"]
        );
        Ok(())
    }

    #[test]
    fn every_file_gets_its_decision_or_its_error() -> Tested {
        let device = Default::default();
        let architecture = Architecture::CifarResNet { depth: 8 };
        let network =
            ModelConfig::new(architecture, 3).with_head(HeadKind::IsoMaxPlus).init::<Flex>(&device);
        let noise = Tensor::random([20, 3, 32, 32], Distribution::Default, &device);
        let detector = DetectorConfig::new().fit(network.head(), network.forward(noise))?;
        let preprocessing = Preprocessing::whole(32, Normalization::CIFAR10);
        let predictor = Predictor::new(network, detector, preprocessing, &device)?;

        let folder = tempfile::tempdir()?;
        let picture = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8, y as u8, 7]));
        picture.save(folder.path().join("1.png"))?;
        fs::write(folder.path().join("2.png"), "no image")?;
        picture.save(folder.path().join("3.png"))?;
        fs::write(folder.path().join("4.jpg"), "")?;
        fs::write(folder.path().join("5.txt"), "no image, and not called so")?;
        let mut found = Vec::new();
        let all = files(vec![folder.path().to_owned(), folder.path().join("absent.png")]);
        run(&predictor, all, |prediction| {
            found.push(prediction.decision);
            Ok::<_, DetectorError>(())
        })?;
        assert_eq!(
            found.iter().map(Result::is_ok).collect::<Vec<_>>(),
            [true, false, true, false, false]
        );
        assert_eq!(found[0].as_ref().ok(), found[2].as_ref().ok());
        assert!(matches!(found[1], Err(PredictError::Decode(DecodeError::Kind(_)))));
        assert!(matches!(found[3], Err(PredictError::Decode(DecodeError::Empty))));
        assert!(matches!(found[4], Err(PredictError::Io(_))));
        Ok(())
    }
}
