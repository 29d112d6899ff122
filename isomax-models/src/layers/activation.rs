use burn::tensor::{Tensor, activation::relu, backend::Backend};

/// What follows a normalisation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activation {
    /// Values as they are.
    #[default]
    Identity,
    /// Nothing below 0.
    Relu,
    /// Nothing below 0 or above 6 ([arXiv:1704.04861](https://arxiv.org/abs/1704.04861)).
    Relu6,
}

impl Activation {
    pub(super) fn forward<B: Backend>(self, maps: Tensor<B, 4>) -> Tensor<B, 4> {
        match self {
            Self::Identity => maps,
            Self::Relu => relu(maps),
            Self::Relu6 => relu(maps).clamp_max(6.0),
        }
    }
}
