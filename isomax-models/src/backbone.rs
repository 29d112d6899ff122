use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorPrimitive};
use isomax_burn::head::prototypes;
use isomax_burn::{OodHead, PrototypeError};

use crate::{BatchNorm, ImageShapeError};

/// A network that turns inputs into feature vectors and ends in a head: all that training and
/// evaluation need to know of a model. Networks of your own join by implementing two methods.
///
/// ```
/// use burn::prelude::*;
/// use isomax_burn::{DisMaxHead, DisMaxHeadConfig};
/// use isomax_models::Backbone;
///
/// /// A network for inputs that are no images.
/// #[derive(Module, Debug)]
/// struct Mlp<B: Backend> {
///     hidden: nn::Linear<B>,
///     head: DisMaxHead<B>,
/// }
///
/// impl<B: Backend> Backbone<B> for Mlp<B> {
///     type Input = Tensor<B, 2>;
///     type Head = DisMaxHead<B>;
///
///     fn forward_features(&self, inputs: Tensor<B, 2>) -> Tensor<B, 2> {
///         burn::tensor::activation::relu(self.hidden.forward(inputs))
///     }
///
///     fn head(&self) -> &DisMaxHead<B> {
///         &self.head
///     }
/// }
///
/// # type B = burn::backend::Flex;
/// # let device = Default::default();
/// let mlp = Mlp::<B> {
///     hidden: nn::LinearConfig::new(20, 64).init(&device),
///     head: DisMaxHeadConfig::new(64, 10).init(&device),
/// };
/// assert_eq!(mlp.forward(Tensor::zeros([4, 20], &device)).dims(), [4, 10]);
/// ```
///
/// A function that takes it and every network of this crate:
///
/// ```
/// use burn::prelude::*;
/// use isomax_models::{Backbone, CifarResNetConfig};
///
/// fn classes<B: Backend, N: Backbone<B>>(network: &N, inputs: N::Input) -> Tensor<B, 1, Int> {
///     network.forward(inputs).argmax(1).squeeze_dim(1)
/// }
///
/// # type B = burn::backend::Flex;
/// # let device = Default::default();
/// let resnet = CifarResNetConfig::new(20, 10).init::<B>(&device);
/// assert_eq!(classes(&resnet, Tensor::zeros([4, 3, 32, 32], &device)).dims(), [4]);
/// ```
pub trait Backbone<B: Backend> {
    /// A batch of inputs.
    type Input;

    /// The last layer: [`Head`](isomax_burn::Head), one of the typed heads, or one of your own.
    type Head: OodHead<B>;

    /// Computes the feature vectors, `[batch_size, num_features]`.
    fn forward_features(&self, inputs: Self::Input) -> Tensor<B, 2>;

    /// The last layer.
    fn head(&self) -> &Self::Head;

    /// Computes the raw logits, `[batch_size, num_classes]`.
    fn forward(&self, inputs: Self::Input) -> Tensor<B, 2> {
        self.head().forward(self.forward_features(inputs))
    }

    /// Computes the feature maps of all stages, `[batch_size, channels_i, height_i, width_i]`, for
    /// detectors that look inside of a network: after the first convolution, then after each stage.
    /// Networks that have none, or do not show them, give none.
    fn forward_layers(&self, inputs: Self::Input) -> Vec<Tensor<B, 4>> {
        drop(inputs);
        Vec::new()
    }

    /// All batch normalisations, for what sets them together. A network of your own that has
    /// [`BatchNorm`]s names them here; without any there is nothing to do.
    fn batch_norms_mut(&mut self) -> Vec<&mut BatchNorm<B>> {
        Vec::new()
    }

    /// Lets training leave the running statistics of all [batch normalisations](Self::batch_norms_mut) as
    /// they are, and normalize by them, as is usual where pretrained weights are trained on with few
    /// images. With `false` it goes back to the statistics of batches.
    ///
    /// ```
    /// use burn::backend::{Autodiff, Flex};
    /// use burn::tensor::{Distribution, Tensor};
    /// use isomax_models::{Backbone, CifarResNetConfig};
    ///
    /// let device = Default::default();
    /// let mut network = CifarResNetConfig::new(8, 10).init::<Autodiff<Flex>>(&device);
    /// network.freeze_statistics(true);
    /// let before = network.bn1.running_mean.value_sync().into_data();
    /// network.forward(Tensor::random([4, 3, 32, 32], Distribution::Default, &device));
    /// assert_eq!(network.bn1.running_mean.value_sync().into_data(), before);
    /// ```
    fn freeze_statistics(&mut self, frozen: bool) {
        self.batch_norms_mut().into_iter().for_each(|norm| norm.frozen = frozen);
    }

    /// All probabilities of dropping something in training, for what sets them together. A network of your own that
    /// drops values or blocks names them here; without any there is nothing to do.
    ///
    /// ```
    /// use burn::backend::Flex;
    /// use isomax_models::{Backbone, EfficientNetLiteConfig};
    ///
    /// let mut network = EfficientNetLiteConfig::new(0, 10).init::<Flex>(&Default::default());
    /// network.drop_probabilities_mut().into_iter().for_each(|probability| *probability = 0.0);
    /// assert_eq!(network.dropout.prob, 0.0);
    /// ```
    fn drop_probabilities_mut(&mut self) -> Vec<&mut f64> {
        Vec::new()
    }

    /// Tells whether the network takes images of a shape `[batch_size, channels, height, width]`,
    /// so that evaluation can say so before it computes. Networks that do not check take all.
    ///
    /// # Errors
    ///
    /// [`ImageShapeError`] if the number of channels is another one, if height or width is below the
    /// network's total stride, or if there are no images.
    fn check_images(&self, shape: [usize; 4]) -> Result<(), ImageShapeError> {
        let _ = shape;
        Ok(())
    }

    /// The same network with other prototypes in its head: see [`ClassMeans`](isomax_burn::ClassMeans).
    ///
    /// ```
    /// use burn::backend::Flex;
    /// use burn::tensor::Tensor;
    /// use isomax_burn::{HeadKind, OodHead};
    /// use isomax_models::{Backbone, CifarResNetConfig};
    ///
    /// let device = Default::default();
    /// let config = CifarResNetConfig::new(8, 3).with_head(HeadKind::IsoMaxPlus);
    /// let network = config.init::<Flex>(&device).with_prototypes(Tensor::ones([3, 64], &device))?;
    /// let prototypes = network.head().prototypes_param().map(|param| param.val().sum().into_scalar());
    /// assert_eq!(prototypes, Some(192.0));
    /// # Ok::<(), isomax_burn::PrototypeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PrototypeError::NoPrototypes`] or [`PrototypeError::Shape`].
    fn with_prototypes(self, prototypes: Tensor<B, 2>) -> Result<Self, PrototypeError>
    where
        Self: Module<B> + Sized,
    {
        let head = self.head();
        let param = head.prototypes_param();
        let param =
            param.ok_or_else(|| PrototypeError::NoPrototypes { head: head.name().to_owned() })?;
        prototypes::check(param, &prototypes)?;
        let id = param.id;
        Ok(self.map(&mut Replace { id, values: prototypes }))
    }

    /// Loads a file of weights, whatever its format: see
    /// [`store::load_backbone`](crate::store::load_backbone).
    ///
    /// # Errors
    ///
    /// As there; the network is then as it was.
    #[cfg(feature = "store")]
    fn load_weights(
        &mut self,
        path: impl AsRef<std::path::Path>,
    ) -> Result<(), crate::store::StoreError>
    where
        Self: Module<B> + Sized,
    {
        crate::store::load_backbone(self, path)
    }

    /// Loads a state dict of PyTorch, such as `torch.save` writes it; the content of the file decides,
    /// as for [`load_weights`](Self::load_weights).
    ///
    /// # Errors
    ///
    /// As there; the network is then as it was.
    #[cfg(feature = "store")]
    fn load_pytorch(
        &mut self,
        path: impl AsRef<std::path::Path>,
    ) -> Result<(), crate::store::StoreError>
    where
        Self: Module<B> + Sized,
    {
        self.load_weights(path)
    }

    /// Loads a safetensors file; the content of the file decides, as for
    /// [`load_weights`](Self::load_weights).
    ///
    /// # Errors
    ///
    /// As there; the network is then as it was.
    #[cfg(feature = "store")]
    fn load_safetensors(
        &mut self,
        path: impl AsRef<std::path::Path>,
    ) -> Result<(), crate::store::StoreError>
    where
        Self: Module<B> + Sized,
    {
        self.load_weights(path)
    }

    /// Saves a safetensors file: see [`store::save_safetensors`](crate::store::save_safetensors).
    ///
    /// # Errors
    ///
    /// As there.
    #[cfg(feature = "store")]
    fn save_safetensors(
        &self,
        path: impl AsRef<std::path::Path>,
    ) -> Result<(), crate::store::StoreError>
    where
        Self: Module<B> + Sized,
    {
        crate::store::save_safetensors(self, path)
    }
}

/// Gives one parameter of a module other values.
struct Replace<B: Backend> {
    id: ParamId,
    values: Tensor<B, 2>,
}

impl<B: Backend> ModuleMapper<B> for Replace<B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if param.id != self.id {
            return param;
        }
        // The parameter with this id has two dimensions, though its type does not say so here.
        let values = TensorPrimitive::Float(self.values.clone().into_primitive().tensor());
        prototypes::with_values(param, Tensor::from_primitive(values))
    }
}

/// Number of values that training changes, as papers count them: the parameters that take gradients.
/// Running statistics of batch normalisation and temperatures, which
/// [`Module::num_params`] includes, take none; nor do parameters that were frozen.
///
/// The backend must be one with gradients: a network for inference has nothing to train.
///
/// ```
/// use burn::backend::{Autodiff, Flex};
/// use isomax_burn::HeadKind;
/// use isomax_models::{CifarResNetConfig, num_trainable_params};
///
/// let config = CifarResNetConfig::new(20, 10).with_head(HeadKind::IsoMaxPlus);
/// let network = config.init::<Autodiff<Flex>>(&Default::default());
/// assert_eq!(num_trainable_params(&network), 269_713);
/// ```
pub fn num_trainable_params<B: AutodiffBackend, M: Module<B>>(module: &M) -> usize {
    struct Count(usize);

    impl<B: AutodiffBackend> ModuleVisitor<B> for Count {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if param.val().is_require_grad() {
                self.0 += param.lazy_shape().num_elements();
            }
        }
    }

    let mut count = Count(0);
    module.visit(&mut count);
    count.0
}
