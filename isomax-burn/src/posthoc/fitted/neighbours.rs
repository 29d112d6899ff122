use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

use super::Unread;

/// Rows of a bank that are multiplied with a batch at once: what bounds the memory for the products.
const CHUNK: usize = 8192;

/// Rows to compare with, `[bank, num_features]`, of unit length but for what guides.
#[derive(Debug, Clone)]
pub(in crate::posthoc) struct Neighbours<B: Backend> {
    pub(in crate::posthoc) rows: Tensor<B, 2>,
}

impl<B: Backend> Neighbours<B> {
    /// The Euclidean distance to the `k`-th nearest row, of unit vectors.
    pub(super) async fn distance(
        &self,
        unit: Tensor<B, 2>,
        k: usize,
    ) -> Result<Tensor<B, 1>, Unread> {
        let largest = self.largest(unit.clone(), k).await?;
        // Of a sample that is not finite no product is larger than another; its distance is NaN all the same.
        let kth: Vec<i64> =
            largest.iter().map(|row| row.get(k - 1).map_or(0, |kth| kth.index as i64)).collect();
        let shape = [kth.len()];
        let indices = Tensor::<B, 1, Int>::from_data(TensorData::new(kth, shape), &unit.device());
        // From the difference, since `2 − 2 x·z` says little of near ones.
        let difference = unit - self.rows.clone().select(0, indices);
        Ok((difference.clone() * difference).sum_dim(1).sqrt().squeeze_dim(1))
    }

    /// The mean of the `k` largest products.
    pub(super) async fn mean_of_largest_products(
        &self,
        unit: Tensor<B, 2>,
        k: usize,
    ) -> Result<Tensor<B, 1>, Unread> {
        let ([batch_size, _], device, dtype) = (unit.dims(), unit.device(), unit.dtype());
        let means: Vec<f64> = (self.largest(unit, k).await?.iter())
            .map(|row| {
                row.iter().map(|product| f64::from(product.value)).sum::<f64>() / row.len() as f64
            })
            .collect();
        let data = TensorData::new(means, [batch_size]).convert_dtype(dtype);
        Ok(Tensor::from_data(data, &device))
    }

    /// Of each sample, the `k` rows with the largest products, in descending order. Which of them is exact: every
    /// product is computed, a part of the bank at a time.
    ///
    /// They are picked on the host: sorting on a device costs more than reading the products back.
    async fn largest(&self, samples: Tensor<B, 2>, k: usize) -> Result<Vec<Vec<Product>>, Unread> {
        let [bank, _] = self.rows.dims();
        let mut largest: Vec<Largest> = (0..samples.dims()[0]).map(|_| Largest::new(k)).collect();
        for start in (0..bank).step_by(CHUNK) {
            let end = (start + CHUNK).min(bank);
            let rows = self.rows.clone().slice(start..end);
            let products = samples.clone().matmul(rows.transpose()).into_data_async().await;
            let products = products.map_err(|error| format!("{error:?}"))?.convert::<f32>();
            let products = products.as_slice::<f32>().map_err(|error| format!("{error:?}"))?;
            for (row, largest) in products.chunks_exact(end - start).zip(&mut largest) {
                largest.offer(row, start);
            }
        }
        Ok(largest.into_iter().map(Largest::finish).collect())
    }
}

#[derive(Debug, Clone, Copy)]
struct Product {
    value: f32,
    index: usize,
}

/// The `k` largest of values that come in parts; of equal ones the first.
struct Largest {
    k: usize,
    /// Up to `2 k` candidates.
    candidates: Vec<Product>,
    /// Values at or below are none.
    floor: f32,
}

impl Largest {
    fn new(k: usize) -> Self {
        Self { k, candidates: Vec::with_capacity(2 * k), floor: f32::NEG_INFINITY }
    }

    fn offer(&mut self, values: &[f32], first_index: usize) {
        for (offset, &value) in values.iter().enumerate() {
            if value > self.floor {
                self.candidates.push(Product { value, index: first_index + offset });
                if self.candidates.len() == 2 * self.k {
                    self.prune();
                }
            }
        }
    }

    fn prune(&mut self) {
        let order =
            |a: &Product, b: &Product| b.value.total_cmp(&a.value).then(a.index.cmp(&b.index));
        let (_, kth, _) = self.candidates.select_nth_unstable_by(self.k - 1, order);
        self.floor = kth.value;
        self.candidates.truncate(self.k);
    }

    fn finish(mut self) -> Vec<Product> {
        let order =
            |a: &Product, b: &Product| b.value.total_cmp(&a.value).then(a.index.cmp(&b.index));
        self.candidates.sort_unstable_by(order);
        self.candidates.truncate(self.k);
        self.candidates
    }
}
