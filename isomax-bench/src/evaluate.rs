//! What a trained network says of images.

use burn::tensor::{Tensor, backend::Backend};
use isomax_models::Backbone;

use crate::data::{Images, Normalization};

/// Computes the raw logits of all images in batches: `[images.len(), num_classes]`, in the memory of
/// the device.
///
/// # Panics
///
/// If there are no images, if the network refuses their size, or if the batch size is 0.
pub fn logits<B: Backend>(
    model: &impl Backbone<B, Input = Tensor<B, 4>>,
    images: &Images,
    normalization: &Normalization,
    batch_size: usize,
    device: &B::Device,
) -> Tensor<B, 2> {
    let starts = (0..images.len()).step_by(batch_size);
    let batches = starts.map(|start| {
        let indices = start..images.len().min(start + batch_size);
        model.forward(images.tensor(indices, normalization, device))
    });
    Tensor::cat(batches.collect(), 0)
}

/// Share of images, in percent, whose largest logit is that of their label.
///
/// # Panics
///
/// If there are other numbers of logits and labels, or none.
pub fn accuracy<B: Backend>(logits: Tensor<B, 2>, labels: &[u16]) -> f64 {
    let classes = logits.argmax(1).into_data();
    let classes: Vec<i64> = classes.iter().collect();
    assert!(classes.len() == labels.len() && !labels.is_empty(), "one label for each image");
    let right = classes.iter().zip(labels).filter(|(class, label)| **class == i64::from(**label));
    100.0 * right.count() as f64 / labels.len() as f64
}
