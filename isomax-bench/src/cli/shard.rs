use core::fmt;
use core::str::FromStr;

/// A part of a list of work, as `I/N`: of `N` parts, counted from 0, the one that has every `N`th piece beginning with
/// piece `I`. The parts of all `I` are the whole, and no piece is in two.
///
/// ```
/// use isomax_bench::cli::Shard;
///
/// let shard: Shard = "1/3".parse()?;
/// let pieces: Vec<usize> = (0..8).filter(|piece| shard.has(*piece)).collect();
/// assert_eq!(pieces, [1, 4, 7]);
/// assert!("3/3".parse::<Shard>().is_err());
/// # Ok::<(), isomax_bench::cli::ShardError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

/// A text is no [`Shard`], which has an example.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected I/N with I from 0 to N - 1, such as 0/8 to 7/8, found '{found}'")]
#[non_exhaustive]
pub struct ShardError {
    /// What came.
    pub found: String,
}

impl Default for Shard {
    /// All of it.
    fn default() -> Self {
        Self { index: 0, count: 1 }
    }
}

impl Shard {
    /// Whether a piece, counted from 0, belongs to it.
    pub fn has(self, piece: usize) -> bool {
        piece % self.count == self.index
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let invalid = || ShardError { found: text.to_owned() };
        let (index, count) = text.trim().split_once('/').ok_or_else(invalid)?;
        let number = |text: &str| text.trim().parse().map_err(|_| invalid());
        let shard = Self { index: number(index)?, count: number(count)? };
        if shard.index < shard.count { Ok(shard) } else { Err(invalid()) }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_piece_is_in_one_shard(count in 1_usize..40, pieces in 0_usize..100) {
            let shards: Vec<Shard> = (0..count)
                .map(|index| format!("{index}/{count}").parse())
                .collect::<Result<_, _>>()
                .map_err(|error: ShardError| TestCaseError::fail(error.to_string()))?;
            for piece in 0..pieces {
                prop_assert_eq!(shards.iter().filter(|shard| shard.has(piece)).count(), 1);
            }
        }
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for text in ["", "1", "1/", "/2", "2/2", "-1/2", "0/0", "a/b", "0/1/2", "0.5/2"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
