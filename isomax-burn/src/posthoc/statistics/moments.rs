//! Means and scatter of rows that come in blocks, in 64 bits.

use crate::posthoc::linalg::Symmetric;

/// Counts, means of each class, and the scatter of all rows about their mean, whatever the sizes and the order of what
/// comes.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    width: usize,
    counts: Vec<u64>,
    /// Sums of each class, one class after another.
    sums: Vec<f64>,
    /// If it is collected.
    scatter: Option<Scatter>,
}

impl Moments {
    pub(super) fn new(width: usize, num_classes: usize, with_scatter: bool) -> Self {
        Self {
            width,
            counts: vec![0; num_classes],
            sums: vec![0.0; num_classes * width],
            scatter: with_scatter.then(|| Scatter::new(width)),
        }
    }

    /// Takes rows in that lie one after another, with the class of each.
    pub(super) fn update(&mut self, rows: &[f64], classes: &[usize]) {
        if classes.is_empty() || self.width == 0 {
            return;
        }
        for (row, &class) in rows.chunks_exact(self.width).zip(classes) {
            self.counts[class] += 1;
            let sums = &mut self.sums[class * self.width..][..self.width];
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        if let Some(scatter) = &mut self.scatter {
            scatter.update(rows);
        }
    }

    /// Joins what two have seen.
    pub(super) fn absorb(&mut self, other: Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| *sum += more);
        if let (Some(scatter), Some(more)) = (&mut self.scatter, other.scatter) {
            scatter.absorb(more);
        }
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
    pub(super) fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.width];
        for sums in self.sums.chunks_exact(self.width.max(1)) {
            mean.iter_mut().zip(sums).for_each(|(mean, sum)| *mean += sum);
        }
        let count = self.count().max(1) as f64;
        mean.iter_mut().for_each(|sum| *sum /= count);
        mean
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
        let (mean, mut scatter) = self.scatter.as_ref()?.whole();
        let apart: Vec<f64> = mean.iter().zip(origin).map(|(a, b)| a - b).collect();
        scatter.add_rows(&apart, self.count() as f64);
        Some(scatter.scaled(1.0 / self.count() as f64))
    }

    /// The covariance of all rows about the means of their classes, divided by their number.
    pub(super) fn within(&self, class_means: &[f64]) -> Option<Symmetric> {
        let (mean, mut scatter) = self.scatter.as_ref()?.whole();
        // Each class moves its own share: what all rows vary, less what the means of the classes do.
        let apart: Vec<f64> = (class_means.chunks_exact(self.width).zip(&self.counts))
            .flat_map(|(class, &count)| {
                let root = (count as f64).sqrt();
                class.iter().zip(&mean).map(move |(a, b)| (a - b) * root)
            })
            .collect();
        scatter.add_rows(&apart, -1.0);
        Some(scatter.scaled(1.0 / self.count() as f64))
    }
}

/// The scatter of rows about their mean. Blocks are joined by the exact formula of Chan, Golub and LeVeque (1983), so
/// that nothing is lost where the mean is large.
#[derive(Debug, Clone)]
struct Scatter {
    count: f64,
    mean: Vec<f64>,
    /// `Σ (x − mean)(x − mean)ᵀ`.
    matrix: Symmetric,
    /// Rows that are not in it yet: few rows at a time would be slow.
    pending: Vec<f64>,
}

/// Rows of a block.
const BLOCK: usize = 1024;

impl Scatter {
    fn new(width: usize) -> Self {
        let matrix = Symmetric::zeros(width);
        Self { count: 0.0, mean: vec![0.0; width], matrix, pending: Vec::new() }
    }

    fn update(&mut self, mut rows: &[f64]) {
        let block = BLOCK * self.mean.len();
        while !rows.is_empty() {
            let (now, later) = rows.split_at(rows.len().min(block - self.pending.len()));
            self.pending.extend_from_slice(now);
            if self.pending.len() == block {
                self.flush();
            }
            rows = later;
        }
    }

    /// Takes in what is pending.
    fn flush(&mut self) {
        let width = self.mean.len();
        if self.pending.is_empty() {
            return;
        }
        let count = (self.pending.len() / width) as f64;
        let mut mean = vec![0.0; width];
        for row in self.pending.chunks_exact(width) {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        mean.iter_mut().for_each(|sum| *sum /= count);
        for row in self.pending.chunks_exact_mut(width) {
            row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean);
        }
        self.matrix.add_rows(&self.pending, 1.0);
        self.pending.clear();
        self.join(count, &mean);
    }

    /// Moves the mean, once the scatter of other rows about theirs is in the matrix.
    fn join(&mut self, count: f64, mean: &[f64]) {
        let all = self.count + count;
        let apart: Vec<f64> = mean.iter().zip(&self.mean).map(|(b, a)| b - a).collect();
        self.matrix.add_rows(&apart, self.count * count / all);
        self.mean.iter_mut().zip(&apart).for_each(|(mean, apart)| *mean += apart * count / all);
        self.count = all;
    }

    fn absorb(&mut self, mut other: Self) {
        self.flush();
        other.flush();
        if other.count > 0.0 {
            self.matrix.add(&other.matrix);
            self.join(other.count, &other.mean);
        }
    }

    /// The mean and the matrix with all rows.
    fn whole(&self) -> (Vec<f64>, Symmetric) {
        let mut whole = self.clone();
        whole.flush();
        (whole.mean, whole.matrix)
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
        [means, moments.mean(), within, all].concat()
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
            merged.absorb(of(&[right]));
            assert_same(&whole, &merged, size);
        }
    }
}
