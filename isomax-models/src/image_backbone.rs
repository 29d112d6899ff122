//! What the networks for images have in common.

use burn::nn::conv::Conv2d;
use burn::tensor::{Tensor, backend::Backend};
use isomax_burn::Head;

/// Images that a network cannot take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageShapeError {
    /// Another number of channels than the first convolution has.
    #[error("images of shape {shape:?} have {} channels; the network takes {expected}", shape[1])]
    Channels {
        /// What came: `[batch_size, channels, height, width]`.
        shape: [usize; 4],
        /// Number of channels that the network takes.
        expected: usize,
    },
    /// Too few pixels for the strides of the network.
    #[error("images of shape {shape:?} are too small; the network takes {min} × {min} and larger")]
    TooSmall {
        /// What came: `[batch_size, channels, height, width]`.
        shape: [usize; 4],
        /// Smallest height and width.
        min: usize,
    },
    /// No images at all.
    #[error("images of shape {shape:?}: the batch is empty")]
    Empty {
        /// What came: `[batch_size, channels, height, width]`.
        shape: [usize; 4],
    },
}

/// What the networks have around their stages.
pub(crate) struct Frame<'a, B: Backend> {
    /// The convolution that takes the images.
    pub first_conv: &'a Conv2d<B>,
    /// How often the last feature maps are smaller than the images, along each side.
    pub total_stride: usize,
    /// The last layer.
    pub classifier: &'a Head<B>,
}

/// A network for images, seen as stages of feature maps that a global average and a head follow.
pub(crate) trait Stages<B: Backend> {
    /// Computes the last feature maps, and shows those of each stage on the way, the last included.
    fn stages(&self, images: Tensor<B, 4>, show: &mut dyn FnMut(&Tensor<B, 4>)) -> Tensor<B, 4>;

    /// What lies around the stages.
    fn frame(&self) -> Frame<'_, B>;

    /// See the inherent method of the networks.
    fn check(&self, shape: [usize; 4]) -> Result<(), ImageShapeError> {
        let [batch_size, channels, height, width] = shape;
        let frame = self.frame();
        let (expected, min) = (frame.first_conv.weight.dims()[1], frame.total_stride);
        if channels != expected {
            Err(ImageShapeError::Channels { shape, expected })
        } else if height.min(width) < min {
            Err(ImageShapeError::TooSmall { shape, min })
        } else if batch_size == 0 {
            Err(ImageShapeError::Empty { shape })
        } else {
            Ok(())
        }
    }

    fn checked_stages(
        &self,
        images: Tensor<B, 4>,
        show: &mut dyn FnMut(&Tensor<B, 4>),
    ) -> Tensor<B, 4> {
        if let Err(error) = self.check(images.dims()) {
            panic!("{error}");
        }
        self.stages(images, show)
    }
}

/// The public methods of a network for images, out of its [`Stages`].
macro_rules! image_backbone {
    ($model:ident) => {
        impl<B: burn::tensor::backend::Backend> $model<B> {
            /// Computes the raw logits.
            ///
            /// # Shapes
            ///
            /// - images: `[batch_size, channels, height, width]`, normalised
            /// - output: `[batch_size, num_classes]`
            ///
            /// # Panics
            ///
            /// If [`check_images`](Self::check_images) refuses the images; with gradients also if there
            /// is a single image so small that a batch normalisation sees one pixel of it.
            pub fn forward(
                &self,
                images: burn::tensor::Tensor<B, 4>,
            ) -> burn::tensor::Tensor<B, 2> {
                self.head().forward(self.forward_features(images))
            }

            /// Computes the feature vectors: the global average of the last feature maps.
            ///
            /// # Shapes
            ///
            /// - images: `[batch_size, channels, height, width]`, normalised
            /// - output: `[batch_size, num_features]`
            ///
            /// # Panics
            ///
            /// If [`check_images`](Self::check_images) refuses the images; with gradients also if there
            /// is a single image so small that a batch normalisation sees one pixel of it.
            pub fn forward_features(
                &self,
                images: burn::tensor::Tensor<B, 4>,
            ) -> burn::tensor::Tensor<B, 2> {
                use crate::image_backbone::Stages;
                crate::layers::global_average(self.checked_stages(images, &mut |_| ()))
            }

            /// Computes the feature maps of all stages, for detectors that look inside of a
            /// network: after the first convolution, then after each stage. The global average of
            /// the last ones is what [`forward_features`](Self::forward_features) gives.
            ///
            /// # Shapes
            ///
            /// - images: `[batch_size, channels, height, width]`, normalised
            /// - outputs: `[batch_size, channels_i, height_i, width_i]`
            ///
            /// # Panics
            ///
            /// If [`check_images`](Self::check_images) refuses the images; with gradients also if there
            /// is a single image so small that a batch normalisation sees one pixel of it.
            pub fn forward_layers(
                &self,
                images: burn::tensor::Tensor<B, 4>,
            ) -> Vec<burn::tensor::Tensor<B, 4>> {
                use crate::image_backbone::Stages;
                let mut layers = Vec::new();
                self.checked_stages(images, &mut |maps| layers.push(maps.clone()));
                layers
            }

            /// The last layer.
            pub fn head(&self) -> &isomax_burn::Head<B> {
                crate::image_backbone::Stages::frame(self).classifier
            }

            /// Tells whether the network takes images of a shape
            /// `[batch_size, channels, height, width]`.
            ///
            /// # Errors
            ///
            /// [`ImageShapeError`](crate::ImageShapeError) if the number of channels is another one,
            /// if height or width is below the network's total stride, or if there are no images.
            pub fn check_images(&self, shape: [usize; 4]) -> Result<(), crate::ImageShapeError> {
                crate::image_backbone::Stages::check(self, shape)
            }
        }

        #[cfg(feature = "store")]
        impl<B: burn::tensor::backend::Backend> $model<B> {
            /// Loads a state dict of PyTorch: see [`store::load_pytorch`](crate::store::load_pytorch).
            ///
            /// # Errors
            ///
            /// As there; the network is then as it was.
            pub fn load_pytorch(
                &mut self,
                path: impl AsRef<std::path::Path>,
            ) -> Result<(), crate::store::StoreError> {
                crate::store::load_pytorch(self, path)
            }

            /// Loads a safetensors file: see
            /// [`store::load_safetensors`](crate::store::load_safetensors).
            ///
            /// # Errors
            ///
            /// As there; the network is then as it was.
            pub fn load_safetensors(
                &mut self,
                path: impl AsRef<std::path::Path>,
            ) -> Result<(), crate::store::StoreError> {
                crate::store::load_safetensors(self, path)
            }

            /// Saves a safetensors file: see
            /// [`store::save_safetensors`](crate::store::save_safetensors).
            ///
            /// # Errors
            ///
            /// As there.
            pub fn save_safetensors(
                &self,
                path: impl AsRef<std::path::Path>,
            ) -> Result<(), crate::store::StoreError> {
                crate::store::save_safetensors(self, path)
            }
        }

        impl<B: burn::tensor::backend::Backend> crate::Backbone<B> for $model<B> {
            /// Images, `[batch_size, channels, height, width]`, normalised.
            type Input = burn::tensor::Tensor<B, 4>;

            fn forward_features(&self, images: Self::Input) -> burn::tensor::Tensor<B, 2> {
                self.forward_features(images)
            }

            fn head(&self) -> &isomax_burn::Head<B> {
                self.head()
            }
        }
    };
}
pub(crate) use image_backbone;
