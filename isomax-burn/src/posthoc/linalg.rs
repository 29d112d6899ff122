//! Products and eigenvectors in 64 bits: all that is asked of the linear algebra library, and checked.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par, Side};

use super::FitError;

/// A symmetric matrix, of which the lower triangle counts.
#[derive(Debug, Clone)]
pub(super) struct Symmetric(Mat<f64>);

/// Eigenvalues in ascending order, and eigenvectors in the columns.
#[derive(Debug)]
pub(super) struct Eigen {
    pub(super) values: Vec<f64>,
    pub(super) vectors: Mat<f64>,
}

impl Symmetric {
    pub(super) fn zeros(size: usize) -> Self {
        Self(Mat::zeros(size, size))
    }

    pub(super) fn size(&self) -> usize {
        self.0.nrows()
    }

    /// Adds `alpha Σ r rᵀ` over rows that lie one after another.
    pub(super) fn add_rows(&mut self, rows: &[f64], alpha: f64) {
        let size = self.size();
        let rows = MatRef::from_row_major_slice(rows, rows.len() / size.max(1), size);
        triangular::matmul(
            &mut self.0,
            BlockStructure::TriangularLower,
            Accum::Add,
            rows.transpose(),
            BlockStructure::Rectangular,
            rows,
            BlockStructure::Rectangular,
            alpha,
            Par::rayon(0),
        );
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    /// Multiplies by a number.
    pub(super) fn scaled(mut self, factor: f64) -> Self {
        self.0 *= faer::Scale(factor);
        self
    }

    /// The lower triangle, row after row.
    #[cfg(test)]
    pub(super) fn lower(&self) -> Vec<f64> {
        (0..self.size()).flat_map(|i| (0..=i).map(move |j| self.0[(i, j)])).collect()
    }

    /// Whether nothing varies.
    pub(super) fn is_zero(&self) -> bool {
        (0..self.size()).all(|i| self.0[(i, i)] == 0.0)
    }

    /// All of it, both triangles.
    fn whole(&self) -> Mat<f64> {
        let at = |i: usize, j: usize| if i >= j { self.0[(i, j)] } else { self.0[(j, i)] };
        Mat::from_fn(self.size(), self.size(), at)
    }

    /// Decomposes it, and looks whether the result is a decomposition.
    ///
    /// # Errors
    ///
    /// [`FitError::Eigen`].
    pub(super) fn eigen(&self) -> Result<Eigen, FitError> {
        let size = self.size();
        let failed = |reason| FitError::Eigen { size, reason };
        let eigen = self.0.self_adjoint_eigen(Side::Lower);
        let eigen = eigen.map_err(|_| failed("the iteration does not converge"))?;
        let vectors = eigen.U().to_owned();
        let values: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
        let whole = self.whole();
        let scaled = Mat::from_fn(size, size, |i, j| vectors[(i, j)] * values[j]);
        let residual = &whole * &vectors - scaled;
        let is_small = |value: f64, bound: f64| value <= bound; // a NaN is not
        if !is_small(largest(&residual), 1e-8 * largest(&whole)) {
            return Err(failed("A V differs from V Λ"));
        }
        let product = vectors.transpose() * &vectors;
        let departure = product - Mat::<f64>::identity(size, size);
        if !is_small(largest(&departure), 1e-10) {
            return Err(failed("the vectors are not orthogonal"));
        }
        let mut order: Vec<usize> = (0..size).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        Ok(Eigen {
            values: order.iter().map(|&j| values[j]).collect(),
            vectors: Mat::from_fn(size, size, |i, j| vectors[(i, order[j])]),
        })
    }
}

/// The largest magnitude; NaN if any entry is, which the library's own norm passes over.
fn largest(matrix: &Mat<f64>) -> f64 {
    let values = matrix.col_iter().flat_map(|column| column.iter());
    values.fold(
        0.0,
        |most, value| {
            if most.is_nan() || value.abs() <= most { most } else { value.abs() }
        },
    )
}

/// Rows times a matrix: `[n, k] · [k, m]`, row after row.
pub(super) fn rows_times(rows: &[f64], matrix: MatRef<'_, f64>) -> Vec<f64> {
    let (width, columns) = (matrix.nrows(), matrix.ncols());
    let rows = MatRef::from_row_major_slice(rows, rows.len() / width.max(1), width);
    // Row after row is column after column of the transpose.
    let mut product = Mat::zeros(columns, rows.nrows());
    matmul(&mut product, Accum::Replace, matrix.transpose(), rows.transpose(), 1.0, Par::rayon(0));
    product.col_iter().flat_map(|column| column.iter().copied().collect::<Vec<f64>>()).collect()
}

/// The values of a matrix, row after row.
pub(super) fn row_by_row(matrix: MatRef<'_, f64>) -> Vec<f64> {
    let row = |i: usize| (0..matrix.ncols()).map(move |j| matrix[(i, j)]);
    (0..matrix.nrows()).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvalues_ascend_and_zero_rows_do_no_harm() {
        let mut matrix = Symmetric::zeros(4);
        matrix.add_rows(&[1.0, 0.0, 2.0, 0.0, 3.0, 0.0, -1.0, 0.0], 1.0);
        let eigen = matrix.eigen().expect("a decomposition");
        assert!(eigen.values.is_sorted());
        // The trace of Σ r rᵀ is the sum of all squares.
        assert!((eigen.values.iter().sum::<f64>() - 15.0).abs() < 1e-12);
        assert!(eigen.values[..2].iter().all(|value| value.abs() < 1e-12));
        assert!(Symmetric::zeros(3).eigen().is_ok());
        let mut broken = Symmetric::zeros(2);
        broken.add_rows(&[f64::NAN, 1.0], 1.0);
        assert!(matches!(broken.eigen(), Err(FitError::Eigen { .. })));
    }
}
