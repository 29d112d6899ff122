//! From image files to decisions, in constant memory. See [`Predictor`] for an example.

use std::io::{self, BufRead};
use std::iter;
use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use isomax_burn::{Decision, Detector, DetectorError, HostLogits, OodHead as _};
use rayon::prelude::*;

use crate::data::walk::{Step, Walk};
use crate::data::{
    DecodeError, Images, JpegDecoder, Normalization, ReadError, preprocess, read_picture,
};
use crate::train::ImageNetwork;

/// Height and width of the images that all published networks were trained on.
const SIDE: u32 = 32;
/// Images that are in memory at once.
const CHUNK: usize = 256;

/// A network with its detector, for images of any size.
///
/// ```
/// use isomax_bench::backend::{InferenceBackend, device};
/// use isomax_bench::data::Normalization;
/// use isomax_bench::predict::{Predictor, files};
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
/// let predictor =
///     Predictor::<InferenceBackend, _>::new(network, detector, Normalization::CIFAR10, &device());
/// predictor.run(files(vec![photos]), |prediction| {
///     match prediction.decision {
///         Ok(decision) => println!("class {}, ID: {}", decision.class, decision.in_distribution),
///         Err(error) => eprintln!("{}: {error}", prediction.path.display()),
///     }
///     Ok::<(), isomax_burn::DetectorError>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Predictor<B: Backend, N> {
    network: N,
    detector: Detector,
    normalization: Normalization,
    jpeg: JpegDecoder,
    side: u32,
    device: B::Device,
}

/// What became of one file. See [`Predictor`] for an example.
#[derive(Debug)]
#[non_exhaustive]
pub struct Prediction {
    /// The file.
    pub path: PathBuf,
    /// What the detector says of it, or why it says nothing.
    pub decision: Result<Decision, PredictError>,
}

/// Why there is no decision on a file. See [`Predictor`] for an example.
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

impl<B: Backend, N: ImageNetwork<B>> Predictor<B, N> {
    /// A network, the detector that was fitted on its outputs, and the normalisation of the images
    /// that it was trained on.
    pub fn new(
        network: N,
        detector: Detector,
        normalization: Normalization,
        device: &B::Device,
    ) -> Self {
        let (jpeg, side, device) = (JpegDecoder::default(), SIDE, device.clone());
        Self { network, detector, normalization, jpeg, side, device }
    }

    /// Brings images to `side` × `side` pixels, the size of the images that the network was trained on.
    /// Without this call 32.
    ///
    /// # Panics
    ///
    /// If `side` is 0.
    pub fn with_side(mut self, side: u32) -> Self {
        assert!(side > 0, "images need at least one pixel along each side, got 0");
        self.side = side;
        self
    }

    /// Decodes JPEG files by a decoder of choice.
    pub fn with_jpeg_decoder(mut self, decoder: JpegDecoder) -> Self {
        self.jpeg = decoder;
        self
    }

    /// Decides on image files, and gives each prediction to `show`, in the order of the files. Images of
    /// another size than the training images had are brought to it by [`preprocess()`], as in sets of
    /// images. A file that is no image is a prediction with an error; the others go on.
    ///
    /// # Errors
    ///
    /// [`DetectorError`] if the detector does not fit the network, or what `show` returns.
    pub fn run<E: From<DetectorError>>(
        &self,
        files: impl Iterator<Item = PathBuf>,
        mut show: impl FnMut(Prediction) -> Result<(), E>,
    ) -> Result<(), E> {
        let head = self.network.head();
        self.detector.check_head(head.name(), head.temperature())?;
        let mut files = files.peekable();
        while files.peek().is_some() {
            let chunk: Vec<PathBuf> = files.by_ref().take(CHUNK).collect();
            let (jpeg, side) = (self.jpeg, self.side);
            let pictures: Vec<Result<Vec<u8>, PredictError>> =
                chunk.par_iter().map(|path| read(path, jpeg, side)).collect();
            let mut decisions = self.decide(&pictures)?.into_iter();
            for (path, picture) in chunk.into_iter().zip(pictures) {
                let decision =
                    picture.and_then(|_| decisions.next().unwrap_or(Err(PredictError::NotFinite)));
                show(Prediction { path, decision })?;
            }
        }
        Ok(())
    }

    /// One decision for each picture that could be read.
    fn decide(
        &self,
        pictures: &[Result<Vec<u8>, PredictError>],
    ) -> Result<Vec<Result<Decision, PredictError>>, DetectorError> {
        let whole: Vec<&Vec<u8>> = pictures.iter().flatten().collect();
        if whole.is_empty() {
            return Ok(Vec::new());
        }
        let images = Images {
            size: [self.side as usize; 2],
            labels: vec![0; whole.len()],
            bytes: whole.into_iter().flatten().copied().collect(),
            classes: Vec::new(),
        };
        let batch = images.tensor(0..images.len(), &self.normalization, &self.device);
        let logits = self.network.forward(batch);
        let [_, num_classes] = logits.dims();
        let logits: Vec<f64> = logits.into_data().iter().collect();
        // One image that makes the network overflow is no reason to lose the others.
        let rows = logits.chunks_exact(num_classes.max(1));
        let is_finite: Vec<bool> =
            rows.clone().map(|row| row.iter().all(|logit| logit.is_finite())).collect();
        let finite = rows.zip(&is_finite).filter(|(_, finite)| **finite);
        let finite: Vec<f64> = finite.flat_map(|(row, _)| row.iter().copied()).collect();
        let finite = HostLogits::new(finite, num_classes)?;
        let mut decisions = self.detector.decide_host(&finite)?.into_iter();
        let decide = |finite: bool| match finite {
            true => decisions.next().ok_or(PredictError::NotFinite),
            false => Err(PredictError::NotFinite),
        };
        Ok(is_finite.into_iter().map(decide).collect())
    }
}

fn read(path: &Path, jpeg: JpegDecoder, side: u32) -> Result<Vec<u8>, PredictError> {
    Ok(preprocess(read_picture(path, jpeg)?, side).into_raw())
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
    use burn::backend::Flex;
    use burn::tensor::{Distribution, Tensor};
    use isomax_burn::{DetectorConfig, HeadKind};
    use isomax_models::{Architecture, Backbone as _, ModelConfig};
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
        let predictor = Predictor::new(network, detector, Normalization::CIFAR10, &device);

        let folder = tempfile::tempdir()?;
        let picture = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8, y as u8, 7]));
        picture.save(folder.path().join("1.png"))?;
        fs::write(folder.path().join("2.png"), "no image")?;
        picture.save(folder.path().join("3.png"))?;
        fs::write(folder.path().join("4.jpg"), "")?;
        fs::write(folder.path().join("5.txt"), "no image, and not called so")?;
        let mut found = Vec::new();
        let all = files(vec![folder.path().to_owned(), folder.path().join("absent.png")]);
        predictor.run(all, |prediction| {
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
