use core::fmt;
use core::str::FromStr;

use burn::config::Config;
use burn::module::Module;
use burn::nn::Dropout;
use burn::tensor::{Tensor, backend::Backend};
use isomax_burn::{Head, HeadKind, UnknownName};
use serde::{Deserialize, Serialize};

use crate::stages::{Stages, backbone_of_stages};
use crate::{
    CifarResNet, CifarResNetConfig, DenseNetBc, DenseNetBcConfig, EfficientNetLite,
    EfficientNetLiteConfig, ResNet, ResNetConfig, Stem, WideResNet, WideResNetConfig,
};

/// A published network by its name, as configurations and command lines give it.
///
/// | name | network |
/// |---|---|
/// | `densenet-bc-100` | [`DenseNetBc`] of any valid depth, growth rate 12 |
/// | `resnet-20`, `resnet-110` | [`CifarResNet`] of any valid depth |
/// | `resnet-18`, `resnet-34` | [`ResNet`], stem for images of about 32 × 32 |
/// | `resnet-18-imagenet`, `resnet-34-imagenet` | [`ResNet`], stem for images of about 224 × 224 |
/// | `efficientnet-lite0` to `efficientnet-lite4` | [`EfficientNetLite`], for images of 224 × 224 to 300 × 300 |
/// | `wrn-28-10` | [`WideResNet`] of any valid depth and widen factor |
///
/// ```
/// use isomax_models::Architecture;
///
/// let architecture: Architecture = "densenet-bc-100".parse()?;
/// assert_eq!(architecture, Architecture::DenseNetBc { depth: 100 });
/// assert_eq!(architecture.to_string(), "densenet-bc-100");
/// let error = "densenet".parse::<Architecture>().unwrap_err();
/// assert!(error.to_string().contains("known: densenet-bc-100, "));
/// # Ok::<_, isomax_burn::UnknownName>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Architecture {
    /// [`DenseNetBc`] with growth rate 12 and reduction 0.5.
    DenseNetBc {
        /// Number of layers, `6 n + 4`.
        depth: usize,
    },
    /// [`CifarResNet`].
    CifarResNet {
        /// Number of layers, `6 n + 2`.
        depth: usize,
    },
    /// [`ResNet`] with 18 layers.
    ResNet18(Stem),
    /// [`ResNet`] with 34 layers.
    ResNet34(Stem),
    /// [`EfficientNetLite`].
    EfficientNetLite {
        /// From 0 to 4.
        variant: usize,
    },
    /// [`WideResNet`].
    WideResNet {
        /// Number of layers, `6 n + 4`.
        depth: usize,
        /// How often wider than the ResNets for CIFAR the stages are.
        widen_factor: usize,
    },
}

/// Beyond what anyone has published (1,202 layers, factor 20), so that a slip of the finger does not
/// fill the memory.
const MAX_DEPTH: usize = 2_000;
const MAX_WIDEN_FACTOR: usize = 100;

impl Architecture {
    /// The names of the networks that papers use. Other valid depths are understood as well.
    pub const NAMES: [&'static str; 20] = [
        "densenet-bc-100",
        "densenet-bc-40",
        "resnet-20",
        "resnet-32",
        "resnet-44",
        "resnet-56",
        "resnet-110",
        "resnet-18",
        "resnet-34",
        "resnet-18-imagenet",
        "resnet-34-imagenet",
        "efficientnet-lite0",
        "efficientnet-lite1",
        "efficientnet-lite2",
        "efficientnet-lite3",
        "efficientnet-lite4",
        "wrn-16-4",
        "wrn-28-2",
        "wrn-28-10",
        "wrn-40-2",
    ];
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = |stem| if stem == Stem::ImageNet { "-imagenet" } else { "" };
        let name = match *self {
            Self::DenseNetBc { depth } => format!("densenet-bc-{depth}"),
            Self::CifarResNet { depth } => format!("resnet-{depth}"),
            Self::ResNet18(stem) => format!("resnet-18{}", suffix(stem)),
            Self::ResNet34(stem) => format!("resnet-34{}", suffix(stem)),
            Self::EfficientNetLite { variant } => format!("efficientnet-lite{variant}"),
            Self::WideResNet { depth, widen_factor } => format!("wrn-{depth}-{widen_factor}"),
        };
        f.pad(&name)
    }
}

impl FromStr for Architecture {
    type Err = UnknownName;

    /// Reads a name in any case.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let lower = name.trim().to_ascii_lowercase();
        let parts: Vec<&str> = lower.split('-').collect();
        let number = |digits: &str, max| digits.parse().ok().filter(|n| (1..=max).contains(n));
        let depth = |digits: &str, rest| {
            number(digits, MAX_DEPTH).filter(|n: &usize| *n >= 6 && n % 6 == rest)
        };
        let found = match parts.as_slice() {
            ["resnet", "18"] => Some(Self::ResNet18(Stem::Cifar)),
            ["resnet", "34"] => Some(Self::ResNet34(Stem::Cifar)),
            ["resnet", "18", "imagenet"] => Some(Self::ResNet18(Stem::ImageNet)),
            ["resnet", "34", "imagenet"] => Some(Self::ResNet34(Stem::ImageNet)),
            ["resnet", digits] => depth(digits, 2).map(|depth| Self::CifarResNet { depth }),
            ["densenet", "bc", digits] => depth(digits, 4).map(|depth| Self::DenseNetBc { depth }),
            ["efficientnet", variant] => {
                let variant = variant.strip_prefix("lite").and_then(|digit| digit.parse().ok());
                let known = variant.filter(|&variant| variant < EfficientNetLiteConfig::VARIANTS);
                known.map(|variant| Self::EfficientNetLite { variant })
            }
            ["wrn", digits, widen] => depth(digits, 4)
                .zip(number(widen, MAX_WIDEN_FACTOR))
                .map(|(depth, widen_factor)| Self::WideResNet { depth, widen_factor }),
            _ => None,
        };
        // One spelling for each: no signs, no zeros in front.
        let found = found.filter(|architecture| architecture.to_string() == lower);
        found.ok_or_else(|| UnknownName {
            what: "architecture",
            found: name.to_owned(),
            known: Self::NAMES.map(str::to_owned).into(),
        })
    }
}

impl TryFrom<String> for Architecture {
    type Error = UnknownName;

    fn try_from(name: String) -> Result<Self, UnknownName> {
        name.parse()
    }
}

impl From<Architecture> for String {
    fn from(architecture: Architecture) -> Self {
        architecture.to_string()
    }
}

/// Configuration of a [`Model`]. See [`init`](Self::init) for an example.
#[derive(Config, Debug, PartialEq)]
pub struct ModelConfig {
    /// Which network.
    pub architecture: Architecture,
    /// Number of ID classes.
    pub num_classes: usize,
    /// Number of channels of the images.
    #[config(default = 3)]
    pub in_channels: usize,
    /// The last layer.
    #[config(default = "HeadKind::SoftMax")]
    pub head: HeadKind,
}

impl ModelConfig {
    /// Initializes the network.
    ///
    /// ```
    /// use burn::backend::Flex;
    /// use burn::tensor::Tensor;
    /// use isomax_burn::HeadKind;
    /// use isomax_models::{Architecture, Backbone, ModelConfig};
    ///
    /// let architecture: Architecture = "resnet-20".parse()?;
    /// let config = ModelConfig::new(architecture, 10).with_head(HeadKind::IsoMaxPlus);
    /// let model = config.init::<Flex>(&Default::default());
    /// let logits = model.forward(Tensor::zeros([1, 3, 32, 32], &Default::default()));
    /// assert_eq!(logits.dims(), [1, 10]);
    /// # Ok::<_, isomax_burn::UnknownName>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If the architecture, made by hand, has a depth that its network cannot have.
    pub fn init<B: Backend>(&self, device: &B::Device) -> Model<B> {
        let Self { num_classes, in_channels, head, .. } = *self;
        let resnet = |config: ResNetConfig, stem| {
            let config = config.with_stem(stem).with_in_channels(in_channels).with_head(head);
            Model::ResNet(config.init(device))
        };
        match self.architecture {
            Architecture::DenseNetBc { depth } => Model::DenseNetBc(
                DenseNetBcConfig::new(depth, num_classes)
                    .with_in_channels(in_channels)
                    .with_head(head)
                    .init(device),
            ),
            Architecture::CifarResNet { depth } => Model::CifarResNet(
                CifarResNetConfig::new(depth, num_classes)
                    .with_in_channels(in_channels)
                    .with_head(head)
                    .init(device),
            ),
            Architecture::ResNet18(stem) => resnet(ResNetConfig::resnet18(num_classes), stem),
            Architecture::ResNet34(stem) => resnet(ResNetConfig::resnet34(num_classes), stem),
            Architecture::EfficientNetLite { variant } => Model::EfficientNetLite(
                EfficientNetLiteConfig::new(variant, num_classes)
                    .with_in_channels(in_channels)
                    .with_head(head)
                    .init(device),
            ),
            Architecture::WideResNet { depth, widen_factor } => Model::WideResNet(
                WideResNetConfig::new(depth, widen_factor, num_classes)
                    .with_in_channels(in_channels)
                    .with_head(head)
                    .init(device),
            ),
        }
    }
}

/// A published network, chosen when the program runs.
///
/// ```
/// use burn::backend::Flex;
/// use isomax_models::{Model, ModelConfig};
///
/// let config = ModelConfig::new("resnet-20".parse()?, 10);
/// let model = config.init::<Flex>(&Default::default());
/// assert!(matches!(model, Model::CifarResNet(_)));
/// # Ok::<_, isomax_burn::UnknownName>(())
/// ```
// There is one of it in a program, not a list of them.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
#[non_exhaustive]
pub enum Model<B: Backend> {
    /// DenseNet-BC.
    DenseNetBc(DenseNetBc<B>),
    /// ResNet for CIFAR.
    CifarResNet(CifarResNet<B>),
    /// ResNet with projections.
    ResNet(ResNet<B>),
    /// EfficientNet-Lite.
    EfficientNetLite(EfficientNetLite<B>),
    /// Wide ResNet.
    WideResNet(WideResNet<B>),
}

impl<B: Backend> Model<B> {
    fn network(&self) -> &dyn Stages<B> {
        match self {
            Self::DenseNetBc(network) => network,
            Self::CifarResNet(network) => network,
            Self::ResNet(network) => network,
            Self::EfficientNetLite(network) => network,
            Self::WideResNet(network) => network,
        }
    }
}

impl<B: Backend> Stages<B> for Model<B> {
    fn forward_stages(
        &self,
        images: Tensor<B, 4>,
        show: &mut dyn FnMut(&Tensor<B, 4>),
    ) -> Tensor<B, 4> {
        self.network().forward_stages(images, show)
    }

    fn in_channels(&self) -> usize {
        self.network().in_channels()
    }

    fn total_stride(&self) -> usize {
        self.network().total_stride()
    }

    fn classifier(&self) -> &Head<B> {
        self.network().classifier()
    }

    fn dropout(&self) -> Option<&Dropout> {
        self.network().dropout()
    }
}

backbone_of_stages!(Model);
