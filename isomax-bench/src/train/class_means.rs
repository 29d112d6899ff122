//! Prototypes that begin at the means of the features of classes.

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Int, Tensor, TensorData};
use isomax_burn::{ClassMeans, OodHead as _};
use isomax_models::Backbone as _;

use super::{TrainError, TrainableNetwork, flat};
use crate::data::{ImageSource as _, Preprocessing, Subset, tensor_of};
use crate::ranks::Team;

/// The network with its prototypes at the mean features of the training images. Rank 0 computes them for all: other
/// machines might come to other last bits.
pub(super) fn with_class_means<B: AutodiffBackend, N: TrainableNetwork<B>>(
    network: N,
    images: &Subset,
    preprocessing: &Preprocessing,
    device: &B::Device,
    team: &Team,
) -> Result<N, TrainError> {
    // Drawn on all ranks alike, before one of them looks at some of it.
    drop(flat::all(&network));
    let shape = [network.head().num_classes(), network.head().num_features()];
    let bytes = team.share(|| {
        let means = class_means(&network, images, preprocessing, device)?;
        Ok::<_, TrainError>(flat::bytes_of(means.into_data().iter::<f32>()))
    })?;
    let values = TensorData::new(flat::values_of(&bytes), shape);
    let prototypes = Tensor::from_data(values, device);
    Ok(network.with_prototypes(prototypes)?)
}

fn class_means<B: AutodiffBackend, N: TrainableNetwork<B>>(
    network: &N,
    images: &Subset,
    preprocessing: &Preprocessing,
    device: &B::Device,
) -> Result<Tensor<B, 2>, TrainError> {
    let fixed = network.valid();
    let head = fixed.head();
    let mut means = ClassMeans::new(head.kind(), head.num_classes());
    for start in (0..images.len()).step_by(BATCH_OF_FEATURES) {
        let indices = start..images.len().min(start + BATCH_OF_FEATURES);
        let labels: Vec<i32> =
            images.labels()[indices.clone()].iter().map(|&label| label.into()).collect();
        let batch =
            tensor_of::<B::InnerBackend>(images, indices, &preprocessing.normalization, device)?;
        let targets = Tensor::<B::InnerBackend, 1, Int>::from_ints(labels.as_slice(), device);
        means.update(fixed.forward_features(batch), targets)?;
    }
    Ok(means.prototypes::<B>(device)?)
}

/// Images whose features are computed at once.
const BATCH_OF_FEATURES: usize = 64;
