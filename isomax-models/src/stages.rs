//! Networks for images: stages of feature maps that a global average and a head follow.

use burn::nn::Dropout;
use burn::tensor::{Tensor, backend::Backend};
use isomax_burn::Head;

use crate::layers::{BatchNorm, global_average};

/// Images that a network cannot take.
///
/// ```
/// use burn::backend::Flex;
/// use isomax_models::{Backbone, CifarResNetConfig, ImageShapeError};
///
/// let network = CifarResNetConfig::new(8, 10).init::<Flex>(&Default::default());
/// let error = network.check_images([64, 1, 28, 28]).unwrap_err();
/// assert_eq!(error, ImageShapeError::Channels { shape: [64, 1, 28, 28], expected: 3 });
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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

/// A network for images, seen as stages of feature maps: what the networks of this crate implement to
/// become a [`Backbone`](crate::Backbone) that checks its images and shows its feature maps.
pub(crate) trait Stages<B: Backend> {
    /// Computes the last feature maps, and shows those of each stage on the way, the last included.
    ///
    /// # Shapes
    ///
    /// - images: `[batch_size, channels, height, width]`, normalised
    /// - output: `[batch_size, num_features, height_n, width_n]`
    fn forward_stages(
        &self,
        images: Tensor<B, 4>,
        show: &mut dyn FnMut(&Tensor<B, 4>),
    ) -> Tensor<B, 4>;

    /// Number of channels of the images.
    fn in_channels(&self) -> usize;

    /// How often smaller than the images the last feature maps are, along each side.
    fn total_stride(&self) -> usize;

    /// The last layer, which follows the global average of the last feature maps.
    fn classifier(&self) -> &Head<B>;

    /// All its batch normalisations.
    fn batch_norms_mut(&mut self) -> Vec<&mut BatchNorm<B>>;

    /// All its probabilities of dropping something in training.
    fn drop_probabilities_mut(&mut self) -> Vec<&mut f64> {
        Vec::new()
    }

    /// What drops features in training.
    fn dropout(&self) -> Option<&Dropout> {
        None
    }
}

/// Whether a network takes images of a shape.
pub(crate) fn check_images<B: Backend>(
    network: &dyn Stages<B>,
    shape: [usize; 4],
) -> Result<(), ImageShapeError> {
    let [batch_size, channels, height, width] = shape;
    let (expected, min) = (network.in_channels(), network.total_stride());
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

/// The feature maps of all stages.
pub(crate) fn layers<B: Backend>(
    network: &dyn Stages<B>,
    images: Tensor<B, 4>,
) -> Vec<Tensor<B, 4>> {
    let mut layers = Vec::new();
    checked(network, images, &mut |maps| layers.push(maps.clone()));
    layers
}

/// The global average of the last feature maps, of which some are dropped in training.
pub(crate) fn features<B: Backend>(network: &dyn Stages<B>, images: Tensor<B, 4>) -> Tensor<B, 2> {
    let features = global_average(checked(network, images, &mut |_| ()));
    match network.dropout() {
        Some(dropout) => dropout.forward(features),
        None => features,
    }
}

fn checked<B: Backend>(
    network: &dyn Stages<B>,
    images: Tensor<B, 4>,
    show: &mut dyn FnMut(&Tensor<B, 4>),
) -> Tensor<B, 4> {
    if let Err(error) = check_images(network, images.dims()) {
        panic!("{error}");
    }
    network.forward_stages(images, show)
}

/// Makes [`Stages`] a [`Backbone`](crate::Backbone). One implementation for all of them would keep users
/// from implementing it for networks of their own.
macro_rules! backbone_of_stages {
    ($network:ident) => {
        impl<B: burn::tensor::backend::Backend> crate::Backbone<B> for $network<B> {
            /// Images, `[batch_size, channels, height, width]`, normalised.
            type Input = burn::tensor::Tensor<B, 4>;
            type Head = isomax_burn::Head<B>;

            /// The global average of the last feature maps, `[batch_size, num_features]`.
            ///
            /// # Panics
            ///
            /// If [`check_images`](crate::Backbone::check_images) refuses the images; with gradients also
            /// if there is a single image so small that a batch normalisation sees one pixel of it.
            fn forward_features(&self, images: Self::Input) -> burn::tensor::Tensor<B, 2> {
                crate::stages::features(self, images)
            }

            fn head(&self) -> &Self::Head {
                crate::stages::Stages::classifier(self)
            }

            fn forward_layers(&self, images: Self::Input) -> Vec<burn::tensor::Tensor<B, 4>> {
                crate::stages::layers(self, images)
            }

            fn batch_norms_mut(&mut self) -> Vec<&mut crate::BatchNorm<B>> {
                crate::stages::Stages::batch_norms_mut(self)
            }

            fn drop_probabilities_mut(&mut self) -> Vec<&mut f64> {
                crate::stages::Stages::drop_probabilities_mut(self)
            }

            fn check_images(&self, shape: [usize; 4]) -> Result<(), crate::ImageShapeError> {
                crate::stages::check_images(self, shape)
            }
        }
    };
}
pub(crate) use backbone_of_stages;
