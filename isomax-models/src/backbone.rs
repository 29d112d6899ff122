use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, backend::Backend};
use isomax_burn::Head;

/// A network that turns inputs into feature vectors and ends in a [`Head`]: all that training and
/// evaluation need to know of a model. Networks of your own join by implementing two methods.
///
/// ```
/// use burn::prelude::*;
/// use isomax_burn::{Head, HeadConfig, HeadKind};
/// use isomax_models::Backbone;
///
/// /// A network for inputs that are no images.
/// #[derive(Module, Debug)]
/// struct Mlp<B: Backend> {
///     hidden: nn::Linear<B>,
///     head: Head<B>,
/// }
///
/// impl<B: Backend> Backbone<B> for Mlp<B> {
///     type Input = Tensor<B, 2>;
///
///     fn forward_features(&self, inputs: Tensor<B, 2>) -> Tensor<B, 2> {
///         burn::tensor::activation::relu(self.hidden.forward(inputs))
///     }
///
///     fn head(&self) -> &Head<B> {
///         &self.head
///     }
/// }
///
/// # type B = burn::backend::Flex;
/// # let device = Default::default();
/// let mlp = Mlp::<B> {
///     hidden: nn::LinearConfig::new(20, 64).init(&device),
///     head: HeadConfig::new(HeadKind::DisMax, 64, 10).init(&device),
/// };
/// assert_eq!(mlp.forward(Tensor::zeros([4, 20], &device)).dims(), [4, 10]);
/// ```
///
/// A convolutional network, and a function that takes it and every network of this crate:
///
/// ```
/// use burn::nn::conv::{Conv2d, Conv2dConfig};
/// use burn::prelude::*;
/// use burn::tensor::activation::relu;
/// use isomax_burn::{Head, HeadConfig, HeadKind};
/// use isomax_models::layers::{convolve, global_average};
/// use isomax_models::{Backbone, CifarResNetConfig};
///
/// #[derive(Module, Debug)]
/// struct Cnn<B: Backend> {
///     conv: Conv2d<B>,
///     head: Head<B>,
/// }
///
/// impl<B: Backend> Backbone<B> for Cnn<B> {
///     type Input = Tensor<B, 4>;
///
///     fn forward_features(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
///         global_average(relu(convolve(&self.conv, images)))
///     }
///
///     fn head(&self) -> &Head<B> {
///         &self.head
///     }
/// }
///
/// fn classes<B: Backend>(
///     model: &impl Backbone<B, Input = Tensor<B, 4>>,
///     images: Tensor<B, 4>,
/// ) -> Tensor<B, 1, Int> {
///     model.forward(images).argmax(1).squeeze_dim(1)
/// }
///
/// # type B = burn::backend::Flex;
/// # let device = Default::default();
/// let cnn = Cnn::<B> {
///     conv: Conv2dConfig::new([3, 32], [3, 3]).init(&device),
///     head: HeadConfig::new(HeadKind::IsoMaxPlus, 32, 10).init(&device),
/// };
/// let resnet = CifarResNetConfig::new(20, 10).init::<B>(&device);
/// let images = Tensor::zeros([4, 3, 32, 32], &device);
/// assert_eq!(classes(&cnn, images.clone()).dims(), [4]);
/// assert_eq!(classes(&resnet, images).dims(), [4]);
/// ```
pub trait Backbone<B: Backend> {
    /// A batch of inputs.
    type Input;

    /// Computes the feature vectors, `[batch_size, num_features]`.
    fn forward_features(&self, inputs: Self::Input) -> Tensor<B, 2>;

    /// The last layer.
    fn head(&self) -> &Head<B>;

    /// Computes the raw logits, `[batch_size, num_classes]`.
    fn forward(&self, inputs: Self::Input) -> Tensor<B, 2> {
        self.head().forward(self.forward_features(inputs))
    }
}

/// Fields that training does not change by gradients: running statistics and temperatures.
const NOT_TRAINED: [&str; 3] = ["running_mean", "running_var", "temperature"];

/// Number of values that training changes, as papers count them: without the running statistics of
/// batch normalisation and without temperatures, which [`Module::num_params`] includes.
pub fn num_trainable_params<B: Backend, M: Module<B>>(module: &M) -> usize {
    #[derive(Default)]
    struct Count {
        field: Vec<String>,
        params: usize,
    }

    impl<B: Backend> ModuleVisitor<B> for Count {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let is_trained = self.field.last().is_none_or(|f| !NOT_TRAINED.contains(&f.as_str()));
            if is_trained {
                self.params += param.lazy_shape().num_elements();
            }
        }

        fn enter_module(&mut self, name: &str, _container: &str) {
            self.field.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.field.pop();
        }
    }

    let mut count = Count::default();
    module.visit(&mut count);
    count.params
}
