//! What convolutions cost.

use isomax_models::Architecture;

/// Multiplications and additions of all convolutions of a network, forward, for one image of 32 × 32.
pub fn operations(network: Architecture) -> Option<f64> {
    let conv = |channels: [usize; 2], kernel: usize, side: usize| {
        2 * channels[0] * channels[1] * kernel * kernel * side * side
    };
    let total = match network {
        Architecture::CifarResNet { depth } => {
            let blocks = (depth - 2) / 6;
            let stage = |before: usize, channels: usize, side: usize| {
                conv([before, channels], 3, side) + (2 * blocks - 1) * conv([channels; 2], 3, side)
            };
            conv([3, 16], 3, 32) + stage(16, 16, 32) + stage(16, 32, 16) + stage(32, 64, 8)
        }
        Architecture::DenseNetBc { depth } => {
            let (growth, layers) = (12, (depth - 4) / 6);
            let (mut channels, mut total) = (2 * growth, conv([3, 2 * growth], 3, 32));
            for (index, side) in [32, 16, 8].into_iter().enumerate() {
                for _ in 0..layers {
                    total += conv([channels, 4 * growth], 1, side);
                    total += conv([4 * growth, growth], 3, side);
                    channels += growth;
                }
                if index < 2 {
                    total += conv([channels, channels / 2], 1, side);
                    channels /= 2;
                }
            }
            total
        }
        Architecture::WideResNet { depth, widen_factor } => {
            let blocks = (depth - 4) / 6;
            let stage = |before: usize, channels: usize, before_side: usize, side: usize| {
                conv([before, channels], 3, before_side)
                    + conv([before, channels], 1, side)
                    + (2 * blocks - 1) * conv([channels; 2], 3, side)
            };
            let [first, second, third] = [16, 32, 64].map(|width| width * widen_factor);
            let stages = stage(16, first, 32, 32) + stage(first, second, 32, 16);
            conv([3, 16], 3, 32) + stages + stage(second, third, 16, 8)
        }
        _ => return None,
    };
    Some(total as f64)
}
