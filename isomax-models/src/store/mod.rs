//! Weights in files: of PyTorch, of the safetensors library, and Burn's own records.
//!
//! The networks of this crate have these functions as methods; here they take any module of Burn.
//! In files of PyTorch and safetensors, tensors are matched by PyTorch's names, which for a module are the names of its fields, and in
//! PyTorch's layouts: the weights of [`nn::Linear`](burn::nn::Linear) are transposed on the way.
//!
//! Loading is strict. A tensor that is missing, unexpected or of another shape is a
//! [`StoreError::Mismatch`] that lists all of them, and the module is then as it was. A record must fit
//! the module exactly; in the other formats two names are treated apart:
//!
//! - `num_batches_tracked`, a counter of PyTorch's batch normalisation, is ignored
//! - the `temperature` of a head of [`isomax_burn`], which networks of PyTorch need not have, may be
//!   missing; it is then set to 1
//!
//! Clones of a module share their running statistics in Burn, so that loading into one changes those of
//! the other.
//!
//! Values of the other formats are converted to the type that the module computes in, so that half and
//! double precision load as well.
//!
//! ```no_run
//! use burn::backend::Flex;
//! use isomax_burn::HeadKind;
//! use isomax_models::CifarResNetConfig;
//!
//! let config = CifarResNetConfig::new(20, 10).with_head(HeadKind::IsoMaxPlus);
//! let mut model = config.init::<Flex>(&Default::default());
//! model.load_pytorch("resnet20.pth")?;
//! model.save_safetensors("resnet20.safetensors")?;
//! # Ok::<_, isomax_models::store::StoreError>(())
//! ```

use std::path::Path;

use burn::module::Module;
use burn::tensor::backend::Backend;

mod error;
mod pickle;
mod pytorch;
mod record;
mod safetensors;
mod storages;
mod tensors;

pub use error::{Mismatch, ShapeMismatch, StoreError};
pub use record::{load_record, save_record};

use pytorch::PytorchFile;
use safetensors::SafetensorsFile;

/// Loads a state dict that `torch.save` wrote, of PyTorch 0.4 or newer: as it is, with the prefix `module.` of
/// `DataParallel`, or in a checkpoint under `state_dict`, `model`, `model_state_dict` or `net`.
///
/// Nothing in the file is executed: functions that its pickle names are read as names. Tensors may
/// have any strides, such as those of `channels_last`.
///
/// # Errors
///
/// [`StoreError`] if the file cannot be read, is damaged or of another format, holds something other
/// than a state dict, or does not fit the module, which is then as it was.
pub fn load_pytorch<B: Backend, M: Module<B>>(
    module: &mut M,
    path: impl AsRef<Path>,
) -> Result<(), StoreError> {
    tensors::load(module, &mut PytorchFile::open(path.as_ref())?)
}

/// Loads a safetensors file whose tensors have PyTorch's names and layouts.
///
/// # Errors
///
/// [`StoreError`] if the file cannot be read, is damaged or of another format, or does not fit the
/// module, which is then as it was.
pub fn load_safetensors<B: Backend, M: Module<B>>(
    module: &mut M,
    path: impl AsRef<Path>,
) -> Result<(), StoreError> {
    tensors::load(module, &mut SafetensorsFile::open(path.as_ref())?)
}

/// Saves all tensors of a module as 32-bit numbers, by PyTorch's names and in its layouts. The file
/// appears whole or not at all.
///
/// # Errors
///
/// [`StoreError::Io`] if the file cannot be written.
pub fn save_safetensors<B: Backend, M: Module<B>>(
    module: &M,
    path: impl AsRef<Path>,
) -> Result<(), StoreError> {
    safetensors::save(module, path.as_ref())
}
