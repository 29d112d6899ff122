use burn::module::Param;
use burn::tensor::{Int, Tensor, backend::Backend};

use super::{ClassPlanes, HeadKind, PrototypeError, prototypes, temperature};
use crate::calibration::{TemperatureFit, TemperatureObjective};
use crate::logits::HostLogits;
use crate::metrics::MetricError;

/// The last layer of a classifier that detects: from feature vectors to raw logits.
///
/// The four heads of this crate and [`Head`](crate::Head) implement it. A head of your own joins
/// detectors, hooks and evaluation by implementing the methods without a body:
///
/// ```
/// use burn::module::Param;
/// use burn::prelude::*;
/// use isomax_burn::head::{HeadKind, OodHead, temperature};
///
/// /// The cosine between features and class directions.
/// #[derive(Module, Debug)]
/// struct CosineHead<B: Backend> {
///     directions: Param<Tensor<B, 2>>,
///     temperature: Param<Tensor<B, 1>>,
/// }
///
/// impl<B: Backend> OodHead<B> for CosineHead<B> {
///     fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
///         let unit = |rows| burn::tensor::linalg::vector_normalize(rows, 2.0, 1, 1e-12);
///         let cosines = unit(features).matmul(unit(self.directions.val()).transpose());
///         temperature::divide(cosines, &self.temperature)
///     }
///
///     fn kind(&self) -> HeadKind {
///         HeadKind::IsoMaxPlus // it is trained with IsoMaxLoss, and its largest logit detects
///     }
///
///     fn name(&self) -> &str {
///         "cosine"
///     }
///
///     fn num_classes(&self) -> usize {
///         self.directions.dims()[0]
///     }
///
///     fn num_features(&self) -> usize {
///         self.directions.dims()[1]
///     }
///
///     fn temperature_param(&self) -> &Param<Tensor<B, 1>> {
///         &self.temperature
///     }
///
///     fn temperature_param_mut(&mut self) -> &mut Param<Tensor<B, 1>> {
///         &mut self.temperature
///     }
/// }
///
/// # type B = burn::backend::Flex;
/// let device = Default::default();
/// let head = CosineHead::<B> {
///     directions: nn::Initializer::Normal { mean: 0.0, std: 1.0 }.init([10, 64], &device),
///     temperature: temperature::unit(&device),
/// };
/// assert_eq!(head.forward(Tensor::ones([2, 64], &device)).dims(), [2, 10]);
/// assert_eq!(head.with_temperature(2.0).temperature(), 2.0);
/// ```
pub trait OodHead<B: Backend> {
    /// Computes the raw logits: those of the head divided by its temperature, without an entropic
    /// scale.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, num_features]`
    /// - output: `[batch_size, num_classes]`
    fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2>;

    /// Which published head this is, or, of a head of your own, the one whose loss and default score
    /// go with it.
    fn kind(&self) -> HeadKind;

    /// The name in files: a detector refuses the logits of a head of another name.
    fn name(&self) -> &str {
        self.kind().name()
    }

    /// Number of classes.
    fn num_classes(&self) -> usize;

    /// Width of the feature vectors.
    fn num_features(&self) -> usize;

    /// The parameter that holds the temperature, `[1]`; it takes no gradient. See [`temperature`]
    /// for how to make one.
    fn temperature_param(&self) -> &Param<Tensor<B, 1>>;

    /// The same parameter, to be replaced.
    fn temperature_param_mut(&mut self) -> &mut Param<Tensor<B, 1>>;

    /// The parameter that holds one prototype for each class, `[num_classes, num_features]`; none if the
    /// head has no prototypes.
    fn prototypes_param(&self) -> Option<&Param<Tensor<B, 2>>> {
        None
    }

    /// The same parameter, to be replaced.
    fn prototypes_param_mut(&mut self) -> Option<&mut Param<Tensor<B, 2>>> {
        None
    }

    /// The same head with other prototypes: see [`ClassMeans`](super::ClassMeans).
    ///
    /// # Shapes
    ///
    /// - prototypes: `[num_classes, num_features]`
    ///
    /// # Errors
    ///
    /// [`PrototypeError::NoPrototypes`] or [`PrototypeError::Shape`].
    fn with_prototypes(mut self, prototypes: Tensor<B, 2>) -> Result<Self, PrototypeError>
    where
        Self: Sized,
    {
        let head = self.name().to_owned();
        let param = self.prototypes_param_mut();
        let param = param.ok_or(PrototypeError::NoPrototypes { head })?;
        prototypes::replace(param, prototypes)?;
        Ok(self)
    }

    /// The hyperplanes between the classes, for detectors that read weights; none if the boundaries
    /// are no planes.
    fn class_planes(&self) -> Option<ClassPlanes<B>> {
        None
    }

    /// The temperature that the logits are divided by: 1 until calibrated.
    fn temperature(&self) -> f32 {
        temperature::value(self.temperature_param())
    }

    /// The same head with another temperature. To fit one, see [`calibrate`](Self::calibrate).
    ///
    /// # Panics
    ///
    /// If `value` is not a positive finite number.
    fn with_temperature(mut self, value: f32) -> Self
    where
        Self: Sized,
    {
        let param = self.temperature_param_mut();
        *param = temperature::replace(param.clone(), value);
        self
    }

    /// Fits the temperature on held-out logits and stores it in the head.
    ///
    /// Calibrating twice changes nothing, and the objective never gets worse. Use held-out
    /// training data: fitted on the test split, the calibration error it reports means nothing.
    ///
    /// # Arguments
    ///
    /// - `logits`: what this head gives for the held-out samples, `[num_samples, num_classes]`
    /// - `targets`: their class indices, `[num_samples]`
    /// - `objective`: what to minimize
    ///
    /// # Errors
    ///
    /// [`MetricError`] if there are no samples, a logit is not finite, or a label names no class.
    fn calibrate(
        self,
        logits: Tensor<B, 2>,
        targets: Tensor<B, 1, Int>,
        objective: TemperatureObjective,
    ) -> Result<(Self, TemperatureFit), MetricError>
    where
        Self: Sized,
    {
        let logits = HostLogits::read(logits)?;
        let fit = logits.fit_temperature_to(targets, self.temperature(), objective)?;
        Ok((self.with_temperature(fit.temperature), fit))
    }
}
