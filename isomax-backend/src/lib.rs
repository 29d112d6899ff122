//! The backend that the cargo features chose, for programs. Libraries stay generic over it.
//!
//! Features add up, and `flex` is on by default, so of several backends the first of
//! `tch`, `cuda`, `wgpu` (with `vulkan` and `metal`), `ndarray`, `flex` is used: `--features wgpu`
//! is all it takes to move to a GPU.

#[cfg(not(any(
    feature = "tch",
    feature = "cuda",
    feature = "wgpu",
    feature = "ndarray",
    feature = "flex"
)))]
compile_error!("choose a backend: --features flex, ndarray, wgpu, vulkan, metal, cuda or tch");

/// The selected backend, without gradients.
#[cfg(feature = "tch")]
pub type InferenceBackend = burn::backend::LibTorch;
/// The selected backend, without gradients.
#[cfg(all(feature = "cuda", not(feature = "tch")))]
pub type InferenceBackend = burn::backend::Cuda;
/// The selected backend, without gradients.
#[cfg(all(feature = "wgpu", not(any(feature = "tch", feature = "cuda"))))]
pub type InferenceBackend = burn::backend::Wgpu;
/// The selected backend, without gradients.
#[cfg(all(feature = "ndarray", not(any(feature = "tch", feature = "cuda", feature = "wgpu"))))]
pub type InferenceBackend = burn::backend::NdArray;
/// The selected backend, without gradients.
#[cfg(not(any(feature = "tch", feature = "cuda", feature = "wgpu", feature = "ndarray")))]
pub type InferenceBackend = burn::backend::Flex;

/// The selected backend, with gradients.
pub type TrainingBackend = burn::backend::Autodiff<InferenceBackend>;

/// The device of the selected backend.
pub type Device = <InferenceBackend as burn::tensor::backend::BackendTypes>::Device;

/// The default device: the first GPU of a GPU backend, the CPU of the others, `tch` too.
pub fn device() -> Device {
    Device::default()
}

/// The name of the backend and device, for reports.
pub fn name() -> String {
    <InferenceBackend as burn::tensor::backend::Backend>::name(&device())
}
