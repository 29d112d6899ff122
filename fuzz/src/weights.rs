//! Weights in any format, loaded into a tiny network.

use std::path::Path;

use burn::backend::Flex;
use burn::module::{Module, ModuleVisitor, Param};
use burn::nn;
use burn::tensor::{Tensor, backend::Backend};
use isomax_burn::{IsoMaxPlusHead, IsoMaxPlusHeadConfig, SoftMaxHead, SoftMaxHeadConfig};
use isomax_models::store::{self, StoreError, WeightFormat};
use isomax_models::{BatchNorm, BatchNormConfig};

use crate::scratch;

/// A network with everything that readers of weights treat apart: a layer whose weights PyTorch
/// transposes and that may have another name, variances, counters, the layer of many names, and
/// temperatures. `seeds.py` knows its names and shapes.
#[derive(Module, Debug)]
pub struct Tiny<B: Backend> {
    shortcut: nn::Linear<B>,
    norm: BatchNorm<B>,
    classifier: SoftMaxHead<B>,
    distances: IsoMaxPlusHead<B>,
}

impl Tiny<Flex> {
    /// A new network with the same weights as every other one, so that inputs do the same again.
    fn fresh() -> Self {
        Self::drawn(7)
    }

    /// A new network with weights that follow from a seed.
    pub fn drawn(seed: u64) -> Self {
        let device = Default::default();
        <Flex as Backend>::seed(&device, seed);
        let tiny = Self {
            shortcut: nn::LinearConfig::new(2, 2).init(&device),
            norm: BatchNormConfig::new(2).init(&device),
            classifier: SoftMaxHeadConfig::new(2, 3).init(&device),
            distances: IsoMaxPlusHeadConfig::new(2, 3).init(&device),
        };
        // Parameters are drawn when they are first asked for.
        tiny.values();
        tiny
    }

    /// The bytes of all values.
    fn values(&self) -> Vec<u8> {
        let mut values = Values(Vec::new());
        self.visit(&mut values);
        values.0
    }

    /// Whether all values are such as the documentation of [`store`] promises.
    fn is_usable(&self) -> bool {
        let values = self.values();
        let (values, []) = values.as_chunks::<4>() else { return false };
        let is_finite = values.iter().all(|value| f32::from_le_bytes(*value).is_finite());
        let all = |tensor: Tensor<Flex, 1>, is_allowed: fn(f32) -> bool| {
            tensor.into_data().iter::<f32>().all(is_allowed)
        };
        let temperatures = [&self.classifier.temperature, &self.distances.temperature];
        is_finite
            && all(self.norm.running_var.value(), |variance| variance >= 0.0)
            && temperatures.into_iter().all(|temperature| all(temperature.val(), |t| t > 0.0))
    }
}

struct Values(Vec<u8>);

impl<B: Backend> ModuleVisitor<B> for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.extend_from_slice(param.val().into_data().as_bytes());
    }
}

/// How a network is loaded from a file.
type Load = fn(&mut Tiny<Flex>, &Path) -> Result<(), StoreError>;
/// How it is saved in one.
type Save = fn(&Tiny<Flex>, &Path) -> Result<(), StoreError>;

/// Loads a file of PyTorch or safetensors.
///
/// # Panics
///
/// If a file that is refused changes the network, or one that is not gives weights that are useless,
/// or others when they are loaded, or saved and loaded, once more.
pub fn check_weights(bytes: &[u8]) {
    let path = scratch::write(FILE, bytes);
    let load: Load = |tiny, path| store::load_weights(tiny, path);
    let save: Save = |tiny, path| store::save_safetensors(tiny, path);
    if let Some(tiny) = loaded(&path, load, save) {
        let format = WeightFormat::detect(&path);
        let is_known = matches!(format, Ok(WeightFormat::PyTorch | WeightFormat::Safetensors));
        assert!(is_known, "weights in a file of the format {format:?}");
        assert!(tiny.is_usable(), "weights that no network can have: {tiny:?}");
    }
}

/// Loads a record of Burn.
///
/// # Panics
///
/// As [`check_weights`], but for the values: records of trainings may hold any.
pub fn check_record(bytes: &[u8]) {
    let path = scratch::write(FILE, bytes);
    let load: Load = |tiny, path| store::load_record(tiny, path);
    let save: Save = |tiny, path| store::save_record(tiny, path);
    loaded(&path, load, save);
}

const FILE: &str = "weights";

/// What a file holds, if it is not refused.
fn loaded(path: &Path, load: Load, save: Save) -> Option<Tiny<Flex>> {
    let mut tiny = Tiny::fresh();
    if let Err(error) = load(&mut tiny, path) {
        let (message, path) = (error.to_string(), path.display().to_string());
        assert!(message.starts_with(&path), "{message} does not name the file");
        assert!(tiny.values() == Tiny::fresh().values(), "a file that is refused changes nothing");
        return None;
    }
    let values_in = |path: &Path| {
        let mut tiny = Tiny::fresh();
        load(&mut tiny, path).map(|()| tiny.values())
    };
    let again = values_in(path).expect("a file that was read");
    assert!(again == tiny.values(), "the same file, other weights");

    let saved = scratch::path("saved");
    save(&tiny, &saved).expect("what was loaded can be saved");
    let again = values_in(&saved).expect("what was saved can be loaded");
    assert!(again == tiny.values(), "weights that a file does not hold");
    Some(tiny)
}
