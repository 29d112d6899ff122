//! Numbers that follow from a seed and stay the same from version to version.

/// SplitMix64 (Steele, Lea, Flood, 2014).
pub(crate) struct SplitMix(u64);

impl SplitMix {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// An index below `length`, which is at least 1. Its bias is at most `length / 2³²`.
    pub(crate) fn below(&mut self, length: usize) -> usize {
        self.0 = self.0.wrapping_add(GAMMA);
        ((u128::from(finish(self.0)) * length as u128) >> 64) as usize
    }
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number whose every bit depends on every bit of another.
#[cfg(feature = "posthoc")]
pub(crate) fn mix(state: u64) -> u64 {
    finish(state.wrapping_add(GAMMA))
}

fn finish(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
