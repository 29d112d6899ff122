//! Sets of images, wherever their pixels lie.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData, backend::Backend};
use isomax_bundle::{CHANNELS, Normalization, Picture};
use sha2::{Digest, Sha256};

use super::augment::{ShiftAndFlip, write_image};
use super::{Images, ReadError};

/// An image that could be read when its set was opened, and cannot be any more.
#[derive(Debug, thiserror::Error)]
#[error("{}: could be read before, and no longer can: {source}", path.display())]
pub struct UnreadableImage {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: ReadError,
}

/// A set of images of one size, with the labels of their classes if they have any: in memory, as [`Images`], or
/// in files that are decoded when they are asked for, as [`ImageFiles`](super::ImageFiles).
pub trait ImageSource: fmt::Debug + Send + Sync {
    /// `[height, width]` of what networks see, in pixels.
    fn size(&self) -> [usize; 2];

    /// Class index of each image; all 0 if there is one class.
    fn labels(&self) -> &[u16];

    /// Names of the classes, in the order of their indices.
    fn classes(&self) -> &[String];

    /// What networks see of an image, not normalised: red, green and blue of each pixel, row after row.
    ///
    /// # Errors
    ///
    /// [`UnreadableImage`].
    ///
    /// # Panics
    ///
    /// If there is no image of this index.
    fn pixels(&self, index: usize) -> Result<Cow<'_, [u8]>, UnreadableImage>;

    /// An image before it is brought to the size that networks see, for what cuts parts out of it.
    ///
    /// # Errors
    ///
    /// [`UnreadableImage`].
    ///
    /// # Panics
    ///
    /// If there is no image of this index.
    fn picture(&self, index: usize) -> Result<Cow<'_, Picture>, UnreadableImage>;

    /// Takes into a digest what tells some of its images, in an order, from all others.
    ///
    /// # Panics
    ///
    /// If there is no image of an index.
    fn digest(&self, indices: &mut dyn ExactSizeIterator<Item = usize>, hash: &mut Sha256);

    /// Number of images.
    fn len(&self) -> usize {
        self.labels().len()
    }

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.labels().is_empty()
    }
}

impl ImageSource for Images {
    fn size(&self) -> [usize; 2] {
        self.size
    }

    fn labels(&self) -> &[u16] {
        &self.labels
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn pixels(&self, index: usize) -> Result<Cow<'_, [u8]>, UnreadableImage> {
        Ok(Cow::Borrowed(self.image(index)))
    }

    fn picture(&self, index: usize) -> Result<Cow<'_, Picture>, UnreadableImage> {
        let [height, width] = self.size.map(|side| side as u32);
        let picture = Picture::from_raw(width, height, self.image(index).to_vec());
        Ok(Cow::Owned(picture.unwrap_or_else(|| unreachable!("an image has all its bytes"))))
    }

    fn digest(&self, indices: &mut dyn ExactSizeIterator<Item = usize>, hash: &mut Sha256) {
        let pixels = |index| Ok(Cow::Borrowed(self.image(index)));
        digest_of_pixels(self.size, &self.labels, pixels, indices, hash);
    }
}

/// The digest of a set by its labels and pixels, the same whatever holds these.
pub(super) fn digest_of_pixels<'a>(
    size: [usize; 2],
    labels: &[u16],
    pixels: impl Fn(usize) -> Result<Cow<'a, [u8]>, UnreadableImage>,
    indices: &mut dyn ExactSizeIterator<Item = usize>,
    hash: &mut Sha256,
) {
    hash.update(format!("{size:?} {}\n", indices.len()));
    let indices: Vec<usize> = indices.collect();
    indices.iter().for_each(|&index| hash.update(labels[index].to_le_bytes()));
    for index in indices {
        match pixels(index) {
            Ok(pixels) => hash.update(&pixels),
            // It was there a moment ago: the set is another one now.
            Err(error) => hash.update(error.to_string()),
        }
    }
}

/// Some images of a set, in an order of their own.
#[derive(Debug, Clone)]
pub struct Subset {
    images: Arc<dyn ImageSource>,
    indices: Vec<u32>,
    labels: Vec<u16>,
}

impl Subset {
    /// The images of some indices.
    ///
    /// # Panics
    ///
    /// If there is no image of an index.
    pub fn new(images: Arc<dyn ImageSource>, indices: Vec<u32>) -> Self {
        let labels = indices.iter().map(|&index| images.labels()[index as usize]).collect();
        Self { images, indices, labels }
    }
}

impl ImageSource for Subset {
    fn size(&self) -> [usize; 2] {
        self.images.size()
    }

    fn labels(&self) -> &[u16] {
        &self.labels
    }

    fn classes(&self) -> &[String] {
        self.images.classes()
    }

    fn pixels(&self, index: usize) -> Result<Cow<'_, [u8]>, UnreadableImage> {
        self.images.pixels(self.indices[index] as usize)
    }

    fn picture(&self, index: usize) -> Result<Cow<'_, Picture>, UnreadableImage> {
        self.images.picture(self.indices[index] as usize)
    }

    fn digest(&self, indices: &mut dyn ExactSizeIterator<Item = usize>, hash: &mut Sha256) {
        self.images.digest(&mut indices.map(|index| self.indices[index] as usize), hash);
    }
}

/// Normalised images, `[indices.len(), 3, height, width]`.
///
/// # Errors
///
/// [`UnreadableImage`].
///
/// # Panics
///
/// If there is no image of an index.
pub fn tensor_of<B: Backend>(
    images: &dyn ImageSource,
    indices: impl ExactSizeIterator<Item = usize>,
    normalization: &Normalization,
    device: &B::Device,
) -> Result<Tensor<B, 4>, UnreadableImage> {
    let [height, width] = images.size();
    let (count, table) = (indices.len(), normalization.table());
    let image_len = height * width * CHANNELS;
    let mut values = vec![0.0; count * image_len];
    for (index, out) in indices.zip(values.chunks_exact_mut(image_len.max(1))) {
        let pixels = images.pixels(index)?;
        write_image(&pixels, [height, width], ShiftAndFlip::default(), &table, out);
    }
    Ok(Tensor::from_data(TensorData::new(values, [count, CHANNELS, height, width]), device))
}

/// A digest of sets of images, in their order.
pub fn digest<'a>(sets: impl IntoIterator<Item = &'a dyn ImageSource>) -> String {
    let mut hash = Sha256::new();
    sets.into_iter().for_each(|set| set.digest(&mut (0..set.len()), &mut hash));
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
