//! How the bytes of pixels become the values that networks take.

use serde::{Deserialize, Serialize};

/// Values of a pixel: red, green, blue.
pub const CHANNELS: usize = 3;

/// Mean and standard deviation of each channel, of pixels in [0, 1]. Images of every set, known or
/// not, are normalised as the training images of the network were.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// Red, green, blue.
    pub mean: [f32; CHANNELS],
    /// Red, green, blue.
    pub std: [f32; CHANNELS],
}

/// The normalised value of each byte in each channel.
pub type NormalizationTable = [[f32; 256]; CHANNELS];

impl Normalization {
    /// As published for CIFAR-10.
    pub const CIFAR10: Self = Self { mean: [0.491, 0.482, 0.446], std: [0.247, 0.243, 0.261] };
    /// As published for CIFAR-100.
    pub const CIFAR100: Self = Self { mean: [0.507, 0.486, 0.440], std: [0.267, 0.256, 0.276] };
    /// As published for SVHN.
    pub const SVHN: Self = Self { mean: [0.437, 0.443, 0.472], std: [0.198, 0.201, 0.197] };
    /// As the networks of torchvision were trained on ImageNet.
    pub const IMAGENET: Self = Self { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
    /// As the published EfficientNet-Lites were trained: `(byte - 127) / 128`.
    pub const EFFICIENTNET_LITE: Self =
        Self { mean: [127.0 / 255.0; CHANNELS], std: [128.0 / 255.0; CHANNELS] };

    /// Reads three numbers, parted by commas, one for each channel.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn parse_channels(text: &str) -> Result<[f32; CHANNELS], String> {
        let numbers: Result<Vec<f32>, _> = text.split(',').map(|n| n.trim().parse()).collect();
        let numbers = numbers.ok().and_then(|numbers| numbers.try_into().ok());
        numbers.ok_or_else(|| format!("expected three numbers as R,G,B, found '{text}'"))
    }

    /// Whether values can be divided by it.
    pub fn is_usable(&self) -> bool {
        let positive = |std: &f32| *std > 0.0 && std.is_finite();
        self.mean.iter().all(|mean| mean.is_finite()) && self.std.iter().all(positive)
    }

    /// The normalised value of each byte in each channel.
    pub fn table(&self) -> NormalizationTable {
        std::array::from_fn(|channel| {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std)
        })
    }
}
