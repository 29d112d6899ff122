//! Means and scatter of rows that come in blocks, in 64 bits.

use crate::posthoc::linalg::Symmetric;

/// Counts, means of each class, and the scatter of all rows about their mean. Blocks are joined by the exact
/// formula of Chan, Golub and LeVeque (1983), so that neither their sizes nor their order count, and nothing is
/// lost where the means are large.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    width: usize,
    counts: Vec<u64>,
    /// Sums of each class, one class after another.
    sums: Vec<f64>,
    mean: Vec<f64>,
    /// `Σ (x − mean)(x − mean)ᵀ`, if it is collected.
    scatter: Option<Symmetric>,
}

impl Moments {
    pub(super) fn new(width: usize, num_classes: usize, with_scatter: bool) -> Self {
        Self {
            width,
            counts: vec![0; num_classes],
            sums: vec![0.0; num_classes * width],
            mean: vec![0.0; width],
            scatter: with_scatter.then(|| Symmetric::zeros(width)),
        }
    }

    /// Takes rows in that lie one after another, with the class of each.
    pub(super) fn update(&mut self, rows: &[f64], classes: &[usize]) {
        if classes.is_empty() || self.width == 0 {
            return;
        }
        let mut block = Self::new(self.width, self.counts.len(), false);
        for (row, &class) in rows.chunks_exact(self.width).zip(classes) {
            block.counts[class] += 1;
            let sums = &mut block.sums[class * self.width..][..self.width];
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            block.mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        let count = classes.len() as f64;
        block.mean.iter_mut().for_each(|sum| *sum /= count);
        if self.scatter.is_some() {
            let centred = rows
                .chunks_exact(self.width)
                .flat_map(|row| row.iter().zip(&block.mean).map(|(value, mean)| value - mean));
            let mut scatter = Symmetric::zeros(self.width);
            scatter.add_rows(&centred.collect::<Vec<f64>>(), 1.0);
            block.scatter = Some(scatter);
        }
        self.absorb(&block);
    }

    /// Joins what two have seen.
    pub(super) fn absorb(&mut self, other: &Self) {
        let (ours, theirs) = (self.count() as f64, other.count() as f64);
        if theirs == 0.0 {
            return;
        }
        let all = ours + theirs;
        let apart: Vec<f64> = other.mean.iter().zip(&self.mean).map(|(b, a)| b - a).collect();
        if let (Some(scatter), Some(more)) = (&mut self.scatter, &other.scatter) {
            scatter.add(more);
            scatter.add_rows(&apart, ours * theirs / all);
        }
        self.mean.iter_mut().zip(&apart).for_each(|(mean, apart)| *mean += apart * theirs / all);
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| *sum += more);
    }

    /// Number of rows.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Number of rows of each class.
    pub(super) fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The mean of all rows.
    pub(super) fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The mean of each class, one after another; the first class without rows otherwise.
    pub(super) fn class_means(&self) -> Result<Vec<f64>, usize> {
        match self.counts.iter().position(|&count| count == 0) {
            Some(class) => Err(class),
            None => {
                let counts = self.counts.iter().flat_map(|&n| core::iter::repeat_n(n, self.width));
                Ok(self.sums.iter().zip(counts).map(|(sum, count)| sum / count as f64).collect())
            }
        }
    }

    /// The covariance of all rows about a point, divided by their number, if it is collected.
    pub(super) fn covariance_about(&self, origin: &[f64]) -> Option<Symmetric> {
        let mut scatter = self.scatter.clone()?;
        let apart: Vec<f64> = self.mean.iter().zip(origin).map(|(a, b)| a - b).collect();
        scatter.add_rows(&apart, self.count() as f64);
        Some(scatter.scaled(1.0 / self.count() as f64))
    }

    /// The covariance of all rows about the means of their classes, divided by their number.
    pub(super) fn within(&self, class_means: &[f64]) -> Option<Symmetric> {
        let mut scatter = self.scatter.clone()?;
        // Each class moves its own share: what all rows vary, less what the means of the classes do.
        let apart: Vec<f64> = (class_means.chunks_exact(self.width).zip(&self.counts))
            .flat_map(|(class, &count)| {
                let root = (count as f64).sqrt();
                class.iter().zip(&self.mean).map(move |(a, b)| (a - b) * root)
            })
            .collect();
        scatter.add_rows(&apart, -1.0);
        Some(scatter.scaled(1.0 / self.count() as f64))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDTH: usize = 5;
    const CLASSES: usize = 3;

    fn of(blocks: &[&[(Vec<f64>, usize)]]) -> Moments {
        let mut moments = Moments::new(WIDTH, CLASSES, true);
        for block in blocks {
            let (rows, classes): (Vec<Vec<f64>>, Vec<usize>) = block.iter().cloned().unzip();
            moments.update(&rows.concat(), &classes);
        }
        moments
    }

    fn numbers(moments: &Moments) -> Vec<f64> {
        let means = moments.class_means().unwrap_or_default();
        let within = moments.within(&means).map(|within| within.lower()).unwrap_or_default();
        let all =
            moments.covariance_about(&[1.0; WIDTH]).map(|all| all.lower()).unwrap_or_default();
        [means, moments.mean().to_vec(), within, all].concat()
    }

    fn assert_same(a: &Moments, b: &Moments, size: f64) {
        assert_eq!(a.counts(), b.counts());
        for (a, b) in numbers(a).iter().zip(numbers(b)) {
            assert!((a - b).abs() <= 1e-9 * size * size, "{a} is not {b}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn neither_blocks_nor_their_order_count(
            rows in prop::collection::vec((prop::collection::vec(-1.0..1.0_f64, WIDTH), 0..CLASSES), 9..60),
            cut in 1_usize..8,
            offset in prop::sample::select(vec![0.0, 10.0, 1e4]),
        ) {
            // Every class has a sample; features may lie far from zero.
            let mut rows = rows;
            for (index, (row, class)) in rows.iter_mut().enumerate() {
                *class = if index < CLASSES { index } else { *class };
                row.iter_mut().for_each(|value| *value += offset);
            }
            let whole = of(&[&rows]);
            let reversed: Vec<_> = rows.iter().rev().cloned().collect();
            let size = 1.0 + offset;
            assert_same(&whole, &of(&rows.chunks(cut).collect::<Vec<_>>()), size);
            assert_same(&whole, &of(&reversed.chunks(cut + 1).collect::<Vec<_>>()), size);
            let (left, right) = rows.split_at(rows.len() / cut);
            let mut merged = of(&[left]);
            merged.absorb(&of(&[right]));
            assert_same(&whole, &merged, size);
        }
    }
}
