use core::ops::BitOr;

use super::Method;

/// What `FeatureStatistics` (feature `posthoc`) collect. The less it is, the less a pass over the samples
/// costs.
///
/// ```
/// use isomax_burn::posthoc::{Method, Needs};
///
/// let methods = [Method::Ctm, Method::Knn { k: 50 }];
/// assert_eq!(Needs::of(&methods), Needs { means: true, bank: true, ..Needs::default() });
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// The mean of each class.
    pub means: bool,
    /// The mean of each class, of features scaled to unit length.
    pub unit_means: bool,
    /// How features vary together, and the mean of each class.
    pub scatter: bool,
    /// The same of features scaled to unit length.
    pub unit_scatter: bool,
    /// The mean of those samples of each class that are classified as such.
    pub right_means: bool,
    /// Samples themselves.
    pub bank: bool,
}

impl Needs {
    /// Everything.
    pub const ALL: Self = Self {
        means: true,
        unit_means: true,
        scatter: true,
        unit_scatter: true,
        right_means: true,
        bank: true,
    };

    /// What any of these methods needs.
    pub fn of(methods: &[Method]) -> Self {
        methods.iter().map(Method::needs).fold(Self::default(), BitOr::bitor)
    }

    /// Whether nothing is to be collected.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl BitOr for Needs {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            means: self.means | other.means,
            unit_means: self.unit_means | other.unit_means,
            scatter: self.scatter | other.scatter,
            unit_scatter: self.unit_scatter | other.unit_scatter,
            right_means: self.right_means | other.right_means,
            bank: self.bank | other.bank,
        }
    }
}
