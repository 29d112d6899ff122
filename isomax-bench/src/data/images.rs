//! Colour images in memory, as bytes, and the tensors that networks take.

use burn::data::dataset::Dataset;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use sha2::{Digest, Sha256};

use super::augment::{ShiftAndFlip, write_image};
use super::normalization::{CHANNELS, Normalization};

/// Images of one size, with the labels of their classes if they have any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// `[height, width]`, in pixels.
    pub size: [usize; 2],
    /// Red, green and blue of each pixel, row after row, image after image.
    pub bytes: Vec<u8>,
    /// Class index of each image; all 0 if there is one class.
    pub labels: Vec<u16>,
    /// Names of the classes, in the order of their indices.
    pub classes: Vec<String>,
}

/// One image of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageItem {
    /// Red, green and blue of each pixel, row after row.
    pub bytes: Vec<u8>,
    /// Its class index.
    pub label: u16,
}

impl Dataset<ImageItem> for Images {
    fn get(&self, index: usize) -> Option<ImageItem> {
        let label = *self.labels.get(index)?;
        Some(ImageItem { bytes: self.image(index).to_vec(), label })
    }

    fn len(&self) -> usize {
        self.labels.len()
    }
}

impl Images {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of bytes of an image.
    pub fn image_len(&self) -> usize {
        self.size[0] * self.size[1] * CHANNELS
    }

    /// Red, green and blue of each pixel of an image, row after row.
    ///
    /// # Panics
    ///
    /// If there is no image of this index.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.bytes[index * self.image_len()..][..self.image_len()]
    }

    /// The images of some indices, in their order.
    ///
    /// # Panics
    ///
    /// If there is no image of an index.
    pub fn select(&self, indices: &[u32]) -> Self {
        let mut bytes = Vec::with_capacity(indices.len() * self.image_len());
        indices.iter().for_each(|&index| bytes.extend_from_slice(self.image(index as usize)));
        Self {
            size: self.size,
            bytes,
            labels: indices.iter().map(|&index| self.labels[index as usize]).collect(),
            classes: self.classes.clone(),
        }
    }

    /// Normalised images, `[indices.len(), 3, height, width]`.
    ///
    /// # Panics
    ///
    /// If there is no image of an index.
    pub fn tensor<B: Backend>(
        &self,
        indices: impl ExactSizeIterator<Item = usize>,
        normalization: &Normalization,
        device: &B::Device,
    ) -> Tensor<B, 4> {
        let [height, width] = self.size;
        let (count, table) = (indices.len(), normalization.table());
        let mut values = vec![0.0; count * self.image_len()];
        for (index, out) in indices.zip(values.chunks_exact_mut(self.image_len())) {
            write_image(self.image(index), self.size, ShiftAndFlip::default(), &table, out);
        }
        Tensor::from_data(TensorData::new(values, [count, CHANNELS, height, width]), device)
    }
}

/// A digest of sets of images: sizes, labels and pixels, in their order.
pub fn digest<'a>(sets: impl IntoIterator<Item = &'a Images>) -> String {
    let mut hash = Sha256::new();
    for Images { size, bytes, labels, .. } in sets {
        hash.update(format!("{size:?} {}\n", labels.len()));
        labels.iter().for_each(|label| hash.update(label.to_le_bytes()));
        hash.update(bytes);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;

    fn two_images() -> Images {
        Images {
            size: [1, 2],
            bytes: vec![0, 255, 51, 255, 0, 102, 9, 9, 9, 9, 9, 9],
            labels: vec![0, 1],
            classes: vec!["one".to_owned(), "two".to_owned()],
        }
    }

    #[test]
    fn tensors_hold_channels_of_normalised_pixels() {
        let normalization = Normalization { mean: [0.5, 0.0, 0.2], std: [0.5, 1.0, 0.1] };
        let images = two_images();
        let tensor = images.tensor::<Flex>([0].into_iter(), &normalization, &Default::default());
        assert_eq!(tensor.dims(), [1, 3, 1, 2]);
        let expected = TensorData::from([[[[-1.0_f32, 1.0]], [[1.0, 0.0]], [[0.0, 2.0]]]]);
        let tolerance = burn::tensor::Tolerance::absolute(1e-5);
        tensor.into_data().assert_approx_eq::<f32>(&expected, tolerance);
    }

    #[test]
    fn images_are_a_dataset_of_burn() {
        let images = two_images();
        assert_eq!(Dataset::len(&images), 2);
        assert_eq!(images.get(1), Some(ImageItem { bytes: vec![9; 6], label: 1 }));
        assert_eq!(images.get(2), None);
        assert_eq!(images.select(&[1]).labels, [1]);
        assert_eq!(images.select(&[1]).bytes, [9; 6]);
    }
}
