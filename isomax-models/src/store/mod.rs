//! Weights in files: of PyTorch, of the safetensors library, and Burn's own records.
//!
//! Networks have these functions as methods of [`Backbone`]; here they take any module of Burn.
//! The content of a file decides its format ([`WeightFormat`]), whatever its name says. In files of
//! PyTorch and safetensors, tensors are matched by PyTorch's names, which for a module are the names of
//! its fields, and in PyTorch's layouts: the weights of [`nn::Linear`](burn::nn::Linear) are transposed
//! on the way.
//!
//! Loading is strict. A tensor that is missing, unexpected or of another shape is a
//! [`StoreError::Mismatch`] that lists all of them, and a value that is not finite, or a variance that is
//! negative, is an error as well; the module is then as it was. A record must fit the module exactly; in
//! the other formats some names are treated apart:
//!
//! - Prefixes: `_orig_mod`, which `torch.compile` adds, is left out wherever it stands. Of all other
//!   prefixes, such as `module.` or `model.`, alone or nested, the one is left out under which most
//!   tensors of the module are found. Tensors beside it are unexpected.
//! - Counters, `num_batches_tracked` of batch normalisations and `n_averaged` of averaged models, are
//!   ignored, and so are the tensors of a
//!   [post-hoc detector](isomax_burn::posthoc::PostHocDetector), which stand beside the weights in a bundle.
//! - The layer of a [`SoftMaxHead`](isomax_burn::SoftMaxHead) may have another name, such as `fc`,
//!   `linear` or `head`, and its weights that of PyTorch, `weight`; its `bias` must be there. The
//!   projections of residual blocks, `shortcut`, may be called `downsample`.
//! - The `temperature` of a head of [`isomax_burn`], which networks of PyTorch need not have, may be
//!   missing; it is then set to 1.
//!
//! Checkpoints hold the tensors beside optimizers and epochs. They are looked for under
//! `state_dict_ema`, `ema_state_dict`, `model_ema_state_dict`, `model_ema`, `ema_model`, `params_ema` and
//! `ema`, then under `state_dict`, `model`, `model_state_dict`, `net`, `model_state`, `network`,
//! `net_state_dict`, `module`, `weights`, `params` and `checkpoint`, also where these lie in each other,
//! and last at the top. **Averaged weights win over those beside them**, as in the programs that write
//! both; to load the others, save them alone.
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
//! use isomax_models::{Backbone, CifarResNetConfig};
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
use isomax_burn::OodHead;

use crate::Backbone;

mod archive;
mod description;
mod error;
mod foreign;
mod format;
mod names;
pub mod pickle;
mod pytorch;
mod rebuild;
mod record;
mod report;
mod safetensors;
mod spelling;
mod state_dict;
mod storages;
mod tensors;
mod values;
mod wanted;

pub use error::{Mismatch, ShapeMismatch, StoreError};
pub use format::WeightFormat;
pub use record::{load_record, save_record};
pub use report::LoadReport;

use foreign::Foreign;
use pytorch::PytorchFile;
use safetensors::SafetensorsFile;
use tensors::{Part, TensorFile};

/// Loads weights of PyTorch or safetensors, whatever the file is called: a state dict that `torch.save`
/// wrote, of PyTorch 0.4 or newer, as it is or in a checkpoint, also zipped again; or a safetensors file.
/// Names and layouts are those of PyTorch: see [the module](self) for prefixes, checkpoints and layers
/// with other names.
///
/// Nothing in the file is executed: functions that its pickle names are read as names. Tensors may have
/// any strides, such as those of `channels_last`, and may be views that change the sign.
///
/// Every tensor of the module must be there, but for the temperatures of heads of [`isomax_burn`]; see
/// [`load_backbone`] for heads of your own.
///
/// ```
/// use burn::backend::Flex;
/// use isomax_models::{CifarResNetConfig, store};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("network.safetensors");
/// let config = CifarResNetConfig::new(8, 10);
/// let network = config.init::<Flex>(&Default::default());
/// store::save_safetensors(&network, &path)?;
///
/// let mut loaded = config.init::<Flex>(&Default::default());
/// store::load_weights(&mut loaded, &path)?;
/// assert_eq!(loaded.conv1.weight.to_data(), network.conv1.weight.to_data());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`StoreError`] if the file cannot be read, is damaged or of another format, holds something other
/// than a state dict or values that are not finite, or does not fit the module, which is then as it was.
pub fn load_weights<B: Backend, M: Module<B>>(
    module: &mut M,
    path: impl AsRef<Path>,
) -> Result<(), StoreError> {
    tensors::load(module, open(path.as_ref())?.as_mut(), Part::Whole(None)).map(drop)
}

/// As [`load_weights`], for a network with any head, of this project or of yours: the file need not have
/// the temperature of the head, which is then set to 1.
///
/// ```no_run
/// use burn::backend::Flex;
/// use isomax_burn::HeadKind;
/// use isomax_models::{CifarResNetConfig, store};
///
/// let config = CifarResNetConfig::new(20, 10).with_head(HeadKind::DisMax);
/// let mut network = config.init::<Flex>(&Default::default());
/// store::load_backbone(&mut network, "resnet20.pth")?;
/// # Ok::<_, store::StoreError>(())
/// ```
///
/// # Errors
///
/// As of [`load_weights`].
pub fn load_backbone<B: Backend, M: Module<B> + Backbone<B>>(
    module: &mut M,
    path: impl AsRef<Path>,
) -> Result<(), StoreError> {
    let temperature = OodHead::<B>::temperature_param(module.head()).id;
    tensors::load(module, open(path.as_ref())?.as_mut(), Part::Whole(Some(temperature))).map(drop)
}

/// Loads pretrained weights into all of a network but its head, whatever classes the file was trained on, and
/// tells what became of each tensor: the start of fine-tuning. The head is the module that holds the
/// [temperature](OodHead::temperature_param).
///
/// ```
/// use burn::backend::Flex;
/// use isomax_burn::HeadKind;
/// use isomax_models::{Backbone, CifarResNetConfig, store};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("hundred-classes.safetensors");
/// CifarResNetConfig::new(8, 100).init::<Flex>(&Default::default()).save_safetensors(&path)?;
///
/// let config = CifarResNetConfig::new(8, 2).with_head(HeadKind::IsoMaxPlus);
/// let mut network = config.init::<Flex>(&Default::default());
/// let report = store::load_body(&mut network, &path)?;
/// assert!(report.is_complete());
/// assert_eq!(report.skipped, ["classifier.bias", "classifier.temperature", "classifier.weights"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As of [`load_weights`], but tensors of the body may be missing, and the file may have others:
/// [`LoadReport`] lists both. [`StoreError::Mismatch`] if shapes differ, or if nothing fits.
pub fn load_body<B: Backend, M: Module<B> + Backbone<B>>(
    module: &mut M,
    path: impl AsRef<Path>,
) -> Result<LoadReport, StoreError> {
    let temperature = OodHead::<B>::temperature_param(module.head()).id;
    tensors::load(module, open(path.as_ref())?.as_mut(), Part::Body(temperature))
}

/// As [`load_backbone`], from the bytes of a safetensors file, wherever they lie.
///
/// # Arguments
///
/// - `name`: what errors call the bytes, such as the name of the file that they were in
///
/// # Errors
///
/// As of [`load_weights`].
pub fn load_backbone_bytes<B: Backend, M: Module<B> + Backbone<B>>(
    module: &mut M,
    bytes: Vec<u8>,
    name: impl AsRef<Path>,
) -> Result<(), StoreError> {
    let temperature = OodHead::<B>::temperature_param(module.head()).id;
    let mut file = SafetensorsFile::read(bytes, name.as_ref())?;
    tensors::load(module, &mut file, Part::Whole(Some(temperature))).map(drop)
}

/// A tensor of a network as a file has it: its name, its shape, and its values as 32-bit numbers, little
/// end first.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredTensor {
    /// PyTorch's name.
    pub name: String,
    /// In PyTorch's layout.
    pub shape: Vec<usize>,
    /// Four for each value.
    pub bytes: Vec<u8>,
}

impl StoredTensor {
    /// A tensor that is of no module. A shape of another number of values makes no file.
    pub fn new(name: impl Into<String>, shape: Vec<usize>, values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { name: name.into(), shape, bytes }
    }
}

/// All tensors of a module, by PyTorch's names and in its layouts: what [`save_safetensors`] writes.
///
/// # Errors
///
/// [`StoreError::Format`] if a value cannot be read back from the device.
pub fn tensors<B: Backend, M: Module<B>>(module: &M) -> Result<Vec<StoredTensor>, StoreError> {
    safetensors::stored(module, Path::new("network"))
}

/// Loads a state dict of PyTorch. The content of the file decides: this is [`load_weights`], and takes
/// safetensors files as well.
///
/// ```no_run
/// use burn::backend::Flex;
/// use isomax_models::{CifarResNetConfig, store};
///
/// let mut network = CifarResNetConfig::new(20, 10).init::<Flex>(&Default::default());
/// store::load_pytorch(&mut network, "resnet20.pth")?;
/// # Ok::<_, store::StoreError>(())
/// ```
///
/// # Errors
///
/// As of [`load_weights`].
pub fn load_pytorch<B: Backend, M: Module<B>>(
    module: &mut M,
    path: impl AsRef<Path>,
) -> Result<(), StoreError> {
    load_weights(module, path)
}

/// Loads a safetensors file. The content of the file decides: this is [`load_weights`], and takes state
/// dicts of PyTorch as well.
///
/// ```no_run
/// use burn::backend::Flex;
/// use isomax_models::{CifarResNetConfig, store};
///
/// let mut network = CifarResNetConfig::new(20, 10).init::<Flex>(&Default::default());
/// store::load_safetensors(&mut network, "resnet20.safetensors")?;
/// # Ok::<_, store::StoreError>(())
/// ```
///
/// # Errors
///
/// As of [`load_weights`].
pub fn load_safetensors<B: Backend, M: Module<B>>(
    module: &mut M,
    path: impl AsRef<Path>,
) -> Result<(), StoreError> {
    load_weights(module, path)
}

fn open(path: &Path) -> Result<Box<dyn TensorFile>, StoreError> {
    let file: Box<dyn TensorFile> = match WeightFormat::detect(path)? {
        WeightFormat::PyTorch => Box::new(PytorchFile::open(path)?),
        WeightFormat::Safetensors => Box::new(SafetensorsFile::open(path)?),
        WeightFormat::Record => return Err(Foreign::record().error(path)),
    };
    Ok(file)
}

/// Saves all tensors of a module as 32-bit numbers, by PyTorch's names and in its layouts. The file
/// appears whole or not at all.
///
/// ```
/// use burn::backend::Flex;
/// use isomax_models::{CifarResNetConfig, store};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("network.safetensors");
/// let config = CifarResNetConfig::new(8, 10);
/// let network = config.init::<Flex>(&Default::default());
/// store::save_safetensors(&network, &path)?;
///
/// let mut loaded = config.init::<Flex>(&Default::default());
/// store::load_safetensors(&mut loaded, &path)?;
/// assert_eq!(loaded.conv1.weight.to_data(), network.conv1.weight.to_data());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
