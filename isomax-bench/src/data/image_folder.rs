//! Folders of PNG and JPEG images.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use rayon::prelude::*;

use super::decode::{Picture, decode, resize};
use super::{DecodeError, Images};

/// Why a folder of images cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageFolderError {
    /// A file or folder cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is no whole PNG or JPEG image.
    #[error("{}: expected a PNG or JPEG image, but {source}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        source: DecodeError,
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
    /// Images of another size than is asked for.
    #[error(
        "{}: expected images of {} × {} pixels, but found {} × {}",
        path.display(), expected[1], expected[0], found[1], found[0]
    )]
    OtherSize {
        /// The first image.
        path: PathBuf,
        /// Its `[height, width]`.
        found: [usize; 2],
        /// The `[height, width]` that is asked for.
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
        /// `[height, width]` of the first.
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
    #[error("{}: expected images or folders of images, but found none", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
}

/// How a folder of images is read.
#[derive(Debug, Clone, Default)]
pub struct FolderOptions {
    /// The `[height, width]` that images are brought to, by bilinear interpolation. Without one, all
    /// must have the same.
    pub resize: Option<[usize; 2]>,
    /// The `[height, width]` that images must have; any if none is given.
    pub size: Option<[usize; 2]>,
    /// Shows how many images are decoded.
    pub progress: Option<ProgressBar>,
}

/// The files of a folder, class after class.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listing {
    pub classes: Vec<String>,
    /// Each file with the index of its class.
    pub files: Vec<(PathBuf, u16)>,
}

impl Images {
    /// Reads a folder of images of one size, decoding on all cores.
    ///
    /// Every folder in it is a class, with its images at any depth; a folder that holds images itself
    /// is one class. Classes and images are in the order of their names. Names that start with a dot
    /// are passed over.
    ///
    /// # Errors
    ///
    /// [`ImageFolderError`] if a folder is empty, a file is no whole image, or sizes differ.
    pub fn from_folder(path: impl AsRef<Path>) -> Result<Self, ImageFolderError> {
        Self::from_folder_with(path, &FolderOptions::default())
    }

    /// As [`from_folder`](Self::from_folder), with options.
    ///
    /// # Errors
    ///
    /// As [`from_folder`](Self::from_folder).
    pub fn from_folder_with(
        path: impl AsRef<Path>,
        options: &FolderOptions,
    ) -> Result<Self, ImageFolderError> {
        Listing::of(path.as_ref())?.decode(options)
    }
}

impl Listing {
    pub(super) fn of(path: &Path) -> Result<Self, ImageFolderError> {
        let (folders, images) = list(path)?;
        let mut classes: Vec<(String, Vec<PathBuf>)> = if images.is_empty() {
            let mut open = vec![canonical(path)?];
            let class = |folder: &PathBuf| Ok((name(folder), files_below(folder, &mut open)?));
            folders.iter().map(class).collect::<Result<_, _>>()?
        } else {
            vec![(name(path), files_below(path, &mut Vec::new())?)]
        };
        // Links back to the folder itself: an empty class would have been an error.
        classes.retain(|(_, files)| !files.is_empty());
        if classes.is_empty() {
            return Err(ImageFolderError::Empty { path: path.to_owned() });
        }
        if u16::try_from(classes.len() - 1).is_err() {
            return Err(ImageFolderError::Classes { path: path.to_owned(), found: classes.len() });
        }
        let (classes, files): (Vec<_>, Vec<_>) = classes.into_iter().unzip();
        let labelled = files.into_iter().enumerate();
        let files = labelled.flat_map(|(i, files)| files.into_iter().map(move |f| (f, i as u16)));
        Ok(Self { classes, files: files.collect() })
    }

    /// Decodes every image straight into its place, so that the set is in memory once.
    pub(super) fn decode(self, options: &FolderOptions) -> Result<Images, ImageFolderError> {
        let progress = options.progress.clone().unwrap_or_else(ProgressBar::hidden);
        progress.set_length(self.files.len() as u64);
        let read = |path: &Path| -> Result<Picture, ImageFolderError> {
            let picture = read(path)?;
            Ok(match options.resize {
                Some(size) => resize(picture, size),
                None => picture,
            })
        };
        let (first, _) = &self.files[0];
        let expected = size(&read(first)?);
        if let Some(size) = options.size.filter(|size| *size != expected) {
            let (path, found) = (first.clone(), expected);
            return Err(ImageFolderError::OtherSize { path, found, expected: size });
        }
        let mut bytes = room(&self, expected)?;
        let places = bytes.par_chunks_exact_mut(expected[0] * expected[1] * 3);
        places.zip(&self.files).try_for_each(|(place, (path, _))| {
            let picture = read(path)?;
            let found = size(&picture);
            if found != expected {
                let (path, first) = (path.clone(), first.clone());
                return Err(ImageFolderError::Size { path, found, first, expected });
            }
            place.copy_from_slice(&picture);
            progress.inc(1);
            Ok(())
        })?;
        let labels = self.files.iter().map(|(_, label)| *label).collect();
        Ok(Images { size: expected, bytes, labels, classes: self.classes })
    }
}

/// Memory for all images, where there is as much.
fn room(listing: &Listing, [height, width]: [usize; 2]) -> Result<Vec<u8>, ImageFolderError> {
    let first = &listing.files[0].0;
    let too_large = || ImageFolderError::TooLarge {
        path: first.parent().unwrap_or(first).to_owned(),
        images: listing.files.len(),
        size: [height, width],
    };
    let pixels = height.checked_mul(width).and_then(|n| n.checked_mul(3));
    let length = pixels.and_then(|n| n.checked_mul(listing.files.len())).ok_or_else(too_large)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| too_large())?;
    bytes.resize(length, 0);
    Ok(bytes)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The folders and the files in a folder, by name.
fn list(path: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), ImageFolderError> {
    let error = |source| ImageFolderError::Io { path: path.to_owned(), source };
    let mut entries: Vec<PathBuf> = fs::read_dir(path)
        .map_err(error)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(error)?;
    entries.retain(|path| !name(path).starts_with('.'));
    entries.sort();
    Ok(entries.into_iter().partition(|path| path.is_dir()))
}

fn canonical(path: &Path) -> Result<PathBuf, ImageFolderError> {
    path.canonicalize().map_err(|source| ImageFolderError::Io { path: path.to_owned(), source })
}

/// All files in a folder and the folders in it, but for those that a link leads back to.
fn files_below(path: &Path, open: &mut Vec<PathBuf>) -> Result<Vec<PathBuf>, ImageFolderError> {
    let own = canonical(path)?;
    if open.contains(&own) {
        return Ok(Vec::new());
    }
    let (folders, mut files) = list(path)?;
    open.push(own);
    for folder in folders {
        files.extend(files_below(&folder, open)?);
    }
    open.pop();
    if files.is_empty() {
        return Err(ImageFolderError::Empty { path: path.to_owned() });
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Picture, ImageFolderError> {
    let bytes =
        fs::read(path).map_err(|source| ImageFolderError::Io { path: path.to_owned(), source })?;
    decode(&bytes).map_err(|source| ImageFolderError::Image { path: path.to_owned(), source })
}

fn size(image: &Picture) -> [usize; 2] {
    [image.height() as usize, image.width() as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;
    use libjpeg_turbo_rs::PixelFormat;
    use std::error::Error;

    type Tested = Result<(), Box<dyn Error>>;

    fn save(folder: &Path, name: &str, [height, width]: [u32; 2], red: u8) -> Tested {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().ok_or("no folder")?)?;
        let image = RgbImage::from_pixel(width, height, image::Rgb([red, 0, 0]));
        if name.ends_with(".png") {
            return Ok(image.save(path)?);
        }
        let (width, height) = (width as usize, height as usize);
        let (format, sampling) = (PixelFormat::Rgb, libjpeg_turbo_rs::Subsampling::S420);
        let bytes = libjpeg_turbo_rs::compress(&image, width, height, format, 95, sampling)?;
        Ok(fs::write(path, bytes)?)
    }

    fn refused(folder: &Path) -> String {
        Images::from_folder(folder).map_or_else(|error| error.to_string(), |_| "read".to_owned())
    }

    #[test]
    fn folders_are_classes() -> Tested {
        let folder = tempfile::tempdir()?;
        save(folder.path(), "dog/b.png", [2, 3], 2)?;
        save(folder.path(), "cat/deep/a.jpg", [2, 3], 1)?;
        save(folder.path(), "dog/a.png", [2, 3], 3)?;
        fs::write(folder.path().join(".hidden"), "x")?;
        #[cfg(unix)] // a link that leads back is no way to more images
        std::os::unix::fs::symlink(folder.path().join("cat"), folder.path().join("cat/deep/back"))?;
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), folder.path().join("all"))?;
        let images = Images::from_folder(folder.path())?;
        assert_eq!(images.classes, ["cat", "dog"]);
        assert_eq!(images.labels, [0, 1, 1]);
        assert_eq!(images.size, [2, 3]);
        let reds: Vec<_> = images.bytes.iter().step_by(18).skip(1).collect();
        assert_eq!(reds, [&3, &2]);
        let dogs = Images::from_folder(folder.path().join("dog"))?;
        assert_eq!((dogs.len(), dogs.labels.as_slice()), (2, [0, 0].as_slice()));
        Ok(())
    }

    #[test]
    fn what_is_no_image_is_named() -> Tested {
        let folder = tempfile::tempdir()?;
        assert!(refused(&folder.path().join("absent")).contains("absent: No such file"));
        assert!(refused(folder.path()).contains("found none"));
        save(folder.path(), "cat/1.png", [2, 2], 1)?;
        fs::create_dir(folder.path().join("dog"))?;
        assert!(refused(folder.path()).contains("dog: expected images"));
        fs::write(folder.path().join("dog/1.jpg"), "")?;
        assert!(refused(folder.path()).contains("1.jpg: expected a PNG or JPEG image"));
        save(folder.path(), "dog/1.jpg", [2, 2], 1)?;
        assert_eq!(refused(folder.path()), "read");
        for file in ["cat/1.png", "dog/1.jpg"] {
            let path = folder.path().join(file);
            let whole = fs::read(&path)?;
            fs::write(&path, &whole[..whole.len() * 3 / 4])?;
            let error = refused(folder.path());
            assert!(error.contains(&format!("{file}: expected a PNG or JPEG image")), "{error}");
            fs::write(&path, whole)?;
        }
        let whole = fs::read(folder.path().join("cat/1.png"))?;
        fs::write(folder.path().join("dog/1.jpg"), &whole)?;
        assert_eq!(refused(folder.path()), "read");
        fs::write(folder.path().join("dog/notes.txt"), "not an image")?;
        assert!(refused(folder.path()).contains("notes.txt: expected a PNG or JPEG image"));
        Ok(())
    }

    #[test]
    fn sizes_must_agree() -> Tested {
        let folder = tempfile::tempdir()?;
        save(folder.path(), "a.png", [2, 3], 1)?;
        save(folder.path(), "b.png", [4, 3], 1)?;
        let error = refused(folder.path());
        assert!(error.contains("b.png: expected 3 × 2 pixels as in"), "{error}");
        assert!(error.ends_with("found 3 × 4"), "{error}");
        let options = FolderOptions { resize: Some([4, 4]), ..Default::default() };
        let images = Images::from_folder_with(folder.path(), &options)?;
        assert_eq!((images.size, images.len()), ([4, 4], 2));
        Ok(())
    }
}
