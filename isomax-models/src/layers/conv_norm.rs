use burn::nn::Dropout;
use burn::tensor::{Tensor, backend::Backend};

use super::conv::{AnyConv, Finish};
use super::{Activation, BatchNorm};

/// A convolution and its batch normalisation, with what follows them: a shortcut that is added, and an
/// activation.
///
/// In evaluation, and where its statistics are frozen, the normalisation is folded into the weights of the convolution, and the rest is done to its
/// sums before they are written. In training the normalisation does the rest along, where the backend has it.
///
/// ```
/// use burn::backend::Flex;
/// use burn::nn::{PaddingConfig2d, conv::Conv2dConfig};
/// use burn::tensor::Tensor;
/// use isomax_models::layers::{Activation, BatchNormConfig, ConvNorm};
///
/// let device = Default::default();
/// let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
/// let conv = Conv2dConfig::new([16, 16], [3, 3]).with_padding(padding).init::<Flex>(&device);
/// let norm = BatchNormConfig::new(16).init::<Flex>(&device);
/// let maps = Tensor::zeros([2, 16, 8, 8], &device);
/// let maps = ConvNorm::new(&conv, &norm)
///     .with_shortcut(maps.clone())
///     .with_activation(Activation::Relu)
///     .forward(maps);
/// assert_eq!(maps.dims(), [2, 16, 8, 8]);
/// ```
#[derive(Debug)]
pub struct ConvNorm<'a, B: Backend> {
    conv: AnyConv<'a, B>,
    norm: &'a BatchNorm<B>,
    dropout: Option<&'a Dropout>,
    shortcut: Option<Tensor<B, 4>>,
    activation: Activation,
}

impl<'a, B: Backend> ConvNorm<'a, B> {
    /// Nothing but the two layers. A convolution is a [`Conv2d`](burn::nn::conv::Conv2d) or a
    /// [`Conv1x1`](super::Conv1x1).
    pub fn new(conv: impl Into<AnyConv<'a, B>>, norm: &'a BatchNorm<B>) -> Self {
        Self {
            conv: conv.into(),
            norm,
            dropout: None,
            shortcut: None,
            activation: Activation::Identity,
        }
    }

    /// Drops values between the two layers, in training.
    pub fn with_dropout(self, dropout: &'a Dropout) -> Self {
        Self { dropout: Some(dropout), ..self }
    }

    /// Adds maps of the shape of the output.
    pub fn with_shortcut(self, maps: Tensor<B, 4>) -> Self {
        Self { shortcut: Some(maps), ..self }
    }

    /// Takes an activation at the end.
    pub fn with_activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// Computes the maps.
    ///
    /// # Shapes
    ///
    /// - maps: `[batch_size, channels_in, height, width]`
    /// - output: `[batch_size, channels_out, …]`, as of the convolution
    ///
    /// # Panics
    ///
    /// If the maps do not have the channels of the convolution, or this those of the normalisation; and as
    /// [`BatchNorm::forward`].
    pub fn forward(self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        let Self { conv, norm, dropout, shortcut, activation } = self;
        // What is dropped changes what is normalized, so that nothing can be folded.
        let dropout = dropout.filter(|dropout| dropout.prob > 0.0 && B::ad_enabled(&maps.device()));
        if dropout.is_some() || norm.uses_batch(&maps.device()) {
            let [_, _, height, width] = maps.dims();
            if dropout.is_none()
                && norm.uses_batch(&maps.device())
                && conv.bias().is_none()
                && let Some(geometry) = conv.geometry([height, width])
                && let Some(maps) = norm.normalize_convolution(
                    &maps,
                    &conv.weight(),
                    geometry,
                    shortcut.as_ref(),
                    activation,
                )
            {
                return maps;
            }
            let maps = conv.forward(maps);
            let maps = match dropout {
                Some(dropout) => dropout.forward(maps),
                None => maps,
            };
            return norm.normalize(maps, shortcut, activation);
        }
        let weight = conv.weight();
        let shape @ [channels, ..] = weight.dims();
        norm.check_channels(channels);
        let (scale, shift) = norm.affine(&maps.device());
        let bias = match conv.bias() {
            Some(bias) => bias * scale.clone() + shift,
            None => shift,
        };
        // As rows, one for each output: many times faster on the CPU backends than over four dimensions.
        let rows = weight.flatten::<2>(1, 3) * scale.unsqueeze_dim(1);
        conv.run(maps, rows.reshape(shape), Finish { bias: Some(bias), shortcut, activation })
    }
}
