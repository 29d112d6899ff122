//! The sets of the published experiments, found by name in one folder.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use isomax_burn::UnknownName;

use super::archives::archives_named;
use super::cifar::{self, Cifar, Version};
use super::files::{self, Opening};
use super::image_folder::Listing;
use super::own::OwnSet;
use super::{
    CifarError, FolderOptions, IdSet, ImageFiles, ImageFolderError, ImageSource, Images,
    JpegDecoder, MemoryBudget, Normalization, OodSource, OwnSetError, Preprocessing, PublishedSet,
    Split, SvhnError, svhn,
};
use crate::progress::Progress;

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
    /// A set of your own cannot be learned.
    #[error(transparent)]
    Own(#[from] OwnSetError),
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
#[derive(Debug, Clone)]
pub struct ImageSet {
    /// The images.
    pub images: Arc<dyn ImageSource>,
    /// Such as `official binary` or `image folder`, for captions: copies differ, and with them
    /// results.
    pub source: &'static str,
}

/// An OOD set.
#[derive(Debug, Clone)]
pub struct NamedImages {
    /// Its name in tables and files.
    pub name: String,
    /// What kind of copy it is.
    pub source: String,
    /// The images.
    pub images: Arc<dyn ImageSource>,
}

/// A set of your own whose classes are learned.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OwnImages {
    /// What is trained on, and behind it what whoever made the set holds out.
    pub train: Arc<dyn ImageSource>,
    /// How many images at the end of `train` are held out by whoever made the set.
    pub held_out: usize,
    /// What is tested on.
    pub test: Arc<dyn ImageSource>,
    /// Mean and standard deviation of the pixels of `train`.
    pub measured: Normalization,
    /// What kind of set it is, for captions.
    pub source: &'static str,
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
/// Images in folders may be of any size and are brought to that of the
/// [preprocessing](Self::with_preprocessing), without a call to 32 × 32 pixels, as
/// [`resize_and_crop`](super::resize_and_crop) does it. They are decoded once; the pixels are then kept in
/// `.cache` beside them. Sets beyond the [memory](Self::with_memory) are decoded whenever their images are asked
/// for. What lies among them and is no image, and images that are broken, are left
/// out with a warning, as [`Images::from_folder`] tells.
#[derive(Clone)]
pub struct DataFolder {
    folder: PathBuf,
    uses_cache: bool,
    options: FolderOptions,
    memory: Arc<MemoryBudget>,
}

impl fmt::Debug for DataFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, uses_cache, options, memory } = self;
        let mut shown = f.debug_struct("DataFolder");
        shown.field("folder", folder).field("uses_cache", uses_cache);
        shown.field("options", options).field("memory", memory).finish()
    }
}

impl DataFolder {
    /// The data sets in a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            uses_cache: true,
            options: FolderOptions { side: Some(SIDE), ..FolderOptions::default() },
            memory: Arc::default(),
        }
    }

    /// Decodes folders of images anew each time, and writes nothing.
    pub fn without_cache(mut self) -> Self {
        self.uses_cache = false;
        self
    }

    /// Decodes JPEG files in folders of images by a decoder of choice.
    pub fn with_jpeg_decoder(mut self, decoder: JpegDecoder) -> Self {
        self.options.jpeg = decoder;
        self
    }

    /// Brings images to another size than 32 × 32 pixels, those of published sets too, and reads files as a
    /// preprocessing says.
    pub fn with_preprocessing(mut self, preprocessing: &Preprocessing) -> Self {
        let Preprocessing { size, resize, orientation, jpeg_decoder, .. } = *preprocessing;
        self.options.side = Some(size);
        self.options.resize = Some(resize);
        self.options.orientation = orientation;
        self.options.jpeg = jpeg_decoder;
        self
    }

    /// Brings images to another size than 32 × 32 pixels, those of published sets too: of what the shorter side is brought
    /// to, the middle.
    ///
    /// # Arguments
    ///
    /// - `size`: height and width of what the network sees
    /// - `resize`: length of the shorter side before the middle is cut out
    pub fn with_size(mut self, size: u32, resize: u32) -> Self {
        self.options.side = Some(size);
        self.options.resize = Some(resize);
        self
    }

    /// Takes no more than so many bytes for the pixels of image files, all sets together. What does not fit is
    /// decoded again and again; results are the same. Without a call, 4 GiB.
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.memory = Arc::new(MemoryBudget::new(bytes));
        self
    }

    /// Shows how many images are decoded.
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.options.progress = progress;
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
    pub fn id_set(&self, set: PublishedSet, split: Split) -> Result<ImageSet, DataError> {
        match self.find_id_set(set, split)? {
            Found::CifarFolder(kind, version, path) => {
                let images = cifar::read_folder(kind, version, split, &path)?;
                let source = match version {
                    Version::Binary => "official binary",
                    Version::Python => "official Python files",
                };
                Ok(self.of_bytes(images, source))
            }
            Found::CifarArchive(kind, version, path) => {
                let images = cifar::read_archive(kind, version, split, &path)?;
                let source = match version {
                    Version::Binary => "official archive",
                    Version::Python => "official Python archive",
                };
                Ok(self.of_bytes(images, source))
            }
            Found::Svhn(path) => Ok(self.of_bytes(svhn::read(&path)?, "official .mat")),
            Found::ClassFolders(path) => self.class_folders(set, path),
        }
    }

    /// Reads an OOD set; of labelled sets this is the test split.
    ///
    /// # Errors
    ///
    /// [`DataError`] if it is not there or damaged.
    pub fn ood(&self, source: &OodSource) -> Result<ImageSet, DataError> {
        match (&source.folder, source.name.parse::<PublishedSet>()) {
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
            Ok(NamedImages { name, source, images })
        };
        sources.iter().map(read).collect()
    }

    /// Reads a set of your own: a folder `{train,val,test}/CLASS/…` or `CLASS/…`, or a CSV file with the columns
    /// `path`, `label` and perhaps `split`. A set that is not parted is parted by a seed, a fifth of each class for the
    /// test.
    ///
    /// # Arguments
    ///
    /// - `is_cut`: whether training cuts parts out of the images as they are in their files
    ///
    /// # Errors
    ///
    /// [`DataError::Own`] or [`DataError::Folder`].
    pub fn own_set(&self, path: &Path, seed: u64, is_cut: bool) -> Result<OwnImages, DataError> {
        let OwnSet { mut train, held_out, mut test } = OwnSet::find(path, seed)?;
        train.part = "train".to_owned();
        test.part = "test".to_owned();
        let first = train.files.len();
        train.files.extend(held_out);
        let open = |listing: &Listing, is_cut| ImageFiles::open(listing, &self.opening(is_cut));
        let files = open(&train, is_cut)?;
        // Images that cannot be read are left out of both parts.
        let of_train: std::collections::HashSet<&PathBuf> =
            train.files[..first].iter().map(|(file, _)| file).collect();
        let held_out = files.files().iter().filter(|file| !of_train.contains(file)).count();
        let test = open(&test, false)?;
        // A class may have lost all of its images.
        let trained = &files.labels()[..files.len() - held_out];
        OwnSet::check_labels(path, files.classes(), trained, test.labels())?;
        OwnSet::warn_of_few(path, files.classes(), trained);
        Ok(OwnImages {
            measured: files.measured_normalization(),
            train: Arc::new(files),
            held_out,
            test: Arc::new(test),
            source: if path.is_file() { "image list" } else { IMAGE_FOLDER },
        })
    }

    /// The names of published sets that an experiment needs and that are not there, without reading any.
    ///
    /// ```
    /// use isomax_bench::data::{DataFolder, PublishedSet};
    ///
    /// let folder = DataFolder::new("no-such-folder");
    /// let ood = ["svhn".parse()?, "photos=/data/photos".parse()?];
    /// assert_eq!(folder.missing(&PublishedSet::Cifar10.into(), &ood), ["cifar10", "svhn"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn missing(&self, id_data: &IdSet, ood: &[OodSource]) -> Vec<String> {
        let is_absent = |set, split| self.find_id_set(set, split).is_err();
        let mut missing = Vec::new();
        if let Some(set) = id_data.published()
            && (is_absent(set, Split::Train) || is_absent(set, Split::Test))
        {
            missing.push(id_data.to_string());
        }
        for source in ood.iter().filter(|source| source.folder.is_none()) {
            let absent = match source.name.parse::<PublishedSet>() {
                Ok(set) => is_absent(set, Split::Test),
                Err(_) => matches!(self.find_ood_folder(source), Err(DataError::Absent { .. })),
            };
            if absent {
                missing.push(source.name.clone());
            }
        }
        missing
    }

    fn find_id_set(&self, set: PublishedSet, split: Split) -> Result<Found, DataError> {
        let mut places = Vec::new();
        match set {
            PublishedSet::Cifar10 | PublishedSet::Cifar100 => {
                let kind = if set == PublishedSet::Cifar10 { Cifar::Ten } else { Cifar::Hundred };
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
            PublishedSet::Svhn => {
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

    fn class_folders(&self, set: PublishedSet, path: PathBuf) -> Result<ImageSet, DataError> {
        let files = ImageFiles::open(&Listing::of(&path)?, &self.opening(false))?;
        // As bytes, so that its digest is the same as that of the set in another form.
        let images = files.into_source();
        let found = ImageSet { images, source: IMAGE_FOLDER };
        let (expected, classes) = (set.num_classes(), found.images.classes().len());
        if classes != expected {
            return Err(DataError::Classes { path, expected, found: classes });
        }
        Ok(found)
    }

    fn image_folder(&self, path: &Path) -> Result<ImageSet, DataError> {
        let files = ImageFiles::open(&Listing::of(path)?, &self.opening(false))?;
        Ok(ImageSet { images: Arc::new(files), source: IMAGE_FOLDER })
    }

    /// Images that a list names one by one, with the indices of their classes.
    ///
    /// # Errors
    ///
    /// [`DataError::Folder`] if most of them cannot be read.
    pub(crate) fn listed(
        &self,
        root: &Path,
        list: &str,
        classes: Vec<String>,
        files: Vec<(PathBuf, u16)>,
    ) -> Result<Arc<dyn ImageSource>, DataError> {
        let mut listing = Listing::named(root.to_owned(), classes, files);
        list.clone_into(&mut listing.part);
        Ok(Arc::new(ImageFiles::open(&listing, &self.opening(false))?))
    }

    fn opening(&self, is_cut: bool) -> Opening<'_> {
        let (options, budget) = (&self.options, &*self.memory);
        let cache = self.uses_cache.then(|| self.folder.join(".cache"));
        Opening { options, is_cut, budget, cache }
    }

    /// A set that its authors publish as bytes, brought to the size that is asked for.
    fn of_bytes(&self, images: Images, source: &'static str) -> ImageSet {
        ImageSet { images: Arc::new(files::resized(images, &self.options)), source }
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
