//! Fractional probability regularisation (FPR), the add-on of DisMax for images
//! ([arXiv:2205.05874](https://arxiv.org/abs/2205.05874)).
//!
//! Half of each batch is left alone. In the other half every image is put together from four
//! quadrants of four images, and its target is a quarter for each of their labels: images that
//! belong to no class in full are to get outputs that say so.
//!
//! [`DisMaxLoss::prepare_fpr`](crate::DisMaxLoss::prepare_fpr) and
//! [`forward_fpr`](crate::DisMaxLoss::forward_fpr) are all that a training needs; the functions here
//! are their parts:
//!
//! ```
//! use burn::backend::Flex;
//! use burn::tensor::{Int, Tensor};
//! use isomax_burn::fpr;
//!
//! let device = Default::default();
//! let images = Tensor::<Flex, 4>::zeros([8, 3, 32, 32], &device);
//! let targets = Tensor::<Flex, 1, Int>::from_ints([0, 1, 2, 3, 4, 5, 6, 7], &device);
//! let (images, targets) = fpr::shuffle(images, targets);
//! let images = fpr::mix_second_half(images);
//! let shares = fpr::mixed_targets(targets, 10);
//! assert_eq!((images.dims(), shares.dims()), ([8, 3, 32, 32], [4, 10]));
//! ```
//!
//! Inputs that are not images have no quadrants: train them with
//! [`DisMaxLoss::forward`](crate::DisMaxLoss::forward).

use burn::tensor::{BasicOps, Distribution, Int, Tensor, backend::Backend};

/// How many places before its own the image stands whose quadrant comes in: top left, top right,
/// bottom left, bottom right.
const PLACES_BEFORE: [usize; 4] = [0, 2, 1, 3];

/// Where the second half of a batch begins; in an odd batch it is the longer one.
///
/// # Panics
///
/// If the batch has fewer than 2 samples.
pub(super) fn split(batch_size: usize) -> usize {
    assert!(batch_size >= 2, "FPR needs a batch of at least 2 samples, got {batch_size}");
    batch_size / 2
}

/// Puts images and targets into a new random order, the same for both, so that the halves are
/// other ones at every step. Draws from the backend's random number generator.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Int, Tensor};
/// use isomax_burn::fpr;
///
/// let targets = Tensor::<Flex, 1, Int>::from_ints([5, 6, 7], &Default::default());
/// let images = targets.clone().float().reshape([3, 1, 1, 1]); // each shows its target
/// let (images, targets) = fpr::shuffle(images, targets);
/// let shown: Vec<i64> = images.into_data().iter().collect();
/// let targets: Vec<i64> = targets.into_data().iter().collect();
/// assert_eq!(shown, targets);
/// ```
///
/// # Shapes
///
/// - images: `[batch_size, channels, height, width]`
/// - targets: `[batch_size]`
/// - output: as given
pub fn shuffle<B: Backend>(
    images: Tensor<B, 4>,
    targets: Tensor<B, 1, Int>,
) -> (Tensor<B, 4>, Tensor<B, 1, Int>) {
    let [batch_size] = targets.dims();
    let keys = Tensor::<B, 1>::random([batch_size], Distribution::Default, &images.device());
    let order = keys.argsort(0);
    (images.select(0, order.clone()), targets.select(0, order))
}

/// Replaces three quadrants of every image in the second half of the batch: the top right one by
/// that of the image 2 places before it in that half, the bottom left one 1 place, the bottom
/// right one 3 places (circular). Of an odd height or width the first part is the smaller one.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_burn::fpr;
///
/// // Images of 2 × 2 pixels, each of one value.
/// let values = Tensor::<Flex, 1>::from_floats([0.0, 1.0, 2.0, 3.0], &Default::default());
/// let images = values.reshape([4, 1, 1, 1]).repeat_dim(2, 2).repeat_dim(3, 2);
/// let mixed = fpr::mix_second_half(images);
/// let third: Vec<f32> = mixed.slice(2..3).into_data().iter().collect();
/// assert_eq!(third, [2.0, 2.0, 3.0, 3.0]);
/// ```
///
/// # Shapes
///
/// - images: `[batch_size, channels, height, width]`
/// - output: as given
///
/// # Panics
///
/// If the batch has fewer than 2 images, or the images fewer than 2 rows or columns.
pub fn mix_second_half<B: Backend>(images: Tensor<B, 4>) -> Tensor<B, 4> {
    let [batch_size, channels, height, width] = images.dims();
    let half = split(batch_size);
    assert!(
        height >= 2 && width >= 2,
        "FPR cuts images into quadrants: they need 2 rows and 2 columns, got {height} × {width}"
    );
    let (first, second) = (images.clone().slice(0..half), images.slice(half..batch_size));
    let rows = [0..height / 2, height / 2..height];
    let columns = [0..width / 2, width / 2..width];
    let quadrant = |index: usize| {
        let (rows, columns) = (rows[index / 2].clone(), columns[index % 2].clone());
        let part = second.clone().slice([0..batch_size - half, 0..channels, rows, columns]);
        earlier(part, PLACES_BEFORE[index])
    };
    let top = Tensor::cat(vec![quadrant(0), quadrant(1)], 3);
    let bottom = Tensor::cat(vec![quadrant(2), quadrant(3)], 3);
    Tensor::cat(vec![first, Tensor::cat(vec![top, bottom], 2)], 0)
}

/// The targets of the mixed second half of a batch: a quarter for the label of each of the four
/// images that a mixed one is made of; labels may repeat and add up, rows sum to 1.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Int, Tensor};
/// use isomax_burn::fpr;
///
/// let targets = Tensor::<Flex, 1, Int>::from_ints([0, 1, 2, 3], &Default::default());
/// let shares: Vec<f32> = fpr::mixed_targets(targets, 4).into_data().iter().collect();
/// assert_eq!(shares, [0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.5, 0.5]);
/// ```
///
/// # Shapes
///
/// - targets: `[batch_size]`, the class indices before mixing
/// - output: `[batch_size - batch_size / 2, num_classes]`
///
/// # Panics
///
/// If the batch has fewer than 2 samples.
pub fn mixed_targets<B: Backend>(targets: Tensor<B, 1, Int>, num_classes: usize) -> Tensor<B, 2> {
    let [batch_size] = targets.dims();
    let labels = targets.slice(split(batch_size)..batch_size);
    let classes = Tensor::<B, 1, Int>::arange(0..num_classes as i64, &labels.device());
    let classes = classes.unsqueeze::<2>();
    let quarter = |places| {
        let labels = earlier(labels.clone(), places).unsqueeze_dim::<2>(1);
        labels.equal(classes.clone()).float() / PLACES_BEFORE.len() as f64
    };
    let [first, second, third, fourth] = PLACES_BEFORE.map(quarter);
    first + second + third + fourth
}

/// Row `i` becomes the row `places` before it, circularly.
fn earlier<B: Backend, const D: usize, K: BasicOps<B>>(
    rows: Tensor<B, D, K>,
    places: usize,
) -> Tensor<B, D, K> {
    let count = rows.dims()[0];
    let moved = places % count;
    if moved == 0 {
        return rows;
    }
    let last = rows.clone().narrow(0, count - moved, moved);
    Tensor::cat(vec![last, rows.narrow(0, 0, count - moved)], 0)
}
