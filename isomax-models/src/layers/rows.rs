use burn::tensor::{Tensor, backend::Backend};

/// Maps as a matrix with one row for each image and channel: what is one value for each channel is
/// then one for each row, which the CPU backends spread many times faster than over four
/// dimensions.
pub(super) struct Rows<B: Backend> {
    /// `[batch_size · channels, height · width]`.
    pub values: Tensor<B, 2>,
    shape: [usize; 4],
}

impl<B: Backend> Rows<B> {
    pub fn new(maps: Tensor<B, 4>) -> Self {
        let shape @ [batch_size, channels, height, width] = maps.dims();
        Self { values: maps.reshape([batch_size * channels, height * width]), shape }
    }

    /// Means over images and pixels, `[1, channels]`.
    pub fn channel_means(&self, values: Tensor<B, 2>) -> Tensor<B, 2> {
        let [batch_size, channels, ..] = self.shape;
        // Means of means: sums over all pixels are beyond the largest number of half precision.
        values.mean_dim(1).reshape([batch_size, channels]).mean_dim(0)
    }

    /// One value for each channel, `[1, channels]`, as one for each row.
    pub fn spread(&self, values: Tensor<B, 2>) -> Tensor<B, 2> {
        let [batch_size, channels, ..] = self.shape;
        values.expand([batch_size, channels]).reshape([batch_size * channels, 1])
    }

    /// Maps of the same shape.
    pub fn map(self, values: impl FnOnce(Tensor<B, 2>) -> Tensor<B, 2>) -> Tensor<B, 4> {
        values(self.values).reshape(self.shape)
    }
}

/// Adds an offset to each channel.
pub(super) fn add_bias<B: Backend>(maps: Tensor<B, 4>, bias: Tensor<B, 1>) -> Tensor<B, 4> {
    let rows = Rows::new(maps);
    let bias = rows.spread(bias.unsqueeze());
    rows.map(|values| values + bias)
}
