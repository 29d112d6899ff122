//! Folders of images: a folder in them for each class, or one class alone.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::Images;
use super::decode::{DecodeError, JpegDecoder, Picture, ReadError, read_picture};
use super::normalization::CHANNELS;
use super::preprocess::{self, preprocess};
use super::tally::{Tally, many};
use super::walk::{Step, Walk, WalkError};
use crate::progress::{self, Progress};

/// Why a folder of images cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageFolderError {
    /// A folder cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The JPEG decoder is not in this build.
    #[error(transparent)]
    Decoder(DecodeError),
    /// More than half of the images cannot be read, so that the set would be another one.
    #[error("{}: {broken} of {images} images cannot be read; {}: {source}", path.display(), first.display())]
    Broken {
        /// The folder.
        path: PathBuf,
        /// Number of images.
        images: usize,
        /// Number of those that cannot be read.
        broken: usize,
        /// The first of them.
        first: PathBuf,
        /// Why it cannot be read.
        source: ReadError,
    },
    /// Images differ in size.
    #[error(
        "{}: expected {} × {} pixels as in {}, but found {} × {}",
        path.display(), expected[1], expected[0], first.display(), found[1], found[0]
    )]
    Size {
        /// The image that differs.
        path: PathBuf,
        /// Its `[height, width]`.
        found: [usize; 2],
        /// The first image.
        first: PathBuf,
        /// Its `[height, width]`.
        expected: [usize; 2],
    },
    /// More pixels than there is memory for.
    #[error(
        "{}: {images} images of {} × {} pixels do not fit into memory; smaller ones are needed",
        path.display(), size[1], size[0]
    )]
    TooLarge {
        /// The folder.
        path: PathBuf,
        /// Number of images.
        images: usize,
        /// `[height, width]` of each.
        size: [usize; 2],
    },
    /// More classes than labels can tell apart.
    #[error("{}: expected at most 65536 folders, one for each class, but found {found}", path.display())]
    Classes {
        /// The folder.
        path: PathBuf,
        /// Number of folders in it.
        found: usize,
    },
    /// A folder without images.
    #[error("{}: expected images or folders of images, but found none{}", path.display(), among(*others))]
    Empty {
        /// The folder.
        path: PathBuf,
        /// Number of files in it that are no images.
        others: usize,
    },
}

fn among(others: usize) -> String {
    if others == 0 { String::new() } else { format!(" among {}", many(others, "file")) }
}

impl From<WalkError> for ImageFolderError {
    fn from(WalkError { path, source }: WalkError) -> Self {
        Self::Io { path, source }
    }
}

/// How a folder of images is read.
#[derive(Clone)]
pub struct FolderOptions {
    /// The height and width that images are brought to, as [`preprocess()`] does it. Without one, all
    /// must have the same size.
    pub side: Option<u32>,
    /// What decodes JPEG files.
    pub jpeg: JpegDecoder,
    /// Shows how many images are decoded.
    pub progress: Arc<dyn Progress>,
}

impl Default for FolderOptions {
    fn default() -> Self {
        Self { side: None, jpeg: JpegDecoder::default(), progress: progress::silent() }
    }
}

impl fmt::Debug for FolderOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { side, jpeg, progress: _ } = self;
        let mut shown = f.debug_struct("FolderOptions");
        shown.field("side", side).field("jpeg", jpeg).finish_non_exhaustive()
    }
}

impl FolderOptions {
    /// A name for all that the pixels depend on.
    pub(super) fn key(&self) -> String {
        let size = match self.side {
            Some(side) => format!("{}-{side}", preprocess::RULE),
            None => "as-they-are".to_owned(),
        };
        format!("{size}-{}", self.jpeg)
    }

    fn read(&self, path: &Path) -> Result<Picture, ReadError> {
        let picture = read_picture(path, self.jpeg)?;
        Ok(match self.side {
            Some(side) => preprocess(picture, side),
            None => picture,
        })
    }
}

/// The images of a folder, class after class, and what else is there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listing {
    path: PathBuf,
    pub classes: Vec<String>,
    /// Each file with the index of its class.
    pub files: Vec<(PathBuf, u16)>,
    /// Files that are no images.
    others: Tally,
    /// Images beside the folders of the classes.
    outside: Tally,
    /// Folders without images.
    empty: Tally,
}

impl Images {
    /// Reads a folder of images of one size, decoding on all cores.
    ///
    /// Every folder in it that holds images is a class, with its images at any depth; without such
    /// folders, the images make one class. Classes and images are in the order of their names. Files
    /// that are no images are passed over, and so are images beside the folders of classes, unless
    /// they outnumber those in the folders: then all are one class. Images that cannot be read are
    /// left out, if they are not more than half. A warning tells how many there were of each.
    ///
    /// # Errors
    ///
    /// [`ImageFolderError`] if a folder cannot be read or has no images, if most of its images cannot
    /// be read, or if sizes differ.
    pub fn from_folder(path: impl AsRef<Path>) -> Result<Self, ImageFolderError> {
        Self::from_folder_with(path, &FolderOptions::default())
    }

    /// As [`from_folder`](Self::from_folder), with options.
    ///
    /// # Errors
    ///
    /// As [`from_folder`](Self::from_folder), and if the JPEG decoder is not in this build.
    pub fn from_folder_with(
        path: impl AsRef<Path>,
        options: &FolderOptions,
    ) -> Result<Self, ImageFolderError> {
        let listing = Listing::of(path.as_ref())?;
        let (images, broken) = listing.decode(options)?;
        listing.warn(&broken);
        Ok(images)
    }
}

impl Listing {
    pub(super) fn of(path: &Path) -> Result<Self, ImageFolderError> {
        // A file in place of the folder would be walked through as well.
        fs::read_dir(path)
            .map_err(|source| ImageFolderError::Io { path: path.to_owned(), source })?;
        let mut walk = Walk::new(path);
        let mut folders: Vec<(String, Vec<PathBuf>)> = Vec::new();
        let mut images = Vec::new();
        for step in walk.by_ref() {
            match step? {
                Step::Folder(folder, 1) => folders.push((name(&folder), Vec::new())),
                Step::Folder(..) => {}
                // What is in a folder comes right after it.
                Step::Image(image, depth) => match folders.last_mut() {
                    Some((_, inside)) if depth > 1 => inside.push(image),
                    _ => images.push(image),
                },
            }
        }
        let (mut outside, mut empty) = (Tally::default(), Tally::default());
        folders.retain(|(name, inside)| {
            if inside.is_empty() {
                empty.add(name);
            }
            !inside.is_empty()
        });
        let inside: usize = folders.iter().map(|(_, inside)| inside.len()).sum();
        if images.len() > inside {
            if !folders.is_empty() {
                log::warn!(
                    "{}: {} images lie beside the folders and {inside} in them: all are one class",
                    path.display(),
                    images.len()
                );
            }
            images.extend(folders.into_iter().flat_map(|(_, inside)| inside));
            folders = vec![(name(path), images)];
        } else {
            images.iter().for_each(|image| outside.add(&name(image)));
        }
        let (path, others) = (path.to_owned(), walk.passed_over().clone());
        if folders.is_empty() {
            return Err(ImageFolderError::Empty { path, others: others.count });
        }
        if u16::try_from(folders.len() - 1).is_err() {
            return Err(ImageFolderError::Classes { path, found: folders.len() });
        }
        let (classes, files): (Vec<_>, Vec<_>) = folders.into_iter().unzip();
        let labelled = files.into_iter().enumerate();
        let files = labelled.flat_map(|(i, files)| files.into_iter().map(move |f| (f, i as u16)));
        Ok(Self { path, classes, files: files.collect(), others, outside, empty })
    }

    /// Decodes every image straight into its place, so that the set is in memory once. Images that
    /// cannot be read come back by name, with the reason.
    pub(super) fn decode(
        &self,
        options: &FolderOptions,
    ) -> Result<(Images, Tally), ImageFolderError> {
        let what = format!("decoding {}", self.path.display());
        options.progress.start(self.files.len() as u64, &what);
        let decoded = self.decode_all(options);
        options.progress.finish();
        decoded
    }

    fn decode_all(&self, options: &FolderOptions) -> Result<(Images, Tally), ImageFolderError> {
        let (first, expected) = self.first_size(options)?;
        let length = expected[0] * expected[1] * CHANNELS;
        let mut bytes = self.buffer(expected)?;
        let places = bytes.par_chunks_exact_mut(length).zip(&self.files);
        let failures = places.map(|(place, (path, _))| {
            let read = options.read(path);
            options.progress.advance(1);
            let picture = match read {
                Ok(picture) => picture,
                // All images of this kind would be missing, not some that are broken.
                Err(ReadError::Decode(error @ DecodeError::NotBuilt(_))) => {
                    return Err(ImageFolderError::Decoder(error));
                }
                Err(error) => return Ok(Some(error)),
            };
            let found = size(&picture);
            if found != expected {
                let (path, first) = (path.clone(), first.to_owned());
                return Err(ImageFolderError::Size { path, found, first, expected });
            }
            place.copy_from_slice(&picture);
            Ok(None)
        });
        let failures = failures.collect::<Result<Vec<Option<ReadError>>, _>>()?;
        let may_change = failures.iter().flatten().any(|error| matches!(error, ReadError::Io(_)));
        let (labels, mut broken) = self.without_broken(failures, &mut bytes, length)?;
        broken.may_change = may_change;
        Ok((Images { size: expected, bytes, labels, classes: self.classes.clone() }, broken))
    }

    /// The size of all images, with the first one that can be read.
    fn first_size(&self, options: &FolderOptions) -> Result<(&Path, [usize; 2]), ImageFolderError> {
        if let Some(side) = options.side {
            return Ok((self.path.as_path(), [side as usize; 2]));
        }
        let (mut broken, mut reason) = (0, None);
        for (path, _) in &self.files {
            match options.read(path) {
                Ok(picture) => return Ok((path.as_path(), size(&picture))),
                Err(error) => {
                    broken += 1;
                    reason.get_or_insert(error);
                }
            }
        }
        Err(match reason {
            Some(source) => self.broken(broken, 0, source),
            None => ImageFolderError::Empty { path: self.path.clone(), others: self.others.count },
        })
    }

    /// Moves images up into the places of those that could not be read.
    fn without_broken(
        &self,
        failures: Vec<Option<ReadError>>,
        bytes: &mut Vec<u8>,
        length: usize,
    ) -> Result<(Vec<u16>, Tally), ImageFolderError> {
        let (mut labels, mut broken, mut first) = (Vec::new(), Tally::default(), None);
        for (index, (failure, (path, label))) in failures.into_iter().zip(&self.files).enumerate() {
            if let Some(error) = failure {
                broken.add(&format!("{}: {error}", self.shown(path)));
                first.get_or_insert((index, error));
                continue;
            }
            if labels.len() != index {
                bytes.copy_within(index * length..(index + 1) * length, labels.len() * length);
            }
            labels.push(*label);
        }
        match first {
            Some((index, error)) if 2 * broken.count > self.files.len() => {
                Err(self.broken(broken.count, index, error))
            }
            _ => {
                bytes.truncate(labels.len() * length);
                Ok((labels, broken))
            }
        }
    }

    fn broken(&self, broken: usize, index: usize, source: ReadError) -> ImageFolderError {
        let (path, first) = (self.path.clone(), self.files[index].0.clone());
        ImageFolderError::Broken { path, images: self.files.len(), broken, first, source }
    }

    /// Warns of all that is there and not among the images of the set.
    pub(super) fn warn(&self, broken: &Tally) {
        if let Some(warning) = self.warning(broken) {
            log::warn!("{warning}");
        }
    }

    fn warning(&self, broken: &Tally) -> Option<String> {
        let parts: Vec<String> = [
            self.others.told("file", "passed over"),
            self.outside.told("image", "beside the folders of classes passed over"),
            self.empty.told("folder", "without images passed over"),
            broken.told("image", "broken and left out"),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!parts.is_empty()).then(|| format!("{}: {}", self.path.display(), parts.join(", ")))
    }

    /// The name of a file below the folder.
    fn shown(&self, file: &Path) -> String {
        file.strip_prefix(&self.path).unwrap_or(file).display().to_string()
    }

    /// Memory for all images, where there is as much.
    fn buffer(&self, size: [usize; 2]) -> Result<Vec<u8>, ImageFolderError> {
        let images = self.files.len();
        let too_large = || ImageFolderError::TooLarge { path: self.path.clone(), images, size };
        let pixels = size[0].checked_mul(size[1]).and_then(|n| n.checked_mul(CHANNELS));
        let length = pixels.and_then(|n| n.checked_mul(images)).ok_or_else(too_large)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| too_large())?;
        bytes.resize(length, 0);
        Ok(bytes)
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn size(image: &Picture) -> [usize; 2] {
    [image.height() as usize, image.width() as usize]
}

#[cfg(test)]
mod tests;
