use burn::tensor::{Tensor, TensorData, backend::Backend};

use super::Needs;
use super::fitted::Unread;

/// What is done to features before the head sees them.
///
/// `share` is a fraction in `(0, 1)`, in place of the percents of some papers.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Shape {
    /// ReAct: values above the quantile `share` of all training features are cut to it.
    React {
        /// Which quantile.
        share: f64,
    },
    /// ASH-S: of each sample, the smallest values are set to zero, and the others multiplied by `exp(S / S')`, where
    /// `S` is the sum before and `S'` the sum after.
    AshS {
        /// How many of the values are set to zero.
        share: f64,
    },
    /// ASH-P: of each sample, the smallest values are set to zero.
    AshP {
        /// How many of them.
        share: f64,
    },
    /// ASH-B: of each sample, the smallest values are set to zero, and the others to `S` divided by their number.
    AshB {
        /// How many of the values are set to zero.
        share: f64,
    },
    /// SCALE: each sample is multiplied by `exp(S / S')`, where `S` is the sum of its values and `S'` that of the
    /// largest.
    Scale {
        /// How many of the values do not count as large.
        share: f64,
    },
    /// DICE: of all weights of the [`ClassPlanes`](crate::ClassPlanes), those stay that contribute more to the mean
    /// sample than the quantile `share`.
    Dice {
        /// How many of the weights are set to zero.
        share: f64,
    },
}

impl Shape {
    /// The parameter of each.
    pub fn share(&self) -> f64 {
        match *self {
            Self::React { share }
            | Self::AshS { share }
            | Self::AshP { share }
            | Self::AshB { share }
            | Self::Scale { share }
            | Self::Dice { share } => share,
        }
    }

    pub(super) fn needs(&self) -> Needs {
        let none = Needs::default();
        match self {
            Self::React { .. } => Needs { bank: true, ..none },
            Self::Dice { .. } => Needs { means: true, unit_means: true, ..none },
            Self::AshS { .. } | Self::AshP { .. } | Self::AshB { .. } | Self::Scale { .. } => none,
        }
    }

    /// The shaped features, where nothing is fitted: of ASH and SCALE. Others stay as they are.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, num_features]`
    /// - output: as given
    pub(super) async fn apply<B: Backend>(
        &self,
        features: Tensor<B, 2>,
    ) -> Result<Tensor<B, 2>, Unread> {
        let ([_, width], device) = (features.dims(), features.device());
        if width == 0 || matches!(self, Self::React { .. } | Self::Dice { .. }) {
            return Ok(features);
        }
        // On the host: which of equal values stay must not be left to the sorting of a device.
        let data = features.into_data_async().await.map_err(|error| format!("{error:?}"))?;
        let dtype = data.dtype;
        let shape = data.shape.clone();
        let mut rows: Vec<f64> = data.iter().collect();
        for row in rows.chunks_exact_mut(width) {
            self.apply_to_row(row);
        }
        Ok(Tensor::from_data(TensorData::new(rows, shape).convert_dtype(dtype), &device))
    }

    fn apply_to_row(&self, row: &mut [f64]) {
        let kept = kept(row.len(), self.share());
        let total: f64 = row.iter().sum();
        let large = largest(row, kept);
        let sum_of_large: f64 =
            row.iter().zip(&large).filter(|(_, large)| **large).map(|(x, _)| x).sum();
        // Without any activation nothing is pruned away. Features that may be negative have any ratio: it is bounded,
        // so that its exponential is a number.
        let ratio =
            if total == sum_of_large { 1.0 } else { (total / sum_of_large).clamp(-50.0, 50.0) };
        for (value, is_large) in row.iter_mut().zip(large) {
            *value = match self {
                Self::Scale { .. } => *value * ratio.exp(),
                _ if !is_large => 0.0,
                Self::AshS { .. } => *value * ratio.exp(),
                Self::AshB { .. } => total / kept as f64,
                _ => *value,
            };
        }
    }
}

/// How many of `n` values stay. Halves are rounded to even, as NumPy does, which the published code uses.
fn kept(n: usize, share: f64) -> usize {
    let pruned = (n as f64 * share).round_ties_even() as usize;
    n.saturating_sub(pruned).max(1)
}

/// Which values are the `k` largest; of equal ones those that come first.
fn largest(row: &[f64], k: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    let before = |a: &usize, b: &usize| row[*b].total_cmp(&row[*a]).then(a.cmp(b));
    order.select_nth_unstable_by(k - 1, before);
    let mut mask = vec![false; row.len()];
    order[..k].iter().for_each(|&index| mask[index] = true);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_to_even() {
        assert_eq!(kept(10, 0.65), 4);
        assert_eq!(kept(16, 0.65), 6);
        assert_eq!(kept(16, 0.85), 2);
        assert_eq!(kept(3, 0.999), 1);
    }

    #[test]
    fn of_equal_values_the_first_stay() {
        assert_eq!(largest(&[1.0, 2.0, 1.0, 1.0], 2), [true, true, false, false]);
        assert_eq!(largest(&[0.0, -0.0, 0.0], 1), [true, false, false]);
    }
}
