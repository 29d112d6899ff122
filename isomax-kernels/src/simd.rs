//! Vectors from anywhere in a slice.

use pulp::Simd;

/// The first `N` vectors of a slice.
///
/// # Panics
///
/// If the slice is shorter.
#[inline(always)]
pub(crate) fn load<S: Simd, const N: usize>(values: &[f32]) -> [S::f32s; N] {
    let (vectors, _) = S::as_simd_f32s(&values[..N * S::F32_LANES]);
    std::array::from_fn(|index| vectors[index])
}

/// Writes `N` vectors to the begin of a slice.
///
/// # Panics
///
/// If the slice is shorter.
#[inline(always)]
pub(crate) fn store<S: Simd, const N: usize>(values: &mut [f32], vectors: [S::f32s; N]) {
    let (places, _) = S::as_mut_simd_f32s(&mut values[..N * S::F32_LANES]);
    places.copy_from_slice(&vectors);
}
