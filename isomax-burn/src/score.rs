use core::fmt;
use core::str::FromStr;

use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

use crate::names::{UnknownName, parse};
use crate::{HeadKind, OodScore};

/// How a row of raw logits becomes one detection score: **high means in-distribution**.
///
/// Scores read logits without the entropic scale. The order that MDS and MMLS put samples in does
/// not change with the temperature, that of the others does; the scores themselves always change,
/// so a threshold belongs to the temperature it was fitted at.
///
/// | score | also read | formula | range |
/// |---|---|---|---|
/// | `MPS` | `msp` | `max p` | `[1/C, 1]` |
/// | `ES` | `entropy` | `Σ p ln p` | `[-ln C, 0]` |
/// | `MDS` | `maxlogit`, `mls` | `max l` | `(-∞, 0]` for distance heads |
/// | `MMLS` | | `max l + mean l` | as the logits |
/// | `MMLES` | | `MMLS + ES` | as the logits |
/// | `MMLEPS` | | `MMLES + MPS` | as the logits |
/// | `Energy` | `ebo` | `ln Σ exp l` | as the logits |
///
/// The names are those of the papers; the field's names are read as well, in any case, with or
/// without hyphens. `MDS` is the *minimum distance score*, not the Mahalanobis detector of that name.
///
/// A score of your own implements [`OodScore`].
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use isomax_burn::{HeadKind, Score};
///
/// let score = Score::default_for(HeadKind::IsoMaxPlus);
/// assert_eq!(score, "max-logit".parse::<Score>()?);
/// let logits = Tensor::<Flex, 2>::from_floats([[-1.0, -5.0], [-7.0, -2.0]], &Default::default());
/// let scores: Vec<f32> = score.compute(logits).into_data().iter().collect();
/// assert_eq!(scores, [-1.0, -2.0]);
/// # Ok::<(), isomax_burn::UnknownName>(())
/// ```
#[allow(clippy::upper_case_acronyms)] // the names that the papers print
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Score {
    /// Maximum probability score: the largest softmax probability
    /// ([arXiv:1610.02136](https://arxiv.org/abs/1610.02136)).
    MPS,
    /// Entropic score: the negative entropy of the softmax, in nats
    /// ([arXiv:1908.05569](https://arxiv.org/abs/1908.05569)).
    ES,
    /// Minimum distance score: the largest logit, which for distance heads is the negative
    /// distance to the nearest prototype ([arXiv:2105.14399](https://arxiv.org/abs/2105.14399)).
    MDS,
    /// Max-mean logit score ([arXiv:2205.05874](https://arxiv.org/abs/2205.05874)).
    MMLS,
    /// Max-mean logit entropy score ([arXiv:2205.05874](https://arxiv.org/abs/2205.05874)).
    MMLES,
    /// Max-mean logit entropy probability score
    /// ([arXiv:2205.05874](https://arxiv.org/abs/2205.05874)).
    MMLEPS,
    /// Negative free energy at temperature 1
    /// ([arXiv:2010.03759](https://arxiv.org/abs/2010.03759)).
    Energy,
}

impl Score {
    /// All scores.
    pub const ALL: [Self; 7] =
        [Self::MPS, Self::ES, Self::MDS, Self::MMLS, Self::MMLES, Self::MMLEPS, Self::Energy];

    /// The score that the papers use with a head. IsoMax has ES: its minimum distance does not
    /// separate, since its prototypes and features may have any length.
    pub const fn default_for(kind: HeadKind) -> Self {
        match kind {
            HeadKind::SoftMax | HeadKind::IsoMax => Self::ES,
            HeadKind::IsoMaxPlus => Self::MDS,
            HeadKind::DisMax => Self::MMLES,
        }
    }

    /// The name in text and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MPS => "MPS",
            Self::ES => "ES",
            Self::MDS => "MDS",
            Self::MMLS => "MMLS",
            Self::MMLES => "MMLES",
            Self::MMLEPS => "MMLEPS",
            Self::Energy => "Energy",
        }
    }

    /// The scores that papers report for a head, the one of its own paper first.
    pub fn suited_to(kind: HeadKind) -> Vec<Self> {
        let default = Self::default_for(kind);
        let others: &[Self] = match kind {
            HeadKind::SoftMax => &[Self::ES, Self::MPS, Self::MDS, Self::Energy],
            HeadKind::IsoMax | HeadKind::IsoMaxPlus => &[Self::MDS, Self::ES, Self::MPS],
            HeadKind::DisMax => &[Self::MMLEPS, Self::MMLS, Self::MDS, Self::ES, Self::MPS],
        };
        let others = others.iter().copied().filter(|score| *score != default);
        core::iter::once(default).chain(others).collect()
    }

    /// Computes the scores where the logits are; no finite logits give NaN. They agree with those
    /// of [`OodScore::score`] to rounding.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch_size, num_classes]`, raw
    /// - output: `[batch_size]`
    pub fn compute<B: Backend>(self, logits: Tensor<B, 2>) -> Tensor<B, 1> {
        let scores = match self {
            Self::MPS => SoftMax::of(logits).largest_probability(),
            Self::ES => SoftMax::of(logits).negative_entropy(),
            Self::MDS => logits.max_dim(1),
            Self::MMLS => max_mean(logits),
            Self::MMLES => max_mean(logits.clone()) + SoftMax::of(logits).negative_entropy(),
            Self::MMLEPS => {
                let softmax = SoftMax::of(logits.clone());
                max_mean(logits) + softmax.negative_entropy() + softmax.largest_probability()
            }
            Self::Energy => {
                let largest = logits.clone().max_dim(1);
                largest + SoftMax::of(logits).partition.log()
            }
        };
        scores.squeeze_dim(1)
    }
}

/// The mean is a sum of shares, since a sum of large logits may overflow on its way.
fn max_mean<B: Backend>(logits: Tensor<B, 2>) -> Tensor<B, 2> {
    let [_, num_classes] = logits.dims();
    logits.clone().max_dim(1) + (logits / num_classes as f64).sum_dim(1)
}

/// A softmax in parts, relative to the largest logit of each row.
struct SoftMax<B: Backend> {
    /// Logits minus the largest one.
    shifted: Tensor<B, 2>,
    /// Their exponentials.
    weights: Tensor<B, 2>,
    /// The sum of the exponentials, at least 1.
    partition: Tensor<B, 2>,
}

/// A gap whose exponential is zero in every float type, and whose product with zero is zero.
const WIDEST_GAP: f64 = -1e4;

impl<B: Backend> SoftMax<B> {
    fn of(logits: Tensor<B, 2>) -> Self {
        let shifted = (logits.clone() - logits.max_dim(1)).clamp_min(WIDEST_GAP);
        let weights = shifted.clone().exp();
        let partition = weights.clone().sum_dim(1);
        Self { shifted, weights, partition }
    }

    /// `max p`: the largest weight is 1. A division, since ndarray's reciprocal is an approximation.
    fn largest_probability(&self) -> Tensor<B, 2> {
        self.partition.ones_like() / self.partition.clone()
    }

    /// `Σ p ln p`, without the logarithm of a probability that may be zero.
    fn negative_entropy(&self) -> Tensor<B, 2> {
        let mean_shift =
            (self.weights.clone() * self.shifted.clone()).sum_dim(1) / self.partition.clone();
        mean_shift - self.partition.clone().log()
    }
}

impl OodScore for Score {
    fn name(&self) -> &str {
        (*self).name()
    }

    fn score(&self, logits: &[f64]) -> f64 {
        if *self == Self::MDS {
            return logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        }
        let softmax = HostSoftMax::of(logits);
        match self {
            Self::MPS => softmax.largest_probability(),
            Self::ES => softmax.negative_entropy(),
            Self::MDS => softmax.largest,
            Self::MMLS => softmax.max_mean(logits),
            Self::MMLES => softmax.max_mean(logits) + softmax.negative_entropy(),
            Self::MMLEPS => {
                softmax.max_mean(logits)
                    + softmax.negative_entropy()
                    + softmax.largest_probability()
            }
            Self::Energy => softmax.largest + softmax.partition.ln(),
        }
    }

    fn compute<B: Backend>(&self, logits: Tensor<B, 2>) -> Tensor<B, 1> {
        (*self).compute(logits)
    }
}

/// As [`SoftMax`], of one row in host memory.
struct HostSoftMax {
    largest: f64,
    /// The sum of the exponentials of all gaps to the largest logit, at least 1.
    partition: f64,
    /// The sum of the gaps, each weighted with its exponential.
    weighted_gaps: f64,
}

impl HostSoftMax {
    fn of(logits: &[f64]) -> Self {
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut partition, mut weighted_gaps) = (0.0, 0.0);
        for logit in logits {
            let gap = (logit - largest).max(WIDEST_GAP);
            let weight = gap.exp();
            partition += weight;
            weighted_gaps += gap * weight;
        }
        Self { largest, partition, weighted_gaps }
    }

    fn largest_probability(&self) -> f64 {
        self.partition.recip()
    }

    fn negative_entropy(&self) -> f64 {
        self.weighted_gaps / self.partition - self.partition.ln()
    }

    fn max_mean(&self, logits: &[f64]) -> f64 {
        self.largest + logits.iter().sum::<f64>() / logits.len() as f64
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Score {
    type Err = UnknownName;

    /// Reads a name of the papers or of the field, in any case, with or without hyphens.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let aliases = [
            ("msp", Self::MPS),
            ("maxsoftmax", Self::MPS),
            ("entropy", Self::ES),
            ("negativeentropy", Self::ES),
            ("maxlogit", Self::MDS),
            ("mls", Self::MDS),
            ("ebo", Self::Energy),
            ("energybased", Self::Energy),
        ];
        let plain: String = name.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).collect();
        parse("score", &plain, Self::ALL.map(|score| (score.name(), score)), aliases)
            .map_err(|error| UnknownName { found: name.to_owned(), ..error })
    }
}

impl TryFrom<String> for Score {
    type Error = UnknownName;

    fn try_from(name: String) -> Result<Self, UnknownName> {
        name.parse()
    }
}

impl From<Score> for String {
    fn from(score: Score) -> Self {
        score.name().to_owned()
    }
}
