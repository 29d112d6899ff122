use burn::tensor::{Tensor, backend::Backend};

/// Mean over height and width: `[batch_size, channels, height, width]` to
/// `[batch_size, channels]`. As means of rows it is faster than adaptive pooling on the processor.
pub(crate) fn global_average<B: Backend>(maps: Tensor<B, 4>) -> Tensor<B, 2> {
    let [batch_size, channels, height, width] = maps.dims();
    maps.reshape([batch_size * channels, height * width])
        .mean_dim(1)
        .reshape([batch_size, channels])
}
