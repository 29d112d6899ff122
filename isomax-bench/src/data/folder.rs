//! The sets of the published experiments, found by name in one folder.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use isomax_burn::UnknownName;

use super::archives::archives_named;
use super::cifar::{self, Cifar, Version};
use super::{
    CifarError, FolderOptions, IdSet, ImageFolderError, Images, JpegDecoder, OodSource, Split,
    SvhnError, cache, svhn,
};
use crate::progress::{self, Progress};

/// Why a data set cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The set is not there.
    #[error(
        "{name} is not in {}: expected one of {}{}",
        folder.display(),
        places.join(", "),
        fetch_hint(name, folder)
    )]
    Absent {
        /// The set.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// What would have been read there.
        places: Vec<String>,
    },
    /// There is no set of this name.
    #[error(
        "{name} is not a data set of this program and not a folder in {}: give NAME=FOLDER for a folder of images, or one \
         of {}",
        folder.display(),
        OodSource::NAMES.join(", ")
    )]
    Unknown {
        /// The name.
        name: String,
        /// Where a folder of this name was looked for.
        folder: PathBuf,
    },
    /// The folder has other classes than the set.
    #[error("{}: expected {expected} folders, one for each class, but found {found}", path.display())]
    Classes {
        /// The folder.
        path: PathBuf,
        /// Number of classes of the set.
        expected: usize,
        /// Number of folders.
        found: usize,
    },
    /// The classes of the splits differ, so that their labels mean different things.
    #[error("{name}: the classes of the splits differ: train has {train:?}, test has {test:?}")]
    ClassNames {
        /// The set.
        name: String,
        /// The classes of the training split.
        train: Vec<String>,
        /// The classes of the test split.
        test: Vec<String>,
    },
    /// The set is none of the published ones.
    #[error(transparent)]
    Name(#[from] UnknownName),
    /// A folder of images cannot be read.
    #[error(transparent)]
    Folder(#[from] ImageFolderError),
    /// The files of CIFAR cannot be read.
    #[error(transparent)]
    Cifar(#[from] CifarError),
    /// The files of SVHN cannot be read.
    #[error(transparent)]
    Svhn(#[from] SvhnError),
}

fn fetch_hint(name: &str, folder: &Path) -> String {
    let folder = folder.display();
    match archives_named(name).is_empty() {
        true => String::new(),
        false => format!("; `isomax-bench data fetch {name} --data-dir {folder}` downloads it"),
    }
}

/// What [`ImageSet::source`] says of folders of images, which may be copies of any kind.
pub const IMAGE_FOLDER: &str = "image folder";

/// Height and width of the images of all published experiments.
const SIDE: u32 = 32;

/// Images, and what kind of copy they were read from.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageSet {
    /// The images.
    pub images: Images,
    /// Such as `official binary` or `image folder`, for captions: copies differ, and with them
    /// results.
    pub source: &'static str,
}

/// An OOD set.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedImages {
    /// Its name in tables and files.
    pub name: String,
    /// What kind of copy it is.
    pub source: String,
    /// The images.
    pub images: Arc<Images>,
}

/// A folder with data sets, each in its official layout or as a folder of images.
///
/// | set | looked for, in this order |
/// |---|---|
/// | `cifar10` | `cifar-10-batches-bin/`, `cifar-10-binary.tar.gz`, `cifar-10-batches-py/`, `cifar-10-python.tar.gz`, `cifar10/{train,test}/CLASS/` |
/// | `cifar100` | `cifar-100-binary/`, `cifar-100-binary.tar.gz`, `cifar-100-python/`, `cifar-100-python.tar.gz`, `cifar100/{train,test}/CLASS/` |
/// | `svhn` | `svhn/{train,test}_32x32.mat`, `{train,test}_32x32.mat`, `svhn/{train,test}/DIGIT/` |
/// | `tiny-imagenet` | `tiny-imagenet-200/test/` |
/// | any other | a folder of that name |
///
/// Images in folders may be of any size and are brought to 32 × 32 pixels as
/// [`preprocess()`](super::preprocess()) does it. They are decoded once; the pixels are then kept in
/// `.cache` beside them. What lies among them and is no image, and images that are broken, are left
/// out with a warning, as [`Images::from_folder`] tells.
#[derive(Clone)]
pub struct DataFolder {
    folder: PathBuf,
    uses_cache: bool,
    jpeg: JpegDecoder,
    progress: Arc<dyn Progress>,
}

impl fmt::Debug for DataFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, uses_cache, jpeg, progress: _ } = self;
        let mut shown = f.debug_struct("DataFolder");
        shown.field("folder", folder).field("uses_cache", uses_cache).field("jpeg", jpeg);
        shown.finish_non_exhaustive()
    }
}

impl DataFolder {
    /// The data sets in a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            uses_cache: true,
            jpeg: JpegDecoder::default(),
            progress: progress::silent(),
        }
    }

    /// Decodes folders of images anew each time, and writes nothing.
    pub fn without_cache(mut self) -> Self {
        self.uses_cache = false;
        self
    }

    /// Decodes JPEG files in folders of images by a decoder of choice.
    pub fn with_jpeg_decoder(mut self, decoder: JpegDecoder) -> Self {
        self.jpeg = decoder;
        self
    }

    /// Shows how many images are decoded.
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Reads a labelled set.
    ///
    /// # Errors
    ///
    /// [`DataError`] if it is not there, damaged, or of other classes.
    pub fn id_set(&self, set: IdSet, split: Split) -> Result<ImageSet, DataError> {
        match self.find_id_set(set, split)? {
            Found::CifarFolder(kind, version, path) => {
                let images = cifar::read_folder(kind, version, split, &path)?;
                let source = match version {
                    Version::Binary => "official binary",
                    Version::Python => "official Python files",
                };
                Ok(ImageSet { images, source })
            }
            Found::CifarArchive(kind, version, path) => {
                let images = cifar::read_archive(kind, version, split, &path)?;
                let source = match version {
                    Version::Binary => "official archive",
                    Version::Python => "official Python archive",
                };
                Ok(ImageSet { images, source })
            }
            Found::Svhn(path) => {
                Ok(ImageSet { images: svhn::read(&path)?, source: "official .mat" })
            }
            Found::ClassFolders(path) => self.class_folders(set, path),
        }
    }

    /// Reads an OOD set; of labelled sets this is the test split.
    ///
    /// # Errors
    ///
    /// [`DataError`] if it is not there or damaged.
    pub fn ood(&self, source: &OodSource) -> Result<ImageSet, DataError> {
        match (&source.folder, source.name.parse::<IdSet>()) {
            (None, Ok(set)) => self.id_set(set, Split::Test),
            _ => self.image_folder(&self.find_ood_folder(source)?),
        }
    }

    /// Reads several OOD sets, each with its name.
    ///
    /// # Errors
    ///
    /// As [`ood`](Self::ood).
    pub fn ood_sets(&self, sources: &[OodSource]) -> Result<Vec<NamedImages>, DataError> {
        let read = |set: &OodSource| {
            let ImageSet { images, source } = self.ood(set)?;
            let (name, source) = (set.name.clone(), source.to_owned());
            Ok(NamedImages { name, source, images: Arc::new(images) })
        };
        sources.iter().map(read).collect()
    }

    /// The names of published sets that an experiment needs and that are not there, without reading any.
    ///
    /// ```
    /// use isomax_bench::data::{DataFolder, IdSet};
    ///
    /// let folder = DataFolder::new("no-such-folder");
    /// let ood = ["svhn".parse()?, "photos=/data/photos".parse()?];
    /// assert_eq!(folder.missing(IdSet::Cifar10, &ood), ["cifar10", "svhn"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn missing(&self, id_data: IdSet, ood: &[OodSource]) -> Vec<String> {
        let is_absent = |set, split| self.find_id_set(set, split).is_err();
        let mut missing = Vec::new();
        if is_absent(id_data, Split::Train) || is_absent(id_data, Split::Test) {
            missing.push(id_data.to_string());
        }
        for source in ood.iter().filter(|source| source.folder.is_none()) {
            let absent = match source.name.parse::<IdSet>() {
                Ok(set) => is_absent(set, Split::Test),
                Err(_) => matches!(self.find_ood_folder(source), Err(DataError::Absent { .. })),
            };
            if absent {
                missing.push(source.name.clone());
            }
        }
        missing
    }

    fn find_id_set(&self, set: IdSet, split: Split) -> Result<Found, DataError> {
        let mut places = Vec::new();
        match set {
            IdSet::Cifar10 | IdSet::Cifar100 => {
                let kind = if set == IdSet::Cifar10 { Cifar::Ten } else { Cifar::Hundred };
                for version in Version::ALL {
                    let (folder, archive) = (kind.folder(version), kind.archive(version));
                    let (unpacked, packed) = (self.folder.join(folder), self.folder.join(archive));
                    if unpacked.is_dir() {
                        return Ok(Found::CifarFolder(kind, version, unpacked));
                    }
                    if packed.is_file() {
                        return Ok(Found::CifarArchive(kind, version, packed));
                    }
                    places.extend([format!("{folder}/"), archive.to_owned()]);
                }
            }
            IdSet::Svhn => {
                let file = format!("{}_32x32.mat", split.name());
                for place in [format!("svhn/{file}"), file] {
                    let path = self.folder.join(&place);
                    if path.is_file() {
                        return Ok(Found::Svhn(path));
                    }
                    places.push(place);
                }
            }
        }
        let place = format!("{set}/{}", split.name());
        let path = self.folder.join(&place);
        if path.is_dir() {
            return Ok(Found::ClassFolders(path));
        }
        places.push(place);
        Err(self.absent(set.name(), places))
    }

    fn find_ood_folder(&self, source: &OodSource) -> Result<PathBuf, DataError> {
        if let Some(folder) = &source.folder {
            return Ok(folder.clone());
        }
        let place = match source.name.as_str() {
            "tiny-imagenet" => "tiny-imagenet-200/test".to_owned(),
            name => name.to_owned(),
        };
        let folder = self.folder.join(&place);
        if folder.is_dir() {
            return Ok(folder);
        }
        if source.name == "tiny-imagenet" || OodSource::NAMES.contains(&source.name.as_str()) {
            return Err(self.absent(&source.name, vec![format!("{place}/")]));
        }
        Err(DataError::Unknown { name: source.name.clone(), folder: self.folder.clone() })
    }

    fn class_folders(&self, set: IdSet, path: PathBuf) -> Result<ImageSet, DataError> {
        let found = self.image_folder(&path)?;
        let (expected, classes) = (set.num_classes(), found.images.classes.len());
        if classes != expected {
            return Err(DataError::Classes { path, expected, found: classes });
        }
        Ok(found)
    }

    fn image_folder(&self, path: &Path) -> Result<ImageSet, DataError> {
        let (jpeg, progress) = (self.jpeg, self.progress.clone());
        let options = FolderOptions { side: Some(SIDE), jpeg, progress };
        let images = match self.uses_cache {
            true => cache::read_folder(path, &self.folder.join(".cache"), &options)?,
            false => Images::from_folder_with(path, &options)?,
        };
        Ok(ImageSet { images, source: IMAGE_FOLDER })
    }

    fn absent(&self, name: &str, places: Vec<String>) -> DataError {
        DataError::Absent { name: name.to_owned(), folder: self.folder.clone(), places }
    }
}

/// Where a labelled set lies, and in which form.
enum Found {
    CifarFolder(Cifar, Version, PathBuf),
    CifarArchive(Cifar, Version, PathBuf),
    Svhn(PathBuf),
    ClassFolders(PathBuf),
}

#[cfg(test)]
mod tests;
