use burn::tensor::{Tensor, backend::Backend};

/// Concatenates feature maps along the channels.
///
/// The maps are joined as rows, one for each image: the same memory, which the CPU backends
/// copy in long runs.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::layers::concat_channels;
///
/// let few = Tensor::<Flex, 4>::zeros([2, 16, 8, 8], &Default::default());
/// let more = Tensor::<Flex, 4>::zeros([2, 32, 8, 8], &Default::default());
/// assert_eq!(concat_channels(vec![few, more]).dims(), [2, 48, 8, 8]);
/// ```
///
/// # Shapes
///
/// - maps: `[batch_size, channels_i, height, width]`
/// - output: `[batch_size, Σ channels_i, height, width]`
///
/// # Panics
///
/// If there are no maps, or if they differ in more than the channels.
pub fn concat_channels<B: Backend>(maps: Vec<Tensor<B, 4>>) -> Tensor<B, 4> {
    let [batch_size, _, height, width] = maps[0].dims();
    let channels = maps.iter().map(|maps| maps.dims()[1]).sum();
    let rows = maps.into_iter().map(|maps| maps.flatten::<2>(1, 3)).collect();
    Tensor::cat(rows, 1).reshape([batch_size, channels, height, width])
}
