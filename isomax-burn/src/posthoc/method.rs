use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

use super::spelling::NAMES;
use super::{FitError, Needs, Shape};
use crate::{HeadKind, OodHead, Score, UnknownName};

/// What to detect with. All of them read the features or the logits of a network that is trained already.
///
/// In text: a name, and where it is not the default, parameters behind colons, such as `knn`, `knn:k=5`,
/// `mahalanobis:unit`, `vim:dims=256:origin=mean`, `react:share=0.9:score=MPS`. Any [`Score`] is a method too.
///
/// | name | score, high = in-distribution | source |
/// |---|---|---|
/// | a [`Score`] | as there | |
/// | `gen` | `−Σ p^γ (1 − p)^γ` over the `top` largest `p` | [GEN](https://openaccess.thecvf.com/content/CVPR2023/html/Liu_GEN_Pushing_the_Limits_of_Softmax-Based_Out-of-Distribution_Detection_CVPR_2023_paper.html) |
/// | `mahalanobis` | `−min_c (x − μ_c)ᵀ Σ⁻¹ (x − μ_c)` | [arXiv:1807.03888](https://arxiv.org/abs/1807.03888), last features alone |
/// | `relative-mahalanobis` | that, less the distance to all training samples | [arXiv:2106.09022](https://arxiv.org/abs/2106.09022) |
/// | `knn` | `−‖x̂ − ẑ‖`, `ẑ` the `k`-th nearest training sample | [arXiv:2204.06507](https://arxiv.org/abs/2204.06507) |
/// | `ctm` | `max_c cos(x, μ_c)` | [arXiv:2511.11934](https://arxiv.org/abs/2511.11934) |
/// | `she` | `x·m`, `m` the mean of the right ones of the class | [SHE](https://openreview.net/forum?id=KkazG4lgKL) |
/// | `vim` | `Energy − α ‖x outside of the main subspace‖` | [arXiv:2203.10807](https://arxiv.org/abs/2203.10807) |
/// | `residual` | `−‖x outside of the main subspace‖` | as `vim` |
/// | `nnguide` | confidence × mean of the `k` largest `x̂·ẑ × confidence of z` | [arXiv:2309.14888](https://arxiv.org/abs/2309.14888) |
/// | `fdbd` | mean distance to the other classes' boundaries / `‖x − μ‖` | [arXiv:2312.11536](https://arxiv.org/abs/2312.11536) |
/// | `nci` | `w·(x − μ)/‖x − μ‖ + α ‖x‖₁`, `w` of the class | [arXiv:2311.01479](https://arxiv.org/abs/2311.01479) |
/// | `react` | a [`Score`] of features cut off above | [arXiv:2111.12797](https://arxiv.org/abs/2111.12797) |
/// | `ash-s`, `ash-p`, `ash-b` | of the largest features alone | [arXiv:2209.09858](https://arxiv.org/abs/2209.09858) |
/// | `scale` | of features scaled by how few carry their sum | [arXiv:2310.00227](https://arxiv.org/abs/2310.00227) |
/// | `dice` | of the weights that contribute most | [arXiv:2111.09805](https://arxiv.org/abs/2111.09805) |
///
/// `x̂` is `x` scaled to unit length, `μ` a mean of training features. On distance heads `w` and boundaries are
/// those of [`ClassPlanes`](crate::ClassPlanes).
///
/// ```
/// use isomax_burn::Score;
/// use isomax_burn::posthoc::Method;
///
/// assert_eq!("KNN".parse::<Method>()?, Method::Knn { k: 50 });
/// assert_eq!("energy".parse::<Method>()?, Method::Logit(Score::Energy));
/// assert_eq!("knn:k=5".parse::<Method>()?.to_string(), "knn:k=5");
/// assert_eq!("knn:k=50".parse::<Method>()?.to_string(), "knn");
/// assert!("knn:k=0".parse::<Method>().is_err());
/// # Ok::<(), isomax_burn::posthoc::MethodError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Method {
    /// A score of the logits; nothing is fitted.
    Logit(Score),
    /// Generalised entropy.
    Gen {
        /// The exponent γ, in `(0, 1)`.
        gamma: f64,
        /// How many of the largest probabilities count.
        top: usize,
    },
    /// Distance to the nearest class mean in the covariance that all classes share. The field calls it MDS,
    /// a name that [`Score::MDS`] has here.
    Mahalanobis {
        /// Whether features are scaled to unit length first, as *Mahalanobis++* does
        /// ([arXiv:2505.18032](https://arxiv.org/abs/2505.18032)).
        unit: bool,
        /// Directions whose variance is at most this share of the largest one do not count; without it the
        /// rounding of 64 bits, `num_features × 2⁻⁵²`.
        cutoff: Option<f64>,
    },
    /// As Mahalanobis, less the distance to the mean of all samples in their covariance.
    RelativeMahalanobis {
        /// As there.
        unit: bool,
        /// As there.
        cutoff: Option<f64>,
    },
    /// Distance to a neighbour among the training samples, of unit vectors.
    Knn {
        /// Which neighbour, from 1.
        k: usize,
    },
    /// Cosine to the nearest class mean.
    Ctm,
    /// Inner product with the pattern of the class: simplified Hopfield energy.
    She,
    /// Virtual-logit matching: energy, less what of the features the main subspace does not explain.
    Vim {
        /// Dimensions of the main subspace.
        dims: Dims,
        /// Where it begins.
        origin: Origin,
    },
    /// The second term of ViM by itself.
    Residual {
        /// As there.
        dims: Dims,
        /// As there.
        origin: Origin,
    },
    /// Nearest-neighbour guidance.
    NnGuide {
        /// How many neighbours.
        k: usize,
        /// The confidence that guides.
        guide: Guide,
    },
    /// Fast decision boundary distance.
    Fdbd,
    /// Neural-collapse-inspired detector.
    Nci {
        /// What the length of the features counts.
        alpha: f64,
    },
    /// A score of the logits of shaped features.
    Shaped {
        /// The shape.
        shape: Shape,
        /// The score.
        score: Score,
    },
}

/// How many dimensions the main subspace of [`Method::Vim`] has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dims {
    /// 1,000 for 2,048 features and more, 512 for 768 and more, otherwise half of them, as its paper has it.
    #[default]
    Auto,
    /// So many.
    Given(usize),
}

impl Dims {
    /// The number for features of a width.
    pub fn of(self, num_features: usize) -> usize {
        match self {
            Self::Given(dims) => dims,
            Self::Auto if num_features >= 2048 => 1000,
            Self::Auto if num_features >= 768 => 512,
            Self::Auto => num_features / 2,
        }
    }
}

/// Where the main subspace of [`Method::Vim`] begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Origin {
    /// [`Planes`](Self::Planes) for SoftMax, [`Mean`](Self::Mean) for distance heads, whose planes say nothing of
    /// where their logits are zero.
    #[default]
    Auto,
    /// Where all logits of an affine head are zero, or nearest to it: `−W⁺ b`.
    Planes,
    /// The mean of the training features.
    Mean,
}

/// The confidence of [`Method::NnGuide`]. It must not be negative: the product of two negative energies puts
/// OOD samples first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Guide {
    /// [`Energy`](Self::Energy) for SoftMax, [`Probability`](Self::Probability) for distance heads, whose energy is
    /// negative.
    #[default]
    Auto,
    /// [`Score::Energy`].
    Energy,
    /// [`Score::MPS`].
    Probability,
}

impl Guide {
    /// The score for a head.
    pub(super) fn score(self, head: HeadKind) -> Score {
        match self {
            Self::Energy => Score::Energy,
            Self::Probability => Score::MPS,
            Self::Auto if head == HeadKind::SoftMax => Score::Energy,
            Self::Auto => Score::MPS,
        }
    }
}

impl Method {
    /// Every method once with its default parameters, the Mahalanobis family on unit vectors too, after the scores
    /// of [`Score::ALL`].
    pub fn all() -> Vec<Self> {
        let scores = Score::ALL.map(Self::Logit);
        let others = NAMES.iter().flat_map(|name| name.parse::<Self>()).flat_map(|method| {
            let on_unit = match method {
                Self::Mahalanobis { cutoff, .. } => Some(Self::Mahalanobis { unit: true, cutoff }),
                Self::RelativeMahalanobis { cutoff, .. } => {
                    Some(Self::RelativeMahalanobis { unit: true, cutoff })
                }
                _ => None,
            };
            core::iter::once(method).chain(on_unit)
        });
        scores.into_iter().chain(others).collect()
    }

    /// Those of [`all`](Self::all) that suit a head. On distance heads, where energy tells little, shapes are of the
    /// score that the papers take there; and ASH-S is left out where features are scaled to unit length, since it is
    /// ASH-P there.
    pub fn suited_to<B: Backend>(head: &impl OodHead<B>) -> Vec<Self> {
        let best = match head.kind() {
            HeadKind::SoftMax => Score::Energy,
            kind => Score::default_for(kind),
        };
        let is_unit = head.class_planes().is_some_and(|planes| planes.unit);
        let is_double = |method: &Self| {
            is_unit && matches!(method, Self::Shaped { shape: Shape::AshS { .. }, .. })
        };
        let of_best = |method: Self| match method {
            Self::Shaped { shape, .. } => Self::Shaped { shape, score: best },
            other => other,
        };
        let suited = Self::all().into_iter().filter(|method| method.suits(head).is_ok());
        suited.filter(|method| !is_double(method)).map(of_best).collect()
    }

    /// Whether features are scaled to unit length first.
    pub(super) fn is_unit(&self) -> bool {
        matches!(
            self,
            Self::Mahalanobis { unit: true, .. } | Self::RelativeMahalanobis { unit: true, .. }
        )
    }

    /// What must be collected to fit it.
    pub fn needs(&self) -> Needs {
        let none = Needs::default();
        match self {
            Self::Logit(_) | Self::Gen { .. } => none,
            Self::Mahalanobis { unit: false, .. }
            | Self::RelativeMahalanobis { unit: false, .. } => Needs { scatter: true, ..none },
            Self::Mahalanobis { .. } | Self::RelativeMahalanobis { .. } => {
                Needs { unit_scatter: true, ..none }
            }
            Self::Vim { .. } => Needs { scatter: true, bank: true, ..none },
            Self::Residual { .. } => Needs { scatter: true, ..none },
            Self::Knn { .. } | Self::NnGuide { .. } => Needs { bank: true, ..none },
            Self::She => Needs { right_means: true, ..none },
            Self::Ctm => Needs { means: true, ..none },
            Self::Fdbd | Self::Nci { .. } => Needs { means: true, unit_means: true, ..none },
            Self::Shaped { shape, .. } => shape.needs(),
        }
    }

    /// Whether its scores change with the temperature of the head, so that a threshold belongs to one.
    pub fn reads_temperature(&self) -> bool {
        match self {
            Self::Logit(_)
            | Self::Gen { .. }
            | Self::Vim { .. }
            | Self::NnGuide { .. }
            | Self::Shaped { .. } => true,
            Self::Mahalanobis { .. }
            | Self::RelativeMahalanobis { .. }
            | Self::Knn { .. }
            | Self::Ctm
            | Self::She
            | Self::Residual { .. }
            | Self::Fdbd
            | Self::Nci { .. } => false,
        }
    }

    /// Whether it makes sense on the features of a head.
    ///
    /// # Errors
    ///
    /// [`FitError::Unsuitable`], which says why not.
    pub fn suits<B: Backend>(&self, head: &impl OodHead<B>) -> Result<(), FitError> {
        match self.objection(head) {
            None => Ok(()),
            Some(reason) => {
                let head = head.name().to_owned();
                Err(FitError::Unsuitable { method: *self, head, reason })
            }
        }
    }

    /// Whether a subspace is smaller than the space of features of a width.
    pub(super) fn check_dims(&self, num_features: usize) -> Result<(), FitError> {
        let (Self::Vim { dims, .. } | Self::Residual { dims, .. }) = self else { return Ok(()) };
        let dims = dims.of(num_features);
        match dims > 0 && dims < num_features {
            true => Ok(()),
            false => Err(FitError::Dims { method: *self, dims, num_features }),
        }
    }

    fn objection<B: Backend>(&self, head: &impl OodHead<B>) -> Option<&'static str> {
        let planes = head.class_planes();
        let is_unit = planes.as_ref().is_some_and(|planes| planes.unit);
        let reads_planes = matches!(
            self,
            Self::Fdbd | Self::Nci { .. } | Self::Shaped { shape: Shape::Dice { .. }, .. }
        );
        let at_planes = |origin: &Origin| match origin {
            Origin::Auto => head.kind() == HeadKind::SoftMax,
            Origin::Planes => true,
            Origin::Mean => false,
        };
        let begins_at_planes = match self {
            Self::Vim { origin, .. } | Self::Residual { origin, .. } => at_planes(origin),
            _ => false,
        };
        match self {
            _ if planes.is_none() && (reads_planes || begins_at_planes) => {
                Some("it reads the class planes, and the head has none")
            }
            _ if begins_at_planes && head.kind() != HeadKind::SoftMax => {
                Some("the logits of a distance head are zero nowhere: take origin=mean")
            }
            Self::Shaped { shape: Shape::Scale { .. }, .. } if is_unit => Some(
                "the head scales features to unit length, which takes back what SCALE multiplies by",
            ),
            Self::Fdbd if head.num_classes() < 2 => Some("one class has no boundary to others"),
            _ => None,
        }
    }
}

/// Why a text names no method.
///
/// ```
/// use isomax_burn::posthoc::Method;
///
/// let error = "knn:k=many".parse::<Method>().unwrap_err();
/// assert_eq!(error.to_string(), "in 'knn:k=many': expected k as a whole number of at least 1, found 'many'");
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MethodError {
    /// Nothing has this name.
    #[error(transparent)]
    Name(#[from] UnknownName),
    /// The method has no such parameter.
    #[error("in '{text}': unknown parameter '{found}'; known: {}", known.join(", "))]
    Parameter {
        /// What was read.
        text: String,
        /// The parameter that came.
        found: String,
        /// Those that the method has.
        known: Vec<&'static str>,
    },
    /// A parameter has a value that it cannot have.
    #[error("in '{text}': expected {expected}, found '{found}'")]
    Value {
        /// What was read.
        text: String,
        /// Which values it can have.
        expected: String,
        /// What came.
        found: String,
    },
}
