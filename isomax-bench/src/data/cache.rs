//! Folders of images, decoded once: the pixels of a folder in one file, for the next start.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use isomax_burn::atomic_file;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::image_folder::{Broken, FolderOptions, ImageFolderError, Listing};
use super::images::Images;

/// Why a cache file is of no use. The folder is decoded again then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum CacheError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is damaged or was written by something else.
    #[error("{}: expected a cache of decoded images, but {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// How cache files begin; the number is that of the format.
const MAGIC: &[u8; 16] = b"isomax-images 3\n";
/// No header is nearly as large: it names the classes.
const LARGEST_HEADER: u64 = 16 << 20;

#[derive(Serialize, Deserialize)]
struct Header {
    size: [usize; 2],
    count: usize,
    classes: Vec<String>,
    /// Images that could not be read, to warn of them each time.
    broken: Broken,
}

/// Reads a folder of images, from a cache if it holds what lies there now, read in the same way, and
/// else writes one. A cache that cannot be read or written is logged as a warning and costs time only.
pub(super) fn read_folder(
    listing: &Listing,
    cache: &Path,
    options: &FolderOptions,
) -> Result<(Images, Broken), ImageFolderError> {
    let path = &listing.path;
    let root = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = Sha256::new_with_prefix(root.as_os_str().as_encoded_bytes());
    if !listing.part.is_empty() {
        name.update([&[0], listing.part.as_bytes()].concat());
    }
    let name = hex(name);
    // Another version of the program may read what this one cannot.
    let prefix = format!("{name}-{}-{}-", options.key(), env!("CARGO_PKG_VERSION"));
    let file = cache.join(format!("{prefix}{}.images", fingerprint(path, listing)));
    if file.exists() {
        match load(&file) {
            Ok((images, broken)) => {
                listing.warn(&broken);
                return Ok((images, broken));
            }
            Err(error) => log::warn!("{error}; decoding {} again", path.display()),
        }
    }
    let (images, broken) = listing.decode(options)?;
    listing.warn(&broken);
    if broken.tally.may_change {
        return Ok((images, broken));
    }
    match save(&file, &images, &broken) {
        Ok(()) => remove_others(cache, &prefix, &file),
        Err(error) => log::warn!("the decoded images are not kept: {error}"),
    }
    Ok((images, broken))
}

/// What the folder held before is of no use any more.
fn remove_others(cache: &Path, prefix: &str, newest: &Path) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let is_older = entry.file_name().to_string_lossy().starts_with(prefix);
        if is_older && entry.path() != newest {
            // One that stays costs room only.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Names, sizes and times of all files: another value as soon as anything changes.
fn fingerprint(root: &Path, listing: &Listing) -> String {
    let mut hash = Sha256::new();
    for (path, label) in &listing.files {
        // A link to nothing is one of the files; it is broken when it is read.
        let metadata = fs::metadata(path).ok();
        let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.unwrap_or_default().as_nanos();
        let length = metadata.map(|metadata| metadata.len());
        hash.update(path.strip_prefix(root).unwrap_or(path).as_os_str().as_encoded_bytes());
        hash.update(format!("\0{label} {length:?} {modified}\n"));
    }
    hex(hash)
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

fn save(path: &Path, images: &Images, broken: &Broken) -> Result<(), CacheError> {
    let io = |source| CacheError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io)?;
    }
    let (size, count, classes) = (images.size, images.len(), images.classes.clone());
    let header = Header { size, count, classes, broken: broken.clone() };
    let header = serde_json::to_vec(&header).map_err(|error| io(error.into()))?;
    let labels: Vec<u8> = images.labels.iter().flat_map(|label| label.to_le_bytes()).collect();
    let length = (header.len() as u64).to_le_bytes();
    let parts: [&[u8]; 5] = [MAGIC, &length, &header, &labels, &images.bytes];
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    let write = |file: &mut File| {
        let mut file = BufWriter::new(file);
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.write_all(&hash.finalize())?;
        file.flush()
    };
    atomic_file::write(path, write).map_err(io)
}

fn load(path: &Path) -> Result<(Images, Broken), CacheError> {
    let io = |source| CacheError::Io { path: path.to_owned(), source };
    let damaged = |what: &str| CacheError::Damaged { path: path.to_owned(), what: what.to_owned() };
    let file = File::open(path).map_err(io)?;
    let total = file.metadata().map_err(io)?.len();
    let mut reader =
        Hashing { inner: BufReader::with_capacity(1 << 20, file), hash: Sha256::new() };
    if &reader.take::<16>().map_err(io)? != MAGIC {
        return Err(damaged("it begins otherwise"));
    }
    let length = u64::from_le_bytes(reader.take().map_err(io)?);
    if length > LARGEST_HEADER.min(total) {
        return Err(damaged("its header is too long"));
    }
    let header = reader.vector(length as usize).map_err(io)?;
    let header: Header =
        serde_json::from_slice(&header).map_err(|error| damaged(&error.to_string()))?;
    let Header { size: [height, width], count, classes, broken } = header;
    // What the header says must be what is there, before any of it is given memory.
    let pixels = height.checked_mul(width).and_then(|n| n.checked_mul(3)?.checked_mul(count));
    let expected = pixels.and_then(|n| n.checked_add(count.checked_mul(2)?)?.checked_add(32));
    let left = (total - length).checked_sub((MAGIC.len() + 8) as u64);
    let (Some(pixels), true) = (pixels, expected.map(|n| n as u64) == left) else {
        return Err(damaged("its length is not what its header says"));
    };
    let labels = reader.vector(count * 2).map_err(io)?;
    let labels: Vec<u16> =
        labels.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    let bytes = reader.vector(pixels).map_err(io)?;
    let expected = reader.hash.finalize();
    let mut found = [0; 32];
    reader.inner.read_exact(&mut found).map_err(io)?;
    if expected.as_slice() != found {
        return Err(damaged("its checksum does not fit"));
    }
    if labels.iter().any(|&label| usize::from(label) >= classes.len()) {
        return Err(damaged("a label names no class"));
    }
    Ok((Images { size: [height, width], bytes, labels, classes }, broken))
}

/// Reads and takes the checksum on the way.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Hashing<R> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.hash.update(bytes);
        Ok(bytes)
    }

    fn vector(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.inner.read_exact(&mut bytes)?;
        self.hash.update(&bytes);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;
    use std::error::Error;

    type Tested = Result<(), Box<dyn Error>>;

    fn write_image(folder: &Path, name: &str, red: u8) -> Tested {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().ok_or("no folder")?)?;
        Ok(RgbImage::from_fn(4, 4, |x, y| image::Rgb([red, x as u8, y as u8])).save(path)?)
    }

    fn read(
        folder: &Path,
        cache: &Path,
        options: &FolderOptions,
    ) -> Result<Images, ImageFolderError> {
        Ok(read_folder(&Listing::of(folder)?, cache, options)?.0)
    }

    fn cached_files(folder: &Path) -> Result<Vec<PathBuf>, io::Error> {
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
    }

    #[test]
    fn a_cache_is_used_until_the_folder_changes() -> Tested {
        let (folder, cache) = (tempfile::tempdir()?, tempfile::tempdir()?);
        write_image(folder.path(), "a/1.png", 1)?;
        write_image(folder.path(), "b/2.png", 2)?;
        let read = || read(folder.path(), cache.path(), &FolderOptions::default());
        let first = read()?;
        let files = cached_files(cache.path())?;
        assert_eq!((read()?, files.len()), (first.clone(), 1));
        assert_eq!(load(&files[0])?, (first, Broken::default()));
        write_image(folder.path(), "b/3.png", 3)?;
        assert_eq!((read()?.len(), cached_files(cache.path())?.len()), (3, 1));
        Ok(())
    }

    #[test]
    fn parts_of_a_folder_have_a_cache_each() -> Tested {
        let (folder, cache) = (tempfile::tempdir()?, tempfile::tempdir()?);
        write_image(folder.path(), "a/1.png", 1)?;
        write_image(folder.path(), "a/2.png", 2)?;
        let whole = Listing::of(folder.path())?;
        for _ in 0..2 {
            for (place, part) in ["train", "test"].into_iter().enumerate() {
                let files = vec![whole.files[place].clone()];
                let mut listing = Listing::named(whole.path.clone(), whole.classes.clone(), files);
                part.clone_into(&mut listing.part);
                read_folder(&listing, cache.path(), &FolderOptions::default())?;
            }
            assert_eq!(cached_files(cache.path())?.len(), 2);
        }
        Ok(())
    }

    #[test]
    fn another_way_to_read_has_its_own_cache() -> Tested {
        let (folder, cache) = (tempfile::tempdir()?, tempfile::tempdir()?);
        write_image(folder.path(), "a/1.png", 1)?;
        let read = |side| {
            let options = FolderOptions { side, ..Default::default() };
            super::tests::read(folder.path(), cache.path(), &options)
        };
        for _ in 0..2 {
            assert_eq!(read(None)?.size, [4, 4]);
            assert_eq!(read(Some(2))?.size, [2, 2]);
            assert_eq!(read(Some(20))?.size, [20, 20]);
        }
        assert_eq!(cached_files(cache.path())?.len(), 3);
        let key = |side| FolderOptions { side, ..Default::default() }.key();
        assert_ne!(key(Some(2)), key(Some(20)));
        assert!(key(None).ends_with("-safe"));
        Ok(())
    }

    #[test]
    fn broken_images_are_told_of_each_time() -> Tested {
        let (folder, cache) = (tempfile::tempdir()?, tempfile::tempdir()?);
        write_image(folder.path(), "a/1.png", 1)?;
        write_image(folder.path(), "a/2.png", 2)?;
        fs::write(folder.path().join("a/3.png"), "")?;
        let read = || read(folder.path(), cache.path(), &FolderOptions::default());
        let first = read()?;
        assert_eq!(read()?, first);
        let (cached, broken) = load(&cached_files(cache.path())?[0])?;
        assert_eq!((cached, broken.places.as_slice()), (first, [2].as_slice()));
        let told = broken.tally.to_string();
        assert!(told.starts_with("a/3.png: expected an image"), "{told}");
        Ok(())
    }

    #[test]
    fn damage_is_noticed_and_costs_time_only() -> Tested {
        let (folder, cache) = (tempfile::tempdir()?, tempfile::tempdir()?);
        write_image(folder.path(), "a/1.png", 1)?;
        let read = || read(folder.path(), cache.path(), &FolderOptions::default());
        let images = read()?;
        let file = cached_files(cache.path())?.remove(0);
        let whole = fs::read(&file)?;
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x20;
            fs::write(&file, &bytes)?;
            assert!(load(&file).is_err(), "byte {at}");
            fs::write(&file, &whole[..at])?;
            assert!(load(&file).is_err(), "{at} bytes");
        }
        assert_eq!(read()?, images);
        assert_eq!(fs::read(&file)?, whole);
        let nowhere = folder.path().join("a/1.png/cache");
        assert_eq!(super::tests::read(folder.path(), &nowhere, &FolderOptions::default())?, images);
        Ok(())
    }
}
