//! Colour images in memory, as bytes.

use burn::data::dataset::Dataset;
use isomax_bundle::CHANNELS;

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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Normalization, tensor_of};
    use burn::backend::Flex;
    use burn::tensor::TensorData;

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
        let device = Default::default();
        let tensor = tensor_of::<Flex>(&images, [0].into_iter(), &normalization, &device);
        let tensor = tensor.unwrap_or_else(|error| panic!("{error}"));
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
    }
}
