//! Sets of image files: their pixels in memory, or decoded whenever they are asked for.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use isomax_bundle::{CHANNELS, Normalization, Picture, read_picture};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::image_folder::{Broken, FolderOptions, ImageFolderError, Listing};
use super::source::{ImageSource, UnreadableImage, digest_of_pixels};
use super::{DecodeError, Images, ReadError, cache};

/// Memory that sets may take together; what does not fit is decoded from its files again and again. What is
/// trained on does not depend on it.
#[derive(Debug)]
pub struct MemoryBudget(AtomicU64);

impl MemoryBudget {
    /// Room for so many bytes of pixels.
    pub fn new(bytes: u64) -> Self {
        Self(AtomicU64::new(bytes))
    }

    /// Takes bytes, if there is room for them.
    fn take(&self, bytes: u64) -> bool {
        let left = |left: u64| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Default for MemoryBudget {
    /// 4 GiB.
    fn default() -> Self {
        Self::new(4 << 30)
    }
}

/// How image files are opened.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    /// How they are read, with the size that networks see.
    pub options: &'a FolderOptions,
    /// Whether parts are cut out of the images as they are in their files.
    pub is_cut: bool,
    pub budget: &'a MemoryBudget,
    /// Where decoded images are kept for the next time.
    pub cache: Option<PathBuf>,
}

/// Image files, each with the label of its class.
///
/// All are decoded once when they are opened: those that cannot be read are left out with a warning. The
/// pixels stay in memory if there is room; if not, a file is decoded whenever its image is asked for.
#[derive(Clone)]
pub struct ImageFiles {
    files: Vec<PathBuf>,
    labels: Vec<u16>,
    classes: Vec<String>,
    options: FolderOptions,
    side: u32,
    held: Held,
    /// The name of each file below the folder, and its length: what tells it from others.
    marks: Vec<String>,
    sums: ChannelSums,
    /// Whether it is told from others by its pixels, as a set that there is as bytes, too, must be.
    is_told_by_pixels: bool,
}

#[derive(Clone)]
enum Held {
    Nothing,
    /// What networks see, image after image.
    Pixels(Arc<Vec<u8>>),
    /// Images as they are in their files.
    Pictures(Arc<Vec<Picture>>),
}

impl fmt::Debug for ImageFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, side, .. } = self;
        let mut shown = f.debug_struct("ImageFiles");
        shown.field("files", &files.len()).field("side", side).finish_non_exhaustive()
    }
}

impl ImageFiles {
    /// Decodes all files once.
    ///
    /// # Errors
    ///
    /// [`ImageFolderError`] if more than half cannot be read, or the JPEG decoder is not in this build.
    pub(super) fn open(listing: &Listing, opening: &Opening<'_>) -> Result<Self, ImageFolderError> {
        let Opening { options, is_cut, budget, ref cache } = *opening;
        let side = options.side.unwrap_or(SIDE_OF_CIFAR);
        let options = FolderOptions { side: Some(side), ..options.clone() };
        let image_len = (side as usize).pow(2) * CHANNELS;
        let pixels = (listing.files.len() * image_len) as u64;
        let (held, broken, sums) = if !is_cut && budget.take(pixels) {
            let (images, broken) = match cache {
                Some(cache) => cache::read_folder(listing, cache, &options)?,
                None => listing.decode(&options).inspect(|(_, broken)| listing.warn(broken))?,
            };
            let sums = ChannelSums::of(&images.bytes);
            (Held::Pixels(Arc::new(images.bytes)), broken, sums)
        } else {
            decode_once(listing, &options, is_cut.then_some(budget))?
        };
        let kept = listing.kept(&broken);
        let (files, labels): (Vec<PathBuf>, Vec<u16>) =
            kept.into_iter().map(|place| listing.files[place].clone()).unzip();
        let marks = files.iter().map(|file| mark(listing, file)).collect();
        let classes = listing.classes.clone();
        let is_told_by_pixels = false;
        Ok(Self { files, labels, classes, options, side, held, marks, sums, is_told_by_pixels })
    }

    /// Mean and standard deviation of all pixels, as networks see them.
    pub fn measured_normalization(&self) -> Normalization {
        self.sums.normalization()
    }

    /// Whether the files are decoded whenever their images are asked for.
    pub fn is_streamed(&self) -> bool {
        matches!(self.held, Held::Nothing)
    }

    /// The files, in the order of the images.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The set as bytes if its pixels are in memory, and else as it is, with the digest of these bytes.
    pub(super) fn into_source(self) -> Arc<dyn ImageSource> {
        match self.held {
            Held::Pixels(bytes) => Arc::new(Images {
                size: [self.side as usize; 2],
                bytes: Arc::unwrap_or_clone(bytes),
                labels: self.labels,
                classes: self.classes,
            }),
            held => Arc::new(Self { held, is_told_by_pixels: true, ..self }),
        }
    }

    fn read(&self, index: usize) -> Result<Picture, UnreadableImage> {
        let path = &self.files[index];
        read_picture(path, self.options.jpeg, self.options.orientation)
            .map_err(|source| UnreadableImage { path: path.clone(), source })
    }
}

/// The height and width of images where none are asked for.
const SIDE_OF_CIFAR: u32 = 32;

impl ImageSource for ImageFiles {
    fn size(&self) -> [usize; 2] {
        [self.side as usize; 2]
    }

    fn labels(&self) -> &[u16] {
        &self.labels
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn pixels(&self, index: usize) -> Result<Cow<'_, [u8]>, UnreadableImage> {
        let image_len = (self.side as usize).pow(2) * CHANNELS;
        let picture = match &self.held {
            Held::Pixels(pixels) => {
                return Ok(Cow::Borrowed(&pixels[index * image_len..][..image_len]));
            }
            Held::Pictures(pictures) => pictures[index].clone(),
            Held::Nothing => self.read(index)?,
        };
        Ok(Cow::Owned(self.options.resized(picture).into_raw()))
    }

    fn picture(&self, index: usize) -> Result<Cow<'_, Picture>, UnreadableImage> {
        match &self.held {
            Held::Pictures(pictures) => Ok(Cow::Borrowed(&pictures[index])),
            Held::Nothing | Held::Pixels(_) => Ok(Cow::Owned(self.read(index)?)),
        }
    }

    fn digest(&self, indices: &mut dyn ExactSizeIterator<Item = usize>, hash: &mut Sha256) {
        if self.is_told_by_pixels {
            let pixels = |index| self.pixels(index);
            return digest_of_pixels(self.size(), &self.labels, pixels, indices, hash);
        }
        hash.update(format!("{} {}\n", indices.len(), self.classes.join("\0")));
        for index in indices {
            hash.update(format!("{} {}\n", self.marks[index], self.labels[index]));
        }
    }
}

/// Looks at every image, and holds them as they are as long as there is room.
fn decode_once(
    listing: &Listing,
    options: &FolderOptions,
    budget: Option<&MemoryBudget>,
) -> Result<(Held, Broken, ChannelSums), ImageFolderError> {
    let has_room = AtomicBool::new(budget.is_some());
    let taken = AtomicU64::new(0);
    let look = |(path, _): &(PathBuf, u16)| -> Result<Looked, ImageFolderError> {
        let decoded = options.decode(path);
        options.progress.advance(1);
        let picture = match decoded {
            Ok(picture) => picture,
            Err(ReadError::Decode(error @ DecodeError::NotBuilt(_))) => {
                return Err(ImageFolderError::Decoder(error));
            }
            Err(error) => return Ok(Err(error)),
        };
        let length = picture.as_raw().len() as u64;
        let is_held = has_room.load(Ordering::Relaxed)
            && budget.is_some_and(|budget| match budget.take(length) {
                true => true,
                false => {
                    has_room.store(false, Ordering::Relaxed);
                    false
                }
            });
        if is_held {
            taken.fetch_add(length, Ordering::Relaxed);
        }
        let held = is_held.then(|| picture.clone());
        let sums = ChannelSums::of(options.resized(picture).as_raw());
        Ok(Ok((held, sums)))
    };
    options
        .progress
        .start(listing.files.len() as u64, &format!("reading {}", listing.path.display()));
    let looked: Result<Vec<Looked>, _> = listing.files.par_iter().map(look).collect();
    options.progress.finish();

    let (mut pictures, mut sums, mut failures) = (Vec::new(), ChannelSums::default(), Vec::new());
    let has_room = has_room.into_inner();
    for looked in looked? {
        failures.push(match looked {
            Ok((picture, of_image)) => {
                sums.add(&of_image);
                pictures.extend(picture.filter(|_| has_room));
                None
            }
            Err(error) => Some(error),
        });
    }
    let broken = listing.broken(failures)?;
    listing.warn(&broken);
    if has_room {
        return Ok((Held::Pictures(Arc::new(pictures)), broken, sums));
    }
    if let Some(budget) = budget {
        budget.give_back(taken.into_inner());
    }
    Ok((Held::Nothing, broken, sums))
}

/// An image if there was room for it, and the sums of its pixels; or why it cannot be read.
type Looked = Result<(Option<Picture>, ChannelSums), ReadError>;

fn mark(listing: &Listing, file: &Path) -> String {
    let length = file.metadata().map(|metadata| metadata.len()).unwrap_or_default();
    format!("{}\0{length}", listing.shown(file))
}

/// Sums of bytes and of their squares for each channel: whole numbers, the same in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ChannelSums {
    count: u64,
    sums: [u64; CHANNELS],
    squares: [u64; CHANNELS],
}

impl ChannelSums {
    fn of(pixels: &[u8]) -> Self {
        let mut sums = Self { count: (pixels.len() / CHANNELS) as u64, ..Self::default() };
        for pixel in pixels.chunks_exact(CHANNELS) {
            for (channel, &byte) in pixel.iter().enumerate() {
                sums.sums[channel] += u64::from(byte);
                sums.squares[channel] += u64::from(byte).pow(2);
            }
        }
        sums
    }

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        for channel in 0..CHANNELS {
            self.sums[channel] += other.sums[channel];
            self.squares[channel] += other.squares[channel];
        }
    }

    fn normalization(&self) -> Normalization {
        let count = self.count.max(1) as f64;
        let mean = |channel: usize| self.sums[channel] as f64 / count;
        let std = |channel: usize| {
            let variance = self.squares[channel] as f64 / count - mean(channel).powi(2);
            // Of images of one colour: a step of a byte is then one deviation.
            variance.max(1.0).sqrt()
        };
        let channels = |value: &dyn Fn(usize) -> f64| {
            std::array::from_fn(|channel| (value(channel) / 255.0) as f32)
        };
        Normalization { mean: channels(&mean), std: channels(&std) }
    }
}

/// The images of a set that was read as bytes, brought to another size.
pub(super) fn resized(images: Images, options: &FolderOptions) -> Images {
    let Some(side) = options.side.map(|side| side as usize) else { return images };
    if images.size == [side; 2] {
        return images;
    }
    let [height, width] = images.size.map(|side| side as u32);
    let pictures = images.bytes.par_chunks_exact(images.image_len().max(1));
    let bytes = pictures.flat_map_iter(|bytes| {
        let picture = Picture::from_raw(width, height, bytes.to_vec());
        picture.map(|picture| options.resized(picture).into_raw()).unwrap_or_default()
    });
    Images { size: [side; 2], bytes: bytes.collect(), ..images }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_values_are_those_of_the_pixels() {
        let mut sums = ChannelSums::of(&[0, 10, 255, 255, 20, 255]);
        sums.add(&ChannelSums::of(&[0, 30, 255, 255, 40, 255]));
        let Normalization { mean, std } = sums.normalization();
        assert_eq!(mean, [0.5, 25.0 / 255.0, 1.0]);
        assert_eq!(std, [0.5, 125.0_f64.sqrt() as f32 / 255.0, 1.0 / 255.0]);
    }

    #[test]
    fn a_budget_is_not_overdrawn() {
        let budget = MemoryBudget::new(10);
        assert!(budget.take(6) && !budget.take(5) && budget.take(4) && !budget.take(1));
        budget.give_back(4);
        assert!(budget.take(3));
    }

    /// Images of a folder, as many in memory as there is room for.
    fn open(folder: &Path, is_cut: bool, memory: u64) -> Result<ImageFiles, ImageFolderError> {
        let options = FolderOptions { side: Some(4), resize: Some(5), ..FolderOptions::default() };
        let budget = MemoryBudget::new(memory);
        let opening = Opening { options: &options, is_cut, budget: &budget, cache: None };
        ImageFiles::open(&Listing::of(folder)?, &opening)
    }

    fn write(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
        for number in 0..6_u32 {
            let picture = Picture::from_fn(9 + number, 8, |x, y| {
                image::Rgb([(number * 40) as u8, (x * 9) as u8, (y * 13) as u8])
            });
            picture.save(folder.join(format!("{number}.png")))?;
        }
        std::fs::write(folder.join("3.png"), "broken")?;
        Ok(())
    }

    #[test]
    fn a_set_has_one_digest_whether_there_is_room_for_it_or_not()
    -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        write(folder.path())?;
        let digest = |memory| -> Result<String, ImageFolderError> {
            let images = open(folder.path(), false, memory)?.into_source();
            Ok(crate::data::digest([&*images]))
        };
        let held = digest(1 << 20)?;
        assert_eq!(held, digest(0)?);
        Picture::new(9, 8).save(folder.path().join("0.png"))?;
        assert_ne!(held, digest(0)?);
        Ok(())
    }

    #[test]
    fn memory_changes_nothing() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        write(folder.path())?;
        let streamed = open(folder.path(), true, 0)?;
        assert!(streamed.is_streamed());
        assert_eq!(streamed.len(), 5);
        // Room for all, for a part that is then given up, and for pixels of the size that is seen.
        for (is_cut, memory, is_streamed) in
            [(true, 1 << 20, false), (true, 500, true), (false, 1 << 20, false), (false, 20, true)]
        {
            let files = open(folder.path(), is_cut, memory)?;
            assert_eq!(files.is_streamed(), is_streamed, "{memory} bytes");
            assert_eq!(files.measured_normalization(), streamed.measured_normalization());
            assert_eq!(crate::data::digest([&files as _]), crate::data::digest([&streamed as _]));
            for index in 0..5 {
                assert_eq!(files.pixels(index)?, streamed.pixels(index)?);
                assert_eq!(files.picture(index)?, streamed.picture(index)?);
            }
        }
        Ok(())
    }

    #[test]
    fn a_file_that_goes_away_ends_the_epoch() -> Result<(), Box<dyn std::error::Error>> {
        use crate::data::{ImageBatches, ImageLoader};
        use burn::backend::Flex;
        use burn::data::dataloader::DataLoader;

        let folder = tempfile::tempdir()?;
        write(folder.path())?;
        let files = open(folder.path(), false, 0)?;
        let gone = folder.path().join("4.png");
        std::fs::remove_file(&gone)?;
        let error = files.pixels(3).err().ok_or("read")?;
        assert!(error.path == gone && error.to_string().contains("could be read before"));

        let batches = ImageBatches::new(Arc::new(files), Normalization::CIFAR10, 2);
        let epoch = std::panic::AssertUnwindSafe(|| {
            ImageLoader::<Flex>::new(batches.clone(), &Default::default()).iter().count()
        });
        let cause = std::panic::catch_unwind(epoch).err().ok_or("a whole epoch")?;
        let error = cause.downcast::<UnreadableImage>().map_err(|_| "another panic")?;
        assert_eq!(error.path, gone);
        Ok(())
    }
}
