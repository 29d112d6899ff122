use burn::tensor::module::avg_pool2d;
use burn::tensor::{Tensor, TensorData, backend::Backend, s};

/// Mean over height and width. As means of rows it is faster than adaptive pooling on the CPU.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::layers::global_average;
///
/// let maps = Tensor::<Flex, 4>::ones([2, 16, 8, 8], &Default::default());
/// assert_eq!(global_average(maps).dims(), [2, 16]);
/// ```
///
/// # Shapes
///
/// - maps: `[batch_size, channels, height, width]`
/// - output: `[batch_size, channels]`
pub fn global_average<B: Backend>(maps: Tensor<B, 4>) -> Tensor<B, 2> {
    let [batch_size, channels, height, width] = maps.dims();
    maps.reshape([batch_size * channels, height * width])
        .mean_dim(1)
        .reshape([batch_size, channels])
}

/// Every `stride`-th row and column, from the first on: a mean over one pixel each, which no backend
/// rounds, and which is fast on those where slices with a step are not.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::layers::subsample;
///
/// let maps = Tensor::<Flex, 4>::ones([2, 16, 9, 8], &Default::default());
/// assert_eq!(subsample(maps, 2).dims(), [2, 16, 5, 4]);
/// ```
///
/// # Shapes
///
/// - maps: `[batch_size, channels, height, width]`
/// - output: `[batch_size, channels, ⌈height / stride⌉, ⌈width / stride⌉]`
pub fn subsample<B: Backend>(maps: Tensor<B, 4>, stride: usize) -> Tensor<B, 4> {
    if stride == 1 {
        return maps;
    }
    let [batch_size, channels, height, width] = maps.dims();
    // All maps as those of one image: with one channel, Burn's gradient on wgpu mixes images up.
    let maps = maps.reshape([1, batch_size * channels, height, width]);
    let pooled = avg_pool2d(maps, [1, 1], [stride; 2], [0, 0], true, false);
    let [_, _, height, width] = pooled.dims();
    pooled.reshape([batch_size, channels, height, width])
}

/// Means of squares of 2 × 2 pixels; an odd last row or column is left out, as in PyTorch.
///
/// Two lines of an image lie next to each other in memory, so that pairs of lines are the rows of a
/// matrix, and pooling is its product with a constant one: several times faster than pooling on
/// the CPU, for maps up to some hundred pixels wide. A pixel that is not finite makes all means of its two lines NaN.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_models::layers::average_2x2;
///
/// let maps = Tensor::<Flex, 4>::from_floats([[[[1.0, 2.0], [3.0, 6.0]]]], &Default::default());
/// assert_eq!(average_2x2(maps).into_scalar(), 3.0);
/// ```
///
/// # Shapes
///
/// - maps: `[batch_size, channels, height, width]`
/// - output: `[batch_size, channels, ⌊height / 2⌋, ⌊width / 2⌋]`
pub fn average_2x2<B: Backend>(maps: Tensor<B, 4>) -> Tensor<B, 4> {
    let [batch_size, channels, full_height, full_width] = maps.dims();
    let (height, width) = (full_height / 2, full_width / 2);
    let is_even = full_height % 2 == 0 && full_width % 2 == 0;
    let maps = if is_even { maps } else { maps.slice(s![.., .., ..2 * height, ..2 * width]) };
    let pairs_of_lines = maps.reshape([batch_size * channels * height, 4 * width]);
    let pooling = pooling_matrix(width, &pairs_of_lines);
    pairs_of_lines.matmul(pooling).reshape([batch_size, channels, height, width])
}

/// `[4 · width, width]`, of the type of the maps: from two lines of `2 · width` pixels to one line of
/// means.
fn pooling_matrix<B: Backend>(width: usize, like: &Tensor<B, 2>) -> Tensor<B, 2> {
    let mut values = vec![0.0_f32; 4 * width * width];
    for pixel in 0..4 * width {
        values[pixel * width + (pixel % (2 * width)) / 2] = 0.25;
    }
    let values = TensorData::new(values, [4 * width, width]);
    Tensor::from_data(values, (&like.device(), like.dtype()))
}
