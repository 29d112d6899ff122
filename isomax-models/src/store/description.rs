//! A tensor as a pickle describes it, and its values out of a storage.

use burn::tensor::{Bytes, DType, TensorData};

/// A storage as the pickle describes it.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    pub dtype: DType,
    /// Its name in the archive.
    pub name: String,
    /// How many values it has, if the pickle says so.
    pub len: Option<usize>,
}

/// A tensor as the pickle describes it.
#[derive(Debug, Clone)]
pub(super) struct Description {
    pub storage: Storage,
    /// Place of the first value in the storage, in values.
    pub offset: usize,
    pub shape: Vec<usize>,
    /// Distances between neighbours along each dimension, in values.
    pub strides: Vec<usize>,
    /// Whether the storage holds the values with the other sign.
    pub negated: bool,
}

impl Storage {
    /// How many bytes it has, if the pickle says so.
    pub fn bytes(&self) -> Option<usize> {
        Some(self.len?.saturating_mul(self.dtype.size()))
    }
}

impl Description {
    /// How many bytes the values take up.
    pub fn bytes(&self) -> usize {
        self.shape.iter().fold(self.storage.dtype.size(), |bytes, n| bytes.saturating_mul(*n))
    }

    /// The values in the order of their indices, whatever their order in the storage.
    ///
    /// # Errors
    ///
    /// If values lie outside of the storage, in words.
    pub fn gather(&self, storage: &[u8]) -> Result<TensorData, String> {
        let dtype = self.storage.dtype;
        let size = dtype.size();
        let last =
            self.shape.iter().zip(&self.strides).try_fold(self.offset, |last, (n, stride)| {
                last.checked_add(n.saturating_sub(1).checked_mul(*stride)?)
            });
        let is_empty = self.shape.contains(&0);
        let fits = last.is_some_and(|last| last < storage.len() / size);
        if !is_empty && !fits {
            return Err(format!("its storage of {} bytes is too short", storage.len()));
        }
        let mut values: Vec<u8> = if !is_empty && self.is_contiguous() {
            let count: usize = self.shape.iter().product();
            storage[self.offset * size..][..count * size].to_vec()
        } else {
            let mut starts = if is_empty { Vec::new() } else { vec![self.offset] };
            for (n, stride) in self.shape.iter().zip(&self.strides) {
                let along = |start: usize| (0..*n).map(move |i| start + i * stride);
                starts = starts.into_iter().flat_map(along).collect();
            }
            starts.iter().flat_map(|start| &storage[start * size..][..size]).copied().collect()
        };
        if self.negated {
            // The sign of a number with a fraction is the first bit of its last byte.
            let last_bytes = values.iter_mut().skip(size - 1).step_by(size);
            last_bytes.for_each(|byte| *byte ^= 0x80);
        }
        let shape = self.shape.as_slice().into();
        Ok(TensorData { bytes: Bytes::from_bytes_vec(values), shape, dtype })
    }

    /// Whether the values lie in the storage in the order of their indices.
    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(n, stride)| {
            let follows = *n == 1 || *stride == expected;
            expected *= n;
            follows
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], strides: &[usize], offset: usize) -> Description {
        let storage = Storage { dtype: DType::F32, name: "0".to_owned(), len: Some(12) };
        let (shape, strides) = (shape.to_vec(), strides.to_vec());
        Description { storage, offset, shape, strides, negated: false }
    }

    fn values_of(tensor: &Description) -> Result<Vec<f32>, String> {
        let storage: Vec<u8> = (0..12).flat_map(|i| (i as f32).to_le_bytes()).collect();
        // Three bytes more are no value.
        let data = tensor.gather(&[storage, vec![1; 3]].concat())?;
        assert_eq!(data.shape.to_vec(), tensor.shape);
        Ok(data.iter().collect())
    }

    fn values(shape: &[usize], strides: &[usize], offset: usize) -> Result<Vec<f32>, String> {
        values_of(&tensor(shape, strides, offset))
    }

    #[test]
    fn values_are_gathered_by_strides() {
        assert_eq!(values(&[], &[], 3), Ok(vec![3.0]));
        assert_eq!(values(&[2, 2], &[2, 1], 1), Ok(vec![1.0, 2.0, 3.0, 4.0]));
        assert_eq!(values(&[2, 2], &[1, 2], 1), Ok(vec![1.0, 3.0, 2.0, 4.0]));
        assert_eq!(values(&[2, 1, 2], &[5, 77, 3], 0), Ok(vec![0.0, 3.0, 5.0, 8.0]));
        assert_eq!(values(&[3], &[0], 7), Ok(vec![7.0; 3]));
        assert_eq!(values(&[2, 0], &[1, 1], 99), Ok(vec![]));
        assert_eq!(values(&[2], &[1], 10), Ok(vec![10.0, 11.0]));
    }

    #[test]
    fn negated_values_change_their_sign() {
        for (shape, strides) in [([2, 2], [2, 1]), ([2, 2], [1, 2])] {
            let plain = tensor(&shape, &strides, 1);
            let negated = Description { negated: true, ..plain.clone() };
            let negative: Vec<f32> =
                values_of(&plain).expect("values").iter().map(|value| -value).collect();
            assert_eq!(values_of(&negated), Ok(negative));
        }
        let storage = Storage { dtype: DType::F64, name: "0".to_owned(), len: Some(2) };
        let (shape, strides) = (vec![2], vec![1]);
        let double = Description { storage, offset: 0, shape, strides, negated: true };
        let bytes = [1.5_f64, -0.25].map(f64::to_le_bytes).concat();
        let data = double.gather(&bytes).expect("values");
        assert_eq!(data.iter::<f64>().collect::<Vec<_>>(), [-1.5, 0.25]);
    }

    #[test]
    fn values_outside_of_the_storage_are_refused() {
        for (shape, strides, offset) in [
            ([2, 1], [1, 1], 11),
            ([3, 5], [5, 1], 0),
            ([1, 1], [1, 1], usize::MAX),
            ([2, 1], [usize::MAX, 1], 1),
            ([usize::MAX, 2], [2, 1], 0),
        ] {
            let error = values(&shape, &strides, offset).err();
            assert_eq!(error.as_deref(), Some("its storage of 51 bytes is too short"));
        }
    }

    #[test]
    fn sizes_do_not_overflow() {
        assert_eq!(tensor(&[2, 3], &[3, 1], 0).bytes(), 24);
        assert_eq!(tensor(&[usize::MAX, 2], &[1, 1], 0).bytes(), usize::MAX);
    }
}
