//! What several tests share: tensors from vectors, vectors from tensors, relative errors.

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use proptest::prelude::ProptestConfig;

/// The device that every test computes on.
pub fn device<D: Default>() -> D {
    D::default()
}

pub fn matrix<B: Backend>(rows: &[Vec<f32>]) -> Tensor<B, 2> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new(rows.concat(), shape), &device::<B::Device>())
}

pub fn vector<B: Backend>(values: &[f32]) -> Tensor<B, 1> {
    Tensor::from_floats(values, &device::<B::Device>())
}

pub fn ints<B: Backend>(values: &[i64]) -> Tensor<B, 1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &device::<B::Device>())
}

pub fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// Asserts that the largest difference is below `tolerance` of the largest expected magnitude,
/// or of 0.001 where all that is expected is zero up to rounding.
#[track_caller]
pub fn assert_close(what: &str, ours: &[f32], expected: &[f32], tolerance: f64) {
    assert_eq!(ours.len(), expected.len(), "{what}: number of values");
    let largest = expected.iter().fold(1e-3_f64, |m, e| m.max(f64::from(e.abs())));
    for (i, (o, e)) in ours.iter().zip(expected).enumerate() {
        let error = (f64::from(*o) - f64::from(*e)).abs() / largest;
        assert!(error <= tolerance, "{what}[{i}] is {o}, expected {e}: relative error {error:.1e}");
    }
}

/// Fewer cases than usual: the tensor code under test is not optimised in a test build.
pub fn few_cases() -> ProptestConfig {
    ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() }
}
