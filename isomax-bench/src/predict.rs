//! From image files to decisions, in constant memory.

use std::fs;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use isomax_burn::{Decision, Detector, DetectorError};
use isomax_models::Model;
use rayon::prelude::*;

use crate::data::{Images, Normalization, decode, resize};

/// Height and width that images are brought to, as all published networks were trained on.
const SIDE: usize = 32;
/// Images that are in memory at once.
const CHUNK: usize = 256;

/// A network with its detector, for images of any size.
#[derive(Debug)]
pub struct Predictor<B: Backend> {
    network: Model<B>,
    detector: Detector,
    normalization: Normalization,
    device: B::Device,
}

/// What became of one file.
#[derive(Debug)]
pub struct Prediction {
    /// The file.
    pub path: PathBuf,
    /// What the detector says of it, or why it is no image.
    pub decision: Result<Decision, String>,
}

impl<B: Backend> Predictor<B> {
    /// A network, the detector that was fitted on its outputs, and the normalisation of the images
    /// that it was trained on.
    pub fn new(
        network: Model<B>,
        detector: Detector,
        normalization: Normalization,
        device: &B::Device,
    ) -> Self {
        Self { network, detector, normalization, device: device.clone() }
    }

    /// Decides on image files, PNG or JPEG, and hands each prediction on in the order of the files.
    /// Images of another size than 32 × 32 are resized to it, as [`resize`] does. A file that is no
    /// image is a prediction with an error; the others go on.
    ///
    /// # Errors
    ///
    /// [`DetectorError`] if the detector does not fit the network, or what `show` returns.
    pub fn run<E: From<DetectorError>>(
        &self,
        files: impl Iterator<Item = PathBuf>,
        mut show: impl FnMut(Prediction) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut files = files.peekable();
        while files.peek().is_some() {
            let chunk: Vec<PathBuf> = files.by_ref().take(CHUNK).collect();
            let pictures: Vec<Result<Vec<u8>, String>> =
                chunk.par_iter().map(|path| read(path)).collect();
            let mut decisions = self.decide(&pictures)?.into_iter();
            for (path, picture) in chunk.into_iter().zip(pictures) {
                let decision = picture.and_then(|_| {
                    decisions.next().ok_or_else(|| "the network gave no output".to_owned())
                });
                show(Prediction { path, decision })?;
            }
        }
        Ok(())
    }

    /// One decision for each picture that could be read.
    fn decide(&self, pictures: &[Result<Vec<u8>, String>]) -> Result<Vec<Decision>, DetectorError> {
        let whole: Vec<&Vec<u8>> = pictures.iter().flatten().collect();
        if whole.is_empty() {
            return Ok(Vec::new());
        }
        let images = Images {
            size: [SIDE, SIDE],
            labels: vec![0; whole.len()],
            bytes: whole.into_iter().flatten().copied().collect(),
            classes: Vec::new(),
        };
        let batch = images.tensor(0..images.len(), &self.normalization, &self.device);
        self.detector.decide(self.network.forward(batch), self.network.head().temperature())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let picture =
        decode(&bytes).map_err(|error| format!("expected a PNG or JPEG image, but {error}"))?;
    Ok(resize(picture, [SIDE, SIDE]).into_raw())
}

/// The files that are named: a file stands for itself, a folder for all in it at any depth, in the
/// order of their names, `-` for the lines of standard input. Folders are walked as files are asked
/// for, so that there may be any number of them. Names that start with a dot are passed over in
/// folders.
pub fn files(inputs: Vec<PathBuf>) -> impl Iterator<Item = PathBuf> {
    inputs.into_iter().flat_map(|input| -> Box<dyn Iterator<Item = PathBuf>> {
        if input.as_os_str() == "-" {
            // Names need not be text; what cannot be read ends the list, with a complaint.
            let lines = io::stdin().lock().split(b'\n').map_while(|line| {
                line.inspect_err(|error| log::error!("standard input: {error}")).ok()
            });
            return Box::new(lines.map(path_of).filter(|path| !path.as_os_str().is_empty()));
        }
        Box::new(Walk { left: vec![vec![input]], open: Vec::new() })
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

/// A walk through folders that holds the entries of those on the way only.
struct Walk {
    /// What is left of each folder on the way, the next last; the first is that of the names given.
    left: Vec<Vec<PathBuf>>,
    /// The folders on the way: links may lead back to them.
    open: Vec<PathBuf>,
}

impl Iterator for Walk {
    type Item = PathBuf;

    fn next(&mut self) -> Option<PathBuf> {
        loop {
            let Some(path) = self.left.last_mut()?.pop() else {
                self.left.pop();
                self.open.pop();
                continue;
            };
            if !path.is_dir() {
                return Some(path);
            }
            let (entries, own) = match (fs::read_dir(&path), path.canonicalize()) {
                (Ok(_), Ok(own)) if self.open.contains(&own) => continue,
                (Ok(entries), Ok(own)) => (entries.flatten(), own),
                // Whoever reads it as a file learns why it cannot be.
                _ => return Some(path),
            };
            let mut entries: Vec<PathBuf> = entries
                .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
                .map(|entry| entry.path())
                .collect();
            entries.sort_by(|a, b| b.cmp(a));
            self.left.push(entries);
            self.open.push(own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use burn::tensor::{Distribution, Tensor};
    use isomax_burn::{DetectorConfig, HeadKind};
    use isomax_models::{Architecture, ModelConfig};
    use std::error::Error;

    type Tested = Result<(), Box<dyn Error>>;

    #[test]
    fn folders_are_walked_in_order() -> Tested {
        let folder = tempfile::tempdir()?;
        for name in ["b/2.png", "b/1.png", "a/c/3.png", "0.png", ".hidden/x.png"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().ok_or("no folder")?)?;
            fs::write(path, "")?;
        }
        // A link that leads back is no way to more images.
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), folder.path().join("a/back"))?;
        let inputs = vec![folder.path().join("b/2.png"), folder.path().to_owned()];
        let names: Vec<String> = files(inputs)
            .filter_map(|path| Some(path.strip_prefix(folder.path()).ok()?.display().to_string()))
            .collect();
        assert_eq!(names, ["b/2.png", "0.png", "a/c/3.png", "b/1.png", "b/2.png"]);
        Ok(())
    }

    #[test]
    fn every_file_gets_its_decision_or_its_error() -> Tested {
        let device = Default::default();
        let architecture = Architecture::CifarResNet { depth: 8 };
        let network =
            ModelConfig::new(architecture, 3).with_head(HeadKind::IsoMaxPlus).init::<Flex>(&device);
        let noise = Tensor::random([20, 3, 32, 32], Distribution::Default, &device);
        let detector =
            DetectorConfig::new(HeadKind::IsoMaxPlus).fit(network.forward(noise), 1.0)?;
        let predictor = Predictor::new(network, detector, Normalization::CIFAR10, &device);

        let folder = tempfile::tempdir()?;
        let picture = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8, y as u8, 7]));
        picture.save(folder.path().join("1.png"))?;
        fs::write(folder.path().join("2.txt"), "no image")?;
        picture.save(folder.path().join("3.png"))?;
        fs::write(folder.path().join("4.jpg"), "")?;
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
        assert_eq!(found[0], found[2]);
        assert!(found[3].as_ref().is_err_and(|error| error.contains("it is empty")));
        Ok(())
    }
}
