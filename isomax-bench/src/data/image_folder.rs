//! Folders of images: a folder in them for each class, or one class alone.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use isomax_bundle::{CHANNELS, read_picture, resize_and_crop};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Images;
use super::tally::{Tally, many};
use super::walk::{Step, Walk, WalkError};
use super::{DecodeError, JpegDecoder, Orientation, Picture, ReadError};
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
    /// The height and width that images are brought to, as
    /// [`resize_and_crop`](super::resize_and_crop) does it. Without one, all must have the same size.
    pub side: Option<u32>,
    /// Length that the shorter side is brought to before (default: as `side`).
    pub resize: Option<u32>,
    /// Whether images are turned as their EXIF data says.
    pub orientation: Orientation,
    /// What decodes JPEG files.
    pub jpeg: JpegDecoder,
    /// Shows how many images are decoded.
    pub progress: Arc<dyn Progress>,
}

impl Default for FolderOptions {
    fn default() -> Self {
        Self {
            side: None,
            resize: None,
            orientation: Orientation::default(),
            jpeg: JpegDecoder::default(),
            progress: progress::silent(),
        }
    }
}

impl fmt::Debug for FolderOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { side, resize, orientation, jpeg, progress: _ } = self;
        let mut shown = f.debug_struct("FolderOptions");
        shown.field("side", side).field("resize", resize).field("orientation", orientation);
        shown.field("jpeg", jpeg).finish_non_exhaustive()
    }
}

impl FolderOptions {
    /// A name for all that the pixels depend on.
    pub(super) fn key(&self) -> String {
        let size = match (self.side, self.resize) {
            (Some(side), Some(resize)) if resize != side => format!("{RULE}-{resize}-{side}"),
            (Some(side), _) => format!("{RULE}-{side}"),
            (None, _) => "as-they-are".to_owned(),
        };
        match self.orientation {
            Orientation::AsStored => format!("{size}-{}", self.jpeg),
            Orientation::Upright => format!("{size}-upright-{}", self.jpeg),
        }
    }

    /// An image as it is in its file.
    pub(super) fn decode(&self, path: &Path) -> Result<Picture, ReadError> {
        read_picture(path, self.jpeg, self.orientation)
    }

    /// An image of the size that is asked for.
    pub(super) fn resized(&self, picture: Picture) -> Picture {
        match self.side {
            Some(side) => resize_and_crop(picture, self.resize.unwrap_or(side), side),
            None => picture,
        }
    }

    fn read(&self, path: &Path) -> Result<Picture, ReadError> {
        Ok(self.resized(self.decode(path)?))
    }
}

/// How images are brought to a size, in the names of caches.
const RULE: &str = "shorter-side-bilinear-center-crop";

/// Images that cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Broken {
    /// What a warning tells of them.
    pub tally: Tally,
    /// Their places in the listing, in order.
    pub places: Vec<u32>,
}

/// The images of a folder, class after class, and what else is there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listing {
    pub path: PathBuf,
    /// Which part of the folder these files are, if others are parts of it, too: a name for a cache.
    pub part: String,
    pub classes: Vec<String>,
    /// Each file with the index of its class.
    pub files: Vec<(PathBuf, u16)>,
    /// Files that are no images.
    others: Tally,
    /// Images beside the folders of the classes.
    outside: Tally,
    /// Folders without images.
    pub empty: Tally,
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
    /// Files with the indices of their classes, named one by one.
    pub(super) fn named(path: PathBuf, classes: Vec<String>, files: Vec<(PathBuf, u16)>) -> Self {
        let none = Tally::default();
        let (others, outside) = (none.clone(), none.clone());
        Self { path, part: String::new(), classes, files, others, outside, empty: none }
    }

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
        let (part, files) = (String::new(), files.collect());
        Ok(Self { path, part, classes, files, others, outside, empty })
    }

    /// Decodes every image straight into its place, so that the set is in memory once. Images that
    /// cannot be read come back by name, with the reason.
    pub(super) fn decode(
        &self,
        options: &FolderOptions,
    ) -> Result<(Images, Broken), ImageFolderError> {
        let what = format!("decoding {}", self.path.display());
        options.progress.start(self.files.len() as u64, &what);
        let decoded = self.decode_all(options);
        options.progress.finish();
        decoded
    }

    fn decode_all(&self, options: &FolderOptions) -> Result<(Images, Broken), ImageFolderError> {
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
        let broken = self.broken(failures)?;
        let labels = self.without(&broken, &mut bytes, length);
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
            Some(source) => self.mostly_broken(broken, 0, source),
            None => ImageFolderError::Empty { path: self.path.clone(), others: self.others.count },
        })
    }

    /// What is to be told of images that cannot be read, if they are not more than half.
    pub(super) fn broken(
        &self,
        failures: Vec<Option<ReadError>>,
    ) -> Result<Broken, ImageFolderError> {
        let (mut broken, mut first) = (Broken::default(), None);
        for (place, failure) in failures.into_iter().enumerate() {
            let Some(error) = failure else { continue };
            broken.tally.add(&format!("{}: {error}", self.shown(&self.files[place].0)));
            broken.tally.may_change |= matches!(error, ReadError::Io(_));
            broken.places.push(place as u32);
            first.get_or_insert((place, error));
        }
        match first {
            Some((place, source)) if 2 * broken.places.len() > self.files.len() => {
                Err(self.mostly_broken(broken.places.len(), place, source))
            }
            _ => Ok(broken),
        }
    }

    /// Moves images up into the places of those that could not be read, and gives the labels of those left.
    fn without(&self, broken: &Broken, bytes: &mut Vec<u8>, length: usize) -> Vec<u16> {
        let kept = self.kept(broken);
        for (to, &from) in kept.iter().enumerate().filter(|(to, from)| to != *from) {
            bytes.copy_within(from * length..(from + 1) * length, to * length);
        }
        bytes.truncate(kept.len() * length);
        kept.into_iter().map(|place| self.files[place].1).collect()
    }

    /// The places of the images that can be read.
    pub(super) fn kept(&self, broken: &Broken) -> Vec<usize> {
        let is_kept = |place: &usize| broken.places.binary_search(&(*place as u32)).is_err();
        (0..self.files.len()).filter(is_kept).collect()
    }

    fn mostly_broken(&self, broken: usize, index: usize, source: ReadError) -> ImageFolderError {
        let (path, first) = (self.path.clone(), self.files[index].0.clone());
        ImageFolderError::Broken { path, images: self.files.len(), broken, first, source }
    }

    /// Warns of all that is there and not among the images of the set.
    pub(super) fn warn(&self, broken: &Broken) {
        if let Some(warning) = self.warning(broken) {
            log::warn!("{warning}");
        }
    }

    fn warning(&self, broken: &Broken) -> Option<String> {
        let parts: Vec<String> = [
            self.others.told("file", "passed over"),
            self.outside.told("image", "beside the folders of classes passed over"),
            self.empty.told("folder", "without images passed over"),
            broken.tally.told("image", "broken and left out"),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!parts.is_empty()).then(|| format!("{}: {}", self.path.display(), parts.join(", ")))
    }

    /// The name of a file below the folder.
    pub(super) fn shown(&self, file: &Path) -> String {
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
