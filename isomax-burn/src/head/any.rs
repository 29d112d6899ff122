//! A head whose kind is chosen when the program runs.

use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::{Tensor, backend::Backend};

use super::{
    ClassPlanes, DisMaxHead, DisMaxHeadConfig, HeadKind, IsoMaxHead, IsoMaxHeadConfig,
    IsoMaxPlusHead, IsoMaxPlusHeadConfig, OodHead, SoftMaxHead, SoftMaxHeadConfig,
};

/// Configuration of a [`Head`] of any kind. See [`init`](Self::init) for an example.
#[derive(Config, Debug, PartialEq)]
pub struct HeadConfig {
    /// Which head.
    pub kind: HeadKind,
    /// Width of the feature vectors.
    pub num_features: usize,
    /// Number of classes.
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
            HeadKind::SoftMax => SoftMaxHeadConfig::new(features, classes).init(device).into(),
            HeadKind::IsoMax => IsoMaxHeadConfig::new(features, classes).init(device).into(),
            HeadKind::IsoMaxPlus => {
                IsoMaxPlusHeadConfig::new(features, classes).init(device).into()
            }
            HeadKind::DisMax => DisMaxHeadConfig::new(features, classes).init(device).into(),
        }
    }
}

/// A head of any kind, chosen when the program runs.
///
/// Typed heads become one by [`From`], and come back by [`TryFrom`]:
///
/// ```
/// use burn::backend::Flex;
/// use isomax_burn::{Head, HeadKind, IsoMaxPlusHead, IsoMaxPlusHeadConfig, OodHead, SoftMaxHead};
///
/// let head: Head<Flex> = IsoMaxPlusHeadConfig::new(64, 10).init(&Default::default()).into();
/// assert_eq!(head.kind(), HeadKind::IsoMaxPlus);
/// let error = SoftMaxHead::try_from(head.clone()).unwrap_err();
/// assert_eq!(error.to_string(), "expected the head softmax, found isomax+");
/// let typed: IsoMaxPlusHead<Flex> = head.try_into()?;
/// assert_eq!(typed.num_classes(), 10);
/// # Ok::<(), isomax_burn::OtherHead>(())
/// ```
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
        self.typed().forward(features)
    }

    /// The hyperplanes between the classes.
    pub fn class_planes(&self) -> ClassPlanes<B> {
        match self {
            Self::SoftMax(head) => head.class_planes(),
            Self::IsoMax(head) => head.class_planes(),
            Self::IsoMaxPlus(head) => head.class_planes(),
            Self::DisMax(head) => head.class_planes(),
        }
    }

    fn typed(&self) -> &dyn OodHead<B> {
        match self {
            Self::SoftMax(head) => head,
            Self::IsoMax(head) => head,
            Self::IsoMaxPlus(head) => head,
            Self::DisMax(head) => head,
        }
    }

    fn typed_mut(&mut self) -> &mut dyn OodHead<B> {
        match self {
            Self::SoftMax(head) => head,
            Self::IsoMax(head) => head,
            Self::IsoMaxPlus(head) => head,
            Self::DisMax(head) => head,
        }
    }
}

impl<B: Backend> OodHead<B> for Head<B> {
    fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        self.forward(features)
    }

    fn kind(&self) -> HeadKind {
        self.typed().kind()
    }

    fn num_classes(&self) -> usize {
        self.typed().num_classes()
    }

    fn num_features(&self) -> usize {
        self.typed().num_features()
    }

    fn temperature_param(&self) -> &Param<Tensor<B, 1>> {
        self.typed().temperature_param()
    }

    fn temperature_param_mut(&mut self) -> &mut Param<Tensor<B, 1>> {
        self.typed_mut().temperature_param_mut()
    }

    fn prototypes_param(&self) -> Option<&Param<Tensor<B, 2>>> {
        self.typed().prototypes_param()
    }

    fn prototypes_param_mut(&mut self) -> Option<&mut Param<Tensor<B, 2>>> {
        self.typed_mut().prototypes_param_mut()
    }

    fn class_planes(&self) -> Option<ClassPlanes<B>> {
        Some(self.class_planes())
    }
}

/// A head is of another kind than the one asked for. See [`Head`] for an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the head {expected}, found {found}")]
#[non_exhaustive]
pub struct OtherHead {
    /// The kind that was asked for.
    pub expected: HeadKind,
    /// The kind that it has.
    pub found: HeadKind,
}

macro_rules! convert {
    ($($variant:ident: $head:ident),+) => {
        $(
            impl<B: Backend> From<$head<B>> for Head<B> {
                fn from(head: $head<B>) -> Self {
                    Self::$variant(head)
                }
            }

            impl<B: Backend> TryFrom<Head<B>> for $head<B> {
                type Error = OtherHead;

                fn try_from(head: Head<B>) -> Result<Self, OtherHead> {
                    match head {
                        Head::$variant(head) => Ok(head),
                        other => Err(OtherHead {
                            expected: HeadKind::$variant,
                            found: other.kind(),
                        }),
                    }
                }
            }
        )+
    };
}

convert!(SoftMax: SoftMaxHead, IsoMax: IsoMaxHead, IsoMaxPlus: IsoMaxPlusHead, DisMax: DisMaxHead);
