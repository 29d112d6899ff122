//! Heads: the last layer of a classifier, from feature vectors to logits.
//!
//! A head takes the place of [`nn::Linear`](burn::nn::Linear). The distance heads make the logits
//! out of distances to one learned prototype for each class, so that a feature vector far from
//! every prototype gives low logits for every class: that is what detection reads.

use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor, backend::Backend};

use crate::calibration::{TemperatureFit, TemperatureObjective};
use crate::metrics::MetricError;

mod dismax;
mod distance;
mod isomax;
mod isomax_plus;
mod kind;
mod softmax;
mod temperature;

pub use dismax::{DisMaxHead, DisMaxHeadConfig};
pub use isomax::{IsoMaxHead, IsoMaxHeadConfig};
pub use isomax_plus::{IsoMaxPlusHead, IsoMaxPlusHeadConfig};
pub use kind::HeadKind;
pub use softmax::{SoftMaxHead, SoftMaxHeadConfig};

/// Configuration of a [`Head`] of any kind.
#[derive(Config, Debug, PartialEq)]
pub struct HeadConfig {
    /// Which head.
    pub kind: HeadKind,
    /// Width of the feature vectors.
    pub num_features: usize,
    /// Number of known classes.
    pub num_classes: usize,
}

impl HeadConfig {
    /// Initializes the head.
    ///
    /// ```
    /// use burn::backend::Flex;
    /// use burn::tensor::{Distribution, Tensor};
    /// use isomax_burn::{HeadConfig, HeadKind};
    ///
    /// let device = Default::default();
    /// let head = HeadConfig::new(HeadKind::IsoMaxPlus, 64, 10).init::<Flex>(&device);
    /// let features = Tensor::random([32, 64], Distribution::Default, &device);
    /// assert_eq!(head.forward(features).dims(), [32, 10]);
    /// ```
    pub fn init<B: Backend>(&self, device: &B::Device) -> Head<B> {
        let (features, classes) = (self.num_features, self.num_classes);
        match self.kind {
            HeadKind::SoftMax => {
                Head::SoftMax(SoftMaxHeadConfig::new(features, classes).init(device))
            }
            HeadKind::IsoMax => Head::IsoMax(IsoMaxHeadConfig::new(features, classes).init(device)),
            HeadKind::IsoMaxPlus => {
                Head::IsoMaxPlus(IsoMaxPlusHeadConfig::new(features, classes).init(device))
            }
            HeadKind::DisMax => Head::DisMax(DisMaxHeadConfig::new(features, classes).init(device)),
        }
    }
}

/// A head of any kind, chosen when the program runs.
#[derive(Module, Debug)]
pub enum Head<B: Backend> {
    /// The baseline.
    SoftMax(SoftMaxHead<B>),
    /// IsoMax.
    IsoMax(IsoMaxHead<B>),
    /// IsoMax+.
    IsoMaxPlus(IsoMaxPlusHead<B>),
    /// DisMax.
    DisMax(DisMaxHead<B>),
}

impl<B: Backend> Head<B> {
    /// Computes the logits.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, num_features]`
    /// - output: `[batch_size, num_classes]`
    ///
    /// # Panics
    ///
    /// If the features have another width than the head was made for.
    pub fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        match self {
            Self::SoftMax(head) => head.forward(features),
            Self::IsoMax(head) => head.forward(features),
            Self::IsoMaxPlus(head) => head.forward(features),
            Self::DisMax(head) => head.forward(features),
        }
    }

    /// Which head this is.
    pub fn kind(&self) -> HeadKind {
        match self {
            Self::SoftMax(_) => HeadKind::SoftMax,
            Self::IsoMax(_) => HeadKind::IsoMax,
            Self::IsoMaxPlus(_) => HeadKind::IsoMaxPlus,
            Self::DisMax(_) => HeadKind::DisMax,
        }
    }

    /// Number of known classes.
    pub fn num_classes(&self) -> usize {
        match self {
            Self::SoftMax(head) => head.num_classes(),
            Self::IsoMax(head) => head.num_classes(),
            Self::IsoMaxPlus(head) => head.num_classes(),
            Self::DisMax(head) => head.num_classes(),
        }
    }

    /// Width of the feature vectors.
    pub fn num_features(&self) -> usize {
        match self {
            Self::SoftMax(head) => head.num_features(),
            Self::IsoMax(head) => head.num_features(),
            Self::IsoMaxPlus(head) => head.num_features(),
            Self::DisMax(head) => head.num_features(),
        }
    }

    /// The temperature that the logits are divided by: 1 until calibrated.
    pub fn temperature(&self) -> f32 {
        match self {
            Self::SoftMax(head) => head.temperature(),
            Self::IsoMax(head) => head.temperature(),
            Self::IsoMaxPlus(head) => head.temperature(),
            Self::DisMax(head) => head.temperature(),
        }
    }

    /// The same head with another temperature.
    ///
    /// # Panics
    ///
    /// If `value` is not a positive finite number.
    pub fn with_temperature(self, value: f32) -> Self {
        match self {
            Self::SoftMax(head) => Self::SoftMax(head.with_temperature(value)),
            Self::IsoMax(head) => Self::IsoMax(head.with_temperature(value)),
            Self::IsoMaxPlus(head) => Self::IsoMaxPlus(head.with_temperature(value)),
            Self::DisMax(head) => Self::DisMax(head.with_temperature(value)),
        }
    }

    /// Fits the temperature on validation logits and stores it in the head.
    ///
    /// Calibrating twice changes nothing, and the objective never gets worse. Use held-out
    /// training data: fitted on the test split, the calibration error it reports means nothing.
    ///
    /// # Arguments
    ///
    /// - `logits`: what this head gives for the validation samples, `[num_samples, num_classes]`
    /// - `targets`: their class indices, `[num_samples]`
    /// - `objective`: what to minimize
    ///
    /// # Errors
    ///
    /// [`MetricError`] if there are no samples, a logit is not finite, or a label names no class.
    pub fn calibrate(
        self,
        logits: Tensor<B, 2>,
        targets: Tensor<B, 1, Int>,
        objective: TemperatureObjective,
    ) -> Result<(Self, TemperatureFit), MetricError> {
        let fit = TemperatureFit::from_tensors(logits, targets, self.temperature(), objective)?;
        Ok((self.with_temperature(fit.temperature), fit))
    }
}

fn check_features<B: Backend>(features: &Tensor<B, 2>, class_rows: &Param<Tensor<B, 2>>) {
    let (given, [classes, expected]) = (features.dims(), class_rows.val().dims());
    assert!(
        given[1] == expected,
        "Features of shape {given:?} do not fit a head of shape {:?} (classes, features)",
        [classes, expected],
    );
}

/// What all heads have in common: sizes, the temperature, and how they are shown.
macro_rules! common_to_heads {
    ($head:ident, $class_rows:ident) => {
        impl<B: burn::tensor::backend::Backend> $head<B> {
            /// Number of known classes.
            pub fn num_classes(&self) -> usize {
                self.$class_rows.val().dims()[0]
            }

            /// Width of the feature vectors.
            pub fn num_features(&self) -> usize {
                self.$class_rows.val().dims()[1]
            }

            /// The temperature that the logits are divided by: 1 until calibrated.
            pub fn temperature(&self) -> f32 {
                super::temperature::value(&self.temperature)
            }

            /// The same head with another temperature. To fit one, see
            /// [`TemperatureFit`](crate::TemperatureFit).
            ///
            /// # Panics
            ///
            /// If `value` is not a positive finite number.
            pub fn with_temperature(mut self, value: f32) -> Self {
                self.temperature = super::temperature::replace(self.temperature, value);
                self
            }
        }

        impl<B: burn::tensor::backend::Backend> burn::module::ModuleDisplay for $head<B> {
            fn custom_settings(&self) -> Option<burn::module::DisplaySettings> {
                burn::module::DisplaySettings::new().with_new_line_after_attribute(false).optional()
            }

            fn custom_content(
                &self,
                content: burn::module::Content,
            ) -> Option<burn::module::Content> {
                content
                    .add("num_features", &self.num_features())
                    .add("num_classes", &self.num_classes())
                    .add("temperature", &f64::from(self.temperature()))
                    .optional()
            }
        }
    };
}
use common_to_heads;
