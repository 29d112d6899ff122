//! What values the tensors of a network may have.

use std::path::Path;

use burn::tensor::{DType, TensorData};

use super::error::StoreError;

/// What a tensor is, as far as that limits its values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Role {
    /// The temperature of a head, which logits are divided by.
    Temperature,
    /// The running variance of a normalisation, whose root is divided by.
    Variance,
    /// Any other.
    Weights,
}

impl Role {
    fn allows(self, value: f64) -> bool {
        value.is_finite()
            && match self {
                Self::Temperature => value > 0.0,
                Self::Variance => value >= 0.0,
                Self::Weights => true,
            }
    }

    /// What messages expect.
    fn expected(self) -> &'static str {
        match self {
            Self::Temperature => "a positive temperature",
            Self::Variance => "variances that are finite and not negative",
            Self::Weights => "finite weights",
        }
    }
}

/// The values of a tensor as the numbers that a network computes in.
///
/// # Errors
///
/// [`StoreError::Format`] if one is not finite, or not what its role allows: it names the tensor, the
/// place in it and the value.
pub(super) fn convert(
    data: TensorData,
    dtype: DType,
    role: Role,
    name: &str,
    path: &Path,
) -> Result<TensorData, StoreError> {
    let refused = |data: &TensorData, ending: &str| {
        let value = data.iter::<f64>().enumerate().find(|(_, value)| !role.allows(*value));
        value.map(|(place, value)| {
            let place = index(place, data.shape.as_slice());
            StoreError::format(
                path,
                role.expected(),
                format_args!("{name}{place} is {value}{ending}"),
            )
        })
    };
    if let Some(error) = refused(&data, "") {
        return Err(error);
    }
    if data.dtype == dtype {
        return Ok(data);
    }
    // Numbers of a larger type may be too large, or so small that they become zero.
    let data = data.convert_dtype(dtype);
    match refused(&data, &format!(" as {dtype:?}")) {
        None => Ok(data),
        Some(error) => Err(error),
    }
}

/// The indices of a value in brackets, or nothing if it is the only one.
fn index(place: usize, shape: &[usize]) -> String {
    if shape.iter().product::<usize>() <= 1 {
        return String::new();
    }
    let mut rest = place;
    let mut indices: Vec<usize> = (shape.iter().rev())
        .map(|n| {
            let index = rest % n;
            rest /= n;
            index
        })
        .collect();
    indices.reverse();
    format!("{indices:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(values: Vec<f64>, shape: &[usize], role: Role) -> Option<String> {
        let data = TensorData::new(values, shape.to_vec());
        let result = convert(data, DType::F32, role, "bn.weight", Path::new("file"));
        result.err().map(|error| error.to_string())
    }

    #[test]
    fn values_are_checked_by_role() {
        for (values, shape, role, expected) in [
            (vec![0.0, -1.0], [2].as_slice(), Role::Weights, None),
            (vec![0.0; 4], [2, 2].as_slice(), Role::Variance, None),
            (vec![2.5], [1].as_slice(), Role::Temperature, None),
            (vec![], [0].as_slice(), Role::Weights, None),
            (
                vec![0.0, 1.0, 2.0, f64::NAN, 4.0, 5.0],
                &[2, 3],
                Role::Weights,
                Some("file: expected finite weights, but bn.weight[1, 0] is NaN"),
            ),
            (
                vec![f64::NEG_INFINITY],
                &[],
                Role::Weights,
                Some("file: expected finite weights, but bn.weight is -inf"),
            ),
            (
                vec![1e300],
                &[1],
                Role::Weights,
                Some("file: expected finite weights, but bn.weight is inf as F32"),
            ),
            (
                vec![1.0, -0.5],
                &[2],
                Role::Variance,
                Some(
                    "file: expected variances that are finite and not negative, but bn.weight[1] \
                     is -0.5",
                ),
            ),
            (
                vec![1e-60],
                &[1],
                Role::Temperature,
                Some("file: expected a positive temperature, but bn.weight is 0 as F32"),
            ),
        ] {
            assert_eq!(error_of(values, shape, role).as_deref(), expected);
        }
    }
}
