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
    BatchNorm, CifarResNet, CifarResNetConfig, DenseNetBc, DenseNetBcConfig, EfficientNetLite,
    EfficientNetLiteConfig, ResNet, ResNetConfig, Stem, WideResNet, WideResNetConfig,
};

/// A published network by its name, as configurations and command lines give it.
///
/// | name | network |
/// |---|---|
/// | `densenet-bc-100` | [`DenseNetBc`] of any valid depth, growth rate 12 |
/// | `resnet-20`, `resnet-110` | [`CifarResNet`] of any valid depth but 50, which has no name |
/// | `resnet-18`, `resnet-34`, `resnet-50` | [`ResNet`], stem for images of about 32 × 32 |
/// | `resnet-18-imagenet`, `resnet-34-imagenet`, `resnet-50-imagenet` | [`ResNet`], stem for images of about 224 × 224 |
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
        /// Number of layers, `6 n + 2`. With 50 of them it has no name that can be read, since `resnet-50`
        /// means [`ResNet50`](Self::ResNet50).
        depth: usize,
    },
    /// [`ResNet`] with 18 layers.
    ResNet18(Stem),
    /// [`ResNet`] with 34 layers.
    ResNet34(Stem),
    /// [`ResNet`] with 50 layers, in bottleneck blocks.
    ResNet50(Stem),
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
    pub const NAMES: [&'static str; 22] = [
        "densenet-bc-100",
        "densenet-bc-40",
        "resnet-20",
        "resnet-32",
        "resnet-44",
        "resnet-56",
        "resnet-110",
        "resnet-18",
        "resnet-34",
        "resnet-50",
        "resnet-18-imagenet",
        "resnet-34-imagenet",
        "resnet-50-imagenet",
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

    /// Height and width of the images that the network was published for; other sizes work as well.
    ///
    /// ```
    /// use isomax_models::{Architecture, Stem};
    ///
    /// assert_eq!(Architecture::CifarResNet { depth: 20 }.image_size(), 32);
    /// assert_eq!(Architecture::ResNet50(Stem::ImageNet).image_size(), 224);
    /// assert_eq!(Architecture::EfficientNetLite { variant: 4 }.image_size(), 300);
    /// ```
    ///
    /// # Panics
    ///
    /// If it is an EfficientNet-Lite, made by hand, of a variant that there is not.
    pub fn image_size(self) -> usize {
        match self {
            Self::DenseNetBc { .. } | Self::CifarResNet { .. } | Self::WideResNet { .. } => 32,
            Self::ResNet18(stem) | Self::ResNet34(stem) | Self::ResNet50(stem) => match stem {
                Stem::Cifar => 32,
                Stem::ImageNet => 224,
            },
            Self::EfficientNetLite { variant } => {
                // The size is the same for any number of classes.
                EfficientNetLiteConfig::new(variant, 1).image_size()
            }
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = |stem| if stem == Stem::ImageNet { "-imagenet" } else { "" };
        let name = match *self {
            Self::DenseNetBc { depth } => format!("densenet-bc-{depth}"),
            // Not the name of another network: reading it is an error.
            Self::CifarResNet { depth: 50 } => "cifar-resnet-50".to_owned(),
            Self::CifarResNet { depth } => format!("resnet-{depth}"),
            Self::ResNet18(stem) => format!("resnet-18{}", suffix(stem)),
            Self::ResNet34(stem) => format!("resnet-34{}", suffix(stem)),
            Self::ResNet50(stem) => format!("resnet-50{}", suffix(stem)),
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
            ["resnet", "50"] => Some(Self::ResNet50(Stem::Cifar)),
            ["resnet", "18", "imagenet"] => Some(Self::ResNet18(Stem::ImageNet)),
            ["resnet", "34", "imagenet"] => Some(Self::ResNet34(Stem::ImageNet)),
            ["resnet", "50", "imagenet"] => Some(Self::ResNet50(Stem::ImageNet)),
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
    /// Probability of dropping values in training, for networks that do so; none for that of the network.
    pub dropout: Option<f64>,
    /// Probability of leaving out the last block in training, for EfficientNets; none for that of the network.
    pub drop_connect: Option<f64>,
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
        let Self { num_classes, in_channels, head, dropout, drop_connect, .. } = *self;
        let resnet = |config: ResNetConfig, stem| {
            let config = config.with_stem(stem).with_in_channels(in_channels).with_head(head);
            Model::ResNet(config.init(device))
        };
        match self.architecture {
            Architecture::DenseNetBc { depth } => {
                let config = DenseNetBcConfig::new(depth, num_classes);
                let dropout = dropout.unwrap_or(config.dropout);
                let config = config.with_dropout(dropout).with_in_channels(in_channels);
                Model::DenseNetBc(config.with_head(head).init(device))
            }
            Architecture::CifarResNet { depth } => Model::CifarResNet(
                CifarResNetConfig::new(depth, num_classes)
                    .with_in_channels(in_channels)
                    .with_head(head)
                    .init(device),
            ),
            Architecture::ResNet18(stem) => resnet(ResNetConfig::resnet18(num_classes), stem),
            Architecture::ResNet34(stem) => resnet(ResNetConfig::resnet34(num_classes), stem),
            Architecture::ResNet50(stem) => resnet(ResNetConfig::resnet50(num_classes), stem),
            Architecture::EfficientNetLite { variant } => {
                let config = EfficientNetLiteConfig::new(variant, num_classes);
                let drop_connect = drop_connect.unwrap_or(config.drop_connect);
                let config = config.with_dropout(dropout).with_drop_connect(drop_connect);
                let config = config.with_in_channels(in_channels).with_head(head);
                Model::EfficientNetLite(config.init(device))
            }
            Architecture::WideResNet { depth, widen_factor } => {
                let config = WideResNetConfig::new(depth, widen_factor, num_classes);
                let dropout = dropout.unwrap_or(config.dropout);
                let config = config.with_dropout(dropout).with_in_channels(in_channels);
                Model::WideResNet(config.with_head(head).init(device))
            }
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

    fn network_mut(&mut self) -> &mut dyn Stages<B> {
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

    fn batch_norms_mut(&mut self) -> Vec<&mut BatchNorm<B>> {
        self.network_mut().batch_norms_mut()
    }

    fn drop_probabilities_mut(&mut self) -> Vec<&mut f64> {
        self.network_mut().drop_probabilities_mut()
    }

    fn dropout(&self) -> Option<&Dropout> {
        self.network().dropout()
    }
}

backbone_of_stages!(Model);
